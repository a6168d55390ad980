"""What has rotted in the journal: subject files, accounts and the log of warnings, each against its digest.

It is put back out of a second copy, beside a running collector or not.
"""

import hashlib
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path

from cloud import accounts, segments
from cloud.copied import Kind
from cloud.journal import COLUMNS
from cloud.packed import unpack
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import AccountError, RottenError

KINDS = {"file": "subject file", "account": "account", "warning": "warning"}
"""What is looked at, and what it is called."""


def name(row: JournalRow) -> str:
    """What an entry is called where somebody is told of it."""
    return f"{KINDS[row.kind]} {row.id}" + ("" if row.kind == "file" else f"@{row.version}")


def faults(db: sqlite3.Connection, kinds: Collection[str] = KINDS) -> Iterator[tuple[JournalRow, str]]:
    """The entries of some kinds that are not what was kept, and why."""
    among = ", ".join("?" * len(kinds))
    for values in db.execute(f"SELECT {COLUMNS} FROM journal WHERE kind IN ({among}) ORDER BY number", (*kinds,)):
        row = JournalRow(*values)
        if why := _fault(row):
            yield row, why


def rotten(store: Store) -> list[JournalRow]:
    """The entries that are not what was kept."""
    with store.reading() as db:
        return [row for row, _ in faults(db)]


def mend(store: Store, copy: Path) -> list[str]:
    """Put back what a copy holds of what is rotten; the names of what it put back."""
    wanted, done = {row.number: row for row in rotten(store)}, list[str]()
    for row in _held(copy) if wanted else ():
        lost = wanted.get(row.number)
        if lost is not None and _place(lost) == _place(row) and not _fault(row):
            with store.writing() as db:
                db.execute(
                    "UPDATE journal SET detail = ?, body = ? WHERE number = ?", (row.detail, row.body, row.number)
                )
            del wanted[row.number]
            done.append(name(row))
    return done


def _place(row: JournalRow) -> tuple[object, ...]:
    return row.kind, row.id, row.version, row.digest


def _fault(row: JournalRow) -> str:
    """Why an entry is not what was kept; "" where it is."""
    try:
        if row.kind == "account":
            accounts.opened(row)
            return ""
        content = unpack(row.body) if row.kind == "file" else str(row.detail).encode()
    except (AccountError, RottenError) as error:
        return str(error)
    made = hashlib.sha256(content).hexdigest()
    return "" if made == row.digest else f"found content {made}, expected {row.digest}"


def _held(copy: Path) -> Iterator[JournalRow]:
    """The entries of the journal in a copy."""
    for folder in segments.generations(copy):
        for record in segments.whole(folder):
            if record.kind == Kind.JOURNAL and record.fields:
                yield JournalRow(*record.fields)
