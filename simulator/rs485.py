"""An RS-485 pair in virtual time: characters at the speed of the line, collisions, noise, silences; seeded.

Everybody on the pair hears everybody. A character takes as long as its mode says; two that overlap in time destroy each
other; one sent in another mode than the listener's is heard as something else. Simplified: of two characters that
collide both are heard, as noise; a wrong rate changes characters and not their number. Times are microseconds since the
loop began.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Protocol

from simulator.time import SimClock

FRAME_GAP = 3.5
"""Characters of silence after which what came is taken as a whole (Modbus over serial line 1.02, 2.5.1.1)."""


def character_us(mode: str) -> int:
    """How long one character is on the line in a mode like ``9600-8E1``: start, data, parity and stop bits."""
    baud, _, frame = mode.partition("-")
    return round((1 + int(frame[0]) + (frame[1] != "N") + int(frame[2])) * 1_000_000 / int(baud))


@dataclass(frozen=True, slots=True)
class Noise:
    """What the line does to characters: the part that has a bit turned over, and strays a second out of nothing."""

    flipped: float = 0.0
    strays: float = 0.0


class Party(Protocol):
    """Somebody on the pair who listens."""

    @property
    def mode(self) -> str:
        """How the characters it understands are sent."""

    def heard(self, burst: bytes, end: int) -> None:
        """What came between two silences, the last character ending at ``end``."""


@dataclass(slots=True, eq=False)
class Sending:
    """Characters on their way: who sends them from when, and how long each takes."""

    sender: object
    start: int
    character: int
    mode: str
    data: bytearray

    @property
    def end(self) -> int:
        """When the last character is over."""
        return self.start + self.character * len(self.data)


@dataclass(frozen=True, slots=True)
class Told:
    """A sending as the pair's log has it, before collisions and noise."""

    start: int
    end: int
    sender: object
    data: bytes


@dataclass(slots=True)
class Ear:
    """The receiver of a port on the pair: what is on its way to it, in order, and how many characters it has taken."""

    coming: list[Sending] = field(default_factory=list)
    taken: int = 0


class Pair:
    """The pair of wires and its events. ``advance`` moves it on; nothing happens between two calls."""

    def __init__(self, clock: SimClock, random: Random, noise: Noise | None = None) -> None:
        self.clock, self.random, self.noise = clock, random, noise or Noise()
        self.listeners: list[Party] = []
        self.ears: list[Ear] = []
        self.log: list[Told] | None = None
        """Every sending, when somebody wants to know."""
        self.rings: list[Callable[[], None]] = []
        """Called when somebody begins to talk out of turn: a reader that waits looks again."""
        self._events: list[tuple[int, int, Callable[[int], None]]] = []
        self._count = 0
        self._talking: list[Sending] = []
        self._burst: list[Sending] = []
        self._next_flip = self._flip_gap() if self.noise.flipped else 0
        if self.noise.strays:
            self.at(self._stray_gap(), self._stray)

    def now(self) -> int:
        """Microseconds since the loop began."""
        return self.clock.mono_us()

    def utc_ms(self, time: int) -> int:
        """UTC ms at a time of the pair."""
        return self.clock.utc_ms() + (time - self.clock.mono_us()) // 1000

    def at_least(self, end: int, mode: str) -> int:
        """When the silence is over that follows a last character."""
        return end + round(FRAME_GAP * character_us(mode))

    def at(self, time: int, action: Callable[[int], None]) -> None:
        """Have something happen then."""
        self._count += 1
        heappush(self._events, (time, self._count, action))

    def next_event(self) -> int | None:
        """When something happens next, as far as is known now."""
        return self._events[0][0] if self._events else None

    def advance(self, now: int) -> None:
        """Let everything happen that happens up to ``now``."""
        while self._events and self._events[0][0] <= now:
            time, _, action = heappop(self._events)
            action(time)

    def send(self, sender: object, data: bytes, mode: str, start: int) -> int:
        """Begin to send at ``start``, which is not past; when the last character will be over."""
        sending = Sending(sender, start, character_us(mode), mode, bytearray(data))
        self.at(start, lambda time: self._begin(sending))
        return sending.end

    def speak(self, sender: object, data: bytes, mode: str) -> int:
        """Send at once, from outside of the pair's own events; when the last character will be over."""
        now = self.now()
        self.advance(now)
        end = self.send(sender, data, mode, now)
        self.advance(now)
        for ring in self.rings:
            ring()
        return end

    def _begin(self, sending: Sending) -> None:
        if self.log is not None:
            self.log.append(Told(sending.start, sending.end, sending.sender, bytes(sending.data)))
        self._flip(sending.data)
        self._talking = [other for other in self._talking if other.end > sending.start]
        for other in self._talking:
            self._collide(other, sending)
        self._talking.append(sending)
        self._burst.append(sending)
        for ear in self.ears:
            ear.coming.append(sending)
        self.at(sending.end + round(FRAME_GAP * sending.character), self._silence)

    def _collide(self, one: Sending, other: Sending) -> None:
        """Destroy the characters of each that overlap the other in time."""
        for hit, by in ((one, other), (other, one)):
            first = max(0, (by.start - hit.start) // hit.character)
            last = min(len(hit.data), -(-(by.end - hit.start) // hit.character))
            for place in range(first, last):
                hit.data[place] ^= self.random.randrange(1, 256)

    def _flip(self, data: bytearray) -> None:
        """Turn a bit over in the characters that noise has hit, at seeded distances."""
        if not self.noise.flipped:
            return
        while self._next_flip < len(data):
            data[self._next_flip] ^= 1 << self.random.randrange(8)
            self._next_flip += 1 + self._flip_gap()
        self._next_flip -= len(data)

    def _flip_gap(self) -> int:
        return int(self.random.expovariate(self.noise.flipped))

    def _stray(self, time: int) -> None:
        """A character out of nothing."""
        mode = self.listeners[0].mode if self.listeners else "9600-8N1"
        self.send(None, self.random.randbytes(1), mode, time)
        self.at(time + self._stray_gap(), self._stray)

    def _stray_gap(self) -> int:
        return max(1, round(self.random.expovariate(self.noise.strays) * 1_000_000))

    def _silence(self, time: int) -> None:
        """Hand out the burst when nobody has talked since; an earlier end of it is none."""
        if not self._burst or any(s.end + round(FRAME_GAP * s.character) > time for s in self._burst):
            return
        burst, self._burst = self._burst, []
        end = max(sending.end for sending in burst)
        if len(burst) == 1 and burst[0].sender is not None:
            self._hand_out(burst[0], end)
            return
        for listener in self.listeners:
            heard = b"".join([self.as_heard(s.data, s.mode, listener.mode) for s in burst if s.sender is not listener])
            if heard:
                listener.heard(heard, end)

    def _hand_out(self, sending: Sending, end: int) -> None:
        data = bytes(sending.data)
        for listener in self.listeners:
            if listener is not sending.sender:
                listener.heard(self.as_heard(data, sending.mode, listener.mode), end)

    def as_heard(self, data: bytes | bytearray, sent: str, listening: str) -> bytes:
        """Characters sent in one mode, as a listener of another hears them."""
        if sent == listening:
            return bytes(data)
        same_rate = sent.partition("-")[0] == listening.partition("-")[0]
        keep = 0.5 if same_rate else 0.0  # a wrong parity is right by chance every second time
        return bytes(byte if self.random.random() < keep else self.random.randrange(256) for byte in data)
