"""What is taken from a gateway, and what is not: the whole trust workflow of the collector, without a disk.

A frame is examined against what is trusted of its gateway (``Trust``) and what is held of it (``Holdings``), in this
order; the first rule broken decides the answer.

- The frame is one zstd frame of an envelope and chunks, within the size cap: else *refused*, nothing is known of it.
- The envelope names the enrolled, unrevoked key of this gateway, and is signed by it over these very bytes, with the
  algorithm fixed at enrolment; only then is it decoded: else *refused*.
- Its place: a seq that is held with the same hash is *already held*; with another hash, or with a predecessor other
  than the head, it is a *conflict*; a seq ahead of the next one is a *gap*. A later epoch is the next one, begins with
  seq 0, and names a receipt we issued to this gateway.
- Its chunks are the ones under the signed root: else *refused*.
- Its configuration is held (else *refused* with CFG-102: post it and send the block again).

What is now left is the gateway's own word in its right place. If its content cannot be, the block is *refused* and
quarantined, but keeps its place in the chain, so that it blocks nothing that follows:

- The configuration number never decreases, and a number stands for one configuration.
- Monotonic time touches within a boot; a new boot begins with a boot event and a higher number.
- UTC runs as monotonic time does, but for a declared step, and does not lie in the future.
- Every chunk names a device of the configuration by its digest, each device once; its counters add up; what was due is
  what the signed plan owes in that time, also for a device without a chunk; times lie inside the block.
- Every reply replays.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from drivers.columns import Layouts, Table, replay_track
from drivers.driver import Driver
from drivers.installation import Installation
from drivers.plan import due_bounds
from protocols.errors import ChainError, ConflictError, EnrolmentError, ProtocolError, RecordError, TanmeterError
from protocols.record import block, cose, transport
from protocols.record.answer import Answer, Verdict
from protocols.record.block import Chunk, EventKind, Header, Sealed

UNKNOWN_CONFIGURATION = "CFG-102"
CLOCKS_APART_MS = 5_000
FUTURE_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain stands: what the next block must be, and what it goes on from."""

    epoch: int
    next_seq: int
    hash: bytes
    boot: int | None
    mono: int | None
    config_number: int


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of a gateway before a frame is looked at."""

    gateway: bytes
    key: cose.PublicKey
    revoked: bool
    head: Head


class Holdings(Protocol):
    """What is held of one gateway."""

    def held(self, epoch: int, seq: int) -> bytes | None:
        """The hash of the block held under this number."""

    def issued(self, receipt: bytes) -> bool:
        """Whether this is the SHA-256 of a receipt we issued to this gateway."""

    def configuration(self, number: int) -> tuple[bytes, Installation] | None:
        """The digest of the configuration held under this number, and what it means."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One chunk with its tracks as tables, in the same order."""

    chunk: Chunk
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What a good block says, ready to be booked."""

    installation: Installation
    chunks: tuple[Replayed, ...]

    @property
    def readings(self) -> int:
        """How many readings the block holds."""
        return sum([table.readings for replayed in self.chunks for table in replayed.tables])


@dataclass(frozen=True, slots=True)
class Opened:
    """A signed block: ``content`` is None when it was refused, or never looked at because of its place."""

    sealed: Sealed
    hash: bytes
    header: Header
    content: Content | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to a frame. ``opened``: the block, when it is signed. ``head``: where the chain stands if it moved on.

    ``incident``: conflict or fork, when somebody must be told.
    """

    verdict: Verdict
    opened: Opened | None = None
    head: Head | None = None
    incident: str = ""


def kid(frame: bytes) -> bytes | None:
    """The key a frame claims to be signed with, to find its gateway by; None when it cannot be read."""
    try:
        return cose.kid_of(transport.unpack(frame).envelope)
    except RecordError:
        return None


class Examiner:
    """Examines frames. It remembers where points lie in replies: one for a thread."""

    def __init__(self) -> None:
        self._layouts = Layouts()

    def examine(self, trust: Trust, holdings: Holdings, frame: bytes, now: int) -> Finding:
        """The answer to a frame received at ``now`` (UTC ms). Whatever the frame holds, this does not raise."""
        try:
            opened = _open(trust, frame)
        except TanmeterError as error:
            return Finding(_refused(error))
        if (elsewhere := _place(trust.head, holdings, opened)) is not None:
            return elsewhere
        header = opened.header
        try:
            block.check_root(header, opened.sealed.chunks)
        except RecordError as error:
            return Finding(_refused(error), opened)
        number, digest = header.configuration
        if (config := holdings.configuration(number)) is None:
            detail = f"found configuration {number} ({digest.hex()}), expected one that was sent here before"
            return Finding(Verdict(Answer.REFUSED, header.seq, UNKNOWN_CONFIGURATION, detail), opened)
        try:
            if digest != config[0]:
                raise ChainError(f"configuration {number}: found {digest.hex()}, expected {config[0].hex()}")
            content = self._content(trust.head, opened, config[1], now)
        except (RecordError, ProtocolError) as error:
            return Finding(_refused(error, header.seq + 1), opened, _after(opened, trust.head.config_number))
        stored = Verdict(Answer.STORED, header.seq + 1, "", "")
        return Finding(stored, Opened(opened.sealed, opened.hash, header, content), _after(opened, number))

    def _content(self, head: Head, opened: Opened, installation: Installation, now: int) -> Content:
        header = opened.header
        _check_course(head, header)
        _check_clock(header, now)
        chunks = block.open_chunks(header, opened.sealed.chunks)
        _check_plan(header, chunks, installation)
        return Content(installation, tuple([self._replay(installation, chunk) for chunk in chunks]))

    def _replay(self, installation: Installation, chunk: Chunk) -> Replayed:
        driver: Driver = installation.drivers[chunk.device]
        return Replayed(chunk, tuple([replay_track(driver, track, self._layouts) for track in chunk.tracks]))


