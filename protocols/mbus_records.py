"""M-Bus (EN 13757-3), what a telegram says: its header, and records of a value with what it is.

The records are taken apart by pyMeterBus, which also knows what a VIF means; numbers are made here, from the bytes of a
record, because the library makes floats of them. Loaded only where an M-Bus meter is.
"""

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache
from math import isfinite
from typing import Any, TypeAlias

import msgspec
from meterbus import TelegramLong
from meterbus.core_objects import MeasureUnit, VIFTable
from meterbus.exceptions import MBusFrameDecodeError

from protocols.errors import Impossible, Refused
from protocols.mbus import Frame
from protocols.recogniser import quote

EXACT = Context(prec=400)
"""Wide enough for any number of a record: never rounds."""

KEPT = 64
"""Telegrams remembered: after each frame of an answer it is asked what follows, and then all are read once more."""
SHAPES = 8
"""Of telegrams of one length that are remembered."""
SHAPES_BYTES = 1 << 15
"""Of telegrams whose shapes are remembered, before all are dropped: enough for some hundred models. A shape takes up to
150 times its telegram: 5 MiB at most.
"""
BEFORE_DATA = 7
"""Bytes of a long frame before its data: 68 L L 68 C A CI (EN 13757-2)."""
HEADER, SIGNATURE = 12, 10
"""Bytes of the header; where the last two of them begin, which say how the records are encrypted."""
VERSION, MEDIUM, ACCESS, STATUS = 6, 7, 8, 9
"""Where these stand in the header."""

LOW_FIRST, HIGH_FIRST = 0x72, 0x76
"""CI of data in records with a header, low or high byte first."""
FIXED = (0x73, 0x77)
ERROR_REPORT = 0x70

FUNCTIONS = ("instantaneous", "maximum", "minimum", "error")
"""Bits 4 and 5 of a DIF: what kind of value it is; error: the value while there was one."""

FIRST_TABLE, SECOND_TABLE, TEXT = 0xFB, 0xFD, 0x7C

REAL, VARIABLE = 5, 13
INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 7: 8}
BCD = {9: 1, 10: 2, 11: 3, 12: 4, 14: 6}
"""Low half of a DIF: how many bytes."""

REPORTS = {
    0: "unspecified",
    1: "unknown CI",
    2: "buffer too long",
    3: "too many records",
    4: "premature end of record",
    5: "more than ten DIFE",
    6: "more than ten VIFE",
    8: "application too busy",
    9: "too many readouts",
}
"""What a meter may report instead of data."""

NAMES = {
    "energy_wh": "energy",
    "energy_j": "energy",
    "power_w": "power",
    "power_j_h": "power",
    "volume_flow_ext": "volume_flow",
    "volume_flow_ext_s": "volume_flow",
    "fabrication_no": "fabrication_number",
}
"""Quantities by the library's names, where ours are others."""

UNITS = {"m^3": "m3", "m^3/h": "m3/h", "m^3/min": "m3/min", "m^3/s": "m3/s", "C": "°C", "none": "", "seconds": "s"}
CORRECTIONS = {0x208: "J", 0x209: "J", 0x230: "J/h", 0x231: "J/h"}
"""Units that the library (0.8.5) does not have: energy in GJ, power in GJ/h, of the table behind FB."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One value of a telegram. ``key``: the hex of its DIF, VIF and their extensions, as a profile names it.

    ``name`` and ``unit``: what its VIF says, empty where it says nothing known; ``data``: low byte first.
    """

    key: str
    function: str
    storage: int
    tariff: int
    subunit: int
    name: str
    unit: str
    multiplier: Decimal
    plain: bool
    coding: int
    data: bytes

    def number(self) -> Decimal | None:
        """The value in ``unit``, every digit of it; None when the meter says that it has none, or it is no number."""
        raw = self.mantissa()
        return None if raw is None else EXACT.multiply(raw, self.multiplier)

    def text(self) -> str:
        """A value that is no number: text, a date (YYYY-MM-DD), a date and time, or the bytes."""
        if self.coding == VARIABLE and all(32 <= byte < 127 for byte in self.data):
            return self.data[::-1].decode("ascii")
        if self.unit == "date" and len(self.data) == 2:
            return _date(self.data)
        if self.unit == "date time" and len(self.data) == 4:
            return f"{_date(self.data[2:])} {self.data[1] & 0x1F:02d}:{self.data[0] & 0x3F:02d}"
        return self.data[::-1].hex().upper()

    @property
    def numeric(self) -> bool:
        """Whether it is a number, be it none just now."""
        dated = self.unit.startswith(("date", "time"))
        return not dated and (self.coding == REAL or self.coding in INTEGERS or self.coding in BCD)

    @property
    def real(self) -> bool:
        """Whether it is an IEEE number."""
        return self.coding == REAL

    def mantissa(self) -> int | Decimal | None:
        """The number as it stands in the record, before its multiplier; None when there is none."""
        if not self.numeric:
            return None
        if self.real:
            (real,) = struct.unpack("<f", self.data)
            return Decimal(real) if isfinite(real) else None
        return _bcd(self.data) if self.coding in BCD else _integer(self.data)


