"""The simulated site: which meters hang on which wire, and the site file that describes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from simulator.cjt188_meters import Cjt188Meter, cold, gas, heat, water
from simulator.dlt645_meters import Dlt645Meter
from simulator.electricity import behind
from simulator.hj212_logger import MINUTES, REAL_TIME, StackLogger
from simulator.modbus_meters import ModbusMeter, RtuMeter, TcpMeter, acrel_adl400, eastron_sdm630, sick_marsic300
from simulator.pipes import within
from simulator.truth import TruthLog
from simulator.world import World

BAUD = 9600
PIPES_BAUD = 2400
"""8N1, though such meters speak 8E1: a pseudo terminal carries no parity."""
RATIOS = {"M-01": 80, "M-02": 1, "M-03": 30, "M-04": 1}
"""Current transformers in front of the meters: what their registers have to be multiplied by."""


class Listener(Protocol):
    """Something on a wire: hears bytes and says what it has to say."""

    def hear(self, data: bytes, utc_ms: int) -> list[bytes]:
        """The replies to what came since the last silence."""
        ...


@dataclass(frozen=True, slots=True)
class Port:
    """A wire of the site by its name, and how its meters answer: by a serial bus, or by connections to a TCP port."""

    name: str
    serial: bool
    turnaround_ms: int
    baud: int = BAUD

    def delay_ms(self, request: bytes) -> int:
        """From the first byte asked to the first byte answered, which tells the registers of that instant."""
        return self.turnaround_ms + self.line_ms(request)

    def line_ms(self, data: bytes) -> int:
        """How long bytes are on the line: 8N1; no time on a network."""
        return len(data) * 10_000 // self.baud * self.serial


PORTS = (
    Port("bus-1", True, 25),
    Port("bus-2", True, 60, PIPES_BAUD),
    Port("feeder-2", False, 12),
    Port("stack", False, 12),
)


def listeners(world: World, truth: TruthLog) -> dict[str, tuple[Listener, ...]]:
    """The meters on each port, new ones: for TCP, those of one connection."""
    return {
        "bus-1": (
            Dlt645Meter("M-01", "202311070001", 3, behind(world, "M-01", RATIOS["M-01"]), truth),
            Dlt645Meter("M-02", "058581160068", 1, behind(world, "M-02"), truth),
            RtuMeter(ModbusMeter("M-03", 3, acrel_adl400(), behind(world, "M-03", RATIOS["M-03"]), truth)),
        ),
        "bus-2": (
            Cjt188Meter("W-01", "78330020231101", water(), within(world, "W-01"), truth),
            Cjt188Meter("G-01", "05230020231102", gas(), within(world, "G-01"), truth),
            Cjt188Meter("H-01", "11110020231103", heat(), within(world, "H-01"), truth),
            Cjt188Meter("C-01", "33330020231104", cold(), within(world, "C-01"), truth),
        ),
        "feeder-2": (TcpMeter(ModbusMeter("M-04", 1, eastron_sdm630(), behind(world, "M-04"), truth)),),
        "stack": (TcpMeter(ModbusMeter("S-01", 1, sick_marsic300(), behind(world, "M-04"), truth)),),
    }


PLACES = {
    "bus-1": "/dev/ttyUSB0",
    "bus-2": "/dev/ttyUSB1",
    "feeder-2": "127.0.0.1:502",
    "stack": "127.0.0.1:503",
    "cems": "127.0.0.1:504",
}
"""Where the ports of the site are on a box, for a run in which nobody opens them."""

LOGGER_PORT, LOGGER, LOGGER_MN = "cems", "S-02", "88113021200000000000A502"
"""Where the box listens for the data logger at the kiln's stack."""
MASS = ("co2_mass_rate", "2051.co2")
"""What is booked of it, and where the truth log tells it."""
LIVE_PLAN = {REAL_TIME: 5_000, MINUTES: 60_000, "2061": 3_600_000}
PAST_PLAN = {MINUTES: 900_000}
"""What the logger says, every so many ms: of the history as little as is booked."""


def logger(world: World, truth: TruthLog, plan: Mapping[str, int]) -> StackLogger:
    """The data logger, a new one."""
    return StackLogger(LOGGER, LOGGER_MN, world, truth, plan)


REGISTERS = {"M-01": "00010000", "M-02": "00010000", "M-03": "3:10", "M-04": "4:72"}
"""Where each electricity meter counts the energy that is booked."""

