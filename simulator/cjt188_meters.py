"""Simulated meters that speak CJ/T 188, written from the standard's tables and not from our own decoder.

Like many real ones each understands one order of the identifier's bytes only, and is silent to the other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from simulator.ear import END, START, Ear
from simulator.pipes import Seen
from simulator.truth import Served, TruthLog

FE = b"\xfe"
READ_DATA, READ_ADDRESS = 0x01, 0x03
COUNTED, OWN_ADDRESS = b"\x90\x1f", b"\x81\x0a"
"""Identifiers, high byte first."""
KWH, GJ, KW, M3, M3_H = 0x05, 0x11, 0x17, 0x2C, 0x35
UNIT_NAMES = {KWH: "kWh", GJ: "GJ"}


@dataclass(frozen=True, slots=True)
class Number:
    """One number: bytes of BCD, decimals, its unit code (None: it has none), its source (None: filled with FF)."""

    name: str
    width: int
    decimals: int
    code: int | None
    raw: Callable[[Seen], int | None]

    def field(self, raw: int | None) -> bytes:
        """The number as BCD, lowest byte first, and its unit; cut to the digits there are, as a register rolls over."""
        digits = b"\xff" * self.width
        if raw is not None:
            digits = bytes.fromhex(f"{raw % 100**self.width:0{2 * self.width}d}")[::-1]
        return digits if self.code is None else digits + bytes([self.code])

    def served(self, raw: int | None) -> Served:
        """The number as the truth log has it."""
        return Served(f"901F.{self.name}", raw, None if raw is None else f"{Decimal(raw).scaleb(-self.decimals):f}")


@dataclass(frozen=True, slots=True)
class Make:
    """How a maker builds them: the type it is asked as, the one it answers as, whether the low byte of an identifier
    comes first, FE bytes before a reply, what it counts, its status, and whether it has a clock.
    """

    asked_as: int
    answers_as: int
    low_first: bool
    preamble: int
    numbers: tuple[Number, ...]
    status: bytes = b"\0\0"
    clock: bool = True


def water(low_first: bool = True) -> Make:
    """A simple water meter: no settlement day and no clock, filled with FF."""
    numbers = (Number("volume", 4, 2, M3, Seen.volume), Number("settlement_volume", 4, 2, M3, _nothing))
    return Make(0x10, 0x10, low_first, 2, numbers, clock=False)


def gas(low_first: bool = False) -> Make:
    """A gas meter that settles by the month."""
    settled = Number("settlement_volume", 4, 2, M3, lambda seen: seen.settled().volume())
    return Make(0x30, 0x30, low_first, 4, (Number("volume", 4, 2, M3, Seen.volume), settled))


def heat(unit: int = GJ, low_first: bool = False) -> Make:
    """A heat meter that answers as type 25 behind thirteen FE."""
    return Make(0x20, 0x25, low_first, 13, _thermal(unit))


def cold(unit: int = KWH, low_first: bool = True) -> Make:
    """A cold meter whose battery is low."""
    return Make(0x21, 0x21, low_first, 4, _thermal(unit), status=b"\x04\0")


class Cjt188Meter:
    """A meter with a 14-digit address on a serial bus; deaf to damaged frames and to what is for others."""

    def __init__(self, device: str, address: str, make: Make, seen: Callable[[int], Seen], truth: TruthLog) -> None:
        self.device = device
        self._make, self._seen, self._truth = make, seen, truth
        self._address = bytes.fromhex(address)[::-1]
        self._ear = Ear(length_at=10)

    def hear(self, data: bytes, utc_ms: int) -> list[bytes]:
        """What it says to bytes on the line: mostly nothing."""
        heard = self._ear.frames(data, utc_ms)
        return [reply for frame in heard if (reply := self._answer(frame, utc_ms)) is not None]

    def _answer(self, frame: bytes, utc_ms: int) -> bytes | None:
        control, data = frame[9], frame[11:-2]
        if control & 0x80 or not self._is_me(frame[1], frame[2:9]) or len(data) < 3:
            return None
        identifier = data[1::-1] if self._make.low_first else data[:2]
        if control == READ_DATA and identifier == COUNTED:
            return self._read(data[:3], utc_ms)
        if control == READ_ADDRESS and identifier == OWN_ADDRESS:
            return self._frame(0x83, data[:3])
        if identifier in (COUNTED[::-1], OWN_ADDRESS[::-1]):
            return None
        return self._frame(0xC0 | control, data[2:3] + self._make.status)

    def _is_me(self, meter_type: int, address: bytes) -> bool:
        """Whether it is asked for: its type and number, with AA for any of their bytes."""
        pairs = zip(bytes([meter_type]) + address, bytes([self._make.asked_as]) + self._address, strict=True)
        return all(asked in (0xAA, own) for asked, own in pairs)

    def _read(self, head: bytes, utc_ms: int) -> bytes:
        seen, make = self._seen(utc_ms), self._make
        raws = [number.raw(seen) for number in make.numbers]
        self._truth.add(utc_ms, self.device, list(_served(make, raws)))
        fields = b"".join(number.field(raw) for number, raw in zip(make.numbers, raws, strict=True))
        clock = bytes.fromhex(seen.local().strftime("%Y%m%d%H%M%S"))[::-1] if make.clock else b"\xff" * 7
        return self._frame(0x81, head + fields + clock + make.status)

    def _frame(self, control: int, data: bytes) -> bytes:
        body = bytes([START, self._make.answers_as, *self._address, control, len(data), *data])
        return FE * self._make.preamble + body + bytes([sum(body) & 0xFF, END])


def _served(make: Make, raws: Sequence[int | None]) -> Iterator[Served]:
    """The numbers, and the status in the parts it is told in."""
    for number, raw in zip(make.numbers, raws, strict=True):
        yield number.served(raw)
    first, second = make.status
    for name, raw in (("valve", first & 3), ("battery_low", first >> 2 & 1), ("status", second << 8 | first)):
        yield Served(f"901F.{name}", raw, str(raw))


def _thermal(unit: int) -> tuple[Number, ...]:
    name = UNIT_NAMES[unit]
    return (
        Number("energy1", 4, 2, unit, lambda seen: seen.settled().energy(name)),
        Number("energy2", 4, 2, unit, lambda seen: seen.energy(name)),
        Number("power", 4, 2, KW, Seen.power),
        Number("flow", 4, 4, M3_H, Seen.flow),
        Number("volume", 4, 2, M3, Seen.volume),
        Number("temp_supply", 3, 2, None, Seen.supply),
        Number("temp_return", 3, 2, None, Seen.back),
        Number("hours", 3, 0, None, Seen.hours),
    )


def _nothing(seen: Seen) -> None:
    return None
