"""The mass of CO2 that a flue-gas monitor measured in a stack over a period, and how wide it is. Pure and exact.

Time without a sound sample is taken at the mean of the rest, and that part is as uncertain as it is large: a monitor
that was switched off for a while does not thereby agree, or disagree, with the fuel. Where less than half of the time
was measured, nothing is compared, and the finding says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from cloud.accounting.checks import Estimate
from cloud.accounting.metered import Metered
from cloud.accounting.subject import Monitor
from cloud.accounting.units import ARITHMETIC, unit
from protocols.errors import ActivityError

MASSES = ("t", "kg", "g")
"""What the amount of a monitor may be in: it says kg, and what it weighs is CO2."""
LEAST = Decimal("0.5")
"""Share of the time below which a mean stands for nothing. Ours: the norms for monitors ask for more (unverified)."""
_ZERO, _HUNDRED = Decimal(0), Decimal(100)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one monitor of a stack came to over [start, end) (UTC ms) of an account."""

    monitor: Monitor
    start: int
    end: int
    found: Metered

    @property
    def missing_ms(self) -> int:
        """How long nothing was measured."""
        return sum(gap.missing_ms for gap in self.found.gaps)


@dataclass(frozen=True, slots=True)
class Mass:
    """What a stack came to, and the share of the time that was not measured; None where that is too much."""

    estimate: Estimate | None
    missing: Decimal


def mass(parts: Iterable[Measured], whole_ms: int) -> Mass:
    """The mass of a stack over ``whole_ms`` out of what its monitors measured, one after another.

    ActivityError for a point that does not weigh.
    """
    tonnes = spread = _ZERO
    seen = 0
    for one in parts:
        amount = _tonnes(one)
        seen += one.end - one.start - one.missing_ms
        tonnes = ARITHMETIC.add(tonnes, amount)
        own = ARITHMETIC.multiply(amount, ARITHMETIC.divide(Decimal(one.monitor.uncertainty), _HUNDRED))
        spread = ARITHMETIC.add(spread, abs(own))
    share = ARITHMETIC.divide(Decimal(seen), Decimal(whole_ms))
    missing = ARITHMETIC.subtract(Decimal(1), share)
    if share < LEAST or not tonnes:
        return Mass(None, missing)
    total = ARITHMETIC.divide(tonnes, share)
    filled = ARITHMETIC.subtract(total, tonnes)
    wide = ARITHMETIC.divide(spread, share)
    half = ARITHMETIC.sqrt(ARITHMETIC.add(ARITHMETIC.multiply(wide, wide), ARITHMETIC.multiply(filled, filled)))
    percent = ARITHMETIC.divide(ARITHMETIC.multiply(half, _HUNDRED), total)
    return Mass(Estimate(total, percent), missing)


def _tonnes(one: Measured) -> Decimal:
    if one.found.amount is None:
        return _ZERO
    if one.found.unit not in MASSES:
        raise ActivityError(
            f"{one.monitor.stack}: found {one.monitor.device}.{one.monitor.point} in {one.found.unit}, expected a mass"
            " of CO2 (kg, or kg/h)"
        )
    return unit(f"{one.found.unit}CO2").coherent(one.found.amount)
