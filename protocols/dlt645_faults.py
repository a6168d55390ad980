"""What is wrong with bytes that were meant to be a DL/T 645 frame: at which byte, what was expected, the likely cause.

Positions count from 0 in the bytes as they were given, noise and preamble included. Causes are message ids.
"""

from collections.abc import Callable

from protocols.dlt645_frame import END, OVERHEAD, PREAMBLE, START, decode
from protocols.errors import Damaged
from protocols.recogniser import quote

OFFSET = 0x33
HEAD = 10
"""Bytes from the first 68 to the length."""
_STRIPPED_PREAMBLE = bytes([PREAMBLE & 0x7F] * 2)


def diagnose(raw: bytes) -> Damaged:
    """Why there is no frame in these bytes."""
    start = header(raw)
    return _no_header(raw) if start is None else _framed(raw, start)


def header(raw: bytes) -> int | None:
    """Where the first 68 stands that has its second 68 seven bytes on."""
    return next((at for at in range(len(raw) - 7) if raw[at] == raw[at + 7] == START), None)


def seven_bits(raw: bytes) -> bool:
    """Whether the top bit of every byte was lost: FE came as 7E, and no byte is above 7F."""
    return _STRIPPED_PREAMBLE in raw and max(raw) < 0x80


def _framed(raw: bytes, start: int) -> Damaged:
    """What breaks the frame whose two 68 are in their places."""
    body = raw[start:]
    if body[8:9] == bytes([START]) and _sound(body[:8] + body[9:]):
        return _doubled(raw, start)
    if len(body) < OVERHEAD or len(body) < OVERHEAD + body[9]:
        return _short(raw, start)
    length = OVERHEAD + body[9]
    if body[length - 1] != END:
        return _no_end(raw, start)
    if sum(body[: length - 2]) & 0xFF != body[length - 2]:
        return _sum(raw, start)
    try:
        decode(body[:length])
    except Damaged as error:
        return Damaged(str(error), at=start + 1, found=body[1:7].hex(" ").upper(), expected="BCD", cause=_ADDRESS)
    return Damaged(
        f"{len(body) - length} bytes behind the frame: {quote(body[length:])}", at=start + length, cause=_TAIL
    )


def _no_header(raw: bytes) -> Damaged:
    """No pair of 68 seven bytes apart."""
    first = raw.find(START)
    if first < 0:
        cause = _SEVEN_BITS if raw and seven_bits(raw) else _NO_START
        return Damaged(
            f"{len(raw)} bytes without 68, expected a frame: {quote(raw)}",
            at=0,
            found=_at(raw, 0),
            expected="68",
            cause=cause,
        )
    place = first + 7
    shifted = [name for step, name in ((6, _LOST), (8, _EXTRA)) if raw[first + step : first + step + 1] == b"\x68"]
    otherwise = _TRUNCATED if place >= len(raw) else _ADDRESS_DAMAGED
    likeliest = _SEVEN_BITS if seven_bits(raw) else next(iter(shifted), otherwise)
    return Damaged(
        f"{_at(raw, place)} seven bytes behind the first 68, expected 68: {quote(raw)}",
        at=place,
        found=_at(raw, place),
        expected="68",
        cause=likeliest,
    )


def _short(raw: bytes, start: int) -> Damaged:
    """Fewer bytes than the length says: cut off, or a wrong length."""
    body = raw[start:]
    length = body[9] if len(body) > 9 else 0
    if len(body) >= OVERHEAD and (wrong := _wrong_length(raw, start, len(body))) is not None:
        return wrong
    message = f"{len(body)} bytes, expected {OVERHEAD + length}"
    message += f" for L={length:02X}" if len(body) > 9 else " at least from the first 68"
    cause = _SEVEN_BITS if seven_bits(raw) else _TRUNCATED
    return Damaged(
        f"{message}: {quote(raw)}", at=len(raw), found="-", expected=f"{OVERHEAD + length} bytes", cause=cause
    )


def _no_end(raw: bytes, start: int) -> Damaged:
    """The byte where the frame should end is no 16."""
    body = raw[start:]
    place = OVERHEAD + body[9] - 1
    for size in range(OVERHEAD, len(body) + 1):
        if body[size - 1] == END and (wrong := _wrong_length(raw, start, size)) is not None:
            return wrong
    cause = _END if sum(body[: place - 1]) & 0xFF == body[place - 1] else _LOST_OR_ADDED
    return Damaged(
        f"end byte {body[place]:02X}, expected 16: {quote(raw)}",
        at=start + place,
        found=_at(body, place),
        expected="16",
        cause=_SEVEN_BITS if seven_bits(raw) else cause,
    )


