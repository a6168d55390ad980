"""The audit of a gateway: what is kept of it is made again from its signed bytes, and compared with what is kept.

It goes the way the blocks came: from the enrolment on each is examined and booked by the very code that takes blocks in
(``cloud/ingest.py``, ``cloud/booking.py``), but from nothing, and nothing that is kept is believed:

- enrolment, configurations and profiles: signatures, digests, their chain, and the columns that repeat them;
- each block: frame, signature, link, root, configuration, plan, replay, and the columns and events taken from it;
- intervals, doubts, settings and newest replies: recomputed, and every field compared;
- the head of the chain and the counts of the gateway; every receipt, and that what it receipts is held.

Of a stretch of time only its blocks are looked at: intervals need all that was before them. What is for the eye alone
(power) is not compared, nor the sentence of a fault, only its code. Blocks that wait to be booked, beside a collector
that is served, are counted.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cloud import dating, receipts, unbooked
from cloud.audit_rows import Kept
from cloud.audit_trust import Trusted, trusted
from cloud.booking import Book
from cloud.dating import Line
from cloud.difference import Difference, Differences
from cloud.ingest import Beginning, Content, Examiner, Finding, Head, Opened, Trust
from cloud.ledger import Tally
from cloud.reader import Coming
from cloud.running import Memory
from drivers.installation import Installation
from drivers.steps import finished
from protocols.errors import EncodingError, TanmeterError
from protocols.record import transport
from protocols.record.block import Header, open_header
from protocols.record.cose import PublicKey
from protocols.record.receipt import open_receipt

TOGETHER = 64
"""Blocks that are read and booked together."""
COLUMNS = "epoch, seq, hash, utc_start, utc_end, received_at, config_number, readings, fault, frame"
HEAD = (
    *("epoch", "next_seq", "head", "boot", "mono", "config_number", "block_start", "block_end"),
    *("blocks", "refused_blocks", "readings", "gaps", "due", "asked", "answered", "silent", "damaged", "refused"),
)
"""What a row of ``gateways`` tells of its chain and its health."""
Place = tuple[int, int]


@dataclass(slots=True)
class Audited:
    """What was looked at of one gateway, and everything that is not as it should be."""

    gateway: str
    blocks: int = 0
    readings: int = 0
    intervals: int = 0
    unbooked: int = 0
    receipts: int = 0
    cpu_s: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    found: int = 0


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row of ``blocks``."""

    epoch: int
    seq: int
    hash: bytes
    utc_start: int
    utc_end: int
    received_at: int
    config_number: int
    readings: int
    fault: str | None
    frame: bytes

    @property
    def name(self) -> str:
        """What a block is called."""
        return f"{self.epoch}/{self.seq}"


