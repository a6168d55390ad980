"""One batch of one gateway, taken in within a transaction: block after block, then what was kept ahead of it.

What the blocks say is put down to be booked (``cloud/entering.py``), now or behind the answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cloud import ahead, dated_rows, dating, receipts, rot, unbooked
from cloud.booking import Book
from cloud.dating import Line
from cloud.ingest import LATER, UNKNOWN_CONFIGURATION, Content, Examiner, Finding, Head, Holdings, Notice, Trust
from cloud.ledger import Ledger, Tally
from cloud.open_rows import OpenRows
from cloud.receipts import Issued, Watermark
from cloud.rot import Place
from cloud.unbooked import Block, Waiting
from protocols.errors import RecordError
from protocols.record.answer import Answer, Verdict
from protocols.record.block import Header
from protocols.record.cose import PublicKey

MOST_WAITING = 262_144
"""What may wait of a gateway to be booked, in readings; until some of it is booked, no more of its blocks are taken."""


class Patience:
    """How long a batch may take: ``seconds`` of a clock, from now on."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock, self._at, self._over = clock, clock(), False
        self._end = self._at + seconds

    def is_over(self, is_read: bool) -> bool:
        """Whether the time is over, or would be after one more step as long as the last: blocks of a batch are alike.
        What is left of the batch then is to be sent again. ``is_read``: the next block was read together with those
        before it; the step that it takes is a short one.
        """
        before, self._at = self._at, self._clock()
        step = 0.0 if is_read else self._at - before
        self._over = self._over or self._at + step > self._end
        return self._over

    def is_spent(self) -> bool:
        """Whether the time is over."""
        return self._clock() > self._end


@dataclass(slots=True)
class Desk:
    """What is remembered of a gateway between batches; all of it can be read again from the file.

    ``last``: the end of the last dated block. ``ahead``: whether blocks are kept ahead of the chain. ``settled``: the
    newest receipt of level 2; ``issued``: what is known of those of level 1. ``wanted``: damaged blocks that the
    gateway is asked for, each with its hash. ``waiting``: what is not booked yet. ``received_at``: of the newest block
    (UTC ms). ``as_of``: up to which write by others this is true.
    """

    gateway: bytes
    key: PublicKey
    head: Head
    book: Book
    open: OpenRows
    last: Line | None
    ahead: bool
    watermark: Watermark | None
    settled: bytes | None
    revoked: bool = field(init=False)
    holdings: "Held" = field(init=False)
    issued: Issued = field(init=False)
    wanted: dict[Place, bytes] = field(init=False)
    waiting: Waiting = field(default_factory=Waiting)
    received_at: int = 0
    as_of: int = 0

    @property
    def stands(self) -> tuple[bytes, Head, Place | None, int]:
        """Where its chain and its books stand; whoever else moves them moves this."""
        return self.gateway, self.head, self.waiting.since, self.waiting.dated


class Held(Holdings, Protocol):
    """What is held of a gateway, with the blocks themselves."""

    def frame(self, epoch: int, seq: int) -> bytes:
        """The frame of a block that is held; RottenError where it is no bytes any more."""


