"""How long an exchange occupies a serial bus, as whole numbers, so that equal times compare equal.

T = (8 + 5 + 2n) c + 2 s + turnaround for n registers over Modbus RTU (coils: 5 + ceil(n / 8)), c one character, s the
silence of 3.5 characters, fixed at 1.75 ms above 19200 baud. The other protocols have no silence of their own: all
characters and the device's delay. A model that must rest longer before it is asked again rests instead of the first s.
"""

import re
from dataclasses import dataclass

FASTEST_BY_CHARACTERS = 19_200
"""Up to this rate the silence is counted in characters (Modbus over serial line 1.02, 2.5.1.1)."""
PREAMBLE = 4
"""FE bytes before a DL/T 645 frame; a meter may send fewer."""
DLT645_FRAME = 16
"""Bytes of a DL/T 645 frame with its data identifier, without preamble and data."""


@dataclass(frozen=True, slots=True)
class Line:
    """A serial line. Its times are counted in ticks: 4,000,000 x baud of them are a second."""

    baud: int
    bits: int = 11

    @classmethod
    def of(cls, mode: str) -> "Line":
        """The line of a mode like ``9600-8E1``; ValueError."""
        match = re.fullmatch(r"([1-9][0-9]{2,6})-([78])([NEO])([12])", mode)
        if match is None:
            raise ValueError(f"found {mode!r}, expected a mode like 9600-8E1")
        return cls(int(match[1]), 1 + int(match[2]) + (match[3] != "N") + int(match[4]))

    @property
    def character(self) -> int:
        """One character: start, data, parity and stop bits."""
        return 4_000_000 * self.bits

    @property
    def silence(self) -> int:
        """What parts two frames: 3.5 characters, or 1.75 ms."""
        return 14_000_000 * self.bits if self.baud <= FASTEST_BY_CHARACTERS else 7_000 * self.baud

    def ticks(self, ms: float) -> int:
        """A time in ms, to the microsecond."""
        return round(ms * 1000) * 4 * self.baud

    def ms(self, ticks: int) -> float:
        """Ticks in ms."""
        return ticks / (4000 * self.baud)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a device talks on a line: how long it takes to answer, and how long it must rest, both in ms."""

    line: Line
    turnaround_ms: float
    guard_ms: float = 0

    def modbus(self, function: int, count: int) -> int:
        """Ticks of one read of ``count`` coils (functions 1, 2) or registers over RTU."""
        data = -(-count // 8) if function <= 2 else 2 * count
        line = self.line
        rest = max(line.silence, line.ticks(self.guard_ms))
        return (8 + 5 + data) * line.character + rest + line.silence + line.ticks(self.turnaround_ms)

    def dlt645(self, data: int) -> int:
        """Ticks of one DL/T 645 read of ``data`` bytes: both frames with four FE and the identifier."""
        return self.exchange(PREAMBLE + DLT645_FRAME, PREAMBLE + DLT645_FRAME + data)

    def exchange(self, asked: int, answered: int) -> int:
        """Ticks of ``asked`` bytes, the delay, ``answered`` bytes, and the rest."""
        line = self.line
        return (asked + answered) * line.character + line.ticks(self.turnaround_ms) + line.ticks(self.guard_ms)
