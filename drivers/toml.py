"""TOML into a typed struct; what does not fit is named by its path, with what was found and what was expected."""

import difflib
import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from protocols.errors import ConfigError

MOST_DOTS = 1000
"""Points in a line: a key of many parts costs their square."""
T = TypeVar("T", bound=msgspec.Struct)


def load(source: bytes, kind: type[T], name: str) -> T:
    """The struct written in ``source``; ConfigError names the place in ``name`` that does not fit."""
    return convert(parse(source, name), kind, name)


def parse(source: bytes, name: str) -> dict[str, Any]:
    """The tables of a TOML document, numbers with a point as Decimal; ConfigError with line and column."""
    try:
        if any(line.count(b".") > MOST_DOTS for line in source.splitlines()):
            raise ConfigError(name, f"a line with more than {MOST_DOTS} points", "keys of a few parts")
        return tomllib.loads(source.decode("utf-8"), parse_float=Decimal)
    except UnicodeDecodeError as error:
        raise ConfigError(name, f"byte {error.start} that is not UTF-8", "a UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, str(error), "TOML") from error
    except RecursionError as error:
        raise ConfigError(name, "tables nested without end", "a few levels") from error


def convert(tables: Any, kind: type[T], name: str) -> T:
    """Tables as the struct; ConfigError says which key, with a guess when it is only misspelt."""
    try:
        return msgspec.convert(tables, kind, strict=True, str_keys=False)
    except msgspec.ValidationError as error:
        raise _explain(str(error), tables, kind, name) from error


def _explain(message: str, tables: Any, kind: type[msgspec.Struct], name: str) -> ConfigError:
    text, _, path = message.partition(" - at `")
    place = path.rstrip("`").removeprefix("$").removeprefix(".")
    where = f"{name}: {place}" if place else name
    if match := re.search(r"unknown field `([^`]*)`", text):
        known = _fields_at(kind, place)
        return ConfigError(
            f"{where}.{match[1]}" if place else f"{name}: {match[1]}", "an unknown key", one_of(known, match[1])
        )
    if match := re.search(r"missing required field `([^`]*)`", text):
        return ConfigError(where, f"no key {match[1]!r}", f"the key {match[1]!r}")
    if match := re.fullmatch(r"Expected `(.*)`, got `(.*)`", text):
        found = _at(tables, place)
        return ConfigError(where, f"{match[2]} {found!r}" if found is not None else match[2], match[1])
    found = _at(tables, place)
    if match := re.fullmatch(r"Expected `array` of length (>=|<=) ([0-9]+)", text):
        bound = "at least" if match[1] == ">=" else "at most"
        return ConfigError(where, f"{len(found)} entries", f"{bound} {match[2]}")
    if text.startswith("Invalid enum value"):
        return ConfigError(where, repr(found), one_of([str(value) for value in _values_at(kind, place)], str(found)))
    return ConfigError(where, repr(found), text.removeprefix("Expected ").replace("`", ""))


def one_of(known: list[str], found: str) -> str:
    """What was expected among these; a guess when it is only misspelt."""
    near = difflib.get_close_matches(found, known, n=1)
    return f"{near[0]} (did you mean {near[0]!r}?)" if near else "one of " + ", ".join(known)


def _steps(place: str) -> list[str]:
    return [step for step in re.split(r"[.\[\]]+", place) if step]


def _at(tables: Any, place: str) -> Any:
    """The value at a path like ``device[2].address``, None when it cannot be walked."""
    for step in _steps(place):
        try:
            tables = tables[int(step)] if step.isdigit() else tables[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return tables


def _fields_at(kind: Any, place: str) -> list[str]:
    """The keys that the struct at this path knows."""
    return [field.encode_name for field in msgspec.structs.fields(_struct_in(_hint_at(kind, place)))]


def _values_at(kind: Any, place: str) -> list[Any]:
    """The values that the field at this path may have."""
    return list(_literals(_hint_at(kind, place)))


def _hint_at(kind: Any, place: str) -> Any:
    """The type of what lies at this path."""
    hint = kind
    for step in _steps(place):
        if step.isdigit() or step == "...":
            continue
        struct = _struct_in(hint)
        names = {field.encode_name: field.name for field in msgspec.structs.fields(struct)}
        hint = get_type_hints(struct, include_extras=True)[names[step]]
    return hint


def _literals(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    else:
        for part in get_args(hint):
            yield from _literals(part)


def _struct_in(hint: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    return next((found for part in get_args(hint) if (found := _struct_in(part)) is not None), None)
