"""Whether the collector moves on: the manager is fed while the loop turns and the writer gets on with its jobs."""

import asyncio
import logging
import time
from collections.abc import Callable

from cloud.notify import Manager
from cloud.writer import Writer

COMMIT_S = 40.0
"""One job of the writer may take this long."""
FEED_S = 10.0

log = logging.getLogger(__name__)


class Steady:
    """Something that must move on while anything waits."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._seen, self._since = -1, 0.0

    def late(self, now: float, moves: tuple[int, bool]) -> bool:
        """Whether it has stood still for longer than it may (seconds)."""
        done, waiting = moves
        if not waiting or done != self._seen:
            self._seen, self._since = done, now
        return now - self._since > self._limit_s


async def attend(
    manager: Manager, writer: Writer, limit_s: float = COMMIT_S, clock: Callable[[], float] = time.monotonic
) -> None:
    """Say that it serves, then feed the manager while the writer moves on; until cancelled."""
    every_s = FEED_S if manager.watchdog_s is None else min(FEED_S, manager.watchdog_s / 4)
    commits, hung = Steady(limit_s), False
    manager.tell("READY=1")
    while True:
        before, hung = hung, commits.late(clock(), writer.moves)
        done, _ = writer.moves
        manager.tell(
            *(("WATCHDOG=trigger", "STATUS=hung: writer") if hung else ("WATCHDOG=1", f"STATUS={done} writes"))
        )
        if hung and not before:
            log.error("the writer does not move on, the watchdog is asked to act")
        await asyncio.sleep(every_s)
