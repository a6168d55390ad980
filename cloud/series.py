"""A counter as it runs: valid readings in, in chain order; intervals out. Pure, exact, and without numpy.

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

from collections.abc import Sequence
from decimal import Decimal

from cloud.intervals import HOUR_MS, SLACK_MS, ZERO, Interval, Quality, Register, Rules
from drivers.quantity import EXACT, scaled

LATE_MS = 1_000
"""A clock that is being slewed may date a reading this much before the one ahead of it."""
LONGEST_GAP_MS = 400 * 86_400_000
MOST_GLIDES = 4
"""How often a run of readings is tried as a whole: a boundary or two lie in it, or it is not worth trying."""


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


def _exact(raw: int | float) -> int | Decimal:
    return raw if isinstance(raw, int) else Decimal(raw)
