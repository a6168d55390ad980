"""What Modbus registers hold: the types and word orders met in the field, and the number in the bytes of a reply.

A type is its coding and its bits: ``u`` unsigned, ``i`` two's complement, ``f`` IEEE 754, ``bcd`` decimal digits, four
bits each, ``sm`` sign and magnitude (the top bit is the sign), ``mod10k`` words of four decimal digits each, as
Schneider's older PowerLogic meters count (FAQ FA212766: -9999 to 9999 in a word, the first word the least: order CDAB).
An order says where the bytes of a number ABCD lie: ``ABCD`` highest first; ``CDAB`` low word first; ``BADC`` bytes
swapped in each word; ``DCBA`` lowest first. It means the same for two, three and four words.
"""

from decimal import Decimal
from math import isfinite
from struct import pack, unpack
from typing import Literal

from protocols.errors import Impossible
from protocols.recogniser import quote

Type = Literal[
    "bit", "u16", "i16", "u32", "i32", "u48", "i48", "u64", "i64", "f32", "f64",
    "bcd16", "bcd32", "bcd48", "bcd64", "sm16", "sm32", "sm64", "mod10k32", "mod10k48", "mod10k64",
]  # fmt: skip
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]

REGISTERS: dict[str, int] = {
    "bit": 1,
    **{f"{coding}16": 1 for coding in ("u", "i", "bcd", "sm")},
    **{f"{coding}32": 2 for coding in ("u", "i", "f", "bcd", "sm", "mod10k")},
    **{f"{coding}48": 3 for coding in ("u", "i", "bcd", "mod10k")},
    **{f"{coding}64": 4 for coding in ("u", "i", "f", "bcd", "sm", "mod10k")},
}
"""How many addresses a type takes."""

WORD = 10_000
"""What one word of mod10k counts up to."""


def coding(kind: str) -> str:
    """How a type is coded: its name without its bits (``mod10k48``: ``mod10k``)."""
    return kind if kind == "bit" else kind[:-2]


def ordered(field: bytes, order: str) -> bytes:
    """A field's bytes, most significant first; what it does it also undoes."""
    if order == "ABCD":
        return field
    words = [field[at : at + 2] for at in range(0, len(field), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return b"".join(words)


def number(field: bytes, kind: str) -> int | Decimal | None:
    """The number in bytes most significant first: int, or the IEEE number exactly.

    None for NaN, infinity, and decimal digits filled with F; Impossible for a digit above 9, a word above 9999.
    """
    match coding(kind):
        case "f":
            (real,) = unpack(">f" if kind == "f32" else ">d", field)
            return Decimal(real) if isfinite(real) else None
        case "bcd":
            return _digits(field)
        case "sm":
            return _signed_magnitude(field)
        case "mod10k":
            return _thousands(field)
        case other:
            return int.from_bytes(field, signed=other == "i")


def field(value: int | float, kind: str) -> bytes:
    """The bytes that hold a raw number, most significant first: what ``number`` reads; OverflowError."""
    size = 2 * REGISTERS[kind]
    how = coding(kind)
    if how == "f":
        return pack(">f" if kind == "f32" else ">d", value)
    whole, digits = int(value), f"{abs(int(value)):0{2 * size}d}"
    if whole > most(kind) or whole < {"u": 0, "bcd": 0, "i": -most(kind) - 1}.get(how, -most(kind)):
        raise OverflowError(f"{whole} does not fit {kind}")
    if how == "bcd":
        return bytes.fromhex(digits)
    if how == "mod10k":
        sign = -1 if whole < 0 else 1
        return b"".join(pack(">h", sign * int(digits[at : at + 4])) for at in range(0, 2 * size, 4))
    if how == "sm":
        return abs(whole).to_bytes(size) if whole >= 0 else ((1 << 8 * size - 1) - whole).to_bytes(size)
    return whole.to_bytes(size, signed=how == "i")


def most(kind: str) -> int:
    """The greatest whole number of a type."""
    bits = 16 * REGISTERS[kind]
    match coding(kind):
        case "bcd" | "mod10k":
            return int(10 ** (bits // 4)) - 1
        case "u":
            return (1 << bits) - 1
        case _:
            return (1 << bits - 1) - 1


def _digits(field: bytes) -> int | None:
    if field.count(0xFF) == len(field):
        return None
    text = field.hex()
    if not text.isdecimal():
        raise Impossible(f"{quote(field)} is not BCD, expected digits 0 to 9")
    return int(text)


def _signed_magnitude(field: bytes) -> int:
    raw = int.from_bytes(field)
    sign = 1 << 8 * len(field) - 1
    return sign - raw if raw & sign else raw


def _thousands(field: bytes) -> int:
    total = 0
    for at in range(0, len(field), 2):
        word = int.from_bytes(field[at : at + 2], signed=True)
        if not -WORD < word < WORD:
            raise Impossible(f"{quote(field)}: word {word}, expected -9999 to 9999 (mod10k)")
        total = total * WORD + word
    return total
