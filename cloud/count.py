"""The open interval of one counter: carried from reading to reading, cut at the boundaries, and what was closed. Pure.

It counts what it is given; which readings count, and what else a step may mean, is for ``cloud/series.py``:

- Intervals lie on UTC multiples of 15 minutes; a date from which another ratio holds cuts one in two.
- The register at a boundary is the valid reading nearest to it, at most ``Rules.reach_ms`` away. Where there is none so
  near, it is interpolated in time between the readings either side, rounded down to the register's resolution:
  ``estimated``.
- The first interval of a meter begins with its first reading, where that is not near a boundary.
- An interval begins with the register its predecessor ended with, so consumptions add up to last minus first register
  times the multiplier, exactly.
"""

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from cloud.glide import Raw, exact
from cloud.intervals import INTERVAL_MS, STATES, ZERO, Interval, Quality, Register, Rules, State
from drivers.quantity import EXACT, scaled

LONG_MS = 64 * INTERVAL_MS
"""A gap of which the intervals in the middle are made one by one, as somebody asks for them: a year has 35,040."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Two readings that follow one another, the time of each, what was counted between them, and the modulus in it."""

    before: Register
    since: int
    after: Register
    position: int
    growth: Decimal
    wrap: Decimal


@dataclass(frozen=True, slots=True)
class Stretch:
    """The intervals in the middle of a long gap, up to ``end``. ``count``: as it stood where they begin, and so much of
    the modulus was ``carried``.
    """

    count: "Count"
    gap: Gap
    carried: Decimal
    end: int

    def __iter__(self) -> Iterator[Interval]:
        count, carried = self.count.parted(), self.carried
        while count.end <= self.end:
            carried = count.cross_one(self.gap, carried)
            yield from count.take_closed()


