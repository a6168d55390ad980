"""What is known of the loggers on a port: their monitors and their lines (no I/O; instants come in)."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from drivers.hj212 import Hj212Driver
from edge.backlog import Backlog
from edge.listening import Heard
from protocols.hj212 import FRAME, MOST, Found, Parser

REMEMBERED = 512
"""Packets of a device that are known again when they come again."""
MOST_BEYOND, BEYOND_PER_S = 3_000, 5
"""Packets of a device beyond its slots that are recorded at once, and how fast more may come: two days of minutes are
asked for at once, but a logger that never stops must not fill the disk.
"""
LONGEST_PACKET = FRAME + MOST
MOST_PIECES = 16_384
"""Pieces of a line whose time is remembered: no packet comes in more."""


@dataclass(slots=True)
class Device:
    """One monitor: its number in the configuration, what it missed, the packets already known."""

    number: int
    driver: Hj212Driver
    backlog: Backlog
    known: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    """SHA-256 of its newest packets on record."""
    line: int | None = None
    damaged: bool = False
    """Whether something came of it since its last packet that was none."""
    clock_off: bool = False
    spare: float = field(default_factory=lambda: MOST_BEYOND)
    """How many packets beyond its slots may be recorded, as it was at ``counted`` (CLOCK_BOOTTIME ms)."""
    counted: int = 0

    def beyond(self, mono: int) -> bool:
        """Count a packet beyond the slots; whether there is room for it."""
        self.spare = min(MOST_BEYOND, self.spare + (mono - self.counted) * BEYOND_PER_S / 1000)
        self.counted = mono
        if self.spare < 1:
            return False
        self.spare -= 1
        return True

    def learn(self, raw: bytes) -> None:
        """Know a packet again from now on."""
        self.known[sha256(raw).digest()] = None
        while len(self.known) > REMEMBERED:
            self.known.popitem(last=False)

    def knows(self, raw: bytes) -> bool:
        """Whether this very packet is on record."""
        return sha256(raw).digest() in self.known


class Line:
    """One connection: a parser for each CRC that devices of its port use, and when its bytes came."""

    def __init__(self, checks: Iterable[bool]) -> None:
        self.parsers = [Parser(modbus_crc) for modbus_crc in sorted(set(checks))]
        self.devices: set[str] = set()
        self._came: list[tuple[int, int]] = []
        self._length = self._noise = 0

    def feed(self, heard: Heard) -> list[tuple[Found, int]]:
        """The packets that these bytes complete, and when the first byte of each came."""
        self._length += len(heard.data)
        self._came.append((self._length, heard.at_ms))
        found = [one for parser in self.parsers for one in parser.feed(heard.data)]
        dated = [(one, next(at for end, at in self._came if end > one.begin)) for one in found]
        begin = max((one.begin + len(one.raw) for one in found), default=self._length - LONGEST_PACKET)
        self._came = [entry for entry in self._came if entry[0] > begin][-MOST_PIECES:]
        return dated

    def damage(self) -> str:
        """What came since this was last asked that is no packet, in words; empty when nothing did."""
        if len(self.parsers) > 1:
            return ""
        broken, noise = self.parsers[0].broken(), self.parsers[0].noise - self._noise
        self._noise = self.parsers[0].noise
        if broken:
            return f"{broken[-1].error}"
        return f"{noise} bytes that are no packet" if noise else ""
