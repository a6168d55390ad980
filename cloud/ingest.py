"""What is taken from a gateway, and what is not: the whole trust workflow of the collector, without a disk.

A frame is examined against what is trusted of its gateway (``Trust``) and what is held of it (``Holdings``), in this
order; the first rule broken decides the answer.

- The frame is one zstd frame of an envelope and chunks, within the size cap: else *refused*, nothing is known of it.
- The envelope names the enrolled, unrevoked key of this gateway, and is signed by it over these very bytes, with the
  algorithm fixed at enrolment; only then is it decoded: else *refused*.
- Its place: a seq that is held with the same hash is *already held*; with another hash, or with a predecessor other
  than the head, it is a *conflict*; a seq ahead of the next one is a *gap*. A later epoch begins with seq 0 and names a
  receipt we issued to this gateway, or that the collector it had before issued, or its enrolment; or we have issued a
  receipt for that epoch or a later one. Where blocks are lost for good, the chain goes on with the block that was said
  to come next when its gateway was let in again (``cloud/late_start.py``).
- Its chunks are the ones under the signed root: else *refused*. Until here they are bytes that nobody has looked into.
  Of a block ahead of the chain they are replayed for its live values, as far as that goes; its turn will come.
- Its configuration is held (else *refused* with CFG-102: post it and send the block again).

What is now left is the gateway's own word in its right place. If its content cannot be, the block is *refused* and
quarantined, but keeps its place in the chain, so that it blocks nothing that follows:

- A configuration number stands for one configuration.
- It keeps to the rules of ``cloud.course``, as the verifier of a pack will find them.
- Every chunk names a device of the configuration by its digest, each device once; its counters add up; times lie inside
  the block.
- Every reply replays.

A block whose answers take long to read, one by one, is read in several turns: until the last of them the gateway is
told to send it again, and others have theirs in between.

A block that lies in the future, or opens a new epoch, is booked all the same, and somebody is told: no verifier could
know when it was received. So is an epoch that begins after a receipt of blocks that are not held any more.

What is made of every block is a struct, as in ``cloud/intervals.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from cloud import course
from cloud.begun import Begun, Turns
from cloud.course import Course
from cloud.reader import Coming, Reader, Signed
from cloud.strips import Replayed
from drivers.installation import Installation
from drivers.steps import Steps, as_far
from protocols.errors import (
    ChainError,
    ConflictError,
    EnrolmentError,
    ProtocolError,
    RecordError,
    RottenError,
    TanmeterError,
)
from protocols.record import block, cose, transport
from protocols.record.answer import Answer, Verdict
from protocols.record.block import Chunk, Header
from protocols.record.stacks import Form

UNKNOWN_CONFIGURATION = "CFG-102"
FUTURE_MS = 86_400_000
MOST_KEPT = 1024
"""How many forms of blocks that kept to their plan are remembered."""
LATER = Verdict(Answer.GAP, None, "", "found a batch that takes too long, expected the rest in another one")


class Head(msgspec.Struct, frozen=True, gc=False):
    """Where a chain stands: what the next block must be, and what it goes on from.

    ``boot``, ``mono``, ``utc``: of the newest block, None before the first; ``config_number``: the highest booked.
    """

    epoch: int
    next_seq: int
    hash: bytes
    boot: int | None
    mono: int | None
    config_number: int
    utc: int | None = None

    @property
    def course(self) -> Course | None:
        """What the next block goes on from; None before the first."""
        if self.boot is None or self.mono is None or self.utc is None:
            return None
        return Course(self.epoch, self.boot, self.mono, self.utc, self.config_number)


class Trust(NamedTuple):
    """What is known of a gateway before a frame is looked at."""

    gateway: bytes
    key: cose.PublicKey
    revoked: bool
    head: Head


class Holdings(Protocol):
    """What is held of one gateway."""

    def held(self, epoch: int, seq: int) -> bytes | None:
        """The hash of the block held under this number."""

    def beginning(self, header: Header) -> "Beginning | None":
        """What an epoch with this first header may begin after, or a chain go on behind; None when it may not."""

    def configuration(self, number: int) -> tuple[bytes, Installation] | None:
        """The digest of the configuration held under this number, and what it means."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What an epoch begins after, or a chain goes on behind that has lost blocks for good. ``held``: the place (epoch,
    next seq) up to which we held the chain then.

    None when the receipt it names is not here: we took this epoch once, or it began before its gateway was enrolled
    here, under another collector. ``former``: the kid (hex) of the former collector whose receipt it is.
    """

    held: tuple[int, int] | None
    former: str = ""


class Content(msgspec.Struct, frozen=True, gc=False):
    """What a good block says, ready to be booked."""

    installation: Installation
    chunks: tuple[Replayed, ...]
    readings: int = 0
    """Of all chunks together; always counted, whatever is passed in."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "readings", sum([held.readings for held in self.chunks]))


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A signed block: ``content`` is None when it was refused, or never looked at because of its place."""

    hash: bytes
    header: Header
    content: Content | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Why somebody must be told: ``conflict`` or ``fork``, ``clock`` (a block in the future), ``epoch`` (a new one),
    ``missing`` (it begins after blocks that we receipted once and do not hold).
    """

    kind: str
    detail: str


