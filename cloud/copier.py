"""Keeps a second, independent copy of the store on another disk, and gives the receipts of level 2 that rest on it."""

import fcntl
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloud import mend
from cloud.copied import Kind, gather
from cloud.rot import Place
from cloud.segments import Record, Segments, generations
from cloud.store import Store
from protocols.errors import BusyError, ConfigError, StoreError

EVERY_S = 0.5
"""What has come since is copied together, with one sync."""
RETRY_S = 10.0
MOST_BEHIND = 10_000
"""Counted no further."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a copy stands. ``state``: ok, behind or failed (then ``error`` says why); ``behind``: blocks not copied yet.

    ``copied_at``: when it was last whole (UTC ms). ``same_disk``: it is no help against the loss of the disk.
    """

    state: str
    behind: int
    copied_at: int | None
    error: str
    same_disk: bool


class Copier:
    """One thread that appends what the store commits. When it cannot, the store goes on, and it tries again."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        now: Callable[[], int],
        *,
        same_disk: bool = False,
        every_s: float = EVERY_S,
        retry_s: float = RETRY_S,
    ) -> None:
        """``same_disk``: a copy on the store's own filesystem is allowed. ConfigError where it is not, or where the
        folder holds the copy of another collector; BusyError when another process writes to it.
        """
        self._store, self._folder, self._now = store, folder, now
        self._allowed, self._every_s, self._retry_s = same_disk, every_s, retry_s
        self._segments: Segments | None = None
        self._lock: int | None = None
        self._error, self._mark = "", 0
        self._copied_at: int | None = None
        self._stop = threading.Event()
        try:
            self._open()
        except (OSError, StoreError) as error:
            if isinstance(error, BusyError):
                raise
            self._fail(error)
        self._thread = threading.Thread(target=self._work, name="copier", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Copy what is there, then end."""
        self._stop.set()
        self._thread.join()
        if self._segments is not None:
            self._segments.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def standing(self) -> Standing:
        """How the copy stands now."""
        with self._store.reading() as db:
            query = f"SELECT count(*) FROM (SELECT 1 FROM blocks WHERE ingest_seq > ? LIMIT {MOST_BEHIND})"
            (behind,) = db.execute(query, (self._mark,)).fetchone()
        error = self._error
        state = "failed" if error else "behind" if behind else "ok"
        return Standing(state, behind, self._copied_at, error, self._allowed and self._same_disk())

    def _work(self) -> None:
        """Until it is closed; then once more."""
        ended = False
        while not ended:
            ended = self._stop.is_set()
            try:
                if self._segments is None:
                    self._open()
                while self._copy():
                    pass
                wait = self._every_s
            except Exception as error:  # noqa: BLE001 - the outermost loop of this thread
                self._fail(error)
                wait = self._retry_s
            if not ended:
                self._stop.wait(wait)

    def _copy(self) -> bool:
        """Copy the next records and settle them; False when there were none."""
        segments = self._segments
        assert segments is not None, "opened before"
        with self._store.reading() as db:
            rotten = list[tuple[bytes, Place]]()
            records = gather(db, segments.blocks, segments.facts, rotten)
        if not records:
            self._copied_at = self._now()
            return False
        for gateway, place in rotten:
            self._tell(gateway, place)
        segments.append(records)
        segments.sync()
        self._mark = segments.blocks
        blocks = {record.fields[0] for record in records if record.kind in (Kind.BLOCK, Kind.MENDED) and record.fields}
        if blocks:
            self._store.settle(segments.blocks, segments.facts, blocks, self._now())
        return True

    def _tell(self, gateway: bytes, place: Place) -> None:
        """A block has rotted in the store: it is copied as it is, and until it is put back no receipt rests on that."""
        damaged = mend.mend_one(self._store, gateway, place, self._now())
        if damaged is not None:
            log.error("block %d/%d of %s: %s", *place, gateway.hex(), damaged.why)

    def _open(self) -> None:
        """Take the newest generation up again, or begin one when this store is not what it was made from."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._same_disk() and not self._allowed:
            found = f"the disk of {self._store.path.parent}"
            raise ConfigError(f"--copy {self._folder}", found, "another disk (or --copy-on-same-disk, for a demo)")
        self._take_lock()
        kid = self._store.ours.kid
        held = generations(self._folder)
        segments = Segments(held[-1] if held else self._folder / "0001", kid)
        if not self._is_of_this_store(segments):
            segments.close()
            log.error("the store is not what %s was made from: a new generation begins", segments.folder)
            segments = Segments(self._folder / f"{int(segments.folder.name) + 1:04d}", kid)
        self._store.settle(segments.blocks, segments.facts, None, self._now())
        self._segments, self._mark = segments, segments.blocks
        if self._error:
            log.warning("the copy in %s goes on", self._folder)
        self._error = ""

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        held = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(held)
            raise BusyError(f"{self._folder}: another collector writes to it, expected none") from error
        self._lock = held

    def _is_of_this_store(self, segments: Segments) -> bool:
        last: Record | None = segments.found
        with self._store.reading() as db:
            (facts,) = db.execute("SELECT coalesce(max(id), 0) FROM facts").fetchone()
            (newest,) = db.execute("SELECT coalesce(max(ingest_seq), 0) FROM blocks").fetchone()
            if segments.facts > facts or segments.blocks > newest:
                return False
            if last is None:
                return True
            query = "SELECT gateway, epoch, seq, received_at, frame FROM blocks WHERE ingest_seq = ?"
            row = db.execute(query, (last.blocks,)).fetchone()
            return row is not None and tuple(row) == last.fields

    def _same_disk(self) -> bool:
        return self._folder.exists() and self._folder.stat().st_dev == self._store.path.parent.stat().st_dev

    def _fail(self, error: Exception) -> None:
        """Let the segment go: it is read anew from the disk before anything more is written."""
        if self._segments is not None:
            self._segments.close()
            self._segments = None
        if not self._error:
            log.error("the copy in %s failed: %s", self._folder, error)
        self._error = str(error) or type(error).__name__
