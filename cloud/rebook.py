"""Books a gateway anew from its signed blocks, and puts right whatever of its rows is another than what comes of that.

It is booked by the very code that takes blocks in, from its enrolment on, into a store of its own beside this one; the
rows of the two are then compared, and those that differ written. A closed interval that is put right gets the next
ingest number, so that every statement and account which rests on it is drawn up again. Nothing else may write meanwhile
to the chain of the gateway: the collector is not served.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from cloud import enrolments, ingest_numbers, interval_rows, open_rows, receipts, rot, segments
from cloud.open_rows import OpenRows
from cloud.rows import Gateway
from cloud.store import Store
from protocols.errors import ChainError, RottenError, TanmeterError
from protocols.record import enrolment
from protocols.record.answer import MOST_BLOCKS
from protocols.record.cose import Signer

UNREADABLE = (sqlite3.Error, RottenError, *rot.UNREADABLE)
"""What comes of reading rows back that have rotted, or of asking SQLite to."""
NAMES = {"device", "point", "points"}
"""Columns of keys that are texts."""
NEAR = 1e-9
"""What a sum of power may differ by, of itself: the order in which floats are added is another."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that are made of blocks: what tells one from another, and what of it is compared and put right."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    only: str = "1"

    @property
    def all(self) -> str:
        """Every column that is written."""
        return ", ".join((*self.key, *self.columns))


TABLES = (
    Table("unbooked", ("gateway",), ("epoch", "seq")),
    Table("undated", ("gateway", "epoch", "seq"), ("boot", "by_seq")),
    Table("events", ("gateway", "epoch", "seq", "number"), ("kind", "start", "end", "detail")),
    Table("doubts", ("gateway", "device", "point", "number"), ("position", "value", "at", "epoch", "seq")),
    Table("settings", ("gateway", "device", "point", "hour"), ("meter", "value", "at", "epoch", "seq")),
    Table(
        "latest",
        ("gateway", "device", "request", "points"),
        ("config_number", "at", "reply", "epoch", "seq", "ahead"),
        "ahead = 0",
    ),
    Table("power", ("gateway", "device", "point", "start"), ("total", "peak", "samples")),
    Table("closed_intervals", interval_rows.KEY, interval_rows.COLUMNS[len(interval_rows.KEY) : -1]),
)
BLOCKS = Table("blocks", ("gateway", "epoch", "seq"), ("utc_start", "utc_end", "config_number", "readings", "fault"))
HEAD = Table(
    "gateways",
    ("gateway",),
    (
        *("algorithm", "spki", "technician_algorithm", "technician_spki", "site", "custody"),
        *("epoch", "next_seq", "head", "boot", "mono", "config_number"),
        *("dated_epoch", "dated_boot", "dated_mono", "dated_utc", "block_start", "block_end"),
        *("blocks", "refused_blocks", "readings", "due", "asked", "answered", "silent", "damaged", "refused", "gaps"),
    ),
)


@dataclass(slots=True)
class Rebooked:
    """What became of a gateway: how many rows of each table were put right; ``why`` where it could not be booked."""

    gateway: str
    blocks: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    why: str = ""


def rebook(store: Store, gateway: Gateway, key: Signer, now: int) -> Rebooked:
    """Put right what is booked of one gateway. BusyError, unless ``store`` is served by nobody else: see above."""
    done = Rebooked(gateway.id.hex())
    path = store.path.with_name(f"{store.path.name}.rebooking")
    _remove(path)
    try:
        with Store(path, key) as made:
            try:
                done.blocks = _book(store, made, gateway)
            except TanmeterError as error:
                done.why = f"{error.code} {error}"
                return done
            with suppress(*UNREADABLE, TanmeterError):
                store.book(gateway.id)
            with made.booked() as fresh, store.writing() as db:
                _compare(db, fresh, gateway.id, done.rows)
                if done.rows:
                    told = ", ".join(f"{name} {count}" for name, count in done.rows.items())
                    place = (gateway.epoch, gateway.next_seq)
                    receipts.tell(db, gateway.id, "rebooked", place, f"rows put right: {told}", now=now)
    finally:
        _remove(path)
    return done


