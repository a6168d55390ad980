"""M-Bus (EN 13757-2), the link layer: one question can be built, "give me your data", and the selection of a meter.

    short  10 | C | A | CS | 16                       the master asks
    long   68 | L | L | 68 | C | A | CI | data | CS | 16        the meter answers; L counts C to the last data byte
    E5     a selection is understood

CS is the sum mod 256 from C to the last data byte. C of a question is 5B or 7B (REQ_UD2 without and with the frame
count bit): the same bit as last time may be answered by the same telegram again, the other bit brings the next one
(ABB A43 manual, p. 183). A selection (C 73, A FD, CI 52, identification) makes the meter of that number answer at
address 253 until another is selected; it changes nothing else (ABB A43 manual, p. 196). No other SND_UD can be built.
"""

from dataclasses import dataclass
from functools import partial

from protocols.errors import Damaged, Mismatched
from protocols.recogniser import FrameRecogniser, Recogniser, quote

SHORT, LONG, END, ACK = 0x10, 0x68, 0x16, 0xE5
REQ_UD2, FRAME_COUNT = 0x5B, 0x20
FROM_MASTER = 0x40
"""Bit of C that a meter never sets."""
RSP_UD, FUNCTION = 0x08, 0x0F
SELECTED = 0xFD
HIGHEST = 250
"""The last address that is a meter's own."""
SELECT = bytes([LONG, 11, 11, LONG, 0x73, SELECTED, 0x52])
ANY = b"\xff" * 4
"""Manufacturer, version and medium of a selection: any."""

OVERHEAD = 6
"""Bytes of a long frame beside those that L counts."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A long frame as a meter sends it. Damaged for one that only a master sends, and for what L cannot count."""

    control: int
    address: int
    information: int
    data: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.control < FROM_MASTER:
            raise Damaged(f"C {self.control:02X}, expected that of a meter: below 40")
        if not (0 <= self.address <= 0xFF and 0 <= self.information <= 0xFF):
            raise Damaged(f"A {self.address}, CI {self.information}, expected bytes")
        if len(self.data) > 0xFF - 3:
            raise Damaged(f"{len(self.data)} data bytes, expected at most 252")

    def to_bytes(self) -> bytes:
        """The frame from 68 to 16."""
        return _long(bytes([self.control, self.address, self.information]) + self.data)


@dataclass(frozen=True, slots=True)
class Request:
    """A question: at a meter's own address, or (``identification``: 8 digits) a selection before it."""

    address: int
    second: bool = False
    identification: str = ""

    def __post_init__(self) -> None:
        if self.identification and not (len(self.identification) == 8 and self.identification.isdecimal()):
            raise Damaged(f"identification {self.identification!r}, expected 8 digits")
        if not (0 <= self.address <= HIGHEST or self.address == SELECTED):
            raise Damaged(f"address {self.address}, expected 0 to 250")

    def to_bytes(self) -> bytes:
        """As sent."""
        if self.identification:
            return _long(SELECT[4:] + bytes.fromhex(self.identification)[::-1] + ANY)
        body = bytes([REQ_UD2 | (FRAME_COUNT if self.second else 0), self.address])
        return bytes([SHORT]) + body + bytes([sum(body) & 0xFF, END])


def parse_request(raw: bytes) -> Request:
    """The question in these bytes; Damaged when it is none that could be built here."""
    if raw[:1] == bytes([SHORT]) and len(raw) == 5 and raw[1] & ~FRAME_COUNT == REQ_UD2:
        asked = Request(raw[2], bool(raw[1] & FRAME_COUNT))
    elif raw[: len(SELECT)] == SELECT and len(raw) == 17:
        asked = Request(SELECTED, False, raw[10:6:-1].hex())
    else:
        raise Damaged(f"{quote(raw)}, expected REQ_UD2 (10 5B or 7B) or a selection")
    if asked.to_bytes() != raw:
        raise Damaged(f"{quote(raw)}, expected {quote(asked.to_bytes())}")
    return asked


def decode(raw: bytes) -> Frame:
    """Exactly one long frame of a meter; Damaged says which check failed."""
    check_shape(raw)
    check_sum(raw, 4)
    if raw[4] & FROM_MASTER:
        raise Damaged(f"C {raw[4]:02X}, expected that of a meter: below 40", at=4, found=f"{raw[4]:02X}", expected="08")
    return Frame(raw[4], raw[5], raw[6], raw[7:-2])


