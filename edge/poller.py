"""The task that owns a port: takes the most urgent question, has it asked, and puts what came of it on record."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from drivers.driver import Driver
from drivers.query import Values
from drivers.reading import Exchange
from drivers.replay import values
from drivers.site import Device, Port
from edge.bus import Bus, Talk
from edge.clock import Alarm, Clock
from edge.identity import NUMBER, Identities
from edge.log import Log
from edge.schedule import Job, Schedule
from edge.sealer import UNPLACED
from edge.talks import Talks
from edge.watch import Trouble, Watch
from protocols.errors import PortGone, ProtocolError, WrongMeter
from protocols.record.chunk import DAMAGED, IMPOSSIBLE, OVERRUN, PORT_GONE, REFUSED, SILENT


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

    def bus_event(self, port: str, code: str, what: str, over: bool) -> None:
        """Something began to be wrong with the port, or is ``over``."""


class Poller:
    """One port with its devices. ``run`` until stopped; the other methods are called between its steps."""

    def __init__(
        self, port: Port, bus: Bus, devices: Sequence[tuple[int, Device, Driver]], *, clock: Clock, desk: Desk, log: Log
    ) -> None:
        self.port, self._bus, self._clock, self._desk, self._log = port, bus, clock, desk, log
        self._drivers = {number: driver for number, _, driver in devices}
        self._names = {number: device.id for number, device, _ in devices}
        self._talks = Talks(port, devices)
        self._identities = Identities(devices)
        self.watch = Watch()
        self._openings = 0
        self.schedule = Schedule(
            {number: [query.period_ms for query in driver.queries()] for number, _, driver in devices},
            self._talks.counters,
        )
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
        exchange, held = await self._answer(job)
        now = self._clock.mono_ms()
        self.busy_ms += now - mono
        if self._bus.gone != before and not (self._bus.gone and before):
            self._desk.bus_event(self.port.name, PortGone.code, self._bus.gone or before, not self._bus.gone)
        self._watch(job.device, exchange.fault, now)
        if not self._another_try(job, exchange, now, now - mono):
            self._desk.put(UNPLACED if self._displaced else job.slot, exchange, held)
        self._asking, self._displaced = None, False

    async def _answer(self, job: Job) -> tuple[Exchange, Values]:
        """Ask for a slot; what another meter answers than the one that was signed for is no reading."""
        exchange, held = await self._put(job.device, job.query)
        refused = 0 if exchange.fault else await self._refused(job, held)
        return (replace(exchange, reply=b"", fault=refused), {}) if refused else (exchange, held)

    async def _refused(self, job: Job, held: Values) -> int:
        """The fault for which an answer does not count, 0 when it does; asks for the meter's number while in doubt."""
        number = self._identities.first(job.device)
        if number is None or number == job.query:
            return 0 if self._told(job.device, held) or set(held) == {NUMBER} else WrongMeter.fault
        opening = self._openings
        exchange, told = await self._put(job.device, number)
        if exchange.fault == REFUSED:
            self._identities.untold(job.device)
            return 0
        right = not exchange.fault and self._openings == opening and self._told(job.device, told)
        return 0 if right else exchange.fault or WrongMeter.fault

    def _told(self, device: int, held: Values) -> bool:
        """Take the number that a meter gave, if it gave one; whether it is not another's."""
        wrong = self._identities.told(device, held)
        if wrong is not None:
            self.watch.found(WrongMeter.code, device, wrong, self._clock.mono_ms())
        elif NUMBER in held:
            self.watch.cleared(WrongMeter.code, device)
        return wrong is None

    async def _put(self, device: int, query: int) -> tuple[Exchange, Values]:
        """Put a question of the plan: the exchange, and what it holds."""
        suspect = self.watch.suspect(device, self._clock.mono_ms())
        exchange = await self._run(self._talks.talk(device, query, suspect, self.schedule.back_off_until(device)))
        self._talks.answered(exchange)
        if self._bus.openings != self._openings:
            self._openings = self._bus.openings
            self._identities.doubt()
            self._talks.doubt()
        return self._judge(exchange)

    def _watch(self, device: int, fault: int, now: int) -> None:
        """Judge what was noticed, and tell what changed."""
        self.watch.see(self._bus.signs(), now)
        if fault not in (OVERRUN, PORT_GONE):
            self.watch.tell(device, fault, now)
        begun, over = self.watch.changes()
        for trouble in begun:
            self._desk.bus_event(self.port.name, trouble.code, self.said(trouble), False)
        for trouble in over:
            self._desk.bus_event(self.port.name, trouble.code, self.said(trouble), True)

    def said(self, trouble: Trouble) -> str:
        """A trouble in words, with its device."""
        subject = f"{self._names[trouble.device]}: " if trouble.device is not None else ""
        return f"{subject}{trouble.detail}"

    def _another_try(self, job: Job, exchange: Exchange, now: int, spent: int) -> bool:
        """Set a meter aside that failed; whether its question waits for another try in the same slot."""
        if exchange.fault not in (SILENT, DAMAGED):
            if exchange.fault not in (PORT_GONE, OVERRUN):
                self.schedule.alive(job.device)
            return False
        self.schedule.failed(job.device, now, spent)
        self.schedule.hold(job.device, owed := self._bus.owed_until(job.device))
        free = max(now, owed, self.schedule.back_off_until(job.device) or 0)
        need = free - now + self._talks.timeout_ms(job.device)
        return not self._displaced and self.schedule.again(job, exchange.fault, self._desk.now(), need)

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
