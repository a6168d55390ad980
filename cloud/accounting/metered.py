"""Metered activity: a meter's intervals over a stretch of time in, one amount with its gaps and its proof out.

What a point gives decides how it is counted:

- cumulative (a counter): an amount is the register at the end less the register at its anchor, plus what rolled over,
  times the ratio. Without an anchor there is no amount. Between two registers of one count they bridge the time.
- instantaneous (a rate): the amount of the time that a sample covered; the rest of the time is a gap.
- period (a total that is given for each stretch by whoever measured it): comes as a document, never from a register.

A count that steps back is never taken by its size: it rolled over, was reset, was replaced or is an error of the data,
by what the record says; but for a roll-over the stretch has no amount and is a gap.

A gap is filled by one rule, ``ceiling``: the greatest amount that the meter can show in that time, as the subject file
or the signed configuration says. Whatever was left out was no more than that, so leaving data out never lowers a
figure. Where no ceiling is known, a gap stays open, and the account says that it is not whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from cloud.accounting.interval_text import digest, known_until
from cloud.accounting.statement import plain
from cloud.accounting.units import ARITHMETIC
from cloud.intervals import HOUR_MS, INTERVAL_MS, Interval, Register, State
from drivers.quantity import EXACT
from protocols.errors import ActivityError

Rule = Literal["ceiling", "none"]
Cause = Literal["RESET", "ROLLOVER", "REPLACEMENT", "DATA_ERROR"]
CAUSES: dict[State, Cause] = {
    "rollover": "ROLLOVER",
    "reset": "RESET",
    "replaced": "REPLACEMENT",
    "unexplained": "DATA_ERROR",
    "reset-suspected": "DATA_ERROR",
    "backwards-ignored": "DATA_ERROR",
    "jump-ignored": "DATA_ERROR",
}
"""What the record says of a count that did not simply rise. A changed ratio (``ratio``) is none of it."""

FILL_PLACES = Decimal("1e-9")
SHARE_PLACES = Decimal("1e-6")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Gap:
    """Time (UTC ms) without a measured amount, ``missing_ms`` of it, and what it is filled with; None: with nothing."""

    start: int
    end: int
    missing_ms: int
    rule: Rule
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class Event:
    """A count that did not simply rise, over [start, end) (UTC ms)."""

    start: int
    end: int
    cause: Cause
    state: State


@dataclass(frozen=True, slots=True)
class Metered:
    """What a meter's point came to, in ``unit``. ``amount`` is None where nothing is known and nothing can be filled.

    ``estimated``: share of the amount that fills gaps or hangs on a boundary that was interpolated, 0 to 1, rounded up.
    ``edge``: such a boundary is there. ``sha256`` is over every interval that went in, ``count`` of them.
    """

    amount: Decimal | None
    unit: str
    estimated: Decimal
    edge: bool
    gaps: tuple[Gap, ...]
    events: tuple[Event, ...]
    readings: int
    expected: int
    first: Register | None
    last: Register | None
    count: int
    sha256: str

    @property
    def whole(self) -> bool:
        """Whether no gap stayed open."""
        return all(gap.amount is not None for gap in self.gaps)


def metered(
    name: str, intervals: Iterable[Interval], start: int, end: int, *, through: int, ceiling: Decimal | None = None
) -> Metered:
    """What a point came to over [start, end) (UTC ms), known up to ``through``; ``ceiling`` in its unit in an hour.

    ActivityError for intervals that overlap, lie across an edge, are of two units, do not add up, or exceed the
    ceiling of a rate: it is then declared too low.
    """
    own = sorted((one for one in intervals if one.start < end and one.end > start), key=lambda one: one.start)
    apart = _apart(name, own, start, end)
    until = min(end, through)
    with localcontext(EXACT):
        amounts = [_amount(name, one, ceiling) for one in own]
        gaps = [_filled(*found, ceiling) for found in _holes(own, amounts, start, until, running=through < end)]
        bridged = _sum(_bridge(*pair) or _ZERO for pair in apart)
        known = [amount for amount in amounts if amount is not None]
        filled = [gap.amount for gap in gaps if gap.amount is not None]
        total = _sum((*known, bridged, *filled)) if known or filled else None
        loose = _sum(_edges(own, amounts, start, until))
        estimated = _share(_sum((*filled, loose)), total)
    return Metered(
        amount=None if total is None else plain(total),
        unit=own[0].unit if own else "",
        estimated=estimated,
        edge=bool(loose),
        gaps=tuple(gaps),
        events=tuple(_events(own, amounts)),
        readings=sum([one.readings for one in own]),
        expected=sum([one.expected for one in own]),
        first=own[0].register_start if own else None,
        last=own[-1].register_end if own else None,
        count=len(own),
        sha256=digest(own),
    )


def _apart(name: str, own: Sequence[Interval], start: int, end: int) -> list[tuple[Interval, Interval]]:
    """Neighbours that do not meet. ActivityError for what is across an edge, over another one, or in another unit."""
    found = []
    for one in (*own[:1], *own[-1:]):
        if one.start < start or one.end > end:
            raise ActivityError(f"{name}: found the interval {one.start}..{one.end} across an edge, expected it cut")
    for before, after in pairwise(own):
        if after.start != before.end:
            if after.start < before.end:
                raise ActivityError(f"{name}: found two intervals over {after.start}, expected each instant once")
            found.append((before, after))
        if after.unit != before.unit or after.kind != before.kind:
            raise ActivityError(f"{name}: found {before.unit} and then {after.unit}, expected one unit: cut it there")
    return found


def _amount(name: str, one: Interval, ceiling: Decimal | None) -> Decimal | None:
    """An interval's own amount, to be reckoned in EXACT; None when it has none.

    ActivityError when its registers say otherwise.
    """
    if one.kind == "rate":
        if one.consumption is None:
            return None
        if ceiling is not None and one.consumption > _most(ceiling, one.covered_ms):
            raise ActivityError(
                f"{name}: found {one.consumption} {one.unit} in {one.covered_ms} ms,"
                f" expected at most the ceiling of {ceiling} {one.unit} an hour: declare the meter's greatest flow"
            )
        return one.consumption
    if one.consumption is None or one.quality == "suspect":
        return None
    moved = one.register_end.value - one.register_start.value + one.rolled
    if moved * one.multiplier != one.consumption:
        raise ActivityError(
            f"{name}: found {one.consumption} {one.unit} at {one.start}, expected what its registers give: {moved} x"
            f" {one.multiplier}"
        )
    return one.consumption if one.consumption >= _ZERO else None


def _holes(
    own: Sequence[Interval], amounts: Sequence[Decimal | None], start: int, until: int, *, running: bool
) -> Iterator[tuple[int, int, int]]:
    """(start, end, missing ms) of every stretch up to ``until`` that no amount stands for.

    While the period runs, the quarter of an hour that has just begun is nobody's gap.
    """
    at = start
    before: Interval | None = None
    for one, amount in zip(own, amounts, strict=True):
        if one.start > at and (before is None or _bridge(before, one) is None):
            yield at, one.start, one.start - at
        at = known_until(one)
        if (amount is None or one.kind == "rate") and (missing := _missing(one, amount, at)):
            yield one.start, at, missing
        before = one
    if until - at > (INTERVAL_MS if running else 0):
        yield at, until, until - at


def _missing(one: Interval, amount: Decimal | None, until: int) -> int:
    """How much of an interval (ms) no amount stands for; of a rate what no sample covered."""
    whole = until - one.start
    return whole if amount is None else max(0, whole - one.covered_ms)


def _bridge(before: Interval, after: Interval) -> Decimal | None:
    """What a counter moved between two intervals of one count that do not meet; None where nothing ties them."""
    if before.kind != "counter" or after.start <= before.end or before.quality == "suspect":
        return None
    if (before.meter, before.since, before.multiplier) != (after.meter, after.since, after.multiplier):
        return None
    moved = EXACT.subtract(after.register_start.value, before.register_end.value)
    return EXACT.multiply(moved, before.multiplier) if moved >= 0 else None


def _filled(start: int, end: int, missing: int, ceiling: Decimal | None) -> Gap:
    if ceiling is None:
        return Gap(start, end, missing, "none", None)
    return Gap(start, end, missing, "ceiling", _most(ceiling, missing))


@lru_cache(maxsize=1024)
def _most(ceiling: Decimal, time_ms: int) -> Decimal:
    """The ceiling's amount in this time, rounded up."""
    amount = ARITHMETIC.divide(EXACT.multiply(ceiling, Decimal(time_ms)), Decimal(HOUR_MS))
    return plain(amount.quantize(FILL_PLACES, rounding=ROUND_CEILING, context=ARITHMETIC))


