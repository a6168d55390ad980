"""The task that owns a port: takes the most urgent question, has it asked, and puts what came of it on record."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from drivers.driver import Driver
from drivers.query import Values
from drivers.reading import Exchange
from drivers.replay import values
from drivers.site import Port
from edge.bus import Bus, Talk
from edge.clock import Alarm, Clock
from edge.log import Log
from edge.schedule import Job, Schedule
from edge.sealer import UNPLACED
from protocols.errors import ProtocolError
from protocols.record.chunk import DAMAGED, IMPOSSIBLE, OVERRUN, PORT_GONE, SILENT


class Desk(Protocol):
    """What a port needs of the agent."""

    @property
    def paused(self) -> bool:
        """Whether nothing may be asked now."""

    def now(self) -> int:
        """UTC ms in the open block's line of time, before its end."""

    def put(self, slot: int, exchange: Exchange, held: Values) -> None:
        """Have an exchange committed, with the values it holds."""

    async def room(self) -> None:
        """Return when the disk keeps up."""

    def port_event(self, port: str, why: str) -> None:
        """The port went away, or came back (``why`` empty)."""


class Poller:
    """One port with its devices. ``run`` until stopped; the other methods are called between its steps."""

    def __init__(
        self, port: Port, bus: Bus, devices: Sequence[tuple[int, Driver]], *, clock: Clock, desk: Desk, log: Log
    ) -> None:
        self.port, self._bus, self._clock, self._desk, self._log = port, bus, clock, desk, log
        self._drivers = dict(devices)
        self._talks = {
            (number, query): _talk(port, number, query, driver, held.request)
            for number, driver in devices
            for query, held in enumerate(driver.queries())
        }
        self.schedule = Schedule({n: [query.period_ms for query in driver.queries()] for n, driver in devices})
        self._alarm = Alarm()
        self._asking: Job | None = None
        self._stopping = self._displaced = False
        self.busy_ms = 0

    @property
    def gone(self) -> str:
        """Why the port is not there; empty while it is."""
        return self._bus.gone

    def restart(self, now: int) -> None:
        """The line of time begins anew at ``now``: what waited is forgotten, what is being asked loses its slot."""
        self.schedule.restart(now)
        self._displaced = self._asking is not None
        self._alarm.ring()

    def wake(self) -> None:
        """Look at the time again."""
        self._alarm.ring()

    def stop(self) -> None:
        """End ``run`` after the question that is being asked."""
        self._stopping = True
        self._alarm.ring()

    def pending(self, end: int) -> list[Job]:
        """Slots before ``end`` that have come and are not on record, among them the one being asked."""
        return [
            job for job in [*self.schedule.unconcluded(end, self._clock.mono_ms()), *self.asking()] if job.slot < end
        ]

    def conclude(self, end: int, mono: int) -> None:
        """Put on record what was given up before ``end``, the block's (UTC ms, and ``mono``): at most one slot of each
        question goes over into the next block.
        """
        self.schedule.give_up(end, mono, next(iter(self.asking()), None))
        self._put_missed(mono)

    def asking(self) -> list[Job]:
        """The question that is out."""
        return [self._asking] if self._asking is not None and not self._displaced else []

    async def run(self) -> None:
        """Ask until stopped."""
        while not self._stopping:
            await self._desk.room()
            now, mono = self._desk.now(), self._clock.mono_ms()
            job = None if self._desk.paused else self.schedule.next(now, mono)
            self._put_missed(mono)
            if job is not None:
                await self._ask(job, mono)
            else:
                await self._alarm.wait(None if self._desk.paused else self.schedule.delay_ms(now, mono) / 1000)
        await self._bus.close()

    def _put_missed(self, mono: int) -> None:
        for missed in self.schedule.missed():
            slot = missed.job
            self._desk.put(slot.slot, Exchange(slot.device, slot.query, b"", b"", missed.code, mono), {})

    async def _ask(self, job: Job, mono: int) -> None:
        self._asking, before = job, self._bus.gone
        exchange, held = self._judge(await self._run(self._talks[job.device, job.query]))
        if self._bus.gone != before and not (self._bus.gone and before):
            self._desk.port_event(self.port.name, self._bus.gone)
        spent = self._clock.mono_ms() - mono
        self.busy_ms += spent
        if exchange.fault in (SILENT, DAMAGED):
            self.schedule.failed(job.device, self._clock.mono_ms(), spent)
        elif exchange.fault not in (PORT_GONE, OVERRUN):
            self.schedule.alive(job.device)
        self._desk.put(UNPLACED if self._displaced else job.slot, exchange, held)
        self._asking, self._displaced = None, False

    async def _run(self, talk: Talk) -> Exchange:
        try:
            return await self._bus.run(talk)
        except Exception as error:  # noqa: BLE001 - the outermost loop: one port's failure must not stop the others
            self._log("error", "port_failed", port=self.port.name, why=repr(error))
            await self._bus.close()
            return Exchange(talk.device, talk.query, talk.request, b"", PORT_GONE, self._clock.mono_ms())

    def _judge(self, exchange: Exchange) -> tuple[Exchange, Values]:
        """A reply that does not decode is a fault: what is recorded as answered always replays."""
        if exchange.fault:
            return exchange, {}
        try:
            return exchange, values(self._drivers[exchange.device], exchange.request, exchange.reply)
        except ProtocolError as error:
            self._log("debug", "undecoded", device=exchange.device, why=str(error))
            return replace(exchange, reply=b"", fault=error.fault), {}
        except Exception as error:  # noqa: BLE001 - the outermost loop: a fault of one driver must not stop the port
            self._log("error", "driver_failed", device=exchange.device, why=repr(error))
            return replace(exchange, reply=b"", fault=IMPOSSIBLE), {}


def _talk(port: Port, device: int, query: int, driver: Driver, request: bytes) -> Talk:
    """Modbus TCP needs no rest and no quarantine: a transaction that is given up ends with its connection."""
    link = driver.profile.link
    framed = port.tcp is not None and port.framing == "modbus-tcp" and driver.profile.protocol == "modbus"
    return Talk(
        device=device,
        query=query,
        request=request,
        recogniser=driver.recogniser,
        timeout_ms=link.timeout_ms,
        guard_ms=0 if framed else link.guard_ms,
        late_ms=0 if framed else link.timeout_ms,
    )
