"""Stored blocks that rot: how one is told from what was signed, what is known of it, and how it is put back."""

import hashlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import zstandard

from cloud.database import Database
from cloud.rows import Configuration, Gateway
from protocols.errors import ChainError, ConfigError, RecordError, RottenError, StoreError
from protocols.record import block, cbor, cose, siteconfig, transport
from protocols.record.block import Header
from protocols.record.cose import PublicKey
from protocols.record.siteconfig import SiteConfig

Place = tuple[int, int]
"""Epoch and seq."""
TOGETHER = 256
"""Blocks that are read at once: a view of the file that is held for long keeps its log from being folded."""
MOST_ASKED = 16
"""Answers in which a gateway is asked for a block. After them it is taken not to hold it; ``cloud mend`` asks anew."""
UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What comes of reading rows back that have rotted."""
OF_ROWS = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH)
"""What SQLite says of rows that have rotted, its JSON among them; all else it says is of the disk or the file."""


def blocks_of(store: Database, gateway: bytes) -> Iterator[list[tuple[Any, ...]]]:
    """Every block of a gateway in the order of its chain, some at a time: epoch, seq, hash, when it came, frame."""
    at = (-1, -1)
    while True:
        with store.reading() as db:
            rows = db.execute(
                "SELECT epoch, seq, hash, received_at, frame FROM blocks WHERE gateway = ? AND (epoch, seq) > (?, ?)"
                f" ORDER BY epoch, seq LIMIT {TOGETHER}",
                (gateway, *at),
            ).fetchall()
        if not rows:
            return
        at = rows[-1][:2]
        yield rows


def prove(frame: bytes, gateway: bytes, key: PublicKey, place: Place, sha256: bytes) -> Header:
    """Check that these bytes are the block of this hash, as its gateway signed it for this place; its header.

    RecordError. What its chunks say is not looked at: a block whose content was refused has its place in the chain too.
    """
    sealed = transport.unpack(frame)
    if sealed.hash != sha256:
        raise ChainError(f"found the hash {sealed.hash.hex()}, expected {sha256.hex()}")
    header = block.open_header(sealed.envelope, key)
    if (header.gateway, header.epoch, header.seq) != (gateway, *place):
        found = f"{header.epoch}/{header.seq} of {header.gateway.hex()}"
        raise ChainError(f"found block {found}, expected {place[0]}/{place[1]} of {gateway.hex()}")
    block.check_root(header, sealed.chunks)
    return header


def has_its_key(gateway: Gateway) -> bool:
    """Whether the key in its row is the one that its id is of."""
    try:
        return gateway.key.id == gateway.id
    except (RecordError, TypeError):
        return False


def is_rotten(error: BaseException | None) -> bool:
    """Whether this comes of rows of one gateway that have rotted, and not of the disk."""
    if isinstance(error, RottenError):
        return True
    if isinstance(error, StoreError):
        return is_rotten(error.__cause__)
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in OF_ROWS
    return isinstance(error, (RecordError, ConfigError, *UNREADABLE))


def open_config(db: sqlite3.Connection, config: Configuration) -> SiteConfig:
    """A configuration as the technician of its gateway signed it; RottenError where it or his key is another."""
    _check_whole(f"configuration {config.number}", config.envelope, config.digest)
    technician = "SELECT technician_algorithm, technician_spki FROM gateways WHERE gateway = ?"
    try:
        return siteconfig.open_site(config.envelope, PublicKey(*db.execute(technician, (config.gateway,)).fetchone()))
    except (RecordError, TypeError) as error:
        raise RottenError(f"found another key of its technician ({error}), expected that of its enrolment") from error


def profile(db: sqlite3.Connection, sha256: bytes) -> bytes:
    """The profile file with this SHA-256, which a configuration names; RottenError."""
    row = db.execute("SELECT source FROM profiles WHERE digest = ?", (sha256,)).fetchone()
    source = b"" if row is None else row[0]
    _check_whole(f"profile {sha256.hex()}", source, sha256)
    return bytes(source)


def whole(frame: bytes, sha256: bytes, by: zstandard.ZstdDecompressor) -> Header:
    """Check that these bytes are still those of this hash, every chunk of them; their header. RecordError.

    Who signed them was found out when they came, and is not again: that is most of what ``prove`` costs.
    """
    envelope, leaves = transport.unwrap(frame, by=by)
    if (found := hashlib.sha256(envelope).digest()) != sha256:
        raise ChainError(f"found the hash {found.hex()}, expected {sha256.hex()}")
    header = block.read_header(cose.unverified(envelope))
    block.check_root(header, cbor.split(leaves, transport.MOST_CHUNKS))
    return header


def unsafe(db: sqlite3.Connection, gateway: bytes, facts: int) -> Place | None:
    """The first block of a gateway of which a second copy that is with this fact may not hold what was signed: it is
    damaged, or was put back since. None: there is none.
    """
    row = db.execute(_UNSAFE, (gateway, facts)).fetchone()
    return None if row is None else (row[0], row[1])


def put_back(db: sqlite3.Connection, gateway: bytes, place: Place, sha256: bytes, frame: bytes) -> None:
    """The block as it was signed, proven before, takes the place of what its row holds."""
    db.execute(
        "UPDATE blocks SET hash = ?, frame = ? WHERE gateway = ? AND epoch = ? AND seq = ?",
        (sha256, frame, gateway, *place),
    )
    db.execute("DELETE FROM damaged WHERE gateway = ? AND epoch = ? AND seq = ?", (gateway, *place))


def move(db: sqlite3.Connection, gateway: bytes, place: Place, signed: Place) -> bool:
    """A block that stands at another place than it was signed for, proven before, is put back to that one; False where
    another stands there.
    """
    done = db.execute(
        "UPDATE OR IGNORE blocks SET epoch = ?, seq = ? WHERE gateway = ? AND epoch = ? AND seq = ?",
        (*signed, gateway, *place),
    )
    db.execute("DELETE FROM damaged WHERE gateway = ? AND epoch = ? AND seq = ?", (gateway, *place))
    return done.rowcount == 1


def ask(db: sqlite3.Connection, gateway: bytes, place: Place, sha256: bytes) -> bool:
    """Have the gateway be asked for a block from now on; True when it was not known to be damaged."""
    known = _row(db, gateway, place)
    db.execute("INSERT OR REPLACE INTO damaged VALUES (?, ?, ?, ?, 0)", (gateway, *place, sha256))
    return known is None


def wanted(db: sqlite3.Connection, gateway: bytes) -> dict[Place, bytes]:
    """The blocks that the gateway is to be asked for, each with its hash."""
    rows = db.execute(
        "SELECT epoch, seq, hash FROM damaged WHERE gateway = ? AND asked < ?", (gateway, MOST_ASKED)
    ).fetchall()
    return {(epoch, seq): sha256 for epoch, seq, sha256 in rows}


def asked(db: sqlite3.Connection, gateway: bytes, place: Place) -> bool:
    """Once more the gateway is asked for a block; False when this was the last time."""
    at = (gateway, *place)
    db.execute("UPDATE damaged SET asked = asked + 1 WHERE gateway = ? AND epoch = ? AND seq = ?", at)
    row = _row(db, gateway, place)
    return row is not None and row[0] < MOST_ASKED


def is_known(db: sqlite3.Connection, gateway: bytes, place: Place) -> bool:
    """Whether somebody has been told that the block is damaged."""
    return _row(db, gateway, place) is not None


def first(db: sqlite3.Connection, gateway: bytes) -> bytes:
    """What the first block that is held names as its predecessor: the enrolment, where the chain begins with it."""
    row = db.execute(
        "SELECT s.previous, enrolment FROM gateways LEFT JOIN starts AS s USING (gateway) WHERE gateway = ?", (gateway,)
    ).fetchone()
    return bytes(row[0]) if row[0] is not None else hashlib.sha256(row[1]).digest()


def before(db: sqlite3.Connection, gateway: bytes, place: Place) -> bytes | None:
    """The hash of the block before this one, be it lost; None before the first that is held."""
    lost = "SELECT previous FROM resumed WHERE gateway = ? AND epoch = ? AND seq = ?"
    if (row := db.execute(lost, (gateway, *place)).fetchone()) is not None:
        return bytes(row[0])
    row = db.execute(
        "SELECT hash FROM blocks WHERE gateway = ? AND (epoch, seq) < (?, ?) ORDER BY epoch DESC, seq DESC LIMIT 1",
        (gateway, *place),
    ).fetchone()
    return None if row is None else bytes(row[0])


def _check_whole(name: str, content: bytes, sha256: bytes) -> None:
    if not isinstance(content, bytes) or hashlib.sha256(content).digest() != sha256:
        raise RottenError(f"found {name} with other bytes than its digest is of, expected what was signed")


def _row(db: sqlite3.Connection, gateway: bytes, place: Place) -> tuple[int] | None:
    found: tuple[int] | None = db.execute(
        "SELECT asked FROM damaged WHERE gateway = ? AND epoch = ? AND seq = ?", (gateway, *place)
    ).fetchone()
    return found


_UNSAFE = (
    "SELECT epoch, seq FROM damaged WHERE gateway = ?1 UNION ALL SELECT b.epoch, b.seq FROM facts AS f"
    " JOIN blocks AS b ON b.ingest_seq = f.number WHERE f.id > ?2 AND f.kind = 'mended' AND f.gateway = ?1"
    " ORDER BY epoch, seq LIMIT 1"
)