@dataclass(frozen=True, slots=True)
class Telegram:
    """What one frame says. ``identification``: the meter's number; ``status``: bit 2 power low, 3 and 4 an error."""

    identification: str
    manufacturer: str
    version: int
    medium: int
    access: int
    status: int
    records: tuple[Record, ...]
    more: bool
    makers: bytes


Meaning: TypeAlias = tuple[str, str, int, int, int, str, str, Decimal, bool, int]
"""Of a record all but its data."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What telegrams have in common that differ only in their headers and in the data of their records.

    ``fixed``: the bytes that are the same in all, as one number, and ``mask``: which bits these are. ``meanings``: of
    each record, and ``places``: where its data stand, backwards where the high byte comes first.
    """

    mask: int
    fixed: int
    meanings: tuple[Meaning, ...]
    places: tuple[slice, ...]
    makers: slice
    more: bool
    identification: slice
    manufacturer: slice

    def telegram(self, data: bytes) -> Telegram | None:
        """What these bytes say; None when they have another shape."""
        if int.from_bytes(data) & self.mask != self.fixed:
            return None
        pairs = zip(self.meanings, self.places, strict=True)
        return Telegram(
            data[self.identification].hex().upper(),
            _letters(data[self.manufacturer]),
            data[VERSION],
            data[MEDIUM],
            data[ACCESS],
            data[STATUS],
            tuple([Record(*meaning, data[place]) for meaning, place in pairs]),
            self.more,
            data[self.makers],
        )


class Shapes:
    """The newest shapes of telegrams, of each kind and length by themselves: to take a telegram apart takes the library
    up to two milliseconds, and those of a meter are all alike.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], deque[Shape]] = {}
        self._bytes = 0

    def telegram(self, frame: Frame) -> Telegram | None:
        """What a frame says; None when it has none of these shapes."""
        for shape in tuple(self._known.get((frame.information, len(frame.data)), ())):
            if (known := shape.telegram(frame.data)) is not None:
                return known
        return None

    def keep(self, frame: Frame, shape: Shape) -> None:
        """Remember the shape of this frame; one that is pushed out by it still counts until all are dropped."""
        self._bytes += len(frame.data)
        if self._bytes > SHAPES_BYTES:
            self._known, self._bytes = {}, len(frame.data)
        self._known.setdefault((frame.information, len(frame.data)), deque(maxlen=SHAPES)).appendleft(shape)


_shapes = Shapes()


class Placed(int):
    """A byte of a frame's data that knows where it stands: so does all that the library cuts out of them."""

    at: int

    @classmethod
    def all_of(cls, raw: bytes, before: int) -> list["Placed"]:
        """The bytes of a frame, of which so many come before its data."""
        placed = [cls(byte) for byte in raw]
        for index, byte in enumerate(placed):
            byte.at = index - before
        return placed


@lru_cache(KEPT)
def telegram(frame: Frame) -> Telegram:
    """The telegram in a frame; Refused for a meter's error report, Impossible for what is no data in records, for a
    record that is cut off and for a telegram that is encrypted.
    """
    if frame.information == ERROR_REPORT:
        code = frame.data[0] if frame.data else 0
        raise Refused(f"meter {frame.address} reports an error: {REPORTS.get(code, f'code {code}')}", code)
    if frame.information in FIXED:
        raise Impossible(f"CI {frame.information:02X}: fixed data structure, expected records (CI 72)")
    if frame.information not in (LOW_FIRST, HIGH_FIRST):
        raise Impossible(f"CI {frame.information:02X}, expected 72 or 76: data in records")
    if len(frame.data) < HEADER:
        raise Impossible(f"{len(frame.data)} bytes {quote(frame.data)}, expected a header of {HEADER}")
    if (known := _shapes.telegram(frame)) is not None:
        return known
    shape = _shape(_taken_apart(frame), frame)
    _shapes.keep(frame, shape)
    found = shape.telegram(frame.data)
    assert found is not None, "it has its own shape"
    return found


