"""Wires that end in simulated meters and take virtual time: the edge's bus cannot tell them from a port."""

from collections import deque

from edge.clock import Clock
from protocols.errors import PortGone
from simulator.meters import Listener, Port


class MeterWire:
    """A wire of the edge (``edge.wire.Wire``) with these meters at its end, in whatever time the clock keeps."""

    def __init__(self, port: Port, meters: tuple[Listener, ...], clock: Clock) -> None:
        self._port, self._meters, self._clock = port, meters, clock
        self._coming: deque[tuple[int, bytes]] = deque()
        self._open = False

    async def open(self) -> None:
        """Take the port."""
        self._open = True

    async def configure(self, mode: str) -> None:
        """Any mode will do."""
        self._check()

    async def write(self, data: bytes) -> None:
        """Send; what the meters say comes after the time their line and their thinking take."""
        self._check()
        delay = self._port.delay_ms(data)
        answered = self._clock.mono_ms() + delay
        for meter in self._meters:
            self._coming += [(answered, reply) for reply in meter.hear(data, self._clock.utc_ms() + delay)]

    async def read(self, max_wait_s: float) -> bytes:
        """The next reply, when it comes within this time."""
        self._check()
        wait_ms = self._coming[0][0] - self._clock.mono_ms() if self._coming else None
        if wait_ms is None or wait_ms > max_wait_s * 1000:
            if max_wait_s > 0:
                await self._clock.sleep(max_wait_s)
            return b""
        if wait_ms > 0:
            await self._clock.sleep(wait_ms / 1000)
        return self._coming.popleft()[1]

    async def drain(self) -> None:
        """Throw away what has come."""
        self._check()
        while self._coming and self._coming[0][0] <= self._clock.mono_ms():
            self._coming.popleft()

    async def close(self) -> None:
        """Give the port back; what was on its way is lost."""
        self._open = False
        self._coming.clear()

    def _check(self) -> None:
        if not self._open:
            raise PortGone(f"{self._port.name}: not open")
