"""A rate (kg/h) as it runs: samples in, in chain order; intervals with its amount (kg) out. Pure and exact.

The rule is piecewise constant, and nothing is filled in:

- A sample holds from its time until the next one, whatever that says, for 1.5 of its periods at most.
- A sample that its device dates (minute data) holds from its stamp for one period.
- A sample that is absent, suspect or flagged holds nothing; it ends the one before it.
- An instant counts once: a sample that is not after what is booked is dropped.
- An interval closes with the first sample at its end or behind it.
- The amount of an interval is that of the time that was covered, and ``covered_ms`` says how much of it that is. Below
  ``MEASURED_PER_MILLE`` the interval is ``estimated``; with nothing covered it is ``absent`` and has no amount at all.
- Amounts are rounded half-even to ``PLACES`` decimals, each interval by itself; ``integral`` is exact.
"""

from collections.abc import Iterator
from copy import copy
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import partial

from msgspec.structs import replace

from cloud.count import LONG_MS, Stretch, expanded
from cloud.intervals import HOUR_MS, INTERVAL_MS, ZERO, Interval, Quality, Register, Rules
from cloud.series import LONGEST_GAP_MS
from drivers.quantity import EXACT

MEASURED_PER_MILLE = 900
PLACES = Decimal("1E-9")
HOLD_PERIODS = (3, 2)
"""How long a sample holds at most, as a fraction of periods."""
_ROUNDED = Context(prec=EXACT.prec, rounding=ROUND_HALF_EVEN, Emin=EXACT.Emin, Emax=EXACT.Emax)


