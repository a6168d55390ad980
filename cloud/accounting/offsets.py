"""Green power takes off what was purchased in the same time, and no more: over all certificates and meters together."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from cloud.accounting.line import Line
from drivers.quantity import EXACT

BEYOND = "green.beyond-purchase"
"""Why an inventory stays provisional: certificates of more power than its lines purchased."""


@dataclass(frozen=True, slots=True)
class _Summed:
    """Days in order, and what the lines up to each of them come to, tCO2e."""

    days: tuple[str, ...]
    sums: tuple[Decimal, ...]


def beyond(lines: Iterable[Line]) -> bool:
    """Whether the certificates that hold over some day take off more than all purchases of those days emitted.

    Each line caps itself at the purchase it names; several of them, or a purchase left out, would pass that cap.
    """
    held = [line for line in lines if _is_green(line) or (line.class_ == "indirect_electricity" and line.sign == 1)]
    spans = {(line.start, line.end) for line in held if _is_green(line)}
    if not spans:
        return False
    starts, ends = _summed((line.start, line.tco2e) for line in held), _summed((line.end, line.tco2e) for line in held)
    return any(_over(starts, ends, span) < 0 for span in spans)


def _is_green(line: Line) -> bool:
    return line.class_ == "indirect_electricity_offset"


def _summed(found: Iterable[tuple[str, Decimal]]) -> _Summed:
    days, sums, total = [], [Decimal(0)], Decimal(0)
    for day, tco2e in sorted(found, key=lambda one: one[0]):
        total = EXACT.add(total, tco2e)
        days.append(day)
        sums.append(total)
    return _Summed(tuple(days), tuple(sums))


def _over(starts: _Summed, ends: _Summed, span: tuple[str, str]) -> Decimal:
    """tCO2e of the lines that share a day with a span: begun before its end, less ended by its start."""
    begun = starts.sums[bisect_left(starts.days, span[1])]
    return EXACT.subtract(begun, ends.sums[bisect_right(ends.days, span[0])])
