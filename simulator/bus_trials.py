"""Trials of the schedule: the whole agent in virtual time on simulated lines, and what of its plan each meter got.

What a meter was owed and what it answered is counted in the signed blocks; the time that dead meters took is counted on
the wire.
"""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from drivers.site import Port
from edge import config
from edge.agent import Agent
from edge.outbox import Outbox
from edge.wire import Wire
from protocols.record import transport
from protocols.record.block import open_block
from protocols.record.cose import PrivateKey
from provisioning import site_init
from simulator.dlt645_meters import Dlt645Meter
from simulator.electricity import behind
from simulator.modbus_meters import ModbusMeter, RtuMeter, TcpMeter, acrel_adl400
from simulator.network import Endpoint, TcpEnd
from simulator.ports import SerialPort
from simulator.rs485 import Pair
from simulator.stations import Mood, Station, spread
from simulator.time import SimClock, VirtualLoop
from simulator.truth import TruthLog
from simulator.world import World

START = 1_795_363_200_000
"""2026-11-23 00:00 in Shanghai."""
LATENCY_MS = 4
TURNAROUND_MS = (20, 60)
TWENTY = (
    *("energy_import", "frequency"),
    *(f"{name}_{phase}" for name in ("voltage", "current") for phase in "abc"),
    *(f"{name}{phase}" for name in ("power", "reactive_power", "power_factor") for phase in ("_a", "_b", "_c", "")),
)
"""The points that are asked of a Modbus meter."""


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter of a trial: its entry in the site file, and how its answers come about."""

    port: str
    profile: str
    address: str
    period: str
    points: tuple[str, ...] = ()
    mode: str = ""

    def entry(self, number: int) -> str:
        """Its table in the site file."""
        points = ", ".join(f'"{point}"' for point in self.points)
        return (
            f'[[device]]\nid = "M-{number}"\nprofile = "{self.profile}"\nport = "{self.port}"\n'
            f'address = "{self.address}"\nperiod = "{self.period}"\npoints = [{points}]\n'
            + (f'mode = "{self.mode}"\n' if self.mode else "")
        )


@dataclass(slots=True)
class Site:
    """Ports by name with their modes (empty: a TCP endpoint), the meters, and what happens to them during the trial."""

    ports: Mapping[str, str]
    meters: Sequence[Meter]
    seconds: float
    block: str = "60s"
    moods: dict[int, Mood] = field(default_factory=dict)
    during: Callable[["Site"], Coroutine[Any, Any, None]] | None = None

    def toml(self) -> bytes:
        """The site file."""
        ports = [
            f'[[port]]\nname = "{name}"\n'
            + (f'device = "/dev/{name}"\nmode = "{mode}"\n' if mode else _endpoint(place))
            for place, (name, mode) in enumerate(self.ports.items())
        ]
        head = f'schema = 1\n[site]\nid = "S-1"\nname = "trial"\nblock = "{self.block}"\n'
        return (head + "".join(ports) + "".join(meter.entry(n) for n, meter in enumerate(self.meters))).encode()


@dataclass(frozen=True, slots=True)
class Lived:
    """What came of a trial: for each meter what it was owed and what it answered, and the share of the time that the
    dead took (serial lines together); ``answers``: times (UTC ms) at which each meter answered.
    """

    due: tuple[int, ...]
    answered: tuple[int, ...]
    dead_share: float
    answers: tuple[tuple[int, ...], ...]

    def kept(self, meters: Sequence[int]) -> float:
        """The part of their plan that these meters got, the worst of them."""
        return min(self.answered[number] / self.due[number] for number in meters)


def modbus_bus(count: int, period: str, seconds: float, dead: Sequence[int] = ()) -> Site:
    """Meters of twenty points on one pair at 9600 baud, some of them dead."""
    meters = [Meter("bus", "acrel-adl400", str(number + 1), period, TWENTY) for number in range(count)]
    return Site({"bus": "9600-8N1"}, meters, seconds, moods={number: Mood(dead=True) for number in dead})


def endpoints(count: int, seconds: float, silent: Sequence[int]) -> Site:
    """Meters of twenty points behind a TCP endpoint each, every second, some of them silent."""
    meters = [Meter(f"net-{number}", "acrel-adl400", "1", "1s", TWENTY) for number in range(count)]
    ports = {meter.port: "" for meter in meters}
    return Site(ports, meters, seconds, moods={number: Mood(dead=True) for number in silent})


def mixed(seconds: float) -> Site:
    """Modbus at 9600-8N1 and DL/T 645 at 2400-8E1 on one pair."""
    modbus = [Meter("bus", "acrel-adl400", str(number + 1), "10s", TWENTY) for number in range(4)]
    dlt645 = [
        Meter("bus", "dlt645-2007-three-phase", f"20231107000{number}", "60s", ("energy_import", "power"), "2400-8E1")
        for number in range(4)
    ]
    return Site({"bus": "9600-8N1"}, [*modbus, *dlt645], seconds)


def live(site: Site, seed: int = 1) -> Lived:
    """Run an agent through a trial."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        state.mkdir()
        source = site.toml()
        site_init.init(state, source, site_init.gather(source), PrivateKey.generate(), START, overload=True)
        lines = _Lines(site, seed, TruthLog(Path(folder) / "truth.jsonl", buffered=True))
        loop = VirtualLoop()
        try:
            loop.run_until_complete(_live(state, site, lines, SimClock(loop, START), seed))
        finally:
            loop.close()
        return _read(state, len(site.meters), lines.dead_share(site.seconds))


