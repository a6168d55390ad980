"""The open block: its line of time, what is noted in it, and how it becomes the next link of the chain.

Within a block UTC is the believed UTC at its start plus the monotonic time since; a new block believes the clock anew,
as far as it is to be believed (``edge/belief.py``).
"""

import asyncio
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from random import Random

from drivers.query import Values
from drivers.reading import Exchange
from edge import sealer
from edge.belief import Belief, Change, Doubt, Sight, drift
from edge.clock import Clock, together
from edge.config import EdgeConfig
from edge.log import Log
from edge.outbox import DiskFull, Outbox
from edge.recall import last_known
from edge.recorder import Recorder
from edge.sealer import UNPLACED, End, OpenBlock, Record
from edge.software import installed
from edge.witness import AGAINST_MS, WITHIN_MS, Witness
from protocols.record.block import Event, EventKind, Sealed
from protocols.record.chunk import MOST_TRACKS
from protocols.record.receipt import Receipt

LARGEST = 500_000
"""Bytes of replies after which a block is closed early: it must stay below the 1 MiB of RECORD.md."""
RECORD_BYTES = 12
MOST_KINDS = MOST_TRACKS * 7 // 8
"""Kinds of exchange after which a block is closed early: each becomes a track, and those on their way come too."""
MOST_EVENTS = 64
ROUNDING_MS = 2
"""Two clocks read one after the other, each cut off to a millisecond, may disagree by this much."""
SLEW_MS = 1000
"""What a clock that is being slewed may have gone back at the end of a block."""
DAY_MS = 86_400_000
"""No block may last longer (RECORD.md, Course)."""
SALT_BYTES = 16
LIVE_S = 3600
"""After the collector was away for so long blocks need no longer be short: nobody sees them while they are fresh."""
STRETCH = 12
"""A block takes at most this part of the time the collector has been away,"""
LONGEST_MS = 900_000
"""and never longer than this, unless the site has longer blocks at all times."""


@dataclass(frozen=True, slots=True)
class Closing:
    """A block that has ended and waits to be sealed."""

    block: OpenBlock
    end: End
    pending: Collection[tuple[int, int, int]]


