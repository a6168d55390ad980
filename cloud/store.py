"""The collector's store: blocks are examined and kept in one transaction, then receipted, and booked behind that.

Whoever asks for what is booked sees everything that was receipted before: it is booked first (``booked``). Of a gateway
that sends much at once it is booked in the same transaction, and of others when nothing else is to do.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import NamedTuple

from cloud import ahead, bringing, dated_rows, holding, memory_rows, open_rows, receipts, rot, unbooked
from cloud.booking import Book
from cloud.entering import Entering
from cloud.holding import Holding
from cloud.ingest import Examiner, Finding, Head
from cloud.journal import Journal
from cloud.ledger import Ledger
from cloud.open_rows import OpenRows
from cloud.reader import Coming
from cloud.rot import Place
from cloud.rows import Gateway
from cloud.taking import MOST_WAITING, Desk, Patience, Taking
from protocols.errors import EnrolmentError, RottenError, StoreError, TanmeterError
from protocols.record.answer import Answer, Verdict
from protocols.record.cose import Signer
from protocols.record.receipt import RECEIVED, SETTLED, Receipt, open_receipt

log = logging.getLogger(__name__)
KID_BYTES = 8
"""A gateway's id begins with the kid of its key, which its blocks name: so many bytes of it."""
AT_ONCE = 16_384
"""What waits of a gateway is booked with the batch that brings it to so much, in readings."""
TOGETHER = 4096
"""So many are booked together where others may come meanwhile, in readings: somewhat more than a millisecond."""
MOST_GATEWAYS = 256
"""Of so many gateways something may wait to be booked before that is done first."""
BOOK_AFTER_S, SLICE_S, LULL_S, AGAIN_S = 2.0, 0.002, 0.1, 60.0
"""How long a block waits for others of its gateway while nobody asks for it, how long is booked at a time, for how long
nothing has come in a lull, and after how much longer a gateway that could not be booked has its turn again.
"""


class Answered(NamedTuple):
    """A verdict for each frame of a batch, the newest receipt of its gateway, and the newest one of level 2."""

    verdicts: tuple[Verdict, ...]
    receipt: bytes | None = None
    settled: bytes | None = None


