"""A plausible value of a Modbus point and the registers that hold it: for proof frames and for simulated meters."""

from collections.abc import Mapping
from decimal import Decimal
from struct import pack, unpack

from drivers import registers
from drivers.profile import Point, Profile
from drivers.quantity import scaled
from drivers.registers import ordered

USUAL: Mapping[str, str] = {
    "V": "230", "kV": "10", "A": "12.5", "mA": "12500", "W": "2830", "kW": "2.83", "MW": "2.5", "var": "410",
    "kvar": "0.41", "VA": "2860", "kVA": "2.86", "Hz": "50", "%": "12.5", "ppm": "180", "ppb": "180000",
    "kWh": "12345.5", "MWh": "1234.5", "Wh": "12345678", "GJ": "321.5", "kvarh": "2345.5", "kVAh": "13456.5",
    "m3": "4567.5", "m3/h": "3.25", "kg": "456789", "kg/h": "1250", "t": "3456.5", "t/h": "42.5", "°C": "63.5",
    "K": "22.5", "kPa": "350", "bar": "3.5", "m/s": "1.25", "kg/m": "20.5", "h": "5000",
}  # fmt: skip
"""What a point of a unit usually says; 1 of any other."""
RATIO = "0.9"
"""What a power factor usually says."""


def held(profile: Profile) -> dict[str, tuple[int | float, Decimal]]:
    """Every point with a raw number that it can hold and what that is worth in its unit; what casts doubt is 0."""
    doubts = {point.flag for point in profile.points}
    raws = {point.id: 0 if point.id in doubts else raw(point, place) for place, point in enumerate(profile.points)}
    return {point.id: (raws[point.id], _worth(point, profile, raws)) for point in profile.points}


def raw(point: Point, place: int = 0) -> int | float:
    """A raw number that the point can hold: usual for its unit, inside its limits, not a mark of absence.

    ``place`` tells points of one unit apart.
    """
    if point.kind == "status" or point.type == "bit" or point.bit is not None:
        return 0
    usual = RATIO if point.id.startswith("power_factor") else USUAL.get(point.unit, "1")
    wanted = Decimal(usual) * (1 + Decimal(place % 16) / 256)
    low, high = point.min, point.max
    if (low is not None and wanted < low) or (high is not None and wanted > high):
        wanted = ((low or Decimal(0)) + (high if high is not None else (low or Decimal(0)) + 2)) / 2
    if point.type in ("f32", "f64"):
        return round(float(wanted / point.scale) * 64) / 64
    return _whole(point, round(wanted / point.scale))


def field(point: Point, value: int | float) -> bytes:
    """The bytes of the registers that hold a raw number, as they travel; for a bit, one byte."""
    kind = point.type or "u16"
    if kind == "bit":
        return bytes([int(value)])
    return ordered(registers.field(value, kind), point.order)


def _worth(point: Point, profile: Profile, raws: Mapping[str, int | float]) -> Decimal:
    """What a raw number is worth in the point's unit, the point that scales it taken in."""
    number = raws[point.id]
    if point.type == "f32":
        (number,) = unpack(">f", pack(">f", number))
    value = scaled(Decimal(number), point.scale)
    if point.scale_by is None:
        return value
    by = _worth(profile.point(point.scale_by), profile, raws)
    return scaled(value, Decimal(10) ** int(by) if point.scale_mode == "exponent" else by)


def _whole(point: Point, wanted: int) -> int:
    """The nearest whole number that the type holds and that is no mark of absence."""
    kind = point.type or "u16"
    most = registers.most(kind)
    if point.modulus is not None:
        most = min(most, int(point.modulus / point.scale) - 1)
    found = max(0, min(wanted, most))
    while found in point.bad:
        found -= 1
    return found
