"""How each question of a port is put: line settings, time limits, its wording, how closely its answer is watched."""

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.driver import Driver
from drivers.reading import Exchange
from drivers.site import Device, Port
from edge.bus import Talk
from protocols.record.chunk import SILENT

STRANGE_EVERY = 4
"""A meter that has answered one wording and is silent is tried with another every so many times."""
BEYOND_FACTOR = 3
"""A twin answers within so many turnarounds, if it answers."""


@dataclass(slots=True)
class _Wording:
    """Which wording of its questions a meter is asked with."""

    now: int = 0
    known: int | None = None
    silences: int = 0

    def silent(self, count: int) -> None:
        """Try the next one: at once while none is known, else now and then."""
        self.silences += 1
        if self.known is None or self.silences % STRANGE_EVERY == 0:
            self.now = (self.now + 1) % count
        elif self.known is not None:
            self.now = self.known

    def answered(self) -> None:
        """This is the one."""
        self.known, self.silences = self.now, 0


class Talks:
    """The questions of one port's devices."""

    def __init__(self, port: Port, devices: Sequence[tuple[int, Device, Driver]]) -> None:
        self._port = port
        self._devices = {number: (device, driver) for number, device, driver in devices}
        self._queries = {number: driver.queries() for number, _, driver in devices}
        self._wordings = {number: _Wording() for number, _, _ in devices}
        self._alone: set[int] = set()
        self.counters = [
            (number, index)
            for number, _, driver in devices
            for index, query in enumerate(driver.queries())
            if any(point.kind == "counter" and point.id in query.points for point in driver.profile.points)
        ]
        """The questions (device, index) that bring counters."""

    def talk(self, device: int, query: int, suspect: bool, back_off: int | None) -> Talk:
        """A question as it is put now. A device's first answer since the port was opened is listened beyond."""
        entry, driver = self._devices[device]
        link, framed = driver.profile.link, self._framed(driver)
        wordings = self._queries[device][query].wordings
        closely = not framed and (suspect or device not in self._alone)
        return Talk(
            device=device,
            query=query,
            request=wordings[self._wordings[device].now % len(wordings)],
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
        """What came of a question: which wording is understood, and that nobody else answered."""
        wording = self._wordings[exchange.device]
        if exchange.fault == SILENT:
            wording.silent(max(len(query.wordings) for query in self._queries[exchange.device]))
        elif not exchange.fault:
            wording.answered()
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
