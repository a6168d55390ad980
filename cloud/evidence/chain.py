"""One gateway's blocks in a pack: each signature, each link, each leaf; every reply replayed and booked anew.

What breaks a signature, a link or the tree is refused outright: it is not the gateway's word. What is the gateway's
word but cannot be (a plan not kept, a reply that no driver would have taken) keeps its place in the chain and books
nothing, as it does at the collector.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from cloud import course, dating
from cloud.course import Course
from cloud.dating import Line
from cloud.evidence.identity import Identity, checking
from cloud.intervals import Interval
from cloud.running import Memory, Running, Samples, is_counted
from cloud.turn import Turn
from drivers.installation import Installation
from drivers.profile import Point
from drivers.quantity import quality
from drivers.replay import values
from drivers.steps import finished
from protocols.errors import ChainError, EvidenceError, ProtocolError, RecordError
from protocols.record import block, cbor, cose, siteconfig, transport
from protocols.record.block import Chunk, Header, Sealed
from protocols.record.former import open_former
from protocols.record.receipt import Receipt, open_receipt

BLOCKS, COLLECTORS = "blocks.cborseq", "collectors/"
Place = tuple[int, int]
"""Epoch and seq of a block."""
Heard = list[tuple[int, tuple[int, list[tuple[Point, Samples]]]]]
"""Of each device (its number) how many readings a block holds, and those that are booked."""


@dataclass(frozen=True, slots=True)
class Before:
    """The block before, and what it leaves for the next one to go on from."""

    place: Place
    hash: bytes
    course: Course


@dataclass(frozen=True, slots=True)
class Booked:
    """A block that was booked: the number of its configuration, and from when to when it goes (UTC ms).

    ``shift_ms``: what a correction added to the UTC that the block itself says.
    """

    configuration: int
    utc: tuple[int, int]
    shift_ms: int = 0


@dataclass(frozen=True, slots=True)
class Began:
    """An epoch that begins after a receipt, the collector's key that this is signed with, and its file."""

    file: str
    epoch: int
    receipt: Receipt
    key: cose.PublicKey


@dataclass(slots=True)
class Walked:
    """What a gateway's blocks came to. ``refused``: block -> why its content books nothing.

    ``began``: the epochs that begin after a receipt; of the others in the pack the beginning is not in it, or names the
    enrolment.
    ``files``: the names of the files it was read from.
    """

    identity: Identity
    blocks: int = 0
    readings: int = 0
    exchanges: int = 0
    first: Place | None = None
    last: Place | None = None
    booked: dict[Place, Booked] = field(default_factory=dict)
    frames: dict[Place, bytes] = field(default_factory=dict)
    refused: dict[Place, str] = field(default_factory=dict)
    intervals: list[Interval] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    began: list[Began] = field(default_factory=list)
    files: set[str] = field(default_factory=set)

    def shift_of(self, epoch: int, seq: int) -> int:
        """What a correction added to the UTC (ms) of a block."""
        booked = self.booked.get((epoch, seq))
        return booked.shift_ms if booked is not None else 0


def walk(identity: Identity, files: Mapping[str, bytes], collector: cose.PublicKey) -> Walked:
    """Check and book all blocks of a gateway, in the order of their chain; EvidenceError names the block."""
    walk = _Walk(identity, files, collector)
    for index, frame in enumerate(_frames(identity, files)):
        walk.step(index, frame)
        walk.walked.files.add(f"{identity.folder}{BLOCKS}")
    moved = walk.books.take()
    walk.walked.intervals, walk.walked.turns = list(moved.intervals), moved.turns
    return walk.walked


