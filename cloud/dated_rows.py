"""What the collector remembers of time: its gateways' undated blocks, and where the last dated one ended."""

import sqlite3
from collections.abc import Iterator

from cloud.dating import Line
from protocols.record.block import Header

PENDING = (
    "EXISTS (SELECT 1 FROM undated AS u WHERE u.gateway = blocks.gateway AND u.epoch = blocks.epoch"
    " AND u.seq = blocks.seq AND u.by_seq IS NULL)"
)
"""Of a row of ``blocks``: it is undated still."""


def last(db: sqlite3.Connection, gateway: bytes) -> Line | None:
    """The end of the last dated block; None before the first. (The ledger writes it where the chain moves.)"""
    row = db.execute(
        "SELECT dated_epoch, dated_boot, dated_mono, dated_utc FROM gateways WHERE gateway = ?", (gateway,)
    ).fetchone()
    return None if row is None or row[0] is None else Line(*row)


def add(db: sqlite3.Connection, header: Header) -> None:
    """A block that is undated."""
    place = (header.gateway, header.epoch, header.seq, header.boot)
    db.execute("INSERT INTO undated (gateway, epoch, seq, boot) VALUES (?,?,?,?)", place)


def pending(db: sqlite3.Connection, header: Header, after: int) -> Iterator[int]:
    """The seq of every block of the same boot and epoch behind ``after`` and before this one that is undated still, in
    chain order. Others may have come behind it before it is booked.
    """
    rows = db.execute(
        "SELECT seq FROM undated WHERE gateway = ? AND epoch = ? AND boot = ? AND seq > ? AND seq < ?"
        " AND by_seq IS NULL ORDER BY seq",
        (header.gateway, header.epoch, header.boot, after, header.seq),
    )
    return (seq for (seq,) in rows)


def count(db: sqlite3.Connection, gateway: bytes, by: tuple[int, int] | None) -> int:
    """How many blocks the block in this place has dated so far; none where there is none."""
    if by is None:
        return 0
    query = "SELECT count(*) FROM undated WHERE gateway = ? AND epoch = ? AND by_seq = ?"
    (found,) = db.execute(query, (gateway, *by)).fetchone()
    return int(found)


def date(db: sqlite3.Connection, header: Header, by_seq: int) -> None:
    """A block has been dated by another one: ``header`` says the UTC that it has now."""
    place = (header.gateway, header.epoch, header.seq)
    db.execute("UPDATE undated SET by_seq = ? WHERE gateway = ? AND epoch = ? AND seq = ?", (by_seq, *place))
    db.execute(
        "UPDATE blocks SET utc_start = ?, utc_end = ? WHERE gateway = ? AND epoch = ? AND seq = ?",
        (*header.utc, *place),
    )


def needed(db: sqlite3.Connection, gateway: bytes, places: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """The blocks that date those of these which came undated: the one with the correction, and the dated one before."""
    found: set[tuple[int, int]] = set()
    for epoch, seq in places:
        row = db.execute(
            "SELECT by_seq FROM undated WHERE gateway = ? AND epoch = ? AND seq = ?", (gateway, epoch, seq)
        ).fetchone()
        if row is None or row[0] is None:
            continue
        before = db.execute(
            "SELECT epoch, seq FROM blocks WHERE gateway = ?1 AND (epoch, seq) < (?2, ?3) AND fault IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM undated AS u"
            " WHERE u.gateway = ?1 AND u.epoch = blocks.epoch AND u.seq = blocks.seq)"
            " ORDER BY epoch DESC, seq DESC LIMIT 1",
            (gateway, epoch, seq),
        ).fetchone()
        found |= {(epoch, row[0])} | ({tuple(before)} if before else set())
    return found
