"""Answers that are read one by one: what a block with very many of them takes, and what it may take at a time."""

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cloud import begun, piles, store, taking
from cloud.store import Store
from drivers import columns, replay
from drivers.builtin import builtin
from drivers.driver import Driver
from drivers.query import Values
from protocols import cjt188
from protocols.record.answer import Answer
from protocols.record.block import Counters, Event, EventKind, Track
from protocols.record.cose import PrivateKey
from tests.cloud import tables
from tests.cloud.store.test_dating import GOOD, UNKNOWN
from tests.cloud.store.test_unbooked import Clock, audited, image, in_order, rows, waiting

NOW = 1_790_100_000_000
MANY, SOME = 2_000, 400
PROFILE = builtin("cjt188-water")
REPLY = bytes.fromhex(tomllib.loads(PROFILE.decode())["proof"][0]["response"])
ADDRESS = REPLY[2:9][::-1].hex()
BEYOND = cjt188.read_request(0x10, ADDRESS, serial=1)
"""The question of the plan in other words: the plan does not bound how often it is answered."""


@pytest.fixture
def meter(make_box: Callable[..., Any]) -> Any:
    device = f'[[device]]\nid = "W"\nprofile = "cjt188-water"\nport = "bus-1"\naddress = "{ADDRESS}"\n'
    return make_box(site=tables.site(f'{device}role = "purchased"\n').encode(), profile=PROFILE)


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Store]:
    """A store that has 16 looks at the clock for a batch."""
    ticks = count()
    with Store(tmp_path / "c.db", PrivateKey.generate(), batch_s=16, processor=lambda: float(next(ticks))) as store:
        yield store


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The answers that are read one by one."""
    found, values = list[bytes](), replay.values

    def counted(driver: Driver, request: bytes, reply: bytes) -> Values:
        found.append(reply)
        return values(driver, request, reply)

    monkeypatch.setattr(replay, "values", counted)
    return found


def answers(many: int) -> list[bytes]:
    """No two alike."""
    found = []
    for number in range(many):
        body = bytearray(REPLY)
        body[14:17] = bytes.fromhex(f"{number:06d}")[::-1]
        body[-2] = sum(body[:-2]) & 0xFF
        found.append(bytes(body))
    return found


def block(meter: Any, said: Sequence[bytes], **changes: Any) -> bytes:
    """A block in which the plan is kept, and besides so many answers to a question beyond it."""
    kept = meter.chunk(0, [0], [REPLY])
    tracks = (*kept.tracks, Track.of(BEYOND, [0] * len(said), said))
    frame: bytes = meter.block(chunks=[replace(kept, tracks=tracks, counters=Counters.of(tracks, ()))], **changes)
    return frame


def told(store: Store, *frames: bytes) -> list[Answer]:
    return [verdict.answer for verdict in store.append(frames, NOW)[0]]


def test_what_is_read_one_by_one_is_read_in_several_turns(meter: Any, quick: Store, read: list[bytes]) -> None:
    meter.enrol(quick)
    said = answers(MANY)
    frame, after, turns = block(meter, said), meter.block(chunks=[meter.chunk(0, [0], [REPLY])]), [0]
    while told(quick, frame, after)[0] == Answer.GAP:
        turns.append(len(read))
        assert turns[-1] - turns[-2] <= 17 * columns.SOME_BYTES // len(REPLY)
        assert quick.gateway(meter.id).next_seq == 0  # type: ignore[union-attr]
    assert len(turns) > 2 and turns[-1] > MANY, "it is booked in a turn in which nothing is read"
    assert [reply for reply in read if reply != REPLY] == [reply for reply in said if reply != REPLY]
    assert told(quick, after)[0] in (Answer.STORED, Answer.HELD)


def test_a_broken_answer_is_refused_in_the_turn_it_is_found_in(meter: Any, quick: Store, read: list[bytes]) -> None:
    meter.enrol(quick)
    said = answers(MANY)
    said[-1] = said[-1][:-2] + bytes([said[-1][-2] ^ 1]) + said[-1][-1:]
    frame = block(meter, said)
    assert told(quick, frame) == [Answer.GAP]
    while (found := told(quick, frame)) == [Answer.GAP]:
        pass
    assert found == [Answer.REFUSED]
    assert len(read) <= MANY + 1


def test_gateways_that_take_turns_all_come_to_an_end(
    make_box: Callable[..., Any], meter: Any, quick: Store, read: list[bytes]
) -> None:
    other = make_box(site=meter.site, profile=PROFILE)
    frames = []
    for box in (meter, other):
        box.enrol(quick)
        frames.append(block(box, answers(MANY)))
    for _ in range(20):
        for frame in frames:
            told(quick, frame)
    assert [told(quick, frame) for frame in frames] == [[Answer.HELD]] * 2
    assert len(read) == 2 * (MANY + 1)


def test_no_more_blocks_are_remembered_than_there_is_room_for(
    make_box: Callable[..., Any], meter: Any, quick: Store, monkeypatch: pytest.MonkeyPatch, read: list[bytes]
) -> None:
    """One that had to be forgotten begins anew, once it is known that the one before does not come again."""
    monkeypatch.setattr(begun, "MOST_BEGUN", 1)
    monkeypatch.setattr(begun, "STALE", 0)
    other = make_box(site=meter.site, profile=PROFILE)
    for box in (meter, other):
        box.enrol(quick)
    frame, odd = block(meter, answers(MANY)), block(other, answers(MANY))
    assert told(quick, frame) == told(quick, odd) == [Answer.GAP]
    before = len(read)
    assert told(quick, frame) == [Answer.GAP]
    assert read[before] == REPLY


@pytest.mark.parametrize("gone", [0, 2])
def test_more_gateways_than_are_remembered_come_to_an_end_too(
    make_box: Callable[..., Any], meter: Any, quick: Store, monkeypatch: pytest.MonkeyPatch, gone: int
) -> None:
    """Taking turns, none is forgotten whenever its own comes. Those that never come again make way."""
    monkeypatch.setattr(begun, "MOST_BEGUN", 2)
    monkeypatch.setattr(begun, "STALE", 20)
    boxes, frames = [meter, *[make_box(site=meter.site, profile=PROFILE) for _ in range(4)]], []
    for box in boxes:
        box.enrol(quick)
        frames.append(block(box, answers(MANY)))
        told(quick, frames[-1])
    for _ in range(60):
        for frame in frames[gone:]:
            told(quick, frame)
    assert [told(quick, frame) for frame in frames[gone:]] == [[Answer.HELD]] * (5 - gone)


def test_a_block_that_was_kept_ahead_is_taken_once_it_is_read(meter: Any, quick: Store) -> None:
    meter.enrol(quick)
    first, frame = meter.block(chunks=[meter.chunk(0, [0], [REPLY])]), block(meter, answers(MANY))
    assert told(quick, frame) == [Answer.GAP]
    assert told(quick, first) == [Answer.STORED]
    assert quick.gateway(meter.id).next_seq == 1  # type: ignore[union-attr]
    while told(quick, frame) == [Answer.GAP]:
        pass
    assert quick.gateway(meter.id).next_seq == 2  # type: ignore[union-attr]
    assert quick.quarantine() == []


def killed(path: Path, key: PrivateKey) -> Store:
    """A store as it starts behind one that was killed, in which time is always up, and what waits has waited long."""
    held = Store(path, key, batch_s=0.0, processor=Clock(1.0), clock=Clock(store.BOOK_AFTER_S))
    held.serve_alone()
    return held


def rested(held: Store, read: list[bytes]) -> None:
    """One turn, in which no more is read than may be."""
    before = len(read)
    assert held.rest() == 0.0
    assert len(read) - before <= columns.SOME_BYTES // len(REPLY)


def test_blocks_that_wait_when_a_collector_starts_are_read_again_in_several_turns(
    tmp_path: Path, make_box: Callable[..., Any], meter: Any, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' batches come in between, and so do more of the same gateway."""
    monkeypatch.setattr(store, "AT_ONCE", taking.MOST_WAITING)
    other, key = make_box(site=meter.site, profile=PROFILE), PrivateKey.generate()
    frames = [block(meter, answers(SOME)) for _ in range(4)]
    with Store(tmp_path / "once.db", key) as once:
        for box in (meter, other):
            box.enrol(once)
        assert told(once, *frames[:2]) == [Answer.STORED] * 2
        left = image(tmp_path / "once.db", tmp_path / "left.db")
        assert told(once, *frames[2:]) == [Answer.STORED] * 2
        wanted = in_order(once, meter.id)
    read.clear()
    with killed(left, key) as held:
        for _ in range(5):
            rested(held, read)
        assert told(held, block(other, answers(1))) == [Answer.STORED]
        for frame in frames[2:]:
            while told(held, frame) == [Answer.GAP]:
                rested(held, read)
        assert meter.id in waiting(held)
        read.clear()
        while meter.id in waiting(held):
            rested(held, read)
        assert in_order(held, meter.id) == wanted
    assert not audited(left, meter.id).found


