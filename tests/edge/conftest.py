"""Boxes to run an agent in: a signed state folder, wires that end in functions, virtual time, a collector by hand."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from drivers.builtin import builtin, builtin_ids
from drivers.site import Port
from edge import config, keys
from edge.agent import Agent
from edge.outbox import Outbox
from edge.transport import Response
from protocols import dlt645, messages, modbus
from protocols.errors import PortGone, UnreachableError
from protocols.record import transport
from protocols.record.answer import Answer, Answers, Verdict, decode_batch, encode_answers
from protocols.record.block import Chunk, Header, open_block
from protocols.record.cose import PrivateKey
from protocols.record.enrolment import Enrolment, sign_enrolment
from protocols.record.receipt import Receipt, sign_receipt
from protocols.record.siteconfig import NO_PREVIOUS, SiteConfig, digest, sign_site
from simulator.time import SimClock, VirtualLoop

START = 1_780_000_020_000
"""A whole minute of 2026."""

SITE = """\
schema = 1
[site]
id = "S-1"
name = "test"
block = "{block}"
"""

Answerer = Callable[[bytes], Sequence[tuple[int, bytes]]]
"""What a wire does with a request: (delay in ms, bytes) of everything that comes back."""


@dataclass
class Box:
    """A state folder and the keys behind it."""

    state: Path
    gateway: PrivateKey
    technician: PrivateKey
    collector: PrivateKey
    profiles: dict[str, bytes]
    envelopes: list[bytes] = field(default_factory=list)

    def sign(self, site: str) -> None:
        """Put a site file in force."""
        number = len(self.envelopes) + 1
        named = tuple((name, hashlib.sha256(source).digest()) for name, source in sorted(self.profiles.items()))
        previous = digest(self.envelopes[-1]) if self.envelopes else NO_PREVIOUS
        envelope = sign_site(SiteConfig(number, previous, site.encode(), named, START), self.technician)
        self.envelopes.append(envelope)
        (self.state / "configs" / f"{number:04d}.cose").write_bytes(envelope)

    def enrol(self, url: str = "http://127.0.0.1:1") -> None:
        """Know a collector."""
        held = {"url": url, "algorithm": self.collector.algorithm, "spki": self.collector.spki.hex()}
        (self.state / "collector.json").write_text(json.dumps(held))

    def outbox(self) -> Outbox:
        """The store, while no agent runs."""
        held = config.load(self.state)
        return Outbox(self.state / config.OUTBOX, held.gateway, held.previous, durable=False)

    def blocks(self) -> list[tuple[Header, tuple[Chunk, ...]]]:
        """Every sealed block, its chain checked link by link."""
        outbox = self.outbox()
        try:
            frames = [outbox.batch(0, seq, 1, 1 << 30) for seq in range(outbox.chain().link.seq)]
        finally:
            outbox.close()
        previous, opened = config.load(self.state).previous, []
        for seq, (stored,) in enumerate(frames):
            sealed = transport.unpack(stored.frame)
            header, chunks = open_block(sealed, self.gateway.public)
            assert (header.seq, stored.seq, header.previous) == (seq, seq, previous)
            previous = sealed.hash
            opened.append((header, chunks))
        return opened


@dataclass
class World:
    """An agent in virtual time, wires that end in functions, or where ``wires`` says: (port, clock) -> Wire."""

    box: Box
    answer: dict[str, Answerer]
    start: int = START
    transport: Any = None
    wires: Any = None
    step_ms: int = 0
    agents: list[Agent] = field(default_factory=list)
    logged: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    levels: list[tuple[str, str]] = field(default_factory=list)
    """Event and level, in step with ``logged``."""

    def run(self, seconds: float, during: Callable[["World"], Any] | None = None, **options: Any) -> None:
        """Start an agent, let so much time pass, stop it; ``during`` is a coroutine function run beside it."""
        loop = VirtualLoop()
        clock = StepClock(loop, self.start, self)

        async def main() -> None:
            stop = asyncio.Event()
            agent = Agent(
                self.box.state,
                clock,
                lambda port: self.wires(port, clock) if self.wires else FakeWire(port, self, clock),
                self.transport,
                Random(1),
                durable=False,
                log=self._log,
                **options,
            )
            self.agents.append(agent)
            running = asyncio.ensure_future(agent.run(stop))
            beside = asyncio.ensure_future(during(self)) if during else None
            await asyncio.wait({running}, timeout=seconds)
            if beside is not None:
                await beside
            stop.set()
            await running

        try:
            loop.run_until_complete(main())
        finally:
            loop.close()
        self.start = clock.utc_ms() + 5_000

    def _log(self, level: str, event: str, **known: object) -> None:
        self.logged.append((event, known))
        self.levels.append((event, level))
        assert messages.text(f"edge.log.{event}", "zh", **known)


class StepClock(SimClock):
    """A virtual clock that the world may step."""

    def __init__(self, loop: VirtualLoop, utc_ms: int, world: World) -> None:
        super().__init__(loop, utc_ms)
        self._world = world

    def utc_ms(self) -> int:
        return super().utc_ms() + self._world.step_ms


class FakeWire:
    """A wire of one port in virtual time."""

    def __init__(self, port: Port, world: World, clock: SimClock) -> None:
        self._name, self._world, self._clock = port.name, world, clock
        self._coming: list[tuple[int, bytes]] = []
        self.is_open = False

    async def open(self) -> None:
        if self._name not in self._world.answer:
            raise PortGone(f"{self._name}: unplugged")
        self.is_open = True

    async def configure(self, mode: str) -> None:
        pass

    async def write(self, data: bytes) -> None:
        self._check()
        now = self._clock.mono_ms()
        self._coming += [(now + delay, reply) for delay, reply in self._world.answer[self._name](data)]
        self._coming.sort(key=lambda entry: entry[0])

    async def read(self, max_wait_s: float) -> bytes:
        self._check()
        if not self._coming or self._coming[0][0] > self._clock.mono_ms() + max_wait_s * 1000:
            await asyncio.sleep(max_wait_s)
            return b""
        at, data = self._coming.pop(0)
        await asyncio.sleep(max(0, at - self._clock.mono_ms()) / 1000)
        return data

    async def drain(self) -> None:
        self._check()
        self._coming = [entry for entry in self._coming if entry[0] > self._clock.mono_ms()]

    async def close(self) -> None:
        self.is_open = False

    def _check(self) -> None:
        if not self.is_open or self._name not in self._world.answer:
            raise PortGone(f"{self._name}: unplugged")


class Collector:
    """A collector by hand, and the transport to it: keeps blocks in order, signs receipts, can be taken away."""

    def __init__(self, box: Box) -> None:
        self.box, self.key = box, box.collector
        self.held: list[bytes] = []
        self.ahead: dict[tuple[int, int], bytes] = {}
        self.seen: list[tuple[float, int, int]] = []
        self.shown: list[bytes] = []
        self.pause_ms = 0
        self.configs = 0
        self.posts: list[tuple[float, str]] = []
        self.instead: Response | Exception | None = None
        self.epoch, self.level = 0, 1
        self.verdicts: Callable[[Header], Verdict | None] = lambda header: None

    async def post(self, path: str, body: bytes, content_type: str) -> Response:
        self.posts.append((asyncio.get_running_loop().time(), path))
        if isinstance(self.instead, Exception):
            raise UnreachableError(str(self.instead))
        if self.instead is not None:
            return self.instead
        if path == "/v1/configs":
            self.configs += 1
            return Response(200, b"")
        if path == "/v1/receipts":
            self.shown.append(body)
            return Response(200, encode_answers(Answers((), self.receipt())))
        verdicts = tuple([self._take(frame) for frame in decode_batch(body)])
        return Response(200, encode_answers(Answers(verdicts, self.receipt(), None, self.pause_ms)))

    async def close(self) -> None:
        pass

    def receipt(self, **changed: Any) -> bytes:
        head = self.held[-1] if self.held else config.load(self.box.state).previous
        known = {"gateway": self.box.gateway.public.id, "epoch": self.epoch, "next_seq": len(self.held), "head": head}
        return sign_receipt(Receipt(**{**known, "level": self.level, "at": START, **changed}), self.key)

    def _take(self, frame: bytes) -> Verdict:
        sealed = transport.unpack(frame)
        header, _ = open_block(sealed, self.box.gateway.public)
        self.seen.append((asyncio.get_running_loop().time(), header.epoch, header.seq))
        if (verdict := self.verdicts(header)) is not None:
            return verdict
        if header.epoch > self.epoch and header.seq == 0:
            self.epoch, self.held = header.epoch, []
        if header.seq > len(self.held):
            self.ahead[header.epoch, header.seq] = sealed.hash
            return Verdict(Answer.GAP, len(self.held), "SIG-602", "a gap")
        if header.seq < len(self.held):
            same = self.held[header.seq] == sealed.hash
            return Verdict(Answer.HELD if same else Answer.CONFLICT, len(self.held), "" if same else "SIG-603", "")
        self.held.append(sealed.hash)
        while (kept := self.ahead.pop((self.epoch, len(self.held)), None)) is not None:
            self.held.append(kept)
        return Verdict(Answer.STORED, header.seq + 1, "", "")


def modbus_port(name: str = "net", place: str = "127.0.0.1:1") -> str:
    return f'[[port]]\nname = "{name}"\ntcp = "{place}"\n'


def serial_port(name: str = "bus", device: str = "/dev/null", mode: str = "9600-8N1") -> str:
    return f'[[port]]\nname = "{name}"\ndevice = "{device}"\nmode = "{mode}"\n'


def meter(number: int, port: str, profile: str, points: Sequence[str], period: str = "10s", address: str = "") -> str:
    named = ", ".join(f'"{point}"' for point in points)
    return (
        f'[[device]]\nid = "M-{number}"\nprofile = "{profile}"\nport = "{port}"\n'
        f'address = "{address or number}"\nperiod = "{period}"\npoints = [{named}]\n'
    )


def sdm(number: int, port: str = "net", period: str = "10s") -> str:
    """A Modbus meter of one question: its energy."""
    return meter(number, port, "eastron-sdm630", ["energy_import"], period)


def registers(value: int = 0x41200000) -> Answerer:
    """Modbus TCP meters whose every register pair holds these bits; they answer after 10 ms."""

    def answer(request: bytes) -> Sequence[tuple[int, bytes]]:
        asked = modbus.parse_tcp(request)
        data = (value.to_bytes(4) * asked.count)[: 2 * asked.count]
        pdu = bytes([asked.function, len(data)]) + data
        return [(10, modbus.frame_tcp(asked.transaction, asked.unit, pdu))]

    return answer


def rtu(value: int = 0x41200000, delay: int = 40) -> Answerer:
    """The same on a serial line."""

    def answer(request: bytes) -> Sequence[tuple[int, bytes]]:
        asked = modbus.parse_rtu(request)
        data = (value.to_bytes(4) * asked.count)[: 2 * asked.count]
        return [(delay, modbus.frame_rtu(asked.unit, bytes([asked.function, len(data)]) + data))]

    return answer


def energy(request: bytes, digits: str = "00123456") -> bytes:
    """A DL/T 645 reply with eight digits."""
    address, identifier = dlt645.parse_request(request)
    data = bytes.fromhex(identifier)[::-1] + bytes.fromhex(digits)[::-1]
    return dlt645.Frame(address, 0x91, data).to_bytes()


@pytest.fixture
def box(tmp_path: Path) -> Callable[..., Box]:
    """Makes a state folder for a site of these ports and devices."""

    def make(*parts: str, block: str = "60s", folder: str = "state") -> Box:
        state = tmp_path / folder
        for folder in (state / "configs", state / "profiles"):
            folder.mkdir(parents=True)
        used = [name for name in builtin_ids() if any(f'profile = "{name}"' in part for part in parts)]
        made = Box(
            state,
            keys.create(state / config.KEY),
            PrivateKey.generate(),
            PrivateKey.generate(),
            {name: builtin(name) for name in used},
        )
        for source in made.profiles.values():
            (state / "profiles" / f"{hashlib.sha256(source).hexdigest()}.toml").write_bytes(source)
        made.sign(SITE.format(block=block) + "".join(parts))
        technician = made.technician.public
        request = Enrolment(
            made.gateway.algorithm,
            made.gateway.spki,
            technician.algorithm,
            technician.spki,
            "S-1",
            digest(made.envelopes[0]),
            0,
            START,
            bytes(16),
        )
        (state / config.ENROLMENT).write_bytes(sign_enrolment(request, made.gateway))
        return made

    return make


@pytest.fixture
def kit() -> SimpleNamespace:
    """What the tests of this room build with, for they cannot import this file."""
    return SimpleNamespace(
        start=START,
        site=SITE,
        world=World,
        collector=Collector,
        modbus_port=modbus_port,
        serial_port=serial_port,
        meter=meter,
        sdm=sdm,
        registers=registers,
        rtu=rtu,
        energy=energy,
    )


@pytest.fixture
def site(box, kit):
    """A box with a meter that is enrolled, its world, its collector."""
    made = box(kit.modbus_port(), kit.sdm(1))
    made.enrol()
    collector = kit.collector(made)
    return made, kit.world(made, {"net": kit.registers()}, transport=collector), collector
