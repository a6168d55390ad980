"""Simulated meters that speak DL/T 645-2007, written from the standard's tables and not from our own decoder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from simulator.electricity import Snapshot
from simulator.truth import Served, TruthLog
from simulator.world import DAY_MS, ZONE_MS

PREAMBLE = b"\xfe\xfe\xfe\xfe"
START, END = 0x68, 0x16
READ, READ_ADDRESS = 0x11, 0x13
UNSEEN_BY_ALL = 0x99
"""Broadcast address byte: acted on, never answered."""
BYTE_GAP_MS = 500
"""After a longer silence the beginning of a frame is forgotten (5.3.2)."""
NO_SUCH_DATA, NOT_AUTHORISED = 0x02, 0x04


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
        self, device: str, address: str, phases: int, seen: Callable[[int], Snapshot], truth: TruthLog
    ) -> None:
        self.device = device
        self._seen, self._truth = seen, truth
        self._address = bytes.fromhex(address)[::-1]
        self._table = _table(phases)
        self._heard = bytearray()
        self._heard_at = 0

    def hear(self, data: bytes, utc_ms: int) -> list[bytes]:
        """What it says to bytes on the line: mostly nothing. Frames may come in pieces, with noise between them."""
        if utc_ms - self._heard_at > BYTE_GAP_MS:
            self._heard.clear()
        self._heard_at = utc_ms
        self._heard += data
        return [reply for frame in _frames(self._heard) if (reply := self._answer(frame, utc_ms)) is not None]

    def _answer(self, frame: bytes, utc_ms: int) -> bytes | None:
        control, data = frame[8], bytes((byte - 0x33) & 0xFF for byte in frame[10:-2])
        if control & 0x80 or not self._is_me(frame[1:7]):
            return None
        if control == READ and len(data) == 4:
            return self._read(data, utc_ms)
        if control == READ_ADDRESS and not data:
            return self._frame(0x93, self._address)
        return self._frame(0xC0 | control, bytes([NO_SUCH_DATA if control == READ else NOT_AUTHORISED]))

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
            return self._frame(0x91, identifier + self._address)
        if items is None:
            return self._frame(0xD1, bytes([NO_SUCH_DATA]))
        raws = [item.raw(snapshot) for item in items]
        self._truth.add(utc_ms, self.device, list(_served(name, items, raws)))
        return self._frame(0x91, identifier + b"".join(item.field(raw) for item, raw in zip(items, raws, strict=True)))

    def _frame(self, control: int, data: bytes) -> bytes:
        body = bytes([START, *self._address, START, control, len(data), *((byte + 0x33) & 0xFF for byte in data)])
        return PREAMBLE + body + bytes([sum(body) & 0xFF, END])


def _frames(heard: bytearray) -> Iterator[bytes]:
    """Takes every whole frame out of what was heard; bytes that cannot begin one are dropped."""
    while True:
        start = heard.find(START)
        del heard[: len(heard) if start < 0 else start]
        if len(heard) < 12 or (heard[7] == START and len(heard) < 12 + heard[9]):
            return
        length = 12 + heard[9]
        frame = bytes(heard[:length])
        if heard[7] == START and frame[-1] == END and sum(frame[:-2]) & 0xFF == frame[-2]:
            del heard[:length]
            yield frame
        else:
            del heard[0]


def _served(name: str, items: Sequence[Item], raws: Sequence[int | None]) -> Iterator[Served]:
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


def _freeze(name: str) -> tuple[Item, ...] | None:
    """Daily freezes nn = 01 (today's midnight) to 3E: 050600nn when, 050601nn forward active by tariff; else None."""
    if name[:4] != "0506" or name[4:6] not in ("00", "01") or not 1 <= int(name[6:], 16) <= 62:
        return None
    back = int(name[6:], 16) - 1

    def midnight(at: Snapshot) -> int:
        return (at.at + ZONE_MS) // DAY_MS * DAY_MS - ZONE_MS - back * DAY_MS

    if name[4:6] == "00":
        return (Item(5, 0, False, lambda at: int(_local(midnight(at)).strftime("%y%m%d%H%M"))),)
    return tuple(Item(4, 2, False, _energy(tariff, midnight)) for tariff in range(5))


def _energy(tariff: int, when: Callable[[Snapshot], int] | None = None) -> Callable[[Snapshot], int]:
    """The energy register of a tariff (0: total), now or at the instant that ``when`` tells."""
    return lambda at: at.energy(tariff, when(at) if when else None)


def _local(utc_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms + ZONE_MS)


def _nothing(at: Snapshot) -> int:
    return 0
