"""What a second copy holds of a store, record by record, in the order in which it came to be."""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from enum import IntEnum
from typing import Any

from cloud import receipts, rot, segments
from cloud.database import octets
from cloud.rot import Place
from cloud.segments import Record
from protocols.errors import RecordError, RottenError
from protocols.record import block, transport
from protocols.record.cose import PublicKey

MOST = 512
MOST_BYTES = 8 << 20
"""Records and bytes of frames gathered at once."""


class Kind(IntEnum):
    """What a record is of; the fields are the columns named in ``FACTS``, and for a block those of ``BLOCK``."""

    BLOCK = segments.BLOCK
    ENROLMENT = 1
    CONFIGURATION = 2
    PROFILE = 3
    REVOCATION = 4
    RECEIPT = 5
    STATEMENT = 6
    INCIDENT = 7
    QUARANTINE = 8
    BAR = 9
    JOURNAL = 10
    MENDED = 11
    """A block that was put back, in place of what stands of it before."""
    RESUMED = 12
    """Where a chain goes on behind blocks that nobody has any more."""


BLOCK = "gateway, epoch, seq, received_at, frame"
FACTS: dict[str, tuple[Kind, str]] = {
    "enrolment": (
        Kind.ENROLMENT,
        "SELECT enrolment, enrolled_at, s.epoch, s.seq, s.previous FROM gateways LEFT JOIN starts AS s USING (gateway)"
        " WHERE gateway = :gateway",
    ),
    "resumed": (Kind.RESUMED, "SELECT gateway, epoch, seq, previous, at FROM resumed WHERE id = :number"),
    "configuration": (
        Kind.CONFIGURATION,
        "SELECT gateway, number, digest, envelope, valid_from, received_at FROM configs"
        " WHERE gateway = :gateway AND number = :number",
    ),
    "profile": (Kind.PROFILE, "SELECT digest, source FROM profiles WHERE digest = :name"),
    "revocation": (Kind.REVOCATION, "SELECT gateway, revoked_at, reason FROM gateways WHERE gateway = :gateway"),
    "bar": (Kind.BAR, "SELECT gateway, at, reason FROM barred WHERE gateway = :gateway"),
    "statement": (
        Kind.STATEMENT,
        "SELECT id, version, digest, site, period, created, content FROM statements"
        " WHERE id = :name AND version = :number",
    ),
    "journal": (
        Kind.JOURNAL,
        "SELECT number, kind, id, version, subject, period, digest, at, by, detail, body FROM journal"
        " WHERE number = :number",
    ),
    "mended": (Kind.MENDED, f"SELECT {BLOCK} FROM blocks WHERE ingest_seq = :number"),
    "incident": (
        Kind.INCIDENT,
        "SELECT gateway, at, kind, epoch, seq, detail FROM incidents WHERE id = :number",
    ),
    "quarantine": (
        Kind.QUARANTINE,
        "SELECT gateway, at, code, reason, epoch, seq, hash, frame FROM quarantine WHERE id = :number",
    ),
}


def gather(db: sqlite3.Connection, blocks: int, facts: int, rotten: list[tuple[bytes, Place]]) -> list[Record]:
    """The next records behind these marks (ingest_seq of a block, number of a fact), none when there are none.

    ``rotten``: blocks among them that are not what was taken in are added to it. Of all others what was signed says
    where they belong, whatever has become of their rows: one that has rotted keeps no other from being copied.
    """
    found: list[Record] = []
    by = transport.decompressor()
    told, all_told = _facts(db, facts)
    size = 0
    for row in db.execute(
        f"SELECT ingest_seq, {BLOCK}, hash FROM blocks WHERE ingest_seq > ? ORDER BY ingest_seq LIMIT {MOST}", (blocks,)
    ):
        while told and told[0][1] < row[0]:
            facts = _append(db, found, blocks, told.pop(0))
        if (not told and not all_told) or size > MOST_BYTES:
            return found
        frame = octets(row[5])
        try:
            header = rot.whole(frame, row[6], by)
            gateway, epoch, seq = header.gateway, header.epoch, header.seq
        except (RecordError, *rot.UNREADABLE):
            gateway, epoch, seq = octets(row[1]), _number(row[2]), _number(row[3])
            rotten.append((gateway, (epoch, seq)))
        if epoch > 0 and seq == 0:
            found += _receipt(db, gateway, frame, blocks, facts)
        blocks = row[0]
        size += len(frame)
        found.append(Record(Kind.BLOCK, blocks, facts, (gateway, epoch, seq, _number(row[4]), frame)))
    if sum(record.kind == Kind.BLOCK for record in found) < MOST:
        for fact in told:
            _append(db, found, blocks, fact)
    return found


Fact = tuple[int, int, str, bytes | None, int | None, Any]
"""Number, after, kind, gateway, number in its table, name."""


def _facts(db: sqlite3.Connection, after: int) -> tuple[list[Fact], bool]:
    rows = db.execute(
        "SELECT id, iif(typeof(after) = 'integer', after, 0), kind, gateway, number, name FROM facts"
        f" WHERE id > ? ORDER BY id LIMIT {MOST}",
        (after,),
    ).fetchall()
    return rows, len(rows) < MOST


def _append(db: sqlite3.Connection, found: list[Record], blocks: int, fact: Fact) -> int:
    """Add what a fact names, without fields when it has been let go of since; the fact's number."""
    number, _, kind, gateway, place, name = fact
    record, query = FACTS[kind]
    row = db.execute(query, {"gateway": gateway, "number": place, "name": name}).fetchone()
    found.append(Record(record, blocks, number, () if row is None else row))
    return number


def _receipt(db: sqlite3.Connection, gateway: bytes, frame: bytes, blocks: int, facts: int) -> Iterator[Record]:
    """The receipt that the first block of a later epoch names, of this collector or of a former one; none where that is
    the enrolment or not held, or has rotted.
    """
    key = db.execute("SELECT algorithm, spki FROM gateways WHERE gateway = ?", (gateway,)).fetchone()
    try:
        named = block.open_header(transport.unwrap(frame)[0], PublicKey(*key)).previous
    except (RecordError, *rot.UNREADABLE):
        return
    envelope = receipts.named(db, gateway, named)
    if envelope is None:
        with suppress(RottenError):
            envelope = receipts.brought(db, gateway, named)
    if envelope is not None:
        yield Record(Kind.RECEIPT, blocks, facts, (envelope,))


def _number(found: object) -> int:
    return found if isinstance(found, int) else 0