async def _live(state: Path, site: Site, lines: "_Lines", clock: SimClock, seed: int) -> None:
    lines.clock = clock
    agent = Agent(state, clock, lines.wire, None, Random(seed), durable=False)
    beside = asyncio.ensure_future(site.during(site)) if site.during is not None else None
    await agent.run(asyncio.Event(), START + round(site.seconds * 1000))
    if beside is not None:
        await beside


class _Lines:
    """The pairs and endpoints of a trial."""

    def __init__(self, site: Site, seed: int, truth: TruthLog) -> None:
        self._site, self._world, self._truth = site, World(seed), truth
        self._random = Random(seed)
        self._pairs: dict[str, Pair] = {}
        self.clock: SimClock

    def wire(self, port: Port) -> Wire:
        """Where a port ends."""
        numbers = [number for number, meter in enumerate(self._site.meters) if meter.port == port.name]
        return self._pair(port, numbers) if port.device is not None else self._net(port, numbers)

    def dead_share(self, seconds: float) -> float:
        """The share of the time of all pairs from questions to dead meters until the next question."""
        spent = sum(self._spent(name, pair) for name, pair in self._pairs.items())
        return spent / (seconds * 1_000_000) / len(self._pairs) if self._pairs else 0.0

    def _pair(self, port: Port, numbers: Sequence[int]) -> SerialPort:
        pair = self._pairs[port.name] = Pair(self.clock, self._random)
        pair.log = []
        for number in numbers:
            meter, mood = self._site.meters[number], self._site.moods.setdefault(number, Mood())
            Station(pair, self._meter(number), meter.mode or port.mode, spread(*TURNAROUND_MS), mood)
        return SerialPort(pair, port.name, latency_ms=LATENCY_MS)

    def _net(self, port: Port, numbers: Sequence[int]) -> TcpEnd:
        endpoint = Endpoint(
            port.name, self.clock, self._random, lambda: [self._meter(n, tcp=True) for n in numbers], spread(5, 20)
        )
        endpoint.silent = {place for place, n in enumerate(numbers) if self._site.moods.get(n, Mood()).dead}
        return TcpEnd(endpoint)

    def _meter(self, number: int, tcp: bool = False) -> RtuMeter | TcpMeter | Dlt645Meter:
        meter, seen = self._site.meters[number], behind(self._world, "M-01", 80)
        if meter.profile.startswith("dlt645"):
            return Dlt645Meter(f"M-{number}", meter.address, 3, seen, self._truth)
        modbus = ModbusMeter(f"M-{number}", int(meter.address), acrel_adl400(), seen, self._truth)
        return TcpMeter(modbus) if tcp else RtuMeter(modbus)

    def _spent(self, name: str, pair: Pair) -> float:
        """Microseconds on dead meters; a Modbus question begins with the unit it is for."""
        dead = {
            int(meter.address)
            for number, meter in enumerate(self._site.meters)
            if meter.port == name and self._site.moods[number].dead and not meter.profile.startswith("dlt645")
        }
        asked = [told for told in pair.log or () if isinstance(told.sender, SerialPort)]
        ends = [told.start for told in asked[1:]]
        return sum(
            min(end, told.end + DEAD_LIMIT_US) - told.start
            for told, end in zip(asked, ends, strict=False)
            if told.data[0] in dead
        )


DEAD_LIMIT_US = 750_000
"""The time limit of the meters of these trials, and the quiet after it: then the pair is free again."""


def _endpoint(place: int) -> str:
    return f'tcp = "127.0.0.1:{10_000 + place}"\n'


def _read(state: Path, meters: int, dead_share: float) -> Lived:
    held = config.load(state)
    outbox = Outbox(state / config.OUTBOX, held.gateway, held.previous, durable=False)
    due, answered = [0] * meters, [0] * meters
    answers: list[list[int]] = [[] for _ in range(meters)]
    try:
        for seq in range(outbox.chain().link.seq):
            ((stored),) = outbox.batch(0, seq, 1, 1 << 30)
            header, chunks = open_block(transport.unpack(stored.frame), held.key.public)
            for chunk in chunks:
                due[chunk.device] += chunk.counters.due
                answered[chunk.device] += chunk.counters.answered
                answers[chunk.device] += [header.utc[0] + time for track in chunk.tracks for time in track.times]
    finally:
        outbox.close()
    return Lived(tuple(due), tuple(answered), dead_share, tuple(tuple(sorted(times)) for times in answers))
