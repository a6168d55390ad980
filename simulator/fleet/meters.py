"""Meters with exact truth: a Modbus TCP register that counts in whole steps, marked with the meter it belongs to.

The register holds 0.01 kWh. It counts in steps of 64; the rest of it is the meter's mark, so that a reading tells which
meter it is of, whatever anybody credits it to. What was served is remembered here, outside everything that is tested.
"""

import asyncio
from bisect import bisect_left
from dataclasses import dataclass, field

from edge.clock import Clock
from protocols import modbus
from protocols.errors import PortGone

MARKS = 64
MODULUS = 1 << 32
PROFILE, POINT = "acrel-adl400", "energy_import"
ANSWER_MS = 12


@dataclass
class Meter:
    """``per_hour``: steps of 64 hundredths of a kWh; ``start``: the steps at the beginning of virtual time."""

    mark: int
    start: int
    per_hour: int
    served_at: list[int] = field(default_factory=list)
    served: list[int] = field(default_factory=list)
    silent_until: float = -1.0

    def steps(self, since_ms: int) -> int:
        """Steps counted, without rollover, ``since_ms`` after the beginning."""
        return self.start + since_ms * self.per_hour // 3_600_000

    def raw(self, since_ms: int) -> int:
        """What the register holds."""
        return (self.steps(since_ms) * MARKS + self.mark) % MODULUS

    def unrolled(self, last: int, first: int) -> int:
        """Hundredths of a kWh from one register to a later one, over at most one rollover."""
        return (last - first) % MODULUS

    def said(self, raw: int, at_ms: int, within_ms: int) -> bool:
        """Whether this was served so near to an instant of true time."""
        first = bisect_left(self.served_at, at_ms - within_ms)
        for index in range(first, len(self.served_at)):
            if self.served_at[index] > at_ms + within_ms:
                return False
            if self.served[index] == raw:
                return True
        return False


class Bench:
    """A Modbus TCP port with its meters by unit, in virtual time. ``dead``: the process that used it was killed."""

    def __init__(self, meters: dict[int, Meter], clock: Clock, true_ms: "TrueTime") -> None:
        self._meters, self._clock, self._true = meters, clock, true_ms
        self._coming: list[tuple[float, bytes]] = []
        self._open = False
        self.dead = False

    def hang(self, unit: int, meter: Meter) -> None:
        """Another meter answers from now on."""
        self._meters[unit] = meter

    async def open(self) -> str:
        self._open = True
        return ""

    async def configure(self, mode: str) -> None:
        pass

    async def write(self, data: bytes) -> None:
        self._check()
        asked = modbus.parse_tcp(data)
        meter, now = self._meters[asked.unit], self._true.seconds()
        if now < meter.silent_until:
            return
        at = now + ANSWER_MS / 1000
        raw = meter.raw(self._true.since_ms(at))
        pdu = bytes([asked.function, 4]) + raw.to_bytes(4)
        self._coming.append((at, modbus.frame_tcp(asked.transaction, asked.unit, pdu)))
        meter.served_at.append(self._true.at_ms(at))
        meter.served.append(raw)

    async def read(self, max_wait_s: float) -> bytes:
        self._check()
        now = self._true.seconds()
        if not self._coming or self._coming[0][0] > now + max_wait_s:
            await self._wait(max_wait_s)
            return b""
        at, data = self._coming.pop(0)
        await self._wait(at - now)
        return data

    async def drain(self) -> None:
        self._coming.clear()

    async def close(self) -> None:
        self._open = False
        self._coming.clear()

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(seconds)
        else:
            await asyncio.sleep(0)

    def _check(self) -> None:
        if self.dead or not self._open:
            raise PortGone("bench: closed")


@dataclass(frozen=True)
class TrueTime:
    """The time of the world."""

    loop: asyncio.AbstractEventLoop
    epoch_ms: int

    def seconds(self) -> float:
        """Since the beginning."""
        return self.loop.time()

    def since_ms(self, seconds: float) -> int:
        """An instant in ms since the beginning."""
        return round(seconds * 1000)

    def at_ms(self, seconds: float) -> int:
        """An instant in UTC ms."""
        return self.epoch_ms + round(seconds * 1000)
