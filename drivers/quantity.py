"""A raw number into a value in the point's unit: exact, whatever the ambient decimal context says."""

from decimal import Context, Decimal

from drivers.profile import Point
from drivers.query import Values
from drivers.reading import Quality
from protocols.errors import Impossible

EXACT = Context(prec=1200, Emin=-9999, Emax=9999)
"""Wide enough for any IEEE double written out in decimal, times any scale: never rounds."""

LONGEST, THOUSANDTHS, SINGLE = 6, 3, 7
"""Decimals of the finest scale of a meter, of a number that is short, and digits that a float of 32 bits can hold."""

LARGEST = 1 << 63
"""Steps of a point's scale that no number reaches: columns are of 64 bits."""


def scaled(raw: int | Decimal, scale: Decimal) -> Decimal:
    """raw x scale, every digit kept."""
    return EXACT.multiply(raw, scale)


def short(value: Decimal) -> Decimal:
    """For the eye: exactly, unless a binary float has made it long; then to the thousandth, and to the seven digits at
    least that such a float can hold.
    """
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent <= LONGEST:
        return value
    return round(value, max(THOUSANDTHS, SINGLE - 1 - value.adjusted())).normalize()


def stepped(steps: int, point: Point) -> Decimal:
    """So many steps of a point's scale; Impossible for what is no number of 64 bits."""
    if not -LARGEST < steps < LARGEST:
        raise Impossible(f"{point.id}: found {steps} steps of {point.scale}, expected less than 2^63")
    return scaled(steps, point.scale)


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
