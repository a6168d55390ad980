"""DL/T 645, the questions and their answers: what the editions of 1997 and 2007 share, in terms of one ``Edition``.

Nothing here can ask for anything but a read: the only functions are those that an edition names. An answer that does
not fit in one frame is continued: the meter sets the bit for more, and is asked for what follows, frame by frame. Such
an answer is recorded as all its frames, one after another.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from protocols.dlt645_frame import (
    ERROR,
    FUNCTION,
    MORE,
    OVERHEAD,
    PREAMBLE,
    REPLY,
    START,
    Frame,
    claimed_end,
    decode,
    refusal,
    split,
)
from protocols.errors import Damaged, Mismatched, ProtocolError, Refused
from protocols.recogniser import FrameRecogniser, Recogniser

LONGEST = 16
"""Frames of one answer at most; a meter that goes on is not believed."""

REMEMBERED = 8192
"""Requests whose meaning is remembered: the plans of a few hundred meters."""

READING = frozenset((0x01, 0x02, 0x11, 0x12, 0x13))
"""Every function of either edition that reads; the others write, freeze, clear, switch or log in."""

ANYONE = "AA" * 6
"""The address that every meter answers to: of use where only one hangs on the line."""


@dataclass(frozen=True, slots=True)
class Question:
    """A read: whose data (``address`` as in Frame), by which function, of which ``identifier`` (hex, highest first).

    ``tail``: what follows the identifier: the number of a follow-up frame, or which blocks of a load record. Damaged
    for a function that does not read.
    """

    address: str
    control: int
    identifier: str
    tail: bytes = b""

    def __post_init__(self) -> None:
        if self.control not in READING:
            raise Damaged(f"control {self.control:02X}, expected a read: 01, 02, 11, 12 or 13")

    def to_bytes(self) -> bytes:
        """FE FE FE FE and the frame."""
        data = bytes.fromhex(self.identifier)[::-1] + self.tail
        return bytes([PREAMBLE] * 4) + Frame(self.address, self.control, data).to_bytes()


@dataclass(frozen=True, slots=True)
class Edition:
    """One edition of the standard: its reading functions, the bytes of its identifiers, whether it numbers follow-ups.

    ``tails``: how many bytes may follow the identifier of a read. ``find``: the function that asks for the address.
    """

    name: str
    read: int
    follow: int
    width: int
    numbered: bool
    tails: tuple[int, ...] = (0,)
    find: int | None = None

    def read_request(self, address: str, identifier: str) -> bytes:
        """FE FE FE FE and the frame that asks for one identifier (hex digits, highest byte first)."""
        if not re.fullmatch(f"[0-9A-F]{{{2 * self.width}}}", identifier):
            raise Damaged(f"identifier {identifier!r}, expected {2 * self.width} upper-case hex digits, highest first")
        return Question(address, self.read, identifier).to_bytes()

    def parse_request(self, raw: bytes) -> tuple[str, str]:
        """Address and identifier of a read request; Mismatched when the frame asks something else."""
        frame = decode(raw)
        if frame.control != self.read or len(frame.data) != self.width:
            raise Mismatched(
                f"control {frame.control:02X} with {len(frame.data)} data bytes, "
                f"expected the read request {self.read:02X} with {self.width}"
            )
        return frame.address, self.identifier_of(frame)

    def question(self, raw: bytes) -> Question:
        """What a request asks: a read, a follow-up or an address; Mismatched when it is none of them."""
        return _question(self, raw)

    def identifier_of(self, frame: Frame) -> str:
        """The identifier at the head of the data, highest byte first; empty when the data are too short."""
        return frame.data[: self.width][::-1].hex().upper() if len(frame.data) >= self.width else ""

    def payload(self, request: bytes, reply: bytes) -> bytes:
        """The data that answer a request, identifiers and frame numbers taken out, of all frames of the reply.

        Refused for an exception reply, with its error word; Mismatched for another address, function, direction,
        identifier or frame number, for an answer that is not whole and for anything behind it; Damaged.
        """
        return self._whole((request,), reply).data[0]

    def answers(self, requests: Sequence[bytes], reply: bytes) -> tuple[bytes | None, ...]:
        """The data of each of several questions, out of all frames of their answers; errors as for payload.

        None for a question that the meter refused; but the first one must be answered.
        """
        talk = self._whole(requests, reply)
        return tuple(None if number in talk.refused else data for number, data in enumerate(talk.data))

    def _whole(self, requests: Sequence[bytes], reply: bytes) -> "Talk":
        talk = Talk(self, requests)
        for frame in split(reply):
            talk.take(frame)
        if talk.asked is not None:
            raise Mismatched(f"{talk.last}; expected what follows: control {talk.asked.control:02X}")
        return talk

    def pending(self, requests: Sequence[bytes], reply: bytes) -> bytes | None:
        """The request to send next after these frames; None when the answers are whole, or never will be."""
        if len(requests) == 1 and _alone(reply):
            return None
        talk = Talk(self, requests)
        try:
            for frame in split(reply):
                talk.take(frame)
        except ProtocolError:
            return None
        return None if talk.asked is None else talk.asked.to_bytes()

    def recogniser(self, request: bytes) -> Recogniser:
        """What finds the reply to one reading request. A wildcard request is answered by a real address."""
        asked = self.question(request)
        wanted = f"{asked.identifier or 'its address'} from meter {asked.address}"
        check, preamble = partial(self.check, asked), bytes([PREAMBLE])
        return FrameRecogniser(request, claimed_end, bytes([START]), check, wanted=wanted, preamble=preamble)

    def check(self, asked: Question, raw: bytes) -> None:
        """Mismatched unless this one frame answers; Damaged."""
        if (difference := self.difference(asked, decode(raw))) is not None:
            raise Mismatched(difference)

    def difference(self, asked: Question, frame: Frame) -> str | None:
        """What keeps this frame from answering; None when nothing does."""
        said = f"control {frame.control:02X} from meter {frame.address}"
        if not frame.control & REPLY or frame.control & FUNCTION != asked.control:
            codes = ", ".join(f"{asked.control | REPLY | bits:02X}" for bits in (0, MORE, ERROR))
            return f"{said}, expected a reply to a read (one of {codes})"
        if not matches(asked.address, frame.address):
            return f"{said}, expected meter {asked.address}"
        if frame.control & ERROR:
            return (
                None if len(frame.data) == 1 else f"{said} with {len(frame.data)} data bytes, expected one error word"
            )
        if asked.control == self.find:
            return self._no_address(asked, frame, said)
        if (got := self.identifier_of(frame)) != asked.identifier:
            return f"{said} with identifier {got or 'missing'}, expected {asked.identifier}"
        return self._no_sequel(asked, frame, said)

    def _no_address(self, asked: Question, frame: Frame, said: str) -> str | None:
        told = frame.data[::-1].hex().upper()
        whole = len(told) == 12 and told.isdecimal() and not frame.control & MORE
        return (
            None
            if whole and matches(asked.address, told)
            else f"{said} with {told or 'nothing'}, expected the 12 digits of an address"
        )

    def _no_sequel(self, asked: Question, frame: Frame, said: str) -> str | None:
        """Whether a follow-up bears the number that was asked for, as its last byte."""
        if asked.control != self.follow or not self.numbered:
            return None
        number = frame.data[self.width :][-1:]
        found = number.hex().upper() or "missing"
        return (
            None if number == asked.tail else f"{said} with frame number {found}, expected {asked.tail.hex().upper()}"
        )


def _alone(reply: bytes) -> bool:
    """Whether a reply is one frame that says it is the last: the usual case, seen without taking it apart."""
    return len(reply) >= OVERHEAD and len(reply) == OVERHEAD + reply[9] and not reply[8] & MORE


@lru_cache(maxsize=REMEMBERED)
def _question(edition: Edition, raw: bytes) -> Question:
    """What a request asks; every answer of it is held against this."""
    frame = decode(raw)
    tail = len(frame.data) - edition.width
    asks = frame.control == edition.read and tail in edition.tails
    goes_on = frame.control == edition.follow and tail == int(edition.numbered)
    finds = frame.control == edition.find and not frame.data
    if not (asks or goes_on or finds):
        found = f"control {frame.control:02X} with {len(frame.data)} data bytes"
        raise Mismatched(f"{found}, expected a request of {edition.name} that reads")
    return Question(frame.address, frame.control, edition.identifier_of(frame), frame.data[edition.width :])


class Talk:
    """How far questions to one meter have been answered: fed frame by frame in the order they came."""

    def __init__(self, edition: Edition, requests: Sequence[bytes]) -> None:
        self._edition = edition
        self._questions = [edition.question(request) for request in requests]
        if any(question.control == edition.follow for question in self._questions):
            raise Mismatched("a request for follow-up frames, expected the read that they belong to")
        self._frames = 0
        self.asked: Question | None = self._questions[0]
        """What the next frame must answer; None when all is answered."""
        self.data = [b""]
        """The data of each question that was answered or begun."""
        self.refused: set[int] = set()
        """The places of the questions, beside the first, that the meter refused."""
        self.last = "no frame"

    def take(self, frame: Frame) -> None:
        """One more frame; Mismatched when it is not the answer, Refused when the meter will not."""
        if self.asked is None:
            raise Mismatched(f"control {frame.control:02X} from meter {frame.address} behind the end of the answer")
        if (difference := self._edition.difference(self.asked, frame)) is not None:
            raise Mismatched(difference)
        if frame.control & ERROR:
            self._refuse(frame)
            return
        start, numbered = len(self.asked.identifier) // 2, self.asked.control == self._edition.follow
        self.data[-1] += frame.data[start : len(frame.data) - (numbered and self._edition.numbered)]
        self.last = f"control {frame.control:02X}: " + (
            "more frames follow" if frame.control & MORE else "the last frame"
        )
        self._frames += 1
        self._turn(frame)

    def _refuse(self, frame: Frame) -> None:
        """Note a refusal and go on to the next question; Refused for the first one, or the only one."""
        if len(self.data) == 1:
            raise Refused(refusal(frame), frame.data[0])
        self.refused.add(len(self.data) - 1)
        self.last = refusal(frame)
        self._next()

    def _turn(self, frame: Frame) -> None:
        """Work out what must come next."""
        question = self._questions[len(self.data) - 1]
        if frame.control & MORE:
            if self._frames == LONGEST:
                raise Mismatched(f"{LONGEST} frames and more frames follow, expected the end of the answer")
            tail = bytes([self._frames]) if self._edition.numbered else b""
            self.asked = Question(frame.address, self._edition.follow, question.identifier, tail)
        else:
            self._next()

    def _next(self) -> None:
        """Turn to the next question, if there is one."""
        if len(self.data) < len(self._questions):
            self.asked, self._frames = self._questions[len(self.data)], 0
            self.data.append(b"")
        else:
            self.asked = None


def matches(asked: str, got: str) -> bool:
    """Whether an address is the one asked for: byte by byte, AA stands for any."""
    return all(asked[at : at + 2] in ("AA", got[at : at + 2]) for at in range(0, 12, 2))