class Audit:
    """One gateway in one view of the file. ``told`` is called with the number of blocks each time some are done."""

    def __init__(self, db: sqlite3.Connection, gateway: bytes, told: Callable[[int], None]) -> None:
        self._db, self._gateway, self._told = db, gateway, told
        self._is = Differences(gateway.hex())
        self._audited = Audited(gateway.hex())
        self._examiner, self._tally = Examiner(), Tally()
        self._book = Book(Memory(), heaped=False)
        self._last: Line | None = None
        self._undated: dict[Place, tuple[Row, Header]] = {}
        self._unbooked = unbooked.since(db, gateway)

    def run(self, collector: PublicKey | None, span: tuple[int, int] | None = None) -> Audited:
        """Audit it; ``span``: only the blocks of this time (UTC ms). Without ``collector`` (its key) nothing is said of
        what its receipts say.
        """
        self._trusted = trusted(self._db, self._gateway, self._is)
        if self._trusted is not None and span is not None:
            self._part(self._trusted, *span)
        elif self._trusted is not None:
            self._whole(self._trusted, collector)
        self._audited.differences, self._audited.found = self._is.listed, self._is.found
        return self._audited

    def held(self, epoch: int, seq: int) -> bytes | None:
        """Nothing that is kept is believed."""
        return None

    def beginning(self, header: Header) -> Beginning | None:
        """What an epoch may begin after, by the receipts that are kept: they are looked at themselves."""
        return receipts.beginning(self._db, self._gateway, header)

    def configuration(self, number: int) -> tuple[bytes, Installation] | None:
        """A configuration that has been found to be good."""
        return None if self._trusted is None else self._trusted.configurations.get(number)

    def _whole(self, trust: Trusted, collector: PublicKey | None) -> None:
        kept = Kept(self._db, self._gateway, self._is, waits=self._unbooked is not None)
        head = trust.head
        for rows in self._rows("1", ()):
            head = self._steps(trust, head, rows, book=True)
            kept.compare(finished(self._book.take()))
        for row, header in self._undated.values():
            self._is.same("block", row.name, (row.utc_start, row.utc_end), header.utc)
        self._audited.intervals = kept.finish()
        self._heads(head)
        self._receipts(collector)

    def _part(self, trust: Trusted, start: int, end: int) -> None:
        found = self._db.execute(
            "SELECT epoch, seq FROM blocks WHERE gateway = ? AND utc_end > ? AND utc_start < ? ORDER BY epoch, seq",
            (self._gateway, start, end),
        ).fetchall()
        if not found:
            return
        head = self._before(trust, found[0])
        where = "(epoch, seq) >= (?, ?) AND (epoch, seq) <= (?, ?)"
        for rows in self._rows(where, (*found[0], *found[-1])):
            head = self._steps(trust, head, rows, book=False)

    def _before(self, trust: Trusted, place: Place) -> Head:
        """Where the chain stood before a block, by the bytes of the one before it."""
        row = self._db.execute(
            "SELECT epoch, seq, frame FROM blocks WHERE gateway = ? AND (epoch, seq) < (?, ?)"
            " ORDER BY epoch DESC, seq DESC LIMIT 1",
            (self._gateway, *place),
        ).fetchone()
        if row is None:
            return trust.head
        try:
            previous = transport.unpack(row[2]).hash
        except EncodingError:
            previous = b""
        return Head(row[0], row[1] + 1, previous, None, None, 0)

    def _rows(self, where: str, values: tuple[Any, ...]) -> Iterator[list[Row]]:
        cursor = self._db.execute(
            f"SELECT {COLUMNS} FROM blocks WHERE gateway = ? AND {where} ORDER BY epoch, seq", (self._gateway, *values)
        )
        while rows := cursor.fetchmany(TOGETHER):
            yield [Row(*row) for row in rows]

    def _steps(self, trust: Trusted, head: Head, rows: list[Row], *, book: bool) -> Head:
        """Some blocks that follow one another; where the chain then stands."""
        self._examiner.expect([Coming(trust.key, self.configuration, [row.frame for row in rows])])
        self._examiner.begin()
        events = self._events((rows[0].epoch, rows[0].seq), (rows[-1].epoch, rows[-1].seq))
        for row in rows:
            finding = self._examine(trust, head, row)
            if finding.head is None or finding.opened is None:
                head = Head(row.epoch, row.seq + 1, row.hash, None, None, head.config_number)
                continue
            head = finding.head
            self._columns(row, finding, events.get((row.epoch, row.seq), []))
            self._tally.add(finding.opened)
            if book:
                self._enter(trust, row, finding.opened)
        self._audited.blocks += len(rows)
        self._told(len(rows))
        return head

    def _examine(self, trust: Trusted, head: Head, row: Row) -> Finding:
        """What is to be said of a block in its place. One that is not in its place is looked at by itself as well."""
        finding = self._examiner.examine(Trust(self._gateway, trust.key, False, head), self, row.frame, row.received_at)
        if finding.head is not None:
            return finding
        self._is.told("block", row.name, f"{finding.verdict.code} {finding.verdict.detail}")
        if finding.opened is None:
            return finding
        header = finding.opened.header
        alone = Head(header.epoch, header.seq, header.previous, None, None, head.config_number)
        return self._examiner.examine(Trust(self._gateway, trust.key, False, alone), self, row.frame, row.received_at)

    def _events(self, first: Place, last: Place) -> dict[Place, list[tuple[Any, ...]]]:
        """The events that are kept of some blocks that follow one another."""
        found: dict[Place, list[tuple[Any, ...]]] = {}
        rows = self._db.execute(
            "SELECT epoch, seq, kind, start, end, detail FROM events WHERE gateway = ?"
            " AND (epoch, seq) >= (?, ?) AND (epoch, seq) <= (?, ?) ORDER BY epoch, seq, number",
            (self._gateway, *first, *last),
        )
        for epoch, seq, *event in rows:
            found.setdefault((epoch, seq), []).append(tuple(event))
        return found

    def _columns(self, row: Row, finding: Finding, listed: list[tuple[Any, ...]]) -> None:
        """What the row repeats of the block, and its events."""
        opened = finding.opened
        assert opened is not None, "a block that is in the chain is signed"
        header, content = opened.header, opened.content
        readings = 0 if content is None else content.readings
        self._audited.readings += readings
        kept = (
            row.epoch,
            row.seq,
            row.hash,
            row.config_number,
            row.readings,
            row.fault and row.fault.partition(":")[0],
        )
        fault = finding.verdict.code or None
        place = (header.epoch, header.seq)
        self._is.same("block", row.name, kept, (*place, opened.hash, header.configuration[0], readings, fault))
        events = [(event.kind, event.start, event.end, event.detail) for event in header.events if content is not None]
        self._is.same("event", row.name, listed, events)

    def _enter(self, trust: Trusted, row: Row, opened: Opened) -> None:
        """Book a block as it was booked when it came: what a correction dates comes before it."""
        header, content = opened.header, opened.content
        waits = content is not None and self._unbooked is not None and (row.epoch, row.seq) >= self._unbooked
        self._audited.unbooked += waits
        if content is None or not dating.is_dated(self._last, header):
            self._undated[row.epoch, row.seq] = (row, header)
            if content is not None and not waits:
                self._book.show(header, content)
            return
        if (line := dating.correction(header)) is not None and not waits:
            self._date(trust, line)
        self._entered(row, header, None if waits else content)

    def _date(self, trust: Trusted, line: Line) -> None:
        for place, (row, header) in list(self._undated.items()):
            if not line.holds(header) or row.fault is not None:
                continue
            del self._undated[place]
            try:
                earlier = finished(self._examiner.again(trust.key, self, row.frame))
            except TanmeterError as error:
                self._is.told("block", row.name, f"{error.code} {error}")
                continue
            assert earlier.content is not None, "what is opened again has its content"
            self._entered(row, line.date(header), earlier.content)

    def _entered(self, row: Row, header: Header, content: Content | None) -> None:
        self._is.same("block", row.name, (row.utc_start, row.utc_end), header.utc)
        if content is not None:
            if self._book.is_full:
                finished(self._book.settle())
            self._book.book(header, content)
        self._last, self._tally.utc = dating.end_of(header), header.utc

    def _heads(self, head: Head) -> None:
        """Where the chain stands, and the health of the gateway."""
        kept = self._db.execute(
            f"SELECT {', '.join(HEAD)} FROM gateways WHERE gateway = ?", (self._gateway,)
        ).fetchone()
        tally, utc = self._tally, self._tally.utc or (None, None)
        chain = (head.epoch, head.next_seq, head.hash, head.boot, head.mono, head.config_number)
        made = (*chain, *utc, tally.blocks, tally.refused_blocks, tally.readings, tally.gaps)
        for name, found, expected in zip(HEAD, kept, (*made, *tally.counters), strict=True):
            self._is.same("head", name, found, expected)

    def _receipts(self, collector: PublicKey | None) -> None:
        """Every receipt as it was signed, and that the block it names is held; but for what a gateway brought back."""
        rows = self._db.execute(
            "SELECT hash, epoch, next_seq, at, level, posted, envelope FROM receipts WHERE gateway = ?",
            (self._gateway,),
        )
        for digest, epoch, next_seq, at, level, posted, envelope in rows:
            name = f"{epoch}/{next_seq}"
            self._audited.receipts += 1
            self._is.same("receipt", name, digest, hashlib.sha256(envelope).digest())
            if collector is None:
                continue
            try:
                receipt = open_receipt(envelope, collector)
            except TanmeterError as error:
                self._is.told("receipt", name, f"{error.code} {error}")
                continue
            made = (receipt.gateway, receipt.epoch, receipt.next_seq, receipt.at, receipt.level)
            self._is.same("receipt", name, (self._gateway, epoch, next_seq, at, level), made)
            if not posted:
                self._is.same("receipt", name, self._hash_at(receipt.epoch, receipt.next_seq), receipt.head)

    def _hash_at(self, epoch: int, next_seq: int) -> bytes | None:
        """The hash that the head had when this seq was the next one."""
        assert self._trusted is not None, "receipts are looked at last"
        if (epoch, next_seq) == (self._trusted.head.epoch, self._trusted.head.next_seq):
            return self._trusted.head.hash
        resumed = "SELECT previous FROM resumed WHERE gateway = ? AND epoch = ? AND seq = ?"
        if (lost := self._db.execute(resumed, (self._gateway, epoch, next_seq)).fetchone()) is not None:
            return bytes(lost[0])
        row = self._db.execute(
            "SELECT hash, frame FROM blocks WHERE gateway = ? AND epoch = ? AND seq = ?",
            (self._gateway, epoch, max(next_seq - 1, 0)),
        ).fetchone()
        if row is None or next_seq > 0:
            return None if row is None else bytes(row[0])
        with suppress(TanmeterError):  # of one that is damaged it has been told
            return open_header(transport.unwrap(row[1])[0], self._trusted.key).previous
        return None


def gateways(db: sqlite3.Connection, beginning: str = "") -> list[bytes]:
    """The gateways that are kept anything of, by id; ``beginning``: of their ids in hex."""
    tables: Iterable[str] = ("gateways", "blocks", "closed_intervals", "open_intervals", "configs")
    rows = db.execute(" UNION ".join(f"SELECT gateway FROM {table}" for table in tables))
    return sorted(bytes(row[0]) for row in rows if bytes(row[0]).hex().startswith(beginning.lower()))
