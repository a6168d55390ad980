"""One port and the one task that owns it: a question goes out, its own answer comes back, or the fault.

After anything but an answer the line is in quarantine: what still comes is explained and thrown away until the line is
quiet, and the same meter is not asked again before its late answer has come or can no longer come, so that it can never
be credited to the next question: another meter's question does not fit it. A TCP connection is closed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from drivers.reading import Exchange
from drivers.site import Port
from edge.clock import Clock
from edge.hearing import Hearing, Sign
from edge.wire import Wire
from protocols.errors import Damaged, OtherFraming, PortGone, ProtocolError, SameAddress, SecondMaster
from protocols.recogniser import Recogniser
from protocols.record.chunk import OVERRUN, PORT_GONE, SILENT

LONGEST_FRAME = 300
"""Characters; more than any reply of our protocols."""
MOST_FRAMES = 32
"""Frames of one answer; a meter that says there are more is not believed."""
BREATH_MS = 50
"""A reply that has begun may pause this long on a serial line, and twenty characters more."""
NETWORK_BREATH_MS = 200
NETWORK_LONGEST_MS = 2000
"""The same on TCP, and how long such a reply may take in all."""
QUIET_MS = 50
"""Quiet before another meter is asked, beside the 3.5 characters that end a frame."""
HANDED_MS = 5
"""What a port may take to hand over what has come."""
BABBLE_MS = 2000
"""How much longer than the quarantine a line may babble before the question is given up."""
FOREIGN_MS = 500
"""How long the answer to another master's request may take to begin."""
LONGEST_REOPEN_MS = 10_000
HUNG_UP_MS = 2000
"""A connection that ends unanswered within this time was not wanted."""

REOPENED, HUNG_UP, NOT_TAKEN, MOVED = "reopened", "hung-up", "not-taken", "moved"
"""Signs: a silent connection answered when it was made anew; the other side ends it at once; it takes none; a serial
adapter was found elsewhere.
"""
OTHER_FRAMING = "other-framing"
"""A sign: what answers on this port is framed otherwise."""


def whole(request: bytes, reply: bytes) -> bytes | None:
    """The follow-up of an answer of one frame: none."""
    return None


@dataclass(frozen=True, slots=True)
class Talk:
    """A question and how to conduct it; ``late_ms``: how long after the time limit its answer may still come.

    ``mode``: the line settings, the port's when empty. ``follow_up`` says what must still be asked. ``again``: on a TCP
    connection that has answered before, ask once more over a new one after a silence. ``beyond_ms``: how long to listen
    on after the answer; what comes then spoils it: two meters may have one address.
    """

    device: int
    query: int
    request: bytes
    recogniser: Callable[[bytes], Recogniser]
    timeout_ms: int
    guard_ms: int
    late_ms: int
    mode: str = ""
    follow_up: Callable[[bytes, bytes], bytes | None] = whole
    again: bool = False
    beyond_ms: int = 0


