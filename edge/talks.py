"""How each question of a port is put: line settings, time limits, how closely its answer is watched."""

from collections.abc import Sequence

from drivers.driver import Driver
from drivers.reading import Exchange
from drivers.site import Device, Port
from edge.bus import Talk
from edge.learned import Learned

BEYOND_FACTOR = 3
"""A twin answers within so many turnarounds, if it answers."""
PROBE_FACTOR, SHORTEST_PROBE_MS = 3, 200
"""A meter that is set aside is waited for so many times as long as 99 of 100 of its answers took, and at least so long:
what dead meters cost falls with what is known of them.
"""


class Talks:
    """The questions of one port's devices."""

    def __init__(self, port: Port, devices: Sequence[tuple[int, Device, Driver]], learned: Learned) -> None:
        self._port, self._memories = port, learned.memories
        self._devices = {number: (device, driver) for number, device, driver in devices}
        self._alone: set[int] = set()
        self.counters = [
            (number, index)
            for number, _, driver in devices
            for index, query in enumerate(driver.queries())
            if any(point.kind == "counter" and point.id in query.points for point in driver.profile.points)
        ]
        """The questions (device, index) that bring counters."""

    def talk(self, device: int, query: int, request: bytes, suspect: bool, back_off: int | None) -> Talk:
        """A question as it is put now, in these words. A device's first answer since the port was opened is listened
        beyond.
        """
        entry, driver = self._devices[device]
        link, framed = driver.profile.link, self._framed(driver)
        closely = not framed and (suspect or device not in self._alone)
        limit = link.timeout_ms if back_off is None else self._probe_ms(device)
        return Talk(
            device=device,
            query=query,
            request=request,
            recogniser=driver.recogniser,
            timeout_ms=limit,
            guard_ms=0 if framed else link.guard_ms,
            late_ms=0 if framed else 2 * link.timeout_ms - limit,
            mode=(entry.mode or self._port.mode) if self._port.device is not None else "",
            follow_up=driver.follow_up,
            again=back_off is None,
            beyond_ms=self._beyond_ms(device) if closely else 0,
        )

    def answered(self, exchange: Exchange) -> None:
        """What came of a question: nobody else answered."""
        if not exchange.fault:
            self._alone.add(exchange.device)

    def doubt(self) -> None:
        """The port was opened: nothing is known of who is there."""
        self._alone.clear()

    def timeout_ms(self, device: int) -> int:
        """How long an answer of the device may take to begin."""
        return self._devices[device][1].profile.link.timeout_ms

    def _probe_ms(self, device: int) -> int:
        """How long a meter that is set aside is waited for."""
        limit, measured = self.timeout_ms(device), self._memories[device].turnaround()
        return limit if measured is None else min(limit, max(SHORTEST_PROBE_MS, PROBE_FACTOR * measured[1]))

    def _beyond_ms(self, device: int) -> int:
        """How long to listen for a twin, which is mostly of the same model."""
        link, measured = self._devices[device][1].profile.link, self._memories[device].turnaround()
        return min(link.timeout_ms, BEYOND_FACTOR * (link.turnaround_ms if measured is None else measured[1]))

    def _framed(self, driver: Driver) -> bool:
        """Modbus TCP needs no rest and no quarantine: what is given up there ends with its connection."""
        tcp = self._port.tcp is not None and self._port.framing != "rtu"
        return tcp and driver.profile.protocol == "modbus"
