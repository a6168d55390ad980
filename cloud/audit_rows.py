"""The accounts that are kept against those that an audit makes again: intervals, doubts, settings, newest replies."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import msgspec

from cloud import interval_rows, memory_rows
from cloud.booking import Changes
from cloud.difference import Differences
from cloud.doubt import Doubt
from cloud.intervals import Interval
from cloud.newest import Answered
from cloud.running import Key, Setting

WAITING = 4096
"""Closed intervals that wait to be compared together, series by series."""
_SERIES = "WHERE gateway = ? AND device = ? AND point = ?"
_PLACES = (*range(3, 7), *range(8, len(interval_rows.COLUMNS) - 1))
"""The columns that say something beside the series and that it is closed."""
_told = itemgetter(*_PLACES)
_TEXTS = (
    f"SELECT start, json_array({', '.join([interval_rows.COLUMNS[place] for place in _PLACES])})"
    f" FROM closed_intervals {_SERIES} AND start BETWEEN ? AND ? AND closed = 1"
)
"""What closed rows of a series say, each as one text: column by column most of the time is the making of values."""
_OF = {
    True: f"{interval_rows.SELECT_CLOSED} {_SERIES} AND start = ?",
    False: f"{interval_rows.SELECT} {_SERIES} AND start = ?",
}
"""Where an interval is looked for that is closed, or still open."""


class Kept:
    """What is kept of one gateway. Closed intervals are compared many at a time, open ones at the end.

    ``waits``: there are blocks that are not booked, or only in part.
    """

    def __init__(self, db: sqlite3.Connection, gateway: bytes, differences: Differences, *, waits: bool) -> None:
        self._db, self._gateway, self._is, self._waits = db, gateway, differences, waits
        self._open: dict[tuple[str, str, int], Interval] = {}
        self._waiting: dict[Key, dict[int, Interval]] = {}
        self._count = 0
        self._made: Counter[Key] = Counter()
        self._doubts: dict[Key, Doubt] = {}
        self._settings: dict[Key, Setting] = {}
        self._answered: dict[tuple[str, bytes, str], Answered] = {}

    def compare(self, changes: Changes) -> None:
        """The rows that some more blocks have made."""
        for row in changes.moved.intervals:
            key = (row.device, row.point, row.start)
            if row.closed:
                self._open.pop(key, None)
                self._wait(row)
            else:
                self._open[key] = row
        for pair, doubt in changes.moved.doubts.items():
            self._doubts.pop(pair, None)
            if doubt is not None:
                self._doubts[pair] = doubt
        self._settings |= {(setting.device, setting.point): setting for setting in changes.moved.settings}
        self._answered |= {(reply.device, reply.request, reply.points): reply for reply in changes.answered}

    def finish(self) -> int:
        """What is left when all blocks have been booked; how many intervals there are."""
        self._compare_closed()
        if self._can_be_read():
            self._compare_open()
        self._check_memory()
        self._check_latest()
        return self._made.total()

    def _can_be_read(self) -> bool:
        """Whether the row of the open intervals is what one is made of: nothing could be asked of it otherwise."""
        query = "SELECT json_valid(rows) FROM open_intervals WHERE gateway = ?"
        row = self._db.execute(query, (self._gateway,)).fetchone()
        if row is not None and not row[0]:
            self._is.told("interval", "open", "found bytes that are no JSON, expected the open intervals")
            return False
        return True

    def _wait(self, row: Interval) -> None:
        """One more closed interval."""
        pair = (row.device, row.point)
        if self._count >= WAITING or row.start in self._waiting.get(pair, ()):
            self._compare_closed()
        self._waiting.setdefault(pair, {})[row.start] = row
        self._count += 1

    def _compare_closed(self) -> None:
        """Those that wait."""
        waiting, self._waiting, self._count = self._waiting, {}, 0
        for pair, rows in waiting.items():
            self._made[pair] += len(rows)
            for row in self._others(pair, rows):
                self._interval(row)

    def _others(self, pair: Key, rows: dict[int, Interval]) -> Iterable[Interval]:
        """Which of some closed intervals of a series are not kept as they were made, as far as their texts can tell:
        a column may hold bytes, of which there is none.
        """
        others, span = dict(rows), (min(rows), max(rows))
        with suppress(sqlite3.OperationalError):
            for start, text in self._db.execute(_TEXTS, (self._gateway, *pair, *span)):
                if (row := others.get(start)) is not None and text == _text(row):
                    del others[start]
        return others.values()

    def _compare_open(self) -> None:
        """The open intervals; and no interval is kept that no block has made."""
        rows = self._db.execute(f"{interval_rows.SELECT_OPEN} WHERE o.gateway = ?", (self._gateway,)).fetchall()
        kept = {row[1:4]: row for row in rows}
        for key, made in self._open.items():
            self._made[key[:2]] += 1
            row = kept.get(key)
            if row is None or row != interval_rows.values(self._gateway, made, row[-1]):
                self._interval(made)
        self._check_none_beyond(rows)

    def _interval(self, row: Interval) -> None:
        """An interval by itself, column by column."""
        kept = self._db.execute(_OF[row.closed], (self._gateway, row.device, row.point, row.start)).fetchone()
        name = _name(row.device, row.point, row.start)
        if kept is None:
            self._is.told("interval", name, "found none, expected one")
            return
        made = interval_rows.values(self._gateway, row, 0)
        for column, found, expected in zip(interval_rows.COLUMNS[:-1], kept, made, strict=False):
            self._is.same("interval", f"{name} {column}", found, expected)

    def _check_none_beyond(self, opened: Iterable[tuple[Any, ...]]) -> None:
        """No series has more rows than its blocks have made; but what is closed behind the open one is of blocks that
        wait: of a long outage it is written in several transactions, and the open one last.
        """
        begun: dict[Key, int] = {row[1:3]: row[3] for row in opened}
        counts = Counter[Key](begun.keys())
        query = "SELECT device, point, count(*) FROM closed_intervals WHERE gateway = ? GROUP BY device, point"
        for device, point, count in self._db.execute(query, (self._gateway,)).fetchall():
            counts[device, point] += count
            if self._waits:
                behind = f"SELECT count(*) FROM closed_intervals {_SERIES} AND start > ?"
                values = (self._gateway, device, point, begun.get((device, point), -1))
                counts[device, point] -= self._db.execute(behind, values).fetchone()[0]
        for (device, point), count in counts.items():
            if count > (expected := self._made[device, point]):
                self._is.told("interval", f"{device}.{point}", f"found {count} intervals, expected {expected}")

    def _check_memory(self) -> None:
        doubts = memory_rows.doubts(self._db, self._gateway)
        for key in sorted({*doubts, *self._doubts}):
            self._is.same("doubt", ".".join(key), doubts.get(key), self._doubts.get(key))
        kept = memory_rows.settings(self._db, self._gateway)
        settings = {(setting.device, setting.point): setting for setting in kept}
        for key in sorted({*settings, *self._settings}):
            self._is.same("setting", ".".join(key), settings.get(key), self._settings.get(key))

    def _check_latest(self) -> None:
        rows = self._db.execute(
            "SELECT device, request, points, config_number, at, reply, epoch, seq, ahead FROM latest WHERE gateway = ?",
            (self._gateway,),
        ).fetchall()
        kept = {(row[0], bytes(row[1]), row[2]): Answered(*row[:8]) for row in rows}
        beyond = {(row[0], bytes(row[1]), row[2]) for row in rows if row[8]}
        for key in sorted({*kept, *self._answered} - beyond):
            self._is.same("latest", f"{key[0]} {key[1].hex()}", kept.get(key), self._answered.get(key))


def _name(device: str, point: str, start: int) -> str:
    return f"{device}.{point} {datetime.fromtimestamp(start / 1000, UTC).isoformat(timespec='seconds')}"


_ENCODER = msgspec.json.Encoder()


def _text(row: Interval) -> str:
    """What its row must say."""
    return _ENCODER.encode(_told(interval_rows.values(b"", row, 0))).decode()
