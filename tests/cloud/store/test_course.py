"""What a block must keep to after the one before: hours cannot be left out without saying so, and nothing stops us."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from cloud.store import Store
from protocols.record import block as blocks
from protocols.record import cbor, cose, merkle, siteconfig, transport
from protocols.record.answer import Answer, Verdict
from protocols.record.block import Counters, Event, EventKind, Sealed

LATER = 1_790_100_000_000
HOUR = 3_600_000
DAY = 24 * HOUR


def one(store: Store, frame: bytes, now: int = LATER) -> Verdict:
    ((verdict,), *_) = store.append([frame], now)
    return verdict


@pytest.fixture
def running(box: Any, store: Store) -> Any:
    """A gateway with three blocks in its chain."""
    box.enrol(store)
    store.append([box.block() for _ in range(3)], LATER)
    return box


def owing(box: Any, span: int, told: int = 0) -> list[Any]:
    """Two chunks without an answer in which as much was due as a plan of 10 s owes."""
    counters = Counters(told or span // 10_000, 0, 0, 0, 0, 0)
    return [replace(box.chunk(device, [], []), counters=counters) for device in (0, 1)]


@pytest.mark.parametrize("jump", [5 * HOUR, -2 * 60_000, 6_000])
def test_utc_that_does_not_touch_within_a_boot_is_refused_unless_a_step_says_so(
    running: Any, store: Store, jump: int
) -> None:
    before = running.utc
    running.utc += jump
    verdict = one(store, running.block())
    assert verdict.answer == Answer.REFUSED
    assert f"after {before}, expected a clock step event" in verdict.detail
    running.utc += jump
    step = Event(EventKind.CLOCK_STEP, running.utc - jump, running.utc, "ntp")
    assert one(store, running.block(events=(step,))).answer == Answer.STORED


def test_a_slewed_clock_goes_on(running: Any, store: Store) -> None:
    running.utc += 900
    assert one(store, running.block()).answer == Answer.STORED


@pytest.mark.parametrize(("late", "early"), [(0, 72 * HOUR), (72 * HOUR, 0), (72 * HOUR, 72 * HOUR)])
def test_a_boot_event_that_does_not_bound_the_downtime_is_refused(
    running: Any, store: Store, late: int, early: int
) -> None:
    down, before = 72 * HOUR, running.utc
    running.utc, running.mono = before + down, 0
    event = Event(EventKind.BOOT, before + late, before + down - early, "start 2")
    verdict = one(store, running.block(boot=2, events=(event,)))
    assert verdict.answer == Answer.REFUSED
    assert f"expected one from {before} to {before + down}: the downtime" in verdict.detail
    assert one(store, running.block(**running.reboot(HOUR))).answer == Answer.STORED


def test_a_box_that_booted_without_the_time_is_taken(running: Any, store: Store) -> None:
    event = Event(EventKind.BOOT, running.utc, 5_000, "start 2")
    running.utc, running.mono = 5_000, 0
    assert one(store, running.block(boot=2, events=(event,))).answer == Answer.STORED


def test_a_new_epoch_is_an_incident(running: Any, store: Store) -> None:
    receipt = store.receipt(running.id)
    assert receipt is not None
    running.epoch, running.seq, running.previous = 1, 0, hashlib.sha256(receipt).digest()
    running.utc, running.mono = running.utc + 9 * HOUR, running.mono + 9 * HOUR
    assert one(store, running.block()).answer == Answer.STORED
    (incident,) = store.incidents()
    assert (incident.kind, incident.epoch, incident.seq) == ("epoch", 1, 0)


def test_blocks_in_the_future_are_booked_where_they_say_and_somebody_is_told_once(running: Any, store: Store) -> None:
    now = running.utc
    running.utc += 3 * DAY
    step = Event(EventKind.CLOCK_STEP, now, running.utc, "ntp")
    blocks = [running.block(events=(step,)), running.block(), running.block()]
    assert [one(store, block, now + 60_000).answer for block in blocks] == [Answer.STORED] * 3
    (incident,) = store.incidents()
    assert incident.kind == "clock"
    assert store.counts().blocks == 6


@pytest.mark.parametrize("years", [1 / 300, 1, 10_000])
def test_a_block_of_more_than_a_day_is_refused_at_once(running: Any, store: Store, years: float) -> None:
    span = int(years * 365) * DAY + HOUR if years >= 1 else DAY + HOUR
    chunks = [
        replace(
            held := running.chunk(device, [50, span - 50], [running.reply(device, running.energy + i) for i in (0, 1)]),
            counters=replace(held.counters, due=span // 10_000),
        )
        for device in (0, 1)
    ]
    utc = running.utc
    events = (Event(EventKind.CLOCK_STEP, utc, utc, "step"), Event(EventKind.GAP, utc, utc, "gap"))
    began = time.process_time()
    verdict = one(store, running.block(span, chunks, utc=(utc, utc), events=events))
    assert time.process_time() - began < 1
    assert verdict.answer == Answer.REFUSED
    assert f"found a block of {span} ms" in verdict.detail


def test_a_block_whose_gap_lasts_days_is_taken(running: Any, store: Store) -> None:
    span = 3 * DAY
    gap = Event(EventKind.GAP, running.utc, running.utc + span, "disk full")
    assert one(store, running.block(span, owing(running, span), events=(gap,))).answer == Answer.STORED


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5 * HOUR, 5 * HOUR + 60_000)])
def test_a_gap_explains_no_more_than_it_holds(running: Any, store: Store, start: int, end: int) -> None:
    span, utc = 10 * HOUR, running.utc
    header = running.header(span, events=(Event(EventKind.GAP, utc + start, utc + end, ""),))
    verdict = one(store, transport.pack(running.seal(header, owing(running, span))))
    assert verdict.answer == Answer.REFUSED
    assert "device 0: found 3600 questions unaccounted for" in verdict.detail


def test_a_refused_block_does_not_raise_the_configuration_number(running: Any, store: Store, make_site: Any) -> None:
    first = running.configuration
    second = running.signed_config(2, make_site(), siteconfig.digest(running.config))
    store.put_config(running.id, second, running.profiles, LATER)
    running.use(second, 2, make_site())
    running.mono += 5
    assert one(store, running.block()).answer == Answer.REFUSED
    running.configuration = first
    assert one(store, running.block()).answer == Answer.STORED


def raw(box: Any, **changes: Any) -> bytes:
    """The next block with a header that our own ``seal`` would not sign."""
    chunks = [chunk.to_bytes() for chunk in box.chunks()]
    header = structs.replace(box.header(**changes), chunks=(len(chunks), merkle.root(chunks)))
    payload = cbor.encode(blocks._written(header))
    return transport.pack(Sealed(cose.sign1(payload, box.key, blocks.BLOCK_TYPE, blocks.BLOCK_AAD), tuple(chunks)))


FAR = 1 << 63


@pytest.mark.parametrize(
    "changes",
    [
        {"boot": FAR},
        {"epoch": FAR},
        {"seq": FAR},
        {"mono": (0, FAR)},
        {"configuration": (FAR, bytes(32))},
        {"utc": (-FAR, -FAR + 60_000)},
        {"utc": (FAR - 60_000, FAR - 1)},
        {"events": (Event(1, 0, 0, "x"), Event(5, FAR, FAR, "y"))},
        {"events": (Event(1, -FAR - 1, 0, "x"),)},
    ],
    ids=str,
)
def test_a_number_no_database_holds_is_refused_and_takes_no_other_batch_down(
    store: Store, make_box: Callable[..., Any], changes: dict[str, Any]
) -> None:
    bad, good = make_box(), make_box()
    bad.enrol(store)
    good.enrol(store)
    ((refused,), *_), ((stored,), *_) = store.append_batches([[raw(bad, **changes)], [good.block()]], LATER)
    assert (refused.answer, refused.code) == (Answer.REFUSED, "REC-601")
    assert stored.answer == Answer.STORED


@pytest.mark.parametrize("item", [b"\x00", b"\x80", b"\xa0", None], ids=["integers", "arrays", "maps", "items"])
def test_a_bomb_costs_next_to_nothing(
    running: Any, store: Store, make_box: Callable[..., Any], item: bytes | None
) -> None:
    for box in (running, make_box()):
        envelope = box.seal().envelope
        room = transport.LIMIT - len(envelope) - 5
        body = b"\0" * room if item is None else b"\x9a" + room.to_bytes(4) + item * room
        frame = transport.zstandard.ZstdCompressor(level=19).compress(envelope + body)
        began = time.process_time()
        verdicts, *_ = store.append([frame] * 64, LATER)
        assert time.process_time() - began < 1
        assert {verdict.answer for verdict in verdicts} == {Answer.REFUSED}
    assert one(store, running.block()).answer == Answer.STORED