def _taken_apart(frame: Frame) -> Any:
    """The library's view of a frame; Impossible when it has none."""
    try:
        held = TelegramLong(Placed.all_of(frame.to_bytes(), BEFORE_DATA))
        held.body.bodyPayload._parent = None  # a cycle: a thousand objects wait for a search that takes up to 0.1 s
        return held
    except (MBusFrameDecodeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise Impossible(f"records that do not fit the telegram ({error}): {quote(frame.data)}") from error


def _shape(held: Any, frame: Frame) -> Shape:
    header = held.body.bodyHeader
    if header.sig_field.parts[1] & 0x1F:
        raise Impossible(f"encrypted telegram (mode {header.sig_field.parts[1] & 0x1F}), expected plain records")
    makers: Sequence[Placed] = next(
        (rec.dataField.parts for rec in held.records if rec.dib.is_manufacturer_specific), ()
    )
    records = [rec for rec in held.records if not rec.dib.is_eoud]
    meanings = tuple([_meant(rec, frame) for rec in records])
    free = set(range(SIGNATURE)) | {byte.at for rec in held.records for byte in rec.dataField.parts}
    mask = int.from_bytes(bytes([0 if at in free else 0xFF for at in range(len(frame.data))]))
    return Shape(
        mask,
        int.from_bytes(frame.data) & mask,
        meanings,
        tuple([_place(rec.dataField.parts) for rec in records]),
        _place(makers),
        any(rec.more_records_follow for rec in held.records),
        _place(header.id_nr),
        _place(header.manufacturer_field.parts),
    )


def _place(parts: Sequence[Placed]) -> slice:
    """Where bytes that the library has cut out stand; backwards where it has turned them round."""
    if not parts:
        return slice(0)
    first, last = parts[0].at, parts[-1].at
    return slice(first, last + 1) if first <= last else slice(first, last - 1 if last else None, -1)


def _letters(parts: bytes) -> str:
    """The three letters of a manufacturer, five bits each."""
    packed = parts[0] | parts[1] << 8
    return "".join(chr((packed >> shift & 0x1F) + 64) for shift in (10, 5, 0))


def _meant(rec: Any, frame: Frame) -> Meaning:
    """What a record is of; Impossible for one that is cut off."""
    coding = rec.dib.parts[0] & 0x0F
    size = (INTEGERS | BCD | {REAL: 4}).get(coding)
    if not rec.vib.parts or (size is not None and len(rec.dataField.parts) != size):
        raise Impossible(f"a record that is cut off, expected {size} bytes of value: {quote(frame.data)}")
    storage, tariff, subunit = rec.dib.parse_dife()
    name, unit, multiplier = _meaning(rec.vib.parts)
    custom = bytes(rec.vib.customVIF.parts)
    return (
        _key(rec.dib.parts, rec.vib.parts, custom),
        FUNCTIONS[rec.dib.parts[0] >> 4 & 3],
        storage,
        tariff or 0,
        subunit or 0,
        name,
        unit or custom[::-1].decode("ascii", "replace"),
        multiplier,
        _plain(rec.vib.parts),
        coding,
    )


def _key(dib: list[int], vib: list[int], custom: bytes) -> str:
    length = bytes([len(custom)]) if custom else b""
    return (bytes(dib) + bytes(vib[:1]) + length + custom + bytes(vib[1:])).hex().upper()


def _plain(vib: list[int]) -> bool:
    """Whether nothing changes what the VIF says."""
    return len(vib) == (2 if vib[0] in (FIRST_TABLE, SECOND_TABLE) else 1)


def _meaning(vib: list[int]) -> tuple[str, str, Decimal]:
    """Quantity, unit and multiplier of a VIF with its extensions; no name where a table has none."""
    first = vib[0]
    if first & 0x7F == TEXT:
        return "text", "", _correction(vib[1:])
    table = {FIRST_TABLE: 0x200, SECOND_TABLE: 0x100}.get(first)
    if table is not None and len(vib) < 2:
        return "", "", Decimal(1)
    code = first & 0x7F if table is None else table | vib[1] & 0x7F
    multiplier, unit, kind = VIFTable.lut.get(code, (1.0, "", ""))
    name = getattr(kind, "name", str(kind)).lower().replace(" ", "_")
    said = unit.value if isinstance(unit, MeasureUnit) else str(unit)
    said = CORRECTIONS.get(code, "" if said == "Reserved" else said)
    scale = EXACT.multiply(_power(multiplier), _correction(vib[1 if table is None else 2 :]))
    return NAMES.get(name, name), UNITS.get(said, said), scale


def _power(multiplier: float) -> Decimal:
    """The library's multipliers are powers of ten, or seconds: as decimals, without a point where they are whole."""
    return Decimal(int(multiplier)) if multiplier == int(multiplier) else Decimal(str(multiplier))


def _correction(extensions: list[int]) -> Decimal:
    """What multiplicative corrections (E111 0nnn: 10^(nnn-6), E111 1101: 1000) make of a value."""
    factor = Decimal(1)
    for code in (extension & 0x7F for extension in extensions):
        if 0x70 <= code <= 0x77:
            factor = factor.scaleb((code & 7) - 6)
        elif code == 0x7D:
            factor = factor.scaleb(3)
    return factor


def _bcd(data: bytes) -> int | None:
    """Decimal digits, low byte first; F in front is a minus. None for any other digit above 9: the meter has none."""
    text = data[::-1].hex()
    digits, sign = (text[1:], -1) if text[0] == "f" else (text, 1)
    return sign * int(digits) if digits.isdecimal() else None


def _integer(data: bytes) -> int | None:
    """Two's complement, low byte first; the lowest number stands for none (EN 13757-3, type B; not seen on a meter)."""
    number = int.from_bytes(data, "little", signed=True)
    return None if number == -(1 << 8 * len(data) - 1) and len(data) > 1 else number


def _date(data: bytes) -> str:
    """Type G: day in bits 0-4 of the first byte, month in bits 0-3 of the second, the year in what is left."""
    year = data[0] >> 5 | data[1] >> 4 << 3
    return f"{2000 + year if year < 81 else 1900 + year}-{data[1] & 0x0F:02d}-{data[0] & 0x1F:02d}"
