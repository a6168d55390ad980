"""Fifteen-minute intervals (时段) of a counter: what the register stood at on both ends, and how far to believe it.

Pure, exact, and without numpy, so that a verifier books the very same rows from the readings it replays.

The rules:

- Intervals lie on UTC multiples of 15 minutes; a date from which another ratio holds cuts one in two.
- The register at a boundary is the valid reading nearest to it, at most ``Rules.reach_ms`` away. Where there is none so
  near, it is interpolated in time between the readings either side, rounded down to the register's resolution:
  ``estimated``.
- The first interval of a meter begins with its first reading, where that is not near a boundary.
- An interval begins with the register its predecessor ended with, so consumptions add up to last minus first register
  times the multiplier, exactly.
- A register that falls has rolled over when the way over its modulus is one it could have gone in the time; otherwise,
  and when it grew faster than it can, every interval the step touches is ``suspect``, has no consumption, and the count
  begins again behind it.
- A reading that is dated before the one ahead of it (UTC stepped back) is booked where the series stands, in order:
  nothing is booked twice, nothing is lost, and the interval is ``estimated``.
- Another meter under the same number begins its own count; so does a series after a gap of more than 400 days.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from drivers.installation import Installation
from drivers.profile import Point
from drivers.quantity import EXACT, scaled
from drivers.site import Device

Quality = Literal["measured", "estimated", "suspect"]

INTERVAL_MS = 900_000
HOUR_MS = 3_600_000
SLACK_MS = 60_000
"""A meter may bring its register up to date this much later than it counts."""
LATE_MS = 1_000
"""A clock that is being slewed may date a reading this much before the one ahead of it."""
NEAR_MS = 60_000
"""A reading this near a boundary stands for it, whatever its meter's pace: a day's timestamp is good to a minute."""
LONGEST_GAP_MS = 400 * 86_400_000
EARLIEST_UTC_MS = 1_577_836_800_000
"""2020-01-01: a box whose clock says less does not know the time."""
MOST_GLIDES = 4
"""How often a run of readings is tried as a whole: a boundary or two lie in it, or it is not worth trying."""
FLOAT_RESOLUTION = Decimal("0.001")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Register:
    """What a counter stood at, and the reading it is taken from: its time (UTC ms) and the block that holds it.

    Where the register is interpolated, the end of an interval names the reading after the boundary and the start of the
    next one the reading before it: the blocks from start to end hold all that the interval was made from.
    """

    value: Decimal
    at: int
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Interval:
    """One counter of one device over [start, end) (UTC ms).

    ``consumption`` is (end - start + ``rolled``) x ``multiplier`` in ``unit``, None when suspect. ``meter`` names the
    instrument. ``readings`` of ``expected`` are valid. ``position`` is the time up to which the series is booked.
    ``closed`` is False while the next reading may still belong to it. ``period_ms`` is how often one was due.
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

    @property
    def coverage(self) -> Decimal:
        """Valid readings for one expected, at most 1."""
        return min(Decimal(1), Decimal(self.readings) / self.expected) if self.expected else Decimal(1)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the signed configuration says of one counter. ``ratios``: (from UTC ms, multiplier), rising."""

    device: str
    point: str
    unit: str
    meter: str
    period_ms: int
    resolution: Decimal
    modulus: Decimal | None
    max_rate_per_h: Decimal | None
    ratios: tuple[tuple[int, Decimal], ...]

    def multiplier(self, at: int) -> Decimal:
        """CT x PT in force at an instant."""
        index = bisect_right(self.ratios, at, key=lambda entry: entry[0])
        return self.ratios[index - 1][1] if index else Decimal(1)

    @property
    def reach_ms(self) -> int:
        """How far from a boundary a reading may lie that stands for it: a minute, or somewhat over half a period."""
        return min(max(NEAR_MS, self.period_ms * 6 // 10), INTERVAL_MS // 2)

    def cell(self, at: int) -> int:
        """Where the interval that holds an instant begins."""
        index = bisect_right(self.ratios, at, key=lambda entry: entry[0])
        cut = self.ratios[index - 1][0] if index else at - INTERVAL_MS
        return max(cut, at - at % INTERVAL_MS)

    def cut(self, at: int) -> int:
        """Where the interval that holds an instant ends."""
        index = bisect_right(self.ratios, at, key=lambda entry: entry[0])
        end = at - at % INTERVAL_MS + INTERVAL_MS
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

    def _possible(self, difference: Decimal, elapsed_ms: int | None) -> bool:
        if self.max_rate_per_h is None or elapsed_ms is None:
            return True
        over = EXACT.subtract(difference, self.resolution)
        most = EXACT.multiply(self.max_rate_per_h, Decimal(elapsed_ms + SLACK_MS))
        return EXACT.multiply(over, Decimal(HOUR_MS)) <= most


def rules(installation: Installation, device: int) -> dict[str, Rules]:
    """The counters that are asked of a device (its number), by point id."""
    entry, driver = installation.site.device[device], installation.drivers[device]
    periods: dict[str, int] = {}
    for query in driver.queries():
        for point_id in query.points:
            periods[point_id] = min(query.period_ms, periods.get(point_id, query.period_ms))
    points = [point for point in driver.profile.points if point.kind == "counter" and point.id in periods]
    return {point.id: _rules(entry, point, periods[point.id]) for point in points}


def datable(utc: tuple[int, int]) -> bool:
    """Whether a block's readings can be placed in time; if not, the next that can carry the register forward."""
    return min(utc) >= EARLIEST_UTC_MS


