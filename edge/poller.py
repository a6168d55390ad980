"""The task that owns a port: takes the most urgent question, has it asked, and puts what came of it on record."""

from collections import deque
from collections.abc import Collection, Sequence
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
from edge.learned import Learned
from edge.log import Log
from edge.past import Past
from edge.responses import Responses
from edge.schedule import Job, Schedule
from edge.sealer import UNPLACED
from edge.talks import Talks
from edge.watch import Trouble, Watch
from edge.watchdog import STEP_MS, Pulse
from protocols.errors import PortGone, ProtocolError, Refused, SecondMaster, WrongMeter
from protocols.record.chunk import BACK_OFF, DAMAGED, IMPOSSIBLE, OVERRUN, PORT_GONE, REFUSED, SILENT


class Desk(Protocol):
    """What a port needs of the agent."""

    @property
    def paused(self) -> bool:
        """Whether nothing may be asked now."""

    @property
    def turning(self) -> bool:
        """Whether the open block has come to its end and the next one is not open yet: what is asked or taken then
        would be one slot more that goes over. The port is woken when it has turned.
        """

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
        self,
        port: Port,
        bus: Bus,
        devices: Sequence[tuple[int, Device, Driver]],
        learned: Learned,
        *,
        clock: Clock,
        desk: Desk,
        log: Log,
        pulse: Pulse,
    ) -> None:
        self.port, self.pulse, self.name = port, pulse, port.name
        self._bus, self._clock, self._desk, self._log = bus, clock, desk, log
        self._drivers = {number: driver for number, _, driver in devices}
        self._names = {number: device.id for number, device, _ in devices}
        self._talks = Talks(port, devices, learned)
        self._learned = learned
        self._beyond: deque[tuple[int, int, bytes]] = deque()
        self._past = Past([(number, driver) for number, _, driver in devices], learned.last_answers())
        self._identities = Identities(devices)
        self._undecoded: set[tuple[int, int]] = set()
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
        self.responses = {device.id: Responses() for _, device, _ in devices}

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

    def conclude(self, end: int, mono: int, early: Collection[tuple[int, int]]) -> None:
        """Put on record what was given up before ``end``, the block's (UTC ms, and ``mono``): at most one slot of each
        question goes over into the next block. ``early``: the questions (device, index) of which one does already.
        """
        self.schedule.give_up(end, mono, {*early, *((job.device, job.query) for job in self.asking())})
        self._put_missed(mono)

    def asking(self) -> list[Job]:
        """The question that is out."""
        return [self._asking] if self._asking is not None and not self._displaced else []

    async def run(self) -> None:
        """Ask until stopped."""
        while not self._stopping:
            self.pulse.rest()
            await self._desk.room()
            self.pulse.within(STEP_MS)
            now, mono = self._desk.now(), self._clock.mono_ms()
            job = None if self._desk.paused or self._desk.turning else self.schedule.next(now, mono)
            self._put_missed(mono)
            if job is not None:
                await self._ask(job, mono)
                await self._ask_beyond()
            else:
                await self._rest(now, mono)
        await self._bus.close()
        self.pulse.rest()

    async def _rest(self, now: int, mono: int) -> None:
        """Wait until something is due, or until rung while nothing may be asked."""
        if self._desk.paused or self._desk.turning:
            self.pulse.rest()
            await self._alarm.wait()
        else:
            delay_ms = self.schedule.delay_ms(now, mono)
            self.pulse.within(delay_ms)
            await self._alarm.wait(delay_ms / 1000)

    def _put_missed(self, mono: int) -> None:
        for missed in self.schedule.missed():
            slot = missed.job
            self._desk.put(slot.slot, Exchange(slot.device, slot.query, b"", b"", missed.code, mono), {})

    async def _ask(self, job: Job, mono: int) -> None:
        self._asking, before = job, self._bus.gone
        past = self._past.question(job.device)
        exchange, held = await (self._answer(job, mono) if past is None else self._recall(job, past))
        now = self._clock.mono_ms()
        self.busy_ms += now - mono
        self._tell_port(before)
        self._watch(job.device, exchange.fault, now)
        if not self._another_try(job, exchange, now, now - mono):
            self._conclude(job, exchange, held, recalled=past is not None)
        self._asking, self._displaced = None, False

    def _conclude(self, job: Job, exchange: Exchange, held: Values, recalled: bool) -> None:
        """Put on record what came for a slot; while the meter's past is missing its slot waits for that."""
        slot, now = UNPLACED if self._displaced else job.slot, self._desk.now()
        if exchange.fault not in (0, REFUSED, IMPOSSIBLE) if recalled else exchange.fault:
            self._desk.put(slot, exchange, held)
        elif recalled or self._past.missed(job.device, now):
            if recalled and not exchange.fault:
                self._desk.put(UNPLACED, exchange, held)
            if not self._displaced:
                self.schedule.postpone(job)
        else:
            self._past.read(job.device, now)
            self._desk.put(slot, exchange, held)

    async def _recall(self, job: Job, request: bytes) -> tuple[Exchange, Values]:
        """Ask for a piece of the meter's past in the place of a slot."""
        talk = self._talks.talk(job.device, job.query, request, False, self.schedule.back_off_until(job.device))
        exchange, held, _ = self._judge(await self._run(talk))
        if exchange.fault in (SILENT, DAMAGED):
            if self._past.failed(job.device):
                self._log("warning", "past_given_up", port=self.port.name, device=self._names[job.device])
        elif exchange.fault == REFUSED:
            self._past.refused(job.device)
        elif exchange.fault in (0, IMPOSSIBLE):
            self._past.answered(job.device)
        return exchange, held

    async def _ask_beyond(self) -> None:
        """Ask in pieces what the meter refuses as a whole, beyond the plan, until it is silent."""
        while self._beyond and not (self._stopping or self._desk.paused):
            device, query, request = self._beyond.popleft()
            mono, before = self._clock.mono_ms(), self._bus.gone
            exchange, held = await self._identified(device, query, request)
            now = self._clock.mono_ms()
            self.busy_ms += now - mono
            self._tell_port(before)
            self._watch(device, exchange.fault, now)
            if exchange.fault == SILENT:
                self.schedule.failed(device, now, now - mono)
            if exchange.fault in (SILENT, PORT_GONE, OVERRUN):
                break
            if not exchange.fault:
                self.schedule.alive(device)
                self._desk.put(UNPLACED, exchange, held)
        self._beyond.clear()

    def _tell_port(self, before: str) -> None:
        """Tell that the port went away, or came back."""
        gone = self._bus.gone
        if bool(gone) != bool(before):
            self._desk.bus_event(self.port.name, PortGone.code, gone or before, not gone)

    async def _answer(self, job: Job, mono: int) -> tuple[Exchange, Values]:
        """Ask for a slot, as the meter is known to understand it; what must be asked instead is noted."""
        asking = self._learned.requests(job.device, job.query, self._desk.now())
        self._beyond.extend((job.device, job.query, request) for request in asking.beyond)
        if asking.own is None:
            return Exchange(job.device, job.query, b"", b"", BACK_OFF, mono), {}
        return await self._identified(job.device, job.query, asking.own)

    async def _identified(self, device: int, query: int, request: bytes) -> tuple[Exchange, Values]:
        """Ask; what another meter answers than the one that was signed for is no reading."""
        exchange, held = await self._put(device, query, request)
        refused = 0 if exchange.fault else await self._refused(device, query, held)
        return (replace(exchange, reply=b"", fault=refused), {}) if refused else (exchange, held)

    async def _refused(self, device: int, query: int, held: Values) -> int:
        """The fault for which an answer does not count, 0 when it does; asks for the meter's number while in doubt."""
        number = self._identities.first(device)
        if number is None or number == query:
            return 0 if self._told(device, held) or set(held) == {NUMBER} else WrongMeter.fault
        opening = self._openings
        exchange, told = await self._put(device, number, self._learned.wording(device, number))
        if exchange.fault == REFUSED:
            self._identities.untold(device)
            return 0
        right = not exchange.fault and self._openings == opening and self._told(device, told)
        return 0 if right else exchange.fault or WrongMeter.fault

    def _told(self, device: int, held: Values) -> bool:
        """Take the number that a meter gave, if it gave one; whether it is not another's."""
        wrong = self._identities.told(device, held)
        if wrong is not None:
            self.watch.found(WrongMeter.code, device, wrong, self._clock.mono_ms())
        elif NUMBER in held:
            self.watch.cleared(WrongMeter.code, device)
        return wrong is None

    async def _put(self, device: int, query: int, request: bytes) -> tuple[Exchange, Values]:
        """Put a question in these words: the exchange, and what it holds."""
        suspect, back_off = self.watch.suspect(device, self._clock.mono_ms()), self.schedule.back_off_until(device)
        exchange = await self._run(self._talks.talk(device, query, request, suspect, back_off))
        if self._bus.openings != self._openings:
            self._openings = self._bus.openings
            self._identities.doubt()
            self._talks.doubt()
        self._talks.answered(exchange)
        judged, held, reason = self._judge(exchange)
        self._learn(judged, reason)
        return judged, held

    def _learn(self, exchange: Exchange, reason: int) -> None:
        device, query, request = exchange.device, exchange.query, exchange.request
        now = self._desk.now()
        if not exchange.fault:
            self.responses[self._names[device]].add(self._bus.turnaround_ms)
            self._learned.answered(device, query, request, self._bus.turnaround_ms, now)
        elif exchange.fault == REFUSED:
            pieces = self._learned.refused(device, query, request, reason, now)
            self._beyond.extend((device, query, piece) for piece in pieces)
        elif exchange.fault in (SILENT, DAMAGED):
            self._learned.failed(device, query, request, now, damaged=exchange.fault == DAMAGED)

    def _watch(self, device: int, fault: int, now: int) -> None:
        """Judge what was noticed, and tell what changed."""
        self.watch.see(self._bus.signs(), now)
        if fault not in (OVERRUN, PORT_GONE, BACK_OFF):
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
            if exchange.fault not in (PORT_GONE, OVERRUN, BACK_OFF):
                self.schedule.alive(job.device)
            return False
        if exchange.fault == SILENT or not self.watch.named(SecondMaster.code):
            self.schedule.failed(job.device, now, spent)  # what another master destroyed is not the meter's fault
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

    def _judge(self, exchange: Exchange) -> tuple[Exchange, Values, int]:
        """A reply that does not decode is a fault: what is recorded as answered always replays. With what it holds, and
        the meter's reason when it refuses.
        """
        if exchange.fault:
            return exchange, {}, 0
        try:
            return exchange, values(self._drivers[exchange.device], exchange.request, exchange.reply), 0
        except ProtocolError as error:
            self._puzzled(exchange, str(error))
            reason = error.reason if isinstance(error, Refused) else 0
            return replace(exchange, reply=b"", fault=error.fault), {}, reason
        except Exception as error:  # noqa: BLE001 - the outermost loop: a fault of one driver must not stop the port
            self._log("error", "driver_failed", device=exchange.device, why=repr(error))
            return replace(exchange, reply=b"", fault=IMPOSSIBLE), {}, 0

    def _puzzled(self, exchange: Exchange, why: str) -> None:
        """Say why an answer is refused or cannot be: aloud the first time of each question, else only when asked."""
        question = exchange.device, exchange.query
        level = "debug" if question in self._undecoded else "warning"
        self._undecoded.add(question)
        self._log(level, "undecoded", device=self._names[exchange.device], port=self.port.name, why=why)
