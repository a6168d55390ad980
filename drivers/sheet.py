"""A profile as the sheets that a technician fills in: one row a point, one row a proof, the rest as key and value.

``tables`` and ``profile`` undo each other. What does not fit is named by sheet, row and column, with what was found and
what was expected; rows and columns count from 1, as in a spreadsheet.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from drivers import cell, profile_checks, toml
from drivers.profile import Link, Point, Profile, Proof
from protocols.errors import ConfigError

POINTS, MODEL, PROOF = "points", "model", "proof"
KEY, VALUE = "key", "value"
REQUEST = "request"
"""What may be empty in a proof: a data logger speaks unasked."""
FREE = ("period", "link", "identify", "options")
"""What a model need not say."""
FIRST = 2
"""The row of the first entry: the first row holds the headings."""


@dataclass(frozen=True, slots=True)
class Table:
    """One sheet: its name, the keys of its columns (empty: not ours), its rows as text.

    ``numbers``: the row of the file that each is in; without, they follow the headings. ``title``: what the file says.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()
    title: str = ""

    def place(self, row: int, column: str) -> str:
        """Where an entry is, in words; ``row`` counts the entries from 0."""
        number = self.columns.index(column) if column in self.columns else None
        letter = f", column {letters(number)} ({column})" if number is not None else f" ({column})" if column else ""
        return f"sheet {self.title or self.name}, row {self.numbers[row] if self.numbers else row + FIRST}{letter}"


def tables(profile: Profile) -> tuple[Table, Table, Table]:
    """The sheets of a profile: points, model, proof."""
    rest = dict(_flat(profile, skip=("points", "proof")))
    model = Table(MODEL, (KEY, VALUE), tuple(rest.items()))
    return _listed(POINTS, profile.points, Point), model, _listed(PROOF, profile.proof, Proof)


