"""The shape a decoded item must have: each function returns it typed, or raises EncodingError with what was found."""

from typing import Any

from protocols.errors import EncodingError

HIGHEST = (1 << 63) - 1
"""The largest integer of a record: what a database and every language can hold."""
LAST_UTC_MS = 253_402_300_799_999
"""The end of the year 9999."""
_INTEGERS = {int}


def fields(value: Any, count: int, what: str) -> list[Any]:
    """The values of a map whose keys are exactly the integers 0..count-1, in rising order."""
    if type(value) is not dict or list(value) != list(range(count)) or set(map(type, value)) != _INTEGERS:
        found = f"keys {list(value)}" if type(value) is dict else _kind(value)
        raise EncodingError(f"{what}: found {found}, expected a map with the keys 0..{count - 1}")
    return list(value.values())


def array(value: Any, what: str, count: int | None = None) -> list[Any]:
    """An array, of exactly ``count`` items when that is given."""
    if type(value) is not list or (count is not None and len(value) != count):
        found = f"{len(value)} items" if type(value) is list else _kind(value)
        raise EncodingError(f"{what}: found {found}, expected an array" + (f" of {count}" if count is not None else ""))
    return value


def integer(value: Any, what: str) -> int:
    """An integer of either sign that fits 64 bits with its sign."""
    if type(value) is not int or not -HIGHEST - 1 <= value <= HIGHEST:
        raise EncodingError(f"{what}: found {_number(value)}, expected an integer of 64 bits with its sign")
    return value


def integers(value: Any, what: str) -> list[int]:
    """An array of integers of either sign that fit 64 bits with their sign."""
    items = array(value, what)
    if items and (set(map(type, items)) != _INTEGERS or min(items) < -HIGHEST - 1 or max(items) > HIGHEST):
        for item in items:
            integer(item, what)
    return items


def unsigned(value: Any, what: str, most: int = HIGHEST) -> int:
    """An integer from 0 to ``most``, by default what fits 64 bits with a sign."""
    if type(value) is not int or not 0 <= value <= most:
        raise EncodingError(f"{what}: found {_number(value)}, expected an integer from 0 to {most}")
    return value


def instant(value: Any, what: str) -> int:
    """UTC ms in the years 1970 to 9999."""
    return unsigned(value, what, LAST_UTC_MS)


def octets(value: Any, what: str, size: int | None = None) -> bytes:
    """A byte string, of exactly ``size`` bytes when that is given."""
    if type(value) is not bytes or (size is not None and len(value) != size):
        found = f"{len(value)} bytes" if type(value) is bytes else _kind(value)
        raise EncodingError(f"{what}: found {found}, expected " + (f"{size} bytes" if size is not None else "bytes"))
    return value


def text(value: Any, what: str) -> str:
    """A text."""
    if type(value) is not str:
        raise EncodingError(f"{what}: found {_kind(value)}, expected a text")
    return value


def version(value: Any, what: str) -> None:
    """The version number 1, the only one there is."""
    if value != 1 or type(value) is not int:
        raise EncodingError(f"{what}: found version {value!r}, expected 1")


def _number(value: Any) -> str:
    return str(value) if type(value) is int else _kind(value)


def _kind(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {str(value)[:40]}"
