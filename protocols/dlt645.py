"""DL/T 645-2007: frames, requests, replies and BCD values; nothing here can write to a meter.

    FE … FE | 68 | A0…A5 | 68 | C | L | D0…D(L-1) | CS | 16

Addresses travel lowest byte first, data bytes carry +33H mod 256, CS is the sum mod 256 from the first 68 to the last
data byte as sent. The 1997 edition has the same frame with two-byte identifiers.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from protocols.errors import Damaged, Impossible, Mismatched, ProtocolError, Refused
from protocols.recogniser import quote, verdict

START, END, PREAMBLE = 0x68, 0x16, 0xFE
READ = 0x11
REPLY, ERROR, MORE, FUNCTION = 0x80, 0x40, 0x20, 0x1F
"""Bits of the control byte: from the meter, exception, more frames follow, function."""

OVERHEAD = 12
"""Bytes of a frame without its data."""

ERROR_BITS = (
    "other error",
    "no such data",
    "wrong password or not authorised",
    "baud rate cannot be changed",
    "too many year zones",
    "too many day periods",
    "too many tariffs",
    "reserved",
)
"""Bits 0 to 7 of the error word of a D1 reply."""

_ADD = bytes((byte + 0x33) & 0xFF for byte in range(256))
_SUBTRACT = bytes((byte - 0x33) & 0xFF for byte in range(256))
_ADDRESS = re.compile(r"(?:AA)*[0-9]*")
_IDENTIFIER = re.compile(r"[0-9A-F]{8}")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. ``address``: 12 digits, highest first, left-filled with AA where it is a wildcard; ``data`` without
    the 33H offset. Damaged when a part does not fit the frame.
    """

    address: str
    control: int
    data: bytes

    def __post_init__(self) -> None:
        if len(self.address) != 12 or not _ADDRESS.fullmatch(self.address):
            raise Damaged(f"address {self.address!r}, expected 12 digits, AA only as wildcard bytes in front")
        if not 0 <= self.control <= 0xFF:
            raise Damaged(f"control {self.control}, expected one byte")
        if len(self.data) > 0xFF:
            raise Damaged(f"{len(self.data)} data bytes, expected at most 255")

    def to_bytes(self) -> bytes:
        """The frame from 68 to 16, without preamble."""
        address = bytes.fromhex(self.address)[::-1]
        data = self.data.translate(_ADD)
        body = bytes([START, *address, START, self.control, len(data)]) + data
        return body + bytes([sum(body) & 0xFF, END])


def decode(raw: bytes) -> Frame:
    """Exactly one frame, any number of FE before it; Damaged says which check failed."""
    body = raw.lstrip(bytes([PREAMBLE]))
    if len(body) < OVERHEAD:
        raise Damaged(f"{len(body)} bytes from the first 68, expected at least {OVERHEAD}: {quote(raw)}")
    if body[0] != START or body[7] != START:
        raise Damaged(f"{body[0]:02X} and {body[7]:02X} around the address, expected 68 and 68: {quote(raw)}")
    if len(body) != OVERHEAD + body[9]:
        raise Damaged(f"{len(body)} bytes, expected {OVERHEAD + body[9]} for L={body[9]:02X}: {quote(raw)}")
    if body[-1] != END:
        raise Damaged(f"end byte {body[-1]:02X}, expected 16: {quote(raw)}")
    if sum(body[:-2]) & 0xFF != body[-2]:
        raise Damaged(f"checksum {body[-2]:02X}, expected {sum(body[:-2]) & 0xFF:02X}: {quote(raw)}")
    return Frame(body[6:0:-1].hex().upper(), body[8], body[10:-2].translate(_SUBTRACT))


class Parser:
    """Frames out of a stream that also carries noise. Every valid frame is found, wherever it begins and however the
    stream is cut, in the order in which the frames end; what comes out does not depend on the pieces.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._starts: list[int] = []

    def feed(self, data: bytes) -> list[tuple[Frame, bytes]]:
        """Each frame completed by ``data``, with its bytes from 68 to 16."""
        known = len(self._buffer)
        self._buffer += data
        self._starts += [known + index for index, byte in enumerate(data) if byte == START]
        complete, waiting = [], []
        for start in self._starts:
            end = self._claimed_end(start)
            if end > len(self._buffer):
                waiting.append(start)
            elif end:
                complete.append((end, start))
        found = [bytes(self._buffer[start:end]) for end, start in sorted(complete)]
        self._forget(waiting)
        return [(frame, raw) for raw in found if (frame := _sound(raw))]

    def _claimed_end(self, start: int) -> int:
        """Where a frame at ``start`` ends; 0 when none can, past the buffer when more bytes are needed to tell."""
        size = len(self._buffer)
        if start + 7 < size and self._buffer[start + 7] != START:
            return 0
        return start + OVERHEAD + self._buffer[start + 9] if start + 9 < size else size + 1

    def _forget(self, waiting: list[int]) -> None:
        """Drop what no frame can begin in any more: at most one frame's length is ever kept."""
        cut = waiting[0] if waiting else len(self._buffer)
        del self._buffer[:cut]
        self._starts = [start - cut for start in waiting]


