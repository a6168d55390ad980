"""Rows as the types that are declared for them: SQLite hands out in any column what a flipped byte has made of it."""

from collections.abc import Sequence
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from protocols.errors import RottenError

T = TypeVar("T")
TYPES: dict[type, tuple[type, ...]] = {
    int: (int,),
    float: (float,),
    bool: (int,),
    str: (str,),
    bytes: (bytes,),
    NoneType: (NoneType,),
}
"""What SQLite hands out for a field of a type."""
EMPTY: dict[type, Any] = {int: 0, float: 0.0, str: "", bytes: b"", NoneType: None}
"""What stands for a value that cannot be read, by what SQLite hands out."""
_declared = dict[type[Any], dict[str, tuple[type, ...]]]()
_sound = set[tuple[object, ...]]()
"""Kinds of row with the types of their columns, as they were found to be right: few, and told at once."""


def of(kind: type[T], row: Sequence[Any]) -> T:
    """The row; RottenError names what is of another type."""
    if wrong := _wrong(kind, row):
        told = ", ".join(
            [f"{name} {value!r:.40}" for name, value in zip(_fields(kind), row, strict=False) if name in wrong]
        )
        raise RottenError(f"{kind.__name__.lower()}: found {told}, expected what was kept")
    return kind(*row)


def near(kind: type[T], row: Sequence[Any]) -> tuple[T, tuple[str, ...]]:
    """The row with what is of another type left empty, and the names of that: for whoever shows many of them."""
    if not (wrong := _wrong(kind, row)):
        return kind(*row), ()
    pairs = zip(_fields(kind).items(), row, strict=False)
    return kind(*[EMPTY[types[-1]] if name in wrong else value for (name, types), value in pairs]), wrong


def _wrong(kind: type[T], row: Sequence[Any]) -> tuple[str, ...]:
    found = (kind, *map(type, row))
    if found in _sound:
        return ()
    pairs = zip(_fields(kind).items(), row, strict=False)
    wrong = tuple([name for (name, types), value in pairs if type(value) not in types])
    if not wrong:
        _sound.add(found)
    return wrong


def _fields(kind: type[Any]) -> dict[str, tuple[type, ...]]:
    """The fields of a kind of row in their order, each with the types that it may have."""
    if kind not in _declared:
        hints = get_type_hints(kind)
        _declared[kind] = {
            name: tuple([one for own in get_args(hint) or (hint,) for one in TYPES.get(own, ())])
            for name, hint in hints.items()
        }
    return _declared[kind]
