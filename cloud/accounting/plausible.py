"""Between what a parameter of a line lies, where a reference gives it: a doubt with its source, never a refusal."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files

import msgspec

from cloud.accounting.line import Line
from cloud.accounting.standing import Standing
from cloud.accounting.units import Quantity, unit
from drivers import toml


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of a method's parameter in ``unit``; of these rows and this item where it says so."""

    method: str
    symbol: str
    low: Decimal
    high: Decimal
    standing: Standing
    source: str
    unit: str = "1"
    rows: tuple[str, ...] = ()
    item: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    range: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A parameter of a line outside its range: ``found`` is in the range's unit."""

    line: Line
    found: Decimal
    range: Range


@cache
def ranges() -> tuple[Range, ...]:
    """The ranges this edition of the software comes with."""
    source = files("cloud.accounting").joinpath("plausible.toml").read_bytes()
    return toml.load(source, _File, "plausible.toml").range


def doubts(lines: Iterable[Line]) -> Iterator[Doubt]:
    """Everything outside its range, in the order of the lines."""
    for line in lines:
        for one in ranges():
            if one.method != line.method or (one.rows and line.row not in one.rows) or one.item not in ("", line.item):
                continue
            for used in line.parameters:
                if used.symbol == one.symbol:
                    found = Quantity(used.value, unit(used.unit)).to(unit(one.unit))
                    if not one.low <= found <= one.high:
                        yield Doubt(line, found, one)
