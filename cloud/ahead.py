"""Signed blocks that came ahead of their chain, as rows: kept until the chain has come to them, at most so many."""

import sqlite3

from cloud.ingest import Head, Opened
from cloud.newest import Answered

MOST = 4096
MOST_BYTES = 16 << 20
"""Of one gateway, those farthest ahead: days of live blocks. No receipt covers them, so what is let go comes again."""
MOST_AT_ONCE = 256
"""Taken over into the chain in one transaction; the next batch takes more."""


def keep(db: sqlite3.Connection, opened: Opened, frame: bytes, now: int) -> bool:
    """Keep one; False when it is there already."""
    header = opened.header
    done = db.execute(
        "INSERT OR IGNORE INTO ahead (gateway, epoch, seq, hash, received_at, frame) VALUES (?,?,?,?,?,?)",
        (header.gateway, header.epoch, header.seq, opened.hash, now, frame),
    )
    return done.rowcount == 1


def show(db: sqlite3.Connection, gateway: bytes, answered: list[Answered]) -> None:
    """Its live values, beside what the chain has booked: each stays until the chain comes to it or past its time."""
    db.executemany(
        "INSERT INTO latest VALUES (?,?,?,?,?,?,?,?,?,1) ON CONFLICT DO UPDATE SET"
        " config_number = excluded.config_number, at = excluded.at, reply = excluded.reply, epoch = excluded.epoch,"
        " seq = excluded.seq, ahead = 1 WHERE (excluded.epoch, excluded.seq) > (epoch, seq)",
        rows(gateway, answered),
    )


def rows(gateway: bytes, answered: list[Answered]) -> list[tuple[object, ...]]:
    """Newest replies as the columns of ``latest``, but for the last."""
    return [
        (gateway, row.device, row.request, row.points, row.config_number, row.at, row.reply, row.epoch, row.seq)
        for row in answered
    ]


def next_of(db: sqlite3.Connection, gateway: bytes, head: Head) -> tuple[int, bytes] | None:
    """(row, frame) of a kept block whose turn has come, or is past; None when there is none."""
    row: tuple[int, bytes] | None = db.execute(
        "SELECT rowid, frame FROM ahead WHERE gateway = ? AND (epoch, seq) <= (?, ?) ORDER BY epoch, seq LIMIT 1",
        (gateway, head.epoch, head.next_seq),
    ).fetchone()
    return row


def let_go(db: sqlite3.Connection, row: int) -> None:
    """It has been examined in its turn."""
    db.execute("DELETE FROM ahead WHERE rowid = ?", (row,))


def any_of(db: sqlite3.Connection, gateway: bytes) -> bool:
    """Whether anything is kept of a gateway."""
    return db.execute("SELECT 1 FROM ahead WHERE gateway = ? LIMIT 1", (gateway,)).fetchone() is not None


def bound(db: sqlite3.Connection, gateway: bytes) -> None:
    """Let go of what is too much, the nearest to the chain first: that comes again soonest."""
    db.execute(
        "DELETE FROM ahead WHERE rowid IN (SELECT row FROM (SELECT rowid AS row, row_number() OVER farthest AS place,"
        " sum(length(frame)) OVER farthest AS bytes FROM ahead WHERE gateway = ?1"
        " WINDOW farthest AS (ORDER BY epoch DESC, seq DESC, received_at DESC ROWS UNBOUNDED PRECEDING))"
        " WHERE place > ?2 OR bytes > ?3)",
        (gateway, MOST, MOST_BYTES),
    )
