"""CJ/T 188-2004 and -2018: frames, read requests and replies of water, gas, heat and cold meters; nothing here writes.

    FE … FE | 68 | T | A0…A6 | C | L | D0…D(L-1) | CS | 16

Addresses travel lowest byte first, data bytes as they are (no offset), CS is the sum mod 256 from the 68 to the last
data byte. Which byte of the identifier comes first is the maker's choice: both are understood in a reply, and a request
can be put either way. Encryption (2018) is not spoken.
"""

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

from protocols.errors import Damaged, Mismatched, Refused
from protocols.recogniser import FrameRecogniser, Recogniser, quote
from protocols.stream import Stream

START, END, PREAMBLE = 0x68, 0x16, 0xFE
READ, READ_ADDRESS = 0x01, 0x03
REPLY, ERROR, MORE, FUNCTION = 0x80, 0x40, 0x20, 0x1F
"""Bits of the control byte: from the meter, exception, more frames follow, function."""

READING, ADDRESS = "901F", "810A"
"""The identifiers of what a meter counts and of its address, high byte first."""

OVERHEAD = 13
"""Bytes of a frame without its data."""

ANY, EVERYONE, ANY_TYPE = "AA" * 7, "99" * 7, 0xAA
"""The address that every meter answers, the one that none does, and the type that stands for every type."""

Order = Literal["901F", "1F90"]
"""Which byte of an identifier a request sends first: the high one, or the low one as the 2004 text has it."""

_ADDRESS = re.compile(r"[0-9A-F]{14}")
_HIGH = frozenset((0x81, 0x90, 0xA0, 0xD1, 0xD2, 0xD3, 0xD4))
"""High bytes of the identifiers there are; none of them is a low byte too."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. ``address``: 14 hex digits, highest first (maker, then number); makers pad with F, and AA is any byte.

    Damaged when a part does not fit the frame.
    """

    meter_type: int
    address: str
    control: int
    data: bytes

    def __post_init__(self) -> None:
        if not _ADDRESS.fullmatch(self.address):
            raise Damaged(f"address {self.address!r}, expected 14 hex digits")
        for name, value in (("meter type", self.meter_type), ("control", self.control)):
            if not 0 <= value <= 0xFF:
                raise Damaged(f"{name} {value}, expected one byte")
        if len(self.data) > 0xFF:
            raise Damaged(f"{len(self.data)} data bytes, expected at most 255")

    def to_bytes(self) -> bytes:
        """The frame from 68 to 16, without preamble."""
        address = bytes.fromhex(self.address)[::-1]
        body = bytes([START, self.meter_type, *address, self.control, len(self.data)]) + self.data
        return body + bytes([sum(body) & 0xFF, END])


@dataclass(frozen=True, slots=True)
class Asked:
    """A read request taken apart. ``identifier``: high byte first, however it was sent."""

    meter_type: int
    address: str
    control: int
    identifier: str

    @property
    def wanted(self) -> str:
        """What was asked of whom, in words."""
        return f"{self.identifier} from meter {self.address} of type {self.meter_type:02X}"


def decode(raw: bytes) -> Frame:
    """Exactly one frame, any number of FE before it; Damaged says which check failed."""
    body = raw.lstrip(bytes([PREAMBLE]))
    if len(body) < OVERHEAD:
        raise Damaged(f"{len(body)} bytes from the first 68, expected at least {OVERHEAD}: {quote(raw)}")
    if body[0] != START:
        raise Damaged(f"first byte {body[0]:02X}, expected 68: {quote(raw)}")
    if len(body) != OVERHEAD + body[10]:
        raise Damaged(f"{len(body)} bytes, expected {OVERHEAD + body[10]} for L={body[10]:02X}: {quote(raw)}")
    if body[-1] != END:
        raise Damaged(f"end byte {body[-1]:02X}, expected 16: {quote(raw)}")
    if sum(body[:-2]) & 0xFF != body[-2]:
        raise Damaged(f"checksum {body[-2]:02X}, expected {sum(body[:-2]) & 0xFF:02X}: {quote(raw)}")
    return Frame(body[1], body[8:1:-1].hex().upper(), body[9], body[11:-2])


class Parser:
    """Frames out of a stream that also carries noise. Every valid frame is found, wherever it begins and however the
    stream is cut, in the order in which the frames end; what comes out does not depend on the pieces.
    """

    def __init__(self) -> None:
        self._stream = Stream(_claimed_end, bytes([START]), keep=0)

    def feed(self, data: bytes) -> list[tuple[Frame, bytes]]:
        """Each frame completed by ``data``, with its bytes from 68 to 16."""
        return [(frame, raw) for raw in self._stream.feed(data) if (frame := _sound(raw))]


def read_request(meter_type: int, address: str, order: Order = "901F", serial: int = 0) -> bytes:
    """FE FE FE FE and the frame that asks a meter what it has counted (901F); control 01."""
    return _preceded(Frame(meter_type, address, READ, _question(READING, order, serial)))


