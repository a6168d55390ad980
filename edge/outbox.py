"""The store: exchanges of the open block and sealed blocks, in SQLite; what it has returned from is on disk.

WAL, synchronous=FULL, one connection, one process (a lock beside the file says so). A failed fsync is fatal: what the
kernel did with the pages is unknown, so the process must end and read its store again.
"""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from drivers.reading import Exchange
from edge.sealer import Link, OpenBlock, Record
from protocols.errors import BusyError, EncodingError, StoreError
from protocols.record import transport
from protocols.record.block import Sealed
from protocols.record.receipt import SETTLED, Receipt

SCHEMA = 1
WAL_LIMIT = 4 << 20
TO_SEND, REFUSED, LEFT_BEHIND = range(3)
DAY_MS = 86_400_000
RECENT = 64
"""Blocks whose size foretells how long the room will last."""
FULL_CODES = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})


class DiskFull(StoreError):
    """Nothing of this transaction was kept; it may be tried again when there is room."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Where the gateway's chain stands: the next block's place, and what the last start and block left."""

    link: Link
    boot: int
    configuration: int
    last_utc: int
    receipt: bytes | None


@dataclass(frozen=True, slots=True)
class Stored:
    """A sealed block as it is sent."""

    epoch: int
    seq: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is held, how much of it waits for a receipt, and for how many days there is room (None: unknown)."""

    blocks: int
    bytes: int
    unsettled: int
    oldest_unsettled: int | None
    refused: int
    left_behind: int
    open_exchanges: int
    days_left: float | None


class Outbox:
    """Made for one gateway. Every method either is on disk when it returns or raises and has changed nothing.

    ``durable`` False trusts the operating system with the writes: for simulated history, never for a meter.
    ``max_bytes`` bounds what sealed blocks may take; only blocks that a second copy covers are deleted to keep it.
    """

    def __init__(self, path: Path, gateway: bytes, enrolment: bytes, durable: bool = True, max_bytes: int = 8 << 30):
        self.path, self.durable, self._max_bytes = path, durable, max_bytes
        self._lock = _lock(path)
        try:
            self._db = self._connect()
            self._create(gateway, enrolment)
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Close the file and let another process have it."""
        self._db.close()
        self._lock.close()

    # ---- the chain

    def chain(self) -> Chain:
        """Where the chain stands."""
        row = self._one("SELECT gateway, epoch, next_seq, head, boot, configuration, last_utc, receipt FROM chain")
        gateway, epoch, seq, head, boot, configuration, last_utc, receipt = row
        return Chain(Link(gateway, epoch, seq, head), boot, configuration, last_utc, receipt)

    def begin(self, configuration: int) -> int:
        """The number of this start, one more than the last; StoreError when the configuration's number went back."""
        with self._transaction():
            boot, before = self._one("SELECT boot, configuration FROM chain")
            if configuration < before:
                raise StoreError(f"found site configuration {configuration} in force, expected {before} or newer")
            self._db.execute("UPDATE chain SET boot = ?, configuration = ?", (boot + 1, configuration))
            return int(boot) + 1

    # ---- the open block

    def add(self, records: Sequence[Record], blocks: Sequence[OpenBlock] = ()) -> None:
        """Keep exchanges, and blocks that were opened or have had something noted; DiskFull."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO open_block VALUES (?, ?)", [(block.id, block.to_bytes()) for block in blocks]
            )
            self._db.executemany(
                "INSERT INTO open_exchange (block, slot, device, query, request, reply, fault, at_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [_row(record) for record in records],
            )

    def opened(self) -> list[OpenBlock]:
        """The blocks that are not sealed, oldest first."""
        return [OpenBlock.from_bytes(data) for (data,) in self._all("SELECT data FROM open_block ORDER BY id")]

    def records(self, block: int) -> list[Record]:
        """What was committed of an open block, in that order."""
        rows = self._all(
            "SELECT slot, device, query, request, reply, fault, at_ms FROM open_exchange WHERE block = ? ORDER BY id",
            (block,),
        )
        return [Record(block, slot, Exchange(*rest)) for slot, *rest in rows]

    # ---- sealed blocks

    def seal(self, block: OpenBlock, sealed: Sealed, link: Link, utc_end: int) -> None:
        """The sealed block takes the place of the open one and the chain moves on, all at once; DiskFull."""
        frame = transport.pack(sealed)
        row = (link.epoch, link.seq, sealed.hash, block.utc, utc_end, 0, TO_SEND, "", frame)
        with self._transaction():
            if self.chain().link != link:
                raise StoreError(f"found the chain at {self.chain().link.seq}, expected {link.seq}: it moved meanwhile")
            self._make_room(len(frame))
            self._db.execute("INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            self._db.execute("DELETE FROM open_exchange WHERE block = ?", (block.id,))
            self._db.execute("DELETE FROM open_block WHERE id = ?", (block.id,))
            self._db.execute(
                "UPDATE chain SET next_seq = ?, head = ?, last_utc = ?, blocks = blocks + 1, bytes = bytes + ?",
                (link.seq + 1, sealed.hash, utc_end, len(frame)),
            )

    def batch(self, epoch: int, seq: int, blocks: int, size: int) -> list[Stored]:
        """The blocks to send from this place on, in order: at most so many and so many bytes, but at least one.

        A refused block is one of them: it keeps its place in the chain, and a collector that was restored wants it.
        """
        held: list[Stored] = []
        rows = self._db.execute(
            "SELECT epoch, seq, frame FROM block WHERE (epoch, seq) >= (?, ?) AND state < ?"
            " ORDER BY epoch, seq LIMIT ?",
            (epoch, seq, LEFT_BEHIND, blocks),
        )
        for row in rows:
            size -= len(row[2]) + 5
            if held and size < 0:
                break
            held.append(Stored(*row))
        rows.close()
        return held

    def first_unsettled(self) -> tuple[int, int]:
        """(epoch, seq) of the oldest block without a receipt; of the next block when all have one."""
        row = self._db.execute(
            "SELECT epoch, seq FROM block WHERE level = 0 AND state = 0 ORDER BY epoch, seq LIMIT 1"
        ).fetchone()
        epoch, seq = row or self._one("SELECT epoch, next_seq FROM chain")
        return epoch, seq

    def settle(self, receipt: Receipt, envelope: bytes) -> bool:
        """Mark what the receipt covers. False, and nothing marked, when its head is not in this chain: a fork."""
        with self._transaction():
            if not self._knows(receipt):
                return False
            self._db.execute(
                "UPDATE block SET level = ? WHERE epoch = ? AND seq < ? AND level < ? AND state = 0",
                (receipt.level, receipt.epoch, receipt.next_seq, receipt.level),
            )
            self._db.execute("UPDATE chain SET receipt = ?", (envelope,))
            return True

    def refuse(self, epoch: int, seq: int, detail: str) -> None:
        """The collector has gone on without taking this block: keep it, but wait for it no longer."""
        with self._transaction():
            self._db.execute(
                "UPDATE block SET state = ?, detail = ? WHERE epoch = ? AND seq = ? AND level = 0",
                (REFUSED, detail, epoch, seq),
            )

    def open_epoch(self, epoch: int, previous: bytes, receipt: bytes) -> None:
        """Begin a new epoch after ``previous``, SHA-256 of ``receipt``; what was not received stays where it is."""
        with self._transaction():
            self._db.execute(
                "UPDATE block SET state = ?, detail = 'left behind in a fork' WHERE level = 0 AND state = 0",
                (LEFT_BEHIND,),
            )
            self._db.execute(
                "UPDATE chain SET epoch = ?, next_seq = 0, head = ?, receipt = ?", (epoch, previous, receipt)
            )

    def counts(self) -> Counts:
        """What status tells."""
        blocks, size = self._one("SELECT blocks, bytes FROM chain")
        unsettled, oldest = self._one("SELECT count(*), min(utc_start) FROM block WHERE level = 0 AND state = 0")
        aside = dict(self._all("SELECT state, count(*) FROM block WHERE state > 0 GROUP BY state"))
        (waiting,) = self._one("SELECT count(*) FROM open_exchange")
        return Counts(
            blocks, size, unsettled, oldest, aside.get(REFUSED, 0), aside.get(LEFT_BEHIND, 0), waiting, self._days()
        )

    # ---- how

    def _connect(self) -> sqlite3.Connection:
        with _translated():
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {'FULL' if self.durable else 'OFF'}")
            db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
            self.path.chmod(0o600)
            return db

    def _create(self, gateway: bytes, enrolment: bytes) -> None:
        with self._transaction():
            script = files("edge").joinpath("outbox.sql").read_text("utf-8")
            for statement in "\n".join(line.partition("--")[0] for line in script.splitlines()).split(";"):
                self._db.execute(statement)
            self._db.execute(
                "INSERT OR IGNORE INTO chain VALUES (1, ?, ?, 0, 0, ?, 0, 0, 0, 0, 0, NULL)",
                (SCHEMA, gateway, enrolment),
            )
            schema, owner = self._one("SELECT schema, gateway FROM chain")
        if schema != SCHEMA or owner != gateway:
            found = f"schema {schema} of gateway {owner.hex()}"
            raise StoreError(f"{self.path}: found {found}, expected schema {SCHEMA} of gateway {gateway.hex()}")
        self._check_head()

    def _check_head(self) -> None:
        """The newest block must be whole: a store that was damaged must not be built upon."""
        link = self.chain().link
        row = self._db.execute(
            "SELECT hash, frame FROM block WHERE epoch = ? AND seq = ?", (link.epoch, link.seq - 1)
        ).fetchone()
        if row is None:
            return
        try:
            found = transport.unpack(row[1]).hash
        except EncodingError as error:
            raise StoreError(f"{self.path}: block {link.seq - 1} does not unpack: {error}") from error
        if not found == row[0] == link.previous:
            raise StoreError(f"{self.path}: block {link.seq - 1} is {found.hex()}, expected {link.previous.hex()}")

    def _knows(self, receipt: Receipt) -> bool:
        """Whether the newest block the collector holds is in this chain."""
        link = self.chain().link
        if (receipt.epoch, receipt.next_seq) >= (link.epoch, link.seq):
            return (receipt.epoch, receipt.next_seq, receipt.head) == (link.epoch, link.seq, link.previous)
        row = self._db.execute(
            "SELECT hash FROM block WHERE epoch = ? AND seq = ?", (receipt.epoch, receipt.next_seq - 1)
        ).fetchone()
        return row is None or row[0] == receipt.head

    def _make_room(self, size: int) -> None:
        (held,) = self._one("SELECT bytes FROM chain")
        while held + size > self._max_bytes:
            row = self._db.execute(
                "SELECT epoch, seq, length(frame) FROM block WHERE level >= ? ORDER BY epoch, seq LIMIT 1", (SETTLED,)
            ).fetchone()
            if row is None:
                raise DiskFull(f"found {held} bytes of blocks that no second copy covers, expected {self._max_bytes}")
            self._db.execute("DELETE FROM block WHERE epoch = ? AND seq = ?", row[:2])
            self._db.execute("UPDATE chain SET blocks = blocks - 1, bytes = bytes - ?", row[2:])
            held -= row[2]

    def _days(self) -> float | None:
        size, start, end = self._one(
            "SELECT sum(length(frame)), min(utc_start), max(utc_end) FROM"
            f" (SELECT frame, utc_start, utc_end FROM block ORDER BY epoch DESC, seq DESC LIMIT {RECENT})"
        )
        if not size or end <= start:
            return None
        (held,) = self._one("SELECT bytes FROM chain")
        room = min(shutil.disk_usage(self.path.parent).free, self._max_bytes - held)
        return float(round(room / (size * DAY_MS / (end - start)), 1))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _one(self, query: str) -> Any:
        with _translated():
            return self._db.execute(query).fetchone()

    def _all(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        with _translated():
            return self._db.execute(query, values).fetchall()


@contextmanager
def _translated() -> Iterator[None]:
    """SQLite's errors as ours: no room is DiskFull, everything else ends the process."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        raise (DiskFull if code in FULL_CODES else StoreError)(f"{error} (SQLite {code})") from error


def _row(record: Record) -> tuple[object, ...]:
    held = record.exchange
    return (
        record.block,
        record.slot,
        held.device,
        held.query,
        held.request,
        held.reply,
        held.fault,
        held.at_ms,
    )


def _lock(path: Path) -> IO[bytes]:
    """Hold the store for this process; StoreError when another one does."""
    try:
        held = path.with_name(path.name + ".lock").open("ab")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; expected a folder that can be written") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise BusyError(f"{path}: another agent holds it, expected none") from error
    os.set_inheritable(held.fileno(), False)
    return held
