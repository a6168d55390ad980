"""The file under the store: SQLite with one connection of one process, and what its errors mean.

WAL, synchronous=FULL, a lock beside the file. The page size is small because a commit writes whole pages. Checkpoints
are ours: SQLite's own, after a commit, swallows a failed fsync of the file and later takes the pages for written. After
an error that is neither want of room nor damage nothing more is done with the file: what the kernel did with the pages
is unknown, so the process must end and read its store again.
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from edge.durable import sync_folder
from protocols.errors import BusyError, DamagedError, StoreError

PAGE = 1024
WAL_LIMIT = 4 << 20
CHECKPOINT_BYTES = 1 << 20
"""Written to the log, as far as we know, before it is brought into the file."""
COMMIT_BYTES = 3 * PAGE
"""What a commit writes at least, in the mean."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
UNREADABLE = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
"""The last of them is what SQLite makes of a bad sector (EIO)."""
DAMAGED = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
    }
)
"""Our statements are fixed: a table or a column that is not there, or a number that is there already, is damage too."""
DOUBTFUL = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
"""Primary codes that may stand for a disk that is full or cannot be written: a write of our own tells."""
WAL_RESET_FIXED = (3, 51, 3)
"""From this version on two connections that write cannot lose a reset of the log; before it there must be one."""


class DiskFull(StoreError):
    """Nothing of this transaction was kept; it may be tried again when there is room."""


class Database:
    """The file, held for this process while it is open. BusyError, DiskFull, DamagedError, StoreError."""

    def __init__(self, path: Path, durable: bool) -> None:
        self.path, self.durable = path, durable
        self._level = "FULL" if durable else "OFF"
        self._written = 0
        self._failed: StoreError | None = None
        self._lock = lock(path)
        try:
            self.connection = self._connect()
        except BaseException:
            self._lock.close()
            raise
        self._written += self.log_bytes()  # what the process before has left in the log when it was cut short

    def close(self) -> None:
        """Let another process have it."""
        with suppress(sqlite3.Error):
            self.connection.close()
        self._lock.close()

    @contextmanager
    def transaction(self, lazy: bool = False) -> Iterator[None]:
        """All of it or nothing, on disk at the end; ``lazy``: only with the next transaction that is not."""
        with self._translated():
            if lazy and self.durable:
                self.connection.execute("PRAGMA synchronous = NORMAL")
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self.connection.execute("COMMIT")
                except BaseException:
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
            finally:
                if lazy and self.durable:
                    self.connection.execute("PRAGMA synchronous = FULL")
            self._checkpoint()

    def run(self, statement: str, values: Sequence[object] = ()) -> None:
        """Execute a statement."""
        with self._translated():
            self.connection.execute(statement, values)

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Execute a statement for each row."""
        with self._translated():
            self.connection.executemany(statement, rows)
        self._written += sum(len(value) for row in rows for value in row if isinstance(value, bytes))

    def one(self, query: str, values: Sequence[object] = ()) -> Any:
        """The first row; None when there is none."""
        with self._translated():
            return self.connection.execute(query, values).fetchone()

    def all(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """Every row."""
        with self._translated():
            return self.connection.execute(query, values).fetchall()

    def free_bytes(self) -> int:
        """Bytes inside the file that deleted rows have left."""
        return self._pages("freelist_count")

    def used_bytes(self) -> int:
        """Bytes of the file that hold something."""
        return self._pages("page_count") - self._pages("freelist_count")

    def _pages(self, name: str) -> int:
        return int(self.one(f"PRAGMA {name}")[0]) * int(self.one("PRAGMA page_size")[0])

    def sync_name(self) -> None:
        """Have the names of the file and its log on disk: SQLite does it, but does not mind when it fails."""
        with self._translated():
            sync_folder(self.path.parent)

    def log_bytes(self) -> int:
        """How large the log beside the file is."""
        return _size(self.path.with_name(self.path.name + "-wal"))

    def _connect(self) -> sqlite3.Connection:
        with self._translated():
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
            try:
                db.execute(f"PRAGMA page_size = {PAGE}")
                (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
                if mode != "wal":  # SQLite swallows why: a failed fsync, a disk that is full
                    raise _not_taken(self.path, mode)
                db.execute(f"PRAGMA synchronous = {self._level}")
                db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
                db.execute("PRAGMA wal_autocheckpoint = 0")
                self.path.chmod(0o600)
            except BaseException:
                db.close()
                raise
            return db

    def _checkpoint(self) -> None:
        """Bring the log into the file now and then. A file that has no room for it takes back nothing that is
        committed in the log: whoever commits next is told.
        """
        self._written += COMMIT_BYTES
        if self._written < CHECKPOINT_BYTES:
            return
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            told = self._ours(error)
            if not isinstance(told, DiskFull):
                raise
        self._written = 0

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors as ours; after one that ends the process nothing more is done."""
        if self._failed is not None:
            raise StoreError(f"after {self._failed}: nothing more is written before the store was read again")
        try:
            yield
        except sqlite3.Error as error:
            raise self._ours(error) from error
        except UnicodeDecodeError as error:
            raise DamagedError(f"{self.path}: a text in it is none: {error.reason}") from error
        except OSError as error:
            kind = DiskFull if error.errno in FULL else StoreError
            raise kind(f"{self.path}: {error.strerror}") from error

    def _ours(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR
        told = f"{self.path}: {error} (SQLite {code})"
        if code & 0xFF == sqlite3.SQLITE_FULL:
            return DiskFull(told)
        if code & 0xFF in DAMAGED or code in UNREADABLE:
            return DamagedError(told)
        if code & 0xFF in DOUBTFUL and code not in (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC):
            why = _why_not(self.path)
            if why in FULL:
                return DiskFull(told)
            if why == errno.EROFS:
                return DiskFull(f"{self.path.parent}: {os.strerror(why)}")
        self._failed = StoreError(told)
        return self._failed


def unread(path: Path, error: sqlite3.Error | None) -> StoreError:
    """What it tells of a file that a reader beside us could not read: damage, or a disk that fails."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    kind = DamagedError if code & 0xFF in DAMAGED or code in UNREADABLE else StoreError
    return kind(f"{path}: {error}")


def lock(path: Path) -> IO[bytes]:
    """Hold the store at ``path`` for this process; BusyError when another one does."""
    try:
        held = path.with_name(path.name + ".lock").open("ab")
    except OSError as error:
        kind = DiskFull if error.errno in {*FULL, errno.EROFS} else StoreError
        raise kind(f"{path}: {error.strerror}; expected a folder that can be written") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise BusyError(f"{path}: another agent holds it, expected none") from error
    os.set_inheritable(held.fileno(), False)
    return held


def _not_taken(path: Path, mode: str) -> StoreError:
    """What it means that the file does not take a log beside it."""
    why = _why_not(path)
    if why in FULL or why == errno.EROFS:
        return DiskFull(f"{path}: {os.strerror(why)}")
    return StoreError(f"{path}: found journal mode {mode}, expected wal: the disk fails")


def _why_not(path: Path) -> int:
    """Why the disk takes no further page at the end of the store, as an errno; 0 when it does."""
    at = max(_size(path), _size(path.with_name(path.name + "-wal")))
    probe = path.with_name(path.name + ".probe")
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, bytes(4096), at)
        finally:
            os.close(descriptor)
            probe.unlink()
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
