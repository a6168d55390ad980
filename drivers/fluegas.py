"""Flue gas as measured into flue gas as accounted: standard state, dry basis, flow, and the mass of CO2 in it. Pure.

HJ 212-2017 annex D, whose formula numbers are given; states: as measured ("wet", at the stack's temperature and
pressure), standard (273 K, 101325 Pa), dry. A concentration is mg/m3 or % by volume, a flow m3/h, a pressure Pa, a
temperature degrees Celsius, moisture % by volume. Every result is Decimal in one fixed context.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

CONTEXT = Context(prec=34, rounding=ROUND_HALF_EVEN, Emin=-999, Emax=999)
ATMOSPHERE_PA = Decimal(101325)
HUNDRED = Decimal(100)
SECONDS_PER_HOUR = Decimal(3600)
KG_PER_MG = Decimal("1E-6")


@dataclass(frozen=True, slots=True)
class Constants:
    """What a mass depends on beside what was measured; recorded with every result by its ``number``.

    ``zero``: 0 degrees Celsius in K; ``volume``: of a mole at standard state in litres; masses of a mole in g.
    """

    number: int
    zero: Decimal
    volume: Decimal
    co2: Decimal
    so2: Decimal
    no: Decimal
    no2: Decimal


CONSTANTS = {
    "hj212": Constants(1, Decimal(273), Decimal("22.4"), Decimal(44), Decimal(64), Decimal(30), Decimal(46)),
    "exact": Constants(
        2,
        Decimal("273.15"),
        Decimal("22.414"),
        Decimal("44.01"),
        Decimal("64.06"),
        Decimal("30.01"),
        Decimal("46.01"),
    ),
}
"""By the name a site file gives. ``hj212``: those of the standard. ``exact``: 0.026 % less CO2; its SO2, NO and NO2 are
unverified.
"""


def dry(concentration: Decimal, moisture: Decimal) -> Decimal:
    """(19) A concentration, or oxygen, of wet gas into that of dry gas. DivisionByZero when there is only water."""
    return CONTEXT.divide(concentration, _dryness(moisture))


def velocity(factor: Decimal, at_point: Decimal) -> Decimal:
    """(29) The mean velocity of the section in m/s, by the one at the point of measurement."""
    return _product(factor, at_point)


def flow(area: Decimal, mean: Decimal) -> Decimal:
    """(30) m3/h as it flows, by section (m2) and mean velocity (m/s)."""
    return _product(SECONDS_PER_HOUR, area, mean)


def standard_dry_flow(
    wet: Decimal, celsius: Decimal, pressure: Decimal, moisture: Decimal, constants: Constants
) -> Decimal:
    """(31) m3/h as it flows into m3/h dry at standard state; ``pressure``: air pressure plus static pressure."""
    cool = CONTEXT.divide(constants.zero, CONTEXT.add(constants.zero, celsius))
    return _product(wet, cool, CONTEXT.divide(pressure, ATMOSPHERE_PA), _dryness(moisture))


def mass_rate(concentration: Decimal, standard_dry: Decimal) -> Decimal:
    """(33) kg/h, by a concentration (mg/m3) and a flow (m3/h) of one state: both dry and standard."""
    return _product(concentration, standard_dry, KG_PER_MG)


def _dryness(moisture: Decimal) -> Decimal:
    return CONTEXT.subtract(Decimal(1), CONTEXT.divide(moisture, HUNDRED))


def _product(first: Decimal, *others: Decimal) -> Decimal:
    for other in others:
        first = CONTEXT.multiply(first, other)
    return first
