"""Delivery: sends what the collector does not hold until its signed receipt says that it holds it.

The newest block goes first, ahead of its turn, so that what is live is seen at once; beside it the backlog goes, oldest
first, in batches that hold the line no longer than the next live block may wait. What was taken ahead of its turn is
not sent again: the receipt passes over it.
"""

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
from edge.pace import Pace
from edge.recorder import Recorder
from edge.retry import Retry
from edge.session import Reply, understand
from edge.transport import Response, Transport
from protocols.errors import AbsentError, AdmissionError, RecordError, TrustError, UnreachableError
from protocols.record import cbor, former
from protocols.record.answer import BATCH_TYPE, MOST_BLOCKS, encode_batch
from protocols.record.cose import PublicKey
from protocols.record.receipt import RECEIPT_TYPE, Receipt, open_receipt
from protocols.record.siteconfig import digest

BLOCKS_PATH, CONFIGS_PATH, RECEIPTS_PATH = "/v1/blocks", "/v1/configs", "/v1/receipts"
CONFIG_TYPE = "application/cbor"
TOO_LARGE = 413
BUSY = {429: "collector busy", 503: "collector busy", 507: "collector's disk full"}
"""What the collector says when it takes nothing for now, by status."""
IN_TURNS = "taken in turns"
"""The collector has much to read in a block, or in those before it: the same is sent again soon."""
MOST_LIVE = 4
"""Blocks sent ahead of their turn at once: those that were sealed while a batch was on its way."""
MOST_BEGAN = 32
"""Receipts that epochs began with which are shown together with the newest one."""
NOWHERE = (-1, -1)


@dataclass(slots=True)
class Standing:
    """What status tells of the delivery. ``ahead``: blocks that were sent ahead of their turn; ``rate``: bytes a second
    that the line was seen to carry; ``code``: of the error, where it has one."""

    state: str = "starting"
    error: str = ""
    code: str = ""
    receipt: Receipt | None = None
    settled: Receipt | None = None
    batches: int = 0
    blocks: int = 0
    ahead: int = 0
    rate: float | None = None
    results: Counter[str] = field(default_factory=Counter)
    """How often each state came of an attempt."""


