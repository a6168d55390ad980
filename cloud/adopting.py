"""Writes an adoption: the files it speaks of are those that are held here, named by their very bytes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from cloud.accounting import adoption
from cloud.accounting import method as methods
from cloud.accounting.library import Library
from protocols.errors import ConfigError, FactorError

METHOD = "method"
"""How an id begins that is a method's: ``method:ndrc-24-2015``, which has a parameter set of the same name."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is said, by whom, on which day: names that are confirmed, and NAME=ID for what is retired."""

    id: str
    by: str
    at: str
    document: str
    confirm: tuple[str, ...]
    retire: tuple[str, ...]


def write(library: Library, ids: Sequence[str], said: Said) -> bytes:
    """The adoption as a TOML file, each name under the file that has it; FactorError for what none of them has."""
    held = {name: _held(library, name) for name in ids}
    retired = dict(_pair(text) for text in said.retire)
    everywhere = frozenset().union(*(names for _, names in held.values())) | {adoption.ALL}
    if missing := [name for name in (*said.confirm, *retired) if name not in everywhere]:
        raise FactorError(
            f"adopt: found {missing[0]!r} in none of {', '.join(ids)}, expected a name that one of them has"
        )
    text = f"schema = 1\nadoption = {_text(said.id)}\nby = {_text(said.by)}\nat = {said.at}\n"
    for name, (sha256, names) in held.items():
        confirmed = [one for one in said.confirm if one == adoption.ALL or one in names]
        text += f"\n[[file]]\nid = {_text(name.removeprefix(f'{METHOD}:'))}\nsha256 = {_text(sha256)}\n"
        text += f"document = {_text(said.document)}\n"
        text += f"confirmed = [{', '.join(map(_text, confirmed))}]\n"
        for one in (one for one in retired if one in names):
            text += f"[[file.retired]]\nname = {_text(one)}\nreplaced_by = {_text(retired[one])}\n"
    source = text.encode()
    adoption.load(f"{said.id}.toml", source)
    return source


def _held(library: Library, name: str) -> tuple[str, frozenset[str]]:
    """Digest of a set, a file of grid factors or a method, and what may be said of in it; FactorError."""
    kind, colon, method_id = name.partition(":")
    if colon and kind == METHOD:
        method = methods.get(method_id)
        return method.sha256, frozenset((method.id, *method.rows))
    if name in library.sets:
        return library.sets[name].sha256, frozenset(library.sets[name].values)
    known = library.grid(name).factors if name in library.aside else library.factors.factors
    grid = [one for one in known if one.set == name]
    if not grid:
        raise FactorError(f"adopt: found no {name!r}, expected a set of `tanmeter factor list`, or {METHOD}:ID")
    return grid[0].sha256, frozenset(one.id for one in grid)


def _pair(text: str) -> tuple[str, str]:
    name, equals, instead = text.partition("=")
    if not (name and equals and instead):
        raise ConfigError("--retire", repr(text), "NAME=ID, what is retired and what stands in its place")
    return name, instead


def _text(value: str) -> str:
    """A TOML string: what JSON writes of it is one, too."""
    return json.dumps(value, ensure_ascii=False)