class Blocks:
    """State: the open block. Sealed blocks go to the outbox in order, one at a time."""

    def __init__(
        self,
        config: EdgeConfig,
        outbox: Outbox,
        recorder: Recorder,
        *,
        clock: Clock,
        random: Random,
        log: Log,
        agreed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._config, self._outbox, self._recorder = config, outbox, recorder
        self._clock, self._random, self._log = clock, random, log
        self._length = config.installation.site.block_ms
        self.away_s: Callable[[], float] = lambda: 0.0
        """For how long the collector has not been reached; 0 while it is."""
        self._plan = config.plan()
        self._boot = self._bytes = self._ended = self._sealed = 0
        self._kinds = set[tuple[int, bytes, int]]()
        self._early: list[tuple[int, Exchange, Values]] = []
        self._last: int | None = None
        self._agreed, self._witness = agreed, Witness()
        self._sight: Sight
        self.belief: Belief
        self.open: OpenBlock
        self.end: int
        self.chain = asyncio.Lock()
        """Held while a link is made, so that nobody else moves the chain meanwhile."""

    # ---- the line of time

    def believed(self) -> int:
        """UTC ms now, as the open block counts."""
        return self.open.utc + self._clock.mono_ms() - self.open.mono

    def now(self) -> int:
        """The same, but not yet at the block's end: what is due then belongs to the next one."""
        return min(self.believed(), self.end - 1)

    @property
    def over(self) -> bool:
        """Whether the block has come to its end and waits for the next one."""
        return self.believed() >= self.end

    def off_by(self) -> int:
        """How far the clock is from the block's line of time (ms)."""
        mono, utc = together(self._clock)
        return utc - (self.open.utc + mono - self.open.mono)

    def look(self, receipt: Receipt | None = None) -> Change | Doubt | None:
        """Look at the clock: what follows from it, for ``turn`` to accept or to be told. ``receipt``: the newest."""
        self._witness.hear(receipt, self._clock.mono_ms())
        self._sight = self._see()
        return self.belief.look(self._sight)

    def _see(self) -> Sight:
        mono, utc = together(self._clock)
        apart = self._witness.apart(utc - mono, mono)
        agreed = self._agreed() or (apart is not None and apart <= WITHIN_MS)
        return Sight(mono, utc, self._clock.state(), agreed, apart is not None and apart > AGAINST_MS)

    # ---- its life

    def recover(self) -> None:
        """Seal what a crash left open, under its own boot number."""
        for block, following in itertools.zip_longest(left := self._outbox.opened(), left[1:]):
            records = self._outbox.records(block.id)
            link = self._outbox.chain().link
            sealed, end = sealer.recover(
                block,
                records,
                self._clock.utc_ms(),
                following=following,
                link=link,
                salt=self._salt,
                signer=self._config.key,
            )
            self._outbox.seal(block, sealed, link, end.utc, bounded=False)
            self._log("warning", "recovered", seq=link.seq, exchanges=len(records), boot=block.boot)

    def begin(self, until: int | None) -> None:
        """The first block of this start, with the event that bounds the downtime."""
        chain, sight = self._outbox.chain(), self._see()
        mono, now, self._sight = sight.mono, sight.utc, sight
        self.belief = Belief(sight, last_known(self._outbox, self._config.key.public))
        number, _ = self._config.in_force.name
        self._boot, self._last = self._outbox.begin(number), until
        events = [Event(EventKind.BOOT, chain.last_utc or now, now, f"start {self._boot}")]
        events += [Event(EventKind.DISK, now, now, detail[:200]) for detail in self._outbox.alarms()]
        if number != chain.configuration:
            events.append(Event(EventKind.CONFIGURATION, now, now, f"{chain.configuration} -> {number}"))
        if self.belief.corrects_downtime:
            events.append(Event(EventKind.CORRECTION, now, now, "the box was down for long"))
        for flaw in self._config.flaws:
            told = f"running on {number}, the last good one: {flaw}"
            events.append(Event(EventKind.CONFIGURATION, now, now, told[:200]))
        self._open(1, mono, now, events)
        self._log("info", "boot", boot=self._boot, epoch=chain.link.epoch, seq=chain.link.seq, configuration=number)

    def put(self, slot: int, exchange: Exchange, held: Values) -> None:
        """Have an exchange committed in the block in which it was concluded; a slot of it that got no try is concluded
        by its end, however late this process comes to say so: only one of a question may be carried.
        """
        limit = self.open.mono + self.end - self.open.utc
        if exchange.at_ms > limit:
            if not (exchange.fault and UNPLACED < slot < self.end and not exchange.request):
                self._early.append((slot, exchange, held))
                return
            exchange = replace(exchange, at_ms=limit)
        self._bytes += RECORD_BYTES + len(exchange.reply)
        self._kinds.add((exchange.device, exchange.request, len(exchange.reply)))
        self._recorder.put(Record(self.open.id, slot, exchange), held)

    def early(self) -> set[tuple[int, int]]:
        """The questions (device, index) that were concluded after the block's end: a slot of each goes over."""
        return {(exchange.device, exchange.query) for slot, exchange, _ in self._early if slot != UNPLACED}

    @property
    def crowded(self) -> bool:
        """Whether it should be closed before its time."""
        return self._bytes > LARGEST or len(self._kinds) > MOST_KINDS

    @property
    def moves(self) -> tuple[int, bool]:
        """How many were sealed, and whether one waits for it."""
        return self._sealed, self._ended > self._sealed

    def note(self, kind: EventKind, start: int, end: int, detail: str) -> None:
        """Write an event into the open block, as long as there are not too many."""
        if len(self.open.events) < MOST_EVENTS:
            self.open = self.open.noting(Event(kind, start, end, detail[:200]))
            self._recorder.note(self.open)

    def with_gap(self, start: int, detail: str) -> OpenBlock:
        """The open block with a gap from ``start`` to now; one that ended where this begins is lengthened."""
        now, events = self.believed(), self.open.events
        for place, event in enumerate(events):
            if event.kind == EventKind.GAP and event.detail == detail[:200] and event.end >= start:
                longer = replace(event, start=min(event.start, start), end=now)
                return replace(self.open, events=(*events[:place], longer, *events[place + 1 :]))
        return self.open.noting(Event(EventKind.GAP, start, now, detail[:200]))

    def resume(self, block: OpenBlock) -> None:
        """Go on in this block from now."""
        self.open = block
        self.end = self._boundary(self.believed())

    def hurry(self) -> None:
        """The collector answers again: a block that was stretched meanwhile ends at the next ordinary boundary."""
        self.end = min(self.end, self._boundary(self.believed()))

    def turn(
        self, end: int, pending: Collection[tuple[int, int, int]], carry: bool, change: Change | None = None
    ) -> Closing:
        """End the block at ``end`` (UTC ms in its line of time) and open the next, which believes the clock anew.

        ``pending``: (device, query, slot) that come later, under their slots when ``carry``. ``change``: what the last
        look at the clock has led to.
        """
        mono = self.open.mono + end - self.open.utc
        ended = self._ended_at(mono, end)
        if change is not None:
            self.belief.accept(change, self._sight)
        else:
            self.belief.follow(self._see())
        utc = self.belief.utc(mono)
        early, self._early = self._early, []
        self._ended += 1
        carried = {(exchange.device, exchange.query, slot) for slot, exchange, _ in early if slot != UNPLACED}
        closing = Closing(self.open, ended, carried.union(pending))
        carried = carried.union(pending if carry else ())
        self._open(self.open.id + 1, mono, end if abs(utc - end) <= ROUNDING_MS else utc, carried=carried)
        for entry in early:
            self.put(*entry)
        return closing

    def finish(self, pending: Sequence[int]) -> Closing:
        """End the last block now; ``pending``: slots that come no more."""
        end = self.believed()
        self.end = end + 1
        self._ended += 1
        early, self._early = self._early, []
        for entry in early:
            self.put(*entry)
        self.note(EventKind.SHUTDOWN, min([end, *pending]), end, "stopped")
        return Closing(self.open, self._ended_at(self.open.mono + end - self.open.utc, end), frozenset())

    def _ended_at(self, mono: int, end: int) -> End:
        """The end of the open block. Its error holds the true time all through the block."""
        state = self.belief.state(mono)
        return End(mono, end, replace(state, error_ms=state.error_ms + drift(mono - self.open.mono)))

    async def seal(self, closing: Closing) -> Sealed:
        """Seal a block that has ended, once all of it is committed; waits while the disk is full."""
        while True:
            await self._recorder.settled()
            async with self.chain:
                try:
                    return await self._link(closing)
                except DiskFull as error:
                    self._recorder.stop_for_room(str(error))
            await self._recorder.relief()

    async def _link(self, closing: Closing) -> Sealed:
        call, outbox, block, end = self._recorder.call, self._outbox, closing.block, closing.end
        records = await call(lambda: outbox.records(block.id))
        link = (await call(outbox.chain)).link
        sealed = sealer.close(block, end, records, closing.pending, link=link, salt=self._salt, signer=self._config.key)
        await call(lambda: outbox.seal(block, sealed, link, end.utc))
        self._sealed += 1
        self._witness.sealed(link.epoch, link.seq, self._clock.mono_ms())
        self._log("debug", "sealed", epoch=link.epoch, seq=link.seq, exchanges=len(records))
        return sealed

    def _open(
        self,
        number: int,
        mono: int,
        utc: int,
        events: Sequence[Event] = (),
        carried: Collection[tuple[int, int, int]] = (),
    ) -> None:
        self.open = OpenBlock(
            id=number,
            boot=self._boot,
            mono=mono,
            utc=utc,
            clock=self.belief.state(mono),
            configuration=self._config.in_force.name,
            software=installed(),
            plan=self._plan,
            events=tuple(events),
            carried=tuple(sorted(carried)),
        )
        self.end, self._bytes, self._kinds = self._boundary(utc), 0, set()
        self._recorder.note(self.open)

    def _boundary(self, utc: int) -> int:
        """The next UTC multiple of the length, but not one that is only just to come; not after the end of this run."""
        length = self._stretched()
        slack = min(SLEW_MS, length // 2, max(0, DAY_MS - length))
        boundary = ((utc + slack) // length + 1) * length
        return boundary if self._last is None else max(utc + 1, min(boundary, self._last))

    def _stretched(self) -> int:
        """The length of a block now (ms): a multiple of the ordinary one. Most of a short block is its signature; a
        month of long ones fits through a narrow line in minutes. What a block holds is on disk while it is open.
        """
        away_s = self.away_s()
        longest = 0 if away_s < LIVE_S else min(LONGEST_MS, round(away_s * 1000 / STRETCH))
        return max(1, longest // self._length) * self._length

    def _salt(self) -> bytes:
        return self._random.randbytes(SALT_BYTES)
