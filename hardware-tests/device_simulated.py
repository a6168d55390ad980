"""Simulated meters of the protocols that are not Modbus, each alone on a pseudo terminal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from simulator.cjt188_meters import Cjt188Meter, cold, gas, heat, water
from simulator.dlt645_1997_meters import Dlt645Meter1997
from simulator.dlt645_meters import Dlt645Meter
from simulator.electricity import behind
from simulator.mbus_meters import MbusMeter
from simulator.meters import Listener
from simulator.pipes import within
from simulator.truth import TruthLog
from simulator.world import World

SEED = 7


@dataclass(frozen=True, slots=True)
class Simulated:
    """A meter that can be put up: the address it answers to, and how it is made."""

    address: str
    made: Callable[[World, TruthLog], Listener]


METERS: Mapping[str, Simulated] = {
    "dlt645-2007-three-phase": Simulated(
        "202311070001", lambda world, truth: Dlt645Meter("D", "202311070001", 3, behind(world, "M-01", 80), truth)
    ),
    "dlt645-2007-single-phase": Simulated(
        "058581160068", lambda world, truth: Dlt645Meter("D", "058581160068", 1, behind(world, "M-02"), truth, most=12)
    ),
    "dlt645-1997-single-phase": Simulated(
        "63295", lambda world, truth: Dlt645Meter1997("D", "63295", 1, behind(world, "M-02"), truth, fill=0)
    ),
    "dlt645-1997-three-phase": Simulated(
        "63296", lambda world, truth: Dlt645Meter1997("D", "63296", 3, behind(world, "M-01", 80), truth)
    ),
    "cjt188-water": Simulated(
        "78330020231101",
        lambda world, truth: Cjt188Meter("D", "78330020231101", water(), within(world, "W-01"), truth),
    ),
    "cjt188-gas": Simulated(
        "05230020231102", lambda world, truth: Cjt188Meter("D", "05230020231102", gas(), within(world, "G-01"), truth)
    ),
    "cjt188-heat-gj": Simulated(
        "11110020231103", lambda world, truth: Cjt188Meter("D", "11110020231103", heat(), within(world, "H-01"), truth)
    ),
    "cjt188-cooling": Simulated(
        "33330020231104", lambda world, truth: Cjt188Meter("D", "33330020231104", cold(), within(world, "C-01"), truth)
    ),
    "mbus-heat": Simulated(
        "7", lambda world, truth: MbusMeter("D", 7, "10000007", within(world, "H-01"), truth)
    ),
    "mbus-heat-gj": Simulated(
        "10000008", lambda world, truth: MbusMeter("D", 8, "10000008", within(world, "H-01"), truth)
    ),
}  # fmt: skip
"""By profile. One breaks its answers off and sends the rest when asked, one has a number filled with zeros, one is
selected by its number, two understand only the other identifier order.
"""


def meter(name: str, folder: Path) -> Listener:
    """A new meter of this profile, its truth log in ``folder``."""
    return METERS[name].made(World(SEED), TruthLog(folder / f"{name}.jsonl"))