def test_a_block_that_a_correction_dates_is_read_again_in_several_turns(
    tmp_path: Path, meter: Any, read: list[bytes]
) -> None:
    key, true = PrivateKey.generate(), meter.utc + 600_000
    first, meter.utc, meter.mono = block(meter, answers(1)), 60_000, 0
    boot = {"boot": meter.boot + 1, "events": (Event(EventKind.BOOT, true, meter.utc, "power cut"),)}
    frames = [first, *[block(meter, answers(SOME), clock=UNKNOWN, **changes) for changes in (boot, {})]]
    events = tuple([Event(kind, meter.utc, true, "clock") for kind in (EventKind.CLOCK_STEP, EventKind.CORRECTION)])
    meter.utc = true
    frames.append(block(meter, answers(1), clock=GOOD, events=events))
    with Store(tmp_path / "once.db", key) as once:
        meter.enrol(once)
        assert told(once, *frames[:3]) == [Answer.STORED] * 3
        once.book()
        assert told(once, frames[3]) == [Answer.STORED]
        left = image(tmp_path / "once.db", tmp_path / "left.db")
        wanted = rows(once)
    read.clear()
    with killed(left, key) as held:
        while waiting(held):
            rested(held, read)
        assert len(read) == 2 * (SOME + 1) + 2
        assert rows(held) == wanted
    assert not audited(left, meter.id).found


def test_no_more_is_read_ahead_than_a_moment_takes(meter: Any, store: Store, read: list[bytes]) -> None:
    """Sixty-four blocks, none of them large: they are not read all at once in the turn of the first."""
    meter.enrol(store)
    frames, ahead = [block(meter, answers(200)) for _ in range(64)], list[int]()
    say = piles.Piles.say

    def counted(self: piles.Piles, cuts: Sequence[piles.Cut]) -> None:
        before = len(read)
        say(self, cuts)
        ahead.append(len(read) - before)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(piles.Piles, "say", counted)
        assert told(store, *frames) == [Answer.STORED] * 64
    assert 0 < max(ahead) * len(REPLY) <= piles.MOST_ALONE
