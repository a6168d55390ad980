"""An interval as a row, and back: of ``closed_intervals``, or of the view that shows the open ones beside them."""

import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from cloud.intervals import Interval, Register
from cloud.rows import IntervalRow

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
    start, end, consumption = interval.register_start, interval.register_end, interval.consumption
    return (
        gateway,
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


def read(db: sqlite3.Connection, asked: Mapping[str, bytes | int | str], limit: int) -> list[IntervalRow]:
    """Closed intervals by ingest_seq, for which every condition holds."""
    rows = db.execute(
        f"{SELECT_CLOSED} WHERE {' AND '.join(asked)} ORDER BY ingest_seq LIMIT ?", (*asked.values(), limit)
    )
    return [row(found) for found in rows]


def row(columns: tuple[Any, ...]) -> IntervalRow:
    """The row that was read, in the order of COLUMNS."""
    gateway, device, point, start, end, unit, meter, closed = columns[:8]
    rolled, multiplier, consumption, readings, expected, quality, position, period_ms = columns[16:24]
    state, ignored, since, kind, covered_ms, integral, ingest_seq = columns[24:]
    interval = Interval(
        device,
        point,
        unit,
        meter,
        start,
        end,
        bool(closed),
        _register(columns[8:12]),
        _register(columns[12:16]),
        Decimal(rolled),
        Decimal(multiplier),
        None if consumption is None else Decimal(consumption),
        readings,
        expected,
        quality,
        position,
        period_ms,
        state,
        ignored,
        since,
        kind,
        covered_ms,
        Decimal(integral),
    )
    return IntervalRow(gateway, ingest_seq, interval)


def _register(columns: tuple[Any, ...]) -> Register:
    value, at, epoch, seq = columns
    return Register(Decimal(value), at, epoch, seq)


def _text(value: Decimal) -> str:
    """Digits and a point; an exponent, which only very large and very small numbers are shown with, is written out."""
    shown = str(value)
    return shown if "E" not in shown else format(value, "f")
