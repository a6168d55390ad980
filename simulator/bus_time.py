"""How long reads really take: the edge's own bus on a simulated pair, the time read off the wire."""

from collections.abc import Iterable
from random import Random

from drivers.cover import Interval
from drivers.site import Port
from edge.bus import Bus, Talk
from protocols import modbus
from simulator.ports import SerialPort
from simulator.rs485 import Pair
from simulator.stations import Station, steady
from simulator.time import SimClock, VirtualLoop

LIMIT_MS = 2000


class _Registers:
    """A meter that answers every read of registers."""

    def hear(self, data: bytes, utc_ms: int) -> list[bytes]:
        """Zeros."""
        asked = modbus.parse_rtu(data)
        return [modbus.frame_rtu(asked.unit, bytes([asked.function, 2 * asked.count]) + bytes(2 * asked.count))]


def measured_ms(runs: Iterable[Interval], baud: int, turnaround_ms: float) -> float:
    """How long the edge's bus is busy with these reads, one after another: from the first to the last character."""
    loop = VirtualLoop()

    async def main() -> float:
        clock, mode = SimClock(loop, 0), f"{baud}-8E1"
        pair = Pair(clock, Random(1))
        pair.log = []
        Station(pair, _Registers(), mode, steady(turnaround_ms))
        bus = Bus(SerialPort(pair, "bus"), Port(name="bus", device="/dev/bus", mode=mode), clock)
        for first, end in runs:
            request = modbus.Request(1, 3, first, end - first).rtu()
            exchange = await bus.run(Talk(0, 0, request, modbus.RtuRecogniser, LIMIT_MS, 0, 0))
            if exchange.fault:
                raise AssertionError(f"fault {exchange.fault} on a line without noise")
        return (pair.log[-1].end - pair.log[0].start) / 1000

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()
