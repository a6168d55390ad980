"""How each question of a port is put: line settings, time limits, how closely its answer is watched."""

from collections.abc import Sequence

from drivers.driver import Driver
from drivers.reading import Exchange
from drivers.site import Device, Port
from edge.bus import Talk

BEYOND_FACTOR = 3
"""A twin answers within so many turnarounds, if it answers."""


class Talks:
    """The questions of one port's devices."""

    def __init__(self, port: Port, devices: Sequence[tuple[int, Device, Driver]]) -> None:
        self._port = port
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
        return Talk(
            device=device,
            query=query,
            request=request,
            recogniser=driver.recogniser,
            timeout_ms=link.timeout_ms,
            guard_ms=0 if framed else link.guard_ms,
            late_ms=self.late_ms(device),
            mode=(entry.mode or self._port.mode) if self._port.device is not None else "",
            follow_up=driver.follow_up,
            again=back_off is None,
            beyond_ms=min(link.timeout_ms, BEYOND_FACTOR * link.turnaround_ms) if closely else 0,
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

    def late_ms(self, device: int) -> int:
        """How long after that it may still come. Modbus TCP needs no such quarantine: what is given up there ends with
        its connection.
        """
        driver = self._devices[device][1]
        return 0 if self._framed(driver) else driver.profile.link.timeout_ms

    def _framed(self, driver: Driver) -> bool:
        tcp = self._port.tcp is not None and self._port.framing != "rtu"
        return tcp and driver.profile.protocol == "modbus"
