"""The collector's SQLite file: one guarded writer, readers with connections of their own.

Durable: WAL with synchronous=FULL; what a transaction wrote is on the disk when it returns. SQLite before 3.51.3 can
damage a file when two connections write or checkpoint at the same instant, so every write, and with it every
checkpoint, happens under a file lock that all processes share, and readers are opened read-only.
"""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

from cloud.durable import sync_folder
from protocols.errors import BusyError, ForeignError, SpoiltError, StoreError

SCHEMA = 11
FOLD_IN_A_LULL, FOLD_SOON, FOLD_AT_ONCE = 1024, 16_384, 32_768
"""Rows written, after which the log is folded into the database: when nothing has come for a while, when nobody waits
just then, and whoever waits. A single block is about ten. What comes meanwhile waits: some 13 ms by the clock for 1,024
rows beside requests, and at 200 blocks/s that was twice a second, what one block in forty waited for. So it is left to
a lull, or seldom. SQLite's own checkpoints keep to themselves that a sync failed; ours raise it.
"""
OLDEST_SCHEMA = 2
"""A file of this schema or a newer one is brought to ours when it is opened, all at once or not at all."""
BUSY_S = 30.0
LONG_S, RESTS, LONGEST_REST_S = 0.001, 4, 1.0
"""For how long what can wait computes before it rests, and how many times as long it rests then, at most."""


class Database:
    """The file. StoreError from every method when the disk is full or failing; then nothing of the call is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.guard = threading.RLock()
        self._pool_guard = threading.Lock()
        self._pool: list[sqlite3.Connection] = []
        self._failed: str | None = None
        self._serving: int | None = None
        self._folded = 0
        self._patient = threading.local()
        with store_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                with self._locked():
                    self._writer = _connect(path)
                    self._create()
            except BaseException:
                os.close(self._lock)
                raise

    @property
    def failed(self) -> str | None:
        """What the disk failed with: nothing is written any more, the process must end. None while it works."""
        return self._failed

    def serve_alone(self) -> None:
        """Be the one process that serves this store, until it is closed; BusyError when there is another."""
        held = os.open(f"{self.path}.serving", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(held)
            raise BusyError(f"{self.path}: another collector serves it, expected none") from error
        self._serving = held

    def back_up(self, to: Path) -> None:
        """Write the file as it stands now to ``to``, whole or not at all, while others go on writing; StoreError."""
        unready = to.with_name(f"{to.name}.unready")
        with store_errors(to):
            unready.unlink(missing_ok=True)
            try:
                with closing(sqlite3.connect(unready)) as target, self.reading() as db:
                    db.execute("COMMIT")
                    db.backup(target)
                with unready.open("rb") as written:
                    os.fsync(written.fileno())
                os.link(unready, to)
            finally:
                unready.unlink(missing_ok=True)
            sync_folder(to.parent)

    def close(self) -> None:
        """Let go of the file. The last one out folds the WAL into the database."""
        with self._pool_guard:
            for reader in self._pool:
                reader.close()
            self._pool.clear()
        with self._locked():
            self._writer.close()
        os.close(self._lock)
        if self._serving is not None:
            os.close(self._serving)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on the disk when the block is left, undone when it raises. StoreError.

        After a disk that failed to write, nothing is written any more: what the file then holds is only known after it
        has been opened again.
        """
        with self.guard, store_errors(self.path), self._locked():
            if self._failed:
                raise StoreError(
                    f"{self.path}: the disk failed before ({self._failed}), expected the store to be reopened"
                )
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
                self._fold(FOLD_AT_ONCE)
            except BaseException as error:
                self._undo(error)
                raise

    def tidy(self, *, lull: bool) -> None:
        """Nobody waits just now: fold the log into the database, when enough has been written since. StoreError.

        ``lull``: nothing has come for a while.
        """
        with self.guard, store_errors(self.path), self._locked():
            try:
                if not self._failed:
                    self._fold(FOLD_IN_A_LULL if lull else FOLD_SOON)
            except BaseException as error:
                self._undo(error)
                raise

    def _fold(self, after: int) -> None:
        if self._writer.total_changes - self._folded >= after:
            self._folded = self._writer.total_changes
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """What this thread does meanwhile can wait: where it begins to read, and at the end, it rests for what it has
        computed. There is one interpreter, and without that it has half of it while gateways wait for their answers.
        """
        self._patient.since = time.thread_time()
        try:
            yield
            self._give_way()
        finally:
            del self._patient.since

    def _give_way(self) -> None:
        since = getattr(self._patient, "since", None)
        if since is not None and (computed := time.thread_time() - since) >= LONG_S:
            time.sleep(min(RESTS * computed, LONGEST_REST_S))
            self._patient.since = time.thread_time()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection, and one unchanging view of the file while the block lasts. StoreError."""
        self._give_way()
        with store_errors(self.path):
            reader = self._reader()
            try:
                reader.execute("BEGIN")
                yield reader
            finally:
                with suppress(sqlite3.Error):
                    reader.rollback()
                with self._pool_guard:
                    self._pool.append(reader)

    def _reader(self) -> sqlite3.Connection:
        with self._pool_guard:
            if self._pool:
                return self._pool.pop()
        reader = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        reader.text_factory = text
        reader.execute("PRAGMA query_only = 1")
        return reader

    def _undo(self, error: BaseException) -> None:
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:
            self._failed = str(error)
        with suppress(sqlite3.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _create(self) -> None:
        version = schema_of(self._writer, self.path)
        steps = ["schema.sql"]
        if version is not None:
            if not OLDEST_SCHEMA <= version <= SCHEMA:
                raise ForeignError(f"{self.path}: found schema {version}, expected {OLDEST_SCHEMA} to {SCHEMA}")
            steps[:0] = [f"schema_from_{number}.sql" for number in range(version, SCHEMA)]
        script = "".join([files("cloud").joinpath(name).read_text("utf-8") for name in steps])
        try:
            self._writer.executescript(f"BEGIN IMMEDIATE;{script}COMMIT;")
        except BaseException as error:
            self._undo(error)
            raise


def schema_of(db: sqlite3.Connection, path: Path) -> int | None:
    """The schema of a collector's file, None when there is nothing in it yet; ForeignError when it is none."""
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    row = db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone() if ("meta",) in tables else None
    if tables and row is None:
        raise ForeignError(f"{path}: found a database that is not a collector's")
    return row and int(row[0])


def text(octets: bytes) -> str:
    """A text of the file; what has rotted in it is U+FFFD. SQLite hands out none that is no UTF-8, nor what follows."""
    return octets.decode("utf-8", "replace")


def octets(found: object) -> bytes:
    """Bytes of the file; none where that has rotted to something else."""
    return found if isinstance(found, bytes) else b""


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """What SQLite and the disk say of the file, as an error of ours: SpoiltError where it is damaged, or StoreError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        spoilt = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        raise (SpoiltError if spoilt else StoreError)(f"{path}: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    writer = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    writer.text_factory = text
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA synchronous = FULL")
    writer.execute("PRAGMA cache_size = -65536")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    return writer
