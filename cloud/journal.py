"""The journal of accounts: subject files, keys, activity, versions, decisions. Appended, never changed.

One table holds them in the order in which they came, so that a copy, a restore and the feed of corrections are a walk
along it. A thing that changes (a subject, an account) has versions side by side; the newest one counts.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec

from cloud import typed
from cloud.accounting import certificates
from cloud.archive import Archive
from cloud.rows import JournalRow
from protocols.errors import OvertakenError, ProofError, RottenError

COLUMNS = "number, kind, id, version, subject, period, digest, at, by, detail, body"
HEADS = COLUMNS.replace("body", "x''")
"""The same without the body."""
NEWEST = "version = (SELECT max(version) FROM journal WHERE kind = j.kind AND id = j.id)"
KINDS = (
    *("account", "activity", "bundle", "check", "contents", "file", "former", "mark", "receipt"),
    *("signer", "subject", "warning"),
)
"""Every kind there is, in the order of the alphabet."""
BETWEEN = (
    *(f"kind < '{KINDS[0]}'", f"kind > '{KINDS[-1]}'", "kind IS NULL"),
    *(f"kind > '{one}' AND kind < '{other}'" for one, other in pairwise(KINDS)),
)
STRAY = "number IN (" + " UNION ALL ".join(f"SELECT number FROM journal WHERE {where}" for where in BETWEEN) + ")"
"""Of no kind that there is. An index is asked between each two: all else would go along the whole journal."""
PAGE = 128
"""Entries that are held at once on a walk."""
_OTHER = "length(proof) = length(:first) AND rtrim(proof, '0123456789') = :stem AND (subject, use) <> (:subject, :use)"
USED = (
    f"SELECT account, subject, use, proof, last FROM proofs WHERE proof BETWEEN :first AND :last AND {_OTHER}"
    " UNION ALL SELECT account, subject, use, proof, last FROM proofs"
    f" WHERE last > proof AND proof < :first AND last >= :first AND proof >= :stem AND {_OTHER}"
)
"""Who else has certificates of a range: those that begin in it, and the ranges that begin before it and reach it."""


class Journal(Archive):
    """The part of the store that keeps what accounts rest on."""

    def keep(self, rows: Sequence[JournalRow], *, behind: tuple[str, int] | None = None) -> list[int]:
        """Keep entries in one transaction and return their numbers. An entry that is there already keeps its number.

        From now on an account uses the certificates in its ``detail``, and no others; ProofError for one that is used
        elsewhere. OvertakenError where an entry of that name and version says something else. RottenError where one
        does whose kind has rotted: it may be that very one.
        ``behind``: a kind and the end of the journal when the caller looked; OvertakenError if more of it has come.
        """
        with self.writing() as db:
            if behind is not None and (more := _more(db, *behind)):
                raise OvertakenError(f"journal: found {more} behind number {behind[1]}, expected nothing new")
            numbers = [_keep(db, row) for row in rows]
            for row in rows:
                if row.kind == "account":
                    _claim(db, row)
            return numbers

    def put_back(self, row: JournalRow) -> None:
        """An entry as it was kept, proven before, takes the place of what has rotted under its number."""
        columns = ", ".join(f"{name} = ?" for name in COLUMNS.split(", "))
        with self.writing() as db:
            db.execute(f"UPDATE journal SET {columns} WHERE number = ?", (*_values(row), row.number))

    def renew(self, row: JournalRow) -> None:
        """Put an entry back that has come again, proven by its digest, where what is kept of it is something else."""
        with self.writing() as db:
            _name_again(db, row)
        held = self.entry(row.kind, row.id)
        if held is not None and (held.detail, held.body) != (row.detail, row.body):
            self.put_back(replace(row, number=held.number, at=held.at, by=held.by))

    def strays(self) -> list[JournalRow]:
        """The entries whose kind has rotted: whoever asks for their kind does not find them."""
        with self.reading() as db:
            return [JournalRow(*row) for row in db.execute(f"SELECT {COLUMNS} FROM journal WHERE {STRAY}")]

    def numbered(self, number: int) -> JournalRow | None:
        """One entry by its number."""
        with self.reading() as db:
            row = db.execute(f"SELECT {COLUMNS} FROM journal WHERE number = ?", (number,)).fetchone()
            return JournalRow(*row) if row else None

    def entry(self, kind: str, id: str, version: int | None = None) -> JournalRow | None:
        """One entry, its newest version when none is named."""
        with self.reading() as db:
            row = db.execute(
                f"SELECT {COLUMNS} FROM journal WHERE kind = ? AND id = ? AND version = coalesce(?, version)"
                " ORDER BY version DESC LIMIT 1",
                (kind, id, version),
            ).fetchone()
            return _row(row) if row else None

    def entry_head(self, kind: str, id: str, version: int | None = None) -> JournalRow | None:
        """One entry without its body, its newest version when none is named."""
        with self.reading() as db:
            row = db.execute(
                f"SELECT {HEADS} FROM journal WHERE kind = ? AND id = ? AND version = coalesce(?, version)"
                " ORDER BY version DESC LIMIT 1",
                (kind, id, version),
            ).fetchone()
            return _row(row) if row else None

    def entry_versions(self, kind: str, id: str, *, heads: bool = True) -> list[JournalRow]:
        """Every version of an entry, oldest first; without their bodies unless asked for."""
        with self.reading() as db:
            rows = db.execute(
                f"SELECT {HEADS if heads else COLUMNS} FROM journal WHERE kind = ? AND id = ? ORDER BY version",
                (kind, id),
            )
            return [_row(row) for row in rows]

    def entries(
        self,
        kind: str,
        *,
        subject: str | None = None,
        period: str | None = None,
        named: str | None = None,
        about: Sequence[str] = (),
        heads: bool = True,
    ) -> list[JournalRow]:
        """The newest version of each entry of a kind, in the order they came.

        ``named``: only with an id that has this in it; ``about``: only with a detail that has one of these in it.
        """
        asked = {"kind = ?": kind, "subject = ?": subject, "period = ?": period, "instr(id, ?) > 0": named}
        where, values = _asked(asked)
        if about:
            where += f" AND ({' OR '.join('instr(detail, ?) > 0' for _ in about)})"
            values += about
        with self.reading() as db:
            rows = db.execute(
                f"SELECT {HEADS if heads else COLUMNS} FROM journal AS j WHERE {where} AND {NEWEST} ORDER BY number",
                values,
            )
            return [_row(row) for row in rows]

    def walk(self, kind: str, *, subject: str | None = None, period: str | None = None) -> Iterator[JournalRow]:
        """The same with bodies, a page at a time; entries that are added after it began are left out."""
        # Without a subject it goes along the numbers: an index of the kind would sort all that is left for each page.
        of_kind = "+kind = ?" if subject is None else "kind = ?"
        where, values = _asked({of_kind: kind, "subject = ?": subject, "period = ?": period})
        query = (
            f"SELECT {COLUMNS} FROM journal AS j WHERE {where} AND {NEWEST} AND number > ? AND number <= ?"
            " ORDER BY number LIMIT ?"
        )
        after, last = 0, self.journal_end()
        while True:
            with self.reading() as db:
                page = [_row(row) for row in db.execute(query, (*values, after, last, PAGE))]
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].number

    def journal(self, after: int, limit: int, kinds: Sequence[str] = ()) -> list[JournalRow]:
        """Entries after a number, without their bodies."""
        among = f" AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        with self.reading() as db:
            rows = db.execute(
                f"SELECT {HEADS} FROM journal WHERE number > ?{among} ORDER BY number LIMIT ?", (after, *kinds, limit)
            )
            return [JournalRow(*row) for row in rows]

    def journal_end(self) -> int:
        """The number of the newest entry, 0 for none."""
        with self.reading() as db:
            (number,) = db.execute("SELECT coalesce(max(number), 0) FROM journal").fetchone()
            return int(number)


def _row(values: tuple[Any, ...]) -> JournalRow:
    """An entry; what is of another type by now is empty in it, and so not what its digest is of."""
    return typed.near(JournalRow, values)[0]


def restore(db: sqlite3.Connection, row: JournalRow) -> None:
    """Put an entry of a copy back under its number."""
    db.execute(f"INSERT OR IGNORE INTO journal ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", _values(row))
    if row.kind == "account":
        _claim(db, row)


def _asked(where: Mapping[str, str | None]) -> tuple[str, list[str]]:
    """The conditions of a query that have a value, and the values."""
    asked = {clause: value for clause, value in where.items() if value is not None}
    return " AND ".join(asked), list(asked.values())


def _more(db: sqlite3.Connection, kind: str, number: int) -> str:
    """The id of the first entry of a kind after a number, "" for none."""
    row = db.execute("SELECT id FROM journal WHERE number > ? AND kind = ? LIMIT 1", (number, kind)).fetchone()
    return f"{kind} {row[0]}" if row else ""


def _name_again(db: sqlite3.Connection, row: JournalRow) -> None:
    """Where the kind of this entry has rotted, it is of its kind again; RottenError where it says something else."""
    query = f"SELECT number, kind, digest FROM journal WHERE {STRAY} AND id = ? AND version = ?"
    stray = db.execute(query, (row.id, row.version)).fetchone()
    if stray is None:
        return
    if stray[2] != row.digest:
        raise RottenError(f"{row.kind} {row.id}: found an entry of the kind {stray[1]!r} with its name, expected none")
    db.execute("UPDATE journal SET kind = ? WHERE number = ?", (row.kind, stray[0]))


def _keep(db: sqlite3.Connection, row: JournalRow) -> int:
    _name_again(db, row)
    held = db.execute(
        "SELECT number, digest FROM journal WHERE kind = ? AND id = ? AND version = ?", (row.kind, row.id, row.version)
    ).fetchone()
    if held is None:
        cursor = db.execute(
            f"INSERT INTO journal ({COLUMNS.removeprefix('number, ')}) VALUES (?,?,?,?,?,?,?,?,?,?)", _values(row)[1:]
        )
        return int(cursor.lastrowid or 0)
    if held[1] != row.digest:
        name = f"{row.kind} {row.id} version {row.version}"
        raise OvertakenError(f"{name}: found digest {row.digest}, expected {held[1]}: what is held")
    return int(held[0])


def _claim(db: sqlite3.Connection, row: JournalRow) -> None:
    """The certificates an account uses now; ProofError names where one is used already."""
    db.execute("DELETE FROM proofs WHERE account = ?", (row.id,))
    for proof, use in msgspec.json.decode(row.detail)["proofs"].items():
        first, last = certificates.ends(proof)
        claim = {"first": first, "last": last, "stem": certificates.stem(first), "subject": row.subject, "use": use}
        held = db.execute(f"{USED} LIMIT 1", claim).fetchone()
        if held is not None:
            account, subject, other, low, high = held
            name = low if low == high else f"{low}{certificates.BETWEEN}{high}"
            raise ProofError(
                f"{row.id}, {use}: found the proof {proof!r} used in {account} ({subject}, {other}: {name}), expected"
                " one that is used nowhere else"
            )
        db.execute("INSERT INTO proofs VALUES (?,?,?,?,?)", (first, last, row.id, row.subject, use))


def _values(row: JournalRow) -> tuple[Any, ...]:
    place = (row.number, row.kind, row.id, row.version, row.subject, row.period)
    return (*place, row.digest, row.at, row.by, row.detail, row.body)
