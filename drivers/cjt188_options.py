"""What differs by maker between meters that all say they speak CJ/T 188: the options of a profile or a device entry."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from drivers import toml
from drivers.profile import Point
from protocols.cjt188_answer import DECIMALS, THERMAL, TOTALS, Quantity
from protocols.cjt188_units import QUANTITY, UNITS, Unit
from protocols.errors import ConfigError

Octet = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-F]{2}$")]
Decimals = Annotated[int, msgspec.Meta(ge=0, le=8)]
Energy = Literal["heat", "cold", "settlement", "unused"]

STATUS_FIELDS = ("valve", "battery_low", "status")
ENERGY_FIELDS = {"energy_heat": "heat", "energy_cold": "cold", "energy_settlement": "settlement"}
"""The fields a point can name for what a heat meter counts, and what the options have to say of it."""
FIELDS = (*dict.fromkeys((*TOTALS, *ENERGY_FIELDS, *THERMAL)), *STATUS_FIELDS)
"""What a point's ``field`` can name."""
PLAIN_UNITS = {"temperature": "°C", "time": "h"}
"""The unit of what comes without a unit code."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of one meter.

    ``meter_type``: the byte a request names (10 cold water, 11 hot water, 20 heat, 21 cold, 22 both, 30 gas).
    ``identifier``: which byte of it is sent first; ``auto`` tries both. ``units``: whether a unit code stands after its
    number or before it. ``status``: where valve and battery are told: in bits 0-1 and 2, or mirrored in 7-6 and 5.
    ``energy1``, ``energy2``: what the two energies of a heat meter are (``settlement``: of the last settlement day).
    ``…_decimals``: of a number without its dot. ``…_unit``: the unit code to go by instead of the one that is sent:
    compare the reading with the dial.
    """

    meter_type: Octet
    identifier: Literal["auto", "901F", "1F90"] = "auto"
    units: Literal["after", "before"] = "after"
    status: Literal["standard", "mirrored"] = "standard"
    energy1: Energy = "settlement"
    energy2: Energy = "heat"
    energy_decimals: Decimals = DECIMALS["energy"]
    power_decimals: Decimals = DECIMALS["power"]
    flow_decimals: Decimals = DECIMALS["flow"]
    volume_decimals: Decimals = DECIMALS["volume"]
    energy_unit: Octet | None = None
    power_unit: Octet | None = None
    flow_unit: Octet | None = None
    volume_unit: Octet | None = None

    @property
    def type_code(self) -> int:
        """The meter type as a number."""
        return int(self.meter_type, 16)

    @property
    def layout(self) -> Mapping[str, Quantity]:
        """The numbers that a meter of this type answers with: of a heat or cold meter (2x), or of any other."""
        return THERMAL if self.type_code >> 4 == 2 else TOTALS

    def source(self, field: str) -> str | None:
        """The number of the answer that a point's field is; None when these options give none."""
        if field in ENERGY_FIELDS:
            kind = ENERGY_FIELDS[field]
            field = "energy1" if self.energy1 == kind else "energy2" if self.energy2 == kind else ""
        return field if field in self.layout else None

    def decimals(self, quantity: Quantity) -> int:
        """How many decimals a number of this quantity has without its dot."""
        found: int = getattr(self, f"{quantity}_decimals", DECIMALS[quantity])
        return found

    def unit(self, quantity: Quantity, sent: int | None) -> Unit | None:
        """The unit of a number: the one set here, else the one sent; None for a code that is none."""
        set_here: str | None = getattr(self, f"{quantity}_unit", None)
        code = sent if set_here is None else int(set_here, 16)
        return None if code is None else UNITS.get(code)


def options(profile: Mapping[str, Any], device: Mapping[str, Any], where: str) -> Options:
    """A profile's options with a device's own put over them; ConfigError (``where``.options) names what is wrong."""
    found = toml.convert({**profile, **device}, Options, f"{where}.options")
    if found.energy1 == found.energy2 != "unused":
        raise ConfigError(f"{where}.options.energy2", repr(found.energy2), "something else than energy1")
    for quantity in ("energy", "power", "flow", "volume"):
        code = getattr(found, f"{quantity}_unit")
        if code is not None and int(code, 16) not in UNITS:
            raise ConfigError(f"{where}.options.{quantity}_unit", repr(code), "a unit code of CJ/T 188, like 2C")
    return found


def check(points: Sequence[Point], made: Options, where: str) -> None:
    """ConfigError for a field that such a meter does not answer, or a unit that its quantity cannot be told in."""
    for point in points:
        source = made.source(str(point.field))
        if source is None and point.field not in STATUS_FIELDS:
            known = ", ".join(name for name in FIELDS if name in STATUS_FIELDS or made.source(name))
            expected = f"a field of meter type {made.meter_type} with these options: {known}"
            raise ConfigError(f"{where}: point {point.id}.field", repr(point.field), expected)
        units = _units(None if source is None else made.layout[source])
        if point.unit not in units:
            raise ConfigError(f"{where}: point {point.id}.unit", repr(point.unit), "one of " + ", ".join(units))


def _units(quantity: Quantity | None) -> list[str]:
    """The units that a quantity can be told in; ``1`` for what is none."""
    if quantity is None or quantity in PLAIN_UNITS:
        return [PLAIN_UNITS.get(str(quantity), "1")]
    return [unit for unit, measured in QUANTITY.items() if measured == quantity]
