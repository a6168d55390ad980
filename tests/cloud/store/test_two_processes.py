"""A collector that serves and a command beside it, each with a desk of its own: what they book by turns."""

from pathlib import Path
from typing import Any

import pytest

from cloud import entering, store, unbooked
from cloud.store import Store
from cloud.taking import Patience
from protocols.record.cose import PrivateKey
from tests.cloud.store.test_dating import MINUTE, UNKNOWN, Clocked
from tests.cloud.store.test_unbooked import Clock, append, audited, rows


@pytest.mark.parametrize("turns", ["ab", "aab", "abb", "aaab"])
def test_two_processes_that_book_what_a_correction_dates_by_turns_book_it_once(
    tmp_path: Path, box: Any, monkeypatch: pytest.MonkeyPatch, turns: str
) -> None:
    """As a command does that asks for an account while the collector is served."""
    monkeypatch.setattr(entering, "DATED_AT_ONCE", 8)
    clocked, key = Clocked(box), PrivateKey.generate()
    clocked.run(2)
    clocked.boot(MINUTE, 60_000, UNKNOWN)
    clocked.run(60, UNKNOWN)
    clocked.correct()
    clocked.run(3)
    with Store(tmp_path / "once.db", key) as once:
        box.enrol(once)
        append(once, *clocked.frames, now=clocked.true)
        wanted = rows(once)
    path, processor = tmp_path / "two.db", Clock(1.0)
    with Store(path, key, processor=processor) as one, Store(path, key, processor=processor) as other:
        box.enrol(one)
        for frame in clocked.frames:
            append(one, frame, now=clocked.true)
        turn = 0
        while True:
            held = {"a": one, "b": other}[turns[turn % len(turns)]]
            turn += 1
            with held._moving() as db:
                if unbooked.since(db, box.id) is None:
                    break
                held._enter(db, box.id, Patience(store.SLICE_S, processor))
        assert rows(one) == wanted
    assert not audited(path, box.id).found
