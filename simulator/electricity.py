"""What an electricity meter makes of its circuit: secondary-side quantities in whole units of its display."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import isqrt

from simulator.world import Circuit, World

UJ_PER_CENTI_KWH = 36_000_000_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A circuit at one instant, seen behind a current transformer of ``ratio`` to 1."""

    world: World
    circuit: Circuit
    ratio: int
    at: int

    @property
    def phases(self) -> int:
        """1 or 3."""
        return len(self.circuit.phases)

    def energy_uj(self, tariff: int = 0, at: int | None = None) -> int:
        """Forward active energy in microjoules."""
        return self.world.energy_uj(self.circuit.name, self.at if at is None else at, tariff) // self.ratio

    def energy(self, tariff: int = 0, at: int | None = None) -> int:
        """Forward active energy in 0.01 kWh, cut off as a counter does."""
        return self.energy_uj(tariff, at) // UJ_PER_CENTI_KWH

    def phase_energy(self, phase: int) -> int:
        """Forward active energy of one phase (1-3) in 0.01 kWh."""
        return self.energy_uj() * self.circuit.phases[phase - 1] // 1000 // UJ_PER_CENTI_KWH

    def reactive_energy(self) -> int:
        """Forward reactive energy in 0.01 kvarh: the load is inductive with a constant power factor."""
        return self.energy_uj() * self.tangent // 1000 // UJ_PER_CENTI_KWH

    def apparent_energy(self) -> int:
        """Apparent energy in 0.01 kVAh."""
        return self.energy_uj() * 1000 // self.circuit.power_factor // UJ_PER_CENTI_KWH

    @property
    def tangent(self) -> int:
        """Reactive over active power in per mille."""
        factor = self.circuit.power_factor
        return isqrt(1_000_000 * (1_000_000 - factor * factor)) // factor

    def power(self, phase: int = 0) -> int:
        """Active power in milliwatts of one phase (1-3), or of all (0)."""
        total = self.world.power_mw(self.circuit.name, self.at) // self.ratio
        parts = [total * part // 1000 for part in self.circuit.phases[:-1]]
        return [total, *parts, total - sum(parts)][phase]

    def reactive(self, phase: int = 0) -> int:
        """Reactive power in millivar."""
        return self.power(phase) * self.tangent // 1000

    def apparent(self, phase: int = 0) -> int:
        """Apparent power in millivolt-ampere."""
        return self.power(phase) * 1000 // self.circuit.power_factor

    def voltage(self, phase: int) -> int:
        """Phase voltage in 0.1 V."""
        return self.world.voltage_dv(self.circuit.name, phase, self.at)

    def current(self, phase: int) -> int:
        """Phase current in mA: apparent power over voltage."""
        return self.apparent(phase) * 10 // self.voltage(phase)

    @property
    def power_factor(self) -> int:
        """In per mille."""
        return self.circuit.power_factor

    @property
    def frequency(self) -> int:
        """In 0.01 Hz."""
        return self.world.frequency_chz(self.at)


def behind(world: World, circuit: str, ratio: int = 1) -> Callable[[int], Snapshot]:
    """What a meter behind a current transformer of ``ratio`` to 1 sees of a circuit at an instant (UTC ms)."""
    return partial(Snapshot, world, world.circuit(circuit), ratio)
