"""The network between a gateway and the collector: ``edge.transport.Transport`` without sockets, with every fault."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from random import Random

import zstandard

from edge.session import ANSWERED
from edge.transport import ANSWER_S, CONNECT_S, Response
from protocols.errors import UnreachableError
from protocols.record import cbor, cose, transport
from protocols.record.answer import Answer, decode_answers, decode_batch, encode_batch
from simulator.fleet.faults import Fault, Plan
from simulator.fleet.node import Node
from simulator.fleet.violation import Witness

BLOCKS = "/v1/blocks"
PORTAL = b"<html><title>Welcome</title><body>Please accept the terms of this network</body></html>"
Serve = Callable[[str, bytes], Awaitable[Response]]


class Line:
    """The access line of one box, over all its lives: what is wrong with it, and until when."""

    def __init__(self) -> None:
        self.down_until = self.half_open_until = self.portal_until = -1.0


class Carried:
    """The transport of one life. What a killed agent still sends reaches nobody."""

    def __init__(
        self,
        node: Node,
        line: Line,
        serve: Serve,
        *,
        plan: Plan,
        random: Random,
        witness: Witness,
        connect_s: float = CONNECT_S,
    ) -> None:
        self._node, self._line, self._serve, self._plan, self._random = node, line, serve, plan, random
        self._witness, self._connect_s = witness, connect_s
        self._life = node.lives

    async def post(self, path: str, body: bytes, content_type: str) -> Response:
        """The answer; UnreachableError when none came."""
        self._check()
        if (portal := await self._reach()) is not None:
            return portal
        if path == BLOCKS:
            self._note(body)
        plan, random = self._plan, self._random
        if plan.hits(Fault.DELAYED, random):
            plan.count(Fault.DELAYED)
            await asyncio.sleep(random.uniform(1, ANSWER_S))
        await asyncio.sleep(random.uniform(0.02, 0.4))
        if plan.hits(Fault.REQUEST_LOST, random):
            plan.count(Fault.REQUEST_LOST)
            await self._give_up()
        if plan.hits(Fault.BUSY, random):
            plan.count(Fault.BUSY)
            return Response(503, b"", random.choice((None, 5.0)))
        sent, altered = self._sent(path, body)
        answer = await self._serve(path, sent)
        if altered is not None:
            self._is_refused(altered, answer)
        self._repeat(path, body)
        if plan.hits(Fault.ANSWER_LOST, random):
            plan.count(Fault.ANSWER_LOST)
            await self._give_up()
        self._check()
        return Response(answer.status, self._damaged(answer.body), answer.retry_after_s)

    async def close(self) -> None:
        """Nothing is open."""

    # ---- how

    def _check(self) -> None:
        if not self._node.alive or self._life != self._node.lives:
            raise UnreachableError("killed")

    async def _reach(self) -> Response | None:
        """None when the way is open; the answer of somebody in between."""
        line, now = self._line, asyncio.get_running_loop().time()
        if now < line.down_until:
            await asyncio.sleep(self._connect_s)
            raise UnreachableError("no network")
        if now < line.half_open_until:
            self._plan.count(Fault.HALF_OPEN)
            await self._give_up()
        if now < line.portal_until:
            self._plan.count(Fault.PORTAL)
            await asyncio.sleep(0.1)
            return Response(200, PORTAL)
        return None

    async def _give_up(self) -> None:
        await asyncio.sleep(ANSWER_S)
        raise UnreachableError("no answer")

    def _sent(self, path: str, body: bytes) -> tuple[bytes, int | None]:
        """What arrives of a body; which block of it somebody has altered so that only its signature can tell."""
        plan, random = self._plan, self._random
        if plan.hits(Fault.CUT, random):
            plan.count(Fault.CUT)
            return body[: random.randrange(len(body))], None
        if plan.hits(Fault.FLIP, random):
            plan.count(Fault.FLIP)
            return flipped(body, random), None
        if path == BLOCKS and plan.hits(Fault.ALTERED, random):
            plan.count(Fault.ALTERED)
            frames = list(decode_batch(body))
            index = random.randrange(len(frames))
            frames[index] = altered(frames[index], random)
            return encode_batch(frames), index
        return body, None

    def _is_refused(self, index: int, answer: Response) -> None:
        """I5: an altered block is refused; where the true one of its place is held, it may pass for that."""
        if answer.status not in ANSWERED:
            return
        verdict = decode_answers(answer.body).verdicts[index]
        if verdict.answer == Answer.REFUSED:
            self._witness.counted["I5"] += 1
        elif verdict.answer != Answer.HELD:
            told = f"gateway {self._node.index}: an altered block is answered {verdict.answer.name}"
            self._witness.tell("I5", told)

    def _damaged(self, body: bytes) -> bytes:
        plan, random = self._plan, self._random
        if body and plan.hits(Fault.FLIP, random):
            plan.count(Fault.FLIP)
            return flipped(body, random)
        return body

    def _repeat(self, path: str, body: bytes) -> None:
        """The same request arrives once more: at once, or hours later behind newer ones."""
        for fault, longest in ((Fault.DUPLICATE, 1.0), (Fault.REORDERED, 6 * 3600.0)):
            if self._plan.hits(fault, self._random):
                self._plan.count(fault)
                loop = asyncio.get_running_loop()
                wait = self._random.uniform(0, longest)
                loop.call_later(wait, lambda: self._witness.spawn(self._again(path, body)))

    async def _again(self, path: str, body: bytes) -> None:
        try:
            await self._serve(path, body)
        except UnreachableError:
            return

    def _note(self, body: bytes) -> None:
        """I7: a block that leaves the box under a place that another one has left under before."""
        for frame in decode_batch(body):
            envelope, _ = transport.unwrap(frame)
            header = cbor.decode(cose.unverified(envelope))
            place, found = (header[2], header[3]), hashlib.sha256(envelope).digest()
            known = self._node.witness.sent.setdefault(place, {found})
            if found not in known and not self._node.witness.forked(place):
                told = f"gateway {self._node.index} sends another block {place[0]}/{place[1]}"
                self._witness.tell("I7", told)
            known.add(found)


def altered(frame: bytes, random: Random) -> bytes:
    """With one bit of what was signed turned over, in a frame that is as good as any."""
    data = bytearray(b"".join(transport.unwrap(frame)))
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return zstandard.ZstdCompressor().compress(bytes(data))


def flipped(data: bytes, random: Random) -> bytes:
    """With a few bits changed."""
    held = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        held[random.randrange(len(held))] ^= 1 << random.randrange(8)
    return bytes(held)
