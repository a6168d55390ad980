"""The open intervals of a gateway, all of them in the one row of ``open_intervals`` that is written with every block.

An interval becomes a row of its own when it closes. The view ``intervals`` shows both kinds alike.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from cloud import interval_rows
from cloud.intervals import Interval
from cloud.rot import UNREADABLE
from cloud.rows import IntervalRow, Unread
from cloud.running import Key


class Open(msgspec.Struct, frozen=True):
    """An open interval: when it begins, the ingest number of its newest change, and its columns as JSON."""

    start: int
    ingest_seq: int
    text: bytes


class OpenRows:
    """What one gateway's row holds, as it stands in this transaction: one interval of each series at most."""

    def __init__(self, rows: Sequence[IntervalRow] = ()) -> None:
        self._rows: dict[Key, Open] = {}
        for row in rows:
            self.put(row.interval, row.ingest_seq)

    def put(self, interval: Interval, ingest_seq: int) -> None:
        """The open interval of a series, in place of the one before it."""
        text = _ENCODER.encode(interval_rows.columns(interval, ingest_seq))
        self._rows[interval.device, interval.point] = Open(interval.start, ingest_seq, text)

    def __contains__(self, interval: Interval) -> bool:
        """Whether this interval, as it was before, is one of the open ones."""
        held = self._rows.get((interval.device, interval.point))
        return held is not None and held.start == interval.start

    def close(self, interval: Interval) -> None:
        """This interval has closed: it is none of the open ones any more."""
        if interval in self:
            del self._rows[interval.device, interval.point]

    def keep(self, db: sqlite3.Connection, gateway: bytes) -> None:
        """Write the row down; none where nothing is open."""
        if not self._rows:
            db.execute("DELETE FROM open_intervals WHERE gateway = ?", (gateway,))
            return
        numbers = [held.ingest_seq for held in self._rows.values()]
        text = b"[" + b",".join([held.text for held in self._rows.values()]) + b"]"
        db.execute(
            "INSERT INTO open_intervals VALUES (?1,?2,?3,?4)"
            " ON CONFLICT DO UPDATE SET oldest = ?2, newest = ?3, rows = ?4",
            (gateway, min(numbers), max(numbers), text.decode()),
        )


def load(db: sqlite3.Connection, gateway: bytes) -> list[IntervalRow]:
    """The open intervals of a gateway, the one that changed first before the others; RottenError."""
    return interval_rows.sound(read(db, {"o.gateway = ?": gateway}, -1))


def read(db: sqlite3.Connection, asked: Mapping[str, bytes | int | str], limit: int) -> list[IntervalRow | Unread]:
    """Open intervals by ingest_seq, for which every condition holds; ``o`` is the row that holds them."""
    try:
        return _read(db, _SELECT, asked, limit)
    except sqlite3.OperationalError as error:  # one of the rows is no JSON any more
        of_row = {clause: value for clause, value in asked.items() if clause.startswith("o.")}
        query = f"SELECT gateway, newest FROM open_intervals AS o WHERE NOT json_valid(rows) AND {' AND '.join(of_row)}"
        unread = [Unread(gateway, newest, str(error)) for gateway, newest in db.execute(query, (*of_row.values(),))]
        return [*_read(db, _WHOLE, asked, limit), *unread]


def _read(
    db: sqlite3.Connection, select: str, asked: Mapping[str, bytes | int | str], limit: int
) -> list[IntervalRow | Unread]:
    rows = db.execute(f"{select} WHERE {' AND '.join(asked)} ORDER BY ingest_seq LIMIT ?", (*asked.values(), limit))
    return [_row(*found) for found in rows]


def _row(gateway: bytes, newest: int, text: bytes) -> IntervalRow | Unread:
    try:
        return interval_rows.row((gateway, *json.loads(text)))
    except UNREADABLE as error:
        return Unread(gateway, newest, str(error))


_ENCODER = msgspec.json.Encoder()
_ASKED = ("device", "point", "start", "end", "ingest_seq")
"""What a condition may name; all else is parsed once, and not once a column by SQLite."""
_SELECT = (
    "SELECT gateway, newest, CAST(text AS BLOB) FROM (SELECT o.gateway, o.oldest, o.newest, one.value AS text, "
    + ", ".join([f"json_extract(one.value, '$[{interval_rows.COLUMNS.index(name) - 1}]') AS {name}" for name in _ASKED])
    + " FROM open_intervals AS o, json_each(o.rows) AS one) AS o"
)
_WHOLE = _SELECT.replace("json_each(o.rows)", "json_each(iif(json_valid(o.rows), o.rows, '[]'))")
