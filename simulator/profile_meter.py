"""A simulated meter of any Modbus profile: every point holds a plausible value, encoded as the point table says.

It bears what the profile says that its model bears and no more: reads of at most ``max_registers``, only over registers
that are documented or said to be readable. It proves that a table is consistent and that driver and other masters read
it alike; it is no evidence of the real device.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

from drivers import specimen
from drivers.plan import extent
from drivers.profile import Profile
from simulator.meters import Port
from simulator.modbus_meters import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, RtuMeter, TcpMeter
from simulator.site import TURNAROUND_MS, alone, serve_connection

BITS = (1, 2)
MOST_BITS = 2000


class ProfileMeter:
    """The meter by its unit number; answers protocol data units. What carries them is the caller's concern."""

    def __init__(self, profile: Profile, unit: int) -> None:
        self.unit = unit
        self._link = profile.link
        self._held: dict[tuple[int, int], bytes] = {}
        self._known: dict[int, set[int]] = {}
        self.values: dict[str, Decimal] = {}
        """What each point is worth: what whoever reads the meter must find."""
        self._fill(profile)

    def answer(self, pdu: bytes, utc_ms: int) -> bytes:
        """The reply to a request; an exception reply to what it will not do."""
        function = pdu[0]
        if function not in self._known:
            return bytes([function | 0x80, ILLEGAL_FUNCTION])
        most = MOST_BITS if function in BITS else self._link.max_registers
        if len(pdu) != 5 or not 1 <= int.from_bytes(pdu[3:5]) <= most:
            return bytes([function | 0x80, ILLEGAL_VALUE])
        start, count = int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
        if not self._readable(function, range(start, start + count)):
            return bytes([function | 0x80, ILLEGAL_ADDRESS])
        cells = b"".join(self._held.get((function, at), self._empty(function)) for at in range(start, start + count))
        data = _packed(cells) if function in BITS else cells
        return bytes([function, len(data)]) + data

    def _fill(self, profile: Profile) -> None:
        held = specimen.held(profile)
        for point in profile.points:
            raw, self.values[point.id] = held[point.id]
            first, end = extent(point)
            self._hold(point.fc or 0, first, specimen.field(point, raw))
            self._known.setdefault(point.fc or 0, set()).update(range(first, end))
        marks = profile.identify
        if marks is not None and marks.read is not None:
            words = b"".join(word.to_bytes(2) for word in marks.expect)
            self._hold(marks.read.fc, marks.read.address, words)
            self._known.setdefault(marks.read.fc, set()).update(
                range(marks.read.address, marks.read.address + marks.read.count)
            )

    def _hold(self, function: int, address: int, field: bytes) -> None:
        """Put bytes into registers or bits; bits of one word are put together."""
        size = 1 if function in BITS else 2
        for at in range(0, len(field), size):
            place = (function, address + at // size)
            there = self._held.get(place, bytes(size))
            self._held[place] = bytes(a | b for a, b in zip(there, field[at : at + size], strict=True))

    def _readable(self, function: int, asked: range) -> bool:
        link = self._link
        if any(asked.start <= last and first < asked.stop for first, last in link.forbidden):
            return False
        if link.readable_gaps and asked.stop <= 1 << 16:
            return True
        wider = link.readable if function not in BITS else ()
        known = self._known[function]
        return all(at in known or any(first <= at <= last for first, last in wider) for at in asked)

    def _empty(self, function: int) -> bytes:
        return bytes(1 if function in BITS else 2)


@contextlib.asynccontextmanager
async def over_tcp(profile: Profile, unit: int, host: str = "127.0.0.1") -> AsyncIterator[tuple[ProfileMeter, str]]:
    """Such a meter behind a TCP port of its own, in the running loop: the meter, and its place (``host:port``)."""
    meter = ProfileMeter(profile, unit)
    port = Port("meter", False, TURNAROUND_MS)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve_connection(port, (TcpMeter(meter),), reader, writer)

    server = await asyncio.start_server(connected, host, 0)
    try:
        yield meter, f"{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def over_serial(profile: Profile, unit: int, link: Path) -> AsyncIterator[tuple[ProfileMeter, str]]:
    """Such a meter on a pseudo terminal linked at ``link``: the meter, and its place (the path)."""
    meter = ProfileMeter(profile, unit)
    with alone(RtuMeter(meter), link) as place:
        yield meter, place


def _packed(bits: bytes) -> bytes:
    """Eight bits a byte, the first lowest."""
    return bytes(sum(bit << place for place, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))
