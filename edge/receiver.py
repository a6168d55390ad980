"""The task that owns a port on which devices speak unasked (HJ 212): it hears, puts on record, and answers.

- A packet goes on record as it came, as the answer to a question without bytes; its slot is concluded by it. One that
  comes again is answered again and recorded once.
- 9014 leaves when the packet is on disk, never before. What could not be kept is not answered: the logger sends again.
- A slot without a packet is silent; damaged, where something came of that device that is no packet.
- What the box missed is asked of the logger's history (edge/backlog.py); what it answers is recorded beyond the slots.
- An MN that no device of the port has is told once, and counted.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from drivers.driver import Driver
from drivers.hj212 import ASK_NOTHING, Hj212Driver
from drivers.reading import Exchange
from drivers.replay import values
from drivers.site import Port
from edge.backlog import Backlog
from edge.clock import Clock
from edge.expected import Expected
from edge.listening import Ears, Heard
from edge.log import Log
from edge.loggers import Device, Line
from edge.poller import Desk
from edge.schedule import Job
from edge.sealer import UNPLACED
from edge.watchdog import Pulse
from protocols.errors import Impossible, Mismatched, PortGone, ProtocolError
from protocols.hj212 import Found, Packet
from protocols.hj212_requests import DATA_ANSWER, REQUEST_ANSWER, RESULT, acknowledgement
from protocols.record.chunk import DAMAGED, PORT_GONE, SILENT

SOON_S = 0.05
"""How soon an answer leaves on a wire that cannot be interrupted."""
REOPEN_MS = 5_000
MOST_STRANGERS = 64
CLOCK_OFF_MS = 300_000
"""How far a logger's clock may be from ours."""
TELL_MS = 10_000
"""Damage is told in the log no more often."""
LAST_ANSWERS_MS = 2_000
"""How long the end of a run waits for what is not on disk yet."""
ANSWERS = (REQUEST_ANSWER, RESULT, DATA_ANSWER, "9013")


