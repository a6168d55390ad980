"""Comprehensive energy consumption (GB/T 2589-2020) in tonnes of standard coal, from the lines of an account.

Fuels burnt, electricity and heat bought less what was sold, at equivalent value. A fuel counts by its measured
calorific value, else by the standard's table, else by that of its guideline, over 29.3076 GJ/tce; where there is none
it is unknown, never 0. Green power is electricity like any other. Energy used as raw material is not in it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from cloud.accounting import parameters
from cloud.accounting.line import Line, Used
from cloud.accounting.units import ARITHMETIC, unit
from drivers.quantity import EXACT

SET = "gbt-2589-2020"
GJ_OF_TCE = Decimal("29.3076")
BURNT = ("direct_combustion", "direct_mobile")
Basis = Literal["measured", "standard", "guideline"]

ELECTRICITY = "electricity"
HEAT = "heat"


@dataclass(frozen=True, slots=True)
class Carrier:
    """What a line is in standard coal, t; sold energy is negative. ``basis``: whose calorific value it was."""

    line: Line
    item: str
    tce: Decimal
    basis: Basis

    @property
    def kwh(self) -> Decimal:
        """Electricity as it was metered, kWh; sold is negative; 0 for anything else."""
        amount = _amount(self.line, "AD") if self.item == ELECTRICITY else None
        return Decimal(0) if amount is None else unit("kWh").of(amount) * self.line.sign


@dataclass(frozen=True, slots=True)
class Consumption:
    """``tce``: sum of the carriers. ``unknown``: lines of energy whose standard coal is not known."""

    carriers: tuple[Carrier, ...]
    unknown: tuple[Line, ...]

    @property
    def tce(self) -> Decimal:
        total = Decimal(0)
        for one in self.carriers:
            total = EXACT.add(total, one.tce)
        return total


def consumption(lines: Iterable[Line]) -> Consumption:
    """What these lines used, carrier by carrier."""
    carriers: list[Carrier] = []
    unknown: list[Line] = []
    for line in lines:
        if not _is_energy(line):
            continue
        found = _carrier(line)
        if found is None:
            unknown.append(line)
        else:
            carriers.append(found)
    return Consumption(tuple(carriers), tuple(unknown))


def _is_energy(line: Line) -> bool:
    if line.class_ in ("indirect_electricity", "indirect_heat"):
        return True
    return line.class_ in BURNT and line.gas == "CO2" and not line.block.startswith("FLARE")


def _carrier(line: Line) -> Carrier | None:
    if line.class_ == "indirect_electricity":
        return _of_heat(line, ELECTRICITY, _amount(line, "AD"))
    if line.class_ == "indirect_heat":
        factor = _used(line, "EF")
        heat = ARITHMETIC.divide(line.mass, factor) if factor else _amount(line, "AD")
        return _of_heat(line, HEAT, heat)
    return _fuel(line)


def _of_heat(line: Line, item: str, gigajoules: Decimal | None) -> Carrier | None:
    if gigajoules is None:
        return None
    found = parameters.builtin()[SET].get(f"tce.{item}").quantity
    return _sized(line, item, ARITHMETIC.multiply(gigajoules, found.unit.coherent(found.value)), "standard")


def _fuel(line: Line) -> Carrier | None:
    amount = _amount(line, "FC")
    volume, density = _amount(line, "V"), _used(line, "rho")
    if amount is None and volume is not None and density is not None:
        amount = ARITHMETIC.multiply(volume, density)
    if amount is None:
        return None
    heat = _used(line, "NCV")
    measured = any(one.symbol == "NCV" and one.tier == "measured" for one in line.parameters)
    table = parameters.builtin()[SET].values.get(f"tce.{line.item}")
    if table is not None and not measured and _state(line, table.quantity.unit.dimension):
        each = table.quantity.unit.coherent(table.quantity.value)
        return _sized(line, line.item, ARITHMETIC.multiply(amount, each), "standard")
    if heat is None:
        return None
    tce = ARITHMETIC.divide(ARITHMETIC.multiply(amount, heat), GJ_OF_TCE)
    return _sized(line, line.item, tce, "measured" if measured else "guideline")


def _state(line: Line, each: tuple[tuple[str, int], ...]) -> bool:
    """Whether the table counts by what the line counts by: mass by mass, volume at 0 ℃ by volume at 0 ℃."""
    by_volume = any(one.symbol == "FC" and "volume:0C" in dict(unit(one.unit).dimension) for one in line.activities)
    return ("volume:0C" in dict(each)) == by_volume


def _sized(line: Line, item: str, tce: Decimal, basis: Basis) -> Carrier:
    return Carrier(line, item, tce if line.sign == 1 else -tce, basis)


def _amount(line: Line, symbol: str) -> Decimal | None:
    """An activity in the coherent unit (t, Nm3, m3, GJ)."""
    for one in line.activities:
        if one.symbol == symbol:
            return unit(one.unit).coherent(one.value)
    return None


def _used(line: Line, symbol: str) -> Decimal | None:
    """A parameter in the coherent unit."""
    found: Mapping[str, Used] = {one.symbol: one for one in line.parameters}
    one = found.get(symbol)
    return None if one is None else unit(one.unit).coherent(one.value)
