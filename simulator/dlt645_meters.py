"""Simulated meters that speak DL/T 645-2007, written from the standard's tables and not from our own decoder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from simulator.ear import END, START, Ear
from simulator.electricity import Snapshot
from simulator.truth import Served, TruthLog
from simulator.world import DAY_MS, ZONE_MS

HOUR_MS = 3_600_000

PREAMBLE = b"\xfe\xfe\xfe\xfe"
READ, READ_ON, READ_ADDRESS = 0x11, 0x12, 0x13
UNSEEN_BY_ALL = 0x99
"""Broadcast address byte: acted on, never answered."""
NO_SUCH_DATA, NOT_AUTHORISED = 0x02, 0x04
MOST_DATA = 200
"""Data bytes of one reply; what does not fit follows when it is asked for (5.2.2)."""


@dataclass(frozen=True, slots=True)
class Item:
    """One number: bytes of BCD, decimals, whether bit 7 of the last byte is a sign, its source (None: FF fill)."""

    width: int
    decimals: int
    signed: bool
    raw: Callable[[Snapshot], int | None]

    def field(self, raw: int | None) -> bytes:
        """The number as BCD, lowest byte first; cut to the digits there are, as a register rolls over."""
        if raw is None:
            return b"\xff" * self.width
        digits = bytearray.fromhex(f"{abs(raw) % 100**self.width:0{2 * self.width}d}")[::-1]
        if self.signed and raw < 0:
            digits[-1] |= 0x80
        return bytes(digits)

    def value(self, raw: int | None) -> str | None:
        """The number with its decimal point."""
        return None if raw is None else f"{Decimal(raw).scaleb(-self.decimals):f}"


class Dlt645Meter:
    """A meter with a 12-digit number on a serial bus; deaf to damaged frames and other addresses, like real ones."""

    def __init__(
        self,
        device: str,
        address: str,
        phases: int,
        seen: Callable[[int], Snapshot],
        truth: TruthLog,
        *,
        most: int = MOST_DATA,
    ) -> None:
        self.device = device
        self._most = most
        self._rest: tuple[bytes, list[bytes]] = (b"", [])
        self._seen, self._truth = seen, truth
        self._address = bytes.fromhex(address)[::-1]
        self._table = _table(phases)
        self._ear = Ear(length_at=9, starts_again_at=7)

    def hear(self, data: bytes, utc_ms: int) -> list[bytes]:
        """What it says to bytes on the line: mostly nothing."""
        heard = self._ear.frames(data, utc_ms)
        return [reply for frame in heard if (reply := self._answer(frame, utc_ms)) is not None]

    def _answer(self, frame: bytes, utc_ms: int) -> bytes | None:
        control, data = frame[8], bytes((byte - 0x33) & 0xFF for byte in frame[10:-2])
        if control & 0x80 or not self._is_me(frame[1:7]):
            return None
        if control == READ and len(data) == 4:
            return self._read(data, utc_ms)
        if control == READ_ON and len(data) == 5:
            return self._read_on(data[:4], data[4])
        if control == READ_ADDRESS and not data:
            return self._frame(0x93, self._address)
        reads = control in (READ, READ_ON)
        return self._frame(0xC0 | control, bytes([NO_SUCH_DATA if reads else NOT_AUTHORISED]))

    def _is_me(self, address: bytes) -> bool:
        """Whether it is asked for: its number, or its low bytes with AA in place of the rest."""
        return (
            all(asked in (0xAA, own) for asked, own in zip(address, self._address, strict=True))
            and address[0] != UNSEEN_BY_ALL
        )

    def _read(self, identifier: bytes, utc_ms: int) -> bytes:
        name = identifier[::-1].hex().upper()
        snapshot = self._seen(utc_ms)
        items = self._table.get(name) or _freeze(name)
        if name in OWN_NUMBER:
            raw = int(self._address[::-1].hex())
            self._truth.add(utc_ms, self.device, [Served(name, raw, str(raw))])
            return self._frame(0x91, identifier + self._address)
        if items is None:
            return self._frame(0xD1, bytes([NO_SUCH_DATA]))
        raws = [item.raw(snapshot) for item in items]
        self._truth.add(utc_ms, self.device, list(served(name, items, raws)))
        return self._begin(identifier, b"".join(item.field(raw) for item, raw in zip(items, raws, strict=True)))

    def _begin(self, identifier: bytes, data: bytes) -> bytes:
        """The first reply to a read: all of it, or as much as fits, the rest being kept for what follows."""
        size = self._most - len(identifier)
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        self._rest = (identifier, pieces[1:])
        return self._frame(0xB1 if len(pieces) > 1 else 0x91, identifier + pieces[0])

    def _read_on(self, identifier: bytes, number: int) -> bytes:
        """The piece of this number, from 1 on, with its number at the end; refused when there is none."""
        kept, pieces = self._rest
        if identifier != kept or not 1 <= number <= len(pieces):
            return self._frame(0xD2, bytes([NO_SUCH_DATA]))
        control = 0xB2 if number < len(pieces) else 0x92
        return self._frame(control, identifier + pieces[number - 1] + bytes([number]))

    def _frame(self, control: int, data: bytes) -> bytes:
        body = bytes([START, *self._address, START, control, len(data), *((byte + 0x33) & 0xFF for byte in data)])
        return PREAMBLE + body + bytes([sum(body) & 0xFF, END])


def served(name: str, items: Sequence[Item], raws: Sequence[int | None]) -> Iterator[Served]:
    """A block notes each of its items under the block's identifier with its index."""
    for index, (item, raw) in enumerate(zip(items, raws, strict=True)):
        yield Served(name if len(items) == 1 else f"{name}.{index}", raw, item.value(raw))