def replies(raw: bytes) -> tuple[Frame, ...]:
    """The frames of a recorded answer, one after another, an acknowledgement before them left out; Damaged."""
    found = []
    at = 1 if raw[:1] == bytes([ACK]) else 0
    while at < len(raw):
        end = at + OVERHEAD + (raw[at + 1] if at + 1 < len(raw) else 0)
        found.append(decode(raw[at:end]))
        at = end
    return tuple(found)


def check(asked: Request, frame: Frame) -> None:
    """Mismatched unless this frame is data from the meter that was asked."""
    if frame.control & FUNCTION != RSP_UD:
        raise Mismatched(f"C {frame.control:02X}, expected 08 (RSP_UD)")
    if asked.address not in (SELECTED, frame.address):
        raise Mismatched(f"address {frame.address}, expected {asked.address}")


def recogniser(request: bytes) -> Recogniser:
    """What finds the reply to one question: a sound long frame of data from its address, or E5 to a selection."""
    asked = parse_request(request)
    wanted = "E5" if asked.identification else f"data from address {asked.address}"
    return FrameRecogniser(request, _end, bytes([LONG, ACK]), partial(_answers, asked), wanted=wanted)


def _answers(asked: Request, raw: bytes) -> None:
    """Damaged, Mismatched; whatever else comes, a selection is answered by E5 alone."""
    if not asked.identification:
        check(asked, decode(raw))
    elif raw != bytes([ACK]):
        raise Damaged(f"{quote(raw)}, expected E5")


def _end(buffer: bytearray, start: int) -> int:
    """Where a long frame or an E5 that begins here ends."""
    if buffer[start] == ACK:
        return start + 1
    if buffer[start] != LONG:
        return 0
    head = buffer[start : start + 4]
    if len(head) < 4:
        return len(buffer) + 1
    return start + OVERHEAD + head[1] if head[1] == head[2] >= 3 and head[3] == LONG else 0


def _long(body: bytes) -> bytes:
    return bytes([LONG, len(body), len(body), LONG]) + body + bytes([sum(body) & 0xFF, END])


def check_sum(raw: bytes, start: int) -> None:
    """Damaged unless the byte before the last is the sum of those from ``start`` on."""
    if (own := sum(raw[start:-2]) & 0xFF) != raw[-2]:
        raise Damaged(
            f"checksum {raw[-2]:02X}, expected {own:02X}: {quote(raw)}",
            at=len(raw) - 2,
            found=f"{raw[-2]:02X}",
            expected=f"{own:02X}",
            cause="cause.mbus.checksum",
        )


def check_shape(raw: bytes) -> None:
    """Damaged unless the bytes around the body are those of a long frame."""
    for at in (0, 3):
        if len(raw) > at and raw[at] != LONG:
            found = f"{raw[at]:02X}"
            raise Damaged(f"byte {at} is {found}, expected 68: {quote(raw)}", at=at, found=found, expected="68")
    if len(raw) < OVERHEAD + 3:
        raise Damaged(
            f"{len(raw)} bytes, expected at least 9: {quote(raw)}", at=len(raw), found="-", cause="cause.mbus.truncated"
        )
    if raw[1] != raw[2]:
        found, expected = f"{raw[2]:02X}", f"{raw[1]:02X}"
        raise Damaged(
            f"L {expected} and {found}, expected the same: {quote(raw)}", at=2, found=found, expected=expected
        )
    if len(raw) != OVERHEAD + raw[1]:
        length = len(raw) - OVERHEAD
        raise Damaged(
            f"{len(raw)} bytes, expected {OVERHEAD + raw[1]} for L={raw[1]:02X}: {quote(raw)}",
            at=1,
            found=f"{raw[1]:02X}",
            expected=f"{length & 0xFF:02X}",
            cause="cause.mbus.truncated" if length < raw[1] else "cause.mbus.extra",
        )
    if raw[-1] != END:
        found = f"{raw[-1]:02X}"
        raise Damaged(f"end byte {found}, expected 16: {quote(raw)}", at=len(raw) - 1, found=found, expected="16")
