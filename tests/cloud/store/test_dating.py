"""Blocks of a box that did not know the time: kept at once, booked when a correction says when they were."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud import statements
from cloud.accounting import period as periods
from cloud.evidence import verify
from cloud.evidence.pack import pack_bytes
from cloud.intervals import Interval
from cloud.store import Store
from protocols.record.answer import Answer
from protocols.record.block import ClockState, Event, EventKind
from protocols.record.cose import PrivateKey

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
YEARS = 20 * 365 * DAY
GOOD, UNKNOWN, RTC = ClockState(2, 2, 5, 0), ClockState(0, 0, 16_000, 0), ClockState(1, 1, 16_000, 0)


@dataclass
class Clocked:
    """A box of ``conftest`` whose belief in UTC can be set; ``true`` is the UTC that its monotonic time has come to."""

    box: Any
    frames: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.true = self.box.utc

    def run(self, minutes: int, clock: ClockState = GOOD, events: tuple[Event, ...] = ()) -> None:
        """So many blocks of a minute; ``events`` in the first."""
        for _ in range(minutes):
            changes = {"events": events} if events else {}
            self.frames.append(self.box.block(clock=clock, **changes))
            self.true, events = self.true + MINUTE, ()

    def boot(self, down: int, believed: int, clock: ClockState) -> None:
        """A power cut, after which UTC is believed to be ``believed``."""
        event = Event(EventKind.BOOT, self.box.utc, believed, "power cut")
        self.true += down
        self.box.utc, self.box.mono = believed, 0
        self.frames.append(self.box.block(clock=clock, boot=self.box.boot + 1, events=(event,)))
        self.true += MINUTE

    def step(self, utc: int, clock: ClockState, *kinds: EventKind) -> None:
        """UTC is believed to be ``utc`` from now on, which the events of these kinds tell."""
        events = tuple([Event(kind, self.box.utc, utc, "clock") for kind in kinds])
        self.box.utc = utc
        self.run(1, clock, events)

    def correct(self) -> None:
        """The right time has come."""
        self.step(self.true, GOOD, EventKind.CLOCK_STEP, EventKind.CORRECTION)


@pytest.fixture
def clocked(box: Any, store: Store) -> Clocked:
    box.enrol(store)
    return Clocked(box)


def booked(store: Store, gateway: bytes) -> list[Interval]:
    return [row.interval for row in sorted(store.intervals(gateway=gateway), key=lambda row: row.interval.start)]


def energy(rows: list[Interval], device: str = "M-01") -> Decimal:
    return sum((row.consumption or Decimal(0) for row in rows if row.device == device), Decimal(0))


def take(store: Store, frames: list[bytes], now: int, batch: int = 7) -> None:
    for at in range(0, len(frames), batch):
        verdicts, receipt, _ = store.append(frames[at : at + batch], now)
        assert {verdict.answer for verdict in verdicts} == {Answer.STORED}, verdicts
        assert receipt is not None


def again(tmp_path: Path, box: Any, frames: list[bytes], now: int, batch: int) -> list[Interval]:
    """What an empty collector books of the same blocks at another time and in other batches."""
    with Store(tmp_path / f"again-{len(list(tmp_path.iterdir()))}.db", PrivateKey.generate()) as other:
        box.enrol(other)
        take(other, frames, now, batch)
        return booked(other, box.id)


def test_fault_26_a_boot_in_1970_is_kept_and_shown_but_not_booked(clocked: Clocked, store: Store) -> None:
    clocked.run(3)
    take(store, clocked.frames, clocked.true)
    before, end = booked(store, clocked.box.id), store.gateways()[0].block_end
    assert all(value.dated for value in store.latest(clocked.box.id))
    clocked.boot(10 * MINUTE, 60_000, UNKNOWN)
    clocked.run(4, UNKNOWN)
    take(store, clocked.frames[3:], clocked.true)
    (gateway,) = store.gateways()
    assert (gateway.blocks, gateway.block_end) == (8, end), "held and receipted, but not what the day is closed by"
    assert booked(store, gateway.id) == before
    live = {value.point: value for value in store.latest(gateway.id) if value.device == "M-01"}
    assert not live["energy_import"].dated and live["energy_import"].value == Decimal(clocked.box.energy - 1) / 100
    assert not store.blocks_between(gateway.id, 0, DAY)


@pytest.mark.parametrize("believed", [60_000, -3 * DAY, 3 * DAY, 500 * DAY])
def test_fault_26_a_correction_books_what_a_right_clock_would_have(
    make_box: Callable[..., Any], tmp_path: Path, believed: int
) -> None:
    rows = []
    key, technician = PrivateKey.generate(), PrivateKey.generate()
    for wrong in (False, True):
        with Store(tmp_path / f"{wrong}.db", PrivateKey.generate()) as store:
            box = make_box(key=key, technician=technician)
            box.enrol(store)
            clocked = Clocked(box)
            clocked.run(20)
            true = clocked.true + 10 * MINUTE
            saved = believed if believed == 60_000 else true + believed
            clocked.boot(10 * MINUTE, saved if wrong else true, UNKNOWN if wrong else GOOD)
            clocked.run(40, UNKNOWN if wrong else GOOD)
            if wrong:
                clocked.correct()
            else:
                clocked.run(1)
            clocked.run(10)
            take(store, clocked.frames, clocked.true)
            rows.append(booked(store, box.id))
            times = [(row.utc_start, row.utc_end) for row in store.blocks(box.id)]
            assert times == sorted(times) and all(value.dated for value in store.latest(box.id))
            assert again(tmp_path, box, clocked.frames, clocked.true + YEARS, 64) == rows[-1]
            assert again(tmp_path, box, clocked.frames, 0, 1) == rows[-1]
    assert rows[0] == rows[1], "every register, count and coverage of every interval"


def test_a_collector_that_is_restarted_meanwhile_dates_the_same_blocks(clocked: Clocked, tmp_path: Path) -> None:
    clocked.run(5)
    clocked.boot(MINUTE, 60_000, UNKNOWN)
    clocked.run(30, UNKNOWN)
    clocked.correct()
    clocked.run(3)
    key, found = PrivateKey.generate(), []
    for every in (len(clocked.frames), 4):
        path = tmp_path / f"restarted-{every}.db"
        with Store(path, key) as store:
            clocked.box.enrol(store)
        for at in range(0, len(clocked.frames), every):
            with Store(path, key) as store:
                take(store, clocked.frames[at : at + every], clocked.true)
        with Store(path, key) as store:
            found.append(booked(store, clocked.box.id))
    assert found[0] == found[1] and energy(found[0]) > 0


def test_a_boot_that_ends_without_a_correction_is_never_dated_and_its_energy_is_bridged(
    clocked: Clocked, store: Store
) -> None:
    clocked.run(5)
    first = Decimal(clocked.box.energy - 1) / 100
    clocked.boot(0, 60_000, UNKNOWN)
    clocked.run(9, UNKNOWN)
    clocked.boot(0, clocked.true, GOOD)
    clocked.correct()
    take(store, clocked.frames, clocked.true)
    rows = booked(store, clocked.box.id)
    counted = [row for row in rows if row.device == "M-01"]
    assert counted[-1].register_end.value > first
    assert energy(rows) == (counted[-1].register_end.value - counted[0].register_start.value) * 80
    assert sum(row.readings for row in counted) == 6 * (5 + 1 + 1)


def test_fault_28_a_step_of_twenty_years_and_back_books_nothing_in_the_far_years(
    clocked: Clocked, store: Store, tmp_path: Path
) -> None:
    clocked.run(20)
    clocked.step(clocked.true + YEARS, GOOD, EventKind.CLOCK_STEP)
    clocked.run(20)
    take(store, clocked.frames, clocked.true)
    assert all(row.end <= clocked.true for row in booked(store, clocked.box.id) if row.closed)
    assert [incident.kind for incident in store.incidents()] == ["clock"]
    clocked.correct()
    clocked.run(20)
    take(store, clocked.frames[41:], clocked.true)
    rows = [row for row in booked(store, clocked.box.id) if row.device == "M-01"]
    assert {row.quality for row in rows} == {"measured"} and rows[-1].end < clocked.true + HOUR
    assert sum(row.readings for row in rows) == 6 * 62
    assert energy(rows) == (rows[-1].register_end.value - rows[0].register_start.value) * 80
    assert again(tmp_path, clocked.box, clocked.frames, clocked.true + 2 * YEARS, 64) == booked(store, clocked.box.id)


def test_fault_29_a_clock_that_proves_itself_is_believed_however_far_it_went(clocked: Clocked, store: Store) -> None:
    clocked.run(5)
    clocked.boot(500 * DAY, clocked.true + 500 * DAY, GOOD)
    clocked.run(9)
    assert clocked.true == clocked.box.utc, "the box was in a store room, and its clock is right"
    take(store, clocked.frames, clocked.true)
    start = clocked.true - 12 * MINUTE
    assert all(row.start < start for row in booked(store, clocked.box.id)), "nothing vouches for the clock yet"
    clocked.step(clocked.true, GOOD, EventKind.CORRECTION)
    take(store, clocked.frames[15:], clocked.true)
    rows = [row for row in booked(store, clocked.box.id) if row.device == "M-01" and row.end > start]
    assert sum(row.readings for row in rows) == 6 * 11


def test_a_correction_that_cannot_be_keeps_its_place_and_dates_nothing(clocked: Clocked, store: Store) -> None:
    clocked.run(2)
    clocked.boot(0, 60_000, UNKNOWN)
    take(store, clocked.frames, clocked.true)
    box, before = clocked.box, booked(store, clocked.box.id)
    utc, mono = box.utc, box.mono
    good = (Event(EventKind.CORRECTION, utc, clocked.true, ""),)
    step = (Event(EventKind.CLOCK_STEP, utc, clocked.true, ""),)
    wrong = (
        (good, UNKNOWN),
        (good * 2, GOOD),
        ((replace(good[0], start=utc + MINUTE),), GOOD),
        ((replace(good[0], end=clocked.true + MINUTE),), GOOD),
    )
    for number, (events, clock) in enumerate(wrong):
        other = replace(box)
        for name in ("configuration", "installation", "config", "enrolment", "previous"):
            setattr(other, name, getattr(box, name))
        other.utc, other.mono = clocked.true, mono
        frame = other.block(events=(*step, *events), clock=clock)
        with Store(store.path.with_name(f"{number}.db"), store.key) as held:
            box.enrol(held)
            take(held, clocked.frames, clocked.true)
            ((verdict,), *_) = held.append([frame], clocked.true)
            assert (verdict.answer, verdict.code, verdict.wanted) == (Answer.REFUSED, "SIG-602", other.seq), verdict
            assert "correction" in verdict.detail and booked(held, box.id) == before


def test_a_pack_of_blocks_that_were_dated_later_proves_the_same_figure(clocked: Clocked, store: Store) -> None:
    clocked.run(20)
    clocked.boot(MINUTE, 60_000, UNKNOWN)
    clocked.run(40, UNKNOWN)
    early = clocked.true
    take(store, clocked.frames, clocked.true)
    zone = ZoneInfo("Asia/Shanghai")
    day = periods.day_of(clocked.true, zone)
    assert store.key is not None
    first = statements.close(store, "plant-7", day, early)
    clocked.correct()
    clocked.run(20)
    take(store, clocked.frames[61:], clocked.true)
    second = statements.close(store, "plant-7", day, clocked.true)
    assert second.version == first.version + 1 and second.content.kwh > first.content.kwh
    for version in (first, second):
        report = verify.verify(pack_bytes(store, store.key, version))
        assert report.statement == version
    (walked,) = report.gateways
    assert len(walked.booked) == walked.blocks and len({one.shift_ms for one in walked.booked.values()}) == 2
    (run,) = second.content.lines[0].meters[0].runs
    gateway, meter = walked.identity.id, second.content.lines[0].meters[0]
    for register in (run.opening, run.closing):
        frame = report.frame(gateway, meter.device, "energy_import", register)
        assert frame is not None and Decimal(frame.value) == register.value


MOVES = st.lists(
    st.tuples(st.sampled_from(["run", "back", "ahead", "far", "forget", "boot", "correct"]), st.integers(1, 6)),
    min_size=2,
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES, batch=st.integers(1, 20))
def test_whatever_the_clock_does_nothing_is_booked_twice_and_sums_are_exact(
    make_box: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int]], batch: int
) -> None:
    path = tmp_path_factory.mktemp("clock")
    with Store(path / "collector.db", PrivateKey.generate()) as store:
        clocked = Clocked(make_box())
        clocked.box.enrol(store)
        clocked.run(2)
        clock = GOOD
        for move, size in moves:
            match move:
                case "run":
                    clocked.run(size, clock)
                case "back":
                    clocked.step(max(0, clocked.box.utc - size * 29 * MINUTE), clock, EventKind.CLOCK_STEP)
                case "ahead":
                    clocked.step(clocked.box.utc + size * 29 * MINUTE, clock, EventKind.CLOCK_STEP)
                case "far":
                    clocked.step(clocked.box.utc + size * 120 * DAY, clock, EventKind.CLOCK_STEP)
                case "forget":
                    clocked.boot(size * MINUTE, size * 1000, UNKNOWN)
                    clock = UNKNOWN
                case "boot":
                    clocked.boot(size * MINUTE, clocked.true + size * MINUTE, RTC)
                    clock = RTC
                case _:
                    clocked.correct()
                    clock = GOOD
        clocked.correct()
        clocked.run(2)
        take(store, clocked.frames, clocked.true, batch)
        rows = [row for row in booked(store, clocked.box.id) if row.device == "M-01"]
        for before, after in pairwise(rows):
            assert before.end <= after.start, "an interval is there once"
            assert before.register_end.value == after.register_start.value, (
                "and what one ends with the next begins with"
            )
        assert energy(rows) == (rows[-1].register_end.value - rows[0].register_start.value) * 80
        assert rows[-1].register_end.value == Decimal(clocked.box.energy - 1) / 100
        assert (
            sum(row.readings for row in rows)
            <= sum(block.readings for block in store.blocks(clocked.box.id, 0, 999)) // 4
        )
        assert again(path, clocked.box, clocked.frames, 0, 64) == booked(store, clocked.box.id)