FLOWS = {
    "W-01": ("volume", "901F.volume"),
    "G-01": ("volume", "901F.volume"),
    "H-01": ("energy_heat", "901F.energy2"),
    "C-01": ("energy_cold", "901F.energy2"),
}
"""What each meter of water, gas, heat and cold books, and where it counts it."""

HISTORY = {
    "M_01": ("energy_import", "power"),
    "M_02": ("energy_import", "power"),
    "M_03": ("energy_import", "power"),
    "M_04": ("energy_import", "power"),
    "W_01": ("volume",),
    "G_01": ("volume",),
    "H_01": ("energy_heat", "power"),
    "C_01": ("energy_cold", "power"),
    "S_01": ("co2", "o2", "malfunction", "maintenance", "live"),
    "S_02": ("co2_mass_rate",),
}
"""What is asked of each meter while it is asked every quarter of an hour; later everything its model has."""


def site_toml(places: Mapping[str, str], period: str, block: str, points: Mapping[str, tuple[str, ...]]) -> bytes:
    """The site file for meters that are at ``places`` (port name -> device path or host:port); no points: all."""
    ports = {name.replace("-", "_"): place for name, place in places.items()}
    asked = {name: _asked(points.get(name, ())) for name in HISTORY}
    pace = f'"2051" = "{period}"' if points else f'"2011" = "{period}", "2051" = "1m"'
    return SITE.format(**ports, **asked, period=period, pace=pace, block=block).encode()


def _asked(points: tuple[str, ...]) -> str:
    return f"\npoints = [{', '.join(repr(point) for point in points)}]".replace("'", '"') if points else ""


SITE = """\
schema = 1

[site]
id = "S-DEMO"
name = "示例机械厂"
timezone = "Asia/Shanghai"
language = "zh"
region = "CN"
block = "{block}"

[[port]]
name = "bus-1"
device = "{bus_1}"
mode = "9600-8N1"

[[port]]
name = "bus-2"
device = "{bus_2}"
mode = "2400-8N1"

[[port]]
name = "feeder-2"
tcp = "{feeder_2}"

[[port]]
name = "stack"
tcp = "{stack}"

[[port]]
name = "cems"
listen = "{cems}"

[[device]]
id = "M-01"
name = "总进线"
profile = "dlt645-2007-three-phase"
port = "bus-1"
address = "202311070001"
role = "purchased"
period = "{period}"{M_01}
ratios = [{{ from = 2024-01-01T00:00:00+08:00, ct = "400/5" }}]

[[device]]
id = "M-02"
name = "办公楼"
profile = "dlt645-2007-single-phase"
port = "bus-1"
address = "058581160068"
role = "sub"
parent = "M-01"
period = "{period}"{M_02}

[[device]]
id = "M-03"
name = "空压站"
profile = "acrel-adl400"
port = "bus-1"
address = "3"
role = "sub"
parent = "M-01"
period = "{period}"{M_03}
ratios = [{{ from = 2024-01-01T00:00:00+08:00, ct = "150/5" }}]

[[device]]
id = "M-04"
name = "二路进线（窑）"
profile = "eastron-sdm630"
port = "feeder-2"
address = "1"
role = "purchased"
period = "{period}"{M_04}

[[device]]
id = "W-01"
name = "自来水总表"
profile = "cjt188-water"
port = "bus-2"
address = "78330020231101"
role = "purchased"
period = "{period}"{W_01}

[[device]]
id = "G-01"
name = "天然气（燃烧器）"
profile = "cjt188-gas"
port = "bus-2"
address = "05230020231102"
role = "purchased"
period = "{period}"{G_01}

[[device]]
id = "H-01"
name = "外购热力"
profile = "cjt188-heat-gj"
port = "bus-2"
address = "11110020231103"
role = "purchased"
period = "{period}"{H_01}

[[device]]
id = "C-01"
name = "冷冻水"
profile = "cjt188-cooling"
port = "bus-2"
address = "33330020231104"
role = "sub"
period = "{period}"{C_01}

[[device]]
id = "S-01"
name = "窑尾烟气"
profile = "sick-marsic300"
port = "stack"
address = "1"
role = "flue-gas"
period = "{period}"{S_01}

[[device]]
id = "S-02"
name = "窑尾二氧化碳（数采仪）"
profile = "hj212-co2"
port = "cems"
address = "88113021200000000000A502"
role = "flue-gas"{S_02}
options = {{ units = {{ a05001 = "%" }}, periods = {{ {pace} }} }}
stack = {{ area_m2 = 1.77, kv = 0.92, air_pressure_pa = 101000 }}
"""
