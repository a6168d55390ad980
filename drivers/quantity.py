"""A raw number into a value in the point's unit: exact, whatever the ambient decimal context says."""

from decimal import Context, Decimal

from drivers.profile import Point
from drivers.query import Values
from drivers.reading import Quality

EXACT = Context(prec=1200, Emin=-9999, Emax=9999)
"""Wide enough for any IEEE double written out in decimal, times any scale: never rounds."""


def scaled(raw: int | Decimal, scale: Decimal) -> Decimal:
    """raw x scale, every digit kept."""
    return EXACT.multiply(raw, scale)


def quality(point: Point, held: Values) -> Quality:
    """absent without a value; suspect outside the point's ``min`` and ``max``, or unless its ``flag`` says 0; else
    measured. ``held``: the values of the same answer.
    """
    value = held[point.id]
    if value is None:
        return "absent"
    if point.flag is not None and held.get(point.flag) != 0:
        return "suspect"
    return limited(point, value)


def limited(point: Point, value: Decimal) -> Quality:
    """suspect outside the point's ``min`` and ``max``, else measured."""
    low, high = point.min, point.max
    if (low is not None and value < low) or (high is not None and value > high):
        return "suspect"
    return "measured"