class Sync:
    """State: where to send from, what was shown live, and how much at a time.

    ``chain`` is the lock under which links are made; ``forked`` is told of a new epoch, for the record, ``returned``
    that the collector answers again.
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
        returned: Callable[[], None] = lambda: None,
    ) -> None:
        self._config, self._collector, self._transport = config, collector, transport
        self._outbox, self._recorder, self._chain, self._log = outbox, recorder, chain, log
        self._forked, self._returned = forked, returned
        self._retry, self._alarm, self._leaving = Retry(random), Alarm(), Alarm()
        self._left = False
        self._pace = Pace(config.installation.site.block_ms / 1000)
        self._at, self._shown = (0, 0), NOWHERE
        self._kept: set[tuple[int, int]] = set()
        self._newest: tuple[Receipt, bytes] | None = None
        self._configured = self._introduced = self._behind = self._stuck = False
        self._hold_until = 0.0
        self._down_since: float | None = None
        self._told = ("", "")
        self.standing = Standing()

    def ring(self) -> None:
        """There is a new block."""
        self._alarm.ring()

    def leave(self) -> None:
        """Have ``run`` return once the attempt at hand is over, with what it was answered."""
        self._left = True
        self._alarm.ring()
        self._leaving.ring()

    def away_s(self) -> float:
        """For how long the collector has not been reached; 0 while it answers."""
        return 0.0 if self._down_since is None else _now() - self._down_since

    async def run(self) -> None:
        """Deliver until told to leave, or cancelled."""
        self._at = await self._recorder.call(self._outbox.first_unsettled)
        if (newest := (await self._recorder.call(self._outbox.chain)).receipt) is not None:
            with contextlib.suppress(RecordError):  # of a collector this box was enrolled with before
                self.standing.receipt = open_receipt(newest, self._collector)
                self._newest = (self.standing.receipt, newest)
        try:
            while not self._left:
                wait = await self._attempt()
                if wait is None:
                    held_s = self._hold_until - _now()
                    await self._alarm.wait(held_s if held_s > 0 else None)
                elif wait > 0:
                    await self._leaving.wait(wait)
        finally:
            await self._transport.close()

    # ---- what is sent

    async def _attempt(self) -> float | None:
        """Send once. Seconds to wait before the next; None when there is nothing to send for now."""
        began = _now()
        try:
            if not self._configured:
                await self._post_configurations()
            if not self._introduced:
                await self._introduce()
            blocks, live = await self._choose()
            if blocks:
                if self.standing.state == "idle":
                    self.standing.state = (
                        "delivering"  # should no answer come, status must not go on saying that all is
                    )
                return await (self._show(blocks) if live else self._deliver(blocks))
            if self._hold_until <= _now():
                self._say("idle", "")
            return None
        except UnreachableError as error:
            self._lost()
            self._say("unreachable", str(error), error.code)
            # the link is there, and each try is paid for: a whole TLS where a person has to act, a machine that refuses
            refused = isinstance(error, TrustError | AdmissionError | AbsentError)
            return self._retry.busy() if refused else self._retry.unreachable(_now() - began)
        except DiskFull as error:
            self._say("disk full", str(error))
            return self._retry.busy()

    async def _choose(self) -> tuple[list[Stored], bool]:
        """What to send now, and whether ahead of its turn: the newest blocks, unless they are in the next batch.

        They go although what is wanted next is damaged here and nothing can follow it. Of what the collector does not
        take one block is enough to find out whether it does now.
        """
        following = self._not_kept(await self._batch(*self._at, 1 if self._stuck else MOST_BLOCKS))
        link = (await self._recorder.call(self._outbox.chain)).link
        newest, held = (link.epoch, link.seq - 1), self._hold_until > _now()
        in_turn = not held and following and (following[-1].epoch, following[-1].seq) >= newest
        if self._at <= newest and not in_turn and self._shown < newest:
            first = first_ahead(self._at, self._shown, newest)
            if live := await self._batch(link.epoch, first, MOST_LIVE):
                return live, True
        return ([] if held else following), False

    def _not_kept(self, following: list[Stored]) -> list[Stored]:
        """Of the blocks that are wanted next those before any that the collector has kept. When the first one is among
        them, it was let go there: it is wanted again."""
        self._kept = {place for place in self._kept if place > self._at}
        places = [(block.epoch, block.seq) for block in following]
        return following[: next((n for n, place in enumerate(places) if n and place in self._kept), len(places))]

    async def _batch(self, epoch: int, seq: int, most: int) -> list[Stored]:
        return await self._recorder.call(partial(self._outbox.batch, epoch, seq, most, self._pace.size))

    async def _show(self, blocks: Sequence[Stored]) -> float:
        """Send blocks ahead of their turn: the collector shows them, and keeps them until the chain comes to them."""
        reply = await self._exchange(blocks)
        if isinstance(reply, float):
            return reply
        self._shown = (blocks[-1].epoch, blocks[-1].seq)
        await self._take(reply)
        self._kept.update(reply.ahead)
        self.standing.ahead += len(blocks)
        self._say("delivering", "")
        return 0.0

    async def _deliver(self, blocks: Sequence[Stored]) -> float:
        """Send what the collector wants next."""
        wanted, first = self._at, (blocks[0].epoch, blocks[0].seq)
        reply = await self._exchange(blocks)
        if isinstance(reply, float):
            return reply
        self._hold_until = _now() + reply.pause_s
        if await self._take(reply):
            self._stuck = False
            self._retry.succeeded()
            self.standing.batches += 1
            self.standing.blocks += len(blocks)
            self._say("delivering", "")
            return 0.0
        if reply.later and (wait := self._retry.later()) is not None:
            self._say(IN_TURNS, "")
            return wait
        self._stuck = self._at == wanted
        if self._at == wanted < first and first in reply.ahead:
            return await self._go_on_behind(blocks[0])
        self._say("held up", reply.objection or "the collector's receipt did not move on", reply.code)
        return self._retry.busy()

    async def _exchange(self, blocks: Sequence[Stored]) -> Reply | float:
        """The collector's reply to blocks, or seconds to wait when nothing was understood."""
        body, began = encode_batch([block.frame for block in blocks]), _now()
        try:
            response = await self._transport.post(BLOCKS_PATH, body, BATCH_TYPE)
        except UnreachableError:
            self._pace.failed(_now() - began)
            raise
        if response.status == TOO_LARGE:
            self._pace.too_large()
        if response.status in BUSY:
            return self._put_off(BUSY[response.status], f"status {response.status}", response)
        try:
            reply = understand(blocks, response.status, response.body, self._config.gateway, self._collector)
        except UnreachableError as error:
            return self._put_off("not understood", str(error), response, error.code)
        self._pace.carried(len(body), _now() - began)
        self.standing.rate = self._pace.rate
        self._reached()
        return reply

    def _put_off(self, state: str, error: str, response: Response, code: str = "") -> float:
        """Nothing is settled by this answer."""
        if state == "not understood":
            self._lost()
        self._say(state, error, code)
        return self._retry.busy(response.retry_after_s)

    # ---- what comes back

    async def _take(self, reply: Reply) -> bool:
        """Do what a reply says; True when there is progress."""
        for block, reason in reply.refused:
            self._log("error", "refused", epoch=block.epoch, seq=block.seq, why=reason)
            await self._recorder.call(partial(self._outbox.refuse, block.epoch, block.seq, reason))
        if reply.unknown_configuration and self._configured:
            self._configured = False
            await self._post_configurations()
        await self._settle(reply.settled)
        if reply.receipt is None:
            return reply.forgotten and await self._return(await self._batch(0, 0, 1))
        if not await self._recorder.call(partial(self._outbox.settle, reply.receipt, reply.envelope)):
            return await self._go_elsewhere(reply.receipt, reply.envelope)
        self.standing.receipt = reply.receipt
        self._compare(reply.receipt, reply.envelope)
        before, self._at = self._at, (reply.receipt.epoch, reply.receipt.next_seq)
        return self._at > before

    async def _go_on_behind(self, block: Stored) -> float:
        """What the collector wants is not here any more: a second copy held it once. Be let on with this block, the
        first one behind it. Seconds to wait before the next attempt.
        """
        wanted = f"{self._at[0]}/{self._at[1]}"
        if await self._return([block]) and self._at == (block.epoch, block.seq):
            self._say("delivering", "")
            return 0.0
        found = (
            f"the collector wants block {wanted}, the first one from there that is held is {block.epoch}/{block.seq}"
        )
        self._say("held up", f"{found}: `tanmeter cloud readmit` lets the chain go on with it")
        return self._retry.busy()

    async def _return(self, oldest: Sequence[Stored]) -> bool:
        """Be taken in again by a collector that has lost its store, or the blocks before ``oldest``, on the newest
        receipt it gave: True once it is.
        """
        proof = (await self._recorder.call(self._outbox.chain)).receipt
        if proof is None:
            return False
        body = returning.request(self._config, proof, oldest)
        response = await self._transport.post(returning.PATH, body, returning.MEDIA)
        if (taken := returning.taken(response, self._config.gateway, self._collector)) is None:
            return False
        receipt, envelope = taken
        self._log("warning", "taken_in_again", place=f"{receipt.epoch}/{receipt.next_seq}")
        await self._recorder.call(partial(self._outbox.settle, receipt, envelope))
        self._at, self._configured, self._introduced = (receipt.epoch, receipt.next_seq), False, False
        return True

    async def _settle(self, settled: tuple[Receipt, bytes] | None) -> None:
        """A second copy holds what this receipt of level 2 covers."""
        new = settled is not None and settled[0] != self.standing.settled
        if settled is not None and new and await self._recorder.call(partial(self._outbox.settle, *settled)):
            self.standing.settled = settled[0]

    def _compare(self, receipt: Receipt, envelope: bytes) -> None:
        """A collector that is behind what it signed once was restored from an older copy: it shall hear of it."""
        if self._newest is None or _place(receipt) >= _place(self._newest[0]):
            self._newest, self._behind = (receipt, envelope), False
        elif not self._behind:
            self._behind, self._introduced = True, False

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

    # ---- beside the blocks

    async def _post_configurations(self) -> None:
        """Send every configuration; the collector knows most of them already. UnreachableError."""
        for signed in self._config.configurations:
            response = await self._transport.post(CONFIGS_PATH, _configuration(signed), CONFIG_TYPE)
            if response.status >= 500 or response.status < 200:
                raise UnreachableError(f"{CONFIGS_PATH}: status {response.status}")
            if response.status >= 300:
                self._log("warning", "configuration", number=signed.config.number, status=response.status)
        self._configured = True

    async def _introduce(self) -> None:
        """Show the newest receipt held, and those that epochs began with: a collector that was restored learns how far
        it was, and has again what its gateway's chain is proven with. UnreachableError.

        What else it answers is no reason to wait: it may be one that does not ask for receipts.
        """
        began = await self._recorder.call(partial(self._outbox.began, MOST_BEGAN))
        await self._show_former(began)
        if self._newest is not None:
            shown = dict.fromkeys([self._newest[1], *began])
            body = b"".join([envelope for envelope in shown if self._is_of(self._collector, envelope)])
            response = await self._transport.post(RECEIPTS_PATH, body, RECEIPT_TYPE)
            if response.status >= 500:
                raise UnreachableError(f"{RECEIPTS_PATH}: status {response.status}")
            with contextlib.suppress(UnreachableError):
                await self._take(understand([], response.status, response.body, self._config.gateway, self._collector))
        self._introduced = True

    async def _show_former(self, began: Sequence[bytes]) -> None:
        """Show what epochs began with under a collector that this box had before, or may yet begin with, and its key.
        UnreachableError."""
        newest = (await self._recorder.call(self._outbox.chain)).receipt
        shown = dict.fromkeys([*began, *([] if newest is None else [newest])])
        for key in self._config.former:
            if theirs := [envelope for envelope in shown if self._is_of(key, envelope)]:
                body = former.shown(former.sign_former(self._config.key, key), theirs)
                response = await self._transport.post(RECEIPTS_PATH, body, CONFIG_TYPE)
                if response.status >= 500:
                    raise UnreachableError(f"{RECEIPTS_PATH}: status {response.status}")

    def _is_of(self, collector: PublicKey, envelope: bytes) -> bool:
        """Whether this collector signed it for this box: not another that it was enrolled with, and no rotten byte."""
        try:
            return open_receipt(envelope, collector).gateway == self._config.gateway
        except RecordError:
            return False

    # ---- what is told

    def _lost(self) -> None:
        self._down_since = _now() if self._down_since is None else self._down_since

    def _reached(self) -> None:
        if self._down_since is not None:
            self._down_since = None
            self._returned()

    def _say(self, state: str, error: str, code: str = "") -> None:
        if state != "idle":
            self.standing.results[state] += 1
        self.standing.state, self.standing.error, self.standing.code = state, error, code
        if state != "delivering" and (state, code) != self._told:
            self._told = (state, code)
            well = state in ("idle", IN_TURNS)
            self._log("info" if well else "warning", "sync", state=state, why=f"{code} {error}".strip())


def first_ahead(wanted: tuple[int, int], shown: tuple[int, int], newest: tuple[int, int]) -> int:
    """From which seq of the newest block's epoch blocks go ahead of their turn: what was not shown yet, if that is few.

    Never the first block of an epoch: a collector that takes it has done with the epochs before, and what is wanted of
    them would come too late.
    """
    few = shown[0] == newest[0] and newest[1] - shown[1] <= MOST_LIVE
    first = shown[1] + 1 if few else newest[1]
    return max(first, 1) if newest[0] > wanted[0] else first


def _configuration(signed: Signed) -> bytes:
    return cbor.encode({0: signed.envelope, 1: list(signed.profiles)})


def _place(receipt: Receipt) -> tuple[int, int]:
    return receipt.epoch, receipt.next_seq


def _now() -> float:
    return asyncio.get_running_loop().time()
