"""A TCP endpoint in virtual time: meters behind host:port, and all that can be wrong with a connection to them."""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from edge.clock import Clock
from protocols.errors import PortGone
from simulator.meters import Listener
from simulator.stations import Delay

CONNECT_LIMIT_MS = 3000
"""How long a port waits for an endpoint that does not even refuse."""


class Endpoint:
    """Something that takes connections. ``meters`` makes those of one connection; a test may change what is public."""

    def __init__(
        self, name: str, clock: Clock, random: Random, meters: Callable[[], Sequence[Listener]], delay: Delay
    ) -> None:
        self.name, self.clock = name, clock
        self._random, self._meters, self._delay = random, meters, delay
        self._connections: list[TcpEnd] = []
        self.listening = True
        """False: connections are refused."""
        self.unreachable = False
        """True: nothing comes back, not even a refusal."""
        self.silent: set[int] = set()
        """Which meters behind it, counted from 0, do not answer."""
        self.taken = False
        """True: another client is connected, and this endpoint bears one: it hangs up on everybody else at once."""
        self.connected = 0
        """How many connections were made so far."""

    def half_open(self) -> None:
        """Forget every connection without telling the other side."""
        for wire in self._connections:
            wire.forgotten = True

    def hang_up(self) -> None:
        """Close every connection."""
        for wire in [*self._connections]:
            wire.over = True

    def accept(self, wire: "TcpEnd") -> Sequence[Listener]:
        """Take a connection: the meters at its end."""
        self.connected += 1
        self._connections.append(wire)
        return self._meters()

    def let_go(self, wire: "TcpEnd") -> None:
        """The other side has closed."""
        if wire in self._connections:
            self._connections.remove(wire)

    def delay_ms(self) -> int:
        """How long the next answer takes."""
        return round(self._delay(self._random))


class TcpEnd:
    """The box's end of a connection: a wire of the edge (``edge.wire.Wire``) in whatever time the clock keeps."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint, self._clock = endpoint, endpoint.clock
        self._coming: deque[tuple[int, bytes]] = deque()
        self._meters: Sequence[Listener] = ()
        self._open = False
        self.forgotten = self.over = False

    async def open(self) -> str:
        """Connect."""
        if self._endpoint.unreachable:
            await self._clock.sleep(CONNECT_LIMIT_MS / 1000)
            raise PortGone(f"{self._endpoint.name}: TimeoutError; expected a meter that takes connections")
        if not self._endpoint.listening:
            raise PortGone(f"{self._endpoint.name}: connection refused; expected a meter that takes connections")
        self._meters = self._endpoint.accept(self)
        self._open, self.forgotten, self.over = True, False, self._endpoint.taken
        return ""

    async def configure(self, mode: str) -> None:
        """A connection has no mode."""
        self._check()

    async def write(self, data: bytes) -> None:
        """Send; what the meters say comes after the time their thinking takes."""
        self._check()
        if self.forgotten or self._endpoint.unreachable:
            return
        at, behind = self._clock.mono_ms() + self._endpoint.delay_ms(), self._endpoint.silent
        utc = self._clock.utc_ms() + at - self._clock.mono_ms()
        for number, meter in enumerate(self._meters):
            self._coming += [(at, reply) for reply in meter.hear(data, utc) if number not in behind]

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
        """Drop the connection; what was on its way is lost."""
        self._open = False
        self._coming.clear()
        self._endpoint.let_go(self)

    def _check(self) -> None:
        if not self._open or self.over:
            raise PortGone(f"{self._endpoint.name}: closed by the meter")
