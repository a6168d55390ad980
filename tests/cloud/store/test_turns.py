"""Books that are entered in turns, whatever comes between the turns."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cloud import booking, entering, running, store
from cloud.store import Store
from protocols.errors import StoreError
from protocols.record.answer import Answer
from protocols.record.block import Chunk
from protocols.record.cose import PrivateKey
from tests.cloud.store.test_dating import DAY, GOOD, MINUTE, UNKNOWN, Clocked
from tests.cloud.store.test_unbooked import Clock, a_hard_life, append, audited, image, rows, waiting

HOUR = 60 * MINUTE


def jumps(box: Any) -> list[Chunk]:
    """Of an hour: the registers of the first meter fall and rise again from one reading to the next."""
    times = list(range(50, HOUR, 10_000))
    jumping = [box.reply(0, box.energy + 5_000 * (place % 2)) for place in range(len(times))]
    return [box.chunk(0, times, jumping), box.chunk(1, times, [box.reply(1, 7)] * len(times))]


def test_a_large_block_that_a_correction_dates_last_is_entered_in_turns_too(
    tmp_path: Path, box: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at the time is all that takes any here: each turn ends with the second one."""
    monkeypatch.setattr(running, "AT_ONCE", 32)
    monkeypatch.setattr(booking, "MOST_READINGS", 200)
    clocked, clock = Clocked(box), Clock()
    clocked.run(2)
    clocked.boot(MINUTE, 60_000, UNKNOWN)
    clocked.frames.append(box.block(HOUR, jumps(box), clock=UNKNOWN))
    clocked.true += HOUR
    clocked.correct()
    with Store(tmp_path / "large.db", PrivateKey.generate(), clock=clock, processor=Clock(store.SLICE_S)) as held:
        box.enrol(held)
        for frame in clocked.frames:
            append(held, frame, now=clocked.true)
        clock.now += store.BOOK_AFTER_S
        turns = 0
        while held.rest() == 0.0:
            turns += 1
        assert turns > 360 // 32 and not waiting(held)


def test_an_audit_beside_a_long_outage_that_is_being_entered_finds_no_difference(tmp_path: Path, box: Any) -> None:
    """What is written of it already is compared by the next one; what no block has made is told all the same."""
    clocked, key, clock = Clocked(box), PrivateKey.generate(), Clock()
    clocked.run(16)
    clocked.boot(10 * DAY, clocked.true + 10 * DAY, GOOD)
    path = tmp_path / "away.db"
    with Store(path, key, clock=clock, processor=Clock(0.001)) as held:
        box.enrol(held)
        append(held, *clocked.frames[:16], now=clocked.true)
        held.book()
        append(held, clocked.frames[16], now=clocked.true)
        clock.now += store.BOOK_AFTER_S
        assert held.rest() == 0.0 and waiting(held)
        half = image(path, tmp_path / "half.db")
    with closing(sqlite3.connect(half)) as db:
        closed = "SELECT count(*) FROM closed_intervals"
        assert db.execute(closed).fetchone()[0] > 256, "some of it is written"
        found = audited(half, box.id)
        assert (found.differences, found.unbooked) == ([], 1)
        db.execute(
            "UPDATE closed_intervals SET start = start - 1 WHERE start = (SELECT min(start) FROM closed_intervals)"
        )
        db.commit()
    assert audited(half, box.id).found


class Fault:
    """Interrupts the writing of a store once, after so many looks."""

    def __init__(self, held: Store, looks: int) -> None:
        self._looks = looks
        held._writer.set_progress_handler(self, 20)

    def __call__(self) -> bool:
        self._looks -= 1
        return self._looks == 0


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_undone_between_turns_the_rows_are_those_of_booking_at_once(
    tmp_path: Path, make_box: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A turn that fails midway takes what is in memory of earlier turns with it."""
    chance = random.Random(seed)
    for module, name, sizes in (
        (entering, "DATED_AT_ONCE", (2, 5)),
        (entering, "ROWS_AT_ONCE", (2, 7)),
        (running, "AT_ONCE", (1, 32)),
        (booking, "MOST_READINGS", (50, 500)),
        (store, "AT_ONCE", (300, 16_384)),
        (store, "TOGETHER", (1, 500)),
    ):
        monkeypatch.setattr(module, name, chance.choice(sizes))
    box, key, clock = make_box(), PrivateKey.generate(), Clock()
    clocked = a_hard_life(box)
    frames = [*clocked.frames, box.block(HOUR, jumps(box)), box.block()]
    with Store(tmp_path / "once.db", key) as once:
        box.enrol(once)
        append(once, *frames, now=box.utc)
        wanted = rows(once)
    path, place, undone = tmp_path / "turns.db", 0, 0
    with Store(path, key, clock=clock, processor=Clock(0.0011), batch_s=0.01) as held:
        box.enrol(held)
        while place < len(frames) or waiting(held):
            clock.now += store.BOOK_AFTER_S + store.AGAIN_S
            Fault(held, chance.choice((0, chance.randrange(1, 90))))
            try:
                if chance.random() < 0.3:
                    verdicts = held.append(frames[place : place + chance.choice((1, 3, 11))], box.utc).verdicts
                    place += sum([verdict.answer == Answer.STORED for verdict in verdicts])
                else:
                    held.rest()
            except StoreError:
                undone += 1
        assert undone
        assert rows(held) == wanted
    assert not audited(path, box.id).found
