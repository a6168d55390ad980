"""Ingest numbers: every block, and every change of an interval, has the next one. The newest is kept in ``meta``.

Whatever follows what is new goes by them: pages and clients by cursors, statements and accounts by how far they saw,
the second copy by its marks. So none is ever given twice, nor one below another that was given. Where the newest has
rotted it is the highest that stands anywhere: the row that got the newest one keeps it until it gets a higher one, and
each fact says how far they had counted when it came to be.
"""

import sqlite3
from typing import Any

from protocols.errors import SpoiltError

LIMIT = 1 << 62
"""Above every number that can have been counted."""


def newest(db: sqlite3.Connection) -> int:
    """The newest ingest number, 0 before the first; SpoiltError where it cannot be told."""
    found = _kept(db)
    return found if _is_one(found) else _highest(db)


def counted(db: sqlite3.Connection) -> int:
    """The same for whoever goes on counting: where what is kept of it is no number any more it is put right first, for
    every fact that comes to be repeats it. SpoiltError.
    """
    found = _kept(db)
    if _is_one(found):
        return int(found)
    return _put_right(db, _highest(db))


def check(db: sqlite3.Connection) -> tuple[Any, int] | None:
    """Put right what is kept of the newest number where a higher one was given: what was found, and what it is now.

    None: it was right. SpoiltError where it cannot be told.
    """
    found, highest = _kept(db), _highest(db)
    return None if _is_one(found) and found >= highest else (found, _put_right(db, highest))


def _kept(db: sqlite3.Connection) -> Any:
    row = db.execute("SELECT value FROM meta WHERE name = 'ingest_seq'").fetchone()
    return None if row is None else row[0]


def _put_right(db: sqlite3.Connection, number: int) -> int:
    db.execute("INSERT OR REPLACE INTO meta VALUES ('ingest_seq', ?)", (number,))
    return number


def _highest(db: sqlite3.Connection) -> int:
    (blocks,) = db.execute("SELECT coalesce(max(ingest_seq), 0) FROM blocks").fetchone()
    if not _is_one(blocks):
        raise SpoiltError(f"found a block with the ingest number {blocks}, expected none from {LIMIT} on")
    others = [db.execute(query, (LIMIT,)).fetchone()[0] for query in _OTHERS]
    return max([int(blocks), *[int(other) for other in others if other is not None]])


def _is_one(found: object) -> bool:
    return isinstance(found, int) and 0 <= found < LIMIT


_OTHERS = (
    "SELECT max(ingest_seq) FROM closed_intervals WHERE ingest_seq < ?",
    "SELECT max(newest) FROM open_intervals WHERE newest < ?",
    "SELECT max(after) FROM (SELECT after FROM facts WHERE after < ? ORDER BY id DESC LIMIT 1)",
)
"""What else has one; in a single row it may have rotted to no number, or to one that is none of ours."""
