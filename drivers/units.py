"""Units that sites send where the standard says others, and the exact ratio of one to another. Pure."""

from decimal import Decimal
from functools import lru_cache

from drivers.fluegas import CONTEXT, Constants

SIZES: dict[str, tuple[str, Decimal]] = {
    "m3/s": ("flow", Decimal(3600)),
    "m3/h": ("flow", Decimal(1)),
    "km3/h": ("flow", Decimal(1000)),
    "Pa": ("pressure", Decimal(1)),
    "hPa": ("pressure", Decimal(100)),
    "kPa": ("pressure", Decimal(1000)),
    "mg/m3": ("concentration", Decimal(1)),
    "g/m3": ("concentration", Decimal(1000)),
    "m3": ("volume", Decimal(1)),
    "km3": ("volume", Decimal(1000)),
    "kg": ("mass", Decimal(1)),
    "g": ("mass", Decimal("0.001")),
    "t": ("mass", Decimal(1000)),
}
"""What a unit measures, and how many of the first of its kind it is."""
SHARES = {"%": Decimal(10_000), "ppm": Decimal(1)}
"""Parts of a million by volume: a concentration by the mass of a mole."""


@lru_cache(maxsize=1024)
def ratio(sent: str, wanted: str, constants: Constants, mole: Decimal | None = None) -> Decimal | None:
    """What a number in ``sent`` is multiplied by to be one in ``wanted``; None when they do not measure one thing.

    ``mole``: the mass of a mole of the gas in g, where a share by volume may become a concentration.
    """
    if sent == wanted:
        return Decimal(1)
    if sent in SHARES and wanted in SHARES:
        return CONTEXT.divide(SHARES[sent], SHARES[wanted])
    one, other = _size(sent, constants, mole), _size(wanted, constants, mole)
    if one is None or other is None or one[0] != other[0]:
        return None
    return CONTEXT.divide(one[1], other[1])


def _size(unit: str, constants: Constants, mole: Decimal | None) -> tuple[str, Decimal] | None:
    if unit in SHARES and mole is not None:
        return "concentration", CONTEXT.multiply(SHARES[unit], CONTEXT.divide(mole, constants.volume))
    return SIZES.get(unit)
