"""A raw number into a value in the point's unit: exact, whatever the ambient decimal context says."""

from decimal import Context, Decimal

from drivers.profile import Point
from drivers.reading import Quality

EXACT = Context(prec=1200, Emin=-9999, Emax=9999)
"""Wide enough for any IEEE double written out in decimal, times any scale: never rounds."""


def scaled(raw: int | Decimal, scale: Decimal) -> Decimal:
    """raw x scale, every digit kept."""
    return EXACT.multiply(raw, scale)


def quality(point: Point, value: Decimal | None) -> Quality:
    """absent without a value, suspect outside the point's ``min`` and ``max``, else measured."""
    if value is None:
        return "absent"
    low, high = point.min, point.max
    if (low is not None and value < low) or (high is not None and value > high):
        return "suspect"
    return "measured"