def put_arrivals_right(store: Store, copy: Path, chosen: str) -> int:
    """Put right when blocks came, by what the newest generation of a second copy says; of how many."""
    count, pile = 0, list[tuple[Any, ...]]()
    for record in segments.whole(segments.generations(copy)[-1]):
        if record.kind == segments.BLOCK and record.fields[0].hex().startswith(chosen.lower()):
            gateway, epoch, seq, at, _ = record.fields
            pile.append((at, gateway, epoch, seq))
        if len(pile) == rot.TOGETHER:
            count, pile = count + _put_arrivals_right(store, pile), []
    return count + _put_arrivals_right(store, pile)


def _put_arrivals_right(store: Store, pile: list[tuple[Any, ...]]) -> int:
    where = "received_at <> ? AND gateway = ? AND epoch = ? AND seq = ?"
    with store.reading() as db:
        query = f"SELECT 1 FROM blocks WHERE {where}"
        wrong = [row for row in pile if db.execute(query, row).fetchone() is not None]
    if wrong:
        with store.writing() as db:
            values = [(at, at, *place) for at, *place in wrong]
            db.executemany(f"UPDATE blocks SET received_at = ? WHERE {where}", values)
    return len(wrong)


def _book(store: Store, made: Store, gateway: Gateway) -> int:
    """Take everything of a gateway into an empty store; how many blocks. TanmeterError when one is not taken again."""
    with store.reading() as db, made.writing() as to:
        _take_over(db, to, gateway)
    count = 0
    for rows in rot.blocks_of(store, gateway.id):
        batches = []
        for at, group in groupby(rows, key=lambda row: row[3]):
            frames = [row[4] for row in group]
            batches += [(at, frames[first : first + MOST_BLOCKS]) for first in range(0, len(frames), MOST_BLOCKS)]
        made.retake(batches)
        with made.reading() as db:
            for epoch, seq, sha256, *_ in rows:
                query = "SELECT hash FROM blocks WHERE gateway = ? AND epoch = ? AND seq = ?"
                if db.execute(query, (gateway.id, epoch, seq)).fetchone() != (sha256,):
                    raise ChainError(f"block {epoch}/{seq}: found it refused, expected it to be taken again")
        count += len(rows)
    return count


def _take_over(db: sqlite3.Connection, to: sqlite3.Connection, gateway: Gateway) -> None:
    """What is not made of blocks: enrolment, configurations and profiles, receipts, those of collectors it had before,
    where the chain has gone on.
    """
    start = db.execute("SELECT epoch, seq, previous FROM starts WHERE gateway = ?", (gateway.id,)).fetchone()
    request = enrolment.open_enrolment(gateway.enrolment)
    enrolments.insert_gateway(to, request, gateway.enrolment, gateway.enrolled_at, start)
    own = "gateway = ?1"
    former = f"kind = '{receipts.BROUGHT}' AND id LIKE lower(hex(?1)) || '/%'"
    tables = {"configs": own, "receipts": own, "resumed": own, "journal": former, "profiles": "?1 = ?1"}
    for table, where in tables.items():
        rows = db.execute(f"SELECT * FROM {table} WHERE {where}", (gateway.id,))
        names = [column[0] for column in rows.description]
        marks = ", ".join("?" * len(names))
        to.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)


