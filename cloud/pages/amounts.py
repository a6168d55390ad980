"""What the meters of a site count: which point stands for a meter, and what it came to since midnight."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from cloud.accounting.meters import ENERGY
from cloud.intervals import PER_HOUR, rules
from cloud.rows import Latest, Sum
from drivers.installation import Installation
from drivers.profile import Point
from drivers.quantity import EXACT

ELECTRICITY = "electricity"
MAIN: Mapping[str, tuple[str, ...]] = {
    ELECTRICITY: (ENERGY, "energy_total"),
    "heat": ("energy_heat", "volume"),
    "cold": ("energy_cold", "volume"),
    "flue-gas": ("co2_mass_rate",),
    "coal": ("mass",),
    "material": ("mass",),
}
"""The points that stand for a meter of a medium, the best first; of others a volume, else whatever it counts first."""
OTHERWISE = ("volume", "volume_standard", "mass")
FLOWS = ("power", "power_heat", "power_cold", "co2_mass_rate", "flow_standard", "flow", "mass_flow")
"""What a meter shows as going on now, the first it has."""


@dataclass(frozen=True, slots=True)
class Amount:
    """So much in a unit; ``point`` says what. ``sure``: nothing of it is estimated, suspect or absent."""

    point: str
    value: Decimal | None
    unit: str
    sure: bool = True


def counted(installation: Installation, device: int) -> tuple[Point, ...]:
    """The points of a device (its number) that are booked into intervals, the one that stands for it first."""
    profile, booked = installation.drivers[device].profile, rules(installation, device)
    wanted = (*MAIN.get(profile.medium, ()), *OTHERWISE)
    points = [point for point in profile.points if point.id in booked]
    return tuple(sorted(points, key=lambda point: wanted.index(point.id) if point.id in wanted else len(wanted)))


def amount(point: Point, found: Sum | None) -> Amount:
    """What a point came to, by what was booked of it."""
    if found is None:
        return Amount(point.id, None, point.unit.removesuffix(PER_HOUR))
    sure = found.intervals > found.absent and not (found.estimated or found.suspect or found.absent)
    value = found.consumption if found.intervals > found.suspect + found.absent else None
    if value is not None and point.kind == "rate":
        value = value.normalize(EXACT)
    return Amount(point.id, value, found.unit, sure)


def flow(latest: Mapping[str, Latest]) -> Latest | None:
    """What goes on now, None where the meter says nothing of it."""
    return next((latest[name] for name in FLOWS if name in latest and latest[name].value is not None), None)
