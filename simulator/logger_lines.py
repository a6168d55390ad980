"""Where a simulated data logger is connected: to a box over TCP, or to its agent in virtual time."""

import asyncio
import contextlib
from collections import deque

from edge.clock import Alarm, Clock
from edge.listening import Heard
from simulator.hj212_logger import StackLogger

RETRY_S = 0.5
READ_SIZE = 4096
LINE = 1


async def speak(logger: StackLogger, host: str, port: int, clock: Clock) -> None:
    """Connect to whoever listens there, speak when it is due, hear what is said; until cancelled."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port)
            hearing = asyncio.ensure_future(_hear(logger, reader, writer, clock))
            try:
                await _say(logger, writer, clock, hearing)
            finally:
                hearing.cancel()
                logger.forget()
                writer.close()
        await clock.sleep(RETRY_S)


async def _say(
    logger: StackLogger, writer: asyncio.StreamWriter, clock: Clock, hearing: "asyncio.Future[None]"
) -> None:
    """Speak as long as the other side is there."""
    due = logger.next_due(clock.utc_ms())
    while not hearing.done():
        await asyncio.wait({hearing}, timeout=max(0.0, (due - clock.utc_ms()) / 1000))
        if clock.utc_ms() >= due and not hearing.done():
            for raw in logger.speak(due):
                writer.write(raw)
            await writer.drain()
            due = logger.next_due(due)


async def _hear(logger: StackLogger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: Clock) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(READ_SIZE):
            for raw in logger.hear(data, clock.utc_ms()):
                writer.write(raw)
            await writer.drain()


class LoggerEars:
    """A logger at the agent's ear (``edge.listening.Ears``), in whatever time the clock keeps."""

    def __init__(self, logger: StackLogger, clock: Clock) -> None:
        self._logger, self._clock = logger, clock
        self._alarm = Alarm()
        self._coming: deque[bytes] = deque()
        self._due = 0

    async def open(self) -> None:
        """The logger connects."""
        self._due = self._logger.next_due(self._clock.utc_ms() - 1)

    async def hear(self, max_wait_s: float) -> list[Heard]:
        """What the logger says within this time."""
        if not self._coming:
            left = (self._due - self._clock.utc_ms()) / 1000
            await self._alarm.wait(max(0.0, min(left, max_wait_s)))
        if self._clock.utc_ms() >= self._due:
            self._coming += self._logger.speak(self._due)
            self._due = self._logger.next_due(self._due)
        heard = [Heard(LINE, raw, self._clock.mono_ms()) for raw in self._coming]
        self._coming.clear()
        return heard

    async def say(self, line: int, data: bytes) -> None:
        """The logger hears it, and answers at once."""
        self._coming += self._logger.hear(data, self._clock.utc_ms())

    def ring(self) -> None:
        """End ``hear`` at once."""
        self._alarm.ring()

    async def close(self) -> None:
        """Nothing is heard any more."""
        self._coming.clear()
