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

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import msgspec

from cloud.glide import Raw, exact
from cloud.intervals import INTERVAL_MS, STATES, ZERO, Interval, Quality, Register, Rules, State
from drivers.quantity import EXACT, scaled

LONG_MS = 64 * INTERVAL_MS
"""A gap of which the intervals in the middle are made one by one, as somebody asks for them: a year has 35,040."""


class Edge(NamedTuple):
    """The register at a boundary, as an end and as a beginning, how it is known, and how much of the modulus is behind
    it. ``state``: of the interval that begins there.
    """

    closing: Register
    opening: Register
    quality: Quality
    wrapped: Decimal = ZERO
    state: State = "ok"


@dataclass(frozen=True, slots=True)
class Gap:
    """Two readings that follow one another, the time of each, what was counted between them, and the modulus in it."""

    rules: Rules
    before: Register
    since: int
    after: Register
    position: int
    growth: Decimal
    wrap: Decimal

    def edge(self, boundary: int) -> Edge:
        """What the register was at a boundary between them."""
        ahead, behind = self.position - boundary, boundary - self.since
        if ahead < behind and ahead <= self.rules.reach_ms:
            return Edge(self.after, self.after, "measured", self.wrap)
        if behind <= self.rules.reach_ms:
            return Edge(self.before, self.before, "measured")
        return self._interpolated(behind)

    def _interpolated(self, behind: int) -> Edge:
        before, after = self.before, self.after
        level = self.rules.between(before.value, self.growth, behind, self.position - self.since)
        wrapped = self.wrap if self.wrap and level >= self.wrap else ZERO
        level = EXACT.subtract(level, wrapped)
        closing = Register(level, after.at, after.epoch, after.seq)
        return Edge(closing, Register(level, before.at, before.epoch, before.seq), "estimated", wrapped)


@dataclass(frozen=True, slots=True)
class Still:
    """Nothing is counted up to the next reading: the register stands."""

    register: Register
    quality: Quality
    state: State = "ok"

    def edge(self, boundary: int) -> Edge:
        """What the register is taken for at any boundary."""
        return Edge(self.register, self.register, self.quality, ZERO, self.state)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The intervals in the middle of a long gap, ``made`` as they are asked for."""

    made: Callable[[], Iterator[Interval]]

    def __iter__(self) -> Iterator[Interval]:
        return self.made()


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
        carried = ZERO
        if self.end <= position:
            gap = Gap(self.rules, self.last, self.position, register, position, growth, wrap)
            carried = self._cross_all(gap, position)
        self.rolled += wrap - carried
        if self.rolled:
            self._raise("rollover")

    def _cross_all(self, way: Gap | Still, position: int) -> Decimal:
        """Close every interval that ends at or before ``position``; how much of the modulus is behind it. Those in the
        middle of a long gap are made later.
        """
        carried = ZERO
        if position - self.end > LONG_MS:
            carried, end = self.cross_one(way, carried), self.rules.cell(position - 2 * INTERVAL_MS)
            self._closed.append(Stretch(partial(_crossed, self.parted(), way, carried, end)))
            carried = self._open(way.edge(end), end)
        while self.end <= position:
            carried = self.cross_one(way, carried)
        return carried

    def cross_one(self, way: Gap | Still, carried: Decimal) -> Decimal:
        """Close this interval, and begin the next one; how much of the modulus is behind it, where ``carried`` was."""
        edge = way.edge(self.end)
        if edge.quality == "estimated" and self.quality == "measured":
            self.quality = edge.quality
        self.rolled += edge.wrapped - carried
        if self.rolled:
            self._raise("rollover")
        self._close(edge.closing, self.rules)
        return self._open(edge, self.end)

    def _open(self, edge: Edge, boundary: int) -> Decimal:
        self._begin(boundary, edge.opening, edge.quality)
        self.state = edge.state
        return edge.wrapped

    def _break(self, position: int, register: Register, state: State, far: bool = False) -> None:
        """A step that no counting explains: no consumption where it happened, and a new beginning behind it."""
        before, self.quality, self.since = self.last, "suspect", position
        self._raise(state)
        if self.end > position:
            return
        start = max(self.rules.cell(position), self.end)
        if not far:
            self._cross_all(Still(before, "suspect", state), start - 1)
        self._close(before, self.rules)
        self._begin(start, register, "measured" if start == position else "suspect")
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


def _crossed(count: Count, way: Gap | Still, carried: Decimal, end: int) -> Iterator[Interval]:
    """The intervals up to ``end`` of a count that stands where they begin."""
    own = count.parted()
    while own.end <= end:
        carried = own.cross_one(way, carried)
        yield from own.take_closed()