class Count:
    """The open interval, the newest reading, and the rows that nobody has taken yet."""

    __slots__ = (
        "_adjust",
        "_closed",
        "_ended",
        "_last",
        "_raw",
        "_reference",
        "_scale",
        "changed",
        "end",
        "first",
        "ignored",
        "multiplier",
        "position",
        "quality",
        "readings",
        "rolled",
        "rules",
        "since",
        "start",
        "state",
    )

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._ended: Interval | None = None
        self.since = self.ignored = 0
        self.state: State = "ok"
        self._adjust = 0
        self._closed: list[Interval | Stretch] = []
        self.changed = False
        self._raw: Raw | None = None
        self._scale = ZERO
        self._reference = (0, 0)
        self._last: Register | None = None
        self.start = self.end = self.position = 0
        self.first: Register | None = None
        self.rolled, self.multiplier, self.readings = ZERO, Decimal(1), 0
        self.quality: Quality = "measured"

    def take(self) -> list[Interval]:
        """The rows that are new or changed since the last call, oldest first."""
        return list(expanded(self.take_parts()))

    def take_parts(self) -> list[Interval | Stretch]:
        """As ``take``; those in the middle of a long gap not yet made."""
        rows, changed = self._closed, self.changed
        self._closed, self.changed = [], False
        if changed and self.first is not None:
            rows.append(self._interval(self.last, self.rules, closed=False))
        elif changed and self._ended is not None:
            rows.append(self._ended)
        return rows

    def take_closed(self) -> list[Interval]:
        """Of ``take`` those that are closed."""
        rows, self._closed = self._closed, []
        return list(expanded(rows))

    def parted(self) -> "Count":
        """As it stands, with no rows; what becomes of it is nothing to this one."""
        other = copy(self)
        other._closed = []
        return other

    @property
    def last(self) -> Register:
        """The newest reading; only once there is one."""
        if self._last is None:
            assert self._raw is not None, "what glided has a raw number"
            self._last = Register(scaled(exact(self._raw), self._scale), self.position, *self._reference)
        return self._last

    def _settle(self) -> None:
        """From raw numbers to the register itself: what follows is not a glide."""
        self._last, self._raw = self.last, None

    def _anchor(self, register: Register) -> None:
        """The first reading of a meter: without one before it there is no consumption, and nothing is known."""
        position = max(register.at, self.position)
        start = max(self.rules.cell(position), self.end)
        self._begin(start if position - start <= self.rules.reach_ms else position, register)
        if self._ended is not None:
            if self._ended.start < self.start:
                self._closed.append(msgspec.structs.replace(self._ended, closed=True))
            self.state, self.since, self._ended = self._ended.state, position, None
        self._advance(position, register)

    def _end(self, state: State, rules: Rules) -> None:
        """The count ends with its last reading. Its row stays open until the next count begins."""
        self._settle()
        self._raise(state)
        self.end = max(self.position, self.start)
        self._ended = self._interval(self.last, rules, closed=False)
        self.first = None
        self.changed = True

    def _raise(self, state: State) -> None:
        self.state = max(self.state, state, key=STATES.index)

    def _cross(self, position: int, register: Register, growth: Decimal, wrap: Decimal) -> None:
        """Close every interval that ends at or before ``position``, and carry the register over each boundary."""
        gap, carried = Gap(self.last, self.position, register, position, growth, wrap), ZERO
        if position - self.end > LONG_MS:
            carried = self._skip(gap, self.cross_one(gap, carried))
        while self.end <= position:
            carried = self.cross_one(gap, carried)
        self.rolled += wrap - carried
        if self.rolled:
            self._raise("rollover")

    def cross_one(self, gap: Gap, carried: Decimal) -> Decimal:
        """Close this interval, which ends within the gap, and begin the next one; how much of the modulus is behind it.

        ``carried``: how much of it was.
        """
        boundary, reach = self.end, self.rules.reach_ms
        quality: Quality = "measured"
        closing, opening, wrapped = gap.before, gap.before, carried
        if gap.position - boundary < boundary - gap.since and gap.position - boundary <= reach:
            closing, opening, wrapped = gap.after, gap.after, gap.wrap
        elif boundary - gap.since > reach:
            closing, opening, wrapped = self._interpolated(gap, boundary)
            quality = "estimated"
        if quality == "estimated" and self.quality == "measured":
            self.quality = quality
        self.rolled += wrapped - carried
        if self.rolled:
            self._raise("rollover")
        self._close(closing, self.rules)
        self._begin(boundary, opening, quality)
        return wrapped

    def _skip(self, gap: Gap, carried: Decimal) -> Decimal:
        """Over the middle of a long gap, of which the intervals are made later; what of the modulus is behind it."""
        end = self.rules.cell(gap.position - 2 * INTERVAL_MS)
        if end <= self.end:
            return carried
        self._closed.append(Stretch(self.parted(), gap, carried, end))
        _, opening, wrapped = self._interpolated(gap, end)
        self._begin(end, opening, "estimated")
        return wrapped

    def _interpolated(self, gap: Gap, boundary: int) -> tuple[Register, Register, Decimal]:
        """The register at a boundary far from any reading: as an end, as a beginning; and the modulus behind it."""
        before, after = gap.before, gap.after
        level = self.rules.between(before.value, gap.growth, boundary - gap.since, gap.position - gap.since)
        wrapped = gap.wrap if gap.wrap and level >= gap.wrap else ZERO
        level = EXACT.subtract(level, wrapped)
        return (
            Register(level, after.at, after.epoch, after.seq),
            Register(level, before.at, before.epoch, before.seq),
            wrapped,
        )

    def _break(self, position: int, register: Register, state: State, far: bool = False) -> None:
        """A step that no counting explains: no consumption where it happened, and a new beginning behind it."""
        before, self.quality, self.since = self.last, "suspect", position
        self._raise(state)
        while self.end <= position:
            self._close(before, self.rules)
            start = self.rules.cell(position) if far else self.end
            inside = self.rules.cut(start) > position
            self._begin(start, register if inside else before, "measured" if start == position else "suspect")
            self._raise(state)

    def _begin(self, start: int, first: Register, quality: Quality = "measured") -> None:
        self.start, self.end = start, self.rules.cut(start)
        self.first, self.quality = first, quality
        self.multiplier = self.rules.multiplier(start)
        self.rolled, self.readings, self._adjust = ZERO, 0, 0
        self.state, self.ignored = "ok", 0
        self.changed = True

    def _advance(self, position: int, register: Register, read: int = 1) -> None:
        self.position, self._last = position, register
        self.readings += read
        self.changed = True

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
            self.state,
            self.ignored,
            self.since,
        )


def expanded(rows: Iterable[Interval | Stretch]) -> Iterator[Interval]:
    """Every row, those in the middle of long gaps made as they are asked for."""
    for row in rows:
        if isinstance(row, Stretch):
            yield from row
        else:
            yield row
