"""A volume as it flowed brought to 0 ℃ and 101.325 kPa: by pressure and temperature of the same meter, or not at all.

Ideal gas: Nm3 = m3 x p / 101.325 kPa x 273.15 K / T, with p absolute. Compressibility is taken as 1; a corrector that
knows it counts Nm3 itself, and that register is then the one to bind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from msgspec.structs import replace

from cloud.accounting.units import ARITHMETIC
from cloud.intervals import Interval
from drivers.quantity import EXACT
from protocols.errors import ActivityError

NORMAL_KPA = Decimal("101.325")
NORMAL_K = Decimal("273.15")
PLACES = Decimal("1e-9")
KILOPASCALS = {
    "Pa": Decimal("0.001"), "hPa": Decimal("0.1"), "kPa": Decimal(1), "MPa": Decimal(1000), "bar": Decimal(100),
}  # fmt: skip
CELSIUS = ("℃", "°C")


@dataclass(frozen=True, slots=True)
class Conditions:
    """Mean absolute pressure (kPa) and temperature (K) of a quarter of an hour."""

    kpa: Decimal
    kelvin: Decimal

    @property
    def normal(self) -> Decimal:
        """Nm3 of a m3."""
        above = ARITHMETIC.multiply(self.kpa, NORMAL_K)
        return ARITHMETIC.divide(above, ARITHMETIC.multiply(NORMAL_KPA, self.kelvin))


def kilopascals(value: Decimal, unit: str) -> Decimal:
    """A pressure in kPa; ActivityError for a unit that is none of pressure."""
    if unit not in KILOPASCALS:
        raise ActivityError(f"pressure: found the unit {unit!r}, expected one of {', '.join(KILOPASCALS)}")
    return EXACT.multiply(value, KILOPASCALS[unit])


def kelvin(value: Decimal, unit: str) -> Decimal:
    """A temperature in K, above absolute zero; ActivityError for any other."""
    if unit not in (*CELSIUS, "K"):
        raise ActivityError(f"temperature: found the unit {unit!r}, expected ℃ or K")
    found = EXACT.add(value, NORMAL_K) if unit in CELSIUS else value
    if found <= 0:
        raise ActivityError(f"temperature: found {value} {unit}, expected one above absolute zero")
    return found


def normalised(intervals: Sequence[Interval], known: Mapping[int, Conditions]) -> list[Interval]:
    """Intervals in m3 as rates in Nm3; ``known``: conditions by the start of an interval.

    Where they are not known, nothing of that interval is covered, and it is a gap like any other: no volume at
    conditions that nobody measured is taken for one at 0 ℃. ActivityError for intervals that are not in m3.
    """
    return [_normal(one, known.get(one.start)) for one in intervals]


def by_factor(intervals: Sequence[Interval], factor: Decimal) -> list[Interval]:
    """Intervals in m3 as intervals in Nm3 by a declared factor (Nm3/m3), which works like a ratio of the meter."""
    return [
        replace(
            _in_m3(one),
            unit="Nm3",
            multiplier=EXACT.multiply(one.multiplier, factor),
            consumption=None if one.consumption is None else EXACT.multiply(one.consumption, factor),
        )
        for one in intervals
    ]


def _normal(one: Interval, found: Conditions | None) -> Interval:
    _in_m3(one)
    counted = one.covered_ms if one.kind == "rate" else (one.end if one.closed else one.position) - one.start
    if found is None or one.consumption is None or one.quality == "suspect" or one.consumption < 0:
        return replace(one, unit="Nm3", kind="rate", consumption=None, covered_ms=0)
    amount = ARITHMETIC.multiply(one.consumption, found.normal).quantize(PLACES, context=ARITHMETIC)
    return replace(one, unit="Nm3", kind="rate", consumption=amount, covered_ms=max(0, counted))


def _in_m3(one: Interval) -> Interval:
    if one.unit != "m3":
        raise ActivityError(f"{one.device}.{one.point}: found {one.unit}, expected m3 to bring to 0 ℃ and 101.325 kPa")
    return one