class Receiver:
    """One port with its devices. ``run`` until stopped; the other methods are called between its steps."""

    def __init__(
        self,
        port: Port,
        ears: Ears,
        devices: Sequence[tuple[int, Driver]],
        *,
        clock: Clock,
        desk: Desk,
        log: Log,
        pulse: Pulse,
    ) -> None:
        self.port, self.pulse, self.name = port, pulse, port.name
        self._ears, self._clock, self._desk, self._log = ears, clock, desk, log
        self._devices: dict[str, Device] = {}
        for number, driver in devices:
            assert isinstance(driver, Hj212Driver), "a port that is listened to has devices that speak unasked"
            self._devices[driver.mn] = Device(number, driver, Backlog(driver))
        self._numbers = {held.number: held for held in self._devices.values()}
        self._modbus = [held.driver.options.crc == "modbus" for held in self._devices.values()]
        self.schedule = Expected({n: [query.period_ms for query in driver.queries()] for n, driver in devices})
        self._lines: dict[int, Line] = {}
        self._awaiting: dict[Exchange, list[tuple[int, bytes]]] = {}
        self._outgoing: list[tuple[int, bytes]] = []
        self._strangers: set[str] = set()
        self._stopping = self._open = False
        self._try_again = self._told = 0
        self.gone = ""
        self.unknown = self.damaged = 0
        """Packets of unknown MN, and pieces that were none, since the start."""
        self.busy_ms = 0

    @property
    def lines(self) -> int:
        """How many connections there are."""
        return len(self._lines)

    # ---- what the agent calls

    def resume(self, since: int | None, recorded: Mapping[int, Iterable[bytes]]) -> None:
        """Go on from a run that ended at ``since`` (UTC ms; None: there was none): what was missed will be asked for,
        and the packets on record (by device number) are known again: their sender may not have heard the answer.
        """
        for device in self._devices.values():
            raws = [raw for raw in recorded.get(device.number, ()) if self._ours(device, raw)]
            device.backlog.resume(since, raws)
            for raw in raws:
                device.learn(raw)

    def _ours(self, device: Device, raw: bytes) -> bool:
        """Whether a packet of another run is still one of this device: its entry may have changed since."""
        try:
            device.driver.packet(raw)
        except ProtocolError:
            return False
        return True

    def restart(self, now: int) -> None:
        """The line of time begins anew at ``now``."""
        self.schedule.restart(now)
        self._ears.ring()

    def wake(self) -> None:
        """Look at the time again."""
        self._ears.ring()

    def stop(self) -> None:
        """End ``run`` soon."""
        self._stopping = True
        self._ears.ring()

    def pending(self, end: int) -> list[Job]:
        """Slots before ``end`` that have come and are not on record."""
        return self.schedule.unconcluded(end)

    def conclude(self, end: int, mono: int, early: Collection[tuple[int, int]]) -> None:
        """Put on record what was given up before ``end``, the block's: at most one slot of each question goes over,
        of ``early`` ones (device, index) one does already.
        """
        self.schedule.give_up(end, early)
        self._put_late(end - 1, mono)

    def asking(self) -> list[Job]:
        """Nothing is ever out: the devices speak unasked."""
        return []

    def committed(self, exchanges: Iterable[Exchange]) -> None:
        """These are on disk: their senders are answered."""
        for exchange in exchanges:
            if (answers := self._awaiting.pop(exchange, None)) is not None:
                self._outgoing += answers
                self._numbers[exchange.device].learn(exchange.reply)
        if self._outgoing:
            self._ears.ring()

    # ---- the task

    async def run(self) -> None:
        """Hear until stopped; then wait a little for what is to be answered yet."""
        until: int | None = None
        while until is None or (self._awaiting and self._clock.mono_ms() < until):
            if self._stopping and until is None:
                until = self._clock.mono_ms() + LAST_ANSWERS_MS
                self._release(at_once=True)
                continue
            try:
                await self._step()
            except PortGone as error:
                await self._lose(str(error))
            except Exception as error:  # noqa: BLE001 - the outermost loop: one port's failure must not stop the others
                self._log("error", "port_failed", port=self.port.name, why=repr(error))
                await self._lose(repr(error))
        await self._answer_last()
        await self._ears.close()
        self.pulse.rest()

    async def _step(self) -> None:
        self.pulse.rest()
        await self._desk.room()
        self.pulse.within(self._wait_s() * 1000 + REOPEN_MS)
        if not self._open and not await self._reopen():
            return
        await self._answer()
        heard = await self._ears.hear(self._wait_s())
        while self._desk.turning and not (self._desk.paused or self._stopping):
            await self._clock.sleep(SOON_S)
        for piece in heard:
            self._take(piece)
        if self._desk.paused:
            self._awaiting.clear()  # dropped with what was not on disk: never answered, so it will come again
            return
        self._release()
        self._put_late(self._desk.now(), self._clock.mono_ms())

    def _wait_s(self) -> float:
        if self._outgoing or self._awaiting:
            return SOON_S
        if self._desk.paused:
            return REOPEN_MS / 1000
        backlog = [1000 for device in self._devices.values() if device.backlog.asking is not None]
        return max(1, min([self.schedule.delay_ms(self._desk.now()), *backlog])) / 1000

    async def _reopen(self) -> bool:
        """Whether the port is there; it is tried now and then."""
        wait = self._try_again - self._clock.mono_ms()
        if wait > 0:
            await self._clock.sleep(min(wait, self._wait_s() * 1000) / 1000)
            if not self._desk.paused:
                self._put_late(self._desk.now(), self._clock.mono_ms())
            return False
        await self._ears.open()
        self._open = True
        if why := self.gone:
            self.gone = ""
            self._desk.bus_event(self.port.name, PortGone.code, why, over=True)
        return True

    async def _lose(self, why: str) -> None:
        self._open, self._try_again = False, self._clock.mono_ms() + REOPEN_MS
        if not self.gone:
            self._desk.bus_event(self.port.name, PortGone.code, why, over=False)
        self.gone = why
        for line in [*self._lines]:
            self._end(line)
        await self._ears.close()

    async def _answer(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        for line, data in outgoing:
            await self._ears.say(line, data)

    async def _answer_last(self) -> None:
        try:
            await self._answer()
        except PortGone as error:
            self._log("error", "port_failed", port=self.port.name, why=str(error))

    # ---- packets

    def _take(self, heard: Heard) -> None:
        if not heard.data:
            self._end(heard.line)
            return
        line = self._lines.setdefault(heard.line, Line(self._modbus))
        if self._desk.paused:
            return
        for found, at in line.feed(heard):
            self._packet(heard.line, found, at)
        if what := line.damage():
            self._damage(line, what)

    def _packet(self, number: int, found: Found, at: int) -> None:
        device = self._devices.get(found.packet.mn)
        if device is None:
            self._stranger(found.packet)
            return
        self._lines[number].devices.add(found.packet.mn)
        device.line = number
        now = self._desk.now()
        if found.packet.cn in ANSWERS:
            device.backlog.answered(found.packet, now)
            self._release()
            return
        if self._again(device, number, found):
            return
        stamp = device.driver.stamp(ASK_NOTHING, found.raw) if self._fits(device, found) else None
        question = device.backlog.ask(found.packet, stamp, now)
        if question is not None:
            self._outgoing.append((number, question))
            self._log("info", "history_asked", device=device.number, what=device.backlog.said())
        if device.backlog.waits(found.packet, stamp):
            device.backlog.held.append((number, found))
        else:
            self._record(device, number, found, at)

    def _fits(self, device: Device, found: Found) -> bool:
        """Whether a packet has the CRC that its device is said to send."""
        return found.packet.modbus_crc == (device.driver.options.crc == "modbus")

    def _again(self, device: Device, number: int, found: Found) -> bool:
        """Whether a packet came before: then it is answered as soon as it is on disk, and that is all."""
        answer = acknowledgement(found.packet)
        if device.knows(found.raw):
            self._outgoing += [(number, answer)] if answer is not None else []
            return True
        if any(found.raw == held.raw for _, held in device.backlog.held):
            return True
        for exchange, answers in self._awaiting.items():
            if exchange.device == device.number and exchange.reply == found.raw:
                answers.extend([(number, answer)] if answer is not None else [])
                return True
        return False

    def _record(self, device: Device, number: int, found: Found, at: int) -> None:
        """Put a packet on record under its slot, or beyond them; it is answered once it is on disk."""
        try:
            held = values(device.driver, ASK_NOTHING, found.raw)
        except ProtocolError as error:
            device.damaged = True
            self._note_damage(f"MN {device.driver.mn}: {error}")
            return
        now, query = self._desk.now(), device.driver.query(found.packet)
        stamp = device.driver.stamp(ASK_NOTHING, found.raw)
        slot = None
        if query is not None and not device.backlog.follows(found.packet, stamp):
            slot = self.schedule.take(device.number, query, now)
        if slot is None and not device.beyond(self._clock.mono_ms()):
            self._note_damage(f"MN {device.driver.mn}: more packets beyond its slots than are recorded")
            return
        if not device.backlog.follows(found.packet, stamp):
            self._compare(device, stamp, query, now)
        device.backlog.took(found.packet, stamp, now)
        device.damaged = False
        exchange = Exchange(device.number, query or 0, ASK_NOTHING, found.raw, 0, at)
        answer = acknowledgement(found.packet)
        self._awaiting[exchange] = [(number, answer)] if answer is not None else []
        self._desk.put(UNPLACED if slot is None else slot, exchange, held)

    def _compare(self, device: Device, stamp: int | None, query: int | None, now: int) -> None:
        """Tell when a logger's clock is far off, and when it is right again: by its clock its values are dated."""
        if stamp is None or query is None:
            return
        behind = now - stamp - device.driver.span_ms(query)
        off = not -CLOCK_OFF_MS <= behind <= max(CLOCK_OFF_MS, device.driver.queries()[query].period_ms)
        if off != device.clock_off:
            device.clock_off = off
            how = f"{abs(behind) // 1000} s {'behind' if behind > 0 else 'ahead'}"
            what = f"the clock of MN {device.driver.mn!r} is {how}"
            self._desk.bus_event(self.port.name, Impossible.code, what, over=not off)

    def _release(self, at_once: bool = False) -> None:
        """Put on record what waited for a past that is on record now, or will not come."""
        now = self._desk.now()
        for device in self._devices.values():
            if device.backlog.over(now) or at_once:
                held, device.backlog.held = device.backlog.held, []
                for number, found in held:
                    self._record(device, number, found, self._clock.mono_ms())

    def _put_late(self, now: int, mono: int) -> None:
        """Conclude the slots that no packet came for."""
        for job in self.schedule.late(now):
            device = self._numbers[job.device]
            code = PORT_GONE if self.gone else DAMAGED if device.damaged else SILENT
            device.damaged = False
            self._desk.put(job.slot, Exchange(job.device, job.query, ASK_NOTHING, b"", code, mono), {})

    # ---- what is no packet of ours

    def _end(self, number: int) -> None:
        """A line is over: what was asked on it is not answered any more."""
        self._lines.pop(number, None)
        for device in self._devices.values():
            if device.line == number:
                device.line = None
                device.backlog.lose()

    def _stranger(self, packet: Packet) -> None:
        self.unknown += 1
        if packet.mn not in self._strangers and len(self._strangers) < MOST_STRANGERS:
            self._strangers.add(packet.mn)
            what = f"a packet of an unknown MN {packet.mn[:64]!r}, CN {packet.cn[:8]}"
            self._desk.bus_event(self.port.name, Mismatched.code, what, over=False)

    def _damage(self, line: Line, what: str) -> None:
        """Something came that is no packet: of the one device that speaks on this line, if it is one."""
        mns = line.devices or (set(self._devices) if len(self._devices) == 1 else set())
        if len(mns) == 1:
            self._devices[next(iter(mns))].damaged = True
        self._note_damage(what)

    def _note_damage(self, what: str) -> None:
        self.damaged += 1
        if self.damaged == 1 or self._clock.mono_ms() - self._told > TELL_MS:
            self._told = self._clock.mono_ms()
            self._log("warning", "damaged", port=self.port.name, why=what)