def columns(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """The keys of every column that an entry of this kind may fill, in the order of its fields."""
    return tuple(_fields(kind))


def hint(kind: type[msgspec.Struct], key: str) -> Any:
    """The type of the field in a column; KeyError when there is none."""
    return _fields(kind)[key]


def model_hint(key: str) -> Any:
    """The type of a value of the model's data, by its key; KeyError when there is none."""
    return _hint(Profile, _path(key))


def unfilled(table: Table) -> Iterator[tuple[str, str]]:
    """The keys of the model's data that a sheet does not hold, each with what holds without it."""
    held = {row[0] for row in table.rows}
    defaults = {f"link.{field.encode_name}": field.default for field in msgspec.structs.fields(Link)}
    defaults |= {
        field.encode_name: field.default for field in msgspec.structs.fields(Profile) if field.name == "period"
    }
    for key, _ in _keys(Profile):
        if key not in held and key.partition(".")[0] in FREE:
            yield key, cell.write(defaults.get(key, ""), key.removeprefix("link."))


def profile(given: Sequence[Table], file: str) -> Profile:
    """The profile in these sheets, not yet proved; ConfigError names sheet, row and column."""
    by_name = {table.name: table for table in given}
    points = by_name.get(POINTS)
    if points is None:
        raise ConfigError(file, "no sheet points", f"a sheet {POINTS} with one row a point")
    model = by_name.get(MODEL, Table(MODEL, (KEY, VALUE), ()))
    built = _model(model, file) | {POINTS: _entries(points, Point, file)}
    if PROOF in by_name:
        built[PROOF] = _entries(by_name[PROOF], Proof, file)
    return _checked(built, by_name, file)


def letters(number: int) -> str:
    """The letters of a spreadsheet's column, the first being 0: A, B ... Z, AA."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def _listed(name: str, entries: Sequence[msgspec.Struct], kind: type[msgspec.Struct]) -> Table:
    """A sheet of these entries, with the columns that one of them fills."""
    filled = [dict(_flat(entry)) for entry in entries]
    used = tuple(key for key in columns(kind) if any(key in row for row in filled))
    return Table(name, used, tuple(tuple(row.get(key, "") for key in used) for row in filled))


def _flat(struct: msgspec.Struct, prefix: str = "", skip: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every field that says more than its default, as dotted key and text."""
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if field.name in skip or (not field.required and value == field.default):
            continue
        name = prefix + field.encode_name
        if isinstance(value, msgspec.Struct):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
            for index, held in enumerate(value):
                yield from _flat(held, f"{name}[{index}].")
        elif value != ():
            yield name, cell.write(value, field.name)


@cache
def _fields(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    """The type of every field of a kind that takes one cell, by dotted key."""
    return dict(_leaves(kind))


def _leaves(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a kind that takes one cell, as dotted key and type."""
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        inner = cell.plain(hints[field.name])
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from _leaves(inner, f"{prefix}{field.encode_name}.")
        else:
            yield prefix + field.encode_name, hints[field.name]


def _entries(table: Table, kind: type[msgspec.Struct], file: str) -> list[dict[str, Any]]:
    """The filled rows of a sheet as tables of values."""
    known = _fields(kind)
    for number, column in enumerate(table.columns):
        if column and column not in known:
            where = f"{file}: sheet {table.title or table.name}, column {letters(number)}"
            raise ConfigError(where, repr(column), toml.one_of(list(known), column))
    return [_entry(table, row, known, file) for row in range(len(table.rows))]


def _entry(table: Table, row: int, known: Mapping[str, Any], file: str) -> dict[str, Any]:
    built: dict[str, Any] = {REQUEST: ""} if REQUEST in table.columns else {}
    for column, text in zip(table.columns, table.rows[row], strict=False):
        if not column or not text.strip():
            continue
        try:
            value = cell.read(text.strip(), known[column])
        except ValueError as error:
            raise ConfigError(f"{file}: {table.place(row, column)}", repr(text), str(error)) from error
        _put(built, column.split("."), value)
    return built


def _model(table: Table, file: str) -> dict[str, Any]:
    """The model's data as tables of values, from rows of key and value."""
    built: dict[str, Any] = {"schema": 1, "products": [], PROOF: []}
    for row, (key, *rest) in enumerate(table.rows):
        text = rest[0].strip() if rest else ""
        if not key.strip() or (not text and not key.strip().endswith(f".{REQUEST}")):
            continue
        place = f"{file}: {table.place(row, VALUE)}"
        path = _path(key.strip())
        try:
            _put(built, path, cell.read(text, _hint(Profile, path)))
        except LookupError as error:
            known = sorted({name for name, _ in _keys(Profile)})
            raise ConfigError(f"{file}: {table.place(row, KEY)}", repr(key), toml.one_of(known, key)) from error
        except ValueError as error:
            raise ConfigError(place, repr(text), str(error)) from error
    return {key: _lists(value) for key, value in built.items()}


def _path(key: str) -> list[str]:
    """``products[0].brand`` as its steps."""
    return re.sub(r"\[(\d+)\]", r".\1", key).split(".")


def _lists(value: Any) -> Any:
    """Tables whose keys are numbers, as lists in that order."""
    if not isinstance(value, dict):
        return value
    if value and all(isinstance(key, int) for key in value):
        return [_lists(value[key]) for key in sorted(value)]
    return {key: _lists(held) for key, held in value.items()}


def _hint(kind: Any, path: Sequence[str]) -> Any:
    """The type of what lies at a path of names and numbers; KeyError when there is none."""
    for step in path:
        inner = cell.plain(kind)
        if step.isdigit():
            kind = get_args(inner)[0]
        elif isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            names = {field.encode_name: field.name for field in msgspec.structs.fields(inner)}
            kind = get_type_hints(inner, include_extras=True)[names[step]]
        else:
            raise KeyError(step)
    if isinstance(cell.plain(kind), type) and issubclass(cell.plain(kind), msgspec.Struct):
        raise KeyError(path[-1])
    return kind


def _keys(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys that the model sheet may hold, lists by their first entry."""
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        inner = cell.plain(hints[field.name])
        listed = cell.plain(get_args(inner)[0]) if get_origin(inner) is tuple else None
        name = prefix + field.encode_name
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from _keys(inner, f"{name}.")
        elif isinstance(listed, type) and issubclass(listed, msgspec.Struct):
            if name not in (POINTS, PROOF):
                yield from _keys(listed, f"{name}[0].")
        else:
            yield name, inner


def _put(built: dict[Any, Any], path: Sequence[str], value: Any) -> None:
    *above, last = path
    for step in above:
        held = built.setdefault(int(step) if step.isdigit() else step, {})
        if not isinstance(held, dict):
            held = built[step] = {}
        built = held
    built[last] = value


def _checked(built: dict[str, Any], by_name: Mapping[str, Table], file: str) -> Profile:
    """The profile, or the first thing that does not fit, told by the place in the sheets."""
    unproved = not built[PROOF]
    if unproved:
        built = built | {PROOF: [{"request": "", "response": "", "expect": {}}]}
    try:
        found = toml.convert(built, Profile, file)
        profile_checks.check(found, file)
    except ConfigError as error:
        raise ConfigError(_located(error.path, by_name, file), error.found, error.expected) from error
    return msgspec.structs.replace(found, proof=()) if unproved else found


def _located(path: str, by_name: Mapping[str, Table], file: str) -> str:
    """``FILE: points[3].scale`` as sheet, row and column."""
    match = re.fullmatch(r"(points|proof)\[(\d+)\](?:\.([\w.]+).*)?", path.removeprefix(f"{file}: "))
    if match is not None and match[1] in by_name:
        return f"{file}: {by_name[match[1]].place(int(match[2]), match[3] or '')}"
    model = by_name.get(MODEL)
    key = path.removeprefix(f"{file}: ")
    for row, entry in enumerate(model.rows if model is not None else ()):
        if entry[0].strip() == key and model is not None:
            return f"{file}: {model.place(row, VALUE)}"
    return f"{file}: sheet {MODEL} ({key})"