class Bus:
    """The owner of a wire. ``run`` is called by one task, one talk at a time."""

    def __init__(self, wire: Wire, port: Port, clock: Clock) -> None:
        self._wire, self._port, self._clock = wire, port, clock
        self._serial = port.device is not None
        self._line = self._serial or port.framing == "rtu"  # behind a serial server is a line too
        self._mode = ""
        self._char_ms = 0.0
        self._quiet_ms: float = QUIET_MS
        self._pace: tuple[float, float] = (NETWORK_BREATH_MS, NETWORK_LONGEST_MS)
        self._open = False
        self._opened_at = self._answers = 0
        self._try_again = 0
        self._wait_ms = 0
        self._failed_at: int | None = None
        self._foreign_until = 0
        self._hearing = Hearing()
        self._last = 0
        self.gone: str = ""
        """Why the port is not there; empty while it is."""
        self.turnaround_ms = 0
        """How long after its question the newest answer began."""
        self.openings = 0
        """How often it was opened: behind each opening there may be something else."""

    async def run(self, talk: Talk) -> Exchange:
        """Ask once and listen; never raises for what happens on the wire."""
        proven = self._answers > 0
        exchange = await self._once(talk)
        if exchange.fault == SILENT and talk.again and proven and not self._serial:
            exchange = await self._once(talk)
            if not exchange.fault:
                self._sign(REOPENED, talk.device, "a silent connection answered when it was made anew")
        return exchange

    def signs(self) -> list[Sign]:
        """What was noticed on the port since this was last asked."""
        signs, self._hearing.signs = self._hearing.signs, []
        return signs

    def owed_until(self, device: int) -> int:
        """Until when (ms) an earlier question of the device may be answered; 0 when none is owed."""
        return self._hearing.until(device)

    async def close(self) -> None:
        """Give the port back."""
        self._open = False
        await self._wire.close()

    # ---- before a question

    async def _once(self, talk: Talk) -> Exchange:
        try:
            if not await self._ready(talk):
                return self._fault(talk, OVERRUN)
            return await self._converse(talk)
        except PortGone as error:
            await self._lose(error)
            return self._fault(talk, PORT_GONE)

    async def _ready(self, talk: Talk) -> bool:
        """Open, in the right mode, quiet, and rested: ready to ask. False when the line does not become quiet."""
        await self._there(talk.mode or self._port.mode)
        rest = self._last + max(talk.guard_ms, 3.5 * self._char_ms) - self._clock.mono_ms()
        if rest > 0 and self._last:
            await self._clock.sleep(rest / 1000)
        await self._take_stray()
        await self._there(talk.mode or self._port.mode)
        until = self._quiet_until(talk)
        if until is not None and not await self._quiet(until):
            return False
        self._failed_at = None
        return True

    async def _there(self, mode: str) -> None:
        """Open the port when it is not, and set its mode when that changes; PortGone."""
        if not self._open:
            if self._clock.mono_ms() < self._try_again:
                raise PortGone(self.gone)
            if note := await self._wire.open():
                self._sign(MOVED, None, note)
            self._open, self.gone, self._wait_ms, self._mode = True, "", 0, ""
            self._opened_at, self._answers = self._clock.mono_ms(), 0
            self.openings += 1
        if mode != self._mode:
            await self._wire.configure(mode)
            self._measure(mode)

    def _measure(self, mode: str) -> None:
        """What a character takes in this mode, and what follows from it."""
        self._mode = mode
        if self._serial:
            self._char_ms = _character_ms(mode)
            self._quiet_ms = QUIET_MS + 3.5 * self._char_ms
            self._pace = (BREATH_MS + 20 * self._char_ms, self._char_ms * LONGEST_FRAME)

    async def _take_stray(self) -> None:
        """Take what came while nobody asked, and notice that a port was closed meanwhile."""
        give_up = self._clock.mono_ms() + QUIET_MS
        try:
            while self._clock.mono_ms() <= give_up and (stray := await self._wire.read(0)):
                self._overhear(stray)
                if self._line:  # somebody may be in the middle of a frame
                    self._foreign_until = max(self._foreign_until, self._clock.mono_ms() + round(self._silence_ms()))
        except PortGone as error:
            self._note_hanging_up(error)
            await self.close()

    def _silence_ms(self) -> float:
        """The silence that ends a frame, and what a port may take to hand its last characters over."""
        return 3.5 * self._char_ms + HANDED_MS

    def _overhear(self, data: bytes) -> bool:
        """Explain bytes that are no answer; whether another master has asked. Nobody else speaks in a Modbus TCP
        connection.
        """
        if not self._line:
            return False
        now = self._clock.mono_ms()
        foreign = self._hearing.hear(data, now)
        if foreign:
            self._foreign_until = now + FOREIGN_MS
        return foreign

    def _quiet_until(self, talk: Talk) -> float | None:
        """Until when (ms) the line must be quiet before this talk; None when nothing was left unanswered."""
        owed, now = self._hearing.until(talk.device), self._clock.mono_ms()
        if self._failed_at is None and owed <= now and self._foreign_until <= now:
            return None
        return max((self._failed_at or 0) + self._quiet_ms, owed, self._foreign_until)

    async def _quiet(self, until: float) -> bool:
        """Throw away what comes until the line is quiet then; False when it babbles on."""
        give_up = max(until, self._clock.mono_ms()) + BABBLE_MS
        while True:
            wait = until - self._clock.mono_ms()
            data = await self._wire.read(max(0.0, wait) / 1000)
            now = self._clock.mono_ms()
            if data:
                self._overhear(data)
                until = max(until, now + self._quiet_ms, self._foreign_until)
                if now > give_up:
                    return False
            elif wait <= 0:
                return True

    # ---- question and answer

    async def _converse(self, talk: Talk) -> Exchange:
        """The question and its follow-ups: their answers one after another."""
        request: bytes | None = talk.request
        reply, begun = b"", 0
        try:
            for _ in range(MOST_FRAMES):
                if request is None:
                    self._answers += 1
                    return Exchange(talk.device, talk.query, talk.request, reply, 0, begun)
                if reply:
                    await self._clock.sleep(max(talk.guard_ms, 3.5 * self._char_ms) / 1000)
                frame, at = await self._ask(talk, request)
                reply, begun = reply + frame, begun or at
                request = talk.follow_up(talk.request, reply)
            raise Damaged(f"found more than {MOST_FRAMES} frames to one question, expected fewer")
        except PortGone:
            raise
        except ProtocolError as error:
            return await self._failed(talk, error)
        finally:
            self._last = self._clock.mono_ms()

    async def _ask(self, talk: Talk, request: bytes) -> tuple[bytes, int]:
        """One question: the frame that answers it and when its first byte came; ProtocolError when none does."""
        self._hearing.asked(request)
        await self._wire.write(request)
        sent = self._clock.mono_ms()
        listening = _Listening(talk.recogniser(request))
        try:
            frame = await self._listen(listening, talk, request)
        except PortGone as error:
            await self._lose(error)
            frame = None
        spoiled = self._overhear(listening.beside(request, frame)) if listening.extra(frame) else False
        if frame is None or spoiled:
            self._owe(talk, request)
            raise listening.failure(spoiled)
        if self._line:
            self._hearing.answered(talk.device, talk.recogniser(request))
        at = listening.first_byte(len(frame))
        self.turnaround_ms = at - sent
        if talk.beyond_ms and await self._another(talk.beyond_ms):
            raise SameAddress("found something after the answer, expected one meter to speak")
        return frame, at

    def _owe(self, talk: Talk, request: bytes) -> None:
        """The answer may still come, where it does not end with the connection."""
        if self._line:
            self._hearing.owe(talk.device, talk.recogniser(request), self._clock.mono_ms(), talk.late_ms)

    async def _listen(self, listening: "_Listening", talk: Talk, request: bytes) -> bytes | None:
        clock = self._clock
        limit = clock.mono_ms() + talk.timeout_ms + self._char_ms * len(request)
        breath, longest = self._pace
        last_limit = limit + longest
        while (left := limit - clock.mono_ms()) > 0 and (data := await self._wire.read(left / 1000)):
            now = clock.mono_ms()
            frame = listening.take(data, now)
            if frame is not None:
                return frame
            limit = max(limit, min(last_limit, now + breath))
        return None

    async def _another(self, beyond_ms: int) -> bool:
        """Whether anything comes after an answer within this time."""
        until, came = self._clock.mono_ms() + beyond_ms, False
        while (left := until - self._clock.mono_ms()) > 0 and (data := await self._wire.read(left / 1000)):
            came = True
            self._overhear(data)
            until = max(until, self._clock.mono_ms() + round(self._quiet_ms))
        return came

    # ---- what went wrong

    async def _failed(self, talk: Talk, error: ProtocolError) -> Exchange:
        if isinstance(error, OtherFraming):
            self._sign(OTHER_FRAMING, None, str(error))
        self._failed_at = self._clock.mono_ms()
        if not self._serial and self._open:
            await self.close()
        return self._fault(talk, error.fault)

    async def _lose(self, error: PortGone) -> None:
        """The port is gone: close it, and try again after 1, 2, 4 ... 10 s."""
        self._note_hanging_up(error)
        if self._open or self._clock.mono_ms() >= self._try_again:
            self._wait_ms = min(LONGEST_REOPEN_MS, self._wait_ms * 2 or 1000)
            self._try_again = self._clock.mono_ms() + self._wait_ms
        self._open, self.gone = False, str(error)
        await self._wire.close()

    def _note_hanging_up(self, error: PortGone) -> None:
        if self._serial:
            return
        if isinstance(error.__cause__, ConnectionRefusedError):
            self._sign(NOT_TAKEN, None, str(error))
        elif self._open and not self._answers and self._clock.mono_ms() - self._opened_at < HUNG_UP_MS:
            self._sign(HUNG_UP, None, str(error))

    def _sign(self, kind: str, device: int | None, detail: str) -> None:
        self._hearing.signs.append(Sign(kind, device, detail))

    def _fault(self, talk: Talk, code: int) -> Exchange:
        return Exchange(talk.device, talk.query, talk.request, b"", code, self._clock.mono_ms())


