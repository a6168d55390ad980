"""DL/T 645, the numbers: BCD, lowest byte first, and what a meter writes where it has none."""

from decimal import Decimal

from protocols.errors import Impossible
from protocols.recogniser import quote

FILLS = (0xFF, 0xEE)
"""Bytes that fill a field without a value. EE: unverified, seen in descriptions of meters, in no capture."""


def value(field: bytes, digits: str, signed: bool) -> Decimal | None:
    """The number in a field, lowest byte first, in the form of the standard (``XXXXXX.XX``); None when it is filled.

    ``signed``: the top bit is the sign, else it is part of the highest digit. Impossible when the width is not that of
    the form or a digit is above 9.
    """
    width = len(digits.replace(".", "")) // 2
    if len(field) != width:
        raise Impossible(f"{len(field)} bytes {quote(field)}, expected {width} for {digits}")
    if filled(field):
        return None
    negative = signed and field[-1] & 0x80
    text = (field[:-1] + bytes([field[-1] & 0x7F]) if negative else field)[::-1].hex()
    if not text.isdecimal():
        raise Impossible(f"{quote(field)} is not BCD, expected {digits}{' with sign' if signed else ''}")
    number = -int(text) if negative else int(text)
    return Decimal(number).scaleb(-len(digits.partition(".")[2]))


def filled(field: bytes) -> bool:
    """Whether a meter says by its fill that it has no such value."""
    return bool(field) and any(field == bytes([fill]) * len(field) for fill in FILLS)
