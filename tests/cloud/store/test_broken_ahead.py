"""A broken answer among those that are read ahead: how often the others of its block are read for it."""

from collections.abc import Callable
from typing import Any

import pytest

from cloud.store import Store
from drivers import replay
from drivers.builtin import builtin
from drivers.driver import Driver
from drivers.query import Values
from protocols.mbus import Frame
from protocols.record.answer import Answer
from tests.cloud import tables
from tests.cloud.store.conftest import NOON

MANY = 60
HEADER = bytes.fromhex("20001111 2423 28 04 2A 00 0000")


def answer(number: int) -> bytes:
    return Frame(8, 1, 0x72, HEADER + b"\x0c\x06" + bytes.fromhex(f"{number:08d}")[::-1]).to_bytes()


def test_answers_with_a_broken_one_are_read_once_ahead_and_once_in_their_turn(
    make_box: Callable[..., Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block with it, and one of another gateway that is not held up."""
    site = tables.site(tables.device("H", "mbus-heat", 'role = "purchased"\nperiod = "1s"\n')).encode()
    boxes = [make_box(site=site, profile=builtin("mbus-heat")) for _ in range(2)]
    for box in boxes:
        box.enrol(store)
    read, values = list[bytes](), replay.values

    def counted(driver: Driver, request: bytes, reply: bytes) -> Values:
        read.append(reply)
        return values(driver, request, reply)

    monkeypatch.setattr(replay, "values", counted)
    times, good = range(500, 60_000, 1_000), [answer(number) for number in range(MANY)]
    broken = good[-1][:-2] + bytes([good[-1][-2] ^ 1]) + good[-1][-1:]
    batches = [
        [box.block(chunks=[box.chunk(0, times, said)])]
        for box, said in zip(boxes, (good, [*good[:-1], broken]), strict=True)
    ]
    answers = store.append_batches(batches, NOON + 60_000)
    assert [held.verdicts[0].answer for held in answers] == [Answer.STORED, Answer.REFUSED]
    assert len(read) == 2 * 2 * MANY
