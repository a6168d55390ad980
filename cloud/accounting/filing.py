"""Which period a filing asks for on a day, and by when: as its subject file declares it, nothing else. Pure."""

import re
from collections.abc import Iterator
from datetime import date, timedelta

from cloud.accounting.subject import Filing
from protocols.errors import ConfigError

AFTER = re.compile(r"([1-9][0-9]{0,2})d")
DAY = re.compile(r"([0-9]{2})-([0-9]{2})")
COMMON_YEAR = 2025
"""A year without a 29th of February: that day is in no ``due``."""
BACK = {"day": 31, "month": 12, "year": 3}
"""How many periods back are looked at."""


def check(filing: Filing, where: str) -> None:
    """ConfigError unless ``due`` is a number of days, or of a year's filing a day that every year has."""
    if not filing.due or AFTER.fullmatch(filing.due):
        return
    if filing.every == "year" and (found := DAY.fullmatch(filing.due)):
        try:
            date(COMMON_YEAR, int(found[1]), int(found[2]))
        except ValueError:
            pass
        else:
            return
    expected = "days after the period like '40d'" + (", or a day like '03-31'" if filing.every == "year" else "")
    raise ConfigError(where, repr(filing.due), expected)


def periods(filing: Filing, today: date) -> Iterator[str]:
    """The ids of the periods over by ``today`` that it asks for, newest first, as far as anybody looks back."""
    end = _first(filing, today)
    for _ in range(BACK[filing.every]):
        start = _first(filing, end - timedelta(days=1))
        if start < filing.since:
            return
        if filing.until is None or end <= filing.until:
            yield _id(filing, start)
        end = start


def running(filing: Filing, today: date) -> str:
    """The id of the period that runs, "" where it is not asked for."""
    start = _first(filing, today)
    asked = start >= filing.since and (filing.until is None or _after(filing, start) <= filing.until)
    return _id(filing, start) if asked else ""


def due(filing: Filing, start: date) -> date | None:
    """By when the period that begins on this day is filed; None where it declares no day."""
    if found := AFTER.fullmatch(filing.due):
        return _after(filing, start) + timedelta(days=int(found[1]) - 1)
    if found := DAY.fullmatch(filing.due):
        return date(start.year + 1, int(found[1]), int(found[2]))
    return None


def _first(filing: Filing, day: date) -> date:
    match filing.every:
        case "day":
            return day
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)


def _after(filing: Filing, start: date) -> date:
    match filing.every:
        case "day":
            return start + timedelta(days=1)
        case "month":
            return (start + timedelta(days=31)).replace(day=1)
        case "year":
            return start.replace(year=start.year + 1)


def _id(filing: Filing, start: date) -> str:
    return start.isoformat()[: {"day": 10, "month": 7, "year": 4}[filing.every]]
