"""Simulated meters that speak DL/T 645-1997, written from the reference's table and not from our own decoder."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from simulator.dlt645_meters import Item, served
from simulator.ear import END, START, Ear
from simulator.electricity import Snapshot
from simulator.truth import TruthLog
from simulator.world import ZONE_MS

READ, READ_ON = 0x01, 0x02
NO_SUCH_DATA, NOT_AUTHORISED = 0x02, 0x04
SEPARATOR, WILDCARD = 0xAA, 0xAA
BROADCAST = 0x99


class Dlt645Meter1997:
    """A meter on a serial bus under a number of 1 to 12 digits, filled up with ``fill`` (AA or 00).

    ``echoes``: it answers to a wildcard with the wildcard itself; ``most``: data bytes of one reply.
    """

    def __init__(
        self,
        device: str,
        number: str,
        phases: int,
        seen: Callable[[int], Snapshot],
        truth: TruthLog,
        *,
        fill: int = WILDCARD,
        echoes: bool = False,
        most: int = 200,
    ) -> None:
        self.device = device
        self._seen, self._truth, self._echoes, self._most = seen, truth, echoes, most
        own = bytes.fromhex(number.zfill(len(number) + len(number) % 2))[::-1]
        self._address = own + bytes([fill] * (6 - len(own)))
        self._number = int(number)
        self._table = _table(phases)
        self._rest: tuple[bytes, list[bytes]] = (b"", [])
        self._ear = Ear(length_at=9, starts_again_at=7)

    def hear(self, data: bytes, utc_ms: int) -> list[bytes]:
        """What it says to bytes on the line: mostly nothing."""
        heard = self._ear.frames(data, utc_ms)
        return [reply for frame in heard if (reply := self._answer(frame, utc_ms)) is not None]

    def _answer(self, frame: bytes, utc_ms: int) -> bytes | None:
        control, data = frame[8], bytes((byte - 0x33) & 0xFF for byte in frame[10:-2])
        asked = frame[1:7]
        if control & 0x80 or control > 0x10 or not self._is_me(asked):
            return None
        said = self._say(control, data, utc_ms)
        return self._frame(asked if self._echoes and WILDCARD in asked else self._address, *said)

    def _is_me(self, address: bytes) -> bool:
        """Whether it is asked for: byte by byte its own, or AA."""
        pairs = zip(address, self._address, strict=True)
        return all(asked in (WILDCARD, own) for asked, own in pairs) and address[0] != BROADCAST

    def _say(self, control: int, data: bytes, utc_ms: int) -> tuple[int, bytes]:
        """Control byte and data of the reply."""
        if control == READ and len(data) == 2:
            return self._read(data, utc_ms)
        if control == READ_ON and len(data) == 2 and self._rest[0] == data and self._rest[1]:
            piece = self._rest[1].pop(0)
            return (0xA2 if self._rest[1] else 0x82), data + piece
        return 0xC0 | control, bytes([NO_SUCH_DATA if control in (READ, READ_ON) else NOT_AUTHORISED])

    def _read(self, identifier: bytes, utc_ms: int) -> tuple[int, bytes]:
        name = identifier[::-1].hex().upper()
        snapshot = self._seen(utc_ms)
        items = (Item(6, 0, False, lambda at: self._number),) if name == "C032" else self._table.get(name)
        if items is None:
            return 0xC1, bytes([NO_SUCH_DATA])
        raws = [item.raw(snapshot) for item in items]
        self._truth.add(utc_ms, self.device, list(served(name, items, raws)))
        data = b"".join(item.field(raw) for item, raw in zip(items, raws, strict=True))
        if name.endswith("F"):
            data += bytes([SEPARATOR])
        size = self._most - len(identifier)
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        self._rest = (identifier, pieces[1:])
        return (0xA1 if len(pieces) > 1 else 0x81), identifier + pieces[0]

    def _frame(self, address: bytes, control: int, data: bytes) -> bytes:
        body = bytes([START, *address, START, control, len(data), *((byte + 0x33) & 0xFF for byte in data)])
        return body + bytes([sum(body) & 0xFF, END])


def _table(phases: int) -> dict[str, tuple[Item, ...]]:
    """Every identifier such a meter knows, with its items in order."""
    energies = tuple(Item(4, 2, False, _energy(tariff)) for tariff in range(5))
    table = {f"901{tariff:X}": (item,) for tariff, item in enumerate(energies)} | {"901F": energies}
    table["9020"] = (Item(4, 2, False, lambda at: 0),)
    table["9110"] = (Item(4, 2, False, Snapshot.reactive_energy),)
    table["C010"] = (Item(4, 0, False, lambda at: int(_local(at.at).strftime("%y%m%d0%w"))),)
    table["C011"] = (Item(3, 0, False, lambda at: int(_local(at.at).strftime("%H%M%S"))),)
    for kind, width, decimals, first, read in (
        ("1", 2, 0, 1, lambda at, phase: at.voltage(phase) // 10),
        ("2", 2, 2, 1, lambda at, phase: at.current(phase) // 10),
        ("3", 3, 4, 0, lambda at, phase: at.power(phase) // 100),
        ("4", 2, 2, 0, lambda at, phase: at.reactive(phase) // 10_000),
        ("5", 2, 3, 0, lambda at, phase: at.power_factor),
    ):
        items = [Item(width, decimals, False, _of_phase(read, phase)) for phase in range(first, phases + 1)]
        table |= {f"B6{kind}{first + place}": (item,) for place, item in enumerate(items)}
        table[f"B6{kind}F"] = tuple(items)
    return table


def _energy(tariff: int) -> Callable[[Snapshot], int]:
    return lambda at: at.energy(tariff)


def _of_phase(read: Callable[[Snapshot, int], int], phase: int) -> Callable[[Snapshot], int]:
    return lambda at: read(at, phase)


def _local(utc_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=utc_ms + ZONE_MS)
