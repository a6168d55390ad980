"""What a line may be before somebody looks at it: bands that references give, as data; a doubt, never a refusal."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files

import msgspec

from cloud.accounting.line import Line
from cloud.accounting.parameters import Standing
from cloud.accounting.units import ARITHMETIC, Quantity, unit
from drivers import toml
from protocols.errors import UnknownNameError

COMPOSITE = "E/FC"
"""The symbol of a doubt about what a fuel emits by the tonne or the 1e4 Nm3, whatever it is made up of."""
_HUNDRED = Decimal(100)


class _Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    standing: Standing
    source: str


class Composite(_Band, frozen=True):
    """What a fuel's published factor is, and how far from it (in percent) another edition may be."""

    item: str
    value: Decimal
    unit: str
    tolerance: Decimal


class Range(_Band, frozen=True):
    """Between what a parameter of a method lies; of these rows and this item where it says so."""

    method: str
    symbol: str
    low: Decimal
    high: Decimal
    unit: str = "1"
    rows: tuple[str, ...] = ()
    item: str = ""


class Stack(_Band, frozen=True):
    """The most CO2, by volume of the dry flue gas, that a fuel can give."""

    fuel: str
    highest: Decimal


class Bands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as it is read."""

    schema: int
    composite: tuple[Composite, ...]
    range: tuple[Range, ...]
    stack: tuple[Stack, ...]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A value of a line outside its band, all in ``unit``."""

    line: str
    start: str
    symbol: str
    found: Decimal
    low: Decimal
    high: Decimal
    unit: str
    standing: Standing
    source: str


@cache
def bands() -> Bands:
    """The bands this edition of the software comes with."""
    source = files("cloud.accounting").joinpath("plausible.toml").read_bytes()
    return toml.load(source, Bands, "plausible.toml")


def doubts(lines: Iterable[Line], of: Bands | None = None) -> tuple[Doubt, ...]:
    """Everything outside its band, in the order of the lines."""
    held = of or bands()
    return tuple(doubt for line in lines for doubt in (*_composite(line, held.composite), *_ranges(line, held.range)))


def most_co2(fuel: str, of: Bands | None = None) -> Stack:
    """The limit of a fuel's dry flue gas; UnknownNameError for a fuel without one."""
    for stack in (of or bands()).stack:
        if stack.fuel == fuel:
            return stack
    raise UnknownNameError(f"flue gas: found no limit for {fuel!r}, expected one of coal, natural_gas")


def _composite(line: Line, composites: Sequence[Composite]) -> Iterator[Doubt]:
    if line.block != "FUEL":
        return
    for one in composites:
        amount = next((own for own in line.activities if own.symbol == "FC"), None)
        if one.item != line.item or amount is None or not amount.value:
            continue
        whole = unit(amount.unit).coherent(amount.value)
        each = Quantity(unit(one.unit).of(ARITHMETIC.divide(line.mass, whole)), unit(one.unit))
        reach = one.value * one.tolerance / _HUNDRED
        yield from _outside(line, COMPOSITE, each, (one.value - reach, one.value + reach), one)


def _ranges(line: Line, ranges: Sequence[Range]) -> Iterator[Doubt]:
    for one in ranges:
        if one.method != line.method or (one.rows and line.row not in one.rows) or one.item not in ("", line.item):
            continue
        for used in line.parameters:
            if used.symbol == one.symbol:
                found = Quantity(Quantity(used.value, unit(used.unit)).to(unit(one.unit)), unit(one.unit))
                yield from _outside(line, one.symbol, found, (one.low, one.high), one)


def _outside(
    line: Line, symbol: str, found: Quantity, band: tuple[Decimal, Decimal], by: Composite | Range
) -> Iterator[Doubt]:
    low, high = band
    if not low <= found.value <= high:
        yield Doubt(line.id, line.start, symbol, found.value, low, high, found.unit.text, by.standing, by.source)
