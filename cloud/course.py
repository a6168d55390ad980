"""What a block must keep to: the course of its gateway, its clocks, its plan. Pure; collector and verifier judge by it.

- It lasts a day at most, but for what it declares as a gap.
- UTC runs as monotonic time does, but for a declared step.
- Within a boot monotonic time touches the block before, and so does UTC, but for a declared step.
- A correction is the only one of its block, by a clock that knows the time; it leads from the end of the block before
  to the block's own start.
- A new boot has a higher number and a boot event that spans from the end of the block before to its own start.
- The configuration number is not below that of a block that was booked.
- What was due is what the signed plan owes in that time, for every device, and more only where a device speaks unasked;
  answers to questions beyond the plan do not count; what nothing tells of fits in the declared gaps.
- No question of the plan stands in for another: each has its answers and faults, but for what the gaps declare. (Where
  the clock steps, slots may come twice or not at all.)

Where the box did not know the time, on either side, UTC is not compared. A block that breaks a rule keeps its place in
the chain and books nothing; its course is still what the next one goes on from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from cloud.dating import UNKNOWN
from cloud.intervals import EARLIEST_UTC_MS
from drivers.installation import Installation
from drivers.plan import due_bounds
from drivers.query import Query
from protocols.errors import ChainError
from protocols.record.block import GAPS, Chunk, EventKind, Header
from protocols.record.chunk import undeclared

CLOCKS_APART_MS = 5_000
DAY_MS = 86_400_000
MOST_KNOWN, MOST_BYTES, TRACK_BYTES = 256, 1 << 15, 100
"""Ways to keep to a plan that are remembered of a device; none whose questions come to more bytes, each counted for so
many more: beyond its plan a device may be asked anything.
"""
LONGEST_MS = 400 * DAY_MS
"""The longest block of all, gaps included."""


class Course(msgspec.Struct, frozen=True, gc=False):
    """What a block leaves for the next one to go on from: the ends of its clocks (ms), and the highest configuration
    number of the blocks booked so far.
    """

    epoch: int
    boot: int
    mono: int
    utc: int
    configuration: int


def after(before: Course | None, header: Header, booked: bool) -> Course:
    """The course once this block is in the chain. One that was refused does not raise the configuration number."""
    number = before.configuration if before is not None else 0
    if booked:
        number = max(number, header.configuration[0])
    return Course(header.epoch, header.boot, header.mono[1], header.utc[1], number)


def check(before: Course | None, header: Header) -> None:
    """What a header must keep to after the block before, None where that is not known; ChainError."""
    _check_length(header)
    _check_clocks(header)
    _check_correction(before, header)
    if before is None:
        if (header.epoch, header.seq) == (0, 0) and not _has(header, EventKind.BOOT):
            raise ChainError("found the first block of all without a boot event")
        return
    number = header.configuration[0]
    if number < before.configuration:
        raise ChainError(f"found configuration {number} after {before.configuration}, expected no lower number")
    if header.boot != before.boot:
        _check_boot(before, header)
    elif header.epoch == before.epoch:
        _check_touching(before, header)


def check_plan(header: Header, chunks: Iterable[Chunk], installation: Installation) -> None:
    """Every device of the signed plan was due what it owes in this time, and no other device speaks; ChainError."""
    span, plans = header.mono[1] - header.mono[0], _plans(installation)
    stepped = _stepped(header)
    due = [0] * len(plans)
    asked, kept = [], set[int]()
    for chunk in chunks:
        installation.driver(chunk.device, chunk.device_digest)
        plan = plans[chunk.device]
        if plan.kept(chunk, span):
            kept.add(chunk.device)
            continue
        for fault in chunk.faults:
            if fault.query >= len(plan.queries):
                raise ChainError(f"device {chunk.device}: found request {fault.query} of a plan of {len(plan.queries)}")
        told, beyond = plan.told(chunk)
        due[chunk.device] = chunk.counters.due - beyond
        _check_gaps(header, chunk, plan.queries)
        asked.append((chunk, plan, told))
    for number, plan in enumerate(plans):
        if number in kept:
            continue
        low, high = due_bounds(plan.queries, span)
        if not low <= due[number] <= (due[number] if plan.unasked else high):
            raise ChainError(f"device {number}: found {due[number]} due in {span} ms, expected {low} to {high}")
    for chunk, plan, told in asked if not stepped else ():
        _check_each(chunk, plan, told, span)
        plan.keep(chunk, span)


@dataclass(frozen=True, slots=True)
class Plan:
    """The signed plan of a device. ``numbers``: each wording, and the question it is of: the first that has it.

    ``known``: what was answered, and how often, in chunks without a fault that kept to it.
    """

    queries: tuple[Query, ...]
    numbers: Mapping[bytes, int]
    unasked: bool
    known: set[tuple[object, ...]] = field(default_factory=set, compare=False)

    def kept(self, chunk: Chunk, span: int) -> bool:
        """Whether a chunk is known to keep to the plan, in every point, over a block that lasts ``span`` ms."""
        return not chunk.faults and chunk.counters.due == chunk.counters.asked and _told(chunk, span) in self.known

    def keep(self, chunk: Chunk, span: int) -> None:
        """A chunk has been found to keep to it in every point."""
        if not chunk.faults and chunk.counters.due == chunk.counters.asked:
            if len(self.known) >= MOST_KNOWN:
                self.known.clear()
            if sum([len(track.request) + TRACK_BYTES for track in chunk.tracks]) <= MOST_BYTES:
                self.known.add(_told(chunk, span))

    def told(self, chunk: Chunk) -> tuple[list[int], int]:
        """How often each question was answered or declared a fault; and the answers to questions beyond the plan:
        history, identification, the parts of a read that is refused.
        """
        told, beyond = [0] * len(self.queries), 0
        for track in chunk.tracks:
            number = self.numbers.get(track.request)
            if number is None:
                beyond += len(track.times)
            else:
                told[number] += len(track.times)
        for fault in chunk.faults:
            told[self.numbers[self.queries[fault.query].request]] += 1
        return told, beyond


def _check_length(header: Header) -> None:
    span = max(header.mono[1] - header.mono[0], abs(header.utc[1] - header.utc[0]))
    if span > DAY_MS and span > min(DAY_MS + sum(_gaps(header)), LONGEST_MS):
        raise ChainError(f"found a block of {span} ms, expected at most {DAY_MS} besides its declared gaps")


def _check_clocks(header: Header) -> None:
    apart = abs((header.utc[1] - header.utc[0]) - (header.mono[1] - header.mono[0]))
    if apart > CLOCKS_APART_MS and not _stepped(header):
        raise ChainError(f"found UTC and monotonic time {apart} ms apart over the block, expected a clock step event")


def _check_correction(before: Course | None, header: Header) -> None:
    """A correction says what the end of the block before was by the clock that has come."""
    found = [event for event in header.events if event.kind == EventKind.CORRECTION]
    if not found:
        return
    if len(found) > 1 or header.clock.state == UNKNOWN or min(header.utc) < EARLIEST_UTC_MS:
        raise ChainError(
            f"found {len(found)} corrections by a clock of state {header.clock.state}, expected one by a good one"
        )
    within = before is not None and (before.epoch, before.boot) == (header.epoch, header.boot)
    start = before.utc if within and before is not None else found[0].start
    if max(abs(found[0].start - start), abs(found[0].end - header.utc[0])) > CLOCKS_APART_MS:
        raise ChainError(
            f"found a correction from {found[0].start} to {found[0].end}, expected one from {start} to {header.utc[0]}"
        )


def _check_touching(before: Course, header: Header) -> None:
    """Both clocks go on where they stood."""
    if header.mono[0] != before.mono:
        raise ChainError(f"boot {header.boot}: found monotonic time from {header.mono[0]}, expected {before.mono}")
    apart = abs(header.utc[0] - before.utc)
    if apart > CLOCKS_APART_MS and _known(before, header) and not _stepped(header):
        raise ChainError(f"found UTC from {header.utc[0]} after {before.utc}, expected a clock step event")


def _check_boot(before: Course, header: Header) -> None:
    """A boot begins with an event that bounds the downtime, where the box knew the time and kept its chain."""
    boots = [event for event in header.events if event.kind == EventKind.BOOT]
    if not boots:
        raise ChainError(f"found boot {header.boot} after {before.boot} without a boot event")
    if header.epoch != before.epoch:
        return
    if header.boot < before.boot:
        raise ChainError(f"found boot {header.boot} after {before.boot}, expected a higher number")
    start, end = before.utc + CLOCKS_APART_MS, header.utc[0] - CLOCKS_APART_MS
    if _known(before, header) and not any(event.start <= start and event.end >= end for event in boots):
        raise ChainError(
            f"found a boot event from {boots[0].start} to {boots[0].end}, expected one from {before.utc} to"
            f" {header.utc[0]}: the downtime"
        )


def _check_gaps(header: Header, chunk: Chunk, queries: Sequence[Query]) -> None:
    """Questions that nothing else tells of are no more than the declared gaps can hold."""
    missing = undeclared(chunk)
    if missing and missing > (most := sum([due_bounds(queries, gap)[1] for gap in _gaps(header)])):
        raise ChainError(
            f"device {chunk.device}: found {missing} questions unaccounted for, expected at most {most} in the gaps"
        )


def _check_each(chunk: Chunk, plan: Plan, told: Sequence[int], span: int) -> None:
    """What is missing of single questions is no more than what nothing tells of at all."""
    missing = 0
    for query in plan.queries:
        if query.request:
            missing += max(0, due_bounds((query,), span)[0] - told[plan.numbers[query.request]])
    if missing and missing > (most := undeclared(chunk)):
        raise ChainError(
            f"device {chunk.device}: found {missing} questions of the plan neither answered nor declared,"
            f" expected at most {most}"
        )


def _gaps(header: Header) -> list[int]:
    """How long each declared gap lasts within the block, in ms."""
    low, high = min(header.utc), max(header.utc)
    lengths = [min(event.end, high) - max(event.start, low) for event in header.events if event.kind in GAPS]
    return [length for length in lengths if length >= 0]


def _stepped(header: Header) -> bool:
    """Whether UTC was moved. A step that was not believed is told of by an event that moves nothing."""
    return any(event.kind == EventKind.CLOCK_STEP and event.start != event.end for event in header.events)


def _has(header: Header, kind: EventKind) -> bool:
    return any(event.kind == kind for event in header.events)


def _known(before: Course, header: Header) -> bool:
    return min(before.utc, header.utc[0]) >= EARLIEST_UTC_MS


def _told(chunk: Chunk, span: int) -> tuple[object, ...]:
    """All that the plan asks of a chunk without a fault, in which nothing is missing."""
    return (span, chunk.counters.due, *[(track.request, len(track.times)) for track in chunk.tracks])


@lru_cache(maxsize=64)
def _plans(installation: Installation) -> tuple[Plan, ...]:
    """The signed plan of every device."""
    return tuple(_plan(driver.queries()) for driver in installation.drivers)


def _plan(queries: tuple[Query, ...]) -> Plan:
    numbers: dict[bytes, int] = {}
    for number, query in enumerate(queries):
        for wording in query.wordings:
            numbers.setdefault(wording, number)
    return Plan(queries, numbers, any(not query.request for query in queries))
