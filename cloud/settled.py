"""What the closers remember of sites and of subjects, and how the file holds it over a restart.

It is no part of the record: one row of each, which may be missing. It lies in the file itself, so that it goes back
with it to an older backup. Whatever is not whole, not of this form, or of other rules, counts as nothing.
"""

import hashlib
import sqlite3
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from cloud.changes import Seen


class Settled(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """When a site must be looked at again, instants in UTC ms: at ``until``; when its gateways stand otherwise than in
    ``shape``; when they have delivered up to ``delivered``, or those that are expected to up to ``expected``; when an
    interval changes that begins before ``before``. Versions of periods that end by ``examined`` held at this look.
    """

    shape: tuple[int, int, int, int]
    until: int
    delivered: int
    expected: int
    before: int
    examined: int


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is settled of each site, of what had come by ``seen``. ``rules``: under which it was found to be."""

    rules: str
    seen: Seen
    settled: Mapping[str, Settled]


class Subjects(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a closer of accounts remembers of the subjects (ids), of what had come by ``seen`` and up to ``entry`` of
    the journal, under ``rules``. All are to be looked at from ``until`` on (UTC ms), those that are ``metered`` when an
    interval changes that begins before ``before`` at one of the places that are kept of each (``metering.places``). Of
    the ``failing`` an account could not be drawn up; those that were ``waiting`` had not been looked at.
    """

    rules: str
    seen: Seen
    entry: int
    until: int
    before: int
    metered: Mapping[str, frozenset[str]]
    failing: frozenset[str]
    waiting: frozenset[str]


_TABLES: Mapping[type, str] = {Memory: "settled", Subjects: "settled_accounts"}
_Kept = TypeVar("_Kept", Memory, Subjects)


def keep(db: sqlite3.Connection, memory: Memory | Subjects) -> None:
    """Write it down in place of what was."""
    text = msgspec.json.encode(memory)
    table = _TABLES[type(memory)]
    db.execute(f"INSERT OR REPLACE INTO {table} VALUES (1, ?, ?)", (hashlib.sha256(text).digest(), text))


def load(db: sqlite3.Connection, kind: type[_Kept], rules: str) -> _Kept | None:
    """What was written down under these rules; None where there is nothing that can be relied on."""
    for sha256, text in db.execute(f"SELECT CAST(sha256 AS BLOB), CAST(memory AS BLOB) FROM {_TABLES[kind]}"):
        if hashlib.sha256(text).digest() == sha256 and (memory := _decoded(text, kind)) is not None:
            return memory if memory.rules == rules else None
    return None


def _decoded(text: bytes, kind: type[_Kept]) -> _Kept | None:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError:
        return None
