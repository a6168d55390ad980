"""Whether the agent moves on: the service manager is fed by progress, never by a timer that any hung process can keep.

- A port says by when its next step will be over (``Pulse``); one that waits for the disk or for nothing at all is well.
  A meter that is silent is progress: the time limit of its question has passed.
- The recorder and the sealing are compared with themselves: what waits must become less, unless the disk is full.
- The block that is open must be turned at its end.
- The loop itself: whoever feeds runs in it.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from edge.clock import Clock
from edge.log import Log
from edge.notify import Manager
from edge.wire import Wire
from protocols import messages

SLACK_MS = 30_000
"""How much later than it said a port may be: with the feeding in between a hang ends within a minute."""
STEP_MS = 10_000
"""A step that has no time limit of its own."""
COMMIT_MS = 40_000
"""The slowest card that was seen takes 30 s for an fsync now and then."""
SEAL_MS = 2 * COMMIT_MS
"""A seal waits for the commits before it, and is one itself."""
FEED_S = 10.0


class Pulse:
    """One part of the agent tells by when it will have moved on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.due: int | None = None
        """CLOCK_BOOTTIME ms; None while it waits for another part."""

    def within(self, ms: float) -> None:
        """The next step is over within so many ms."""
        self.due = self._clock.mono_ms() + round(ms)

    def rest(self) -> None:
        """It waits for another part, or for good."""
        self.due = None


class Watched:
    """A wire whose every call is due to come back: one that hangs in the kernel is noticed."""

    def __init__(self, wire: Wire, pulse: Pulse) -> None:
        self._wire, self._pulse = wire, pulse

    async def open(self) -> str:
        """As the wire."""
        self._pulse.within(STEP_MS)
        return await self._wire.open()

    async def configure(self, mode: str) -> None:
        """As the wire."""
        self._pulse.within(STEP_MS)
        await self._wire.configure(mode)

    async def write(self, data: bytes) -> None:
        """As the wire."""
        self._pulse.within(STEP_MS)
        await self._wire.write(data)

    async def read(self, max_wait_s: float) -> bytes:
        """As the wire."""
        self._pulse.within(max_wait_s * 1000 + STEP_MS)
        return await self._wire.read(max_wait_s)

    async def drain(self) -> None:
        """As the wire."""
        self._pulse.within(STEP_MS)
        await self._wire.drain()

    async def close(self) -> None:
        """As the wire."""
        self._pulse.within(STEP_MS)
        await self._wire.close()


class Port(Protocol):
    """What is looked at of a port."""

    @property
    def pulse(self) -> Pulse:
        """Its next step."""

    @property
    def name(self) -> str:
        """As the site file calls it."""


class Store(Protocol):
    """What is looked at of the recorder."""

    full: bool

    @property
    def moves(self) -> tuple[int, bool]:
        """How much was committed so far, and whether anything waits for it."""


class Chain(Protocol):
    """What is looked at of the blocks."""

    end: int

    @property
    def moves(self) -> tuple[int, bool]:
        """How many were sealed, and whether one waits for it."""

    def believed(self) -> int:
        """UTC ms now, as the open block counts."""


class Steady:
    """Something that must move on while anything waits."""

    def __init__(self, limit_ms: int) -> None:
        self._limit_ms = limit_ms
        self._seen, self._since = -1, 0

    def late(self, now: int, moves: tuple[int, bool], idle: bool) -> bool:
        """Whether it has stood still for longer than it may."""
        done, waiting = moves
        if idle or not waiting or done != self._seen:
            self._seen, self._since = done, now
        return now - self._since > self._limit_ms


class Vigil:
    """Looks at every part now and then. Before ``watch`` there is nothing to look at, and all is well."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._store: Store | None = None
        self._chain: Chain | None = None
        self._ports: Sequence[Port] = ()
        self._commits, self._seals = Steady(COMMIT_MS), Steady(SEAL_MS)
        self._looked = clock.mono_ms()
        self._excused_until = 0

    def watch(self, store: Store, chain: Chain, ports: Sequence[Port]) -> None:
        """Look at these from now on."""
        self._store, self._chain, self._ports = store, chain, ports

    def stuck(self, every_ms: int) -> list[str]:
        """What has not moved on, called every so often. When the whole box stood still (asleep, or stopped by hand)
        all parts are late at once: they are given time to go on.
        """
        now = self._clock.mono_ms()
        if now - self._looked > 3 * every_ms:
            self._excused_until = now + SLACK_MS
        self._looked = now
        return list(self._late(now)) if now >= self._excused_until else []

    def told(self, language: messages.Language) -> str:
        """How it goes, in a line."""
        if self._store is None or self._chain is None or self._store.full:
            return messages.text("edge.service.full", language)
        return messages.text("edge.service.running", language, ports=len(self._ports), blocks=self._chain.moves[0])

    def _late(self, now: int) -> Iterator[str]:
        if self._store is None or self._chain is None:
            return
        full = self._store.full
        if self._commits.late(now, self._store.moves, full):
            yield "store"
        if self._seals.late(now, self._chain.moves, full):
            yield "sealing"
        if not full and self._chain.believed() > self._chain.end + SLACK_MS:
            yield "blocks"
        for port in self._ports:
            if port.pulse.due is not None and now > port.pulse.due + SLACK_MS and not full:
                yield f"port {port.name}"


async def attend(manager: Manager, vigil: Vigil, told: Callable[[], str], log: Log) -> None:
    """Say that it measures, then feed the manager while everything moves on; until cancelled.

    When something hangs the manager is asked to act at once. Without one the log alone tells of it, once.
    """
    every_s = FEED_S if manager.watchdog_s is None else min(FEED_S, manager.watchdog_s / 4)
    hung: list[str] = []
    manager.tell("READY=1", f"STATUS={told()}")
    while True:
        before, hung = hung, vigil.stuck(round(every_s * 1000))
        if hung:
            manager.tell("WATCHDOG=trigger", f"STATUS=hung: {', '.join(hung)}")
        else:
            manager.tell("WATCHDOG=1", f"STATUS={told()}")
        if hung != before:
            log("error" if hung else "info", "hung" if hung else "moves_on", what=", ".join(hung or before))
        await asyncio.sleep(every_s)
