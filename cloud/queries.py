"""What the store can be asked: blocks, intervals, live values, health, and what went wrong."""

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from math import inf
from typing import Any

from cloud import changes, dated_rows, ingest_numbers, interval_rows, memory_rows, open_rows, receipts, typed, unbooked
from cloud.changes import Changes, Seen
from cloud.database import octets
from cloud.enrolments import Enrolments
from cloud.intervals import INTERVAL_MS, Interval
from cloud.rot import UNREADABLE, is_rotten
from cloud.rows import Block, Counts, EventRow, Incident, IntervalRow, Latest, Power, Quarantined, Sum, Unread
from drivers.driver import Driver
from drivers.quantity import EXACT, quality
from drivers.replay import values
from drivers.site import Device, multiplier
from protocols.errors import ProtocolError, RottenError, StoreError

MOST_S = 2.0
"""How long whoever asks waits for what is not booked yet."""
BLOCK_COLUMNS = (
    "ingest_seq, gateway, epoch, seq, hash, utc_start, utc_end, received_at, config_number, readings, fault,"
    " length(frame)"
)
QUARANTINE_COLUMNS = "id, gateway, at, code, reason, signed, epoch, seq, hash"
Meter = tuple[Device, Driver]
"""An installed device, and what reads it."""


class Queries(Enrolments, ABC):
    """The reading part of the store. Pages are cut by ``ingest_seq``, which only rises."""

    _standing: threading.local
    """``here``: what this thread reads stands as it was booked when it began."""

    @abstractmethod
    def book(self, gateway: bytes | None = None, within_s: float = inf) -> None:
        """Book everything that waits, of one gateway or of all, or as much as there is time for; StoreError."""

    @contextmanager
    def booked(self, gateway: bytes | None = None) -> Iterator[sqlite3.Connection]:
        """As ``reading``; everything that was taken before this is called is booked, of one gateway or of all.

        Unless that takes longer than ``MOST_S`` (the first block after a very long outage), or nothing can be written
        (the disk is full): then what is booked so far is shown, and the rest comes as late data do.
        """
        with self.reading() as db:
            waiting = [] if self._stands() else unbooked.gateways(db)
            if waiting and gateway in (None, *waiting):
                db.execute("ROLLBACK")
                self._book_now(gateway)
                db.execute("BEGIN")
            yield db

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Book everything once, for this thread to read much of it: what comes meanwhile is not booked for its sake."""
        if self._stands():
            yield
            return
        self._book_now(None)
        self._standing.here = True
        try:
            yield
        finally:
            self._standing.here = False

    def _stands(self) -> bool:
        return getattr(self._standing, "here", False)

    def _book_now(self, gateway: bytes | None) -> None:
        with suppress(StoreError):
            self.book(gateway, MOST_S)

    def as_of(self, *, at_once: bool = False) -> int:
        """The newest ingest sequence number: everything up to it is committed. ``at_once``: whatever waits."""
        with self.reading() if at_once else self.booked() as db:
            return ingest_numbers.newest(db)

    def changes(self, seen: Seen, before: int) -> Changes:
        """What has come behind ``seen``; of intervals, those that begin before an instant (UTC ms)."""
        with self.booked() as db:
            return changes.since(db, seen, before)

    def interval_starts(self, gateway: bytes, start: int, end: int, after: int) -> dict[int, int]:
        """Where intervals of a gateway that changed behind an ingest number begin in [start, end) (UTC ms), and the
        newest ingest number of each.
        """
        with self.booked(gateway) as db:
            return changes.starts(db, gateway, start, end, after)

    def counts(self) -> Counts:
        """How much is held; of intervals, what is booked of it."""
        with self.reading() as db:
            row = db.execute(
                "SELECT count(*), total(blocks), total(refused_blocks), total(readings),"
                " (SELECT count(*) FROM closed_intervals)"
                " + (SELECT total(json_array_length(iif(json_valid(rows), rows, '[]'))) FROM open_intervals),"
                " (SELECT count(*) FROM quarantine), (SELECT count(*) FROM incidents), total(gaps),"
                " max(iif(typeof(received_at) = 'integer', received_at, NULL))"
                " FROM gateways"
            ).fetchone()
            gateways, blocks, refused, readings, intervals, quarantined, incidents, gaps, received_at = row
            totals = (gateways, int(blocks), int(refused), int(readings), int(intervals))
            return Counts(*totals, quarantined, incidents, int(gaps), received_at)

    def blocks(
        self, gateway: bytes, after: int = 0, limit: int = 100, newest_first: bool = False, before: int | None = None
    ) -> list[Block]:
        """The blocks of a gateway whose ingest_seq lies above ``after`` and below ``before``, in the order they came:
        of one gateway that is the order of its chain, which has an index.
        """
        order = "DESC" if newest_first else "ASC"
        with self.booked(gateway) as db:
            rows = db.execute(
                f"SELECT {BLOCK_COLUMNS} FROM blocks WHERE gateway = ? AND ingest_seq > ? AND ingest_seq < ?"
                f" ORDER BY epoch {order}, seq {order} LIMIT ?",
                (gateway, after, _END if before is None else before, limit),
            )
            return [typed.of(Block, row) for row in rows]

    def first_start(self, gateway: bytes) -> int:
        """When the first block of a gateway that is held begins (UTC ms)."""
        with self.booked(gateway) as db:
            row = db.execute(
                "SELECT utc_start FROM blocks WHERE gateway = ? ORDER BY epoch, seq LIMIT 1", (gateway,)
            ).fetchone()
            return int(row[0])

    def blocks_between(self, gateway: bytes, start: int, end: int) -> list[Block]:
        """The blocks that overlap [start, end) (UTC ms), in chain order; of no other block is it known whether."""
        with self.booked(gateway) as db:
            rows = db.execute(
                f"SELECT {BLOCK_COLUMNS} FROM blocks WHERE gateway = ? AND utc_start < ? AND utc_end > ?"
                f" AND NOT {dated_rows.PENDING} ORDER BY epoch, seq",
                (gateway, end, start),
            )
            return [typed.of(Block, row) for row in rows]

    def block_before(self, gateway: bytes, at: int, as_of: int | None = None) -> Block | None:
        """The newest booked block that ended by ``at`` (UTC ms), of those held up to the ingest_seq ``as_of``."""
        with self.booked(gateway) as db:
            row = db.execute(
                f"SELECT {BLOCK_COLUMNS} FROM blocks WHERE gateway = ? AND utc_end <= ? AND ingest_seq <= ?"
                f" AND fault IS NULL AND NOT {dated_rows.PENDING} ORDER BY epoch DESC, seq DESC LIMIT 1",
                (gateway, at, _END if as_of is None else as_of),
            ).fetchone()
            return typed.of(Block, row) if row else None

    def configurations_used(self, gateway: bytes, start: int, end: int) -> frozenset[int]:
        """The configurations that the booked blocks which overlap [start, end) (UTC ms) name."""
        with self.booked(gateway) as db:
            rows = db.execute(
                "SELECT DISTINCT config_number FROM blocks WHERE gateway = ? AND utc_start < ? AND utc_end > ?"
                f" AND fault IS NULL AND NOT {dated_rows.PENDING}",
                (gateway, end, start),
            )
            return frozenset(number for (number,) in rows)

    def block_row(self, gateway: bytes, epoch: int, seq: int) -> Block | None:
        """One block of the chain."""
        with self.booked(gateway) as db:
            row = db.execute(f"SELECT {BLOCK_COLUMNS} FROM blocks WHERE {_BLOCK}", (gateway, epoch, seq)).fetchone()
            return typed.of(Block, row) if row else None

    def block(self, gateway: bytes, epoch: int, seq: int) -> bytes | None:
        """The zstd frame of a block, as it came."""
        with self.reading() as db:
            row = db.execute(f"SELECT frame FROM blocks WHERE {_BLOCK}", (gateway, epoch, seq)).fetchone()
            return octets(row[0]) if row else None

    def frames(self, gateway: bytes, first: tuple[int, int], last: tuple[int, int]) -> Iterator[tuple[Block, bytes]]:
        """Blocks with their frames from one (epoch, seq) to another, both included, in chain order."""
        with self.reading() as db:
            rows = db.execute(
                f"SELECT {BLOCK_COLUMNS}, frame FROM blocks WHERE gateway = ? AND (epoch, seq) >= (?, ?)"
                " AND (epoch, seq) <= (?, ?) ORDER BY epoch, seq",
                (gateway, *first, *last),
            )
            for *columns, frame in rows:
                yield typed.of(Block, columns), octets(frame)

    def intervals(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        gateway: bytes | None = None,
        device: str | None = None,
        point: str | None = None,
        start: int | None = None,
        end: int | None = None,
        closed: bool | None = None,
    ) -> list[IntervalRow]:
        """Intervals by ingest_seq, oldest change first; ``start`` and ``end`` bound where they begin. RottenError.

        ``limit``: at most so many; -1: all. An open interval comes again, with a higher ingest_seq, each time it has
        grown.
        """
        where = {"device = ?": device, "point = ?": point, "start >= ?": start, "start < ?": end}
        return interval_rows.sound(self.interval_page(after, limit, gateway=gateway, where=where, closed=closed))

    def interval_page(
        self,
        after: int,
        limit: int,
        *,
        gateway: bytes | None,
        where: Mapping[str, int | str | None],
        closed: bool | None = None,
    ) -> list[IntervalRow | Unread]:
        """The same with what has rotted in its place; ``where``: conditions of columns, of those that have a value."""
        places = {"ingest_seq > ?": after, "ingest_seq < ?": ingest_numbers.LIMIT, "gateway = ?": gateway, **where}
        asked = {clause: value for clause, value in places.items() if value is not None}
        found: list[IntervalRow | Unread] = []
        with self.booked(gateway) as db:
            if closed is not False:
                found = interval_rows.read(db, asked, limit)
            if closed is not True:
                last = found[-1].ingest_seq if len(found) == limit and found else _END
                of_row: dict[str, bytes | int] = {"o.newest > ?": after, "o.oldest <= ?": last}
                if gateway is not None:
                    of_row["o.gateway = ?"] = gateway
                found += open_rows.read(db, asked | of_row, limit)
        found.sort(key=lambda row: row.ingest_seq)
        return found if limit < 0 else found[:limit]

    def dating_places(self, gateway: bytes, places: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """The blocks (epoch, seq) from which those of these that came undated have their time."""
        with self.booked(gateway) as db:
            return dated_rows.needed(db, gateway, places)

    def setting_places(self, gateway: bytes, before: tuple[int, int]) -> list[tuple[int, int]]:
        """The block (epoch, seq) that each setting was last read in, of those before a block."""
        with self.booked(gateway) as db:
            return memory_rows.setting_places(db, gateway, before)

    def series(self, gateway: bytes, device: str, point: str, start: int, end: int) -> list[Interval]:
        """The intervals of one counter that overlap [start, end), by start; RottenError."""
        asked: dict[str, bytes | int | str] = {
            "device = ?": device,
            "point = ?": point,
            "start < ?": end,
            "start > ?": start - INTERVAL_MS,
            "end > ?": start,
        }
        with self.booked(gateway) as db:
            try:
                closed = interval_rows.read_series(db, device, point, {"gateway = ?": gateway} | asked)
            except UNREADABLE as error:
                raise _rotten(gateway, f"intervals of {device}.{point}", error) from error
            read = open_rows.read(db, {"o.gateway = ?": gateway} | asked, -1)
            opened = [row.interval for row in interval_rows.sound(read)]
        return sorted(closed + opened, key=lambda one: one.start) if opened else closed

    def sums(self, gateway: bytes, points: Iterable[tuple[str, str]], start: int, end: int) -> list[Sum]:
        """What these counters and rates (device, point) came to over the intervals that begin in [start, end);
        RottenError.
        """
        found = list[Sum]()
        with self.booked(gateway) as db:
            try:
                for device, point in points:
                    rows = db.execute(_SUMMED, (gateway, device, point, start, end)).fetchall()
                    for unit in dict.fromkeys(row[0] for row in rows):
                        own = [row[1:] for row in rows if row[0] == unit]
                        found.append(_sum((gateway, device, point, unit, start), own))
            except (sqlite3.OperationalError, *UNREADABLE) as error:
                if is_rotten(error):
                    raise _rotten(gateway, "intervals", error) from error
                raise
        return found

    def latest(self, gateway: bytes | None = None) -> list[Latest]:
        """The newest value of every point, replayed from the newest reply that holds it; none of a row that has rotted:
        the next reply takes its place.
        """
        where, asked = ("gateway = ?", (gateway,)) if gateway else ("1", ())
        newest: dict[tuple[bytes, str, str], Latest] = {}
        meters: dict[tuple[bytes, int], dict[str, Meter]] = {}
        with self.booked(gateway) as db:
            rows = db.execute(
                "SELECT gateway, device, request, config_number, at, reply, epoch, seq,"
                " NOT EXISTS (SELECT 1 FROM undated AS u WHERE u.gateway = latest.gateway AND u.epoch = latest.epoch"
                " AND u.seq = latest.seq AND u.by_seq IS NULL)"
                f" FROM latest WHERE {where} AND {_WHOLE} ORDER BY gateway, device, epoch, seq, at",
                asked,
            ).fetchall()
            for held, device, request, number, at, reply, epoch, seq, dated in rows:
                if (held, number) not in meters:
                    meters[held, number] = self._meters(db, held, number)
                answered = (held, device, request, at, reply, epoch, seq, bool(dated))
                with suppress(ProtocolError, RottenError, *UNREADABLE):
                    for value in _values(meters[held, number][device], answered):
                        newest[held, device, value.point] = value
        return list(newest.values())

    def _meters(self, db: sqlite3.Connection, gateway: bytes, number: int) -> dict[str, Meter]:
        """Each device of a configuration, by its id, with its driver."""
        config = self.config(db, gateway, number)
        if config is None:  # the number has rotted: a reply is kept only under a configuration that is held
            return {}
        held = self.installed(db, config)
        return {entry.id: (entry, driver) for entry, driver in zip(held.site.device, held.drivers, strict=True)}

    def power_series(
        self, start: int, end: int, gateway: bytes | None = None, device: str | None = None, point: str | None = None
    ) -> list[Power]:
        """Power by quarters of an hour that begin in [start, end), by gateway, device, point and start; none of a row
        that has rotted: it is for the eye.
        """
        where = {
            "start >= ?": start,
            "start < ?": end,
            "gateway = ?": gateway,
            "device = ?": device,
            "point = ?": point,
        }
        asked = {clause: value for clause, value in where.items() if value is not None}
        with self.booked(gateway) as db:
            rows = db.execute(
                "SELECT gateway, device, point, start, total / samples, peak, samples FROM power"
                f" WHERE {' AND '.join(asked)} ORDER BY gateway, device, point, start",
                tuple(asked.values()),
            )
            return [found for found, rotten in map(partial(typed.near, Power), rows) if not rotten]

    def events(
        self, gateway: bytes | None = None, limit: int = 100, kinds: Collection[int] | None = None
    ) -> list[EventRow]:
        """What the gateways tell of, newest first; ``kinds``: only these numbers of EventKind."""
        clauses, values = ["1"], list[Any]()
        if gateway is not None:
            clauses.append("gateway = ?")
            values.append(gateway)
        if kinds is not None:
            clauses.append(f"kind IN ({', '.join('?' * len(kinds))})")
            values.extend(kinds)
        with self.reading() as db:
            rows = db.execute(
                f"SELECT gateway, epoch, seq, kind, start, end, detail FROM events WHERE {' AND '.join(clauses)}"
                " ORDER BY end DESC, epoch DESC, seq DESC, number DESC LIMIT ?",
                (*values, limit),
            )
            return [typed.near(EventRow, row)[0] for row in rows]

    def incidents(self, limit: int = 100) -> list[Incident]:
        """What a person must look into, newest first."""
        with self.booked() as db:
            rows = db.execute(
                "SELECT id, gateway, at, kind, epoch, seq, detail FROM incidents ORDER BY id DESC LIMIT ?", (limit,)
            )
            return [Incident.read(row) for row in rows]

    def quarantine(self, limit: int = 100) -> list[Quarantined]:
        """What was refused, newest first."""
        with self.reading() as db:
            rows = db.execute(f"SELECT {QUARANTINE_COLUMNS} FROM quarantine ORDER BY id DESC LIMIT ?", (limit,))
            return [Quarantined.read(row) for row in rows]

    def quarantined(self, number: int) -> bytes | None:
        """The refused bytes themselves."""
        with self.reading() as db:
            row = db.execute("SELECT frame FROM quarantine WHERE id = ?", (number,)).fetchone()
            return octets(row[0]) if row else None

    def receipt(self, gateway: bytes) -> bytes | None:
        """The newest receipt of level 1 issued to a gateway."""
        with self.reading() as db:
            return receipts.newest(db, gateway)

    def behind(self) -> list[bytes]:
        """The gateways of which less is held than receipts were once signed for: this file is an older one."""
        with self.reading() as db:
            return [gateway for (gateway,) in db.execute("SELECT gateway FROM watermarks ORDER BY gateway")]

    def receipt_named(self, gateway: bytes, sha256: bytes) -> bytes | None:
        """The receipt with this hash: what the first block of a later epoch names."""
        with self.reading() as db:
            return receipts.named(db, gateway, sha256)


_WHOLE = " AND ".join(f"typeof({name}) = 'integer'" for name in ("config_number", "at", "epoch", "seq"))
_BLOCK = "gateway = ? AND epoch = ? AND seq = ?"
_END = (1 << 63) - 1


_SUMMED = (
    "SELECT unit, consumption, quality, readings, expected FROM intervals"
    " WHERE gateway = ? AND device = ? AND point = ? AND start >= ? AND start < ? ORDER BY start"
)


def _rotten(gateway: bytes, what: str, error: Exception) -> RottenError:
    return RottenError(f"gateway {gateway.hex()}: found {what} that cannot be read ({error}), expected what was booked")


def _values(meter: Meter, answered: tuple[Any, ...]) -> Iterator[Latest]:
    """What a reply says, point by point."""
    gateway, device, request, at, reply, *rest = answered
    entry, driver = meter
    held, times = values(driver, request, reply), multiplier(entry, at)
    for point in driver.profile.points:
        if point.id in held:
            value = primary = held[point.id]
            if value is not None and not point.primary:
                primary = EXACT.multiply(value, times)
            stands = quality(point, held)
            yield Latest(gateway, device, point.id, point.unit, point.kind, value, primary, stands, at, *rest)


def _sum(key: tuple[Any, ...], rows: list[tuple[Any, ...]]) -> Sum:
    gateway, device, point, unit, start = key
    total = Decimal(0)
    for consumption, *_ in rows:
        if consumption is not None:
            total = EXACT.add(total, Decimal(consumption))
    qualities = [quality for _, quality, _, _ in rows]
    return Sum(
        gateway,
        device,
        point,
        unit,
        start,
        total,
        len(rows),
        qualities.count("estimated"),
        qualities.count("suspect"),
        qualities.count("absent"),
        sum(readings for _, _, readings, _ in rows),
        sum(expected for _, _, _, expected in rows),
    )
