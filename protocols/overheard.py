"""Whole frames of whatever protocol among bytes that nobody expected: who is talking on this line?

Modbus RTU by its CRC, DL/T 645 and CJ/T 188 by their 68 … 16 and checksum. Only reads and writes of single or many
coils and registers are known of Modbus: what another master would ask a meter.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from protocols import cjt188, dlt645_frame, modbus
from protocols.errors import Damaged

READS, WRITES_ONE, WRITES_MANY = (1, 2, 3, 4), (5, 6), (15, 16)
FROM_METER = 0x80
"""Bit of the control byte of DL/T 645 and CJ/T 188."""
SHORTEST = 5


@dataclass(frozen=True, slots=True)
class Overheard:
    """A frame, whether it asks (a master's) or answers (a meter's), and the address in it as text."""

    raw: bytes
    asks: bool
    who: str


def overheard(data: bytes) -> list[Overheard]:
    """The valid frames in these bytes, in their order; an empty list for noise."""
    found: list[Overheard] = []
    at = 0
    while at <= len(data) - SHORTEST:
        frame = _modbus(data[at:]) or _framed(data[at:])
        if frame is not None:
            found.append(frame)
        at += len(frame.raw) if frame is not None else 1
    return found


def _modbus(data: bytes) -> Overheard | None:
    """The Modbus frame at the head of these bytes."""
    unit, function, third = data[:3]
    for length, asks in _lengths(data, function, third):
        if length <= len(data) and not modbus.crc(data[:length]):
            return Overheard(data[:length], asks, str(unit))
    return None


def _lengths(data: bytes, function: int, third: int) -> Iterator[tuple[int, bool]]:
    """How long a frame with this head may be, and whether it then asks; three coil bytes are taken for a reply."""
    if function in READS:
        if third and (function <= READS[1] or third % 2 == 0):
            yield 5 + third, False
        yield 8, True
    elif function in WRITES_ONE:
        yield 8, True
    elif function in WRITES_MANY:
        yield 8, False
        if len(data) > 6:
            yield 9 + data[6], True
    elif function & ~FROM_METER in (*READS, *WRITES_ONE, *WRITES_MANY) and third in modbus.EXCEPTIONS:
        yield 5, False


def _framed(data: bytes) -> Overheard | None:
    """The 68 frame at the head of these bytes."""
    if data[0] != dlt645_frame.START or len(data) < dlt645_frame.OVERHEAD:
        return None
    try:
        if data[7] == dlt645_frame.START:
            raw = data[: dlt645_frame.OVERHEAD + data[9]]
            frame: dlt645_frame.Frame | cjt188.Frame = dlt645_frame.decode(raw)
        else:
            raw = data[: cjt188.OVERHEAD + data[10]]
            frame = cjt188.decode(raw)
    except Damaged:
        return None
    return Overheard(raw, not frame.control & FROM_METER, frame.address)
