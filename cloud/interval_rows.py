"""An interval as a row, and back: of ``closed_intervals``, or of the view that shows the open ones beside them."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from math import gcd
from typing import Any

from cloud.database import octets
from cloud.intervals import ZERO, Interval, Register
from cloud.rot import UNREADABLE
from cloud.rows import IntervalRow, Unread
from protocols.errors import RottenError

KEY = ("gateway", "device", "point", "start")
COLUMNS = (
    *KEY,
    *("end", "unit", "meter", "closed"),
    *("start_value", "start_at", "start_epoch", "start_seq"),
    *("end_value", "end_at", "end_epoch", "end_seq"),
    *("rolled", "multiplier", "consumption", "readings", "expected", "quality", "position", "period_ms"),
    *("state", "ignored", "since", "kind", "covered_ms", "integral", "ingest_seq"),
)
SELECT = f"SELECT {', '.join(COLUMNS)} FROM intervals"
SELECT_SERIES = f"SELECT {', '.join(COLUMNS[3:-1])} FROM closed_intervals"
"""For the closed intervals of one counter or rate, without what is the same in all of them."""
SELECT_CLOSED = f"SELECT {', '.join(COLUMNS)} FROM closed_intervals"
SELECT_OPEN = (
    "SELECT o.gateway, "
    + ", ".join([f"json_extract(one.value, '$[{place}]') AS {name}" for place, name in enumerate(COLUMNS[1:])])
    + " FROM open_intervals AS o, json_each(o.rows) AS one"
)
UPSERT = (
    f"INSERT INTO closed_intervals ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    f" ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in KEY)
)


def values(gateway: bytes, interval: Interval, ingest_seq: int) -> tuple[Any, ...]:
    """The row to write."""
    return (gateway, *columns(interval, ingest_seq))


def columns(interval: Interval, ingest_seq: int) -> tuple[Any, ...]:
    """The row to write but for the gateway."""
    start, end, consumption = interval.register_start, interval.register_end, interval.consumption
    return (
        interval.device,
        interval.point,
        interval.start,
        interval.end,
        interval.unit,
        interval.meter,
        interval.closed,
        _text(start.value),
        start.at,
        start.epoch,
        start.seq,
        _text(end.value),
        end.at,
        end.epoch,
        end.seq,
        _text(interval.rolled),
        _text(interval.multiplier),
        None if consumption is None else _text(consumption),
        interval.readings,
        interval.expected,
        interval.quality,
        interval.position,
        interval.period_ms,
        interval.state,
        interval.ignored,
        interval.since,
        interval.kind,
        interval.covered_ms,
        _text(interval.integral),
        ingest_seq,
    )


def read(db: sqlite3.Connection, asked: Mapping[str, bytes | int | str], limit: int) -> list[IntervalRow | Unread]:
    """Closed intervals by ingest_seq, for which every condition holds."""
    rows = db.execute(
        f"{SELECT_CLOSED} WHERE {' AND '.join(asked)} ORDER BY ingest_seq LIMIT ?", (*asked.values(), limit)
    )
    return [_row(found) for found in rows]


def sound(rows: Iterable[IntervalRow | Unread]) -> list[IntervalRow]:
    """The same where all can be read; RottenError."""
    found = list[IntervalRow]()
    for one in rows:
        if isinstance(one, Unread):
            detail = f"found intervals that cannot be read ({one.why}), expected what was booked"
            raise RottenError(f"gateway {one.gateway.hex()}: {detail}")
        found.append(one)
    return found


def _row(columns: tuple[Any, ...]) -> IntervalRow | Unread:
    try:
        return row(columns)
    except UNREADABLE as error:
        return Unread(octets(columns[0]), columns[-1], str(error))


def row(columns: tuple[Any, ...]) -> IntervalRow:
    """The row that was read, in the order of COLUMNS; UNREADABLE where it has rotted."""
    if not isinstance(columns[0], bytes):
        raise TypeError(f"found the gateway {columns[0]!r}, expected its id")
    [interval] = series(columns[1], columns[2], [columns[3:-1]])
    return IntervalRow(columns[0], columns[-1], interval)


def series(device: str, point: str, rows: Iterable[tuple[Any, ...]]) -> Iterator[Interval]:
    """The intervals in rows of SELECT_SERIES. What one has in common with the one before it, they share.

    ArithmeticError, TypeError, ValueError for a row that has rotted.
    """
    held, known = Register(ZERO, 0, 0, 0), ""
    texts: tuple[Any, ...] = ("",) * 5
    shown: tuple[str, ...] = ("0",) * 3
    numbers = (ZERO,) * 3
    # fmt: off
    for (
        start, end, unit, meter, closed,
        start_value, start_at, start_epoch, start_seq, end_value, end_at, end_epoch, end_seq,
        rolled, multiplier, consumption, readings, expected, quality, position, period_ms,
        state, ignored, since, kind, covered_ms, integral,
    ) in rows:
        if start_value == known and (start_at, start_epoch, start_seq) == (held.at, held.epoch, held.seq):
            first = held
        else:
            first = Register(Decimal(start_value), start_at, start_epoch, start_seq)
        held, known = Register(Decimal(end_value), end_at, end_epoch, end_seq), end_value
        if (unit, meter, quality, state, kind) != texts:
            texts = unit, meter, quality, state, kind
            "".join(texts)  # TypeError for what is no text any more
        if (rolled, multiplier, integral) != shown:
            shown = rolled, multiplier, integral
            numbers = Decimal(rolled), Decimal(multiplier), Decimal(integral)
        gcd(  # the quickest way to ask of all at once whether they are whole numbers: after a 1 it does nothing else
            closed, start, end, start_at, start_epoch, start_seq, end_at, end_epoch, end_seq,
            readings, expected, position, period_ms, ignored, since, covered_ms,
        )
        yield Interval(
            device, point, texts[0], texts[1], start, end, bool(closed), first, held, numbers[0], numbers[1],
            None if consumption is None else Decimal(consumption),
            readings, expected, texts[2], position, period_ms, texts[3], ignored, since, texts[4],
            covered_ms, numbers[2],
        )
    # fmt: on


def read_series(
    db: sqlite3.Connection, device: str, point: str, asked: Mapping[str, bytes | int | str]
) -> list[Interval]:
    """The closed intervals of one counter or rate for which every condition holds, by start.

    SQLite's own way to a text takes half the time of ours, which comes past one that has rotted.
    """
    query, given = f"{SELECT_SERIES} WHERE {' AND '.join(asked)} ORDER BY start", tuple(asked.values())
    ours, db.text_factory = db.text_factory, str
    try:
        return list(series(device, point, db.execute(query, given)))
    except sqlite3.OperationalError:
        db.text_factory = ours
        return list(series(device, point, db.execute(query, given)))
    finally:
        db.text_factory = ours


def _text(value: Decimal) -> str:
    """Digits and a point; an exponent, which only very large and very small numbers are shown with, is written out."""
    if value is ZERO:
        return "0"
    shown = str(value)
    return shown if "E" not in shown else format(value, "f")