class _Listening:
    """What has come since a question went out."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self._pieces: list[tuple[int, bytes]] = []
        self._came = 0

    def take(self, data: bytes, now: int) -> bytes | None:
        """The answer, when these bytes complete it."""
        self._pieces.append((now, data))
        self._came += len(data)
        return self._recogniser.feed(data)

    def extra(self, frame: bytes | None) -> bool:
        """Whether anything came beside the answer."""
        return self._came > len(frame or b"")

    def beside(self, request: bytes, frame: bytes | None) -> bytes:
        """What came beside the answer and the echo of the question."""
        data = b"".join([data for _, data in self._pieces])
        data = data.removeprefix(request)
        return data.replace(frame, b"", 1) if frame else data

    def failure(self, spoiled: bool) -> ProtocolError:
        """Why there is no answer."""
        if spoiled:
            return SecondMaster("found another master's request before the answer, expected to be alone")
        return self._recogniser.failure()

    def first_byte(self, length: int) -> int:
        """When the first byte of a frame came that ended with the newest piece."""
        at, left = self._pieces[-1][0], length
        for time, data in reversed(self._pieces):
            if left <= 0:
                break
            at, left = time, left - len(data)
        return at


def _character_ms(mode: str) -> float:
    """The time of one character: start bit, data bits, parity, stop bits."""
    baud, _, frame = mode.partition("-")
    return (1 + int(frame[0]) + (frame[1] != "N") + int(frame[2])) * 1000 / int(baud)