class Series:
    """One counter as it runs: readings in, in chain order; intervals out. The open one is its whole memory."""

    __slots__ = (
        "_adjust",
        "_changed",
        "_closed",
        "_last",
        "_raw",
        "_reference",
        "_scale",
        "_slack",
        "end",
        "first",
        "multiplier",
        "position",
        "quality",
        "readings",
        "rolled",
        "rules",
        "start",
    )

    def __init__(self, rules: Rules, interval: Interval | None = None, at: int = 0) -> None:
        """``interval``: the open one of a series that goes on under ``rules``, which hold from ``at`` (UTC ms) on."""
        self.rules = rules
        self._adjust = 0
        self._closed: list[Interval] = []
        self._changed = False
        self._raw: int | float | None = None
        self._scale = ZERO
        self._slack: float | None = None
        self._reference = (0, 0)
        self._last: Register | None = None
        self.start = self.end = self.position = 0
        self.first: Register | None = None
        self.rolled, self.multiplier, self.readings = ZERO, Decimal(1), 0
        self.quality: Quality = "measured"
        if interval is not None:
            self._resume(interval, at)

    def configure(self, rules: Rules, at: int = 0) -> None:
        """Go on under another configuration, whose first block began ``at``: from the last reading on, never back."""
        before, self.rules = self.rules, rules
        if before == rules:
            return
        if self.first is None:
            return
        self._settle()
        self._scale = ZERO
        if (before.meter, before.unit) != (rules.meter, rules.unit):
            self.end = max(self.position, self.start + 1)
            self._close(self.last, before)
            self.first = None
        elif rules.multiplier(self.position) == self.multiplier:
            self._pace(before, at)
            self.end = rules.cut(max(self.position, self.start))
        elif self.position > self.start:
            last, self.end = self.last, self.position
            self._close(last, before)
            self._begin(self.position, last)
        else:
            self._pace(before, at)
            self.multiplier, self.end = rules.multiplier(self.start), rules.cut(self.start)
        self._changed = True

    def feed(self, times: Sequence[int], raws: Sequence[int | float], scale: Decimal, epoch: int, seq: int) -> None:
        """Some valid readings of one block, by rising time (UTC ms); a value is raw x scale."""
        tries = MOST_GLIDES
        for index in range(len(times)):
            if tries and self._glide(times[index:], raws[index:], scale, epoch, seq):
                return
            tries = max(tries - 1, 0)
            self.add(times[index], scaled(_exact(raws[index]), scale), epoch, seq)
            self._remember(raws[index], scale)

    def add(self, at: int, value: Decimal, epoch: int, seq: int) -> None:
        """One valid reading (UTC ms, in the point's unit) and the block that holds it."""
        register = Register(value, at, epoch, seq)
        if self.first is None:
            self._anchor(register)
            return
        self._settle()
        position = max(at, self.position)
        growth = self.rules.growth(self.last.value, value, None if at < position else position - self.position)
        if growth is None or position - self.position > LONGEST_GAP_MS:
            self._break(position, register)
        else:
            self._cross(position, register, *growth)
        if position - at > LATE_MS and self.quality == "measured":
            self.quality = "estimated"
        self._advance(position, register)

    def take(self) -> list[Interval]:
        """The rows that are new or changed since the last call, oldest first."""
        rows, self._closed = self._closed, []
        if self._changed and self.first is not None:
            rows.append(self._interval(self.last, self.rules, closed=False))
        self._changed = False
        return rows

    @property
    def last(self) -> Register:
        """The newest reading; only once there is one."""
        if self._last is None:
            assert self._raw is not None, "what glided has a raw number"
            self._last = Register(scaled(_exact(self._raw), self._scale), self.position, *self._reference)
        return self._last

    def _settle(self) -> None:
        """From raw numbers to the register itself: what follows is not a glide."""
        self._last, self._raw = self.last, None

    def _resume(self, interval: Interval, at: int) -> None:
        self.start, self.position = interval.start, interval.position
        self.end = self.rules.cut(max(self.start, self.position))
        self.first, self._last = interval.register_start, interval.register_end
        self.rolled, self.multiplier = interval.rolled, interval.multiplier
        self.readings, self.quality = interval.readings, interval.quality
        if (interval.meter, interval.unit, interval.multiplier, interval.period_ms) != (
            self.rules.meter,
            self.rules.unit,
            self.rules.multiplier(self.position),
            self.rules.period_ms,
        ):
            self._configure_from(interval, at)
        else:
            self._adjust = interval.expected - self.rules.expected(interval.start, interval.end)

    def _pace(self, before: Rules, at: int) -> None:
        """The interval goes on at another pace: up to ``at`` the readings were due that ``before`` asked for."""
        changed = min(max(at, self.position, self.start), self.end)
        self._adjust += before.expected(self.start, changed) - self.rules.expected(self.start, changed)

    def _configure_from(self, interval: Interval, at: int) -> None:
        """The rules under which the open interval was written are gone; what it tells of them is enough."""
        rules, now = self.rules, (0, interval.multiplier)
        self.rules = Rules(
            rules.device,
            rules.point,
            interval.unit,
            interval.meter,
            interval.period_ms,
            rules.resolution,
            rules.modulus,
            rules.max_rate_per_h,
            (now,),
        )
        self._adjust = interval.expected - self.rules.expected(interval.start, interval.end)
        self.configure(rules, at)

    def _glide(self, times: Sequence[int], raws: Sequence[int | float], scale: Decimal, epoch: int, seq: int) -> bool:
        """The same as ``add`` for each where nothing happens: inside the interval, in order, slowly rising."""
        before = self._raw
        if before is None or scale != self._scale or times[0] < self.position or times[-1] >= self.end:
            return False
        grown = raws[-1] - before
        if raws[0] < before or (self._slack is not None and grown > self._slack):
            return False
        if len(raws) > 1 and list(raws) != sorted(raws):
            return False
        self._raw, self._last, self._reference = raws[-1], None, (epoch, seq)
        self.position = times[-1]
        self.readings += len(times)
        self._changed = True
        return True

    def _remember(self, raw: int | float, scale: Decimal) -> None:
        """What ``_glide`` goes on from. A rise it lets pass is one that ``growth`` would, in no time at all."""
        self._raw = raw
        if scale != self._scale:
            most, self._scale = self.rules.max_rate_per_h, scale
            self._slack = None if most is None else float(most * SLACK_MS / HOUR_MS / scale) * 0.99

    def _anchor(self, register: Register) -> None:
        """The first reading of a meter: without one before it there is no consumption, and nothing is known."""
        position = max(register.at, self.position)
        start = max(self.rules.cell(position), self.end)
        self._begin(start if position - start <= self.rules.reach_ms else position, register)
        self._advance(position, register)

    def _cross(self, position: int, register: Register, growth: Decimal, wrap: Decimal) -> None:
        """Close every interval that ends at or before ``position``, and carry the register over each boundary."""
        before, since, carried, reach = self.last, self.position, ZERO, self.rules.reach_ms
        while self.end <= position:
            boundary = self.end
            quality: Quality = "measured"
            closing, opening, wrapped = before, before, carried
            if position - boundary < boundary - since and position - boundary <= reach:
                closing, opening, wrapped = register, register, wrap
            elif boundary - since > reach:
                level = self._between(before.value, growth, boundary - since, position - since)
                wrapped = wrap if wrap and level >= wrap else ZERO
                level = EXACT.subtract(level, wrapped)
                closing = Register(level, register.at, register.epoch, register.seq)
                opening = Register(level, before.at, before.epoch, before.seq)
                quality = "estimated"
            if quality == "estimated" and self.quality == "measured":
                self.quality = quality
            self.rolled += wrapped - carried
            carried = wrapped
            self._close(closing, self.rules)
            self._begin(boundary, opening, quality)
        self.rolled += wrap - carried

    def _break(self, position: int, register: Register) -> None:
        """A step that cannot be: no consumption where it happened, and a new beginning behind it."""
        far = position - self.position > LONGEST_GAP_MS
        before, self.quality = self.last, "suspect"
        while self.end <= position:
            self._close(before, self.rules)
            start = self.rules.cell(position) if far else self.end
            inside = self.rules.cut(start) > position
            self._begin(start, register if inside else before, "measured" if start == position else "suspect")

    def _between(self, before: Decimal, growth: Decimal, part_ms: int, whole_ms: int) -> Decimal:
        step = self.rules.resolution
        steps = EXACT.divide_int(EXACT.multiply(growth, Decimal(part_ms)), EXACT.multiply(step, Decimal(whole_ms)))
        return EXACT.add(before, EXACT.multiply(steps, step))

    def _begin(self, start: int, first: Register, quality: Quality = "measured") -> None:
        self.start, self.end = start, self.rules.cut(start)
        self.first, self.quality = first, quality
        self.multiplier = self.rules.multiplier(start)
        self.rolled, self.readings, self._adjust = ZERO, 0, 0
        self._changed = True

    def _advance(self, position: int, register: Register) -> None:
        self.position, self._last = position, register
        self.readings += 1
        self._changed = True

    def _close(self, end: Register, rules: Rules) -> None:
        self._closed.append(self._interval(end, rules, closed=True))

    def _interval(self, end: Register, rules: Rules, closed: bool) -> Interval:
        assert self.first is not None, "only a series with an anchor has an interval"
        consumption = None
        if self.quality != "suspect":
            counted = EXACT.add(EXACT.subtract(end.value, self.first.value), self.rolled)
            consumption = EXACT.multiply(counted, self.multiplier)
        return Interval(
            rules.device,
            rules.point,
            rules.unit,
            rules.meter,
            self.start,
            self.end,
            closed,
            self.first,
            end,
            self.rolled,
            self.multiplier,
            consumption,
            self.readings,
            self._adjust + rules.expected(self.start, self.end),
            self.quality,
            self.position,
            rules.period_ms,
        )


def _rules(device: Device, point: Point, period_ms: int) -> Rules:
    ratios: tuple[tuple[int, Decimal], ...] = ()
    if not point.primary:
        ratios = tuple((round(entry.since.timestamp() * 1000), entry.multiplier) for entry in device.ratios)
    meter = "/".join((device.profile, device.address, device.serial))
    return Rules(
        device.id,
        point.id,
        point.unit,
        meter,
        period_ms,
        _resolution(point),
        point.modulus,
        point.max_rate_per_h,
        ratios,
    )


def _resolution(point: Point) -> Decimal:
    """The least step of a register, in the point's unit; IEEE numbers have none of their own."""
    if point.type in ("f32", "f64"):
        return FLOAT_RESOLUTION
    decimals = len((point.digits or "").partition(".")[2])
    return point.scale.scaleb(-decimals)


def _exact(raw: int | float) -> int | Decimal:
    return raw if isinstance(raw, int) else Decimal(raw)
