"""I6: what was due is answered once, or told of by a fault or a declared gap; never both, never neither."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from protocols.record.block import EventKind, Header
from simulator.fleet.node import Node
from simulator.fleet.rows import Row

if TYPE_CHECKING:
    from simulator.fleet.fleet import Fleet

SYNCHRONISED = 2
ENDS = frozenset({EventKind.SHUTDOWN, EventKind.POWER_LOSS})
COVERING = frozenset({EventKind.BOOT, EventKind.POWER_LOSS, EventKind.GAP, EventKind.SHUTDOWN})
Opened = list[tuple[Row, Header]]


def every_slot(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """Every slot of every meter of a box, each block of which the collector takes for what its plan owes."""
    refused = [row for row in rows if row.fault]
    if refused:
        why = f"{refused[0].name} is refused: {refused[0].fault}"
        fleet.witness.tell("I6", f"gateway {node.index}: the record of an honest box {why}")
    _every_end(fleet, node, rows)
    for stretch in _stretches(node, rows):
        if not refused and not _told(fleet, node, stretch):
            return


def _stretches(node: Node, rows: list[Row]) -> Iterator[Opened]:
    """What follows one another on one line of time: all of it, but where that steps (there slots come twice or not at
    all), where a clock that was set is not known to be right, and where the disk took what lay between two epochs.
    """
    stretch: Opened = []
    for row in rows:
        header = row.header
        lost = stretch and node.witness.lossy and not _follows(stretch[-1][0], row)
        if header is None or lost or _steps(header):
            yield stretch
            stretch = []
        if header is not None and not (node.witness.distorted and header.clock.state != SYNCHRONISED):
            stretch.append((row, header))
        elif stretch:
            yield stretch
            stretch = []
    yield stretch


def _follows(before: Row, row: Row) -> bool:
    return (row.epoch, row.seq) == (before.epoch, before.seq + 1)


def _steps(header: Header) -> bool:
    moved = {event.kind for event in header.events if event.start != event.end}
    return bool(moved & {EventKind.CLOCK_STEP, EventKind.CORRECTION})


def _every_end(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """The last block of each run tells how it ended, unless the disk took it."""
    for before, row in pairwise(rows):
        if before.header is None or row.header is None or before.header.boot == row.header.boot:
            continue
        took = node.witness.lossy and not _follows(before, row)
        if not took and not ENDS & {event.kind for event in before.header.events}:
            fleet.witness.tell("I6", f"gateway {node.index}: {before.name} ends a run and does not tell how")


def _told(fleet: "Fleet", node: Node, stretch: Opened) -> bool:
    """Counted by the UTC of the record."""
    if not stretch:
        return True
    period = fleet.period_ms
    covered = [(event.start, event.end) for _, header in stretch for event in header.events if event.kind in COVERING]
    between = stretch[0][1].utc[0], stretch[-1][1].utc[1]
    for device in range(len(node.meters)):
        answers, faults = _of_device(stretch, device)
        if amiss := broken(answers, faults, between, period, covered):
            fleet.witness.tell("I6", f"gateway {node.index} device {device}: {amiss}")
            return False
    return True


def _of_device(stretch: Opened, device: int) -> tuple[list[int], list[int]]:
    """When it answered, and when a fault was noted of it (UTC ms)."""
    answers = [read.utc for row, _ in stretch for read in row.reads() if read.device == device]
    faults = [
        header.utc[0] + fault.at
        for row, header in stretch
        for chunk in row.chunks
        if chunk.device == device
        for fault in chunk.faults
    ]
    return answers, faults


def broken(
    answers: Iterable[int], faults: Iterable[int], between: tuple[int, int], period: int, covered: list[tuple[int, int]]
) -> str:
    """What is amiss with the slots of a question ``between`` two instants (UTC ms); empty where nothing is.

    A fault names no slot, and one slot of a question may wait until the next has come: a slot of which nothing in its
    own period tells is told of by a fault in the next, or by the first of two answers there. That one then tells of no
    other, so that each slot has its own.
    """
    answered, failed = (Counter(at // period for at in instants) for instants in (answers, faults))
    first, last = between
    waits = False
    for slot in range(-(-first // period), last // period + 1):
        came, failures = answered[slot], failed[slot]
        if waits and failures:
            failures -= 1
        elif waits and came > 1:
            came -= 1
        elif waits and slot * period < last:
            return f"nothing tells of slot {(slot - 1) * period}"
        if (slot + 1) * period <= last:
            if came > 1:
                return f"slot {slot * period} stands twice"
            waits = not came and not failures and not _declared(slot * period, period, covered)
    return ""


def _declared(slot: int, period: int, covered: list[tuple[int, int]]) -> bool:
    return any(start < slot + period and slot <= end for start, end in covered)
