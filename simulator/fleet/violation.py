"""Who sees it when a promise is broken: the invariants by name (I1 to I12 of the proof), the first one first."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

MOST = 5
"""Kept of one invariant."""


@dataclass
class Witness:
    """``now``: seconds of virtual time. ``goes_on``: the fleet lives on when a promise is broken, so that everybody who
    would see it does. ``found``: (invariant, what broke it). ``counted``: what an invariant needs to have seen happen.
    """

    now: Callable[[], float]
    goes_on: bool = False
    found: list[tuple[str, str]] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    broken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first, unless the fleet goes on: what comes behind it proves nothing."""
    failed: BaseException | None = None
    """What ended something that runs beside: the fleet itself is at fault."""
    _told: Counter[str] = field(default_factory=Counter)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def tell(self, invariant: str, detail: str) -> None:
        """A promise is broken."""
        if not self.goes_on:
            self.broken.set()
        self._told[invariant] += 1
        if self._told[invariant] <= MOST:
            self.found.append((invariant, f"at {self.now():.3f} s: {detail}"))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside, to its end."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed = error
            self.broken.set()