class Rate:
    """One rate as it runs. Its whole memory is the open interval; ``position`` is up to where it is booked."""

    __slots__ = ("_changed", "_closed", "_held", "_open", "rules")

    def __init__(self, rules: Rules, interval: Interval | None = None) -> None:
        """``interval``: the open one of a rate that goes on under ``rules``."""
        self.rules = rules
        self._closed: list[Interval | Stretch] = []
        self._changed = False
        self._open = interval
        self._held: Register | None = None
        if interval is not None:
            if interval.register_end.at == interval.position < interval.end:
                self._held = interval.register_end
            self._follow()

    def configure(self, rules: Rules) -> None:
        """Go on under another configuration: from the newest sample on, never back."""
        if rules != self.rules:
            self.rules = rules
            self._follow()

    def add(self, at: int, value: Decimal | None, epoch: int, seq: int, dated: bool = False) -> None:
        """One sample (UTC ms, per hour), None when it does not count, and the block that holds it."""
        start, end = at, at + self.rules.period_ms if dated else at
        if self._open is None:
            if value is not None:
                self._begin(self.rules.cell(at), Register(value, at, epoch, seq), at)
                self._take(Register(value, at, epoch, seq), start, end)
            return
        if end <= self._open.position or (dated and value is None):
            return
        self._reach(max(start, self._open.position))
        self._take(None if value is None else Register(value, at, epoch, seq), self._open.position, end)

    def take(self) -> list[Interval]:
        """The rows that are new or changed since the last call, oldest first."""
        return list(expanded(self.take_parts()))

    def take_parts(self) -> list[Interval | Stretch]:
        """As ``take``; those in the middle of a long gap not yet made."""
        rows, self._closed = self._closed, []
        if self._changed and self._open is not None:
            rows.append(_amount(self._open, closed=False))
        self._changed = False
        return rows

    def _follow(self) -> None:
        """Bring the open interval under the rules in force, or end it where they count otherwise."""
        found, rules = self._open, self.rules
        if found is None:
            return
        same = (found.unit, found.meter) == (rules.unit, rules.meter)
        if same and found.multiplier == rules.multiplier(max(found.start, found.position)):
            full = found.position == found.end
            end = found.end if full else rules.cut(max(found.start, found.position))
            changed = replace(found, end=end, period_ms=rules.period_ms, expected=rules.expected(found.start, end))
        else:
            self._held, end = None, max(found.position, found.start + 1)
            changed = replace(found, end=end, position=end)
        self._changed = self._changed or changed != found
        self._open = changed

    def _take(self, sample: Register | None, start: int, end: int) -> None:
        """Book a sample at ``start``: at once up to ``end`` where its device dates it, else it is held."""
        assert self._open is not None, "there is an interval before anything is booked in it"
        if sample is None:
            self._held, self._open = None, replace(self._open, ignored=self._open.ignored + 1)
            return
        fresh = self._open.readings == 0 and self._open.covered_ms == 0
        first = sample if fresh else self._open.register_start
        self._open = replace(self._open, register_start=first, register_end=sample, readings=self._open.readings + 1)
        self._held = sample
        if end > start:
            self._reach(end - 1, self.rules.period_ms)
            self._cover(end, self._held, self.rules.period_ms)
            self._held = None

    def _reach(self, until: int, holds_ms: int | None = None) -> None:
        """Book up to ``until`` (UTC ms): what the held sample covers of it, for ``holds_ms`` or 1.5 periods."""
        assert self._open is not None, "there is an interval before anything is booked in it"
        held, most = self._held, holds_ms or self.rules.period_ms * HOLD_PERIODS[0] // HOLD_PERIODS[1]
        if until - self._open.position > LONGEST_GAP_MS:
            self._cover(min(self._open.end, until), held, most)
            self._close(self.rules.cell(until))
        if until - self._open.end > LONG_MS:
            self._close_held(held, most)
            end = self.rules.cell(until - 2 * INTERVAL_MS)
            self._closed.append(Stretch(partial(copy(self)._middle, held, most, end)))
            self._begin(end, self._open.register_end, end)
        while self._open.end <= until:
            self._close_held(held, most)
        self._cover(until, held, most)

    def _close_held(self, held: Register | None, most: int) -> None:
        """The interval ends with what the held sample covers of it."""
        assert self._open is not None, "there is an interval before anything is booked in it"
        self._cover(self._open.end, held, most)
        self._close(self._open.end)

    def _middle(self, held: Register | None, most: int, end: int) -> Iterator[Interval]:
        """The intervals up to ``end``, of a rate that stands where they begin."""
        own = copy(self)
        own._closed = []
        while own._open is not None and own._open.end <= end:
            own._close_held(held, most)
            yield from expanded(own._closed)
            own._closed = []

    def _cover(self, until: int, held: Register | None, most: int) -> None:
        assert self._open is not None, "there is an interval before anything is booked in it"
        position = self._open.position
        covered = 0 if held is None else max(0, min(until, held.at + most) - position)
        integral = self._open.integral
        if held is not None and covered:
            integral = EXACT.add(integral, EXACT.multiply(held.value, Decimal(covered)))
        total = self._open.covered_ms + covered
        self._open = replace(self._open, position=max(until, position), covered_ms=total, integral=integral)
        self._changed = True

    def _close(self, start: int) -> None:
        assert self._open is not None, "there is an interval before anything is booked in it"
        last = self._open
        self._closed.append(_amount(last, closed=True))
        self._begin(start, last.register_end, max(start, last.position))

    def _begin(self, start: int, register: Register, position: int) -> None:
        rules, end = self.rules, self.rules.cut(start)
        self._open = Interval(
            *(rules.device, rules.point, rules.unit, rules.meter, start, end, False, register, register),
            *(ZERO, rules.multiplier(start), None, 0, rules.expected(start, end), "absent", position, rules.period_ms),
            kind="rate",
        )
        self._changed = True


def _amount(found: Interval, closed: bool) -> Interval:
    """The interval with its amount and its quality; while it is open, those of the time up to its position."""
    quality: Quality = "absent"
    consumption = None
    if found.covered_ms:
        whole = (found.end if closed else min(found.position, found.end)) - found.start
        measured = found.covered_ms * 1000 >= MEASURED_PER_MILLE * whole
        quality = "measured" if measured else "estimated"
        amount = EXACT.multiply(found.integral, found.multiplier)
        consumption = _ROUNDED.divide(amount, Decimal(HOUR_MS)).quantize(PLACES, context=_ROUNDED).normalize(_ROUNDED)
    return replace(found, closed=closed, consumption=consumption, quality=quality)
