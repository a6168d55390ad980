"""When a block was, as the signed record alone tells it: what is dated, and what dates a block later. Pure.

- A block is dated when its clock knows the time (its state is not unknown, UTC lies behind 2020) and its UTC can be:
  within a boot at most a day ahead of where monotonic time has come to since the last dated block, after a boot at most
  400 days behind it. Every other block is undated: it keeps its place in the chain, and nothing of it is booked.
- A correction dates its own block, and all undated blocks before it of the same boot and epoch: by monotonic time,
  counted back from the start of its own block. They are booked then, in chain order, before it.
- A boot that ends without a correction stays undated. Counters bridge it, as they do any gap.

When a block was received plays no part in it, so that whoever replays the same chain books the same figures.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from cloud.intervals import EARLIEST_UTC_MS
from protocols.record.block import EventKind, Header

UNKNOWN = 0
"""The state of a clock that does not know the time."""
DAY_MS = 86_400_000
AHEAD_MS = DAY_MS
"""A step ahead within a boot that is taken for what it says without a correction."""
DOWN_MS = 400 * DAY_MS
"""How long a box may have been down before its clock must be corrected to be believed."""


@dataclass(frozen=True, slots=True)
class Line:
    """An instant of a boot by both clocks (ms): from here UTC is told of every other instant of that boot."""

    epoch: int
    boot: int
    mono: int
    utc: int

    def holds(self, header: Header) -> bool:
        """Whether a block is of this boot."""
        return (header.epoch, header.boot) == (self.epoch, self.boot)

    def date(self, header: Header) -> Header:
        """A block of this boot with the UTC it had by this line."""
        start, end = header.mono
        return replace(header, utc=(self.utc + start - self.mono, self.utc + end - self.mono))


def is_dated(last: Line | None, header: Header) -> bool:
    """Whether a block that keeps to its course is booked where it says; ``last``: the end of the last dated block."""
    if header.clock.state == UNKNOWN or min(header.utc) < EARLIEST_UTC_MS:
        return False
    if last is None or correction(header) is not None:
        return True
    if last.holds(header):
        return header.utc[0] - last.utc <= header.mono[0] - last.mono + AHEAD_MS
    return header.utc[0] - last.utc <= DOWN_MS


def correction(header: Header) -> Line | None:
    """The line of time that a block's correction gives to its boot; None where it has none."""
    if all(event.kind != EventKind.CORRECTION for event in header.events):
        return None
    return Line(header.epoch, header.boot, header.mono[0], header.utc[0])


def end_of(header: Header) -> Line:
    """Where a dated block leaves the time."""
    return Line(header.epoch, header.boot, header.mono[1], header.utc[1])
