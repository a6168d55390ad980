"""The text of one cell of a sheet and the value that a field holds: both ways, guided by the field's type."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

HEXADECIMAL = ("address", "bad", "expect", "readable", "forbidden")
"""Fields whose numbers are written as in a register map: 0x0061."""
OPTIONS = ("options", "device")
"""Fields of a protocol's own, whose values are texts, numbers, yes and no, and tables of these: ``units.B02=m3/h``."""
YES, NO = ("yes", "true", "1", "是", "y"), ("no", "false", "0", "否", "n")
GAP = re.compile(r"[\s,;，；、]+")
OPTION = re.compile(r'[\s,;，；、]*([^\s=,;，；、"]+)=("[^"]*"|[^\s,;，；、"]+)[\s,;，；、]*')
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def write(value: Any, name: str = "") -> str:
    """The text that ``read`` turns back into this value; ``name`` is the field's."""
    if isinstance(value, bool):
        return YES[0] if value else NO[0]
    if isinstance(value, int):
        return f"0x{value:04X}" if name in HEXADECIMAL else str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return " ".join(_pair_texts(value, name))
    if isinstance(value, tuple | list):
        return " ".join(_bounds(held, name) for held in value)
    return str(value)


def read(text: str, hint: Any) -> Any:
    """The value of a cell for a field of this type; ValueError says what was expected."""
    kind = plain(hint)
    origin = get_origin(kind)
    if origin is Literal:
        return _choice(text, kind)
    if origin is dict:
        inner = get_args(kind)[1]
        return _table(text) if inner is Any else dict(_pairs(text, inner))
    if origin is tuple:
        return _several(text, get_args(kind))
    return _scalar(text, kind)


def plain(hint: Any) -> Any:
    """A type without its annotations and without ``| None``."""
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
        return plain(hint)
    return hint


def choices(hint: Any) -> tuple[str, ...]:
    """What a drop-down of this field offers; empty when it takes any text."""
    kind = plain(hint)
    if get_origin(kind) is Literal:
        return tuple(str(value) for value in get_args(kind))
    return (YES[0], NO[0]) if kind is bool else ()


def _bounds(value: Any, name: str) -> str:
    if isinstance(value, tuple | list):
        first, last = value
        return f"{write(first, name)}..{write(last, name)}"
    return write(value, name)


def _pair_texts(value: Mapping[str, Any], name: str) -> Iterator[str]:
    if name in OPTIONS:
        return (f"{key}={_quoted(held)}" for key, held in _options(value))
    return (f"{key}={_bounds(held, name)}" for key, held in value.items())


def _options(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What a table of options holds, by dotted name."""
    for key, held in value.items():
        if isinstance(held, Mapping):
            yield from _options(held, f"{prefix}{key}.")
        else:
            yield prefix + key, held


def _quoted(value: Any) -> str:
    """One option: what is a text although it does not look like one stands in quotes."""
    if isinstance(value, str) and (not value or GAP.search(value) or not isinstance(_unquoted(value), str)):
        return f'"{value}"'
    return write(value)


def _unquoted(text: str) -> Any:
    if text in (YES[0], NO[0]):
        return text == YES[0]
    if NUMBER.fullmatch(text):
        return Decimal(text) if "." in text else int(text)
    return text.strip('"')


def _table(text: str) -> dict[str, Any]:
    """The table of options that a cell holds."""
    built: dict[str, Any] = {}
    at = 0
    while at < len(text):
        match = OPTION.match(text, at)
        if match is None:
            raise ValueError("name=value, separated by blanks")
        *above, last = match[1].split(".")
        held = built
        for step in above:
            held = held.setdefault(step, {})
            if not isinstance(held, dict):
                raise ValueError(f"{step} to be a value or a table, not both")
        held[last] = _unquoted(match[2])
        at = match.end()
    return built


def _choice(text: str, kind: Any) -> Any:
    known = get_args(kind)
    for value in known:
        if str(value) == text or (isinstance(value, int) and text == f"{value}.0"):
            return value
    raise ValueError("one of " + ", ".join(str(value) for value in known))


def _pairs(text: str, kind: Any) -> Iterator[tuple[str, Any]]:
    for part in filter(None, GAP.split(text)):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise ValueError("name=value, separated by blanks")
        yield key, _bound_pair(value) if get_origin(kind) is tuple else value


def _several(text: str, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """A tuple of any length: its entries are separated by blanks or commas."""
    inner = plain(parts[0])
    tokens = list(filter(None, GAP.split(text)))
    if get_origin(inner) is tuple:
        return tuple(_register_pair(token) for token in tokens)
    return tuple(_scalar(token, inner) for token in tokens)


def _bound_pair(text: str) -> tuple[Decimal, Decimal]:
    low, dots, high = text.partition("..")
    if not dots:
        raise ValueError("two numbers, like 45..65")
    return _decimal(low), _decimal(high)


def _register_pair(text: str) -> tuple[int, int]:
    first, dots, last = text.partition("..")
    if not dots:
        first, _, last = text.partition("-")
    return _integer(first), _integer(last or first)


def _scalar(text: str, kind: Any) -> Any:
    if kind is bool:
        return _truth(text)
    if kind is int:
        return _integer(text)
    if kind is Decimal:
        return _decimal(text)
    return text


def _truth(text: str) -> bool:
    if text.lower() in YES:
        return True
    if text.lower() in NO:
        return False
    raise ValueError("yes or no")


def _integer(text: str) -> int:
    match = re.fullmatch(r"(-?[0-9]+)(?:\.0+)?|0[xX]([0-9a-fA-F]+)|([0-9a-fA-F]+)[hH]", text.strip())
    if match is None:
        raise ValueError("a whole number, like 97, 0x0061 or 61H")
    return int(match[1]) if match[1] else int(match[2] or match[3], 16)


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError("a number, like 0.01") from error
    if not value.is_finite():
        raise ValueError("a finite number, like 0.01")
    return value
