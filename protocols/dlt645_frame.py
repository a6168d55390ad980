"""DL/T 645, the frame: the same in the editions of 1997 and 2007.

    FE … FE | 68 | A0…A5 | 68 | C | L | D0…D(L-1) | CS | 16

Addresses travel lowest byte first, data bytes carry +33H mod 256, CS is the sum mod 256 from the first 68 to the last
data byte as sent.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from protocols.errors import Damaged
from protocols.recogniser import quote
from protocols.stream import Stream

START, END, PREAMBLE = 0x68, 0x16, 0xFE
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
"""Bits 0 to 7 of the error word of an exception reply (D1, C1)."""

_ADD = bytes((byte + 0x33) & 0xFF for byte in range(256))
_SUBTRACT = bytes((byte - 0x33) & 0xFF for byte in range(256))
_ADDRESS = re.compile(r"(?:AA)*[0-9]*")


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


def split(raw: bytes) -> Iterator[Frame]:
    """Whole frames one after another, at least one, any number of FE before each; Damaged where anything else is."""
    rest = raw.lstrip(bytes([PREAMBLE]))
    while True:
        length = OVERHEAD + rest[9] if len(rest) > 9 else len(rest)
        yield decode(rest[:length])
        if not (rest := rest[length:].lstrip(bytes([PREAMBLE]))):
            return


class Parser:
    """Frames out of a stream that also carries noise. Every valid frame is found, wherever it begins and however the
    stream is cut, in the order in which the frames end; what comes out does not depend on the pieces.
    """

    def __init__(self) -> None:
        self._stream = Stream(claimed_end, bytes([START]), keep=0)

    def feed(self, data: bytes) -> list[tuple[Frame, bytes]]:
        """Each frame completed by ``data``, with its bytes from 68 to 16."""
        return [(frame, raw) for raw in self._stream.feed(data) if (frame := _sound(raw))]


def refusal(frame: Frame) -> str:
    """An exception reply in words: its error word with the bits named."""
    word = frame.data[0]
    named = [name for bit, name in enumerate(ERROR_BITS) if word >> bit & 1]
    return f"meter {frame.address} refused (control {frame.control:02X}), error word {word:02X}: " + (
        ", ".join(named) or "no bit set"
    )


def claimed_end(buffer: bytearray, start: int) -> int:
    """Where a frame at ``start`` ends; 0 when none can, past the buffer when more bytes are needed to tell."""
    size = len(buffer)
    if start + 7 < size and buffer[start + 7] != START:
        return 0
    return start + OVERHEAD + buffer[start + 9] if start + 9 < size else size + 1


def _sound(raw: bytes) -> Frame | None:
    try:
        return decode(raw)
    except Damaged:
        return None
