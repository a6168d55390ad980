"""Modbus device identification (2B/0E): what a device says it is. Application protocol 1.1b3, 6.21. It only reads.

Request: 2B, 0E, read code, first object. Reply: 2B, 0E, read code, conformity, more follows (00 or FF), next object,
number of objects, then for each object its id, its length and its text.
"""

from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from protocols import modbus
from protocols.errors import Damaged, Mismatched, Refused
from protocols.modbus import EXCEPTION, crc
from protocols.recogniser import FrameRecogniser, Recogniser, quote

FUNCTION, INTERFACE = 0x2B, 0x0E
BASIC, REGULAR = 1, 2
"""Read codes: objects 00 to 02, which every device that knows the function has; objects 03 to 06 as well."""

OBJECTS = {
    0x00: "vendor",
    0x01: "product_code",
    0x02: "revision",
    0x03: "vendor_url",
    0x04: "product_name",
    0x05: "model",
    0x06: "application",
}

MORE = 0xFF
MOST_FRAMES = 16
"""An identification in more frames than this never ends."""

Framing = Literal["rtu", "modbus-tcp"]


@dataclass(frozen=True, slots=True)
class Identification:
    """One reply: objects by id; ``following`` is the object to go on with, None when this is all."""

    objects: Mapping[int, str]
    following: int | None


def request(unit: int, framing: Framing, code: int = BASIC, first: int = 0) -> bytes:
    """The question for basic or regular identification from an object on; Damaged for anything else."""
    if code not in (BASIC, REGULAR) or not 0 <= first <= 0xFF:
        raise Damaged(f"read code {code} from object {first}, expected 1 or 2 from 0 to 255")
    if not (1 if framing == "rtu" else 0) <= unit <= 0xFF:
        raise Damaged(f"unit {unit}, expected 1 to 247")
    pdu = bytes([FUNCTION, INTERFACE, code, first])
    if framing == "rtu":
        return modbus.frame_rtu(unit, pdu)
    return modbus.frame_tcp(crc(bytes([unit]) + pdu), unit, pdu)


def parse(asked: bytes, framing: Framing) -> tuple[int, int, int]:
    """Unit, read code and first object of a question; Damaged when it is none."""
    unit, pdu = _split(asked, framing)
    if len(pdu) != 4 or pdu[:2] != bytes([FUNCTION, INTERFACE]) or pdu[2] not in (BASIC, REGULAR):
        raise Damaged(f"{quote(pdu)}, expected 2B 0E, 01 or 02, an object")
    return unit, pdu[2], pdu[3]


def asks(raw: bytes, framing: Framing) -> bool:
    """Whether these bytes are such a question."""
    try:
        parse(raw, framing)
    except Damaged:
        return False
    return True


def identification(asked: bytes, reply: bytes, framing: Framing) -> Identification:
    """What the reply to this question says; Refused, Mismatched, Damaged."""
    unit, code, _ = parse(asked, framing)
    answering, pdu = _split(reply, framing)
    if framing == "modbus-tcp" and reply[:2] != asked[:2]:
        raise Mismatched(f"transaction {quote(reply[:2])}, expected {quote(asked[:2])}")
    if answering != unit:
        raise Mismatched(f"unit {answering}, expected {unit}")
    if pdu[0] == FUNCTION | EXCEPTION and len(pdu) == 2:
        raise Refused(modbus.refusal(unit, FUNCTION, pdu[1]), pdu[1])
    if pdu[:3] != bytes([FUNCTION, INTERFACE, code]):
        raise Mismatched(f"{quote(pdu[:3])}, expected 2B 0E {code:02X}")
    return objects(pdu)


def objects(pdu: bytes) -> Identification:
    """The objects of a reply; Damaged when they do not fill it."""
    if len(pdu) < 7:
        raise Damaged(f"{len(pdu)} bytes {quote(pdu)}, expected at least 7")
    found: dict[int, str] = {}
    at = 7
    for _ in range(pdu[6]):
        if len(pdu) < at + 2 or len(pdu) < at + 2 + pdu[at + 1]:
            raise Damaged(f"{len(pdu)} bytes, too few for {pdu[6]} objects: {quote(pdu)}")
        end = at + 2 + pdu[at + 1]
        found[pdu[at]] = pdu[at + 2 : end].decode("ascii", "backslashreplace").strip("\0 ")
        at = end
    if at != len(pdu):
        raise Damaged(f"{len(pdu)} bytes, expected {at} for {pdu[6]} objects: {quote(pdu)}")
    return Identification(found, pdu[5] if pdu[4] == MORE else None)


def identify(unit: int, framing: Framing, code: int = REGULAR) -> Generator[bytes, bytes, Mapping[str, str]]:
    """Ask until a device has said all of it; names and texts of its objects. Refused, Mismatched, Damaged."""
    said: dict[int, str] = {}
    first = 0
    for _ in range(MOST_FRAMES):
        asked = request(unit, framing, code, first)
        part = identification(asked, (yield asked), framing)
        said |= part.objects
        if part.following is None:
            return {OBJECTS.get(number, f"object_{number:02x}"): text for number, text in sorted(said.items())}
        if part.following in said:
            raise Mismatched(f"object {part.following:02X} a second time, expected one that was not told yet")
        first = part.following
    raise Mismatched(f"more than {MOST_FRAMES} frames, expected an identification that ends")


def recogniser(asked: bytes, framing: Framing) -> Recogniser:
    """What finds the reply to this question, or its refusal: transaction or unit, function and interface fit, and its
    CRC on a serial line. Damaged when it is no question.
    """
    unit, code, _ = parse(asked, framing)
    wanted = f"identification {code:02X} from unit {unit}"
    end = partial(_rtu_end, bytes([unit])) if framing == "rtu" else partial(_tcp_end, asked[:4])
    return FrameRecogniser(asked, end, asked[:1], partial(_answers, asked, framing), wanted=wanted)


def _answers(asked: bytes, framing: Framing, raw: bytes) -> None:
    """Damaged, Mismatched; a refusal answers too."""
    with suppress(Refused):
        identification(asked, raw, framing)


def _rtu_end(unit: bytes, buffer: bytearray, start: int) -> int:
    """Exceptions end after five bytes, replies after their last object and the CRC."""
    if buffer[start : start + 1] != unit:
        return 0
    head = buffer[start : start + 9]
    if len(head) > 1 and head[1] == FUNCTION | EXCEPTION:
        return start + 5
    if head[1:3] != bytes([FUNCTION, INTERFACE])[: len(head) - 1]:
        return 0
    if len(head) < 8:
        return len(buffer) + 1
    return _objects_end(buffer, start + 8, head[7]) + 2


def _tcp_end(transaction: bytes, buffer: bytearray, start: int) -> int:
    head = buffer[start : start + 6]
    if head[:4] != transaction[: len(head)]:
        return 0
    return start + 6 + int.from_bytes(head[4:6]) if len(head) == 6 else len(buffer) + 1


def _objects_end(buffer: bytearray, at: int, count: int) -> int:
    """Where so many objects end that begin at a place; past the buffer when that is not known yet."""
    for _ in range(count):
        if at + 2 > len(buffer):
            return len(buffer) + 1
        at += 2 + buffer[at + 1]
    return at


def _split(raw: bytes, framing: Framing) -> tuple[int, bytes]:
    if framing == "rtu":
        return modbus.split_rtu(raw)
    _, unit, pdu = modbus.split_tcp(raw)
    return unit, pdu
