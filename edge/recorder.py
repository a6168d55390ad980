"""The one writer of the open block: gathers what arrives while the last commit runs, and commits it together.

Nothing that was put here counts before its commit. When the disk is full what was put is dropped (it was never
acknowledged) and its earliest slot is remembered, so that the gap can be told; blocks that were opened are kept.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from drivers.query import Values
from edge.clock import Alarm
from edge.outbox import DiskFull, Outbox
from edge.sealer import OpenBlock, Record

T = TypeVar("T")
Entry = tuple[Record, Values]
GATHER_S = 0.1
"""What comes within this is committed together: meters that are due together cost one write, and the card lasts."""
MOST_WAITING = 5000
"""Exchanges in memory before the ports are made to wait for the disk."""


class Recorder:
    """Owned by the agent. ``committed`` is called with what is now on disk, ``on_full`` when there was no room."""

    def __init__(
        self, outbox: Outbox, committed: Callable[[Sequence[Entry]], None], on_full: Callable[[str], None]
    ) -> None:
        self._outbox, self._committed, self._on_full = outbox, committed, on_full
        self._entries: list[Entry] = []
        self._blocks: list[OpenBlock] = []
        self._put = self._done = 0
        self._alarm, self._progress, self._relief = Alarm(), asyncio.Event(), asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox") if outbox.durable else None
        self.full = False
        self.lost_from: int | None = None
        """The earliest slot (UTC ms) that was dropped since the disk became full."""

    def put(self, record: Record, held: Values) -> None:
        """Have an exchange committed; ``held`` goes with it to ``committed``."""
        if self.full:
            self._lose([(record, held)])
            return
        self._entries.append((record, held))
        self._put += 1
        self._alarm.ring()

    def note(self, block: OpenBlock) -> None:
        """Have a block committed that was opened, or in which something was noted. Kept while the disk is full."""
        self._blocks.append(block)
        self._put += 1
        self._alarm.ring()

    @property
    def moves(self) -> tuple[int, bool]:
        """How much was committed so far, and whether anything waits for it."""
        return self._done, self._put > self._done

    async def settled(self) -> None:
        """Return when everything put before is committed, or dropped because the disk is full."""
        wanted = self._put
        while self._done < wanted:
            self._progress.clear()
            await self._progress.wait()

    async def relief(self) -> None:
        """Return when something was done about the full disk: there is room again, or the reserve was given back."""
        await self._relief.wait()

    async def room(self) -> None:
        """Return when the disk keeps up."""
        if len(self._entries) > MOST_WAITING:
            await self.settled()

    async def run(self) -> None:
        """Commit until cancelled; StoreError when the store fails for another reason than room."""
        while True:
            if self.full or not (self._entries or self._blocks):
                await self._alarm.wait()
            else:
                if self._thread is not None:
                    await asyncio.sleep(GATHER_S)
                await self._commit()

    async def retry(self, block: OpenBlock, go_on: bool = True) -> bool:
        """Commit what was kept and this block, in which the gap is noted; True when there was room for it. Then
        readings are taken again, or not yet, unless they shall ``go_on``.
        """
        kept, self._blocks = self._blocks, []
        try:
            await self.call(lambda: self._outbox.add([], [*kept, block]))
        except DiskFull:
            self._blocks = kept + self._blocks
            return False
        if go_on:
            self.full, self.lost_from = False, None
        self._advance(len(kept))
        self._relief.set()
        self._alarm.ring()
        return True

    def stop_for_room(self, why: str) -> None:
        """The disk is full: drop what waits, say so."""
        self._lose(self._entries)
        dropped, self._entries = len(self._entries), []
        self._advance(dropped)
        self._relief.clear()
        if not self.full:
            self.full = True
            self._on_full(why)

    def close(self) -> None:
        """Wait for what is being done with the store; nothing may be asked of it afterwards."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    async def call(self, work: Callable[[], T]) -> T:
        """Do something with the store, one thing at a time: in its thread when it waits for the disk, else at once."""
        if self._thread is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _commit(self) -> None:
        entries, self._entries = self._entries, []
        blocks, self._blocks = self._blocks, []
        try:
            await self.call(lambda: self._outbox.add([record for record, _ in entries], blocks))
        except DiskFull as error:
            self._blocks = blocks + self._blocks
            self._entries = entries + self._entries
            self.stop_for_room(str(error))
            return
        self._committed(entries)
        self._advance(len(entries) + len(blocks))

    def _advance(self, count: int) -> None:
        self._done += count
        self._progress.set()

    def _lose(self, entries: Sequence[Entry]) -> None:
        slots = [record.slot for record, _ in entries if record.slot >= 0]
        self.lost_from = min([*slots, *([] if self.lost_from is None else [self.lost_from])], default=None)