class Finding(msgspec.Struct, frozen=True, gc=False):
    """The answer to a frame. ``opened``: the block, when it is signed. ``head``: where the chain stands if it moved.

    ``ahead``: the block is the gateway's own word and its turn has not come; its content is there for its live values
    when it could be replayed.
    """

    verdict: Verdict
    opened: Opened | None = None
    head: Head | None = None
    notices: tuple[Notice, ...] = ()
    ahead: bool = False


def _never() -> bool:
    """There is time."""
    return False


class Examiner:
    """Examines frames: one for a thread."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._kept: set[tuple[Installation, int, tuple[Form | None, ...]]] = set()
        self._turns = Turns()

    def kid(self, frame: bytes) -> bytes | None:
        """The key a frame claims to be signed with, to find its gateway by; None when it cannot be read."""
        return self._reader.kid(frame)

    def expect(self, coming: Sequence[Coming]) -> None:
        """These batches are examined next, in this order, each once it has begun: they may be read together."""
        self._reader.expect(coming)

    def begin(self) -> bool:
        """The next of these batches has its turn. Whether reading it took others with it, which is not on its time."""
        return self._reader.begin()

    def has_read(self, frame: bytes) -> bool:
        """Whether a frame that is expected was read together with those before it."""
        return self._reader.has_read(frame)

    def examine(
        self, trust: Trust, holdings: Holdings, frame: bytes, now: int, is_over: Callable[[], bool] = _never
    ) -> Finding:
        """The answer to a frame received at ``now`` (UTC ms). Whatever the frame holds, this does not raise.

        ``is_over``: whether its time is; what is left of reading its answers then is done when it comes again.
        """
        try:
            signed = self._open(trust, frame)
        except TanmeterError as error:
            return Finding(_refused(error))
        opened = Opened(signed.hash, signed.header)
        elsewhere = _place(trust.head, holdings, opened)
        if elsewhere is not None and not elsewhere.ahead:
            return elsewhere
        try:
            items = signed.items() if signed.replayed is None else []
        except RecordError as error:
            return Finding(_refused(error), opened)
        if elsewhere is not None:
            content = self._glance(holdings, signed, items, is_over)
            return replace(elsewhere, opened=replace(opened, content=content))
        return self._in_turn(trust, holdings, signed, items, now=now, is_over=is_over)

    def _in_turn(
        self,
        trust: Trust,
        holdings: Holdings,
        signed: Signed,
        items: Sequence[tuple[bytes, Any]],
        *,
        now: int,
        is_over: Callable[[], bool],
    ) -> Finding:
        """The answer to the next block of the chain."""
        opened, header = Opened(signed.hash, signed.header), signed.header
        number, digest = header.configuration
        if (config := holdings.configuration(number)) is None:
            detail = f"found configuration {number} ({digest.hex()}), expected one that was sent here before"
            return Finding(Verdict(Answer.REFUSED, header.seq, UNKNOWN_CONFIGURATION, detail), opened)
        try:
            if digest != config[0]:
                raise ChainError(f"configuration {number}: found {digest.hex()}, expected {config[0].hex()}")
            course.check(trust.head.course if _joins(trust.head, holdings, header) else None, header)
            if (content := self._content(signed, config[1], items, is_over)) is None:
                return Finding(LATER, opened)
        except (RecordError, ProtocolError) as error:
            head = _after(trust.head, opened, booked=False)
            notices = _notices(trust.head, holdings, header, now)
            return Finding(_refused(error, header.seq + 1), opened, head, notices)
        stored = Verdict(Answer.STORED, header.seq + 1, "", "")
        head = _after(trust.head, opened, booked=True)
        notices = _notices(trust.head, holdings, header, now)
        return Finding(stored, Opened(opened.hash, header, content), head, notices)

    def _content(
        self,
        signed: Signed,
        installation: Installation,
        items: Sequence[tuple[bytes, Any]],
        is_over: Callable[[], bool],
    ) -> Content | None:
        """What chunks say, read ahead or not, once they are known to keep to the plan; RecordError, ProtocolError.

        None when their time is over before they are read; when they come again, they are read on.
        """
        header = signed.header
        if signed.replayed is not None:
            self._check_plan(header, installation, signed.replayed)
            return Content(installation, signed.replayed)
        if len(items) > len(installation.drivers):
            raise ChainError(f"found {len(items)} chunks, expected one a device at most: {len(installation.drivers)}")
        chunks = block.open_items(header, items)
        course.check_plan(header, chunks, installation)
        replayed = self._read_on(signed, installation, chunks, is_over)
        return None if replayed is None else Content(installation, replayed)

    def _read_on(
        self, signed: Signed, installation: Installation, chunks: Sequence[Chunk], is_over: Callable[[], bool]
    ) -> tuple[Replayed, ...] | None:
        """The values of chunks that are in order; None when there is no time for them yet. Those that took more than
        one turn have another one to be booked in.
        """
        begun = self._turns.take(signed.header.gateway)
        if begun is None or (begun.hash, begun.installation) != (signed.hash, installation):
            begun = Begun(signed.hash, installation, self._reader.replay(installation, chunks))
            if (replayed := as_far(begun.reading, is_over)) is not None:
                return replayed
        elif begun.replayed is not None:
            return begun.replayed
        else:
            begun.replayed = as_far(begun.reading, is_over)
        self._turns.keep(signed.header.gateway, begun)
        return None

    def _check_plan(self, header: Header, installation: Installation, replayed: Sequence[Replayed]) -> None:
        """As ``course.check_plan``, which for a block without events depends on its length and the forms of its chunks
        alone: those that kept to the plan once are remembered and not checked again.
        """
        forms = tuple([held.form for held in replayed])
        known = (installation, header.mono[1] - header.mono[0], forms)
        if known in self._kept:
            return
        course.check_plan(header, [held.chunk for held in replayed], installation)
        if not header.events and None not in forms:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept.add(known)

    def again(self, key: cose.PublicKey, holdings: Holdings, frame: bytes) -> Steps[Opened]:
        """A block that was taken before, opened and replayed anew, with a step wherever some answers have been read one
        by one; RecordError, ProtocolError when it is damaged, RottenError when its configuration is.
        """
        signed = self._reader.read(frame, key)
        if (config := holdings.configuration(signed.header.configuration[0])) is None:
            raise RottenError(
                f"found no configuration {signed.header.configuration[0]}, expected the one it was taken by"
            )
        chunks = block.open_items(signed.header, signed.items())
        replayed = yield from self._reader.replay(config[1], chunks)
        return Opened(signed.hash, signed.header, Content(config[1], replayed))

    def _glance(
        self, holdings: Holdings, signed: Signed, items: Sequence[tuple[bytes, Any]], is_over: Callable[[], bool]
    ) -> Content | None:
        """What a block ahead of its chain says, only to be shown; None when it cannot be replayed (yet, or in time)."""
        number, digest = signed.header.configuration
        config = holdings.configuration(number)
        if config is None or config[0] != digest:
            return None
        try:
            if signed.replayed is not None:
                return Content(config[1], signed.replayed)
            reading = self._reader.replay(config[1], block.open_items(signed.header, items))
            replayed = as_far(reading, is_over)
            return None if replayed is None else Content(config[1], replayed)
        except (RecordError, ProtocolError):
            return None

    def _open(self, trust: Trust, frame: bytes) -> Signed:
        """A block with its signed header; RecordError, EnrolmentError."""
        if trust.revoked:
            transport.unwrap(frame)
            raise EnrolmentError(f"gateway {trust.gateway.hex()} is revoked")
        signed = self._reader.open(frame, trust.key)
        if signed.header.gateway != trust.gateway:
            raise ChainError(
                f"found gateway {signed.header.gateway.hex()}, expected {trust.gateway.hex()}: the key's own"
            )
        return signed


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
        return _gap(head.next_seq, opened) if holdings.beginning(header) is None else None
    if header.previous != head.hash:
        return _conflict(head, opened, f"a predecessor {header.previous.hex()}", "fork")
    return None


def _place_in_new_epoch(head: Head, holdings: Holdings, opened: Opened) -> Finding | None:
    header = opened.header
    if holdings.beginning(header) is not None:
        return None
    if header.seq > 0:
        return _gap(0, opened)
    error = ChainError(
        f"found epoch {header.epoch} after {header.previous.hex()}, expected a receipt this collector issued"
    )
    return Finding(_refused(error, head.next_seq), opened)


def _joins(head: Head, holdings: Holdings, header: Header) -> bool:
    """Whether the next block goes on from the newest one held: none between them is known to be lost."""
    if (header.epoch, header.seq) == (head.epoch, head.next_seq):
        return True
    beginning = holdings.beginning(header)
    return beginning is None or beginning.held is None or beginning.held <= (head.epoch, head.next_seq)


def _after(head: Head, opened: Opened, *, booked: bool) -> Head:
    now = course.after(head.course, opened.header, booked)
    return Head(now.epoch, opened.header.seq + 1, opened.hash, now.boot, now.mono, now.configuration, now.utc)


def _notices(head: Head, holdings: Holdings, header: Header, now: int) -> tuple[Notice, ...]:
    """What somebody must be told of a block that went into the chain: once, where it begins."""
    found = []
    if header.epoch != head.epoch:
        found += _epoch_notices(head, header, holdings.beginning(header))
    if max(header.utc) > now + FUTURE_MS and (head.utc is None or head.utc <= now + FUTURE_MS):
        found.append(Notice("clock", f"found UTC {max(header.utc)}, expected none after {now}: when it was received"))
    return tuple(found)


def _epoch_notices(head: Head, header: Header, beginning: Beginning | None) -> list[Notice]:
    held = None if beginning is None else beginning.held
    unproven = "; the receipt it names is not held" if held is None else ""
    if beginning is not None and beginning.former:
        unproven = f"; the receipt it names is of the collector it had before, key {beginning.former}"
    after = "nothing" if head.utc is None else head.utc
    found = [Notice("epoch", f"epoch {header.epoch} begins at UTC {header.utc[0]}, after {after}{unproven}")]
    if held is not None and held > (head.epoch, head.next_seq):
        detail = f"found the chain at {head.epoch}/{head.next_seq}, expected {held[0]}/{held[1]}: once receipted"
        found.append(Notice("missing", detail))
    return found


def _gap(wanted: int, opened: Opened) -> Finding:
    detail = f"found seq {opened.header.seq}, expected {wanted}"
    return Finding(Verdict(Answer.GAP, wanted, ChainError.code, detail), opened, ahead=True)


def _conflict(head: Head, opened: Opened, held: str, kind: str) -> Finding:
    header = opened.header
    expected = head.hash.hex() if kind == "fork" else held
    found = held if kind == "fork" else opened.hash.hex()
    detail = f"epoch {header.epoch} seq {header.seq}: found {found}, expected {expected}"
    verdict = Verdict(Answer.CONFLICT, head.next_seq, ConflictError.code, detail)
    return Finding(verdict, opened, notices=(Notice(kind, detail),))


def _refused(error: TanmeterError, wanted: int | None = None) -> Verdict:
    return Verdict(Answer.REFUSED, wanted, error.code, str(error))
