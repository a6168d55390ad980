"""A gateway after a fault: started by its own code, and what it then holds compared with what was acknowledged."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from drivers.reading import Exchange
from edge import config, log
from edge.blocks import Blocks
from edge.clock import Clock
from edge.config import EdgeConfig
from edge.opening import open_outbox
from edge.outbox import Chain, Outbox, Stored
from edge.recorder import Recorder
from edge.sealer import Link
from proofs.messages import Messages
from proofs.recording import Got, Operation, Said, Sent, Started
from protocols.errors import TanmeterError
from protocols.record import transport
from protocols.record.answer import decode_answers, decode_batch
from protocols.record.block import ClockState, Header, open_block
from protocols.record.cose import PublicKey
from protocols.record.receipt import SETTLED, Receipt, open_receipt

EVERYTHING = 1 << 40
OPEN_S = 5.0
Place = tuple[int, int]
"""(epoch, seq) of a block."""
Answer = tuple[int, bytes]
"""(device, reply): every reply of the proof's meter is another one."""


@dataclass(frozen=True, slots=True)
class StillClock:
    """A clock that stands."""

    utc: int
    mono: int = 5_000

    def mono_ms(self) -> int:
        return self.mono

    def utc_ms(self) -> int:
        return self.utc

    def state(self) -> ClockState:
        return ClockState(2, 2, 10, self.utc // 1000)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a start that waits")


@dataclass(frozen=True, slots=True)
class Opened:
    """A block that verified."""

    hash: bytes
    header: Header
    answers: tuple[Answer, ...]
    registers: Mapping[int, tuple[int, int]]
    """Of each device the least and the greatest count that it told."""
    faults: int
    """Exchanges without an answer."""

    @property
    def place(self) -> Place:
        """Where it is signed to stand."""
        return self.header.epoch, self.header.seq


class Reader:
    """Opens and verifies blocks, each once."""

    def __init__(self, key: PublicKey) -> None:
        self._key = key
        self._known: dict[bytes, Opened] = {}

    def open(self, frame: bytes) -> Opened:
        """The block in a frame; RecordError."""
        if (known := self._known.get(frame)) is None:
            sealed = transport.unpack(frame)
            header, chunks = open_block(sealed, self._key)
            answers = tuple(
                [(chunk.device, reply) for chunk in chunks for track in chunk.tracks for reply in track.replies()]
            )
            faults = sum(len(chunk.faults) for chunk in chunks)
            known = Opened(sealed.hash, header, answers, _registers(answers), faults)
            if len(self._known) > 4096:
                self._known.clear()
            self._known[frame] = known
        return known


def _registers(answers: Sequence[Answer]) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for device, reply in answers:
        count = int.from_bytes(reply[-4:])
        least, most = found.get(device, (count, count))
        found[device] = min(least, count), max(most, count)
    return found


@dataclass(slots=True)
class Known:
    """What the world has been told by a gateway so far."""

    answers: dict[Answer, Place | None] = field(default_factory=dict)
    """Committed and told so; with the block, once it is sealed."""
    blocks: dict[Place, bytes] = field(default_factory=dict)
    """Sealed and told so, or sent: the hash."""
    settled: Place = (0, 0)
    """The place up to which a level 2 receipt has come."""
    received: Place = (0, 0)
    boot: int = 0
    told: int = 0
    """Exchanges of this start that were told to be committed."""


class Teller:
    """Follows a recording: what was told to the world. ``perfect`` puts the disk as it is now into a folder."""

    def __init__(self, held: EdgeConfig, reader: Reader, collector: PublicKey, perfect: Callable[[], Path]) -> None:
        self._config, self._reader, self._collector, self._perfect = held, reader, collector, perfect
        self._requests, self._replies = Messages(), Messages()
        self._rows: set[tuple[int, Exchange]] = set()
        self.known = Known()
        self.pruned = 0
        """Blocks of which it was told and that the store, whole as it is, does not hold any more."""
        self.faults: list[str] = []
        """What was told too early: not even written."""

    def take(self, operation: Operation) -> bool:
        """The next operation; whether it told anybody anything."""
        match operation:
            case Started():
                self._requests, self._replies = Messages(), Messages()
                self._rows.clear()
                return False
            case Said(text):
                return text.startswith("{") and self._said(json.loads(text))
            case Sent(way, data):
                bodies = [body for head, body in self._requests.feed(way, data) if b"/v1/blocks" in head]
                for frame in [frame for body in bodies for frame in decode_batch(body)]:
                    self._block(frame)
                return bool(bodies)
            case Got(way, data):
                replies = [body for _, body in self._replies.feed(way, data)]
                for body in replies:
                    self._answered(body)
                return bool(replies)
        return False

    def _said(self, told: dict[str, object]) -> bool:
        if told["code"] == "receipt":
            self.receipt(open_receipt(bytes.fromhex(str(told["envelope"])), self._collector))
        elif told["code"] == "boot":
            self.known.boot = max(self.known.boot, int(str(told["boot"])))
        elif told["code"] in ("committed", "sealed"):
            with started_quietly(self._perfect(), self._config) as outbox:
                for block in outbox.opened():
                    for record in outbox.records(block.id):
                        held = record.exchange
                        self._rows.add((record.slot, held))
                        if not held.fault:
                            self.known.answers.setdefault((held.device, held.reply), None)
                held_now = held_blocks(outbox)
                for stored in held_now:
                    self._block(stored.frame)
                self.pruned = max(self.pruned, len(self.known.blocks) - len(held_now))
            if told["code"] == "committed":
                self.known.told += int(str(told["exchanges"]))
                if len(self._rows) < int(str(told["total"])):
                    self.faults.append(f"{told['total']} exchanges told, {len(self._rows)} written")
        else:
            return False
        return True

    def _block(self, frame: bytes) -> None:
        opened = self._reader.open(frame)
        if (known := self.known.blocks.get(opened.place)) == opened.hash:
            return
        if known is not None:
            self.faults.append(f"block {opened.place} was told twice, with other bytes")
        self.known.blocks[opened.place] = opened.hash
        self.known.answers.update(dict.fromkeys(opened.answers, opened.place))

    def _answered(self, body: bytes) -> None:
        try:
            answers = decode_answers(body)
        except (TanmeterError, ValueError):
            return
        for envelope in (answers.receipt, answers.settled):
            if envelope is not None:
                self.receipt(open_receipt(envelope, self._collector))

    def receipt(self, receipt: Receipt) -> None:
        """A receipt has come."""
        place = receipt.epoch, receipt.next_seq
        self.known.received = max(self.known.received, place)
        if receipt.level >= SETTLED:
            self.known.settled = max(self.known.settled, place)


@dataclass(slots=True)
class Gateway:
    """Starts gateways out of images and looks at them."""

    reader: Reader
    clock: StillClock
    random: Random
    slowest_s: float = 0.0
    recovered: int = 0
    """Starts that took what a cut had left open into a block."""
    _held: tuple[int, EdgeConfig] | None = None

    def examine(self, folder: Path, version: int, known: Known) -> list[str]:
        """What is wrong with the gateway in this folder; empty when all that was acknowledged is there.

        Its keys and configurations are read again when ``version`` is another one.
        """
        begun = time.perf_counter()
        try:
            if self._held is None or self._held[0] != version:
                self._held = version, config.load(folder)
            held = self._held[1]
            with started(held, self.clock, self.random) as (outbox, before):
                self.slowest_s = max(self.slowest_s, took := time.perf_counter() - begun)
                faults = [] if took <= OPEN_S else [f"opened after {took:.1f} s, expected {OPEN_S} s at most"]
                return faults + self._compare(outbox, before, known, held)
        except Exception as error:  # noqa: BLE001 - whatever it is, the box does not start by itself
            return [f"does not open: {type(error).__name__}: {error}"]

    def epoch(self, folder: Path) -> int:
        """The epoch in which the gateway in this folder goes on."""
        with started(config.load(folder), self.clock, self.random) as (outbox, _):
            return outbox.chain().link.epoch

    def _compare(self, outbox: Outbox, before: Chain, known: Known, held: EdgeConfig) -> list[str]:
        chain = outbox.chain()
        blocks = [self.reader.open(stored.frame) for stored in held_blocks(outbox)]
        self.recovered += chain.link.seq > before.link.seq
        faults = chained(blocks, chain, held.previous) + _twice(blocks)
        if outbox.opened():
            faults.append("a block is still open after the start")
        if chain.link.epoch != max([0, *(epoch for epoch, _ in known.blocks)]):
            faults.append(f"found epoch {chain.link.epoch}: a new one, and nothing was lost")
        if chain.boot <= known.boot:
            faults.append(f"found boot {chain.boot}, and {known.boot} was told before")
        return faults + _gone(blocks, chain, known)


def _twice(blocks: list[Opened]) -> list[str]:
    answers = set[Answer]().union(*[opened.answers for opened in blocks])
    held = sum(len(opened.answers) for opened in blocks)
    return [f"{held - len(answers)} answers are held twice"] if held != len(answers) else []


def _gone(blocks: list[Opened], chain: Chain, known: Known) -> list[str]:
    """What was told and is not there, or is another; what a level 2 receipt covers may have been pruned."""
    held = {opened.place: opened.hash for opened in blocks}
    prunable = min(min(held, default=(chain.link.epoch, chain.link.seq)), known.settled)
    faults = [
        f"block {place} was told and is {'another' if place in held else 'gone'}; settled up to {known.settled}"
        for place, hash_ in known.blocks.items()
        if held.get(place) != hash_ and (place in held or place >= prunable)
    ]
    answers = set[Answer]().union(*[opened.answers for opened in blocks])
    lost = [
        answer
        for answer in known.answers.keys() - answers
        if (place := known.answers[answer]) is None or place >= prunable
    ]
    if lost:
        faults.append(f"{len(lost)} of {len(known.answers)} acknowledged answers are gone")
    return faults


def held_blocks(outbox: Outbox) -> list[Stored]:
    """Every sealed block that is held."""
    return outbox.batch(0, 0, EVERYTHING, EVERYTHING)


@contextmanager
def started_quietly(folder: Path, held: EdgeConfig) -> Iterator[Outbox]:
    """The store in a folder as it is, nothing recovered."""
    outbox = Outbox(folder / config.OUTBOX, held.gateway, held.previous, durable=False)
    try:
        yield outbox
    finally:
        outbox.close()


@contextmanager
def started(held: EdgeConfig, clock: Clock, random: Random) -> Iterator[tuple[Outbox, Chain]]:
    """The store of a gateway after all that its agent does with it at a start; and the chain before that."""
    outbox = as_the_agent(held, clock.utc_ms(), durable=False)
    try:
        before = outbox.chain()
        recorder = Recorder(outbox, lambda entries: None, lambda why: None)
        blocks = Blocks(held, outbox, recorder, clock=clock, random=random, log=log.silent)
        blocks.recover()
        blocks.begin(None)
        yield outbox, before
    finally:
        outbox.close()


def as_the_agent(held: EdgeConfig, now: int, *, durable: bool, max_bytes: int = 8 << 30) -> Outbox:
    """The store as the agent opens it at ``now`` (UTC ms)."""
    path = held.state / config.OUTBOX
    return open_outbox(path, held.gateway, held.previous, durable=durable, now=now, log=log.silent, max_bytes=max_bytes)


def chained(blocks: Sequence[Opened], chain: Chain, origin: bytes) -> list[str]:
    """Where the chain of these blocks is broken; what comes before the first was pruned."""
    faults = []
    previous: Opened | None = None
    for opened in blocks:
        header = opened.header
        if previous is None:
            if opened.place == (0, 0) and header.previous != origin:
                faults.append("the first block does not follow the enrolment")
        elif header.epoch == previous.header.epoch and not _follows(header, previous):
            faults.append(f"block {opened.place} does not follow {previous.place}")
        previous = opened
    if previous is None:
        return [*faults, f"the chain stands at {chain.link.seq} and holds no block"] if chain.link.seq else faults
    if previous.header.epoch == chain.link.epoch and not _follows(chain.link, previous):
        faults.append(f"the chain stands at {chain.link.seq}, its newest block is {previous.place}")
    return faults


def _follows(after: Header | Link, before: Opened) -> bool:
    return (after.seq, after.previous) == (before.header.seq + 1, before.hash)
