"""How far an account may be off: IPCC approach 1 with what lines share fully correlated, approach 2 where that is wide.

All half widths are of the 95 % range. Each input of a line (an activity, a parameter) moves the line by the slope of
its block's formula. Inputs that are one thing (one meter, one factor) move all their lines together: their parts add up
with their signs, and in quadrature across. What fills a gap lies evenly between nothing and all of it: f / sqrt(3).

An input of which nothing is known is named, with what hangs on it. It is never taken as 0: the figure is then a lower
bound, and says so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from cloud.accounting import blocks, feeds
from cloud.accounting.inventory import part
from cloud.accounting.line import Activity, Line, Used
from cloud.accounting.units import ARITHMETIC, unit
from drivers.quantity import EXACT

WIDE = Decimal(30)
"""Percent above which the slopes are no longer straight enough: approach 2."""
DRAWS = 2000
FEWEST = 200
WORK = 60_000
"""Lines times draws that an answer may cost."""
SIGMAS = Decimal("1.96")
SHARE = Decimal("1e-4")
PERCENT = Decimal("0.01")
GAP = "gap "
_ZERO = Decimal(0)
_SQRT3 = ARITHMETIC.sqrt(Decimal(3))


@dataclass(frozen=True, slots=True)
class Source:
    """One input of one line. ``key`` is equal where it is the same thing; ``half``: tCO2e at 95 %, signed by its slope.

    ``half`` is None where nothing is known of it; ``reach``: tCO2e that the whole input makes.
    """

    key: str
    symbol: str
    line: str
    half: Decimal | None
    reach: Decimal


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one thing adds: tCO2e at 95 %, its share of the variance (0 to 1), the lines it moves."""

    key: str
    half: Decimal
    share: Decimal
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """An input that nothing is known of, and how many tCO2e hang on it."""

    key: str
    lines: tuple[str, ...]
    reach: Decimal


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Half width at 95 % in percent of the total, rounded up; None where the total is 0. ``low``, ``high``: percent.

    ``approach`` 2 when the draws decided. ``whole``: every input is known; else the percentage is a lower bound.
    ``contributions``: greatest first; the first meter among them is the one to improve.
    """

    total: Decimal
    half: Decimal
    percent: Decimal | None
    low: Decimal | None
    high: Decimal | None
    approach: int
    contributions: tuple[Contribution, ...]
    unknown: tuple[Unknown, ...]

    @property
    def whole(self) -> bool:
        """Whether something is known of every input."""
        return not self.unknown

    @property
    def improve(self) -> Contribution | None:
        """The meter, or what fills its gaps, that adds most."""
        meters = (one for one in self.contributions if one.key.removeprefix(GAP).startswith(feeds.METER))
        return next(meters, None)


def uncertainty(lines: Iterable[Line], random: Random | None = None) -> Uncertainty:
    """Of these lines without memo and reductions; with ``random``, approach 2 where approach 1 exceeds 30 %."""
    counted = [line for line in lines if part(line.class_) not in ("memo", "reduction")]
    found = approach1(counted)
    if random is None or found.percent is None or found.percent <= WIDE:
        return found
    return approach2(counted, found, random, draws=max(FEWEST, min(DRAWS, WORK // len(counted))))


def approach1(lines: Sequence[Line]) -> Uncertainty:
    """Error propagation: linear per thing, in quadrature across things."""
    total = _sum(line.tco2e for line in lines)
    halves: dict[str, Decimal] = {}
    moved: dict[str, list[str]] = {}
    unknown: dict[str, Decimal] = {}
    for source in (source for line in lines for source in sources(line)):
        moved.setdefault(source.key, []).append(source.line)
        if source.half is None:
            unknown[source.key] = unknown.get(source.key, _ZERO) + abs(source.reach)
        else:
            halves[source.key] = ARITHMETIC.add(halves.get(source.key, _ZERO), source.half)
    variance = _sum(ARITHMETIC.multiply(half, half) for half in halves.values())
    half = ARITHMETIC.sqrt(variance)
    percent = _percent(half, total)
    return Uncertainty(
        total=total,
        half=half,
        percent=percent,
        low=None if percent is None else -percent,
        high=percent,
        approach=1,
        contributions=tuple(_contributions(halves, variance, moved)),
        unknown=tuple(Unknown(key, _names(moved[key]), reach) for key, reach in sorted(unknown.items())),
    )


def approach2(lines: Sequence[Line], linear: Uncertainty, random: Random, draws: int = DRAWS) -> Uncertainty:
    """Monte Carlo over the same inputs: each thing drawn once for all its lines. Equal seeds give equal bounds.

    A known half width is drawn normal, cut at 0; what fills a gap evenly between nothing and all of it.
    """
    laid = [(line, _values(line), list(_inputs(line))) for line in lines]
    sums = sorted(_drawn(laid, random) for _ in range(draws))
    low, high = sums[int(draws * 0.025)], sums[min(draws - 1, int(draws * 0.975))]
    below, above = EXACT.subtract(low, linear.total), EXACT.subtract(high, linear.total)
    half = max(abs(below), abs(above))
    return Uncertainty(
        total=linear.total,
        half=half,
        percent=_percent(half, linear.total),
        low=_signed(below, linear.total),
        high=_signed(above, linear.total),
        approach=2,
        contributions=linear.contributions,
        unknown=linear.unknown,
    )


def sources(line: Line) -> Iterator[Source]:
    """Every input of a line with what it may be off by, in tCO2e of the line."""
    values = _values(line)
    formula = blocks.block(line.block).formula
    scale = ARITHMETIC.multiply(line.gwp, Decimal(line.sign))
    for one in _inputs(line):
        slope = ARITHMETIC.multiply(formula.slope(one.symbol, values), scale)
        reach = ARITHMETIC.multiply(slope, values[one.symbol])
        if not one.evenly:
            share = None if one.percent is None else ARITHMETIC.divide(one.percent, Decimal(100))
            half = None if share is None else ARITHMETIC.multiply(reach, share)
        else:
            half = ARITHMETIC.divide(ARITHMETIC.multiply(reach, one.evenly), _SQRT3)
        yield Source(one.key, one.symbol, line.id, half, reach)


@dataclass(frozen=True, slots=True)
class _Input:
    """A symbol, what it is the same thing as, and how wide: ``percent`` (None: unknown), or evenly this share of it."""

    symbol: str
    key: str
    percent: Decimal | None
    evenly: Decimal = _ZERO


def _inputs(line: Line) -> Iterator[_Input]:
    for activity in line.activities:
        key = _activity_key(line, activity)
        yield _Input(activity.symbol, key, activity.uncertainty)
        if activity.estimated:
            yield _Input(activity.symbol, f"{GAP}{key}", None, activity.estimated)
    for used in line.parameters:
        if used.tier != "formula":
            yield _Input(used.symbol, used.key, used.uncertainty)


def _activity_key(line: Line, activity: Activity) -> str:
    """One meter is one thing in all periods and lines; any other value is itself: same document, same number."""
    place = feeds.place(activity.reference) if activity.reference.count("/") == 4 else None
    if place is not None:
        return f"{feeds.METER}{place.gateway}/{place.device}/{place.point}"
    source = activity.sha256 or activity.reference or f"{line.subject} {line.id} {line.start}"
    return f"{activity.grade} {source} {activity.value} {activity.unit}"


def _values(line: Line) -> dict[str, Decimal]:
    named: Iterator[Activity | Used] = iter((*line.activities, *line.parameters))
    return {one.symbol: unit(one.unit).coherent(one.value) for one in named}


def _drawn(laid: Sequence[tuple[Line, dict[str, Decimal], list[_Input]]], random: Random) -> Decimal:
    """The total of one draw."""
    taken: dict[str, Decimal] = {}
    total = _ZERO
    for line, values, inputs in laid:
        used = dict(values)
        for one in inputs:
            if one.key not in taken:
                taken[one.key] = Decimal(repr(random.random() if one.evenly else random.gauss(0.0, 1.0)))
            used[one.symbol] = ARITHMETIC.multiply(used[one.symbol], _moved(one, taken[one.key]))
        mass = blocks.block(line.block).formula.value(used)
        total = ARITHMETIC.add(total, ARITHMETIC.multiply(mass, ARITHMETIC.multiply(line.gwp, Decimal(line.sign))))
    return total


def _moved(one: _Input, draw: Decimal) -> Decimal:
    """What a draw makes of 1: a gap holds between nothing and all that fills it; nothing known, nothing moved."""
    if one.evenly:
        return EXACT.subtract(Decimal(1), EXACT.multiply(one.evenly, draw))
    if one.percent is None:
        return Decimal(1)
    sigma = ARITHMETIC.divide(one.percent, SIGMAS * 100)
    return max(_ZERO, ARITHMETIC.add(Decimal(1), ARITHMETIC.multiply(sigma, draw)))


def _contributions(
    halves: Mapping[str, Decimal], variance: Decimal, moved: Mapping[str, Sequence[str]]
) -> Iterator[Contribution]:
    for key, half in sorted(halves.items(), key=lambda one: (-abs(one[1]), one[0])):
        if half:
            share = ARITHMETIC.divide(ARITHMETIC.multiply(half, half), variance).quantize(SHARE)
            yield Contribution(key, abs(half), share, _names(moved[key]))


def _names(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lines))


def _percent(half: Decimal, total: Decimal) -> Decimal | None:
    if not total:
        return None
    return ARITHMETIC.divide(half * 100, abs(total)).quantize(PERCENT, "ROUND_CEILING")


def _signed(part_of: Decimal, total: Decimal) -> Decimal:
    return ARITHMETIC.divide(part_of * 100, abs(total)).quantize(PERCENT)


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = _ZERO
    for value in values:
        total = ARITHMETIC.add(total, value)
    return total
