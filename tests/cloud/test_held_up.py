"""A gateway that is held up for its rows have rotted: what that costs others, and how often it is told."""

from typing import Any

import pytest

from protocols.errors import RottenError
from tests.cloud.test_rotten_rows import LISTS, NO_TEXT, Three, taken, three

__all__ = ["three"]


def test_a_gateway_is_told_of_once_also_where_its_desk_can_be_read(three: Three, caplog: Any) -> None:
    how = f"UPDATE journal SET body = x'00', detail = {NO_TEXT} WHERE kind = 'receipt' AND id LIKE ?"
    three.rot(how, f"{three.name}/%")
    three.begin_epochs()
    for _ in range(3):
        three.send()
    assert len([one for one in caplog.records if "held up" in one.getMessage()]) == 1


def test_blocks_that_wait_of_a_gateway_whose_row_has_another_name_keep_no_page_from_being_shown(
    three: Three,
) -> None:
    three.house.store.book()
    assert taken(three.send())
    with three.house.store.writing() as db:
        db.execute("UPDATE gateways SET gateway = zeroblob(16) WHERE gateway = ?", (three.spoilt.key.public.id,))
    three.house.store._unbooked.clear()  # as a kill leaves it
    three.open_anew()
    for path in (*LISTS, "/?site=plant-8"):
        three.get(path)


def test_a_gateway_that_is_held_up_costs_no_other_one_its_desk(three: Three, monkeypatch: Any) -> None:
    """What is entered in many turns would begin again each time the other one sends."""
    three.rot("UPDATE open_intervals SET rows = '[' WHERE gateway = ?", three.spoilt.key.public.id)
    held, box = three.house.store, three.others[0]
    held.append([box.block()], box.utc)
    read, real = list[bytes](), held._set_up
    monkeypatch.setattr(held, "_set_up", lambda db, one, *asked: read.append(one.id) or real(db, one, *asked))
    with pytest.raises(RottenError):
        held.append([three.spoilt.block()], box.utc)
    held.append([box.block()], box.utc)
    assert box.key.public.id not in read


def test_what_may_be_a_fault_of_ours_that_looks_like_rot_leaves_its_trace(three: Three, caplog: Any) -> None:
    def spoilt(db: Any, gateway: Any, *asked: Any) -> None:
        raise TypeError("found a str, expected bytes")

    three.house.store._set_up = spoilt  # type: ignore[method-assign, assignment]
    three.house.store._desks.clear()
    with pytest.raises(RottenError):
        three.house.store.append([three.spoilt.block()], three.spoilt.utc)
    (told,) = [one for one in caplog.records if "held up" in one.getMessage()]
    assert told.exc_info
