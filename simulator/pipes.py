"""What a water, gas, heat or cold meter makes of its pipe: its quantities in whole units of its display."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from simulator.world import ORIGIN_DAY, ZONE_MS, Pipe, World

NL_PER_CENTI_M3 = 10_000_000_000
UJ_PER_CENTI = {"kWh": 36_000_000_000, "GJ": 10_000_000_000_000}
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Seen:
    """A pipe at one instant (UTC ms)."""

    world: World
    pipe: Pipe
    at: int

    def volume(self) -> int:
        """Volume in 0.01 m3, cut off as a counter does."""
        return self.world.volume_nl(self.pipe.name, self.at) // NL_PER_CENTI_M3

    def energy(self, unit: str) -> int:
        """Heat or cold in 0.01 of a unit, cut off as a counter does."""
        return self.world.heat_uj(self.pipe.name, self.at) // UJ_PER_CENTI[unit]

    def power(self) -> int:
        """Thermal power in 0.01 kW."""
        return self.world.heat_mw(self.pipe.name, self.at) // 10_000

    def flow(self) -> int:
        """Flow in 0.0001 m3/h."""
        return self.world.flow_ul_s(self.pipe.name, self.at) * 3_600 // 100_000

    def supply(self) -> int:
        """Supply temperature in 0.01 °C."""
        return self.world.temperatures_ck(self.pipe.name, self.at)[0]

    def back(self) -> int:
        """Return temperature in 0.01 °C."""
        return self.world.temperatures_ck(self.pipe.name, self.at)[1]

    def hours(self) -> int:
        """Hours in operation since the world began."""
        return (self.at + ZONE_MS - ORIGIN_DAY * DAY_MS) // HOUR_MS

    def local(self) -> datetime:
        """The clock on the wall."""
        return EPOCH + timedelta(milliseconds=self.at + ZONE_MS)

    def settled(self) -> "Seen":
        """The pipe at the last settlement: midnight of the first of the month."""
        begun = self.local().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return Seen(self.world, self.pipe, (begun - EPOCH) // timedelta(milliseconds=1) - ZONE_MS)


def within(world: World, pipe: str) -> Callable[[int], Seen]:
    """What a meter in a pipe sees at an instant (UTC ms)."""
    return partial(Seen, world, world.pipe(pipe))