def _edges(own: Sequence[Interval], amounts: Sequence[Decimal | None], start: int, until: int) -> Iterator[Decimal]:
    """Amounts of the intervals that hang on an interpolated register at the edge of the stretch."""
    front = list(_run(zip(own, amounts, strict=True))) if own and own[0].start == start else []
    pairs = zip(reversed(own), reversed(amounts), strict=True)
    back = list(_run(pairs)) if own and known_until(own[-1]) >= until else []
    yield from front
    if len(front) < len(own):
        yield from back


def _run(pairs: Iterable[tuple[Interval, Decimal | None]]) -> Iterator[Decimal]:
    for one, amount in pairs:
        if one.kind != "counter" or one.quality != "estimated" or amount is None:
            return
        yield amount


def _events(own: Iterable[Interval], amounts: Iterable[Decimal | None]) -> Iterator[Event]:
    for one, amount in zip(own, amounts, strict=True):
        if amount is None and one.kind == "counter" and one.consumption is not None and one.consumption < _ZERO:
            yield Event(one.start, one.end, "DATA_ERROR", one.state)
        elif one.state in CAUSES:
            yield Event(one.start, one.end, CAUSES[one.state], one.state)


def _share(part: Decimal, whole: Decimal | None) -> Decimal:
    if not part or not whole:
        return _ZERO
    share = ARITHMETIC.divide(part, whole).quantize(SHARE_PLACES, rounding=ROUND_CEILING)
    return plain(min(Decimal(1), share))


def _sum(values: Iterable[Decimal]) -> Decimal:
    """Of any number of them, to be reckoned in EXACT."""
    return sum(values, _ZERO)
