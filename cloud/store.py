"""The collector's store: what came is examined, booked and kept in one transaction, and only then receipted."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud import dated_rows, dating, ingest, memory_rows
from cloud.archive import Archive
from cloud.booking import Book
from cloud.dating import Line
from cloud.enrolments import GATEWAY_COLUMNS
from cloud.ingest import Examiner, Finding, Head, Opened, Trust
from cloud.ledger import Ledger, Tally
from cloud.queries import NEWEST_RECEIPT
from cloud.rows import Gateway
from drivers.installation import Installation
from protocols.errors import EnrolmentError, TanmeterError
from protocols.record.answer import Answer, Verdict
from protocols.record.cose import PublicKey, Signer
from protocols.record.receipt import RECEIVED, Receipt

Answered = tuple[tuple[Verdict, ...], bytes | None]
"""A verdict for each frame of a batch, and the newest receipt of its gateway."""


@dataclass(slots=True)
class Desk:
    """What is remembered of a gateway between batches; all of it can be read again from the file."""

    key: PublicKey
    head: Head
    book: Book
    last: Line | None


class Store(Archive):
    """The one place where the collector's state lives. Its methods may be called from any thread."""

    def __init__(self, path: Path, key: Signer | None = None) -> None:
        """Open or create the file. ``key`` is the collector's: without it nothing can be taken in."""
        super().__init__(path, key)
        self._examiner = Examiner()
        self._desks: dict[bytes, Desk] = {}

    def append(self, frames: Sequence[bytes], now: int) -> Answered:
        """Take in a batch of one gateway, received at ``now`` (UTC ms); StoreError: then nothing of it is kept."""
        return self.append_batches([frames], now)[0]

    def append_batches(self, batches: Sequence[Sequence[bytes]], now: int) -> list[Answered]:
        """Take in several batches, each of one gateway, in one transaction: one sync of the disk for all of them.

        A block that is refused has been found out before anything of it was written, so it holds up none of the others.
        """
        with self.guard:
            try:
                with self.writing() as db:
                    ledger = Ledger(db, now)
                    answers = [self._take_in(db, ledger, frames, now) for frames in batches]
                    ledger.close()
                return answers
            except BaseException:
                self._desks.clear()
                raise

    def _take_in(self, db: sqlite3.Connection, ledger: Ledger, frames: Sequence[bytes], now: int) -> Answered:
        gateway = _gateway_of(db, frames)
        if gateway is None:
            return tuple([_stranger(ledger, frame) for frame in frames]), None
        desk, holdings, tally = self._desk(db, gateway), _Held(self, db, gateway.id), Tally()
        head, verdicts = desk.head, list[Verdict]()
        self._examiner.expect(frames)
        for frame in frames:
            trust = Trust(gateway.id, desk.key, gateway.revoked, head)
            finding = self._examiner.examine(trust, holdings, frame, now)
            verdicts.append(finding.verdict)
            ledger.keep(gateway.id, finding, frame)
            if finding.head is not None and finding.opened is not None:
                head = finding.head
                tally.add(finding.opened)
                tally.utc = self._book(db, ledger, desk, holdings, finding.opened) or tally.utc
        if gateway.revoked:
            return tuple(verdicts), None
        if head == desk.head:
            (envelope,) = db.execute(NEWEST_RECEIPT, (gateway.id,)).fetchone()
            return tuple(verdicts), bytes(envelope)
        ledger.book(gateway.id, desk.book.take())
        ledger.move(gateway.id, head, tally)
        if desk.last is not None:
            dated_rows.keep_last(db, gateway.id, desk.last)
        desk.head = head
        receipt = Receipt(gateway.id, head.epoch, head.next_seq, head.hash, RECEIVED, now)
        return tuple(verdicts), self.issue(db, receipt)

    def _book(
        self, db: sqlite3.Connection, ledger: Ledger, desk: Desk, holdings: "_Held", opened: Opened
    ) -> tuple[int, int] | None:
        """Book a block that has come into the chain, when it was; its UTC where it is dated.

        Before it comes what it dates: those blocks are read from the file again, where they may have lain for weeks.
        """
        header, content = opened.header, opened.content
        if content is None:
            return None
        if not dating.is_dated(desk.last, header):
            dated_rows.add(db, header)
            desk.book.show(header, content)
            return None
        if (line := dating.correction(header)) is not None:
            for seq in dated_rows.pending(db, header.gateway, line):
                try:
                    earlier = self._examiner.again(desk.key, holdings, holdings.frame(line.epoch, seq))
                except TanmeterError as error:
                    ledger.tell(header.gateway, "damaged", (line.epoch, seq), f"{error.code} {error}")
                    continue
                dated = line.date(earlier.header)
                assert earlier.content is not None, "what is opened again has its content"
                desk.book.book(dated, earlier.content)
                dated_rows.date(db, dated, header.seq)
        desk.book.book(header, content)
        desk.last = dating.end_of(header)
        return header.utc

    def _desk(self, db: sqlite3.Connection, gateway: Gateway) -> Desk:
        """The running accounts of a gateway, read again when another process has moved its chain."""
        head = _head(db, gateway)
        desk = self._desks.get(gateway.id)
        if desk is None or desk.head != head:
            book = Book(memory_rows.load(db, gateway.id))
            if (config := self.config(db, gateway.id, gateway.config_number)) is not None:
                book.configure(self.installed(db, config))
            desk = self._desks[gateway.id] = Desk(gateway.key, head, book, dated_rows.last(db, gateway.id))
        return desk


