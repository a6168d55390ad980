"""The units that M-Bus meters tell, and exact conversion between units of one quantity."""

from fractions import Fraction

from protocols.errors import Impossible

_UNITS: dict[str, tuple[str, Fraction]] = {
    "": ("number", Fraction(1)),
    "1": ("number", Fraction(1)),
    "J": ("energy", Fraction(1)),
    "kJ": ("energy", Fraction(10**3)),
    "MJ": ("energy", Fraction(10**6)),
    "GJ": ("energy", Fraction(10**9)),
    "Wh": ("energy", Fraction(3600)),
    "kWh": ("energy", Fraction(3600 * 10**3)),
    "MWh": ("energy", Fraction(3600 * 10**6)),
    "W": ("power", Fraction(3600)),
    "kW": ("power", Fraction(3600 * 10**3)),
    "MW": ("power", Fraction(3600 * 10**6)),
    "J/h": ("power", Fraction(1)),
    "MJ/h": ("power", Fraction(10**6)),
    "GJ/h": ("power", Fraction(10**9)),
    "m3": ("volume", Fraction(1000)),
    "L": ("volume", Fraction(1)),
    "m3/h": ("flow", Fraction(1000)),
    "m3/min": ("flow", Fraction(60_000)),
    "m3/s": ("flow", Fraction(3_600_000)),
    "L/h": ("flow", Fraction(1)),
    "L/min": ("flow", Fraction(60)),
    "kg": ("mass", Fraction(1)),
    "t": ("mass", Fraction(1000)),
    "kg/h": ("mass flow", Fraction(1)),
    "t/h": ("mass flow", Fraction(1000)),
    "bar": ("pressure", Fraction(100)),
    "kPa": ("pressure", Fraction(1)),
    "MPa": ("pressure", Fraction(1000)),
    "s": ("time", Fraction(1)),
    "min": ("time", Fraction(60)),
    "h": ("time", Fraction(3600)),
    "d": ("time", Fraction(86400)),
    "°C": ("temperature", Fraction(1)),
    "K": ("difference", Fraction(1)),
    "V": ("voltage", Fraction(1)),
    "A": ("current", Fraction(1)),
    "%": ("share", Fraction(1)),
}
"""Unit -> its quantity, and how much of the quantity's smallest it is."""


def factor(symbol: str, wanted: str) -> Fraction:
    """By what a number of ``symbol`` is multiplied to be one of ``wanted``; Impossible between two quantities."""
    found, expected = _UNITS.get(symbol), _UNITS.get(wanted)
    if found is None or expected is None or found[0] != expected[0]:
        raise Impossible(f"found a value in {symbol or 'no unit'!r}, expected one that can be told in {wanted!r}")
    return found[1] / expected[1]
