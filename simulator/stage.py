"""The stage of the demo: a folder, the simulated site, a collector, a gateway, and a link that can be cut."""

import asyncio
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from edge.clock import SystemClock
from edge.outbox import Outbox
from edge.vouched import vouch
from protocols.errors import TanmeterError
from protocols.record.cose import PrivateKey
from provisioning import enrol, folder, keys, site_init
from simulator.asking import Asking
from simulator.children import Child, Children
from simulator.link import Link
from simulator.meters import HISTORY, site_toml
from simulator.world import DAY_MS, ZONE_MS

SITE_ID = "S-DEMO"
HISTORY_PERIOD = "15m"
LIVE_PERIOD = LIVE_BLOCK = "5s"
LIVE_BLOCK_MS = 5_000
LEAD_MS = 900_000
"""The history begins a poll before its first day, so that this day has a register at its start."""
NEAR_MIDNIGHT_MS = 30_000
POLL_S = 0.1
START_S = 30
HISTORY_S = 240


class DemoFailed(TanmeterError):
    """Something that the demo promises did not hold; the message says what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for."""

    seed: int
    days: int
    keep: Path | None
    port: int
    language: str


class Stage:
    """Everything the demo has set up, and the only one who takes it down."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.folder = options.keep or Path(tempfile.mkdtemp(prefix="tanmeter-demo-"))
        self.state, self.data, self.site = (self.folder / name for name in ("gateway", "collector", "site"))
        self.children = Children()
        self.link: Link | None = None
        self._asking: Asking | None = None
        self.places: dict[str, str] = {}
        self.history_start = self.history_end = 0
        self.technician: PrivateKey | None = None

    # ---- set up

    async def open(self) -> None:
        """Start the site and the collector, and open the link to it."""
        self._prepare_folder()
        port = free_port(self.options.port)
        site = self._child("site", "sim", "site", "--seed", str(self.options.seed), "--folder", str(self.site))
        self._child("collector", "cloud", "serve", "--data", str(self.data), "--port", str(port))
        self._asking = Asking(f"http://127.0.0.1:{port}")
        self.link = Link("127.0.0.1", port)
        await self.link.open()
        await self.until(lambda: _said(site), "the simulated site is there", START_S)
        self.places = json.loads(_said(site) or "{}")["ports"]
        await self._midnight()
        self._set_up_gateway()

    async def history(self) -> float:
        """Have the gateway's own code live through the month before, in virtual time; the seconds that took."""
        begun = time.monotonic()
        span = ("--from", str(self.history_start), "--to", str(self.history_end))
        seed = ("--seed", str(self.options.seed))
        made = self._child(
            "history", "sim", "history", str(self.state), *span, *seed, "--truth", str(self.past_truth), ends=True
        )
        await self.until(made.done, "the history is made", HISTORY_S)
        return time.monotonic() - begun

    def history_blocks(self) -> int:
        """How many blocks the gateway holds, its agent not running."""
        outbox = Outbox(self.state / "outbox.db", folder.read_box(self.state).enrolment.key.id, bytes(32))
        try:
            return outbox.counts().blocks
        finally:
            outbox.close()

    async def enrol(self) -> str:
        """Enrol the gateway with a one-time code of the collector; the code."""
        await self.until(self.asking.ready, "the collector answers", START_S)
        code = await self.command("cloud", "invite", "--data", str(self.data), "--site", SITE_ID)
        assert self.link is not None
        await asyncio.to_thread(enrol.enrol, self.state, code.strip(), f"http://127.0.0.1:{self.link.port}")
        return code.strip()

    def start_agent(self) -> Child:
        """Start the gateway's agent, or start it again; the demo counts by this machine's clock and vouches for it."""
        vouch(self.state, SystemClock())
        return self._child("agent", "edge", "run", "--state", str(self.state))

    def sign_live_configuration(self) -> None:
        """The site's second configuration: polls and blocks fit to be looked at."""
        source = site_toml(self.places, LIVE_PERIOD, LIVE_BLOCK, {})
        assert self.technician is not None
        site_init.sign(self.state, source, site_init.gather(source), self.technician, now_ms())

    # ---- in use

    @property
    def asking(self) -> Asking:
        """The collector."""
        assert self._asking is not None
        return self._asking

    @property
    def past_truth(self) -> Path:
        """The truth log of the history."""
        return self.site / "history.jsonl"

    @property
    def live_truth(self) -> Path:
        """The truth log of the living site."""
        return self.site / "truth.jsonl"

    async def until(self, holds: Callable[[], object], what: str, seconds: float) -> None:
        """Wait until something holds; ChildDied when a process ends meanwhile, DemoFailed after ``seconds``."""
        limit = time.monotonic() + seconds
        while True:
            found = holds()
            if await found if isinstance(found, Awaitable) else found:
                return
            self.children.check()
            if time.monotonic() > limit:
                raise DemoFailed(f"waited {seconds:g} s, expected that {what}")
            await asyncio.sleep(POLL_S)

    async def command(self, *arguments: str, expected: int = 0) -> str:
        """The standard output of a tanmeter command; DemoFailed when it ends with another code."""
        child = Child(" ".join(arguments[:2]), list(arguments), self.folder / "commands.log", self._environment())
        code, output = await child.output()
        if code != expected:
            raise DemoFailed(f"tanmeter {' '.join(arguments)}: found exit {code}, expected {expected}\n{child.tail()}")
        return output

    # ---- take down

    async def close(self) -> None:
        """End every process, and take the folder away unless it is to be kept."""
        await self.children.stop()
        if self.link:
            self.link.close()
        if self._asking:
            await self._asking.close()
        if self.options.keep is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- how

    def _prepare_folder(self) -> None:
        if self.options.keep and self.folder.exists() and any(self.folder.iterdir()):
            raise DemoFailed(
                f"--keep {self.folder}: found a folder with something in it, expected an empty or a new one"
            )
        for part in (self.state, self.data, self.site):
            part.mkdir(parents=True, exist_ok=True)

    def _set_up_gateway(self) -> None:
        self.history_end = now_ms()
        midnight = (self.history_end + ZONE_MS) // DAY_MS * DAY_MS - ZONE_MS
        self.history_start = midnight - self.options.days * DAY_MS - LEAD_MS
        self.technician = keys.create(self.folder / "technician.key")
        source = site_toml(self.places, HISTORY_PERIOD, HISTORY_PERIOD, HISTORY)
        site_init.init(self.state, source, site_init.gather(source), self.technician, self.history_start)

    async def _midnight(self) -> None:
        """Let a midnight that is about to come pass: no register is read between the history and the living agent."""
        left = DAY_MS - (now_ms() + ZONE_MS) % DAY_MS
        if left < NEAR_MIDNIGHT_MS:
            await asyncio.sleep(left / 1000)

    def _child(self, name: str, *arguments: str, ends: bool = False) -> Child:
        log = self.folder / f"{name}.log"
        return self.children.start(Child(name, list(arguments), log, self._environment(), ends))

    def _environment(self) -> dict[str, str]:
        return {"TANMETER_LANG": self.options.language, "PYTHONUNBUFFERED": "1"}


def now_ms() -> int:
    """UTC ms."""
    return time.time_ns() // 1_000_000


def free_port(wanted: int) -> int:
    """The port wanted on loopback, or a free one when it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailed("found no free port on 127.0.0.1, expected one")


def _said(child: Child) -> str | None:
    """The line of JSON a process has printed, None before that."""
    lines = child.log.read_text("utf-8").splitlines(keepends=True) if child.log.exists() else []
    return next((line for line in lines if line.startswith("{") and line.endswith("\n")), None)
