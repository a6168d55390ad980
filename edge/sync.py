"""Delivery: sends what the collector does not hold, oldest first, until its signed receipt says that it holds it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from edge import returning
from edge.clock import Alarm
from edge.config import EdgeConfig, Signed
from edge.log import Log
from edge.outbox import DiskFull, Outbox, Stored
from edge.recorder import Recorder
from edge.retry import Retry
from edge.session import Reply, understand
from edge.transport import Transport
from protocols.errors import RecordError, UnreachableError
from protocols.record import cbor
from protocols.record.answer import BATCH_TYPE, MOST_BLOCKS, encode_batch
from protocols.record.cose import PublicKey
from protocols.record.receipt import Receipt, open_receipt
from protocols.record.siteconfig import digest

BLOCKS_PATH, CONFIGS_PATH = "/v1/blocks", "/v1/configs"
CONFIG_TYPE = "application/cbor"
LARGEST_BATCH = 1_000_000
SMALLEST_BATCH = 16_384
TOO_LARGE = 413
BUSY = {503: "collector busy", 507: "collector's disk full"}
"""What the collector says when it takes nothing for now, by status."""


@dataclass(slots=True)
class Standing:
    """What status tells of the delivery."""

    state: str = "starting"
    error: str = ""
    receipt: Receipt | None = None
    batches: int = 0
    blocks: int = 0
    results: Counter[str] = field(default_factory=Counter)
    """How often each state came of an attempt."""


class Sync:
    """State: where to send from, and how much at a time.

    ``chain`` is the lock under which links are made; ``forked`` is told of a new epoch, for the record.
    """

    def __init__(
        self,
        config: EdgeConfig,
        collector: PublicKey,
        transport: Transport,
        outbox: Outbox,
        recorder: Recorder,
        *,
        chain: asyncio.Lock,
        random: Random,
        log: Log,
        forked: Callable[[int, Receipt], None],
    ) -> None:
        self._config, self._collector, self._transport = config, collector, transport
        self._outbox, self._recorder, self._chain, self._log = outbox, recorder, chain, log
        self._forked = forked
        self._retry, self._alarm = Retry(random), Alarm()
        self._at = (0, 0)
        self._size = SMALLEST_BATCH
        self._configured = False
        self.standing = Standing()

    def ring(self) -> None:
        """There is a new block."""
        self._alarm.ring()

    async def run(self) -> None:
        """Deliver until cancelled."""
        self._at = await self._recorder.call(self._outbox.first_unsettled)
        if (newest := (await self._recorder.call(self._outbox.chain)).receipt) is not None:
            with contextlib.suppress(RecordError):  # of a collector this box was enrolled with before
                self.standing.receipt = open_receipt(newest, self._collector)
        try:
            while True:
                wait = await self._attempt()
                if wait is None:
                    await self._alarm.wait()
                elif wait > 0:
                    await asyncio.sleep(wait)
        finally:
            await self._transport.close()

    async def _attempt(self) -> float | None:
        """Send one batch. Seconds to wait before the next; None when there is nothing to send."""
        try:
            if not self._configured:
                await self._post_configurations()
            blocks = await self._next()
            if not blocks:
                self._say("idle", "")
                return None
            return await self._deliver(blocks)
        except UnreachableError as error:
            self._size = max(SMALLEST_BATCH, self._size // 2)
            self._say("unreachable", str(error))
            return self._retry.unreachable(asyncio.get_running_loop().time())
        except DiskFull as error:
            self._say("disk full", str(error))
            return self._retry.busy()

    async def _deliver(self, blocks: Sequence[Stored]) -> float:
        response = await self._transport.post(BLOCKS_PATH, encode_batch([block.frame for block in blocks]), BATCH_TYPE)
        if response.status == TOO_LARGE:
            self._size = max(SMALLEST_BATCH, self._size // 2)
        if response.status in BUSY:
            self._say(BUSY[response.status], f"status {response.status}")
            return self._retry.busy(response.retry_after_s)
        try:
            reply = understand(blocks, response.status, response.body, self._config.gateway, self._collector)
        except UnreachableError as error:
            self._say("not understood", str(error))
            return self._retry.busy(response.retry_after_s)
        self._size = min(LARGEST_BATCH, self._size * 2)
        if await self._take(reply):
            self._retry.succeeded()
            self.standing.batches += 1
            self.standing.blocks += len(blocks)
            self._say("delivering", "")
            return 0.0
        self._say("held up", reply.objection or "the collector's receipt did not move on")
        return self._retry.busy(response.retry_after_s)

    async def _take(self, reply: Reply) -> bool:
        """Do what a reply says; True when there is progress."""
        for block, reason in reply.refused:
            self._log("error", "refused", epoch=block.epoch, seq=block.seq, why=reason)
            await self._recorder.call(partial(self._outbox.refuse, block.epoch, block.seq, reason))
        if reply.unknown_configuration and self._configured:
            self._configured = False
            await self._post_configurations()
        if reply.receipt is None:
            return reply.forgotten and await self._return()
        if not await self._recorder.call(partial(self._outbox.settle, reply.receipt, reply.envelope)):
            return await self._go_elsewhere(reply.receipt, reply.envelope)
        self.standing.receipt = reply.receipt
        before, self._at = self._at, (reply.receipt.epoch, reply.receipt.next_seq)
        return self._at > before

    async def _return(self) -> bool:
        """Be taken in again by a collector that has lost its store, on the newest receipt it gave: True once it is."""
        proof = (await self._recorder.call(self._outbox.chain)).receipt
        if proof is None:
            return False
        oldest = await self._recorder.call(partial(self._outbox.batch, 0, 0, 1, 1))
        body = returning.request(self._config, proof, oldest)
        response = await self._transport.post(returning.PATH, body, returning.MEDIA)
        if (taken := returning.taken(response, self._config.gateway, self._collector)) is None:
            return False
        receipt, envelope = taken
        self._log("warning", "taken_in_again", place=f"{receipt.epoch}/{receipt.next_seq}")
        await self._recorder.call(partial(self._outbox.settle, receipt, envelope))
        self._at, self._configured = (receipt.epoch, receipt.next_seq), False
        return True

    async def _go_elsewhere(self, receipt: Receipt, envelope: bytes) -> bool:
        """The collector signed that it holds what this chain does not: begin a new epoch after the receipt that says
        so, and True. A receipt of an epoch this chain has left says nothing new: what comes next follows that epoch.
        """
        async with self._chain:
            now = (await self._recorder.call(self._outbox.chain)).link.epoch
            self._at = (receipt.epoch + 1, 0)
            if receipt.epoch < now:
                return False
            await self._recorder.call(partial(self._outbox.open_epoch, receipt.epoch + 1, digest(envelope), envelope))
        self._log("error", "new_epoch", epoch=receipt.epoch + 1, held=f"{receipt.epoch}/{receipt.next_seq}")
        self._forked(receipt.epoch + 1, receipt)
        return True

    async def _next(self) -> list[Stored]:
        epoch, seq = self._at
        return await self._recorder.call(partial(self._outbox.batch, epoch, seq, MOST_BLOCKS, self._size))

    async def _post_configurations(self) -> None:
        """Send every configuration; the collector knows most of them already. UnreachableError."""
        for signed in self._config.configurations:
            response = await self._transport.post(CONFIGS_PATH, _configuration(signed), CONFIG_TYPE)
            if response.status >= 500 or response.status < 200:
                raise UnreachableError(f"{CONFIGS_PATH}: status {response.status}")
            if response.status >= 300:
                self._log("warning", "configuration", number=signed.config.number, status=response.status)
        self._configured = True

    def _say(self, state: str, error: str) -> None:
        changed = state != self.standing.state
        if state != "idle":
            self.standing.results[state] += 1
        self.standing.state, self.standing.error = state, error
        if changed and state != "delivering":
            self._log("info" if state == "idle" else "warning", "sync", state=state, why=error)


def _configuration(signed: Signed) -> bytes:
    return cbor.encode({0: signed.envelope, 1: list(signed.profiles)})
