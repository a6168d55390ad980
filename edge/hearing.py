"""What a line says beside the answer that is waited for: late answers, second answers, other masters (pure).

A question that was given up may still be answered. Until it is, or until that can no longer happen, its meter is not
asked again: a late answer of the same shape cannot be told from the next one.
"""

from dataclasses import dataclass

from protocols.overheard import Overheard, overheard
from protocols.recogniser import Recogniser

LONGEST_TAIL = 300
"""Bytes of a frame that has only begun which are kept until the rest is there."""
TAIL_MS = 300
"""How long."""
REMEMBERED_MS = 20_000
"""How long an unanswered question explains an answer that nobody waits for any more."""
LATE_FACTOR = 2
"""Where one meter was late by so much, all may be late by twice as much,"""
FOREIGN_MS = 1000
"""After another master's request answers that look like second ones may be its own."""
LATEST_MS = 10_000
"""but it is not waited for longer than this."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that was noticed on a port: what it was, of which device, if one, and in words."""

    kind: str
    device: int | None
    detail: str


PREAMBLE = b"\xfe"
LATE, SECOND_ANSWER, FOREIGN_REQUEST, UNASKED_REPLY = "late", "second-answer", "foreign-request", "unasked-reply"


@dataclass(slots=True)
class _Owed:
    """A question without an answer: of which device, given up when, waited for until when."""

    device: int
    recogniser: Recogniser
    given_up: int
    until: int


class Hearing:
    """The memory of one port. Instants are ms of one clock."""

    def __init__(self) -> None:
        self._owed: list[_Owed] = []
        self._answered: tuple[int, Recogniser] | None = None
        self._lateness = 0
        self._tail, self._tail_at = b"", 0
        self._foreign_at: int | None = None
        self._sent: bytes = b""
        self.signs: list[Sign] = []
        """What was noticed and not yet taken."""

    def asked(self, request: bytes) -> None:
        """This goes out: its echo is no other master's request."""
        self._sent = request

    def answered(self, device: int, recogniser: Recogniser) -> None:
        """The question of this device has its answer; ``recogniser`` is fresh: another answer would be a second one."""
        self._answered = (device, recogniser)
        self._owed = [owed for owed in self._owed if owed.device != device]  # a meter answers in order

    def owe(self, device: int, recogniser: Recogniser, now: int, late_ms: int) -> None:
        """A question was given up; ``recogniser`` is fresh. Its answer may come for so long, or for longer when one
        on this port has been later before.
        """
        self._answered = None
        self._owed = [owed for owed in self._owed if now - owed.given_up < REMEMBERED_MS]
        self._owed.append(_Owed(device, recogniser, now, now + max(late_ms, self._lateness)))

    def until(self, device: int) -> int:
        """Until when an earlier question of this device may be answered; 0 when none is owed."""
        return max((owed.until for owed in self._owed if owed.device == device), default=0)

    def hear(self, data: bytes, now: int) -> bool:
        """Explain bytes that are no answer to the question that is out; whether another master's request is in them."""
        data = self._late(data, now)
        frames = self._frames(data, now)
        if any(frame.asks for frame in frames):
            self._foreign_at = now
        alone = self._foreign_at is None or now - self._foreign_at > FOREIGN_MS
        second = self._second(data) if alone else b""
        frames = [frame for frame in frames if frame.raw != second]
        for frame in frames:
            kind = FOREIGN_REQUEST if frame.asks else UNASKED_REPLY
            self.signs.append(Sign(kind, None, f"{frame.raw[:16].hex(' ').upper()} (address {frame.who})"))
        return self._foreign_at == now

    def _frames(self, data: bytes, now: int) -> list[Overheard]:
        """The frames that end in these bytes, but not the echo of our own question."""
        tail = self._tail if now - self._tail_at < TAIL_MS else b""
        frames = overheard(tail + data)
        self._tail, self._tail_at = (b"" if frames else (tail + data)[-LONGEST_TAIL:]), now
        return [frame for frame in frames if frame.raw != self._sent.lstrip(PREAMBLE)]

    def _late(self, data: bytes, now: int) -> bytes:
        """These bytes without an answer to a question that was given up."""
        for owed in self._owed:
            if (frame := owed.recogniser.feed(data)) is not None:
                self._owed.remove(owed)
                late = self._lateness_of(owed, now)
                self._lateness = min(LATEST_MS, max(self._lateness, LATE_FACTOR * late))
                self._tail = b""
                self.signs.append(Sign(LATE, owed.device, f"{late} ms after its time limit"))
                return data.replace(frame, b"", 1)
        return data

    def _lateness_of(self, owed: _Owed, now: int) -> int:
        """How late an answer is at least (ms): after the newest question that its device owes, the older may be lost.

        Were it counted from the oldest, each lost answer would make the quarantine longer, and that the next one.
        """
        return now - max([owed.given_up, *(other.given_up for other in self._owed if other.device == owed.device)])

    def _second(self, data: bytes) -> bytes:
        """The second answer in these bytes to the question that was answered last, if there is one."""
        if self._answered is None or (frame := self._answered[1].feed(data)) is None:
            return b""
        device, self._answered = self._answered[0], None
        self.signs.append(Sign(SECOND_ANSWER, device, "two answers to one question"))
        return frame
