"""A simulated heat meter on M-Bus, written from EN 13757 and not from our own decoder.

It minds the frame count bit as the standard wants: the bit of last time is answered with the telegram of last time,
word for word; the other bit brings the next one of its two. It can be selected by its number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from simulator.truth import Served, TruthLog

SHORT, LONG, END, ACK = 0x10, 0x68, 0x16, b"\xe5"
REQ_UD2, SND_NKE, SND_UD, FRAME_COUNT = 0x5B, 0x40, 0x53, 0x20
ANYONE, SELECTED = 0xFE, 0xFD
SELECT = 0x52
HEAT, VERSION = 0x04, 0x28
MAKER = bytes.fromhex("2423")
MORE = b"\x1f"


class Thermal(Protocol):
    """What a heat meter sees of its pipe at one instant."""

    def energy(self, unit: str) -> int:
        """Heat in 0.01 of a unit."""

    def volume(self) -> int:
        """Volume in 0.01 m3."""

    def power(self) -> int:
        """Power in 0.01 kW."""

    def flow(self) -> int:
        """Flow in 0.0001 m3/h."""

    def supply(self) -> int:
        """Supply temperature in 0.01 °C."""

    def back(self) -> int:
        """Return temperature in 0.01 °C."""

    def hours(self) -> int:
        """Hours in operation."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: DIF (BCD of four, three or two bytes) and VIF, decimals in the unit of the truth, its source."""

    dif: int
    vif: int
    decimals: int
    raw: Callable[[Thermal], int]

    def encode(self, raw: int) -> bytes:
        """DIF, VIF and the digits, low byte first; cut to the digits there are, as a register rolls over."""
        width = {0x0A: 2, 0x0B: 3, 0x0C: 4}[self.dif]
        digits = bytes.fromhex(f"{raw % 100**width:0{2 * width}d}")
        return bytes([self.dif, self.vif]) + digits[::-1]

    def served(self, raw: int) -> Served:
        """The number as the truth log has it."""
        return Served(f"{self.dif:02X}{self.vif:02X}", raw, f"{Decimal(raw).scaleb(-self.decimals):f}")


TELEGRAMS = (
    (
        Record(0x0C, 0x04, 2, lambda seen: seen.energy("kWh")),
        Record(0x0C, 0x14, 2, lambda seen: seen.volume()),
    ),
    (
        Record(0x0B, 0x2C, 2, lambda seen: seen.power()),
        Record(0x0C, 0x3A, 4, lambda seen: seen.flow()),
        Record(0x0A, 0x59, 2, lambda seen: seen.supply()),
        Record(0x0A, 0x5D, 2, lambda seen: seen.back()),
        Record(0x0B, 0x26, 0, lambda seen: seen.hours()),
    ),
)
"""What it says, and that it says it in two parts: energy in 10 Wh and volume in 10 L first."""


class MbusMeter:
    """A heat meter at a primary address (0 to 250), with its number of eight digits."""

    def __init__(self, device: str, address: int, number: str, seen: Callable[[int], Thermal], truth: TruthLog) -> None:
        self.device = device
        self.status = 0
        """Bit 2: battery low, 3: permanent error, 4: temporary error."""
        self._address, self._number = address, bytes.fromhex(number)[::-1]
        self._seen, self._truth = seen, truth
        self._bit: int | None = None
        self._next = 0
        self._said = b""
        self._access = 0
        self._selected = False

    def hear(self, burst: bytes, utc_ms: int) -> list[bytes]:
        """What it says to what came between two silences: nothing to a frame that is not sound or not for it."""
        if len(burst) == 5 and burst[0] == SHORT and burst[4] == END and sum(burst[1:3]) & 0xFF == burst[3]:
            return self._short(burst[1], burst[2], utc_ms)
        if len(burst) == 17 and burst[:4] == bytes([LONG, 11, 11, LONG]) and sum(burst[4:-2]) & 0xFF == burst[-2]:
            return self._select(burst[4], burst[5], burst[6], burst[7:15])
        return []

    def _short(self, control: int, address: int, utc_ms: int) -> list[bytes]:
        if address not in (self._address, ANYONE) and not (address == SELECTED and self._selected):
            return []
        if control == SND_NKE:
            self._bit, self._next, self._selected = None, 0, self._selected and address != SELECTED
            return [ACK]
        if control & ~FRAME_COUNT != REQ_UD2:
            return []
        if control & FRAME_COUNT == self._bit:
            return [self._said]
        self._bit = control & FRAME_COUNT
        self._said = self._telegram(utc_ms)
        return [self._said]

    def _select(self, control: int, address: int, information: int, wanted: bytes) -> list[bytes]:
        """A selection of its number selects it, one of another number lets it go."""
        if control & ~FRAME_COUNT != SND_UD or address != SELECTED or information != SELECT:
            return []
        own = self._number + MAKER + bytes([VERSION, HEAT])
        self._selected = all(asked in (0xFF, held) for asked, held in zip(wanted, own, strict=True))
        return [ACK] if self._selected else []

    def _telegram(self, utc_ms: int) -> bytes:
        """The next of its telegrams; all but the last say that more follows."""
        part, self._next = self._next, (self._next + 1) % len(TELEGRAMS)
        seen = self._seen(utc_ms)
        raws = [record.raw(seen) for record in TELEGRAMS[part]]
        numbers = list(zip(TELEGRAMS[part], raws, strict=True))
        self._truth.add(utc_ms, self.device, [record.served(raw) for record, raw in numbers])
        self._access = (self._access + 1) % 256
        header = self._number + MAKER + bytes([VERSION, HEAT, self._access, self.status, 0, 0])
        data = header + b"".join(record.encode(raw) for record, raw in numbers) + (MORE if self._next else b"")
        body = bytes([0x08, self._address, 0x72]) + data
        return bytes([LONG, len(body), len(body), LONG]) + body + bytes([sum(body) & 0xFF, END])
