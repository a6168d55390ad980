"""Which requests to send: the least bus time for a set of points, exactly, by dynamic programming.

A plan follows from the signed files alone: the link of the profile, with what the site file says of the device's line.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from drivers.bustime import Line, Pace
from drivers.cover import Interval, cover, merged, without
from drivers.profile import Link, Point, Profile
from drivers.query import Query
from drivers.registers import REGISTERS
from drivers.site import Device, duration_ms
from protocols.errors import ConfigError

SPACE = 0x10000


@dataclass(frozen=True, slots=True)
class Span:
    """One Modbus read: function, first address, and how many registers or bits."""

    function: int
    address: int
    count: int

    def holds(self, point: Point) -> bool:
        """Whether this read brings the whole of the point."""
        first, end = extent(point)
        return point.fc == self.function and self.address <= first and end <= self.address + self.count


def selected(device: Device, profile: Profile, where: str) -> tuple[Point, ...]:
    """The points asked of a device, in the profile's order, and those that their values cannot be told without: the
    flag that must be 0, the factor. ConfigError for one the model does not have.
    """
    known = {point.id for point in profile.points}
    for index, name in enumerate(device.points):
        if name not in known:
            expected = f"a point of {profile.id}: " + ", ".join(sorted(known))
            raise ConfigError(f"{where}.points[{index}]", repr(name), expected)
    if not device.points:
        return profile.points
    named = [point for point in profile.points if point.id in device.points]
    wanted = {other for point in named for other in (point.id, point.flag, point.scale_by)}
    return tuple(point for point in profile.points if point.id in wanted)


def periods(points: Iterable[Point], device: Device, profile: Profile) -> dict[int, list[Point]]:
    """Points by period in ms, fastest first: the point's own period, else the device's, else the profile's."""
    found: dict[int, list[Point]] = {}
    for point in points:
        found.setdefault(duration_ms(point.period or device.period or profile.period), []).append(point)
    return dict(sorted(found.items()))


def modbus_spans(points: Iterable[Point], profile: Profile) -> tuple[Span, ...]:
    """The reads that bring these points in the least bus time; ConfigError when a point fits in no read."""
    by_function: dict[int, list[Point]] = {}
    for point in points:
        by_function.setdefault(point.fc or 0, []).append(point)
    return tuple(span for function, held in sorted(by_function.items()) for span in _function(function, held, profile))


def dlt645_identifiers(points: Sequence[Point], profile: Profile) -> tuple[str, ...]:
    """The data identifiers that bring these points in the least bus time: a block where it beats its items."""
    chosen: dict[str, None] = {}
    time = pace(profile.link).dlt645
    for point in points:
        block = [other for other in points if other.block is not None and other.block == point.block]
        items = {other.di: None for other in block}
        singly = sum(time(width(other)) for other in block)
        together = time(_block_width(point, profile)) if block else 0
        if len(items) > 1 and together < singly:
            chosen[str(point.block)] = None
        else:
            chosen[str(point.di)] = None
    return tuple(chosen)


def due_bounds(queries: Iterable[Query], span_ms: int) -> tuple[int, int]:
    """How many questions a stretch of time can owe: the least and the most.

    Slots lie on UTC multiples of the period: a stretch holds floor or ceil of span/period of them, and one may slip
    over either end.
    """
    low = high = 0
    for query in queries:
        low += max(0, span_ms // query.period_ms - 1)
        high += -(-span_ms // query.period_ms) + 1
    return low, high


def pace(link: Link) -> Pace:
    """How a device of this link talks, at its first rate."""
    return Pace(Line(link.baud[0], 1 + 8 + (link.parity != "N") + link.stopbits), link.turnaround_ms, link.guard_ms)


def extent(point: Point) -> Interval:
    """The registers or bits of a Modbus point."""
    address = point.address or 0
    return address, address + REGISTERS[point.type or "u16"]


def width(point: Point) -> int:
    """The bytes of a DL/T 645 value: two digits each."""
    return len((point.digits or "").replace(".", "")) // 2


def _function(function: int, points: Sequence[Point], profile: Profile) -> Iterator[Span]:
    link = profile.link
    limit = link.max_registers * (16 if function <= 2 else 1)
    allowed = tuple(_allowed(function, profile))
    try:
        runs = _runs(function, tuple(fields(points)), limit, allowed, pace(link))
    except ValueError as error:
        first, end = error.args[0]
        expected = f"at most {limit} in one read, none forbidden, none unknown between them"
        found = f"{end - first} addresses to {end - 1}"
        raise ConfigError(f"profile {profile.id}: points at {first}", found, expected) from error
    return (Span(function, start, end - start) for start, end in runs)


@lru_cache(maxsize=1024)
def _runs(
    function: int, wanted: tuple[Interval, ...], limit: int, allowed: tuple[Interval, ...], link: Pace
) -> tuple[Interval, ...]:
    """The reads of least bus time; a city has thousands of devices of each model."""
    return tuple(cover(wanted, lambda count: link.modbus(function, count), limit, allowed))


def fields(points: Iterable[Point]) -> Iterator[Interval]:
    """What must come in one read: each point, and the whole of each snapshot group."""
    groups: dict[str, Interval] = {}
    for point in points:
        first, end = extent(point)
        if point.snapshot is None:
            yield first, end
        else:
            low, high = groups.get(point.snapshot, (first, end))
            groups[point.snapshot] = (min(low, first), max(high, end))
    yield from groups.values()


def _allowed(function: int, profile: Profile) -> list[Interval]:
    """Where a read may run: over what the model documents, or everywhere, never over what it forbids."""
    link = profile.link
    if link.readable_gaps:
        known = [(0, SPACE)]
    else:
        known = [extent(point) for point in profile.points if point.fc == function]
        known += [(first, last + 1) for first, last in link.readable if function > 2]
    return list(without(merged(known), [(first, last + 1) for first, last in link.forbidden]))


def _block_width(point: Point, profile: Profile) -> int:
    return sum(width(other) for other in profile.points if other.block == point.block)