def read_request(address: str, identifier: str) -> bytes:
    """FE FE FE FE and the frame that asks for one identifier (8 hex digits, DI3 first); control 11."""
    if not _IDENTIFIER.fullmatch(identifier):
        raise Damaged(f"identifier {identifier!r}, expected 8 upper-case hex digits, DI3 first")
    return bytes([PREAMBLE] * 4) + Frame(address, READ, bytes.fromhex(identifier)[::-1]).to_bytes()


def parse_request(raw: bytes) -> tuple[str, str]:
    """Address and identifier of a read request; Mismatched when the frame asks something else."""
    frame = decode(raw)
    if frame.control != READ or len(frame.data) != 4:
        raise Mismatched(
            f"control {frame.control:02X} with {len(frame.data)} data bytes, expected the read request 11 with 4"
        )
    return frame.address, identifier_of(frame)


def identifier_of(frame: Frame) -> str:
    """The identifier at the head of the data, DI3 first; empty when there are fewer than 4 bytes."""
    return frame.data[3::-1].hex().upper() if len(frame.data) >= 4 else ""


def payload(request: bytes, reply: bytes) -> bytes:
    """The data after the identifier, of the frame that answers the request.

    Refused for a D1 with its error word; Mismatched for another address, function, direction or identifier, and for a
    reply that is continued in further frames (B1): part of a block is not the block.
    """
    address, identifier = parse_request(request)
    frame = decode(reply)
    if (difference := _difference(address, identifier, frame)) is not None:
        raise Mismatched(difference)
    if frame.control & ERROR:
        raise Refused(refusal(frame), frame.data[0])
    if frame.control & MORE:
        raise Mismatched(f"control {frame.control:02X}: more frames follow, expected the whole answer in one (91)")
    return frame.data[4:]


def refusal(frame: Frame) -> str:
    """An exception reply in words: its error word with the bits named."""
    word = frame.data[0]
    named = [name for bit, name in enumerate(ERROR_BITS) if word >> bit & 1]
    return f"meter {frame.address} refused (control {frame.control:02X}), error word {word:02X}: " + (
        ", ".join(named) or "no bit set"
    )


class Recogniser:
    """The reply to one read request. A wildcard request is answered by a real address."""

    def __init__(self, request: bytes) -> None:
        self._address, self._identifier = parse_request(request)
        self._echo = request.lstrip(bytes([PREAMBLE]))
        self._parser = Parser()
        self._received = bytearray()
        self._strangers: list[str] = []

    def feed(self, data: bytes) -> bytes | None:
        """The answering frame from 68 to 16; None = more is needed."""
        self._received = (self._received + data)[-LIMIT:]
        for frame, raw in self._parser.feed(data):
            difference = _difference(self._address, self._identifier, frame)
            if difference is None:
                return raw
            if raw != self._echo:
                self._strangers.append(difference)
        return None

    def failure(self) -> ProtocolError:
        """Silent, Damaged or Mismatched, by what has come so far."""
        rest = bytes(self._received).replace(self._echo, b"", 1).strip(bytes([PREAMBLE]))
        return verdict(rest, self._strangers, f"{self._identifier} from meter {self._address}")


LIMIT = 2048
"""Bytes kept to explain a failure."""


def value(field: bytes, digits: str, signed: bool) -> Decimal | None:
    """The number in a field, lowest byte first, in the form of the standard (``XXXXXX.XX``); None when filled with FF.

    ``signed``: the top bit is the sign, else it is part of the highest digit. Impossible when the width is not that of
    the form or a digit is above 9.
    """
    width = len(digits.replace(".", "")) // 2
    if len(field) != width:
        raise Impossible(f"{len(field)} bytes {quote(field)}, expected {width} for {digits}")
    if field == b"\xff" * width:
        return None
    negative = signed and field[-1] & 0x80
    text = (field[:-1] + bytes([field[-1] & 0x7F]) if negative else field)[::-1].hex()
    if not text.isdecimal():
        raise Impossible(f"{quote(field)} is not BCD, expected {digits}{' with sign' if signed else ''}")
    number = -int(text) if negative else int(text)
    return Decimal(number).scaleb(-len(digits.partition(".")[2]))


def _sound(raw: bytes) -> Frame | None:
    try:
        return decode(raw)
    except Damaged:
        return None


def _difference(address: str, identifier: str, frame: Frame) -> str | None:
    """What keeps this frame from answering the read of ``identifier`` at ``address``; None when nothing does."""
    said = f"control {frame.control:02X} from meter {frame.address}"
    if not frame.control & REPLY or frame.control & FUNCTION != READ:
        return f"{said}, expected a reply to a read (91, B1 or D1)"
    if any(ask not in ("AA", got) for ask, got in zip(_pairs(address), _pairs(frame.address), strict=True)):
        return f"{said}, expected meter {address}"
    if frame.control & ERROR:
        return None if len(frame.data) == 1 else f"{said} with {len(frame.data)} data bytes, expected one error word"
    got = identifier_of(frame)
    return None if got == identifier else f"{said} with identifier {got or 'missing'}, expected {identifier}"


def _pairs(address: str) -> list[str]:
    return [address[index : index + 2] for index in range(0, len(address), 2)]
