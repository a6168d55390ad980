"""What is wrong with bytes that were meant to be a Modbus frame: at which byte, what was expected, the likely cause."""

from functools import reduce
from itertools import chain, combinations
from operator import xor

from protocols import modbus
from protocols.errors import Damaged
from protocols.modbus import EXCEPTION, MOST, crc
from protocols.recogniser import quote

ASCII_START = b":"
"""The colon that begins a frame of Modbus ASCII."""
LONGEST = 256
"""Bytes of the longest serial frame."""
STRAYS = 16
"""So many bytes before a frame are looked for."""
FLIPS = 2
"""So many lost top bits of data are looked for."""


def serial(raw: bytes, error: Damaged) -> Damaged:
    """``error`` of a serial frame with its place and its likely cause."""
    message = str(error)
    if raw[:1] == ASCII_START and raw[1:].strip().isalnum():
        return _fault(message, 0, "3A", f"{quote(raw[1:2])}", "ascii")
    if _is_tcp(raw):
        return _fault(message, 2, quote(raw[2:4]), "-", "tcp_in_rtu")
    if (size := _whole(raw)) is not None:
        return _fault(f"{len(raw) - size} bytes behind the frame: {quote(raw)}", size, quote(raw[size:]), "-", "extra")
    if (start := _begins(raw)) is not None:
        return _fault(f"{start} bytes before the frame: {quote(raw)}", 0, quote(raw[:start]), "-", "before")
    if len(raw) < 4:
        return _fault(message, len(raw), "-", "4 bytes", "truncated")
    return _checksum(raw, message) if crc(raw) else error


def network(raw: bytes, error: Damaged) -> Damaged:
    """``error`` of a TCP frame with its place and its likely cause."""
    message = str(error)
    if len(raw) >= 4 and not crc(raw):
        return _fault(message, 0, quote(raw[:2]), "-", "rtu_in_tcp")
    if len(raw) < 8:
        return _fault(message, len(raw), "-", "8 bytes", "truncated")
    if raw[2:4] != b"\0\0":
        return _fault(message, 2, quote(raw[2:4]), "00 00", "protocol_id")
    length = int.from_bytes(raw[4:6])
    if 2 <= length <= 254 and length > len(raw) - 6:
        return _fault(message, len(raw), "-", f"{6 + length} bytes", "truncated")
    if 2 <= length < len(raw) - 6:
        return _fault(message, 6 + length, quote(raw[6 + length :]), "-", "extra")
    return _fault(message, 4, quote(raw[4:6]), quote((len(raw) - 6).to_bytes(2)), "length")


def content(pdu: bytes, error: Damaged, start: int) -> Damaged:
    """``error`` of a sound frame whose function, from byte ``start`` on, is neither a request nor a reply."""
    if len(pdu) > 2 and pdu[0] in MOST and pdu[1] != len(pdu) - 2:
        return _fault(str(error), start + 1, f"{pdu[1]:02X}", f"{len(pdu) - 2:02X}", "byte_count")
    return error


def _checksum(raw: bytes, message: str) -> Damaged:
    """The CRC does not fit the rest: what was lost, added or turned over."""
    at, found, own = len(raw) - 2, raw[-2:], crc(raw[:-2]).to_bytes(2, "little")
    expected = quote(own)
    if found == own[::-1]:
        return _fault(message, at, quote(found), expected, "crc_swapped")
    if (missing := _missing(raw)) is not None:
        return _fault(message, len(raw), "-", f"{missing} bytes", "truncated")
    if (place := _one_bit(raw)) is not None:
        return _fault(message, place[0], f"{raw[place[0]]:02X}", f"{raw[place[0]] ^ place[1]:02X}", "one_bit")
    if _seven_bits(raw):
        return _fault(message, at, quote(found), expected, "seven_bits")
    return _fault(message, at, quote(found), expected, "noise")


def _fault(message: str, at: int, found: str, expected: str, cause: str) -> Damaged:
    return Damaged(message, at=at, found=found, expected=expected, cause=f"cause.modbus.{cause}")


def _is_tcp(raw: bytes) -> bool:
    try:
        _, _, pdu = modbus.split_tcp(raw)
    except Damaged:
        return False
    return pdu[0] & ~EXCEPTION in MOST


def _whole(raw: bytes) -> int | None:
    """How long the sound frame is that these bytes begin with, with more behind it."""
    return next((size for size in (_length(raw), 8, 5) if size and 4 < size < len(raw) and not crc(raw[:size])), None)


def _begins(raw: bytes) -> int | None:
    """Where a sound frame begins that ends with these bytes."""
    return next((at for at in range(1, min(len(raw) - 4, STRAYS)) if not crc(raw[at:])), None)


def _length(raw: bytes) -> int | None:
    """How long the reply is that these bytes begin with, by its byte count."""
    return raw[2] + 5 if len(raw) > 2 and raw[1] in MOST else None


def _missing(raw: bytes) -> int | None:
    """How long the reply would be, of which these bytes are less; None where they may be a request."""
    length = _length(raw)
    if length is None or length <= len(raw) or (raw[1] in (3, 4) and raw[2] % 2):
        return None
    return None if len(raw) == 8 and 1 <= int.from_bytes(raw[4:6]) <= MOST[raw[1]] else length


def _one_bit(raw: bytes) -> tuple[int, int] | None:
    """The byte and the bit that were turned over, if turning one back makes the CRC right."""
    place = _TURNED.get(crc(raw))
    if place is None or place // 8 >= len(raw):
        return None
    return len(raw) - 1 - place // 8, 1 << place % 8


def _seven_bits(raw: bytes) -> bool:
    """Whether the top bit was lost on the way: no byte has one, and the CRC fits with some of them put back."""
    if max(raw) >= 0x80:
        return False
    own, found = crc(raw[:-2]), int.from_bytes(raw[-2:], "little")
    tops = [_EFFECTS[8 * after + 7] for after in range(len(raw) - 2)]
    lost = chain.from_iterable(combinations(tops, count) for count in range(FLIPS + 1))
    return any(reduce(xor, effects, own) & 0x7F7F == found for effects in lost)


def _effects() -> tuple[int, ...]:
    """What turning over one bit does to a CRC: eight bits of the last byte, of the one before it, and so on."""
    zero = crc(bytes(2))
    found = [crc(bytes([0, 1 << bit])) ^ zero for bit in range(8)]
    while len(found) < 8 * LONGEST:
        found += [_shifted(effect) for effect in found[-8:]]
    return tuple(found)


def _shifted(effect: int) -> int:
    """The effect of the same bit one byte earlier: one more byte of zeros behind it."""
    return effect >> 8 ^ crc(bytes([effect & 0xFF ^ 0xFF])) ^ 0xFF


_EFFECTS = _effects()
_TURNED = {effect: place for place, effect in enumerate(_EFFECTS)}
"""Which bit, counted from the end, a CRC that is not 0 says was turned over."""