class Taking:
    """Takes the blocks of a batch, and puts down what they say; ``head`` is where the chain then stands."""

    def __init__(self, ledger: Ledger, examiner: Examiner, desk: Desk) -> None:
        self._ledger, self._examiner, self._desk = ledger, examiner, desk
        self._gateway, self._holdings = desk.gateway, desk.holdings
        self.head, self._tally = desk.head, Tally()

    def take(self, frames: Sequence[bytes], patience: Patience) -> tuple[Verdict, ...]:
        """A verdict for each frame. Where the chain has moved, that is written down."""
        verdicts = list[Verdict]()
        for frame in frames:
            over = bool(verdicts) and patience.is_over(self._examiner.has_read(frame))
            full = self._desk.waiting.weight > MOST_WAITING
            verdicts.append(LATER if over or full else self._take(frame, patience).verdict)
        if self._desk.ahead and self.head != self._desk.head:
            self._catch_up(patience)
        if self.head != self._desk.head:
            self._ledger.move(self._gateway, self.head, self._desk.last, self._tally)
            self._desk.head, self._desk.received_at = self.head, self._ledger.now
        return tuple(verdicts)

    def _take(self, frame: bytes, patience: Patience) -> Finding:
        trust = Trust(self._gateway, self._desk.key, self._desk.revoked, self.head)
        finding = self._examiner.examine(trust, self._holdings, frame, self._ledger.now, patience.is_spent)
        self._ledger.keep(self._gateway, finding, frame)
        if finding.opened is None:
            return finding
        if finding.ahead:
            self._ledger.keep_ahead(finding.opened, frame)
            self._desk.ahead = True
        elif finding.verdict.answer == Answer.HELD and self._desk.wanted:
            self._put_back(finding.opened.header, frame)
        elif finding.head is not None:
            self.head = finding.head
            self._tally.add(finding.opened)
            if finding.opened.content is not None:
                self._tally.utc = self._put_down(finding.opened.header, finding.opened.content) or self._tally.utc
            if self._desk.watermark is not None:
                self._pass(self._desk.watermark, finding.notices)
        return finding

    def _put_back(self, header: Header, frame: bytes) -> None:
        """A block that is held has come again: put it in the place of ours where ours is damaged, once it is proven."""
        place = (header.epoch, header.seq)
        if (sha256 := self._desk.wanted.get(place)) is None:
            return
        try:
            rot.prove(frame, self._gateway, self._desk.key, place, sha256)
        except RecordError:
            return
        rot.put_back(self._ledger.db, self._gateway, place, sha256, frame)
        self._ledger.tell(self._gateway, "mended", place, "its gateway has sent it again")
        del self._desk.wanted[place]

    def _put_down(self, header: Header, content: Content) -> tuple[int, int] | None:
        """A good block is in the chain, to be booked. Its UTC; None for one that only a later block may date."""
        desk, dated = self._desk, dating.is_dated(self._desk.last, header)
        begins = not desk.waiting
        desk.waiting.add(Block(header, content, dated))
        if begins:
            unbooked.begin(self._ledger.db, header.gateway, desk.waiting)
        if not dated:
            dated_rows.add(self._ledger.db, header)
            return None
        desk.last = dating.end_of(header)
        return header.utc

    def _catch_up(self, patience: Patience) -> None:
        """Take the blocks that were kept ahead of the chain and now follow it, in order, up to a gap, or to one that
        takes too long to read.
        """
        for _ in range(ahead.MOST_AT_ONCE):
            if self._desk.waiting.weight > MOST_WAITING:
                break
            found = ahead.next_of(self._ledger.db, self._gateway, self.head)
            if found is None:
                break
            verdict = self._take(found[1], patience).verdict
            if verdict.code == UNKNOWN_CONFIGURATION or verdict == LATER:
                break
            ahead.let_go(self._ledger.db, found[0])
        self._desk.ahead = ahead.any_of(self._ledger.db, self._gateway)

    def _pass(self, mark: Watermark, notices: Sequence[Notice]) -> None:
        """Tell of it when the chain reaches the place we once receipted and is another one there, or has passed it."""
        place = (self.head.epoch, self.head.next_seq)
        if place < mark.place:
            return
        found, expected = f"{place[0]}/{place[1]} {self.head.hash.hex()}", f"{mark.place[0]}/{mark.place[1]}"
        if place > mark.place and "missing" not in {notice.kind for notice in notices}:
            self._ledger.tell(self._gateway, "missing", place, f"found {found}, expected {expected}: once receipted")
        elif place == mark.place and self.head.hash != mark.head:
            self._ledger.tell(
                self._gateway, "fork", place, f"found {found}, expected {mark.head.hex()}: once receipted"
            )
        receipts.drop_watermark(self._ledger.db, self._gateway)
        self._desk.watermark = None
