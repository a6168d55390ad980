"""One port and the one task that owns it: a question goes out, its own answer comes back, or the fault.

After anything but an answer the line is in quarantine: what still comes is thrown away until the line is quiet, and the
same meter is not asked again before the line was quiet as long as its late answer may take, so that such an answer can
never be credited to the next question: another meter's question does not fit it. A TCP connection is closed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from drivers.reading import Exchange
from drivers.site import Port
from edge.clock import Clock
from edge.wire import Wire
from protocols.errors import PortGone, ProtocolError
from protocols.recogniser import Recogniser
from protocols.record.chunk import OVERRUN, PORT_GONE

LONGEST_FRAME = 300
"""Characters; more than any reply of our protocols."""
BREATH_MS = 50
"""A reply that has begun may pause this long on a serial line, and twenty characters more."""
NETWORK_BREATH_MS = 200
NETWORK_LONGEST_MS = 2000
"""The same on TCP, and how long such a reply may take in all."""
QUIET_MS = 50
"""Quiet before another meter is asked, beside the 3.5 characters that end a frame."""
BABBLE_MS = 2000
"""How much longer than the quarantine a line may babble before the question is given up."""
LONGEST_REOPEN_MS = 10_000


@dataclass(frozen=True, slots=True)
class Talk:
    """A question and how to conduct it; ``late_ms``: how long after the time limit its answer may still come."""

    device: int
    query: int
    request: bytes
    recogniser: Callable[[bytes], Recogniser]
    timeout_ms: int
    guard_ms: int
    late_ms: int


class Bus:
    """The owner of a wire. ``run`` is called by one task, one talk at a time."""

    def __init__(self, wire: Wire, port: Port, clock: Clock) -> None:
        self._wire, self._port, self._clock = wire, port, clock
        self._char_ms = 0.0 if port.tcp else _character_ms(port.mode)
        self._quiet_ms = QUIET_MS + 3.5 * self._char_ms
        self._pace = (
            (NETWORK_BREATH_MS, NETWORK_LONGEST_MS)
            if port.tcp
            else (BREATH_MS + 20 * self._char_ms, self._char_ms * LONGEST_FRAME)
        )
        self._open = False
        self._try_again = 0
        self._wait_ms = 0
        self._failed_at: int | None = None
        self._late: dict[int, int] = {}
        self._last = 0
        self.gone: str = ""
        """Why the port is not there; empty while it is."""

    async def run(self, talk: Talk) -> Exchange:
        """Ask once and listen; never raises for what happens on the wire."""
        try:
            if not await self._ready(talk):
                return self._fault(talk, OVERRUN)
            await self._wire.drain()
            await self._wire.write(talk.request)
        except PortGone as error:
            await self._lose(str(error))
            return self._fault(talk, PORT_GONE)
        exchange = await self._listen(talk)
        self._last = self._clock.mono_ms()
        return exchange

    async def close(self) -> None:
        """Give the port back."""
        self._open = False
        await self._wire.close()

    async def _ready(self, talk: Talk) -> bool:
        """Open, quiet, and rested: ready to ask. False when the line does not become quiet; PortGone."""
        if self._open and self._failed_at is None:
            await self._probe()
        if not self._open:
            await self._reopen()
        until = self._quiet_until(talk)
        if until is not None and not await self._quiet(until):
            return False
        self._failed_at = None
        self._late.pop(talk.device, None)
        rest = self._last + max(talk.guard_ms, 3.5 * self._char_ms) - self._clock.mono_ms()
        if rest > 0 and self._last:
            await self._clock.sleep(rest / 1000)
        return True

    async def _probe(self) -> None:
        """Notice that a port was closed while nobody asked: it is opened again at once, and nothing is lost."""
        try:
            await self._wire.drain()
        except PortGone:
            await self.close()

    async def _reopen(self) -> None:
        if self._clock.mono_ms() < self._try_again:
            raise PortGone(self.gone)
        await self._wire.open()
        await self._wire.configure(self._port.mode)
        self._open, self.gone, self._wait_ms = True, "", 0

    async def _lose(self, why: str) -> None:
        """The port is gone: close it, and try again after 1, 2, 4 ... 10 s."""
        if self._open or self._clock.mono_ms() >= self._try_again:
            self._wait_ms = min(LONGEST_REOPEN_MS, self._wait_ms * 2 or 1000)
            self._try_again = self._clock.mono_ms() + self._wait_ms
        self._open, self.gone = False, why
        await self._wire.close()

    def _quiet_until(self, talk: Talk) -> float | None:
        """Until when (ms) the line must be quiet before this talk; None when nothing was left unanswered."""
        if self._failed_at is None and talk.device not in self._late:
            return None
        return max((self._failed_at or 0) + self._quiet_ms, self._late.get(talk.device, 0))

    async def _quiet(self, until: float) -> bool:
        """Throw away what comes until the line is quiet then; False when it babbles on."""
        give_up = max(until, self._clock.mono_ms()) + BABBLE_MS
        while True:
            wait = until - self._clock.mono_ms()
            data = await self._wire.read(max(0.0, wait) / 1000)
            now = self._clock.mono_ms()
            if data:
                until = max(until, now + self._quiet_ms)
                if now > give_up:
                    return False
            elif wait <= 0:
                return True

    async def _listen(self, talk: Talk) -> Exchange:
        recogniser = talk.recogniser(talk.request)
        clock = self._clock
        limit = clock.mono_ms() + talk.timeout_ms + self._char_ms * len(talk.request)
        breath, longest = self._pace
        last_limit = limit + longest
        came: list[tuple[int, int]] = []
        try:
            while (left := limit - clock.mono_ms()) > 0 and (data := await self._wire.read(left / 1000)):
                now = clock.mono_ms()
                came.append((now, len(data)))
                frame = recogniser.feed(data)
                if frame is not None:
                    return Exchange(talk.device, talk.query, talk.request, frame, 0, _first_byte(came, len(frame)))
                limit = max(limit, min(last_limit, now + breath))
        except PortGone as error:
            await self._lose(str(error))
        return await self._failed(talk, recogniser.failure())

    async def _failed(self, talk: Talk, error: ProtocolError) -> Exchange:
        self._failed_at = self._clock.mono_ms()
        self._late[talk.device] = self._failed_at + talk.late_ms
        if self._port.tcp and self._open:
            await self.close()
        return self._fault(talk, error.fault)

    def _fault(self, talk: Talk, code: int) -> Exchange:
        return Exchange(talk.device, talk.query, talk.request, b"", code, self._clock.mono_ms())


def _first_byte(came: list[tuple[int, int]], length: int) -> int:
    """When the first byte of a frame came that ended with the newest piece: ``came`` holds (time, bytes)."""
    at, left = came[-1][0], length
    for time, size in reversed(came):
        if left <= 0:
            break
        at, left = time, left - size
    return at


def _character_ms(mode: str) -> float:
    """The time of one character: start bit, data bits, parity, stop bits."""
    baud, _, frame = mode.partition("-")
    return (1 + int(frame[0]) + (frame[1] != "N") + int(frame[2])) * 1000 / int(baud)