def _compare(db: sqlite3.Connection, fresh: sqlite3.Connection, gateway: bytes, done: dict[str, int]) -> None:
    """Write what differs into ``db``, and count it."""
    number = ingest_numbers.counted(db)
    for table in TABLES:
        for row in _wrong(db, fresh, table, gateway):
            values = row
            columns = table.all
            if table.name == "closed_intervals":
                number += 1
                values, columns = (*row, number), f"{columns}, ingest_seq"
            marks = ", ".join("?" * len(values))
            db.execute(f"INSERT OR REPLACE INTO {table.name} ({columns}) VALUES ({marks})", values)
            done[table.name] = done.get(table.name, 0) + 1
        if beyond := _drop_beyond(db, fresh, table, gateway):
            done[table.name] = done.get(table.name, 0) + beyond
    for table in (BLOCKS, HEAD):
        sets = ", ".join(f"{name} = ?" for name in table.columns)
        for row in _wrong(db, fresh, table, gateway):
            key, values = row[: len(table.key)], row[len(table.key) :]
            db.execute(f"UPDATE {table.name} SET {sets} WHERE {_where(table)}", (*values, *key))
            done[table.name] = done.get(table.name, 0) + 1
    number = _open(db, fresh, gateway, number, done)
    db.execute("UPDATE meta SET value = ? WHERE name = 'ingest_seq'", (number,))


def _wrong(
    db: sqlite3.Connection, fresh: sqlite3.Connection, table: Table, gateway: bytes
) -> Iterator[tuple[Any, ...]]:
    """The rows as they should be, of those that are kept otherwise or not at all."""
    query = f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE {_where(table)}"
    for row in fresh.execute(f"SELECT {table.all} FROM {table.name} WHERE gateway = ? AND {table.only}", (gateway,)):
        kept = db.execute(query, row[: len(table.key)]).fetchone()
        if kept is None or not _same(table, kept, row[len(table.key) :]):
            yield row


def _drop_beyond(db: sqlite3.Connection, fresh: sqlite3.Connection, table: Table, gateway: bytes) -> int:
    """Delete the rows that are kept and that no block has made; how many. A name that is no text any more is none of
    those that there are, but cannot be asked for.
    """
    own, count = f"FROM {table.name} WHERE gateway = ? AND {table.only}", 0
    for name in NAMES.intersection(table.key):
        known = [text for (text,) in fresh.execute(f"SELECT DISTINCT {name} {own}", (gateway,))]
        others = f"DELETE {own} AND {name} NOT IN ({', '.join('?' * len(known))})"
        count += db.execute(others, (gateway, *known)).rowcount
    query = f"SELECT 1 FROM {table.name} WHERE {_where(table)}"
    keys = db.execute(f"SELECT {', '.join(table.key)} {own}", (gateway,))
    beyond = [key for key in keys if fresh.execute(query, key).fetchone() is None]
    db.executemany(f"DELETE FROM {table.name} WHERE {_where(table)}", beyond)
    return count + len(beyond)


def _where(table: Table) -> str:
    return " AND ".join(f"{name} = ?" for name in table.key)


def _same(table: Table, kept: tuple[Any, ...], made: tuple[Any, ...]) -> bool:
    """Of a newest reply one ahead of the chain counts as well, of a fault its code, of power what is near."""
    if table.name == "latest":
        return bool(kept[-1]) or kept == made
    if table.name == "blocks":
        return (*kept[:-1], _code(kept[-1])) == (*made[:-1], _code(made[-1]))
    if table.name == "power":
        near = isinstance(kept[0], float) and abs(kept[0] - made[0]) <= NEAR * max(abs(kept[0]), abs(made[0]))
        return near and kept[1:] == made[1:]
    return kept == made


def _code(fault: str | None) -> str | None:
    return fault.partition(":")[0] if isinstance(fault, str) else fault


def _open(db: sqlite3.Connection, fresh: sqlite3.Connection, gateway: bytes, number: int, done: dict[str, int]) -> int:
    """The open intervals, all in one row; the newest ingest number. Where one differs, all count as changed."""
    made = [row.interval for row in open_rows.load(fresh, gateway)]
    try:
        kept = {interval_rows.columns(row.interval, 0) for row in open_rows.load(db, gateway)}
    except UNREADABLE:
        kept = set()
    if kept == {interval_rows.columns(interval, 0) for interval in made}:
        return number
    rows = OpenRows()
    for interval in made:
        number += 1
        rows.put(interval, number)
    rows.keep(db, gateway)
    done["open_intervals"] = max(1, len(made))
    return number


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm", ".lock"):
        path.with_name(path.name + end).unlink(missing_ok=True)