class Store(Journal):
    """The one place where the collector's state lives. Its methods may be called from any thread.

    ``held_up``: the gateways (ids) of which nothing is taken, for rows of theirs have rotted; and what was found.
    ``_moved``: the desks (kids) that this transaction may have changed, which go with it where it is undone.
    """

    def __init__(
        self,
        path: Path,
        key: Signer | None = None,
        *,
        batch_s: float = inf,
        processor: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open or create the file. ``key`` is the collector's: without it nothing can be taken in.

        ``batch_s``: how much of the ``processor``, in seconds, a batch may take; what is left of it is not taken.
        ``clock``: seconds, for how long a block has waited to be booked.
        """
        super().__init__(path, key)
        self._standing = threading.local()
        self._batch_s, self._processor, self._clock = batch_s, processor, clock
        self._examiner = Examiner()
        self._desks: dict[bytes, Desk] = {}
        self._moved = set[bytes]()
        self._copied = self._facts = self._as_of = 0
        self._seen: tuple[int, int] | None = None
        self._unbooked: dict[bytes, float] = {}
        self.held_up: dict[bytes, str] = {}
        self._came = -inf

    def serve_alone(self) -> None:
        """Be the one process that serves this store, and books what waits in it; BusyError when there is another."""
        super().serve_alone()
        with self.reading() as db:
            self._unbooked |= dict.fromkeys(unbooked.gateways(db), self._clock())

    def close(self) -> None:
        """Book what was taken here, and let go of the file."""
        for gateway in list(self._unbooked):
            with suppress(StoreError):
                self.book(gateway)
        super().close()

    def append(self, frames: Sequence[bytes], now: int) -> Answered:
        """Take in a batch of one gateway, received at ``now`` (UTC ms); on StoreError nothing of it is kept."""
        return self.append_batches([frames], now)[0]

    def append_batches(self, batches: Sequence[Sequence[bytes]], now: int) -> list[Answered]:
        """Take in several batches, each of one gateway, in one transaction: one sync of the disk for all of them.

        A refused block is found out before anything of it is written, so it does not hold up the others.
        """
        with self._moving() as db:
            ledger = Ledger(db, now)
            pairs = zip(self._expect(db, batches), batches, strict=True)
            answers = [self._take_in(db, ledger, desk, frames) for desk, frames in pairs]
            ledger.close()
        self._came = self._clock()
        return answers

    def retake(self, batches: Sequence[tuple[int, Sequence[bytes]]]) -> None:
        """Take in batches of single gateways, each as received at its own instant (UTC ms), in one transaction.

        What waits is booked before a batch of several: more may have been when that came, and there was room for all.
        """
        with self._moving() as db:
            desks = self._expect(db, [frames for _, frames in batches])
            for desk, (at, frames) in zip(desks, batches, strict=True):
                ledger = Ledger(db, at)
                if desk is not None and len(frames) > 1:
                    Entering(ledger, self._examiner, desk).enter(Patience(inf, self._processor))
                self._take_in(db, ledger, desk, frames)
                ledger.close()

    @property
    def unbooked(self) -> int:
        """Of how many gateways something was taken here that waits to be booked."""
        return len(self._unbooked)

    @property
    def is_pressed(self) -> bool:
        """Whether so much waits to be booked that nothing else is to be done before ``rest``."""
        with self.guard:
            desks = [self._desks.get(gateway[:KID_BYTES]) for gateway in self._unbooked]
        return len(desks) > MOST_GATEWAYS or sum([desk.waiting.weight for desk in desks if desk]) > MOST_WAITING

    def rest(self) -> float | None:
        """Nothing else is to do just now: book for a moment what has waited long enough, or fold the log.

        After how many seconds there is more to do if nothing comes; None when there is not. StoreError.
        """
        now = self._clock()
        with self.guard:
            pressed = self.is_pressed
            due = [one for one, since in self._unbooked.items() if pressed or since + BOOK_AFTER_S <= now]
            left = [since + BOOK_AFTER_S - now for since in self._unbooked.values()]
        if not due:
            lull = self._came + LULL_S - now
            self.tidy(lull=lull <= 0)
            return min([*left, *([lull] if lull > 0 else [])], default=None)
        patience = Patience(SLICE_S, self._processor)
        with self._moving() as db:
            for gateway in due:
                self._enter(db, gateway, patience)
                if patience.is_over(is_read=True):
                    break
        return 0.0

    def book(self, gateway: bytes | None = None, within_s: float = inf) -> None:
        """Book everything that waits by now, of one gateway or of all, or as much as there is time for.

        Others may write in between. StoreError; of a gateway whose rows have rotted once all others are booked.
        """
        with self.reading() as db:
            waiting = [one for one in unbooked.gateways(db) if gateway in (None, one)]
        known = dict(self.held_up) if gateway is None else {}
        end, rotten = self._clock() + within_s, [f"{one.hex()} ({known[one]})" for one in waiting if one in known]
        for one in waiting:
            if self._clock() > end:
                break
            if one in known:  # it is tried again by itself
                continue
            try:
                self._book(one, end)
            except (TanmeterError, *rot.UNREADABLE) as error:
                if not rot.is_rotten(error):
                    raise
                rotten.append(f"{one.hex()} ({error})")
        if rotten:
            raise RottenError(f"{self.path}: found rows that cannot be read, of {', '.join(rotten)}; expected none")

    def _book(self, gateway: bytes, end: float) -> None:
        with self.reading() as db:
            upto = db.execute("SELECT epoch, next_seq FROM gateways WHERE gateway = ?", (gateway,)).fetchone()
        done = False
        while not done and self._clock() <= end:
            with self._moving() as db:
                done = self._enter(db, gateway, Patience(SLICE_S, self._processor))
                done = done or (unbooked.since(db, gateway) or upto) >= upto
            if not done:
                time.sleep(SLICE_S / 4)  # the writer has its turn

    def _enter(self, db: sqlite3.Connection, gateway: bytes, patience: Patience) -> bool:
        """Book what waits of a gateway while there is time; whether nothing waits any more. Where it cannot be booked
        its turn comes again long behind the others': what was booked with it is undone.
        """
        waited = self._unbooked.pop(gateway, self._clock())
        self._unbooked[gateway] = self._clock() + AGAIN_S
        desk = self._desks.get(gateway[:KID_BYTES])
        if desk is None or desk.gateway != gateway or desk.as_of != self._as_of:
            if (row := holding.gateway(db, "gateway = ?", (gateway,))) is None:
                raise RottenError(f"{self.path}: found blocks that wait of {gateway.hex()}, expected it to be enrolled")
            desk = self._desk(db, row)
        self._moved.add(gateway[:KID_BYTES])
        ledger = Ledger(db, desk.received_at)
        try:
            done = Entering(ledger, self._examiner, desk).enter(patience, TOGETHER)
        except (sqlite3.Error, RottenError) as error:
            self._hold_up(gateway, error)
            raise
        ledger.close()
        self.held_up.pop(gateway, None)
        if done:
            del self._unbooked[gateway]
        else:
            self._unbooked[gateway] = waited
        return done

    def remember(self, envelopes: Sequence[bytes], now: int) -> Answered:
        """Take receipts of ours that a gateway brings back; the answer says from where the gateway is to go on.

        SignatureError, EncodingError unless we signed them all, EnrolmentError for a gateway that is not enrolled here.
        """
        brought = [(open_receipt(envelope, self.ours), envelope) for envelope in envelopes]
        with self.reading() as db:
            bringing.bearer(db, brought)  # whoever is refused before it moves anything costs nobody the desk
        with self._moving() as db:
            return self._remember(db, brought, now)

    @contextmanager
    def _moving(self) -> Iterator[sqlite3.Connection]:
        """A transaction that changes desks. They are read from the file again only when somebody else has written it.

        ``data_version`` tells: it moves when another connection has written, which none can during this transaction.
        """
        with self.guard:
            waiting = set(self._unbooked)
            self._moved.clear()
            try:
                with self.writing() as db:
                    (version,) = db.execute("PRAGMA data_version").fetchone()
                    if (version, db.total_changes) != self._seen:
                        self._as_of += 1
                    yield db
                    self._seen = version, db.total_changes
            except BaseException:
                for kid in self._moved:
                    self._desks.pop(kid, None)
                self._unbooked |= dict.fromkeys(waiting - self._unbooked.keys(), self._clock())
                raise

    def _remember(self, db: sqlite3.Connection, brought: Sequence[tuple[Receipt, bytes]], now: int) -> Answered:
        desk, ledger = self._desk(db, bringing.bearer(db, brought)), Ledger(db, now)
        for receipt, envelope in brought:
            if receipts.bring(db, receipt, envelope):
                bringing.compare(db, ledger, desk, receipt, now)
        answered = self._asking(db, ledger, desk, self._answered(db, desk, (), now))
        ledger.close()
        return answered

    def settle(self, copied: int, facts: int, gateways: Collection[bytes] | None, now: int) -> None:
        """A second copy holds the blocks up to this ingest_seq and the facts up to this one: receipts of level 2 for
        these gateways, or all. None covers a block that is damaged here, or was put back and is not copied yet.
        """
        issued: dict[bytes, bytes] = {}
        with self.guard:
            with self._moving() as db:
                if gateways is None:
                    gateways = [row[0] for row in db.execute("SELECT gateway FROM gateways")]
                for gateway in gateways:
                    unsafe = rot.unsafe(db, gateway, facts)
                    row = receipts.copied(db, gateway, copied, unsafe)
                    held = receipts.settled(db, gateway, copied, unsafe)
                    if row is not None and (held is None or not self._says(held, row[0], row[1] + 1)):
                        held = self.issue(db, Receipt(gateway, row[0], row[1] + 1, row[2], SETTLED, now))
                    if held is not None:
                        issued[gateway] = held
            self._copied, self._facts = copied, facts
            for gateway, envelope in issued.items():
                if (desk := self._desks.get(gateway[:KID_BYTES])) is not None and desk.gateway == gateway:
                    desk.settled = envelope

    def _says(self, envelope: bytes, epoch: int, next_seq: int) -> bool:
        receipt = open_receipt(envelope, self.ours)
        return (receipt.epoch, receipt.next_seq) == (epoch, next_seq)

    def _expect(self, db: sqlite3.Connection, batches: Sequence[Sequence[bytes]]) -> list[Desk | None]:
        """The desk of each batch, whose frames are read together as far as it goes."""
        desks = [self._desk_of(db, frames) for frames in batches]
        pairs = zip(desks, batches, strict=True)
        self._examiner.expect(
            [
                Coming(desk.key, desk.holdings.configuration, frames)
                for desk, frames in pairs
                if desk and not desk.revoked
            ]
        )
        return desks

    def _take_in(self, db: sqlite3.Connection, ledger: Ledger, desk: Desk | None, frames: Sequence[bytes]) -> Answered:
        if desk is None:
            return Answered(tuple([_stranger(ledger, frame) for frame in frames]))
        before = desk.head
        try:
            verdicts = Taking(ledger, self._examiner, desk).take(frames, self._begin(desk))
            if desk.waiting.weight >= AT_ONCE:
                Entering(ledger, self._examiner, desk).enter(Patience(self._batch_s, self._processor))
        except (sqlite3.Error, RottenError) as error:
            self._hold_up(desk.gateway, error)
            raise
        self.held_up.pop(desk.gateway, None)
        if desk.waiting:
            self._unbooked.setdefault(desk.gateway, self._clock())
        else:
            self._unbooked.pop(desk.gateway, None)
        if desk.revoked:
            return Answered(verdicts)
        if desk.head == before:
            answered = self._answered(db, desk, verdicts, ledger.now)
        else:
            answered = Answered(verdicts, self._receipt(db, desk, ledger.now), desk.settled)
        return self._asking(db, ledger, desk, answered)

    def _begin(self, desk: Desk) -> Patience:
        """A batch has its turn: what it may take from now on, or once others have been read with it."""
        patience = Patience(self._batch_s, self._processor)
        if desk.revoked or not self._examiner.begin():
            return patience
        return Patience(self._batch_s, self._processor)

    def _asking(self, db: sqlite3.Connection, ledger: Ledger, desk: Desk, answered: Answered) -> Answered:
        """The answer; while a damaged block is wanted, with a receipt that ends before it, so that it is sent again.

        This receipt is not kept among those we have issued: what they say of the chain still holds.
        """
        if not desk.wanted:
            return answered
        place = min(desk.wanted)
        head = rot.before(db, desk.gateway, place) or rot.first(db, desk.gateway)
        if not rot.asked(db, desk.gateway, place):
            del desk.wanted[place]
            detail = f"found no answer to {rot.MOST_ASKED} requests to its gateway for it, expected the block"
            ledger.tell(desk.gateway, "damaged", place, detail)
        receipt = Receipt(desk.gateway, *place, head, RECEIVED, ledger.now)
        return answered._replace(receipt=self.sign(receipt))

    def _answered(self, db: sqlite3.Connection, desk: Desk, verdicts: tuple[Verdict, ...], now: int) -> Answered:
        """The verdicts with the newest receipt; a new one where the file came without its receipts."""
        envelope = receipts.newest(db, desk.gateway) or self._receipt(db, desk, now)
        return Answered(verdicts, envelope, desk.settled)

    def _receipt(self, db: sqlite3.Connection, desk: Desk, now: int) -> bytes:
        head = desk.head
        receipt = Receipt(desk.gateway, head.epoch, head.next_seq, head.hash, RECEIVED, now)
        return self.issue(db, receipt, desk.issued)

    def _desk_of(self, db: sqlite3.Connection, frames: Sequence[bytes]) -> Desk | None:
        """The desk for a batch: of the gateway of the first frame that names a key we know; None without one."""
        for frame in frames:
            if (kid := self._examiner.kid(frame)) is not None:
                desk = self._desks.get(kid)
                if desk is not None and desk.as_of == self._as_of:
                    self._moved.add(kid)
                    return desk
                gateway = holding.gateway(db, "gateway BETWEEN ? AND ?", (kid + bytes(8), kid + b"\xff" * 8))
                if gateway is not None:
                    return self._desk(db, gateway)
        return None

    def _desk(self, db: sqlite3.Connection, gateway: Gateway) -> Desk:
        """The desk of a gateway; RottenError where it cannot be read from the file."""
        self._moved.add(gateway.id[:KID_BYTES])
        try:
            return self._read_desk(db, gateway)
        except (sqlite3.Error, TanmeterError, *rot.UNREADABLE) as error:
            self._hold_up(gateway.id, error)
            raise

    def _hold_up(self, gateway: bytes, error: Exception) -> None:
        """RottenError where this comes of rows of a gateway that have rotted."""
        if rot.is_rotten(error):
            if gateway not in self.held_up:
                trace = None if isinstance(error, TanmeterError) else error  # it may be a fault of ours
                log.error("gateway %s is held up: %s", gateway.hex(), error, exc_info=trace)
            self.held_up[gateway] = str(error)
            found = f"found rows that cannot be read ({error}), expected those that were kept"
            raise RottenError(f"{self.path}: gateway {gateway.hex()}: {found}") from error

    def _read_desk(self, db: sqlite3.Connection, gateway: Gateway) -> Desk:
        """The desk of a gateway, read from the file again when somebody else has moved its chain."""
        head, kid = holding.head(db, gateway), gateway.id[:KID_BYTES]
        since = unbooked.since(db, gateway.id)
        dated = dated_rows.count(db, gateway.id, since)
        desk = self._desks.get(kid)
        if desk is None or desk.stands != (gateway.id, head, since, dated):
            desk = self._set_up(db, gateway, head, since)
            desk.waiting.dated = dated
        if desk.as_of != self._as_of:
            desk.revoked, desk.holdings = gateway.revoked, Holding(self, db, gateway.id)
            desk.issued, desk.wanted = receipts.issued(db, gateway.id, RECEIVED), rot.wanted(db, gateway.id)
            desk.as_of = self._as_of
            self._desks[kid] = desk
            if since is not None and not desk.waiting:
                self._wait(db, desk, since)
        return desk

    def _set_up(self, db: sqlite3.Connection, gateway: Gateway, head: Head, since: Place | None) -> Desk:
        """A desk as of the newest block that is booked."""
        if not rot.has_its_key(gateway):
            raise RottenError("found another key than the one its id is of")
        book = Book(memory_rows.load(db, gateway.id))
        if (config := self.config(db, gateway.id, unbooked.configuration(db, gateway.id, since))) is not None:
            book.configure(self.installed(db, config))
        return Desk(
            gateway.id,
            gateway.key,
            head,
            book,
            OpenRows(open_rows.load(db, gateway.id)),
            dated_rows.last(db, gateway.id),
            ahead.any_of(db, gateway.id),
            receipts.watermark(db, gateway.id),
            receipts.settled(db, gateway.id, self._copied, rot.unsafe(db, gateway.id, self._facts)),
            received_at=gateway.received_at or 0,
        )

    def _wait(self, db: sqlite3.Connection, desk: Desk, since: Place) -> None:
        """Put down the blocks that wait to be booked, each to be read again in its turn."""
        for block in unbooked.blocks(db, desk.gateway, since):
            desk.waiting.leave(block)
        desk.waiting.since = since
        if not desk.waiting:
            unbooked.leave(db, desk.gateway, desk.waiting)


def _stranger(ledger: Ledger, frame: bytes) -> Verdict:
    error = EnrolmentError("found a block of no gateway that is enrolled here")
    verdict = Verdict(Answer.REFUSED, None, error.code, str(error))
    ledger.keep(None, Finding(verdict), frame)
    return verdict
