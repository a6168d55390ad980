"""The agent: one run of a gateway, from start to stop. It ties ports, record, chain and delivery together."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from drivers.query import Values
from drivers.reading import Exchange
from drivers.site import Port
from edge import lastgood
from edge.belief import Change, Doubt
from edge.blocks import Blocks, Closing
from edge.clock import Alarm, Clock
from edge.config import LEARNED, OUTBOX, Collector, EdgeConfig, former_collectors
from edge.delivery import Delivery, Ways
from edge.disk import Disk, spare
from edge.drifting import Drift
from edge.learned import Learned
from edge.ledger import Ledger
from edge.listening import ears
from edge.log import Log, silent
from edge.notebook import Notebook
from edge.opening import open_outbox
from edge.outbox import DiskFull, Outbox
from edge.ports import Listen, Owner, owner
from edge.recall import recall
from edge.receiver import Receiver
from edge.recorder import Entry, Recorder
from edge.standing import Running
from edge.sync import Sync
from edge.transport import Transport
from edge.turning import Turning
from edge.watchdog import Vigil
from edge.wire import Wire
from protocols.errors import DamagedError, StoreError
from protocols.record.block import EventKind
from protocols.record.receipt import Receipt


class Agent:
    """One run of the gateway. With ``durable`` False and a simulated clock it is a simulation, as fast as the machine.

    ``watch_s``: how often the wall clock is compared with the monotonic one; by default every second when durable,
    else at the end of each block. ``retry_s``: how often a full disk is tried again, and collector.json looked at, to
    which ``ways`` makes the way: a box that is not enrolled yet measures, and delivers as soon as it is; one that is
    enrolled with another collector goes there. ``transport``: to the collector that is there at the start.
    ``agreed``: whether the sources of the clock agree, so that a step of it may be believed at once.
    """

    def __init__(
        self,
        state: Path,
        clock: Clock,
        wires: Callable[[Port], Wire],
        transport: Transport | None,
        random: Random,
        *,
        log: Log = silent,
        durable: bool = True,
        watch_s: float | None = None,
        retry_s: float = 5.0,
        ways: Ways | None = None,
        listen: Listen = ears,
        agreed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._state, self._clock, self._wires, self._transport = state, clock, wires, transport
        self._random, self._log, self._durable, self._retry_s = random, log, durable, retry_s
        self._ways, self._listen, self._agreed = ways, listen, agreed
        self._watch_s = watch_s if watch_s is not None else (1.0 if durable else 86_400.0)
        self._alarm = Alarm()
        self._closings: asyncio.Queue[Closing | None] = asyncio.Queue()
        self._pollers: list[Owner] = []
        self._waits_why = ""
        self._started = clock.mono_ms()
        self._outbox: Outbox | None = None
        self._begun, self._drift = asyncio.Event(), Drift(log)
        self.vigil = Vigil(clock)

    async def run(self, stop: asyncio.Event, until_utc_ms: int | None = None) -> None:
        """Read, record and deliver until ``stop`` is set or UTC reaches ``until_utc_ms``; then seal and return.

        ConfigError when the state folder is not as it should be; StoreError when the store fails for good.
        """
        config = lastgood.load(self._state)
        for flaw in config.flaws:
            self._log("error", "last_good", number=config.in_force.config.number, why=flaw)
        while (outbox := self._open(config, until_utc_ms)) is None:
            self._begun.set()
            if await _set_within(stop, self._retry_s):
                return
        self._begun.set()
        try:
            await self._live(stop, until_utc_ms)
        except BaseExceptionGroup as group:
            if isinstance(error := _first(group), DamagedError):
                outbox.doubt()
            raise error from group
        finally:
            self._recorder.close()
            outbox.close()

    async def ready(self, running: "asyncio.Future[None]") -> None:
        """Return when the store is this agent's and ``status`` can be asked, or when ``run`` has ended."""
        begun = asyncio.ensure_future(self._begun.wait())
        await asyncio.wait((begun, running), return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()

    # ---- start, life, end

    def _open(self, config: EdgeConfig, until: int | None) -> Outbox | None:
        """Open the store, seal what a crash left, begin the first block; None while the disk is full."""
        outbox: Outbox | None = None
        try:
            outbox = open_outbox(
                self._state / OUTBOX,
                config.gateway,
                config.previous,
                durable=self._durable,
                now=self._clock.utc_ms(),
                log=self._log,
            )
            self._assemble(config, outbox)
            self._blocks.recover()
            self._blocks.begin(until)
            self.vigil.watch(self._recorder, self._blocks, self._pollers)
            return outbox
        except DiskFull as error:
            self._waits_why = str(error)
            self._log("error", "disk_full", why=self._waits_why)
            spare(self._state)
            self._give_up(outbox)
            return None
        except StoreError as error:
            self._give_up(outbox, error)
            raise

    def _give_up(self, outbox: Outbox | None, error: StoreError | None = None) -> None:
        """Close a store that cannot be used now; where reading it has failed, leave word for the next start."""
        self._outbox = None
        if outbox is not None:
            if isinstance(error, DamagedError):
                outbox.doubt()
            outbox.close()

    def _assemble(self, config: EdgeConfig, outbox: Outbox) -> None:
        self._config, self._outbox = config, outbox
        self._ledger = Ledger(config.installation)
        self._recorder = Recorder(outbox, self._committed, self._stopped_for_room)
        self._blocks = Blocks(
            config,
            outbox,
            self._recorder,
            clock=self._clock,
            agreed=self._agreed,
            random=self._random,
            log=self._log,
        )
        self._disk = Disk(
            outbox,
            self._blocks,
            self._recorder,
            config.previous,
            clock=self._clock,
            log=self._log,
            retry_s=self._retry_s,
            waiting=lambda now: [job.slot for poller in self._pollers for job in poller.pending(now)],
            go_on=self._go_on,
        )
        drivers = dict(enumerate(config.installation.drivers))
        self._notebook = Notebook(self._state / LEARNED, config.installation.site, drivers)
        self._learned = Learned(drivers, self._notebook.read())
        self._pollers = [self._poller(port) for port in config.installation.site.port]
        length = config.installation.site.block_ms
        self._turning = Turning(self._blocks, self._pollers, self._closings, length, self._log)
        self._delivery = Delivery(self._state, self._session, self._ways, self._clock, self._log)
        if self._transport is not None and config.collector is not None:
            self._delivery.begin(config.collector, self._transport)

    def _session(self, collector: Collector, transport: Transport) -> Sync:
        outbox = self._outbox
        assert outbox is not None, "a running agent has its store"
        sync = Sync(
            replace(self._config, former=former_collectors(self._state)),
            collector.key,
            transport,
            outbox,
            self._recorder,
            chain=self._blocks.chain,
            random=self._random,
            log=self._log,
            forked=self._forked,
            returned=self._returned,
        )
        self._blocks.away_s = sync.away_s
        return sync

    def _poller(self, port: Port) -> Owner:
        held = self._config.installation
        devices = [
            (number, device, held.drivers[number])
            for number, device in enumerate(held.site.device)
            if device.port == port.name
        ]
        ways = (self._wires, self._listen)
        return owner(port, devices, ways, self._learned, clock=self._clock, desk=self, log=self._log)

    async def _live(self, stop: asyncio.Event, until: int | None) -> None:
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(work) for work in self._background(stop)]
            sealing = tasks.create_task(self._seal_in_order())
            await self._recall()
            self._turning.restart(self._blocks.open.utc)
            polling = [tasks.create_task(poller.run()) for poller in self._pollers]
            await self._turn_blocks(stop, until)
            for poller in self._pollers:
                poller.stop()
            await asyncio.gather(*polling)
            await self._finish(sealing)
            for task in background:
                task.cancel()

    async def _recall(self) -> None:
        """Tell the ports that only listen what the run before has recorded of them."""
        outbox, drivers = self._outbox, self._config.installation.drivers
        assert outbox is not None, "a running agent has its store"
        since, recorded = await self._recorder.call(lambda: recall(outbox, drivers))
        for receiver in self._receivers:
            receiver.resume(since, recorded)

    @property
    def _receivers(self) -> list[Receiver]:
        return [port for port in self._pollers if isinstance(port, Receiver)]

    def _background(self, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        beside = (self._disk.run(), self._disk.watch(), self._delivery.run(self._retry_s), self._hear(stop))
        return [self._recorder.run(), *beside]

    async def _hear(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._alarm.ring()

    async def _finish(self, sealing: "asyncio.Task[None]") -> None:
        """Seal the last block. With a full disk it stays open; the next start seals it."""
        if self._recorder.full:
            sealing.cancel()
            return
        end = self._blocks.believed() + 1
        owed = [job.slot for poller in self._pollers for job in poller.pending(end)]
        self._closings.put_nowait(self._blocks.finish(owed))
        self._closings.put_nowait(None)
        full = asyncio.ensure_future(self._until_full())
        await asyncio.wait({sealing, full}, return_when=asyncio.FIRST_COMPLETED)
        full.cancel()
        sealing.cancel()
        await self._remember(whole=True)
        self._log("info", "stopped")

    async def _until_full(self) -> None:
        while not self._recorder.full:
            await self._clock.sleep(self._retry_s)

    # ---- blocks

    async def _turn_blocks(self, stop: asyncio.Event, until: int | None) -> None:
        while not stop.is_set() and not self._over(until):
            blocks = self._blocks
            wait_s = (blocks.end - blocks.believed()) / 1000
            await self._alarm.wait(max(0.001, min(wait_s, self._watch_s)) if not self.paused else None)
            if self.paused or stop.is_set() or self._over(until):
                continue
            found = blocks.look(None if (told := self._delivery.standing) is None else told.receipt)
            self._drift.look(blocks.off_by(), blocks.belief.state(self._clock.mono_ms()))
            if isinstance(found, Doubt):
                self._turning.doubt(found)
            if isinstance(found, Change):
                self._turning.change(found)
            elif blocks.over:
                self._turning.turn()
            elif blocks.crowded:
                self._turning.close(blocks.believed())

    def _over(self, until: int | None) -> bool:
        return until is not None and self._blocks.believed() >= until

    async def _seal_in_order(self) -> None:
        while (closing := await self._closings.get()) is not None:
            await self._blocks.seal(closing)
            await self._remember()
            self._disk.ring()
            self._delivery.ring()

    async def _remember(self, whole: bool = False) -> None:
        try:
            await self._notebook.keep(self._learned, self._clock.utc_ms(), self._recorder.call, whole=whole)
        except OSError as error:
            self._log("warning", "not_remembered", why=str(error))

    # ---- what the ports need (poller.Desk)

    @property
    def paused(self) -> bool:
        """Whether nothing may be asked now: the disk is full."""
        return self._recorder.full

    @property
    def turning(self) -> bool:
        """Whether the open block has come to its end and the next one is not open yet."""
        return self._blocks.over

    def now(self) -> int:
        """UTC ms in the open block's line of time, before its end."""
        return self._blocks.now()

    def put(self, slot: int, exchange: Exchange, held: Values) -> None:
        """Have an exchange committed."""
        self._blocks.put(slot, exchange, held)
        if self._blocks.crowded:
            self._alarm.ring()

    async def room(self) -> None:
        """Return when the disk keeps up."""
        await self._recorder.room()

    def bus_event(self, port: str, code: str, what: str, over: bool) -> None:
        """Something began to be wrong with a port, or is over: in the record, and in the log."""
        now = self._blocks.believed()
        if not self.paused:
            self._blocks.note(EventKind.BUS_FAULT, now, now, f"{code} {port}: {'over: ' if over else ''}{what}")
        event = "bus_fault_over" if over else "bus_fault"
        self._log("info" if over else "warning", event, port=port, fault=code, why=what)

    # ---- the disk

    def _committed(self, entries: Sequence[Entry]) -> None:
        block = self._blocks.open
        self._ledger.book(entries, block.utc - block.mono)
        for receiver in self._receivers:
            receiver.committed(record.exchange for record, _ in entries)
        self._log("debug", "committed", exchanges=len(entries), total=self._ledger.committed)

    def _stopped_for_room(self, why: str) -> None:
        self._disk.full(why)

    def _go_on(self, now: int) -> None:
        """There is room again."""
        self._turning.restart(now)
        self._alarm.ring()

    # ---- delivery

    def _returned(self) -> None:
        """The collector answers again: what is open now goes soon."""
        self._blocks.hurry()
        self._alarm.ring()

    def _forked(self, epoch: int, receipt: Receipt) -> None:
        now = self._blocks.believed()
        held = f"epoch {receipt.epoch} up to {receipt.next_seq}"
        self._blocks.note(EventKind.DISK, now, now, f"epoch {epoch}: the collector holds another {held}")

    # ---- what it says of itself

    async def status(self) -> dict[str, object]:
        """The agent as JSON."""
        if self._outbox is None:
            return {"state": "disk-full", "why": self._waits_why}
        running = Running(
            self._config,
            self._clock,
            self._outbox,
            self._recorder,
            self._blocks,
            self._ledger,
            self._pollers,
            self._delivery,
            self._started,
            self._disk,
        )
        return await running.status()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the agent, out of the group in which the tasks were ended."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
