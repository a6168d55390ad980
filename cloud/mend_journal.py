"""What has rotted in the journal, each entry as ``journal_check`` finds it, or another than a second copy holds.

It is put back out of that copy, beside a running collector or not.
"""

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import astuple
from pathlib import Path

from cloud import segments
from cloud.copied import Kind
from cloud.journal import COLUMNS
from cloud.journal_check import CHECKS, fault
from cloud.rows import JournalRow
from cloud.store import Store

NAMES = {
    "file": "subject file",
    "check": "cross-checks",
    "activity": "activity file",
    "contents": "signed contents",
    "former": "former collector",
    "receipt": "receipt of a former collector",
}
"""What a kind is called where that is not the word for it."""
ONCE = ("file", "activity", "bundle", "contents", "former", "receipt")
"""Kinds that are named without their version: by a digest there is one."""


def name(row: JournalRow) -> str:
    """What an entry is called where somebody is told of it."""
    if row.kind not in CHECKS:
        return f"entry {row.number} of the journal"
    return f"{NAMES.get(row.kind, row.kind)} {row.id}" + ("" if row.kind in ONCE else f"@{row.version}")


def faults(db: sqlite3.Connection, kinds: Collection[str] = ()) -> Iterator[tuple[JournalRow, str]]:
    """The entries that are not what was kept, all or of some kinds, and why."""
    among = f"WHERE kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
    for values in db.execute(f"SELECT {COLUMNS} FROM journal {among} ORDER BY number", (*kinds,)):
        row = JournalRow(*values)
        if why := fault(row):
            yield row, why


def rotten(store: Store) -> list[JournalRow]:
    """The entries that are not what was kept."""
    with store.reading() as db:
        return [row for row, _ in faults(db)]


def mend(store: Store, copy: Path) -> list[str]:
    """Put back what a copy holds of what is rotten, and what it holds otherwise; the names of what it put back. What a
    newer generation of it holds counts: an older one may be of another history.
    """
    found: dict[int, tuple[str, JournalRow]] = {}
    for row in _held(copy):
        held = store.numbered(row.number)
        if held is not None and held != row and _is_rot(held, row):
            found[row.number] = name(held), row
        elif held == row and row.number in found and not fault(row):
            del found[row.number]
    for _, row in found.values():
        store.put_back(row)
    return [named for named, _ in found.values()]


def _is_rot(held: JournalRow, copied: JournalRow) -> bool:
    """Whether an entry is the one in a copy, with something rotten in it: in one column, or in what its digest is of.
    One of another history, which a copy may hold under that number, is another one in most columns.
    """
    others = sum(one != other for one, other in zip(astuple(held), astuple(copied), strict=True))
    if fault(copied):
        return False
    return others == 1 or (_place(held) == _place(copied) and bool(fault(held)))


def _place(row: JournalRow) -> tuple[object, ...]:
    return row.kind, row.id, row.version, row.digest


def _held(copy: Path) -> Iterator[JournalRow]:
    """The entries of the journal in a copy."""
    for folder in segments.generations(copy):
        for record in segments.whole(folder):
            if record.kind == Kind.JOURNAL and record.fields:
                yield JournalRow(*record.fields)
