"""CJ/T 188: what the answer to 901F holds: 19 bytes of a water or gas meter, 43 of a heat or cold meter."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from protocols.errors import Impossible
from protocols.recogniser import quote

Units = Literal["after", "before"]
"""Where a number's unit code stands: after it as in the standard, or before it as some makers have it."""

Quantity = Literal["energy", "power", "flow", "volume", "temperature", "time"]

TOTALS: Mapping[str, Quantity] = {"volume": "volume", "settlement_volume": "volume"}
THERMAL: Mapping[str, Quantity] = {
    "energy1": "energy",
    "energy2": "energy",
    "power": "power",
    "flow": "flow",
    "volume": "volume",
    "temp_supply": "temperature",
    "temp_return": "temperature",
    "hours": "time",
}
"""The numbers in the order they come. Which heat or cold ``energy1`` and ``energy2`` are differs by maker."""

LAYOUTS: Mapping[int, Mapping[str, Quantity]] = {19: TOTALS, 43: THERMAL}
"""By the bytes after identifier and serial number; clock (7) and status (2) follow the numbers."""

DECIMALS: Mapping[Quantity, int] = {"energy": 2, "power": 2, "flow": 4, "volume": 2, "temperature": 2, "time": 0}
"""Decimals that a number has without its dot. That a flow has 4 is unverified; makers with 2 are known."""

_PLAIN = ("temp_supply", "temp_return", "hours")
"""Three bytes and no unit code."""

SIGNED = ("power", "flow", "temp_supply", "temp_return")
"""Top bit as sign: seen in public code for the flow, unverified for the others."""

NINES = ("settlement_volume",)
"""Filled with 99 by some meters, as any number is with FF."""

_STATES = {"valve": (0, 6, 3), "battery_low": (2, 5, 1)}
"""In the first status byte: the lowest bit, the same where it is mirrored, and the mask above it."""

_CLOCK = re.compile(r"20[0-9]{12}")


@dataclass(frozen=True, slots=True)
class Number:
    """A number as sent: BCD, lowest byte first, and its unit code (None where there is none)."""

    name: str
    raw: bytes
    code: int | None

    @property
    def value(self) -> int | None:
        """The digits as a whole number; None where the meter filled the field. Impossible when they are not BCD."""
        if set(self.raw) == {0xFF} or (self.name in NINES and set(self.raw) == {0x99}):
            return None
        negative = self.name in SIGNED and self.raw[-1] & 0x80
        text = (self.raw[:-1] + bytes([self.raw[-1] & 0x7F]) if negative else self.raw)[::-1].hex()
        if not text.isdecimal():
            raise Impossible(f"{self.name}: {quote(self.raw)} is not BCD")
        return -int(text) if negative else int(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to 901F taken apart; numbers by name, in the order they came."""

    numbers: Mapping[str, Number]
    clock: bytes
    status: bytes

    @classmethod
    def of(cls, data: bytes, units: Units = "after") -> "Answer":
        """Out of the data behind identifier and serial number; Impossible when it has neither of the two lengths."""
        layout = LAYOUTS.get(len(data))
        if layout is None:
            expected = " or ".join(f"{size + 3:02X} ({size + 3})" for size in LAYOUTS)
            raise Impossible(f"L={len(data) + 3:02X} ({len(data) + 3}), expected {expected} for 901F: {quote(data)}")
        numbers = {number.name: number for number in _numbers(data[:-9], layout, units)}
        return cls(numbers, data[-9:-2], data[-2:])

    @property
    def word(self) -> int:
        """The status as one number: the first byte is the low one."""
        return int.from_bytes(self.status, "little")

    def told_clock(self) -> datetime | None:
        """The meter's own local time; None where it has none. Sent seconds first, by some makers century first."""
        for digits in (self.clock[::-1].hex(), self.clock.hex()):
            if _CLOCK.fullmatch(digits):
                with suppress(ValueError):
                    return datetime.strptime(digits, "%Y%m%d%H%M%S")
        return None


def state_bits(name: str, mirrored: bool) -> tuple[int, int]:
    """Of ``valve`` and ``battery_low``: by how much the first status byte is shifted for it, and its mask."""
    plain, turned, mask = _STATES[name]
    return turned if mirrored else plain, mask


def valve(status: bytes, mirrored: bool) -> int:
    """The valve in a status: 0 open, 1 closed, 3 abnormal. ``mirrored``: in the top bits of the first byte."""
    return _state("valve", status, mirrored)


def battery_low(status: bytes, mirrored: bool) -> int:
    """1 when the meter says that its battery is low: bit 2 of the first status byte, or bit 5 where mirrored."""
    return _state("battery_low", status, mirrored)


def _state(name: str, status: bytes, mirrored: bool) -> int:
    shift, mask = state_bits(name, mirrored)
    return status[0] >> shift & mask


def spots(layout: Mapping[str, Quantity], units: Units) -> Iterator[tuple[str, slice, int | None]]:
    """Where each number and its unit code stand in the data behind the serial number."""
    at = 0
    for name in layout:
        if name in _PLAIN:
            yield name, slice(at, at + 3), None
            at += 3
        else:
            yield name, *((slice(at + 1, at + 5), at) if units == "before" else (slice(at, at + 4), at + 4))
            at += 5


def _numbers(data: bytes, layout: Mapping[str, Quantity], units: Units) -> Iterator[Number]:
    for name, number, code in spots(layout, units):
        yield Number(name, data[number], None if code is None else data[code])
