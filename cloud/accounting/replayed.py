"""An inventory made again from what it says itself: every line from its symbols, every sum from its lines. Pure."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from cloud.accounting import blocks, gwp, inventory
from cloud.accounting.inventory import Inventory
from cloud.accounting.line import PLACES, Activity, Line, Used
from cloud.accounting.statement import plain
from cloud.accounting.units import ARITHMETIC, unit
from drivers.quantity import EXACT


def named(line: Line) -> Iterator[Activity | Used]:
    """Everything that stands for a symbol of the line's formula."""
    yield from line.activities
    yield from line.parameters


def values(line: Line) -> dict[str, Decimal]:
    """Every symbol's number in the coherent unit of its dimension."""
    return {one.symbol: unit(one.unit).coherent(one.value) for one in named(line)}


def mass(line: Line, of: Mapping[str, Decimal]) -> Decimal:
    """Tonnes of the line's gas by its formula at these values, rounded as a line is."""
    return blocks.block(line.block).formula.value(of).quantize(PLACES, context=ARITHMETIC)


def tonnes(line: Line, of: Mapping[str, Decimal]) -> Decimal:
    """tCO2e of the line's formula, GWP and sign at these values."""
    return EXACT.multiply(ARITHMETIC.multiply(mass(line, of), line.gwp), Decimal(line.sign))


def faults(content: Inventory) -> Iterator[str]:
    """What does not come out as it says: found and expected."""
    for line in content.lines:
        yield from _of_line(line, content)
    if content.totals != inventory.totals(content.lines):
        yield f"totals: found {content.totals.total} tCO2e and its parts, expected the sums of the lines"
    if content.estimated != inventory.estimated(content.lines):
        yield f"estimated: found {content.estimated}, expected {inventory.estimated(content.lines)}"


def _of_line(line: Line, content: Inventory) -> Iterator[str]:
    of = values(line)
    if line.formula != blocks.block(line.block).formula.text():
        yield f"{line.id}: found the formula {line.formula}, expected that of {line.block}"
    elif plain(mass(line, of)) != line.mass:
        yield f"{line.id}: found {line.mass} t{line.gas}, expected {plain(mass(line, of))}"
    elif plain(tonnes(line, of)) != line.tco2e:
        yield f"{line.id}: found {line.tco2e} tCO2e, expected {plain(tonnes(line, of))}"
    if line.gwp != gwp.potential(line.gwp_set, line.gas):
        yield f"{line.id}: found a GWP of {line.gwp}, expected that of {line.gwp_set}"
    if (line.subject, line.method, line.gwp_set) != (content.subject, content.method, content.gwp_set):
        yield f"{line.id}: found it of another subject, method or GWP set, expected those of its inventory"
