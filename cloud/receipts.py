"""The receipts of a gateway, as rows: those we issued, and those it brings back to a collector that was restored."""

import hashlib
import json
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cloud.dating import UNKNOWN
from cloud.ingest import Beginning
from cloud.packed import unpack
from protocols.errors import RottenError
from protocols.record.block import Header
from protocols.record.cose import kid_of
from protocols.record.receipt import RECEIVED, SETTLED, Receipt, claimed_receipt

PASSING, AT_ONCE = 64, 16
"""Receipts of a gateway and a level that stay for a while: an hour's, at a block a minute. So many go at a time."""
DAY_MS = 86_400_000
Place = tuple[int, int]
"""Epoch and next seq."""
NOWHERE: Place = (1 << 62, 0)
"""Behind every block."""
BROUGHT = "receipt"
"""Kind of the journal: a receipt of a collector that its gateway had before, named GATEWAY/SHA-256."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a chain was when a receipt was signed for it, while what is held of it stands behind that."""

    place: Place
    head: bytes
    found_at: int


@dataclass(slots=True)
class Issued:
    """Of a gateway and a level: the UTC day of the newest receipt, and how many came since some were let go."""

    day: int | None
    since: int = AT_ONCE


def bring(db: sqlite3.Connection, receipt: Receipt, envelope: bytes) -> bool:
    """Keep a receipt that its gateway brings back, for good: an epoch may begin with it. False when it is known."""
    sha256 = hashlib.sha256(envelope).digest()
    if named(db, receipt.gateway, sha256) is not None:
        hold(db, receipt.gateway, sha256)
        return False
    _insert(db, receipt, envelope, posted=True, kept=True)
    return True


def let_go(db: sqlite3.Connection, gateway: bytes, sha256: bytes) -> None:
    """Keep the receipt with this hash here no more: it is kept as one of a former collector."""
    db.execute("DELETE FROM receipts WHERE gateway = ? AND hash = ?", (gateway, sha256))


def opening(db: sqlite3.Connection, gateway: bytes, place: Place) -> bytes | None:
    """The first receipt of level 1 that was issued for this place."""
    row = db.execute(
        "SELECT envelope FROM receipts WHERE gateway = ? AND level = ? AND posted = 0 AND epoch = ? AND next_seq = ?"
        " ORDER BY at LIMIT 1",
        (gateway, RECEIVED, *place),
    ).fetchone()
    return None if row is None else bytes(row[0])


