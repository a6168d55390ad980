"""The box's end of a simulated pair: a wire of the edge (``edge.wire.Wire``) in virtual time."""

from edge.clock import Alarm
from protocols.errors import PortGone
from simulator.rs485 import Ear, Pair


class SerialPort:
    """A serial port on a pair. ``echo``: it hears itself; ``latency_ms``: it hands over what came only so often.

    A latency of 0 is a chip of the board, which gives every character as it comes; a USB adapter has 1 to 16 ms.
    ``shared``: somebody writes while somebody else reads, or other ports are on the pair.
    """

    def __init__(self, pair: Pair, name: str, *, echo: bool = False, latency_ms: int = 0, shared: bool = False) -> None:
        self._pair, self._name, self._echo, self._shared = pair, name, echo, shared
        self._latency = latency_ms * 1000
        self._ear = Ear()
        self._mode = ""
        self._open = False
        self._alarm = Alarm()
        self.plugged = True
        """Whether the adapter is there."""
        if shared:
            pair.rings.append(self._alarm.ring)

    async def open(self) -> str:
        """Take the port."""
        if not self.plugged:
            raise PortGone(f"{self._name}: no such file or directory; expected a serial port that is free")
        if not self._open:
            self._ear = Ear()
            self._pair.ears.append(self._ear)
            self._open = True
        return ""

    async def configure(self, mode: str) -> None:
        """Send and listen in this mode from now on."""
        self._check()
        self._mode = mode

    async def write(self, data: bytes) -> None:
        """Send; returns when the characters have left."""
        end = self.begin(data)
        await self._pair.clock.sleep((end - self._pair.now()) / 1_000_000)

    def begin(self, data: bytes) -> int:
        """Begin to send; when (microseconds of the pair) it will be over."""
        self._check()
        return self._pair.speak(self, data, self._mode)

    async def read(self, max_wait_s: float) -> bytes:
        """The next characters; b"" when none came in this time."""
        deadline = self._pair.now() + round(max_wait_s * 1_000_000)
        while True:
            self._check()
            now = self._pair.now()
            self._pair.advance(now)
            if data := self._take(now):
                return data
            if now >= deadline:
                return b""
            await self._wait(min(self._next(), deadline) - now)

    async def drain(self) -> None:
        """Throw away what has come."""
        self._check()
        now = self._pair.now()
        self._pair.advance(now)
        self._take(now)

    async def close(self) -> None:
        """Give the port back."""
        if self._open:
            self._open = False
            self._pair.ears.remove(self._ear)

    def _check(self) -> None:
        if not self.plugged or not self._open:
            raise PortGone(f"{self._name}: " + ("not open" if self.plugged else "device disconnected"))

    async def _wait(self, microseconds: int) -> None:
        seconds = max(1, microseconds) / 1_000_000
        if self._shared:
            await self._alarm.wait(seconds)
        else:
            await self._pair.clock.sleep(seconds)

    def _next(self) -> int:
        """When there may be something: the next character on its way, or whatever happens next on the pair."""
        event, ear = self._pair.next_event(), self._ear
        times = [event] if event is not None else []
        if ear.coming:
            head = ear.coming[0]
            place = len(head.data) if self._mine(head.sender) else ear.taken + 1
            times.append(self._handed(head.start + place * head.character))
        return min(times, default=1 << 62)

    def _handed(self, time: int) -> int:
        """When the port hands over a character that ended at ``time``."""
        return time if not self._latency else -(-time // self._latency) * self._latency

    def _take(self, now: int) -> bytes:
        """The characters that are here by now, and no longer on their way."""
        limit = now if not self._latency else now // self._latency * self._latency
        ear, taken = self._ear, bytearray()
        while ear.coming:
            sending = ear.coming[0]
            here = min(len(sending.data), max(0, (limit - sending.start) // sending.character))
            if not self._mine(sending.sender):
                taken += self._pair.as_heard(sending.data[ear.taken : here], sending.mode, self._mode)
            ear.taken = max(here, ear.taken)
            if ear.taken < len(sending.data):
                break
            del ear.coming[0]
            ear.taken = 0
        return bytes(taken)

    def _mine(self, sender: object) -> bool:
        return sender is self and not self._echo