OWN_NUMBER = ("04000401", "04000402")
PHASE_STEP = {1: 0x15, 2: 0x29, 3: 0x3D}
"""DI2 of the forward active energy of phases A, B, C."""


def _table(phases: int) -> dict[str, tuple[Item, ...]]:
    """Every identifier such a meter knows (table A of the standard), with its items in order."""
    table = {**_energies(), **_phase_values(phases), **_clock_and_state()}
    if phases == 3:
        for phase, identifier in PHASE_STEP.items():
            table[f"00{identifier:02X}0000"] = (Item(4, 2, False, _of_phase(Snapshot.phase_energy, phase)),)
    return table


def _energies() -> dict[str, tuple[Item, ...]]:
    """Groups 0000-000A: total, tariffs 1-4, and all of them as a block (DI1 = FF)."""
    table: dict[str, tuple[Item, ...]] = {}
    for group, signed, raws in (
        ("0000", True, [_energy(tariff) for tariff in range(5)]),
        ("0001", False, [_energy(tariff) for tariff in range(5)]),
        ("0002", False, [_nothing] * 5),
    ):
        items = tuple(Item(4, 2, signed, raw) for raw in raws)
        table |= {f"{group}{tariff:02X}00": (item,) for tariff, item in enumerate(items)}
        table[f"{group}FF00"] = items
    for group in ("0004", "0006", "0007", "0008", "000A"):
        table[f"{group}0000"] = (Item(4, 2, group == "0004", _nothing),)
    table["00030000"] = (Item(4, 2, True, Snapshot.reactive_energy),)
    table["00050000"] = (Item(4, 2, False, Snapshot.reactive_energy),)
    table["00090000"] = (Item(4, 2, False, Snapshot.apparent_energy),)
    return table


def _phase_values(phases: int) -> dict[str, tuple[Item, ...]]:
    """Groups 0201-0206: by phase, total where there is one, and as a block, where a phase that is not there is FF."""
    table: dict[str, tuple[Item, ...]] = {}
    for group, width, decimals, signed, first, read in (
        ("0201", 2, 1, False, 1, Snapshot.voltage),
        ("0202", 3, 3, True, 1, Snapshot.current),
        ("0203", 3, 4, True, 0, lambda at, phase: at.power(phase) // 100),
        ("0204", 3, 4, True, 0, lambda at, phase: at.reactive(phase) // 100),
        ("0205", 3, 4, False, 0, lambda at, phase: at.apparent(phase) // 100),
        ("0206", 2, 3, True, 0, lambda at, phase: at.power_factor),
    ):
        items = tuple(Item(width, decimals, signed, _of_phase(read, phase)) for phase in range(first, 4))
        there = [phase for phase in range(first, 4) if phase <= phases]
        table |= {f"{group}{phase:02X}00": (items[phase - first],) for phase in there}
        table[f"{group}FF00"] = items
    return table


def _of_phase(read: Callable[[Snapshot, int], int], phase: int) -> Callable[[Snapshot], int | None]:
    return lambda at: read(at, phase) if phase <= at.phases else None


def _clock_and_state() -> dict[str, tuple[Item, ...]]:
    """Groups 0280 and 0400: mean power and demand, frequency, temperature, date, time, ratios, status words."""
    status = Item(2, 0, False, _nothing)
    return {
        "02800002": (Item(2, 2, False, lambda at: at.frequency),),
        "02800003": (Item(3, 4, True, lambda at: at.power() // 100),),
        "02800004": (Item(3, 4, True, lambda at: at.power() // 100),),
        "02800007": (Item(2, 1, True, lambda at: 241),),
        "04000101": (Item(4, 0, False, lambda at: int(_local(at.at).strftime("%y%m%d0%w"))),),
        "04000102": (Item(3, 0, False, lambda at: int(_local(at.at).strftime("%H%M%S"))),),
        "04000204": (Item(1, 0, False, lambda at: 4),),
        "04000306": (Item(3, 0, False, lambda at: at.ratio),),
        "04000307": (Item(3, 0, False, lambda at: 1),),
        **{f"040005{word:02X}": (status,) for word in range(1, 8)},
        "040005FF": (status,) * 7,
    }


FREEZES = {"06": (DAY_MS, 62), "04": (HOUR_MS, 254)}
"""How often daily and hourly freezes are made, and how many are kept; 01 is the last one."""


def _freeze(name: str) -> tuple[Item, ...] | None:
    """05 (06 or 04) item nn: 00 when it was frozen, 01 forward and 02 reverse active, daily by tariff; else None."""
    every, most = FREEZES.get(name[2:4], (0, 0))
    if name[:2] != "05" or not 1 <= int(name[6:], 16) <= most:
        return None
    back = int(name[6:], 16) - 1

    def when(at: Snapshot) -> int:
        return (at.at + ZONE_MS) // every * every - ZONE_MS - back * every

    tariffs = 5 if name[2:4] == "06" else 1
    time = (Item(5, 0, False, lambda at: int(_local(when(at)).strftime("%y%m%d%H%M"))),)
    forward = tuple(Item(4, 2, False, _energy(tariff, when)) for tariff in range(tariffs))
    reverse = (Item(4, 2, False, _nothing),) * tariffs
    return {"00": time, "01": forward, "02": reverse, "FF": time + forward + reverse}.get(name[4:6])


def _energy(tariff: int, when: Callable[[Snapshot], int] | None = None) -> Callable[[Snapshot], int]:
    """The energy register of a tariff (0: total), now or at the instant that ``when`` tells."""
    return lambda at: at.energy(tariff, when(at) if when else None)


def _local(utc_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms + ZONE_MS)


def _nothing(at: Snapshot) -> int:
    return 0
