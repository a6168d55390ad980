"""What is wrong with bytes that hold no CJ/T 188 frame: where, what was found and expected, and the likely cause."""

from protocols import cjt188
from protocols.errors import Damaged
from protocols.recogniser import quote

KINDS = (*range(0x10, 0x14), *range(0x20, 0x2A), *range(0x30, 0x3A), *range(0x40, 0x4A), cjt188.ANY_TYPE)
"""Meter types there are: water, heat and cold, gas, others, any."""
CONTROLS = frozenset(
    base | flags for base in (0x01, 0x03, 0x04, 0x09, 0x15, 0x16) for flags in (0x00, 0x80, 0xA0, 0xC0)
)


def begins(raw: bytes) -> list[int]:
    """Where a 68 stands that a meter type and, ten bytes on, a control byte and a length follow."""
    return [
        at
        for at in range(len(raw) - 10)
        if raw[at] == cjt188.START and raw[at + 1] in KINDS and raw[at + 9] in CONTROLS
    ]


def damage(raw: bytes) -> Damaged:
    """What keeps these bytes from being a frame, told of the likeliest beginning in them."""
    starts = begins(raw)
    if not starts:
        return _headless(raw)
    found = [_at(raw, start) for start in starts]
    return max(found, key=lambda told: told[0])[1]


def _headless(raw: bytes) -> Damaged:
    if cjt188.START not in raw:
        cause = "cause.cjt188.no_start"
        return Damaged(f"no 68 in {quote(raw)}", at=0, found=raw[:1].hex().upper(), expected="68", cause=cause)
    start = raw.index(cjt188.START)
    if len(raw) - start <= 10:
        return _short(raw, start, cjt188.OVERHEAD)
    at, expected = start + 1, "a meter type (10 to 13, 20 to 29, 30 to 39, AA)"
    if raw[at] in KINDS:
        at, expected = start + 9, "a control byte (01, 81, C1, 03, 83, …)"
    message = f"byte {at} is {raw[at]:02X}, expected {expected}: {quote(raw)}"
    found = f"{raw[at]:02X}"
    return Damaged(message, at=at, found=found, expected=expected, cause="cause.cjt188.header")


def _at(raw: bytes, start: int) -> tuple[int, Damaged]:
    """The damage of a frame that begins here, and how much of it is in order: the end byte counts for more."""
    size = cjt188.OVERHEAD + raw[start + 10]
    frame = raw[start : start + size]
    if len(frame) < size:
        return 0, _short(raw, start, size)
    total, said = sum(frame[:-2]) & 0xFF, frame[-2]
    if frame[-1] != cjt188.END:
        return 1, _end(raw, start, size)
    message = f"checksum {said:02X}, expected {total:02X}: {quote(frame)}"
    cause = _sum_cause(frame, total)
    at = start + size - 2
    return 2, Damaged(message, at=at, found=f"{said:02X}", expected=f"{total:02X}", cause=cause)


def _short(raw: bytes, start: int, size: int) -> Damaged:
    message = f"{len(raw) - start} bytes from the 68 on, expected {size}: {quote(raw)}"
    found, expected = f"{len(raw) - start} bytes", f"{size} bytes"
    return Damaged(message, at=len(raw), found=found, expected=expected, cause="cause.cjt188.truncated")


def _end(raw: bytes, start: int, size: int) -> Damaged:
    """No 16 where the length says that it is: a length that fits the bytes there are, or bytes lost or added."""
    at, length = start + size - 1, raw[start + 10]
    tail = raw[start:]
    if tail[-1] == cjt188.END and sum(tail[:-2]) & 0xFF == tail[-2]:
        real = len(tail) - cjt188.OVERHEAD
        message = f"L={length:02X}, expected {real:02X} for the {len(tail)} bytes to the 16: {quote(tail)}"
        found, expected = f"{length:02X}", f"{real:02X}"
        return Damaged(message, at=start + 10, found=found, expected=expected, cause="cause.cjt188.length")
    message = f"end byte {raw[at]:02X}, expected 16 at byte {at} for L={length:02X}: {quote(tail)}"
    cause = "cause.cjt188.end" if sum(tail[: size - 2]) & 0xFF == tail[size - 2] else "cause.cjt188.lost_or_added"
    return Damaged(message, at=at, found=f"{raw[at]:02X}", expected="16", cause=cause)


def _sum_cause(frame: bytes, total: int) -> str:
    """Why the sum is wrong: the sender left something out of it or put something in, else a byte was damaged."""
    said = frame[-2]
    if said == (total - cjt188.START) & 0xFF:
        return "cause.cjt188.sum_without_start"
    if frame[1:9] == bytes.fromhex("1044332211003378") and said == 0x08 and total == 0x13:
        return "cause.cjt188.copied"
    return "cause.cjt188.checksum"
