"""The accounts that are kept against those that an audit makes again: intervals, doubts, settings, newest replies."""

import sqlite3
from datetime import UTC, datetime

from cloud import interval_rows, memory_rows
from cloud.booking import Answered, Changes
from cloud.difference import Differences
from cloud.doubt import Doubt
from cloud.intervals import Interval
from cloud.running import Key, Setting

_ONE = "WHERE gateway = ? AND device = ? AND point = ? AND start = ?"
_OF = {True: f"{interval_rows.SELECT_CLOSED} {_ONE}", False: f"{interval_rows.SELECT} {_ONE}"}
"""Where an interval is looked for that is closed, or still open."""


class Kept:
    """What is kept of one gateway. A closed interval is compared when it is made, an open one at the end."""

    def __init__(self, db: sqlite3.Connection, gateway: bytes, differences: Differences) -> None:
        self._db, self._gateway, self._is = db, gateway, differences
        self._open: dict[tuple[str, str, int], Interval] = {}
        self._closed: dict[Key, int] = {}
        self._doubts: dict[Key, Doubt] = {}
        self._settings: dict[Key, Setting] = {}
        self._answered: dict[tuple[str, bytes, str], Answered] = {}

    def compare(self, changes: Changes) -> None:
        """The rows that some more blocks have made."""
        for row in changes.moved.intervals:
            key = (row.device, row.point, row.start)
            if row.closed:
                self._open.pop(key, None)
                self._interval(row)
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
        if self._can_be_read():
            for row in self._open.values():
                self._interval(row)
            self._check_none_beyond()
        self._check_memory()
        self._check_latest()
        return sum(self._closed.values())

    def _can_be_read(self) -> bool:
        """Whether the row of the open intervals is what one is made of: nothing could be asked of it otherwise."""
        query = "SELECT json_valid(rows) FROM open_intervals WHERE gateway = ?"
        row = self._db.execute(query, (self._gateway,)).fetchone()
        if row is not None and not row[0]:
            self._is.told("interval", "open", "found bytes that are no JSON, expected the open intervals")
            return False
        return True

    def _interval(self, row: Interval) -> None:
        pair = (row.device, row.point)
        self._closed[pair] = self._closed.get(pair, 0) + 1
        kept = self._db.execute(_OF[row.closed], (self._gateway, *pair, row.start)).fetchone()
        made = interval_rows.values(self._gateway, row, 0)
        name = _name(*pair, row.start)
        if kept is None:
            self._is.told("interval", name, "found none, expected one")
            return
        if kept[:-1] == made[:-1]:
            return
        for column, found, expected in zip(interval_rows.COLUMNS[:-1], kept, made, strict=False):
            self._is.same("interval", f"{name} {column}", found, expected)

    def _check_none_beyond(self) -> None:
        """No interval is kept that no block has made."""
        made = {key[:2] for key in self._open} | set(self._closed)
        rows = self._db.execute(
            "SELECT device, point, count(*) FROM intervals WHERE gateway = ? GROUP BY device, point", (self._gateway,)
        ).fetchall()
        for device, point, count in rows:
            if (device, point) not in made or count > self._closed[device, point]:
                expected = self._closed.get((device, point), 0)
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