def address_request(meter_type: int = ANY_TYPE, address: str = ANY, order: Order = "901F", serial: int = 0) -> bytes:
    """FE FE FE FE and the frame that asks a meter for its address (810A); control 03. For one meter on a line."""
    return _preceded(Frame(meter_type, address, READ_ADDRESS, _question(ADDRESS, order, serial)))


@lru_cache(1024)
def parse_request(raw: bytes) -> Asked:
    """What a read request asks; Mismatched when the frame asks something else, and anything but reading is else."""
    frame = decode(raw)
    asked = Asked(frame.meter_type, frame.address, frame.control, identifier_of(frame))
    if (frame.control, asked.identifier) not in ((READ, READING), (READ_ADDRESS, ADDRESS)) or len(frame.data) != 3:
        raise Mismatched(
            f"control {frame.control:02X} with data {quote(frame.data)}, expected the read of 901F (01) or 810A (03)"
        )
    return asked


def identifier_of(frame: Frame) -> str:
    """The identifier at the head of the data, high byte first whichever way it was sent; empty under 2 bytes."""
    head = frame.data[:2]
    if len(head) < 2:
        return ""
    swapped = head[0] not in _HIGH and head[1] in _HIGH
    return (head[::-1] if swapped else head).hex().upper()


def payload(request: bytes, reply: bytes) -> bytes:
    """The data after identifier and serial number, of the frame that answers the request.

    The serial number is not compared: meters exist that send one of their own. Refused for a C1 or C3 with its status
    word; Mismatched for another address, kind of meter, function, direction or identifier, and for a reply that is
    continued in further frames.
    """
    frame = _answer(parse_request(request), reply)
    if frame.control & ERROR:
        raise Refused(refusal(frame), error_word(frame))
    if frame.control & MORE:
        raise Mismatched(f"control {frame.control:02X}: more frames follow, expected the whole answer in one (81)")
    return frame.data[3:]


def error_word(frame: Frame) -> int:
    """The status word of an exception reply (serial number, ST1, ST2): ST1 is the low byte; 0 when it sent none."""
    return int.from_bytes(frame.data[1:3], "little")


def refusal(frame: Frame) -> str:
    """An exception reply in words."""
    said = f"meter {frame.address} refused (control {frame.control:02X})"
    return f"{said}, status {quote(frame.data[1:3])}" if len(frame.data) > 1 else f"{said} without a status"


def recogniser(request: bytes) -> Recogniser:
    """What finds the reply to one read request. A wildcard request is answered by a real address, a type by one of its
    kind.
    """
    asked = parse_request(request)
    check, preamble = partial(_answer, asked), bytes([PREAMBLE])
    return FrameRecogniser(request, _claimed_end, bytes([START]), check, wanted=asked.wanted, preamble=preamble)


def _question(identifier: str, order: Order, serial: int) -> bytes:
    head = bytes.fromhex(identifier)
    return (head if order == "901F" else head[::-1]) + bytes([serial])


def _preceded(frame: Frame) -> bytes:
    return bytes([PREAMBLE] * 4) + frame.to_bytes()


def _claimed_end(buffer: bytearray, start: int) -> int:
    """Where a frame at ``start`` ends; past the buffer when more bytes are needed to tell."""
    size = len(buffer)
    return start + OVERHEAD + buffer[start + 10] if start + 10 < size else size + 1


def _sound(raw: bytes) -> Frame | None:
    try:
        return decode(raw)
    except Damaged:
        return None


def _answer(asked: Asked, raw: bytes) -> Frame:
    """The frame, when it answers what was asked; Damaged, Mismatched."""
    frame = decode(raw)
    if (difference := _difference(asked, frame)) is not None:
        raise Mismatched(difference)
    return frame


def _difference(asked: Asked, frame: Frame) -> str | None:
    """What keeps this frame from answering what was asked; None when nothing does."""
    said = f"control {frame.control:02X} from meter {frame.address} of type {frame.meter_type:02X}"
    if not frame.control & REPLY or frame.control & FUNCTION != asked.control:
        return f"{said}, expected a reply to {asked.control:02X} ({asked.control | REPLY:02X} or an exception)"
    if any(ask not in ("AA", got) for ask, got in zip(_pairs(asked.address), _pairs(frame.address), strict=True)):
        return f"{said}, expected meter {asked.address}"
    if not same_kind(asked.meter_type, frame.meter_type):
        return f"{said}, expected a meter of type {asked.meter_type >> 4:X}x"
    if frame.control & ERROR:
        return None
    got = identifier_of(frame)
    if got != asked.identifier or len(frame.data) < 3:
        return f"{said} with identifier {got or 'missing'}, expected {asked.identifier} and a serial number"
    return None


def same_kind(asked: int, got: int) -> bool:
    """Whether a meter type answers another: heat meters asked as 20 are known to answer as 25 or 27."""
    return ANY_TYPE in (asked, got) or asked >> 4 == got >> 4


def _pairs(address: str) -> list[str]:
    return [address[index : index + 2] for index in range(0, len(address), 2)]
