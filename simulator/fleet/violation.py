"""Who sees it when a promise is broken: the invariants by name (I1 to I12 of the proof), the first one first."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

MOST = 20


@dataclass
class Witness:
    """``now``: seconds of virtual time. ``found``: (invariant, what broke it)."""

    now: Callable[[], float]
    found: list[tuple[str, str]] = field(default_factory=list)
    broken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first: what comes behind it proves nothing."""
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def tell(self, invariant: str, detail: str) -> None:
        """A promise is broken."""
        self.broken.set()
        if len(self.found) < MOST:
            self.found.append((invariant, f"at {self.now():.3f} s: {detail}"))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside, to its end."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
