"""Accounting periods: a day, a month, a year or a span of whole days in a site's own time zone, half open."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from protocols.errors import PeriodError

DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
MONTH = re.compile("[0-9]{4}-[0-9]{2}")
YEAR = re.compile("[0-9]{4}")
LAST = date(9999, 1, 1)
"""Where the last period may end: the year behind any instant of it has to be in the calendar."""


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start`` up to, not including, ``end`` (UTC ms); both are midnights in ``zone``."""

    id: str
    start: int
    end: int
    zone: ZoneInfo

    def days(self) -> tuple[date, date]:
        """Its first day and the day after its last."""
        return day(self.start, self.zone), day(self.end, self.zone)

    def years(self) -> Iterator[tuple[int, int, int]]:
        """(calendar year, start, end) of each part that lies in one year of the zone."""
        start = self.start
        while start < self.end:
            year = _local(start, self.zone).year
            end = min(self.end, midnight(date(year + 1, 1, 1), self.zone))
            yield year, start, end
            start = end


@lru_cache(maxsize=4096)
def parse(text: str, zone: ZoneInfo) -> Period:
    """``2026-11-22``, ``2026-11``, ``2026`` or ``2026-12-15--2027-01-15`` (ISO 8601, end excluded); PeriodError."""
    try:
        first, last = _days(text)
        if first >= last or last > LAST:
            raise ValueError
        found = Period(text, midnight(first, zone), midnight(last, zone), zone)
        stamp(found.start, zone)  # east of Greenwich the calendar's first midnight lies before its first instant
        return found
    except (ValueError, OverflowError) as error:
        raise PeriodError(text) from error


def day_of(at_ms: int, zone: ZoneInfo) -> Period:
    """The business day that holds an instant (UTC ms)."""
    return parse(_local(at_ms, zone).date().isoformat(), zone)


def month_of(at_ms: int, zone: ZoneInfo) -> Period:
    """The month that holds an instant (UTC ms)."""
    return parse(_local(at_ms, zone).date().isoformat()[:7], zone)


@lru_cache(maxsize=4096)
def day(at_ms: int, zone: ZoneInfo) -> date:
    """The calendar day that an instant (UTC ms) lies in."""
    return _local(at_ms, zone).date()


@lru_cache(maxsize=4096)
def midnight(first: date, zone: ZoneInfo) -> int:
    """When a day begins (UTC ms)."""
    return int(datetime.combine(first, time(), zone).timestamp()) * 1000


@lru_cache(maxsize=4096)
def stamp(at_ms: int, zone: ZoneInfo) -> str:
    """An instant (UTC ms) as RFC 3339 with the zone's offset; milliseconds only where there are any."""
    moment = _local(at_ms, zone)
    return moment.isoformat(timespec="milliseconds" if at_ms % 1000 else "seconds")


def instant(text: str) -> int:
    """UTC ms of an RFC 3339 text with an offset; ValueError otherwise."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"found {text!r}, expected an instant with its offset")
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _days(text: str) -> tuple[date, date]:
    if DAY.fullmatch(text):
        return date.fromisoformat(text), date.fromisoformat(text) + timedelta(days=1)
    if MONTH.fullmatch(text):
        first = date.fromisoformat(text + "-01")
        return first, (first + timedelta(days=31)).replace(day=1)
    if YEAR.fullmatch(text):
        return date(int(text), 1, 1), date(int(text) + 1, 1, 1)
    first_text, _, last_text = text.partition("--")
    if not (DAY.fullmatch(first_text) and DAY.fullmatch(last_text)):
        raise ValueError
    return date.fromisoformat(first_text), date.fromisoformat(last_text)


def _local(at_ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, zone) + timedelta(milliseconds=at_ms % 1000)
