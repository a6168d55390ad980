"""Green power takes off what was purchased in the same time, and no more: over all certificates and meters together."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from cloud.accounting.line import Line
from drivers.quantity import EXACT

BEYOND = "green.beyond-purchase"
"""Why an inventory stays provisional: certificates of more power than its lines purchased."""


def beyond(lines: Iterable[Line]) -> bool:
    """Whether the certificates that hold over some day take off more than all purchases of those days emitted.

    Each line caps itself at the purchase it names; several of them, or a purchase left out, would pass that cap.
    """
    held = list(lines)
    green = [line for line in held if line.class_ == "indirect_electricity_offset"]
    bought = [line for line in held if line.class_ == "indirect_electricity" and line.sign == 1]
    spans = {(line.start, line.end) for line in green}
    return any(_over(green, span) + _over(bought, span) < 0 for span in spans)


def _over(lines: Sequence[Line], span: tuple[str, str]) -> Decimal:
    """tCO2e of the lines that share a day with a span."""
    start, end = span
    total = Decimal(0)
    for line in lines:
        if line.start < end and start < line.end:
            total = EXACT.add(total, line.tco2e)
    return total
