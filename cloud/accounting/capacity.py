"""What cannot have been: more in a line's days than its meter or the plant behind it lets through in them. Pure.

It needs no other period, and so tells a slip by a thousand in a source's first one. The bound of a metered line is the
meter's ``ceiling``, of any line the ``capacity`` of its row in the subject file.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal

from cloud.accounting.checks import Finding
from cloud.accounting.line import Activity, Line
from cloud.accounting.subject import Subject
from cloud.accounting.units import ARITHMETIC, Quantity, quantity, unit

CAPACITY = "capacity"
HOURS = 24


def beyond(lines: Iterable[Line], subject: Subject) -> Iterator[Finding]:
    """A finding for every amount that is more than what bounds it; UnitError for a bound of another kind of quantity.

    Of several activities of a symbol in a line each is held against the bound, and so is their sum.
    """
    for line in lines:
        hours = HOURS * (date.fromisoformat(line.end) - date.fromisoformat(line.start)).days
        for symbol in dict.fromkeys(one.symbol for one in line.activities):
            own = [one for one in line.activities if one.symbol == symbol]
            for most in _bounds(line, own, subject):
                found = sum((Quantity(one.value, unit(one.unit)).to(most.unit) for one in own), Decimal(0))
                whole = ARITHMETIC.multiply(most.value, Decimal(hours))
                if found > whole:
                    yield _finding(line, symbol, own, most, whole)
                    break


def _bounds(line: Line, own: Iterable[Activity], subject: Subject) -> Iterator[Quantity]:
    """The most in an hour of a line's symbol, as its meter and as its row has it."""
    symbol, read = "", set[tuple[str, str, str]]()
    for one in own:
        symbol = one.symbol
        kind, _, place = one.reference.partition(":")
        if kind == "meter":
            gateway, device, point = place.split("/")[:3]
            read.add((gateway, device, point))
    for gateway, device, point in sorted(read):
        for meter in subject.meter:
            named = (meter.device, meter.point, meter.row, meter.symbol) == (device, point, line.row, symbol)
            if named and meter.gateway in ("", gateway) and meter.ceiling:
                yield quantity(meter.ceiling)
    for held in subject.capacity:
        named = (held.row, held.symbol) == (line.row, symbol)
        if named and held.item in ("", line.item) and held.label in ("", line.label):
            yield quantity(held.most)


def _finding(line: Line, symbol: str, own: Iterable[Activity], most: Quantity, whole: Decimal) -> Finding:
    figures = {
        "symbol": symbol,
        "found": " + ".join(f"{one.value:f} {one.unit}" for one in own),
        "most": f"{whole.normalize(ARITHMETIC):f} {most.unit.text}",
        "hourly": f"{most.value:f} {most.unit.text}",
    }
    return Finding(CAPACITY, "block", line.id, figures)
