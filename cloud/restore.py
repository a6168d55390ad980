"""A collector's store made anew from its second copy, or a backup: every block examined and booked again, as when it
came.

Where the collector's key was lost too, the store is made for another one. Nothing of the record needs the old key but
the receipts that epochs began with: they are kept as those of a former collector (``cloud/formers.py``).
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from cloud import enrolments, factor_shelf, formers, journal, late_start, receipts, segments
from cloud.copied import Kind, gather
from cloud.database import store_errors
from cloud.rows import JournalRow
from cloud.segments import Record
from cloud.signatures import verifier
from cloud.store import Store
from protocols.errors import ConfigError, CopyError, RecordError
from protocols.record import block, transport
from protocols.record.answer import MOST_BLOCKS
from protocols.record.cose import PrivateKey, PublicKey, Verifier, kid_of
from protocols.record.enrolment import open_enrolment
from protocols.record.receipt import Receipt, claimed_receipt, open_receipt

Place = tuple[bytes, int, int]
"""Gateway, epoch and seq."""
TOGETHER = 512
"""Blocks booked in one transaction."""


@dataclass(slots=True)
class Restored:
    """What came of it. ``left``: blocks that are left to the gateways: damaged ones, and those behind them."""

    gateways: int = 0
    blocks: int = 0
    statements: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """What a store is made of: ``records``, all of them each time it is called. ``collectors``: the kids of those whose
    they are.
    """

    records: Callable[[], Iterator[Record]]
    collectors: set[bytes]


def generations(copy: Path, path: Path) -> list[Path]:
    """Those of a copy from which a store is to be made at ``path``, none where it is the file of a backup; ConfigError
    when it is neither, or a store is there. Nothing is written.
    """
    if path.exists():
        raise ConfigError(f"--data {path.parent}", f"{path.name}: a store", "a folder without one")
    held = segments.generations(copy) if copy.is_dir() else []
    if not held and not copy.is_file():
        expected = "the folder given to `serve --copy`, or the file of a backup"
        raise ConfigError(f"--copy {copy}", "no generation of a copy", expected)
    return held


def restore(copy: Path, path: Path, key: PrivateKey, *, up_to_damage: bool = False, new_key: bool = False) -> Restored:
    """Make the store at ``path`` from a copy or a backup; CopyError when it is damaged before its end, or when a block
    was damaged before it was copied and never put back; ConfigError when there is a store, or ``key`` is not that of
    its collector, or is although it was to be a new one.

    ``up_to_damage``: take what stands before the damage, and of each gateway what stands before a block that is; they
    send the rest again. ``new_key``: the collector's own was lost, ``key`` is in its place. Half a store never has its
    name.
    """
    unready = path.with_name(f"{path.name}.restoring")
    with _source(copy, path, up_to_damage=up_to_damage) as source:
        _check_key(source.collectors, path, key.public.kid, new_key=new_key)
        _remove(unready)
        with Store(unready, key) as store:
            told = _Restoring(store, key, mended(source.records()), up_to_damage=up_to_damage)
            told.take(source.records())
            told.restored.blocks = store.counts().blocks  # later generations of a copy have much of earlier ones again
    unready.rename(path)
    _remove(unready)
    return told.restored


def _check_key(theirs: set[bytes], path: Path, kid: bytes, *, new_key: bool) -> None:
    if new_key and kid in theirs:
        found = f"the key of the copy's own collector, {kid.hex()}"
        raise ConfigError("--new-key", found, "another one: it is not lost, restore without --new-key")
    if theirs and kid not in theirs and not new_key:
        own = ", ".join(sorted(one.hex() for one in theirs))
        expected = f"that of the copy, {own} (or --new-key, if it is lost)"
        raise ConfigError(f"--data {path.parent}", f"the key {kid.hex()}", expected)


@contextmanager
def _source(copy: Path, path: Path, *, up_to_damage: bool) -> Iterator[Source]:
    """What a copy holds; or a backup, of which the same is read as a copy of it would hold."""
    if held := generations(copy, path):

        def records() -> Iterator[Record]:
            return chain.from_iterable(segments.read(folder, up_to_damage=up_to_damage) for folder in held)

        yield Source(records, set[bytes]().union(*map(segments.collectors, held)))
        return
    aside = path.with_name(f"{path.name}.backup")
    try:
        _remove(aside)
        _take_aside(copy, aside)
        with Store(aside) as store:
            yield Source(partial(_records, store), _collectors(store))
    finally:
        _remove(aside)


def _take_aside(backup: Path, aside: Path) -> None:
    """A backup is not touched itself, though it may be of an earlier schema. StoreError."""
    # whoever finds no log beside it may look at it where nothing can be written, too
    alone = "" if backup.with_name(f"{backup.name}-wal").exists() else "&immutable=1"
    with (
        store_errors(backup),
        closing(sqlite3.connect(f"{backup.absolute().as_uri()}?mode=ro{alone}", uri=True)) as held,
        closing(sqlite3.connect(aside)) as target,
    ):
        held.backup(target)


def _records(store: Store) -> Iterator[Record]:
    """Everything that a second copy of a store would hold."""
    blocks = facts = 0
    while True:
        with store.reading() as db:
            found = gather(db, blocks, facts, [])
        if not found:
            return
        yield from found
        blocks, facts = found[-1].blocks, found[-1].facts


def _collectors(store: Store) -> set[bytes]:
    """The kid of the key that a store was served with; none where nothing was ever signed."""
    signed = {bytes.fromhex(row.by) for row in store.entries(factor_shelf.OWN, heads=False)}
    with store.reading() as db:
        row = db.execute("SELECT envelope FROM receipts LIMIT 1").fetchone()
    return signed if row is None else {*signed, kid_of(row[0])}


def _place(record: Record) -> Place:
    gateway, epoch, seq, *_ = record.fields
    return gateway, epoch, seq


def mended(records: Iterator[Record]) -> dict[Place, bytes]:
    """The blocks that were put back after they had been copied damaged: each comes in the place of what was."""
    return {_place(record): record.fields[4] for record in records if record.kind == Kind.MENDED and record.fields}


class _Restoring:
    """Blocks in the batches they came in; between them what else was copied."""

    def __init__(self, store: Store, key: PrivateKey, mended: dict[Place, bytes], *, up_to_damage: bool) -> None:
        self._store, self._key, self._mended, self._up_to_damage = store, key, mended, up_to_damage
        self._keys: dict[bytes, Verifier] = {}
        self._stopped: set[bytes] = set()
        self._batches: list[tuple[int, list[bytes]]] = []
        self._places: list[tuple[bytes, int, int]] = []
        self._incidents: list[tuple[Any, ...]] = []
        self._former: dict[bytes, Receipt] = {}
        self.restored = Restored()

    def take(self, records: Iterator[Record]) -> None:
        """Everything; then the incidents as they were told, instead of those that this has told again, and receipts of
        a former collector where those belong: behind the journal, whose entries keep their numbers.
        """
        for record in records:
            if record.kind == Kind.BLOCK:
                self._block(record)
            elif record.fields and record.kind != Kind.MENDED:
                self._flush()
                self._fact(Kind(record.kind), record.fields)
        self._flush()
        self._store.book()
        with self._store.writing() as db:
            db.execute("DELETE FROM incidents")
            db.executemany(
                "INSERT INTO incidents (gateway, at, kind, epoch, seq, detail) VALUES (?,?,?,?,?,?)",
                dict.fromkeys(self._incidents),
            )
            for envelope, receipt in self._former.items():
                receipts.let_go(db, receipt.gateway, hashlib.sha256(envelope).digest())
        self._store.keep([formers.receipt_row(of, by, kid_of(by), of.at) for by, of in self._former.items()])

    def _block(self, record: Record) -> None:
        gateway, epoch, seq, received_at, copied = record.fields
        frame = self._mended.get((gateway, epoch, seq), copied)
        if self._up_to_damage and not self._goes_on(gateway, frame):
            self.restored.left += 1
            return
        last = self._batches[-1] if self._batches else None
        follows = self._places[-1:] == [(gateway, epoch, seq - 1)]
        if last is not None and follows and last[0] == received_at and len(last[1]) < MOST_BLOCKS:
            last[1].append(frame)
        else:
            self._batches.append((received_at, [frame]))
        self._places.append((gateway, epoch, seq))
        if len(self._places) == TOGETHER:
            self._flush()

    def _goes_on(self, gateway: bytes, frame: bytes) -> bool:
        """Whether this block and all before it of its gateway are as they were signed."""
        if gateway not in self._stopped:
            try:
                sealed = transport.unpack(frame)
                block.check_root(block.open_header(sealed.envelope, self._keys[gateway]), sealed.chunks)
            except RecordError:
                self._stopped.add(gateway)
        return gateway not in self._stopped

    def _flush(self) -> None:
        if not self._batches:
            return
        self._store.retake(self._batches)
        with self._store.reading() as db:
            for gateway, epoch, seq in self._places:
                query = "SELECT 1 FROM blocks WHERE gateway = ? AND epoch = ? AND seq = ?"
                if db.execute(query, (gateway, epoch, seq)).fetchone() is None:
                    raise CopyError(
                        f"block {epoch}/{seq} of {gateway.hex()}: found it refused, expected it to be taken"
                        " (--up-to-damage leaves it, and what follows it, to its gateway)"
                    )
        self._batches, self._places = [], []

    def _fact(self, kind: Kind, fields: tuple[Any, ...]) -> None:
        with self._store.writing() as db:
            match kind:
                case Kind.ENROLMENT:
                    key, new = _enrol(db, *fields)
                    self._keys[key.id] = verifier(key)
                    self.restored.gateways += new
                case Kind.RECEIPT:
                    self._receipt(db, fields[0])
                case Kind.REVOCATION:
                    db.execute("UPDATE gateways SET revoked_at = ?2, reason = ?3 WHERE gateway = ?1", fields)
                case Kind.STATEMENT:
                    self.restored.statements += db.execute(_STATEMENT, fields).rowcount
                case Kind.JOURNAL:
                    journal.restore(db, factor_shelf.signed_anew(JournalRow(*fields), self._key))
                case Kind.INCIDENT:
                    self._incidents.append(fields)
                case Kind.CONFIGURATION | Kind.PROFILE | Kind.QUARANTINE | Kind.BAR | Kind.RESUMED:
                    db.execute(_INSERT[kind], fields)

    def _receipt(self, db: sqlite3.Connection, envelope: bytes) -> None:
        """What an epoch began with. The next block names one of another key by its hash: that proves what it says."""
        if kid_of(envelope) == self._key.public.kid:
            receipts.bring(db, open_receipt(envelope, self._key.public), envelope)
        else:
            self._former[envelope] = claimed_receipt(envelope)
            receipts.bring(db, self._former[envelope], envelope)


def _enrol(db: sqlite3.Connection, enrolment: bytes, at: int, *start: Any) -> tuple[PublicKey, bool]:
    """The key of the gateway, and whether it was not known."""
    request = open_enrolment(enrolment)
    known = db.execute("SELECT 1 FROM gateways WHERE gateway = ?", (request.key.id,)).fetchone()
    begins = (start[0], start[1], start[2]) if start[0] is not None else None
    if known is None or late_start.makes_way(db, request.key.id, begins):
        enrolments.insert_gateway(db, request, enrolment, at, begins)
    return request.key, known is None


def _remove(path: Path) -> None:
    """What is there of a store that is not, or no more, at this name."""
    for end in ("", "-wal", "-shm", ".lock"):
        path.with_name(path.name + end).unlink(missing_ok=True)


_STATEMENT = (
    "INSERT OR IGNORE INTO statements (id, version, digest, site, period, created, content) VALUES (?,?,?,?,?,?,?)"
)
_INSERT = {
    Kind.BAR: "INSERT OR IGNORE INTO barred (gateway, at, reason) VALUES (?,?,?)",
    Kind.CONFIGURATION: "INSERT OR IGNORE INTO configs (gateway, number, digest, envelope, valid_from, received_at)"
    " VALUES (?,?,?,?,?,?)",
    Kind.RESUMED: "INSERT OR IGNORE INTO resumed (gateway, epoch, seq, previous, at) VALUES (?,?,?,?,?)",
    Kind.PROFILE: "INSERT OR IGNORE INTO profiles (digest, source) VALUES (?,?)",
    Kind.QUARANTINE: "INSERT OR IGNORE INTO quarantine (gateway, at, code, reason, signed, epoch, seq, hash, frame)"
    " VALUES (?1,?2,?3,?4,1,?5,?6,?7,?8)",
}