def issued(db: sqlite3.Connection, gateway: bytes, level: int) -> Issued:
    """What has been issued so far."""
    before = db.execute(_newest("at"), {"gateway": gateway, "level": level}).fetchone()
    return Issued(before[0] // DAY_MS if before is not None and isinstance(before[0], int) else None)


def issue(db: sqlite3.Connection, receipt: Receipt, envelope: bytes, before: Issued) -> None:
    """Keep a receipt that is given out: the first of a UTC day for good, of the others at least the newest ``PASSING``.

    A gateway whose newest one is older shows it when it starts, before any block of an epoch that begins with it.
    """
    day = receipt.at // DAY_MS
    _insert(db, receipt, envelope, posted=False, kept=before.day != day)
    before.day, before.since = day, before.since + 1
    if before.since >= AT_ONCE:
        db.execute(_PRUNE, (receipt.gateway, receipt.level, PASSING))
        before.since = 0


def journal_id(gateway: bytes, name: bytes) -> str:
    """What the journal calls a thing of a gateway."""
    return f"{gateway.hex()}/{name.hex()}"


def hold(db: sqlite3.Connection, gateway: bytes, sha256: bytes) -> None:
    """Keep the receipt with this hash for good, if there is one: an epoch has begun with it."""
    db.execute("UPDATE receipts SET kept = 1 WHERE gateway = ? AND hash = ? AND kept = 0", (gateway, sha256))


def _insert(db: sqlite3.Connection, receipt: Receipt, envelope: bytes, *, posted: bool, kept: bool) -> None:
    db.execute(
        "INSERT OR IGNORE INTO receipts (gateway, level, kept, epoch, next_seq, at, hash, envelope, posted)"
        " VALUES (?,?,?,?,?,?,?,?,?)",
        (
            *(receipt.gateway, receipt.level, kept, receipt.epoch, receipt.next_seq, receipt.at),
            *(hashlib.sha256(envelope).digest(), envelope, posted),
        ),
    )


def newest(db: sqlite3.Connection, gateway: bytes) -> bytes | None:
    """The newest receipt of level 1 that stands for what this file holds; None when it has issued none, or that one has
    rotted: another takes its place.
    """
    return _whole(db.execute(_newest("envelope, hash"), {"gateway": gateway, "level": RECEIVED}).fetchone())


def copied(db: sqlite3.Connection, gateway: bytes, upto: int, unsafe: Place | None) -> tuple[int, int, bytes] | None:
    """Epoch, seq and hash of the newest block that lies in the second copy, which goes up to this ingest_seq; None
    where none does. ``unsafe``: as of ``settled``.
    """
    row: tuple[int, int, bytes] | None = db.execute(
        "SELECT epoch, seq, hash FROM blocks WHERE gateway = ? AND ingest_seq <= ? AND (epoch, seq) < (?, ?)"
        " ORDER BY epoch DESC, seq DESC LIMIT 1",
        (gateway, upto, *(unsafe or NOWHERE)),
    ).fetchone()
    return row


def settled(db: sqlite3.Connection, gateway: bytes, copied: int, unsafe: Place | None) -> bytes | None:
    """The newest receipt of level 2, of those whose blocks lie in the second copy up to this ingest_seq; None where it
    has rotted, or there is none.

    ``unsafe``: the first block that the copy may not hold as it was signed: none that covers it.
    """
    query = _newest(
        "envelope, hash",
        "EXISTS (SELECT 1 FROM blocks AS b WHERE b.gateway = receipts.gateway AND b.epoch = receipts.epoch"
        " AND b.seq = receipts.next_seq - 1 AND b.ingest_seq <= :copied)"
        " AND (epoch, next_seq) <= (:epoch, :seq)",
    )
    epoch, seq = unsafe or NOWHERE
    asked = {"gateway": gateway, "level": SETTLED, "copied": copied, "epoch": epoch, "seq": seq}
    return _whole(db.execute(query, asked).fetchone())


def _whole(row: tuple[Any, ...] | None) -> bytes | None:
    """The envelope where it is the one of the hash beside it."""
    if row is None or not isinstance(row[0], bytes) or hashlib.sha256(row[0]).digest() != row[1]:
        return None
    return row[0]


def named(db: sqlite3.Connection, gateway: bytes, sha256: bytes) -> bytes | None:
    """The receipt with this hash: what the first block of a later epoch names."""
    row = db.execute("SELECT envelope FROM receipts WHERE gateway = ? AND hash = ?", (gateway, sha256)).fetchone()
    return None if row is None else bytes(row[0])


def beginning(db: sqlite3.Connection, gateway: bytes, header: Header) -> Beginning | None:
    """What an epoch may begin after: a receipt of ours, or one of a former collector that its gateway has shown, or the
    enrolment, or we took this epoch once; or it began before its gateway was enrolled here. Of any block: what a chain
    goes on behind that was let go on with it.
    """
    epoch, previous = header.epoch, header.previous
    if (resumed := _resumed(db, gateway, header)) is not None or header.seq > 0:
        return resumed
    row = db.execute(
        "SELECT epoch, next_seq FROM receipts WHERE gateway = ? AND hash = ?", (gateway, previous)
    ).fetchone()
    if row is not None:
        return Beginning((row[0], row[1]))
    if (former := _brought(db, gateway, previous)) is not None:
        return former
    enrolment, enrolled_at = db.execute(
        "SELECT enrolment, enrolled_at FROM gateways WHERE gateway = ?", (gateway,)
    ).fetchone()
    if hashlib.sha256(enrolment).digest() == previous:
        return Beginning((0, 0))
    later = "SELECT 1 FROM receipts WHERE gateway = ? AND epoch >= ? AND (epoch, next_seq) > (?, 0) LIMIT 1"
    if db.execute(later, (gateway, epoch, epoch)).fetchone() is not None:
        return Beginning(None)
    # Not as the first thing of all: what came before it would have no place behind it any more.
    earlier = header.clock.state != UNKNOWN and max(header.utc) < enrolled_at
    some = "SELECT 1 FROM blocks WHERE gateway = ? LIMIT 1"
    return Beginning(None) if earlier and db.execute(some, (gateway,)).fetchone() is not None else None


def _resumed(db: sqlite3.Connection, gateway: bytes, header: Header) -> Beginning | None:
    """What a chain goes on behind that was let go on with this block: nobody has those before it."""
    query = "SELECT 1 FROM resumed WHERE gateway = ? AND epoch = ? AND seq = ? AND previous = ?"
    place = (header.epoch, header.seq)
    found = db.execute(query, (gateway, *place, header.previous)).fetchone()
    return None if found is None else Beginning(place)


def brought(db: sqlite3.Connection, gateway: bytes, sha256: bytes) -> bytes | None:
    """The receipt of a former collector with this hash, out of the journal; RottenError where it is another."""
    query = "SELECT body FROM journal WHERE kind = ? AND id = ?"
    row = db.execute(query, (BROUGHT, journal_id(gateway, sha256))).fetchone()
    if row is None:
        return None
    envelope = unpack(row[0])
    if (found := hashlib.sha256(envelope).digest()) != sha256:
        raise RottenError(f"receipt of a former collector: found the hash {found.hex()}, expected {sha256.hex()}")
    return envelope


def _brought(db: sqlite3.Connection, gateway: bytes, sha256: bytes) -> Beginning | None:
    """What an epoch begins after that names a receipt of the collector its gateway had before: as the receipt says, or
    where that has rotted as is kept beside it. RottenError where neither can be read.
    """
    try:
        if (envelope := brought(db, gateway, sha256)) is None:
            return None
        receipt = claimed_receipt(envelope)
        return Beginning((receipt.epoch, receipt.next_seq), kid_of(envelope).hex())
    except RottenError:
        query = "SELECT detail, by FROM journal WHERE kind = ? AND id = ?"
        detail, by = db.execute(query, (BROUGHT, journal_id(gateway, sha256))).fetchone()
        with suppress(LookupError, TypeError, ValueError):
            place = json.loads(detail)
            return Beginning((int(place["epoch"]), int(place["next_seq"])), by)
        raise


def watermark(db: sqlite3.Connection, gateway: bytes) -> Watermark | None:
    """How far the chain was once; None when it is as far as any receipt that is known here."""
    row = db.execute("SELECT epoch, next_seq, head, found_at FROM watermarks WHERE gateway = ?", (gateway,)).fetchone()
    return None if row is None else Watermark((row[0], row[1]), row[2], row[3])


def raise_watermark(db: sqlite3.Connection, receipt: Receipt, now: int) -> bool:
    """Note that the chain was as far as this receipt once; True when it was not known to stand behind anything."""
    held = watermark(db, receipt.gateway)
    if held is None or held.place < (receipt.epoch, receipt.next_seq):
        db.execute(
            "INSERT INTO watermarks VALUES (?1,?2,?3,?4,?5)"
            " ON CONFLICT DO UPDATE SET epoch = ?2, next_seq = ?3, head = ?4",
            (receipt.gateway, receipt.epoch, receipt.next_seq, receipt.head, now),
        )
    return held is None


def tell(db: sqlite3.Connection, gateway: bytes, kind: str, place: Place, detail: str, *, now: int) -> None:
    """An incident of a gateway: what somebody must look into."""
    db.execute(
        "INSERT INTO incidents (gateway, at, kind, epoch, seq, detail) VALUES (?,?,?,?,?,?)",
        (gateway, now, kind, *place, detail),
    )


def drop_watermark(db: sqlite3.Connection, gateway: bytes) -> None:
    """The chain has come to it, or gone on from before it for good."""
    db.execute("DELETE FROM watermarks WHERE gateway = ?", (gateway,))


def _newest(what: str, where: str = "TRUE") -> str:
    """The query for the newest receipt of a gateway and a level that was issued, of the kept ones or the others."""
    one = (
        f"SELECT {what}, epoch, next_seq, at FROM receipts WHERE gateway = :gateway AND level = :level AND kept = {{}}"
        f" AND posted = 0 AND {where} ORDER BY epoch DESC, next_seq DESC, at DESC LIMIT 1"
    )
    both = " UNION ALL ".join([f"SELECT * FROM ({one.format(kept)})" for kept in (0, 1)])
    return f"{both} ORDER BY epoch DESC, next_seq DESC, at DESC LIMIT 1"


_PRUNE = (
    "DELETE FROM receipts WHERE gateway = ?1 AND level = ?2 AND kept = 0 AND (epoch, next_seq, at) <="
    " (SELECT epoch, next_seq, at FROM receipts WHERE gateway = ?1 AND level = ?2 AND kept = 0"
    " ORDER BY epoch DESC, next_seq DESC, at DESC LIMIT 1 OFFSET ?3)"
)