def _wrong_length(raw: bytes, start: int, size: int) -> Damaged | None:
    """The frame is whole when it is ``size`` bytes long, but its length says otherwise; None when it is not."""
    body = raw[start : start + size]
    right = size - OVERHEAD
    repaired = body[:9] + bytes([right]) + body[10:]
    summed = sum(body[:-2]) & 0xFF == body[-2]
    if body[-1] != END or not (summed or sum(repaired[:-2]) & 0xFF == body[-2]) or right > 0xFF or right == body[9]:
        return None
    return Damaged(
        f"L={body[9]:02X} before {right} data bytes, expected L={right:02X}: {quote(raw)}",
        at=start + 9,
        found=f"{body[9]:02X}",
        expected=f"{right:02X}",
        cause=_LENGTH_WRITTEN if summed else _LENGTH_DAMAGED,
    )


def _doubled(raw: bytes, start: int) -> Damaged:
    return Damaged(
        f"68 twice before the control byte: {quote(raw)}",
        at=start + 8,
        found="68",
        expected=_at(raw, start + 9),
        cause=_DOUBLED,
    )


def _sum(raw: bytes, start: int) -> Damaged:
    """The checksum is wrong: for the mistakes that are made, see what it would be."""
    body = raw[start:]
    place = HEAD + body[9]
    found, right = body[place], sum(body[:place]) & 0xFF
    data = body[HEAD:place]
    cause = _SEVEN_BITS if max(body[: place + 2]) < 0x80 and (found - right) & 0x7F == 0 else None
    if cause is None:
        cause = next((name for name, mistaken in _MISTAKES if found in mistaken(body[:place], data)), _NOISE)
    return Damaged(
        f"checksum {found:02X}, expected {right:02X}: {quote(raw)}",
        at=start + place,
        found=f"{found:02X}",
        expected=f"{right:02X}",
        cause=cause,
    )


def _plain_sum(body: bytes, data: bytes) -> set[int]:
    """Summed before 33H was added to the data."""
    return {(sum(body) - OFFSET * len(data)) & 0xFF} if data else set()


def _with_preamble(body: bytes, data: bytes) -> set[int]:
    return {(sum(body) + PREAMBLE * count) & 0xFF for count in range(1, 5)}


def _from_second_start(body: bytes, data: bytes) -> set[int]:
    """Summed from the address, or from the second 68 on."""
    return {sum(body[1:]) & 0xFF, sum(body[7:]) & 0xFF, sum(body[8:]) & 0xFF}


def _modulo_255(body: bytes, data: bytes) -> set[int]:
    """33H added modulo 255: data bytes from CC to FE come one too high, and lie below 33."""
    high = sum(byte < OFFSET for byte in data)
    return {sum(body) % 0xFF} | ({(sum(body) - high) & 0xFF} if high else set())


def _sound(body: bytes) -> bool:
    try:
        decode(body[: OVERHEAD + body[9]] if len(body) > 9 else body)
    except Damaged:
        return False
    return True


def _at(raw: bytes, place: int) -> str:
    return raw[place : place + 1].hex().upper() or "-"


_NO_START = "cause.dlt645.no_start"
_SEVEN_BITS = "cause.dlt645.seven_bits"
_LOST = "cause.dlt645.byte_lost"
_EXTRA = "cause.dlt645.byte_added"
_LOST_OR_ADDED = "cause.dlt645.lost_or_added"
_TRUNCATED = "cause.dlt645.truncated"
_ADDRESS_DAMAGED = "cause.dlt645.address_damaged"
_ADDRESS = "cause.dlt645.address_not_bcd"
_TAIL = "cause.dlt645.tail"
_END = "cause.dlt645.end"
_LENGTH_WRITTEN = "cause.dlt645.length_written"
_LENGTH_DAMAGED = "cause.dlt645.length_damaged"
_DOUBLED = "cause.dlt645.doubled_start"
_NOISE = "cause.dlt645.noise"
_MISTAKES: tuple[tuple[str, Callable[[bytes, bytes], set[int]]], ...] = (
    ("cause.dlt645.sum_without_33", _plain_sum),
    ("cause.dlt645.sum_with_preamble", _with_preamble),
    ("cause.dlt645.sum_from_second", _from_second_start),
    ("cause.dlt645.modulo_255", _modulo_255),
)
