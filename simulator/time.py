"""Virtual time: an asyncio loop whose clock jumps to the next timer when nothing is ready, and its clock."""

import asyncio
import selectors
from collections.abc import Sized

from protocols.record.block import ClockState


class _Jump(selectors.DefaultSelector):
    """A selector that does not wait: when no task is ready it moves the time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Nothing ready, and ``timeout`` seconds gone by. RuntimeError when nothing can ever happen."""
        if timeout is None:
            raise RuntimeError("every task waits for something that no timer will bring: virtual time stands still")
        self.now += max(timeout, 0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs the tasks of one thread in virtual time, which starts at 0 s; no descriptors, no other threads."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jump.now

    def skip(self, seconds: float) -> bool:
        """Let so much time pass at once, when no task is ready and no timer falls into it; False when it cannot."""
        ready: Sized = self._ready  # type: ignore[attr-defined]
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if ready or (scheduled and scheduled[0].when() <= self._jump.now + seconds):
            return False
        self._jump.now += seconds
        return True


class SimClock:
    """A clock of the edge (``edge.clock.Clock``) that reads a virtual loop; UTC is good and starts at ``utc_ms``."""

    def __init__(self, loop: VirtualLoop, utc_ms: int) -> None:
        self._loop, self._start = loop, utc_ms

    def mono_ms(self) -> int:
        """Milliseconds since the loop was made."""
        return round(self._loop.time() * 1000)

    def mono_us(self) -> int:
        """Microseconds since the loop was made."""
        return round(self._loop.time() * 1_000_000)

    def utc_ms(self) -> int:
        """UTC in ms."""
        return self._start + self.mono_ms()

    def state(self) -> ClockState:
        """Disciplined by NTP, right to 5 ms."""
        return ClockState(source=2, state=2, error_ms=5, last_sync_s=self.utc_ms() // 1000)

    async def sleep(self, seconds: float) -> None:
        """Wait, in virtual time; without a turn of the loop when nobody else has anything to do meanwhile."""
        if not self._loop.skip(seconds):
            await asyncio.sleep(seconds)
