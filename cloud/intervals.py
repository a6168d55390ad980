"""Fifteen-minute intervals (时段) of a counter, and what the signed configuration says of the counter.

Pure, exact, and without numpy, so that a verifier books the very same rows from the readings it replays. How readings
become intervals: ``cloud/count.py``, ``cloud/series.py``. Registers and intervals are structs: of every series one is
made for every block, and a frozen dataclass takes twenty times as long to make. The search for cycles leaves them out
(``gc=False``).
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, get_args

import msgspec

from drivers.installation import Installation
from drivers.profile import Point
from drivers.quantity import EXACT
from drivers.site import Device

Quality = Literal["measured", "estimated", "suspect", "absent"]
"""``absent``: a rate of which nothing was heard in the interval."""
Booked = Literal["counter", "rate"]
State = Literal[
    "ok",
    "rollover",
    "jump-ignored",
    "backwards-ignored",
    "reset-suspected",
    "unexplained",
    "reset",
    "ratio",
    "replaced",
]
"""The gravest thing that happened to a count within an interval.

``rollover``: it went over its modulus. ``jump-ignored`` and ``backwards-ignored``: a reading that could not follow was
left out. ``reset-suspected``: several such that go on from one another. ``reset``, ``unexplained``: they proved to be a
new stretch. ``ratio``: a register that says how the meter counts has changed. ``replaced``: another meter.
"""
STATES: tuple[State, ...] = get_args(State)
"""From harmless to grave."""

INTERVAL_MS = 900_000
HOUR_MS = 3_600_000
SLACK_MS = 60_000
"""A meter may bring its register up to date this much later than it counts."""
NEAR_MS = 60_000
"""A reading this near a boundary stands for it, whatever its meter's pace: a day's timestamp is good to a minute."""
SLIP_STEPS = 10
"""A register may fall by so many of its steps, as after a power cut, and is waited for: no stretch begins."""
EARLIEST_UTC_MS = 1_577_836_800_000
"""2020-01-01: a box whose clock says less does not know the time."""
PER_HOUR = "/h"
KINDS: Mapping[str, Booked] = {"counter": "counter", "rate": "rate"}
"""The kinds of points that are booked into intervals."""
FLOAT_RESOLUTION = Decimal("0.001")
ZERO = Decimal(0)


class Register(msgspec.Struct, frozen=True, gc=False):
    """What a counter stood at, and the reading it is taken from: its time (UTC ms) and the block that holds it.

    Where the register is interpolated, the end of an interval names the reading after the boundary and the start of the
    next one the reading before it: the blocks from start to end hold all that the interval was made from.
    """

    value: Decimal
    at: int
    epoch: int
    seq: int


class Interval(msgspec.Struct, frozen=True, gc=False):
    """One counter or rate of one device over [start, end) (UTC ms).

    ``consumption`` is (end - start + ``rolled``) x ``multiplier`` in ``unit``, None when suspect. ``meter`` names the
    instrument. ``readings`` of ``expected`` are valid. ``position`` is the time up to which the series is booked.
    ``closed`` is False for the newest of its series. ``period_ms`` is how often a reading was due. ``ignored`` are the
    readings left out because they could not be. ``since``: when the count was last broken, 0 for never.

    Of a rate the registers are the first and the newest sample, ``integral`` is its value x ms over ``covered_ms``, and
    ``consumption`` that of the covered time alone; None when there is none.
    """

    device: str
    point: str
    unit: str
    meter: str
    start: int
    end: int
    closed: bool
    register_start: Register
    register_end: Register
    rolled: Decimal
    multiplier: Decimal
    consumption: Decimal | None
    readings: int
    expected: int
    quality: Quality
    position: int
    period_ms: int
    state: State = "ok"
    ignored: int = 0
    since: int = 0
    kind: Booked = "counter"
    covered_ms: int = 0
    integral: Decimal = ZERO

    @property
    def coverage(self) -> Decimal:
        """Valid readings for one expected, at most 1; of a rate the part of the time."""
        if self.kind == "rate":
            return Decimal(self.covered_ms) / max(self.end - self.start, 1)
        return min(Decimal(1), Decimal(self.readings) / self.expected) if self.expected else Decimal(1)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the signed configuration says of one counter or rate. ``ratios``: (from UTC ms, multiplier), rising.

    ``unit`` is that of the amount: of a rate in kg/h it is kg.
    """

    device: str
    point: str
    unit: str
    meter: str
    period_ms: int
    resolution: Decimal
    modulus: Decimal | None
    max_rate_per_h: Decimal | None
    ratios: tuple[tuple[int, Decimal], ...]
    kind: Booked = "counter"
    reach_ms: int = field(init=False, repr=False, compare=False)
    """How far from a boundary a reading may lie that stands for it: a minute, or somewhat over half a period."""

    def __post_init__(self) -> None:
        reach = min(max(NEAR_MS, self.period_ms * 6 // 10), INTERVAL_MS // 2)
        object.__setattr__(self, "reach_ms", reach)

    def multiplier(self, at: int) -> Decimal:
        """CT x PT in force at an instant."""
        if self.ratios and at >= self.ratios[-1][0]:
            return self.ratios[-1][1]
        index = bisect_right(self.ratios, at, key=lambda entry: entry[0])
        return self.ratios[index - 1][1] if index else Decimal(1)

    def cell(self, at: int) -> int:
        """Where the interval that holds an instant begins."""
        index = bisect_right(self.ratios, at, key=lambda entry: entry[0])
        cut = self.ratios[index - 1][0] if index else at - INTERVAL_MS
        return max(cut, at - at % INTERVAL_MS)

    def cut(self, at: int) -> int:
        """Where the interval that holds an instant ends."""
        end = at - at % INTERVAL_MS + INTERVAL_MS
        if not self.ratios or at >= self.ratios[-1][0]:
            return end
        index = bisect_right(self.ratios, at, key=lambda entry: entry[0])
        return min(end, self.ratios[index][0]) if index < len(self.ratios) else end

    def expected(self, start: int, end: int) -> int:
        """How many readings are due in [start, end): the UTC multiples of the period in it."""
        return -(-end // self.period_ms) - -(-start // self.period_ms)

    def growth(self, before: Decimal, after: Decimal, elapsed_ms: int | None) -> tuple[Decimal, Decimal] | None:
        """How much was counted between two readings, and the modulus in it; None when it cannot be.

        ``elapsed_ms`` None: the clock cannot say how long it took.
        """
        difference = EXACT.subtract(after, before)
        if difference >= 0:
            return (difference, ZERO) if self._possible(difference, elapsed_ms) else None
        if self.modulus is None:
            return None
        difference = EXACT.add(difference, self.modulus)
        if self.max_rate_per_h is None or elapsed_ms is None:
            possible = ZERO <= EXACT.multiply(difference, Decimal(100)) <= self.modulus
        else:
            possible = difference >= 0 and self._possible(difference, elapsed_ms)
        return (difference, self.modulus) if possible else None

    def slipped(self, before: Decimal, after: Decimal) -> bool:
        """Whether a register fell by a few of its steps only."""
        return ZERO < EXACT.subtract(before, after) <= EXACT.multiply(self.resolution, Decimal(SLIP_STEPS))

    def between(self, before: Decimal, growth: Decimal, part_ms: int, whole_ms: int) -> Decimal:
        """The register after a part of the time in which it grew, rounded down to its resolution."""
        step = self.resolution
        steps = EXACT.divide_int(EXACT.multiply(growth, Decimal(part_ms)), EXACT.multiply(step, Decimal(whole_ms)))
        return EXACT.add(before, EXACT.multiply(steps, step))

    def _possible(self, difference: Decimal, elapsed_ms: int | None) -> bool:
        if self.max_rate_per_h is None or elapsed_ms is None:
            return True
        over = EXACT.subtract(difference, self.resolution)
        most = EXACT.multiply(self.max_rate_per_h, Decimal(elapsed_ms + SLACK_MS))
        return EXACT.multiply(over, Decimal(HOUR_MS)) <= most


def rules(installation: Installation, device: int) -> dict[str, Rules]:
    """The counters and rates that are asked of a device (its number), by point id."""
    entry, driver = installation.site.device[device], installation.drivers[device]
    periods: dict[str, int] = {}
    for query in driver.queries():
        for point_id in query.points:
            periods[point_id] = min(query.period_ms, periods.get(point_id, query.period_ms))
    points = [point for point in driver.profile.points if point.kind in KINDS and point.id in periods]
    return {point.id: _rules(entry, point, periods[point.id]) for point in points if point.of is None}


def meter_of(device: Device) -> str:
    """What tells one instrument from another in a signed configuration."""
    return "/".join((device.profile, device.address, device.serial))


def _rules(device: Device, point: Point, period_ms: int) -> Rules:
    ratios: tuple[tuple[int, Decimal], ...] = ()
    if not point.primary:
        ratios = tuple((round(entry.since.timestamp() * 1000), entry.multiplier) for entry in device.ratios)
    return Rules(
        device.id,
        point.id,
        point.unit.removesuffix(PER_HOUR),
        meter_of(device),
        period_ms,
        _resolution(point),
        point.modulus,
        point.max_rate_per_h,
        ratios,
        KINDS[point.kind],
    )


def _resolution(point: Point) -> Decimal:
    """The least step of a register, in the point's unit; IEEE numbers have none of their own."""
    if point.type in ("f32", "f64"):
        return FLOAT_RESOLUTION
    decimals = len((point.digits or "").partition(".")[2])
    return point.scale.scaleb(-decimals)
