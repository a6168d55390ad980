"""A gateway of the fleet: its state folder, its agent from start to start, and what may happen to it."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drivers.builtin import builtin
from drivers.site import Port
from edge import config
from edge.agent import Agent
from edge.outbox import Outbox
from edge.recorder import Entry
from edge.returning import oldest_held
from edge.transport import Transport
from edge.wire import Wire
from protocols.errors import TanmeterError
from protocols.record.block import open_header
from protocols.record.cose import PrivateKey
from protocols.record.enrolment import Enrolment, sign_enrolment
from protocols.record.siteconfig import NO_PREVIOUS, SiteConfig, digest, sign_site
from simulator.fleet.clock import NodeClock
from simulator.fleet.meters import POINT, PROFILE, Bench, Meter, TrueTime
from simulator.fleet.room import Room
from simulator.fleet.witness import Witness

KEPT = (config.KEY, config.ENROLMENT, config.COLLECTOR)
"""Files that are written once and never change: no fault of the simulated disk reaches them."""
RESTART_S = 5.0
LOOK_S = 600.0
"""How often a box that is off looks whether it is switched on."""
Image = dict[str, bytes]
"""A state folder's changing files: name -> content."""


def key(random: Random) -> PrivateKey:
    """A key that is a function of the seed."""
    return PrivateKey(Ed25519PrivateKey.from_private_bytes(random.randbytes(32)))


@dataclass(frozen=True)
class Cadence:
    """How often meters are asked, and how long a block is, as site files write it."""

    period: str
    block: str


