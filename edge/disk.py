"""The agent and its disk: what is done while it fills up, when it is full, and about blocks that rot on it.

In steps. Room low: settled blocks go before they are old, an event says so. Full: what was not committed is dropped,
the reserve is given back, and with it the gap is put on record and what is committed is sealed; readings stop. When
there is room again the reserve is made anew, and the readings go on by themselves, with one gap for the whole of it.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from edge import retention
from edge.blocks import Blocks
from edge.clock import Alarm, Clock
from edge.database import WAL_RESET_FIXED
from edge.frames import Damage
from edge.log import Log
from edge.opening import aside
from edge.outbox import Outbox
from edge.recorder import Recorder
from edge.reserve import BYTES, Reserve
from edge.scrub import PORTION
from protocols.record.block import EventKind
from protocols.record.siteconfig import digest

ROOM_BYTES = 2 << 20
"""Free on the disk before readings begin again, the reserve not counted."""
MOST_TOLD = 5
"""Damaged blocks that get an event of their own at once."""
LOG_BYTES = 16 << 20
"""SQLite's log is larger only while somebody reads the store for long."""


class Disk:
    """State: since when the disk is full, and whether it is low.

    ``waiting``: slots that are due now and not yet read; ``go_on``: readings may begin again, from this UTC ms.
    """

    def __init__(
        self,
        outbox: Outbox,
        blocks: Blocks,
        recorder: Recorder,
        enrolment: bytes,
        *,
        clock: Clock,
        log: Log,
        retry_s: float,
        waiting: Callable[[int], Iterable[int]],
        go_on: Callable[[int], None],
    ) -> None:
        self._outbox, self._blocks, self._recorder, self._enrolment = outbox, blocks, recorder, enrolment
        self._clock, self._log, self._retry_s = clock, log, retry_s
        self._waiting, self._go_on = waiting, go_on
        self._reserve = Reserve(outbox.path.parent)
        self._room, self._sealed = Alarm(), Alarm()
        self._low = self._log_large = False
        self.since: int | None = None
        self.why = ""

    # ---- full

    def full(self, why: str) -> None:
        """There was no room: readings stop now."""
        now = self._blocks.believed()
        self.since, self.why = min([now, *self._lost(), *self._waiting(now)]), why
        self._log("error", "disk_full", why=why)
        self._room.ring()

    async def run(self) -> None:
        """Keep a reserve; while the disk is full put that on record and try again now and then."""
        await self._recorder.call(self._make_reserve)
        while True:
            await self._room.wait()
            held = False
            while self._recorder.full:
                held = held or await self._hold()
                await self._clock.sleep(self._retry_s)
                if self.since is not None and await self._recorder.call(self._ample):
                    await self._resume(self.since)

    async def _hold(self) -> bool:
        """Put the gap on record with what the reserve gives back, and let what is committed be sealed."""
        if self.since is None:
            return False
        await self._recorder.call(self._reserve.release)
        block = self._blocks.with_gap(min([self.since, *self._lost()]), "disk full: readings stopped")
        if not await self._recorder.retry(block, go_on=False):
            return False
        self._blocks.open = block
        return True

    async def _resume(self, since: int) -> None:
        block = self._blocks.with_gap(min([since, *self._lost()]), "disk full: readings stopped")
        if await self._recorder.retry(block):
            self._blocks.resume(block)
            self._log("info", "disk_room", gap_ms=self._blocks.believed() - since)
            self.since, self.why = None, ""
            self._go_on(self._blocks.believed())

    def _lost(self) -> list[int]:
        return [] if self._recorder.lost_from is None else [self._recorder.lost_from]

    def _ample(self) -> bool:
        """Whether readings may begin again: there is room on the disk, the reserve included, and below the bound."""
        needed = ROOM_BYTES + (0 if self._reserve.held else BYTES)
        if shutil.disk_usage(self._outbox.path.parent).free < needed or self._outbox.short_of():
            return False
        return self._make_reserve()

    def _make_reserve(self) -> bool:
        try:
            self._reserve.make()
        except OSError as error:
            if self.since is None:
                self._log("warning", "no_reserve", why=str(error.strerror))
            return False
        return True

    # ---- low, and damaged

    def ring(self) -> None:
        """A block was sealed."""
        self._sealed.ring()

    async def watch(self) -> None:
        """With every seal: look at some blocks, tell of damaged ones, and of room that becomes short."""
        while True:
            await self._sealed.wait()
            left = await self._recorder.call(self._outbox.shelf.portion)
            while left > 0 and not await self._recorder.call(partial(self._outbox.scrub, min(left, PORTION))):
                left -= PORTION
            if found := await self._recorder.call(self._outbox.shelf.damages):
                await self._tell(found)
            await self._look_at_room()

    async def _tell(self, found: list[Damage]) -> None:
        """Name damaged blocks in the record. One that the collector does not have ends what can be delivered of its
        epoch.
        """
        now = self._blocks.believed()
        for damage in found:
            known = {"epoch": damage.epoch, "seq": damage.seq, "why": damage.detail, "delivered": damage.delivered}
            self._log("error", "block_damaged", **known, start=damage.utc_start, end=damage.utc_end)
        for damage in found[:MOST_TOLD]:
            told = f"block {damage.epoch}/{damage.seq} is damaged on the disk: {damage.detail}"
            self._blocks.note(EventKind.DISK, damage.utc_start or now, damage.utc_end or now, told)
        if len(found) > MOST_TOLD:
            told = f"{len(found) - MOST_TOLD} more blocks are damaged, up to {found[-1].epoch}/{found[-1].seq}"
            self._blocks.note(EventKind.DISK, now, now, told)
        for epoch in {damage.epoch for damage in found if not damage.delivered}:
            first = min(damage.seq for damage in found if damage.epoch == epoch and not damage.delivered)
            await self._cut(epoch, first)

    async def _cut(self, epoch: int, seq: int) -> None:
        """Nothing from this block on can be delivered in its epoch: when it is the one in use, begin another."""
        now = self._blocks.believed()
        async with self._blocks.chain:
            chain = await self._recorder.call(self._outbox.chain)
            if chain.link.epoch != epoch:
                await self._recorder.call(partial(self._outbox.cut, epoch, seq))
                return
            previous = self._enrolment if chain.receipt is None else digest(chain.receipt)
            told = f"epoch {epoch + 1}: what follows damaged block {epoch}/{seq} cannot be delivered"
            renew = partial(self._outbox.renew, epoch + 1, previous, told, cut=(epoch, seq))
            await self._recorder.call(renew)
        self._log("error", "epoch_cut", epoch=epoch + 1, why=told)
        self._blocks.note(EventKind.DISK, now, now, told)

    async def _look_at_room(self) -> None:
        free = await self._recorder.call(self._outbox.free)
        if free < retention.LOW_BYTES and not self._low:
            self._log("warning", "room_low", free=free)
            now = self._blocks.believed()
            self._blocks.note(EventKind.DISK, now, now, f"{free >> 20} MiB left: settled blocks go early")
        self._low = free < (2 if self._low else 1) * retention.LOW_BYTES
        large = self._outbox.log_bytes() > LOG_BYTES
        if large and not self._log_large:
            self._log("warning", "log_large", bytes=self._outbox.log_bytes())
        self._log_large = large

    # ---- what is told of it

    def status(self) -> dict[str, object]:
        """The store as JSON: call it where the store is asked."""
        mark = self._outbox.watermark
        return {
            "sqlite": sqlite3.sqlite_version,
            "one_writer_only": sqlite3.sqlite_version_info < WAL_RESET_FIXED,
            "log_bytes": self._outbox.log_bytes(),
            "reserve": self._reserve.held,
            "low": self._low,
            "read_errors": 0 if mark.mark is None else mark.mark.doubts,
            "damaged": [
                {"epoch": epoch, "seq": seq, "from": start, "to": end, "detail": detail}
                for epoch, seq, start, end, detail in self._outbox.shelf.damaged()
            ],
            "aside": [held.name for held in aside(self._outbox.path)],
        }


def spare(state: Path) -> None:
    """Give the reserve back at a start for which the disk is too full."""
    Reserve(state).release()
