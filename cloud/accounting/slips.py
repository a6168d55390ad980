"""Slips of a unit or a decimal point: an amount against the same source's other periods. Pure.

A rate (amount a day) is doubted where it is far outside those of the other periods, and would be among them once one
of the usual mistakes is taken back. What is within twice the range that the source has had is never doubted. A source
that no other period has is doubted where it alone emits several times what all of them together ever did.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from cloud.accounting.checks import Finding
from cloud.accounting.line import Line
from cloud.accounting.units import ARITHMETIC, unit
from drivers.quantity import EXACT

SLIP, OUTSIZED = "slip", "outsized"
WIDE: Mapping[Decimal, str] = {
    Decimal(100): "% · cm · CT/PT",
    Decimal(1000): "t ↔ kg · MWh ↔ kWh · GJ ↔ MJ",
    Decimal(10000): "1e4Nm3 ↔ Nm3",
    Decimal(1000000): "GWh ↔ kWh · t ↔ g",
}
"""Factors that no season makes, with the units that give them."""
NARROW: Mapping[Decimal, str] = {
    Decimal("3.6"): "kWh ↔ MJ · MWh ↔ GJ",
    Decimal("4.1868"): "cal ↔ J · kcal ↔ kJ",
    Decimal(10): "0.1 · CT/PT",
    Decimal("29.3076"): "tce ↔ GJ",
}
"""Factors that a season may make: told of a source that was steady over some periods only."""
USUAL = Decimal(2)
"""Times beyond the range of the others that is still nobody's slip."""
NEAR = Decimal("1.5")
"""How far from the range of the others an amount may lie once the slip is taken back."""
STEADY, CLOSE, ENOUGH = Decimal("1.5"), Decimal("1.15"), 3
"""Greatest over least of a steady source, how near a narrow factor must be, in how many periods."""
ASTRAY = Decimal(30)
"""Times off the median that a period of the history is a doubt itself and widens no range."""

LARGE, HUGE = Decimal(3), Decimal(30)
"""Times all that the subject emitted a day in its greatest period: a new source is looked at, or blocks a lock."""

Key = tuple[str, str, str]
"""Line, symbol, and what kind of quantity."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a source took a day, in coherent units; ``told``: its amounts as the lines write them."""

    a_day: Decimal
    told: tuple[str, ...]


def rates(lines: Iterable[Line]) -> dict[Key, Rate]:
    """The rate of every activity of an account; what is 0 tells nothing and has none."""
    sums: dict[Key, tuple[Decimal, int, tuple[str, ...]]] = {}
    for line in lines:
        days = (date.fromisoformat(line.end) - date.fromisoformat(line.start)).days
        for one in line.activities:
            known = unit(one.unit)
            key = line.id, one.symbol, str(known.dimension)
            amount, time, told = sums.get(key, (Decimal(0), 0, ()))
            grown = EXACT.add(amount, known.coherent(one.value))
            sums[key] = grown, time + days, (*told, f"{one.value:f} {one.unit}")
    return {
        key: Rate(ARITHMETIC.divide(amount, Decimal(days)), told)
        for key, (amount, days, told) in sums.items()
        if amount > 0
    }


def doubts(lines: Iterable[Line], others: Sequence[Mapping[Key, Rate]]) -> Iterator[Finding]:
    """A finding for every activity that only a slip explains; ``others``: the rates of the other periods."""
    for (line, symbol, kind), rate in rates(lines).items():
        history = [other[line, symbol, kind].a_day for other in others if (line, symbol, kind) in other]
        found = factor(rate.a_day, history)
        if found is not None:
            times = f"× {found:f}" if rate.a_day > _median(history) else f"÷ {found:f}"
            figures = {"symbol": symbol, "found": " + ".join(rate.told), "times": times}
            yield Finding(SLIP, "block", line, {**figures, "likely": {**WIDE, **NARROW}[found]})


def outsized(lines: Iterable[Line], others: Sequence[Sequence[Line]]) -> Iterator[Finding]:
    """A finding for every source that the other periods lack and that is out of all proportion to them."""
    known = {line.id for other in others for line in other}
    whole = max((sum((_a_day(line) for line in other), Decimal(0)) for other in others), default=Decimal(0))
    for line in lines:
        if not whole or line.id in known or not line.activities:
            continue
        times = ARITHMETIC.divide(_a_day(line), whole)
        if times > LARGE:
            one = line.activities[0]
            figures = {"symbol": one.symbol, "found": f"{one.value:f} {one.unit}", "times": f"{times:.0f}"}
            yield Finding(OUTSIZED, "block" if times > HUGE else "warn", line.id, figures)


def _a_day(line: Line) -> Decimal:
    """tCO2e a day by size, of what is emitted."""
    if line.class_ in ("memo", "reduction"):
        return Decimal(0)
    days = (date.fromisoformat(line.end) - date.fromisoformat(line.start)).days
    return ARITHMETIC.divide(abs(line.tco2e), Decimal(days))


def factor(rate: Decimal, history: Sequence[Decimal]) -> Decimal | None:
    """The mistake that would explain a rate beside the others of its source, None where none is needed or none does."""
    if not history:
        return None
    middle = _median(history)
    kept = [one for one in history if middle <= one * ASTRAY and one <= middle * ASTRAY]
    low, high = min(kept), max(kept)
    if low <= rate * USUAL and rate <= high * USUAL:
        return None
    steady = len(kept) >= ENOUGH and high <= low * STEADY
    causes = {**WIDE, **NARROW} if steady else WIDE
    for known in sorted(causes):
        back = ARITHMETIC.divide(rate, known) if rate > high else ARITHMETIC.multiply(rate, known)
        near = (middle / CLOSE, middle * CLOSE) if known in NARROW else (low / NEAR, high * NEAR)
        if near[0] <= back <= near[1]:
            return known
    return None


def _median(values: Sequence[Decimal]) -> Decimal:
    return sorted(values)[len(values) // 2]
