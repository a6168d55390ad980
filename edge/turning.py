"""How the open block ends and the next begins: at its end, where another UTC is believed, where the box stood still."""

import asyncio
from collections.abc import Sequence

from edge.belief import STEP_MS, Change, Doubt
from edge.blocks import Blocks, Closing
from edge.log import Log
from edge.ports import Owner
from protocols.errors import ClockError
from protocols.record.block import EventKind


class Turning:
    """Of the agent's blocks and ports; what has ended goes to ``closings``, to be sealed in that order."""

    def __init__(
        self, blocks: Blocks, ports: Sequence[Owner], closings: "asyncio.Queue[Closing | None]", length: int, log: Log
    ) -> None:
        """``length``: of a block, in ms, as the site has it."""
        self._blocks, self._ports, self._closings, self._length, self._log = blocks, ports, closings, length, log

    def turn(self) -> None:
        """The block has come to its end. When the box stood still meanwhile, the next one begins with a gap."""
        end, now = self._blocks.end, self._blocks.believed()
        stood_still = now - end > self._length
        self.close(end, carry=not stood_still)
        if stood_still:
            now = self._blocks.believed()
            self._blocks.note(EventKind.GAP, self._blocks.open.utc, now, "the box stood still")
            self._blocks.resume(self._blocks.open)
            self.restart(now)

    def change(self, change: Change) -> None:
        """Another UTC is believed: the block ends where it believed to be, the next one begins with what changed."""
        before, stepped = self._blocks.believed(), abs(change.off) > STEP_MS
        self.close(before, not stepped, change)
        if stepped:
            self._blocks.note(EventKind.CLOCK_STEP, before, before + change.off, f"UTC moved by {change.off} ms")
            self._log("warning", "clock_step", ms=change.off)
            self.restart(self._blocks.open.utc)
        if change.corrects:
            self._blocks.note(EventKind.CORRECTION, before, before + change.off, "the clock knows the time")
            self._log("info", "clock_known", ms=change.off)

    def doubt(self, doubt: Doubt) -> None:
        """The clock has stepped and is not believed, or is back: an event that moves nothing, and an alarm."""
        now, over = self._blocks.believed(), "over: " if doubt.over else ""
        told = f"{ClockError.code} {over}the clock is {doubt.off} ms off"
        self._blocks.note(EventKind.CLOCK_STEP, now, now, told)
        event = "clock_doubt_over" if doubt.over else "clock_doubted"
        self._log("info" if doubt.over else "error", event, fault=ClockError.code, ms=doubt.off)

    def close(self, end: int, carry: bool = True, change: Change | None = None) -> None:
        """End the block at ``end`` (UTC ms in its line of time). What waits comes later under its slot, at most one of
        each question, unless nothing shall ``carry`` over.
        """
        mono = self._blocks.open.mono + end - self._blocks.open.utc
        early = self._blocks.early()
        for port in self._ports if carry else ():
            port.conclude(end, mono, early)
        pending = [
            (job.device, job.query, job.slot)
            for port in self._ports
            for job in (port.pending(end) if carry else port.asking())
        ]
        self._closings.put_nowait(self._blocks.turn(end, pending, carry, change))
        for port in self._ports:
            port.wake()

    def restart(self, now: int) -> None:
        """The line of time begins anew at ``now`` (UTC ms), on every port."""
        for port in self._ports:
            port.restart(now)
