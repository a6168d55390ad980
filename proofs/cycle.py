"""``python -m proofs.cycle STATE ROUNDS FIRST [KEPT]``: the agent's own store, recorder and blocks at work.

They are driven through commits, a seal, receipts of both levels and a prune, round after round, always by the same
calls in one thread. It says what the agent says, and each receipt before it is acted on. ``FIRST`` is where the meters'
count goes on, ``KEPT`` how many bytes of blocks are kept: little, so that much is pruned. The log of SQLite is folded
into the file early, so that checkpoints are many.
"""

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any

from drivers.reading import Exchange
from edge import config
from edge.blocks import Blocks
from edge.clock import NTP, SYNCHRONISED, Alarm
from edge.config import EdgeConfig
from edge.log import to_stderr
from edge.outbox import Outbox
from edge.recorder import Entry, Recorder
from proofs.gateway_started import as_the_agent
from protocols import modbus
from protocols.errors import TanmeterError
from protocols.record.block import ClockState
from protocols.record.cose import PrivateKey
from protocols.record.receipt import RECEIVED, SETTLED, Receipt, sign_receipt

COLLECTOR_KEY = "collector.pem"
"""Beside the state folder: the key of a collector that is always there and has a second copy of everything."""
KEPT = 4_000
"""Bytes of blocks that are kept."""
CHECKPOINT = 24
"""Pages of the log of SQLite after which it is folded in."""
BATCHES, STEP_MS = 2, 100


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.utc, self.mono = time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000

    def pass_by(self, milliseconds: int) -> None:
        """Let time pass."""
        self.utc, self.mono = self.utc + milliseconds, self.mono + milliseconds

    def mono_ms(self) -> int:
        return self.mono

    def utc_ms(self) -> int:
        return self.utc

    def state(self) -> ClockState:
        return ClockState(NTP, SYNCHRONISED, 10, self.utc // 1000)

    async def sleep(self, seconds: float) -> None:
        self.pass_by(round(seconds * 1000))
        await asyncio.sleep(0)


class AtOnce(Recorder):
    """The recorder, but that it waits for the disk itself, and not for more to write: every call of the system comes
    from one thread.
    """

    def __init__(
        self, outbox: Outbox, committed: Callable[[Sequence[Entry]], None], on_full: Callable[[str], None]
    ) -> None:
        super().__init__(outbox, committed, on_full)
        self._thread = None


class Cycle:
    """One start."""

    def __init__(self, held: EdgeConfig, outbox: Outbox, collector: PrivateKey, first: int) -> None:
        self._held, self._outbox, self._collector, self._count = held, outbox, collector, first
        self._time, self._log, self._total = Time(), to_stderr("en", "debug"), 0
        self._full, self._full_since = Alarm(), 0
        self._recorder = AtOnce(outbox, self._committed, self._disk_full)
        self._blocks = Blocks(held, outbox, self._recorder, clock=self._time, random=SystemRandom(), log=self._log)

    async def run(self, rounds: int) -> None:
        """Start, so many rounds, and end without a word: StoreError when the store fails."""
        self._blocks.recover()
        self._blocks.begin(None)
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._recorder.run()), tasks.create_task(self._wait_for_room())]
            for _ in range(rounds):
                await self._round()
            for task in beside:
                task.cancel()

    async def _round(self) -> None:
        for _ in range(BATCHES):
            self._time.pass_by(STEP_MS)
            self._count += 1
            for number, driver in enumerate(self._held.installation.drivers):
                request = driver.queries()[0].request
                asked = modbus.parse_tcp(request)
                reply = modbus.frame_tcp(
                    asked.transaction, asked.unit, bytes([asked.function, 4]) + self._count.to_bytes(4)
                )
                exchange = Exchange(number, 0, request, reply, 0, self._time.mono_ms())
                slot = self._blocks.believed() // STEP_MS * STEP_MS
                self._blocks.put(slot, exchange, {})
            await self._recorder.settled()
        closing = self._blocks.turn(self._blocks.believed(), (), carry=False)
        await self._blocks.seal(closing)
        for level in (RECEIVED, SETTLED):
            self._receipt(level)

    def _receipt(self, level: int) -> None:
        link = self._outbox.chain().link
        receipt = Receipt(link.gateway, link.epoch, link.seq, link.previous, level, self._time.utc_ms())
        envelope = sign_receipt(receipt, self._collector)
        say({"code": "receipt", "envelope": envelope.hex()})
        self._outbox.settle(receipt, envelope)

    def _committed(self, entries: Sequence[Entry]) -> None:
        self._total += len(entries)
        self._log("debug", "committed", exchanges=len(entries), total=self._total)
        kept = [record.exchange for record, _ in entries]
        say({"code": "kept", "answers": [[exchange.device, exchange.reply.hex()] for exchange in kept]})

    def _disk_full(self, why: str) -> None:
        self._full_since = self._blocks.believed()
        say({"code": "full", "why": why})
        self._full.ring()

    async def _wait_for_room(self) -> None:
        """As the agent does: a gap in the record, and on."""
        while True:
            await self._full.wait()
            while self._recorder.full:
                await self._time.sleep(0.01)
                block = self._blocks.with_gap(self._full_since, "disk full: readings stopped")
                if await self._recorder.retry(block):
                    self._blocks.resume(block)


def say(told: dict[str, object]) -> None:
    """One line on standard error."""
    sys.stderr.write(json.dumps(told) + "\n")
    sys.stderr.flush()


def soon_folded(*arguments: Any, **named: Any) -> sqlite3.Connection:
    """A connection whose log is folded in early."""
    connection: sqlite3.Connection = _connect(*arguments, **named)
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
    return connection


_connect = sqlite3.connect


def main(state: str, rounds: str, first: str, kept: str = str(KEPT)) -> int:
    """The exit code: 0 at the end, 1 when the store failed."""
    sqlite3.connect = soon_folded  # type: ignore[assignment]
    held = config.load(Path(state))
    collector = PrivateKey.from_pem((Path(state).parent / COLLECTOR_KEY).read_bytes())
    try:
        outbox = as_the_agent(held, time.time_ns() // 1_000_000, durable=True, max_bytes=int(kept))
        try:
            asyncio.run(Cycle(held, outbox, collector, int(first)).run(int(rounds)))
        finally:
            outbox.close()
    except TanmeterError as error:
        return _failed(error)
    except BaseExceptionGroup as group:
        failures, others = group.split(TanmeterError)
        if others is not None or failures is None:
            raise
        return _failed(failures)
    return 0


def _failed(error: BaseException) -> int:
    say({"code": "failed", "why": str(error)})
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