class Node:
    """One gateway. ``transport`` makes the way to the collector for one life of the agent."""

    def __init__(
        self,
        index: int,
        folder: Path,
        random: Random,
        *,
        meters: Sequence[Meter],
        cadence: Cadence,
        clock: NodeClock,
        time: TrueTime,
        collector: PrivateKey,
        transport: Callable[["Node"], Transport],
        durable: bool = False,
    ) -> None:
        self.index, self.state, self.random, self.meters = index, folder, random, list(meters)
        self.cadence, self.clock, self.time = cadence, clock, time
        self._transport, self.durable = transport, durable
        self.key, self.technician = key(random), key(random)
        self.id = self.key.public.id
        self.envelopes: list[bytes] = []
        self.profile = builtin(PROFILE)
        self.hung: dict[int, tuple[Meter, ...]] = {}
        """The meters by the number of the configuration they hang under."""
        self.swapped: dict[tuple[int, int], list[Meter]] = {}
        """The meters that took a place without a word, by the configuration in force and the unit."""
        self.room = Room(folder)
        self.witness = Witness()
        self.answers = 0
        self.stop = asyncio.Event()
        self.agent: Agent | None = None
        self.running: asyncio.Future[None] | None = None
        self.lives = self.failures = 0
        self.failed: list[str] = []
        self._bench = Bench({}, clock, time)
        self._after: Image | None = None
        self.down_until = 0.0
        self._reboot: Callable[[], None] | None = None
        self._set_up(collector)

    # ---- its life

    async def live(self) -> None:
        """Run agent after agent, as a service manager would, until told to stop."""
        while not self.stop.is_set():
            self.lives += 1
            self._bench = Bench({unit + 1: meter for unit, meter in enumerate(self.meters)}, self.clock, self.time)
            agent = self.agent = Fleeting(self, self._transport(self), self._bench, self.durable)
            self.running = asyncio.ensure_future(agent.run(self.stop))
            await asyncio.wait({self.running})
            self._bench.dead = True
            if self._after is not None:
                await self._rise()
            elif (error := self.running.exception()) is not None:
                if not isinstance(error, TanmeterError):
                    raise error
                self.failures += 1
                self.failed.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(RESTART_S)

    async def _rise(self) -> None:
        """Put the disk back as the fault left it, and wait until the box is up again."""
        image, self._after = self._after, None
        self._write(image or {})
        while (left := self.down_until - self.time.seconds()) > 0:  # noqa: ASYNC110 - a box that is off cannot be told
            await asyncio.sleep(min(left, LOOK_S))
        if self._reboot is not None:
            reboot, self._reboot = self._reboot, None
            reboot()

    @property
    def alive(self) -> bool:
        """Whether an agent runs that nobody has killed."""
        return self.running is not None and not self.running.done() and self._after is None and not self.stop.is_set()

    def kill(self, down_s: float, image: Image | None = None, reboot: Callable[[], None] | None = None) -> Image | None:
        """End the process at this instant: the disk as it is, or ``image`` in its place; what it still does is for
        nobody. The disk it left; None when nothing runs.
        """
        if not self.alive or self.running is None:
            return None
        left = self.image()
        self._after, self._reboot = image if image is not None else left, reboot
        self.down_until = self.time.seconds() + down_s
        self._bench.dead = True
        self.running.cancel()
        return left

    # ---- its disk

    def image(self) -> Image:
        """The changing files of the state folder."""
        return {
            path.name: path.read_bytes()
            for path in self.state.iterdir()
            if path.is_file() and path.name not in KEPT and not path.name.endswith((".lock", "-shm"))
        }

    def _write(self, image: Image) -> None:
        for path in list(self.state.iterdir()):
            if path.is_file() and path.name not in KEPT:
                path.unlink()
        for name, content in image.items():
            (self.state / name).write_bytes(content)

    # ---- its configuration

    def sign(self) -> None:
        """Put a site file in force: the meters that hang on it, asked in its cadence."""
        number = len(self.envelopes) + 1
        previous = digest(self.envelopes[-1]) if self.envelopes else NO_PREVIOUS
        named = ((PROFILE, hashlib.sha256(self.profile).digest()),)
        envelope = sign_site(
            SiteConfig(number, previous, self._site(number).encode(), named, self.clock.true_ms()), self.technician
        )
        self.envelopes.append(envelope)
        self.hung[number] = tuple(self.meters)
        (self.state / config.CONFIGS / f"{number:04d}.cose").write_bytes(envelope)

    def replace(self, unit: int, meter: Meter) -> None:
        """Hang another meter in the place of one. It is another device, and the next edition says so."""
        self.meters[unit] = meter

    def swap(self, unit: int, meter: Meter) -> None:
        """Hang another meter in the place of one, while the agent runs: no edition says so."""
        self.meters[unit] = meter
        self.swapped.setdefault((len(self.envelopes), unit), []).append(meter)
        self._bench.hang(unit + 1, meter)

    def hung_there(self, number: int, unit: int) -> list[Meter]:
        """Every meter that was in a place while an edition was in force."""
        return [self.hung[number][unit], *self.swapped.get((number, unit), ())]

    def name(self, number: int, unit: int) -> str:
        """What the device of a place is called in an edition: by its meter."""
        return f"M-{unit + 1}-{self._meter(number, unit).mark}"

    def _meter(self, number: int, unit: int) -> Meter:
        return self.hung[number][unit] if number in self.hung else self.meters[unit]

    def enrolment(self) -> bytes:
        """The request it enrols with."""
        return (self.state / config.ENROLMENT).read_bytes()

    def oldest(self) -> bytes | None:
        """The envelope of the oldest block it holds, which goes with the request; None where none can be read."""
        try:
            if (held := oldest_held(self.state / config.OUTBOX)) is not None:
                open_header(held, self.key.public)
        except TanmeterError:
            return None
        return held

    def _site(self, number: int) -> str:
        devices = "".join(
            f'[[device]]\nid = "{self.name(number, unit)}"\nprofile = "{PROFILE}"\nport = "net"\n'
            f'address = "{unit + 1}"\n'
            f'period = "{self.cadence.period}"\npoints = ["{POINT}"]\n'
            for unit in range(len(self.meters))
        )
        return (
            f'schema = 1\n[site]\nid = "S-{self.index}"\nname = "edition {number}"\nblock = "{self.cadence.block}"\n'
            f'[[port]]\nname = "net"\ntcp = "127.0.0.1:1"\n{devices}'
        )

    def _set_up(self, collector: PrivateKey) -> None:
        for folder in (config.CONFIGS, config.PROFILES):
            (self.state / folder).mkdir(parents=True)
        (self.state / config.KEY).write_bytes(self.key.pem())
        (self.state / config.KEY).chmod(0o600)
        (self.state / config.PROFILES / f"{hashlib.sha256(self.profile).hexdigest()}.toml").write_bytes(self.profile)
        self.sign()
        technician, first = self.technician.public, digest(self.envelopes[0])
        request = Enrolment(
            self.key.algorithm,
            self.key.spki,
            technician.algorithm,
            technician.spki,
            f"S-{self.index}",
            first,
            0,
            self.clock.true_ms(),
            self.random.randbytes(16),
        )
        (self.state / config.ENROLMENT).write_bytes(sign_enrolment(request, self.key))
        held = {"url": "http://127.0.0.1:1", "algorithm": collector.algorithm, "spki": collector.spki.hex()}
        (self.state / config.COLLECTOR).write_text(json.dumps(held))

    def clear(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self.state, ignore_errors=True)


class Fleeting(Agent):
    """The agent as it is; what it says is on disk is noted outside of it."""

    def __init__(self, node: Node, transport: Transport, bench: Bench, durable: bool) -> None:
        def wires(port: Port) -> Wire:
            return bench

        super().__init__(
            node.state,
            node.clock,
            wires,
            transport,
            Random(f"{node.random.random()}/{node.lives}"),
            durable=durable,
            watch_s=3600.0,
        )
        self._node, self._bench = node, bench

    def _open(self, config: config.EdgeConfig, until: int | None) -> Outbox | None:
        outbox = super()._open(config, until)
        if outbox is not None:
            self._node.room.bound(outbox)
        return outbox

    def _committed(self, entries: Sequence[Entry]) -> None:
        super()._committed(entries)
        if not self._bench.dead:
            for record, _ in entries:
                exchange = record.exchange
                if not exchange.fault:
                    self._node.witness.acked[exchange.device, exchange.at_ms, exchange.reply] += 1
