"""Units with substance: a tonne of carbon is not a tonne of CO2, and a cubic metre at 0 ℃ is not one at 20 ℃.

A unit is written as the field writes it: ``tC/GJ``, ``tCO2/1e4Nm3``, ``kgCH4/kgCOD``, ``t·km``. Behind it stand a
dimension (exponents of bases such as ``mass:C`` or ``volume:0C``) and an exact scale to the coherent unit of that
dimension (t, GJ, Nm3, m3, km, h). A temperature in ℃ is only ever taken as a difference from another. Units of
different dimensions never convert: not C to CO2 without 44/12, not m3 to Nm3 without pressure and temperature.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cache

import msgspec

from drivers.quantity import EXACT
from protocols.errors import UnitError

ARITHMETIC = Context(prec=50)
"""How accounts divide: fifty digits, half even; sums and products of what is measured stay exact in it."""

DIGITS, POWERS = 40, 30
"""How long a number is at most as it is written, and how great: what fits the fifty digits beside other numbers."""

SUBSTANCES = frozenset({
    "C", "CO2", "CO2e", "CH4", "N2O", "CF4", "C2F6", "C3F8", "C4F10", "C5F12", "C6F14", "c-C4F8", "SF6", "NF3",
    "HFC-23", "HFC-32", "HFC-125", "HFC-134a", "HFC-143a", "HFC-152a", "HFC-227ea", "HFC-236fa", "HFC-245fa",
    "HFC-365mfc", "HFC-43-10mee", "HCFC-22", "COD", "ce",
})  # fmt: skip
"""What a mass may be of. A mass without one is of the item itself (coal, clinker, product); ``ce``: standard coal."""

Dimension = tuple[tuple[str, int], ...]
"""Bases with their exponents, in order of name, none of them 0."""

_MASS = {"Mt": "1e6", "kt": "1e3", "t": "1", "kg": "1e-3", "g": "1e-6", "mg": "1e-9"}
_ATOMS: dict[str, tuple[str | None, str]] = {
    "1": (None, "1"),
    "%": (None, "0.01"),
    "TJ": ("energy", "1e3"),
    "GJ": ("energy", "1"),
    "MJ": ("energy", "1e-3"),
    "kJ": ("energy", "1e-6"),
    "J": ("energy", "1e-9"),
    "GWh": ("energy", "3600"),
    "MWh": ("energy", "3.6"),
    "kWh": ("energy", "0.0036"),
    "Wh": ("energy", "0.0000036"),
    "Nm3": ("volume:0C", "1"),
    "1e4Nm3": ("volume:0C", "1e4"),
    "1e8Nm3": ("volume:0C", "1e8"),
    "Sm3": ("volume:20C", "1"),
    "m3": ("volume", "1"),
    "1e4m3": ("volume", "1e4"),
    "L": ("volume", "1e-3"),
    "mol": ("amount", "1"),
    "K": ("temperature", "1"),
    "℃": ("temperature", "1"),
    "km": ("length", "1"),
    "m": ("length", "1e-3"),
    "m2": ("area", "1"),
    "1e4m2": ("area", "1e4"),
    "hm2": ("area", "1e4"),
    "h": ("time", "1"),
    "min": ("time", "1/60"),
    "d": ("time", "24"),
    "a": ("time:year", "1"),
    "each": ("count", "1"),
    "person": ("person", "1"),
    "CNY": ("money", "1"),
    "1e4CNY": ("money", "1e4"),
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as it is written, its dimension, and what one of it is in the coherent unit: numerator / denominator."""

    text: str
    dimension: Dimension
    numerator: Decimal
    denominator: Decimal

    def coherent(self, value: Decimal) -> Decimal:
        """``value`` of this unit in the coherent unit of its dimension (t, GJ, Nm3, ...)."""
        whole = EXACT.multiply(value, self.numerator)
        return whole if self.denominator == 1 else ARITHMETIC.divide(whole, self.denominator)

    def of(self, coherent: Decimal) -> Decimal:
        """A coherent amount expressed in this unit."""
        return ARITHMETIC.divide(ARITHMETIC.multiply(coherent, self.denominator), self.numerator)


class Quantity(msgspec.Struct, frozen=True, gc=False):
    """A number and its unit, as it was given."""

    value: Decimal
    unit: Unit

    def to(self, unit: Unit) -> Decimal:
        """The number in another unit of the same dimension; UnitError for any other."""
        if unit.dimension != self.unit.dimension:
            raise UnitError(f"found {self.unit.text} ({spoken(self.unit.dimension)}), expected {unit.text}")
        return self.value if unit == self.unit else unit.of(self.unit.coherent(self.value))


@cache
def unit(text: str) -> Unit:
    """The unit of this spelling; UnitError names the part that is none."""
    dimension: dict[str, int] = {}
    scale = [Decimal(1), Decimal(1)]
    for index, side in enumerate(text.split("/")):
        sign = 1 if index == 0 else -1
        for atom in side.split("·"):
            base, numerator, denominator = _atom(atom, text)
            up, down = (numerator, denominator) if sign == 1 else (denominator, numerator)
            scale = [EXACT.multiply(scale[0], up), EXACT.multiply(scale[1], down)]
            if base is not None:
                dimension[base] = dimension.get(base, 0) + sign
    return Unit(text, _dimension(dimension), *scale)


def quantity(text: str) -> Quantity:
    """``1000 t``, ``26.7 GJ/t``, ``98 %`` or a bare ``0.98``; UnitError otherwise."""
    match = re.fullmatch(r"(-?[0-9]+(?:\.[0-9]+)?(?:[eE]-?[0-9]{1,3})?)(?: +(\S+))?", text.strip())
    if match is None:
        raise UnitError(f"found {text!r}, expected a number and its unit, like '1000 t' or '26.7 GJ/t'")
    number = Decimal(match[1])
    if len(match[1]) > DIGITS or (number and abs(number.adjusted()) > POWERS):
        raise UnitError(f"found {text[:DIGITS]!r}, expected at most {DIGITS} digits, from 1e-{POWERS} to 1e{POWERS}")
    return Quantity(number, unit(match[2] or "1"))


def times(left: Dimension, right: Dimension, sign: int = 1) -> Dimension:
    """The dimension of a product (``sign`` 1) or a quotient (-1)."""
    exponents = dict(left)
    for base, power in right:
        exponents[base] = exponents.get(base, 0) + sign * power
    return _dimension(exponents)


def spoken(dimension: Dimension) -> str:
    """A dimension for a message: ``mass:C / energy``."""
    above = [base if power == 1 else f"{base}^{power}" for base, power in dimension if power > 0]
    below = [base if power == -1 else f"{base}^{-power}" for base, power in dimension if power < 0]
    return " / ".join([" · ".join(above) or "1", *below])


def _dimension(exponents: Mapping[str, int]) -> Dimension:
    return tuple(sorted((base, power) for base, power in exponents.items() if power))


def _atom(atom: str, text: str) -> tuple[str | None, Decimal, Decimal]:
    if atom in _ATOMS:
        base, scale = _ATOMS[atom]
        above, _, below = scale.partition("/")
        return base, Decimal(above), Decimal(below or "1")
    for prefix, scale in _MASS.items():
        if atom.startswith(prefix) and (substance := atom.removeprefix(prefix)) in SUBSTANCES | {""}:
            return f"mass:{substance}" if substance else "mass", Decimal(scale), Decimal(1)
    raise UnitError(
        f"unit {text!r}: found {atom!r}, expected one of {', '.join((*_ATOMS, *_MASS))}, or tCO2 and the like"
    )
