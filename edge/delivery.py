"""Which collector is delivered to: the one that collector.json names, from the start or once a running agent finds it.

A box is enrolled while it measures, and enrolled anew where its collector has lost its key. The session with the one
before ends between two attempts, never within one: what it was answered is taken, down to the last receipt.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from edge.clock import Clock
from edge.config import COLLECTOR, Collector, load_collector
from edge.log import Log
from edge.sync import Standing, Sync
from edge.transport import Transport
from protocols.errors import ConfigError

Ways = Callable[[Collector], Transport]
"""Makes the way to a collector; ConfigError."""


class Delivery:
    """State: the collector in force and the session with it, if there is one. ``no_way``: why there is none although
    collector.json is there.

    ``begin`` makes a session. ``ways`` None: what it was begun with stays. ``retry_s``: how often collector.json is
    looked at.
    """

    def __init__(
        self, state: Path, begin: Callable[[Collector, Transport], Sync], ways: Ways | None, clock: Clock, log: Log
    ) -> None:
        self._file, self._begin, self._ways = state / COLLECTOR, begin, ways
        self._clock, self._log = clock, log
        self._sync: Sync | None = None
        self.collector: Collector | None = None
        self.no_way = ""

    def begin(self, collector: Collector, transport: Transport) -> None:
        """Deliver to this one from now on."""
        self.collector, self._sync, self.no_way = collector, self._begin(collector, transport), ""

    @property
    def standing(self) -> Standing | None:
        """What is told of the session; None before there is one."""
        return None if self._sync is None else self._sync.standing

    def ring(self) -> None:
        """There is a new block."""
        if self._sync is not None:
            self._sync.ring()

    async def run(self, retry_s: float) -> None:
        """Deliver until cancelled; while there is no collector, wait for one."""
        if self._ways is None:
            if self._sync is not None:
                await self._sync.run()
            return
        while True:
            if self._sync is None:
                self._enter(*await self._another(self._ways, retry_s))
                continue
            async with asyncio.TaskGroup() as tasks:
                finding = tasks.create_task(self._leave_for_another(self._sync, self._ways, retry_s))
                await self._sync.run()
            self._enter(*finding.result())

    def _enter(self, collector: Collector, transport: Transport) -> None:
        self.begin(collector, transport)
        self._log("info", "enrolled", url=collector.url)

    async def _leave_for_another(self, sync: Sync, ways: Ways, retry_s: float) -> tuple[Collector, Transport]:
        found = await self._another(ways, retry_s)
        sync.leave()
        return found

    async def _another(self, ways: Ways, retry_s: float) -> tuple[Collector, Transport]:
        """Return once collector.json names another collector, or another way to it, than the one in force."""
        while (found := self._look(ways)) is None:
            await self._clock.sleep(retry_s)
        return found

    def _look(self, ways: Ways) -> tuple[Collector, Transport] | None:
        """A file that cannot be used is told, and ends neither the measuring nor what delivery there is."""
        try:
            held = load_collector(self._file)
            return None if held is None or held == self.collector else (held, ways(held))
        except ConfigError as error:
            self.no_way = str(error) if self._sync is None else ""
            self._log("warning", "enrolment", why=f"{error.code} {error}")
            return None
