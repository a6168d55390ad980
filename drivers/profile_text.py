"""A profile as its TOML file: one line a point, addresses as in a register map, nothing that only repeats a default."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from drivers.cell import HEXADECIMAL
from drivers.profile import Profile

TABLES = ("link", "identify")
"""Fields of a profile that are written as tables of their own, under the points."""


def text(profile: Profile) -> str:
    """The document that is read as this very profile."""
    head = [line for field, value in _filled(profile) if (line := _head(field, value))]
    tables = [_table(f"[{field}]", value) for field, value in _filled(profile) if field in TABLES]
    proofs = [_table("[[proof]]", proof) for proof in profile.proof]
    return "\n".join([f"# {profile.title.en}.", *head, "", "\n".join([*tables, *proofs])])


def _filled(struct: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    """The fields that say more than their default."""
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if field.required or value not in (field.default, {}):
            yield field.encode_name, value


def _head(field: str, value: Any) -> str:
    """One line of the document's head; nothing for what comes as a table."""
    if field in (*TABLES, "proof"):
        return ""
    if field in ("products", "points"):
        return f"{field} = [\n" + "".join(f"  {_value(held, field)},\n" for held in value) + "]"
    return f"{field} = {_value(value, field)}"


def _table(name: str, struct: msgspec.Struct) -> str:
    return f"{name}\n" + "".join(f"{field} = {_value(value, field)}\n" for field, value in _filled(struct))


def _value(value: Any, name: str) -> str:
    if isinstance(value, msgspec.Struct):
        return "{ " + ", ".join(f"{field} = {_value(held, field)}" for field, held in _filled(value)) + " }"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(held, name)}" for key, held in value.items()) + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_value(held, name) for held in value) + "]"
    return _quoted(value) if isinstance(value, str) else _scalar(value, name)


def _scalar(value: bool | int | Decimal, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"0x{value:04X}" if name in HEXADECIMAL else str(value)
    return f"{value:f}"


def _quoted(value: str) -> str:
    """A basic string of TOML: what JSON escapes, TOML escapes alike, and the delete character too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