class _Walk:
    """The way along a chain: what was found so far, and the block before."""

    def __init__(self, identity: Identity, files: Mapping[str, bytes], collector: cose.PublicKey) -> None:
        self.identity, self.files, self.collector = identity, files, collector
        self.walked, self.books = Walked(identity, files=set(identity.files)), Running(Memory())
        self.before: Before | None = None
        self.last: Line | None = None
        self.undated: list[Place] = []

    def step(self, index: int, frame: bytes) -> None:
        """The next block; EvidenceError."""
        where = f"{self.identity.folder}{BLOCKS} block {index}"
        with checking(where, "signature"):
            sealed = transport.unpack(frame)
            header = block.open_header(sealed.envelope, self.identity.key)
        where = f"{self.identity.folder}{BLOCKS} block {header.epoch}/{header.seq}"
        with checking(where, "chain"):
            self._check_place(header)
        with checking(where, "tree"):
            block.check_root(header, sealed.chunks)
        number, digest = header.configuration
        if number not in self.identity.configurations:
            detail = f"found configuration {number} ({digest.hex()}), expected one that is in the pack"
            raise EvidenceError(where, "configuration", detail)
        self._count(header, frame)
        place, held = (header.epoch, header.seq), self.before.course if self.before is not None else None
        try:
            self._book(held, header, sealed)
        except (RecordError, ProtocolError) as error:
            self.walked.refused[place] = f"{error.code} {error}"
        self.before = Before(place, sealed.hash, course.after(held, header, place not in self.walked.refused))

    def _count(self, header: Header, frame: bytes) -> None:
        walked, place = self.walked, (header.epoch, header.seq)
        walked.blocks += 1
        walked.first, walked.last = walked.first or place, place
        walked.frames[place] = frame

    def _book(self, before: Course | None, header: Header, sealed: Sealed) -> None:
        """Book what the block says; RecordError or ProtocolError when it cannot be."""
        number, digest = header.configuration
        held, installation = self.identity.configurations[number]
        if digest != held:
            raise ChainError(f"configuration {number}: found {digest.hex()}, expected {held.hex()}")
        course.check(before, header)
        chunks = block.open_chunks(header, sealed.chunks)
        course.check_plan(header, chunks, installation)
        heard = [(chunk.device, replayed(installation, header, chunk)) for chunk in chunks]
        self.walked.exchanges += sum(chunk.counters.answered for chunk in chunks)
        self.walked.readings += sum(count for _, (count, _) in heard)
        if not dating.is_dated(self.last, header):
            self.undated.append((header.epoch, header.seq))
            return
        if (line := dating.correction(header)) is not None:
            self._date(line)
        self._enter(header, installation, heard)

    def _date(self, line: Line) -> None:
        """Book the undated blocks of this boot by the line of time that a correction has brought."""
        waiting, self.undated = self.undated, []
        for place in waiting:
            sealed = transport.unpack(self.walked.frames[place])
            header, chunks = block.open_block(sealed, self.identity.key)
            if line.holds(header):
                installation = self.identity.configurations[header.configuration[0]][1]
                dated = line.date(header)
                heard = [(chunk.device, replayed(installation, dated, chunk)) for chunk in chunks]
                self._enter(dated, installation, heard, dated.utc[0] - header.utc[0])

    def _enter(self, header: Header, installation: Installation, heard: Heard, shift_ms: int = 0) -> None:
        """Book a dated block."""
        self.walked.booked[header.epoch, header.seq] = Booked(header.configuration[0], header.utc, shift_ms)
        self.books.configure(installation, header.utc[0])
        for device, (_, samples) in heard:
            finished(self.books.hear(device, samples, header))
        self.last = dating.end_of(header)

    def _check_place(self, header: Header) -> None:
        """seq rises by one and prev matches; an epoch begins with the enrolment or a receipt; ChainError."""
        before = self.before
        if header.gateway != self.identity.key.id:
            raise ChainError(f"found gateway {header.gateway.hex()}, expected {self.identity.id}")
        if before is not None and header.epoch == before.place[0]:
            if header.seq != before.place[1] + 1:
                raise ChainError(f"found seq {header.seq} after {before.place[1]}, expected {before.place[1] + 1}")
            if header.previous != before.hash:
                raise ChainError(f"found predecessor {header.previous.hex()}, expected {before.hash.hex()}")
            return
        if before is not None and (header.seq > 0 or header.epoch < before.place[0]):
            found = f"found epoch {header.epoch} seq {header.seq} after epoch {before.place[0]}"
            raise ChainError(f"{found}, expected seq 0 of a later one")
        if header.seq == 0:
            self._check_beginning(header)

    def _check_beginning(self, header: Header) -> None:
        """The first block of all names the enrolment, the first of a later epoch a receipt of this gateway, or the
        enrolment where it never had one.
        """
        enrolment = self.identity.enrolment_digest
        if header.epoch == 0 and header.previous != enrolment:
            raise ChainError(f"found predecessor {header.previous.hex()}, expected the enrolment {enrolment.hex()}")
        if header.previous != enrolment:
            name = f"{self.identity.folder}receipts/{header.previous.hex()}.cose"
            with checking(name, "receipt"):
                envelope = self.files.get(name, b"")
                key = self._key_of(envelope)
                receipt = open_receipt(envelope, key)
                if siteconfig.digest(envelope) != header.previous or receipt.gateway != header.gateway:
                    raise ChainError(f"found a receipt of {receipt.gateway.hex()}, expected the one the epoch names")
            self._check_receipt(receipt)
            self.walked.files.add(name)
            self.walked.began.append(Began(name, header.epoch, receipt, key))

    def _key_of(self, envelope: bytes) -> cose.PublicKey:
        """The key a receipt is signed with: of the collector that made the pack, or of one that this gateway had before
        and itself names; EvidenceError when it is neither.
        """
        kid = cose.kid_of(envelope)
        name = f"{self.identity.folder}{COLLECTORS}{kid.hex()}.cose"
        if kid == self.collector.kid or name not in self.files:
            return self.collector
        with checking(name, "collector"):
            former = open_former(self.files[name], self.identity.key)
            if former.key.kid != kid:
                raise ChainError(
                    f"found the key {former.key.kid.hex()}, expected {kid.hex()}: what the file's name says"
                )
        self.walked.files.add(name)
        return former.key

    def _check_receipt(self, receipt: Receipt) -> None:
        """The newest block that the box knew to be held is in the pack, unless it lies before the first of the pack."""
        place = (receipt.epoch, receipt.next_seq - 1)
        if receipt.next_seq == 0 or self.walked.first is None or place < self.walked.first:
            return
        frame = self.walked.frames.get(place)
        if frame is None or transport.unpack(frame).hash != receipt.head:
            found = f"{'no' if frame is None else 'another'} block {place[0]}/{place[1]}"
            raise ChainError(f"found {found}, expected {receipt.head.hex()}: the newest one the receipt says was held")