class _Held:
    """What the file holds of one gateway, as ingest asks for it."""

    def __init__(self, store: Store, db: sqlite3.Connection, gateway: bytes) -> None:
        self._store, self._db, self._gateway = store, db, gateway
        self._configurations: dict[int, tuple[bytes, Installation]] = {}

    def held(self, epoch: int, seq: int) -> bytes | None:
        row = self._db.execute(
            "SELECT hash FROM blocks WHERE gateway = ? AND epoch = ? AND seq = ?", (self._gateway, epoch, seq)
        ).fetchone()
        return bytes(row[0]) if row else None

    def frame(self, epoch: int, seq: int) -> bytes:
        """The frame of a block that is held."""
        (frame,) = self._db.execute(
            "SELECT frame FROM blocks WHERE gateway = ? AND epoch = ? AND seq = ?", (self._gateway, epoch, seq)
        ).fetchone()
        return bytes(frame)

    def issued(self, receipt: bytes) -> bool:
        row = self._db.execute("SELECT 1 FROM receipts WHERE gateway = ? AND hash = ?", (self._gateway, receipt))
        return row.fetchone() is not None

    def configuration(self, number: int) -> tuple[bytes, Installation] | None:
        if number not in self._configurations:
            config = self._store.config(self._db, self._gateway, number)
            if config is None:
                return None
            self._configurations[number] = (config.digest, self._store.installed(self._db, config))
        return self._configurations[number]


def _head(db: sqlite3.Connection, gateway: Gateway) -> Head:
    """Where a chain stands; its UTC is that of the newest block, booked or refused."""
    newest = (gateway.id, gateway.epoch, gateway.next_seq - 1)
    row = db.execute("SELECT utc_end FROM blocks WHERE gateway = ? AND epoch = ? AND seq = ?", newest).fetchone()
    clocks = (gateway.boot, gateway.mono, gateway.config_number, row[0] if row else None)
    return Head(gateway.epoch, gateway.next_seq, gateway.head, *clocks)


def _gateway_of(db: sqlite3.Connection, frames: Sequence[bytes]) -> Gateway | None:
    """The gateway of a batch: that of its first frame which names a known key."""
    for frame in frames:
        if (kid := ingest.kid(frame)) is not None:
            row = db.execute(
                f"SELECT {GATEWAY_COLUMNS} FROM gateways WHERE gateway BETWEEN ? AND ?",
                (kid + bytes(8), kid + b"\xff" * 8),
            ).fetchone()
            if row is not None:
                return Gateway(*row)
    return None


def _stranger(ledger: Ledger, frame: bytes) -> Verdict:
    error = EnrolmentError("found a block of no gateway that is enrolled here")
    verdict = Verdict(Answer.REFUSED, None, error.code, str(error))
    ledger.keep(None, Finding(verdict), frame)
    return verdict
