"""What the running accounts of a gateway remember between blocks, as rows: open intervals, doubts, settings."""

import sqlite3
from decimal import Decimal

from cloud import open_rows
from cloud.doubt import Candidate, Doubt
from cloud.intervals import HOUR_MS, Register
from cloud.running import Key, Memory, Moved, Setting


def load(db: sqlite3.Connection, gateway: bytes) -> Memory:
    """The memory of a gateway's accounts after the newest block that was booked."""
    intervals = [row.interval for row in open_rows.load(db, gateway)]
    return Memory(intervals, doubts(db, gateway), settings(db, gateway))


def keep(db: sqlite3.Connection, gateway: bytes, moved: Moved) -> None:
    """Write down what has changed of doubts and settings; of a setting the last of each hour stays."""
    if not moved.doubts and not moved.settings:
        return
    db.executemany(
        "DELETE FROM doubts WHERE gateway = ? AND device = ? AND point = ?", [(gateway, *key) for key in moved.doubts]
    )
    db.executemany(
        "INSERT INTO doubts VALUES (?,?,?,?,?,?,?,?,?)",
        [
            (gateway, *key, number, each.position, *_register(each.register))
            for key, doubt in moved.doubts.items()
            if doubt is not None
            for number, each in enumerate(doubt.candidates)
        ],
    )
    db.executemany(
        "INSERT OR REPLACE INTO settings VALUES (?,?,?,?,?,?,?,?,?)",
        [
            (gateway, row.device, row.point, row.register.at // HOUR_MS, row.meter, *_register(row.register))
            for row in moved.settings
        ],
    )


def doubts(db: sqlite3.Connection, gateway: bytes) -> dict[Key, Doubt]:
    """The readings of each counter that could not follow its register."""
    found: dict[Key, list[Candidate]] = {}
    rows = db.execute(
        "SELECT device, point, position, value, at, epoch, seq FROM doubts WHERE gateway = ?"
        " ORDER BY device, point, number",
        (gateway,),
    )
    for device, point, position, value, *place in rows:
        found.setdefault((device, point), []).append(Candidate(position, Register(Decimal(value), *place)))
    return {key: Doubt(tuple(candidates)) for key, candidates in found.items()}


def settings(db: sqlite3.Connection, gateway: bytes) -> list[Setting]:
    """What each setting was found to be last."""
    rows = db.execute(f"{_NEWEST}) WHERE place = 1", (gateway,))
    return [
        Setting(device, point, meter, Register(Decimal(value), *place)) for device, point, meter, value, *place in rows
    ]


def setting_places(db: sqlite3.Connection, gateway: bytes, before: tuple[int, int]) -> list[tuple[int, int]]:
    """The block (epoch, seq) that each setting was last read in, of those before a block."""
    rows = db.execute(f"{_NEWEST} AND (epoch, seq) < (?, ?)) WHERE place = 1", (gateway, *before))
    return [(epoch, seq) for *_, epoch, seq in rows]


def _register(found: Register) -> tuple[str, int, int, int]:
    return format(found.value, "f"), found.at, found.epoch, found.seq


_NEWEST = (
    "SELECT device, point, meter, value, at, epoch, seq FROM (SELECT *, row_number() OVER"
    " (PARTITION BY device, point ORDER BY epoch DESC, seq DESC, at DESC) AS place FROM settings WHERE gateway = ?"
)