def _frames(identity: Identity, files: Mapping[str, bytes]) -> Iterator[bytes]:
    name = f"{identity.folder}{BLOCKS}"
    source, at = files.get(name, b""), 0
    while at < len(source):
        with checking(name, "encoding"):
            frame, at = cbor.byte_string(source, at)
        yield frame


def replayed(installation: Installation, header: Header, chunk: Chunk) -> tuple[int, list[tuple[Point, Samples]]]:
    """How many readings a chunk holds, and those that are booked: point by point, reply by reply."""
    count = 0
    driver = installation.driver(chunk.device, chunk.device_digest)
    counted = {point.id: point for point in driver.profile.points if is_counted(point)}
    found: list[tuple[Point, Samples]] = []
    for track in chunk.tracks:
        heard: dict[str, list[Decimal | None]] = {}
        replies = track.replies()
        stamps = [driver.stamp(track.request, reply) for reply in replies]
        for index, reply in enumerate(replies):
            held = values(driver, track.request, reply)
            count += len(held)
            for name in counted.keys() & held.keys():
                kept = heard.setdefault(name, [None] * len(replies))
                kept[index] = held[name] if quality(counted[name], held) == "measured" else None
        live = [header.utc[0] + time for time in track.times]
        dated = [stamp for stamp in stamps if stamp is not None]
        times = dated if len(dated) == len(stamps) else live
        found += [(counted[name], Samples(times, kept, None, times is dated)) for name, kept in heard.items()]
    return count, found
