"""Statements as they were issued: versions side by side, never one over another; and what is settled of them."""

from typing import TypeVar

from cloud import settled, typed
from cloud.queries import Queries
from cloud.rows import StatementRow
from cloud.settled import Memory, Subjects
from protocols.errors import OvertakenError

COLUMNS = "id, version, digest, site, period, created, content"
_Kept = TypeVar("_Kept", Memory, Subjects)


class Archive(Queries):
    """The part of the store that keeps statements."""

    def put_statement(self, statement: StatementRow) -> None:
        """Keep a version; keeping the same again changes nothing. OvertakenError when that version says otherwise."""
        with self.writing() as db:
            key = (statement.id, statement.version)
            held = db.execute("SELECT digest FROM statements WHERE id = ? AND version = ?", key).fetchone()
            if held is None:
                values = (statement.digest, statement.site, statement.period, statement.created, statement.content)
                db.execute(f"INSERT INTO statements ({COLUMNS}) VALUES (?,?,?,?,?,?,?)", (*key, *values))
            elif held[0] != statement.digest:
                name = f"{statement.id} version {statement.version}"
                raise OvertakenError(f"{name}: found digest {statement.digest}, expected {held[0]}: what was issued")

    def statement(self, id: str, version: int | None = None) -> StatementRow | None:
        """One version of a statement, the newest when none is named."""
        with self.reading() as db:
            row = db.execute(
                f"SELECT {COLUMNS} FROM statements WHERE id = ? AND version = coalesce(?, version)"
                " ORDER BY version DESC LIMIT 1",
                (id, version),
            ).fetchone()
            return typed.near(StatementRow, row)[0] if row else None

    def statements(self, site: str | None = None) -> list[StatementRow]:
        """The newest version of each statement, newest period first."""
        with self.reading() as db:
            rows = db.execute(
                f"SELECT {COLUMNS} FROM statements AS s WHERE {'1' if site is None else 'site = ?'}"
                " AND version = (SELECT max(version) FROM statements WHERE id = s.id) ORDER BY period DESC, id",
                () if site is None else (site,),
            )
            return [typed.near(StatementRow, row)[0] for row in rows]

    def statement_periods(self, site: str) -> list[str]:
        """The periods of which a site has a statement."""
        with self.reading() as db:
            return [name for (name,) in db.execute("SELECT DISTINCT period FROM statements WHERE site = ?", (site,))]

    def statement_versions(self, id: str) -> list[StatementRow]:
        """Every version of a statement, oldest first."""
        with self.reading() as db:
            rows = db.execute(f"SELECT {COLUMNS} FROM statements WHERE id = ? ORDER BY version", (id,))
            return [typed.near(StatementRow, row)[0] for row in rows]

    def keep_settled(self, memory: Memory | Subjects) -> None:
        """Keep what a closer remembers, in place of what it did."""
        with self.writing() as db:
            settled.keep(db, memory)

    def settled(self, kind: type[_Kept], rules: str) -> _Kept | None:
        """What a closer remembered under these rules; None where nothing is."""
        with self.reading() as db:
            return settled.load(db, kind, rules)