def _open(trust: Trust, frame: bytes) -> Opened:
    """The signed header of a frame; SignatureError, EncodingError, ChainError, EnrolmentError."""
    sealed = transport.unpack(frame)
    if trust.revoked:
        raise EnrolmentError(f"gateway {trust.gateway.hex()} is revoked")
    header = block.open_header(sealed.envelope, trust.key)
    if header.gateway != trust.gateway:
        raise ChainError(f"found gateway {header.gateway.hex()}, expected {trust.gateway.hex()}: the key's own")
    return Opened(sealed, sealed.hash, header)


def _place(head: Head, holdings: Holdings, opened: Opened) -> Finding | None:
    """The answer to a block that is not the next one; None for the next one."""
    header = opened.header
    if header.epoch > head.epoch:
        return _place_in_new_epoch(head, holdings, opened)
    if header.epoch < head.epoch or header.seq < head.next_seq:
        held = holdings.held(header.epoch, header.seq)
        if held == opened.hash:
            return Finding(Verdict(Answer.HELD, head.next_seq, "", ""), opened)
        return _conflict(head, opened, "nothing" if held is None else held.hex(), "conflict")
    if header.seq > head.next_seq:
        return _gap(head.next_seq, opened)
    if header.previous != head.hash:
        return _conflict(head, opened, f"a predecessor {header.previous.hex()}", "fork")
    return None


def _place_in_new_epoch(head: Head, holdings: Holdings, opened: Opened) -> Finding | None:
    header = opened.header
    if header.epoch > head.epoch + 1:
        error = ChainError(f"found epoch {header.epoch}, expected {head.epoch} or {head.epoch + 1}")
        return Finding(_refused(error, head.next_seq), opened)
    if header.seq > 0:
        return _gap(0, opened)
    if not holdings.issued(header.previous):
        error = ChainError(
            f"found epoch {header.epoch} after {header.previous.hex()}, expected a receipt this collector issued"
        )
        return Finding(_refused(error, head.next_seq), opened)
    return None


def _after(opened: Opened, config_number: int) -> Head:
    header = opened.header
    return Head(header.epoch, header.seq + 1, opened.hash, header.boot, header.mono[1], config_number)


def _gap(wanted: int, opened: Opened) -> Finding:
    detail = f"found seq {opened.header.seq}, expected {wanted}"
    return Finding(Verdict(Answer.GAP, wanted, ChainError.code, detail), opened)


def _conflict(head: Head, opened: Opened, held: str, kind: str) -> Finding:
    header = opened.header
    expected = head.hash.hex() if kind == "fork" else held
    found = held if kind == "fork" else opened.hash.hex()
    detail = f"epoch {header.epoch} seq {header.seq}: found {found}, expected {expected}"
    return Finding(Verdict(Answer.CONFLICT, head.next_seq, ConflictError.code, detail), opened, incident=kind)


def _refused(error: TanmeterError, wanted: int | None = None) -> Verdict:
    return Verdict(Answer.REFUSED, wanted, error.code, str(error))


def _check_course(head: Head, header: Header) -> None:
    """Boots, monotonic time and configuration numbers go on from the block before."""
    number = header.configuration[0]
    if number < head.config_number:
        raise ChainError(f"found configuration {number} after {head.config_number}, expected no lower number")
    if header.boot == head.boot and header.epoch == head.epoch:
        if header.mono[0] != head.mono:
            raise ChainError(f"boot {header.boot}: found monotonic time from {header.mono[0]}, expected {head.mono}")
        return
    if header.boot == head.boot:
        return
    if all(event.kind != EventKind.BOOT for event in header.events):
        raise ChainError(f"found boot {header.boot} after {head.boot} without a boot event")
    if header.epoch == head.epoch and head.boot is not None and header.boot < head.boot:
        raise ChainError(f"found boot {header.boot} after {head.boot}, expected a higher number")


def _check_clock(header: Header, now: int) -> None:
    """UTC as believed goes with monotonic time, and is not ahead of ours by a day."""
    apart = abs((header.utc[1] - header.utc[0]) - (header.mono[1] - header.mono[0]))
    if apart > CLOCKS_APART_MS and all(event.kind != EventKind.CLOCK_STEP for event in header.events):
        raise ChainError(f"found UTC and monotonic time {apart} ms apart over the block, expected a clock step event")
    if max(header.utc) > now + FUTURE_MS:
        raise ChainError(f"found UTC {max(header.utc)}, expected none after {now}: the time it was received")


def _check_plan(header: Header, chunks: Iterable[Chunk], installation: Installation) -> None:
    """Every device of the signed plan was due what it owes in this time, and no other device speaks."""
    span = header.mono[1] - header.mono[0]
    due = [0] * len(installation.drivers)
    for chunk in chunks:
        queries = installation.driver(chunk.device, chunk.device_digest).queries()
        due[chunk.device] = chunk.counters.due
        for fault in chunk.faults:
            if fault.query >= len(queries):
                raise ChainError(f"device {chunk.device}: found request {fault.query} of a plan of {len(queries)}")
    for number, driver in enumerate(installation.drivers):
        low, high = due_bounds(driver.queries(), span)
        if not low <= due[number] <= high:
            raise ChainError(f"device {number}: found {due[number]} due in {span} ms, expected {low} to {high}")
