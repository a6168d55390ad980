"""The rows of the store that say where the chain stands, each with its checksum. What is read here was written here."""

from importlib.resources import files
from typing import Any

from edge.database import Database
from edge.frames import checksum
from protocols.errors import DamagedError

SCHEMA = 2
END = 1 << 62
COLUMNS = (
    *("schema", "gateway", "epoch", "next_seq", "head", "boot", "configuration", "last_utc", "blocks", "bytes"),
    *("lived", "total", "scrub_epoch", "scrub_seq", "receipt", "settled"),
)
Epoch = tuple[int, int, int, int | None]
"""Number, received, settled, cut."""


def create(db: Database) -> None:
    """Make the tables that are not there."""
    script = files("edge").joinpath("outbox.sql").read_text("utf-8")
    for statement in "\n".join(line.partition("--")[0] for line in script.splitlines()).split(";"):
        db.run(statement)


def chain(db: Database) -> dict[str, Any]:
    """The chain's row by its columns; DamagedError."""
    row = db.one(f"SELECT {', '.join(COLUMNS)}, sum FROM chain")
    if row is None or checksum(row[:-1]) != row[-1]:
        raise DamagedError(f"{db.path}: the row of the chain is {'not there' if row is None else 'not as written'}")
    return dict(zip(COLUMNS, row, strict=False))


def begin(db: Database, **values: Any) -> None:
    """Write the chain's row for the first time."""
    row = [values[name] for name in COLUMNS]
    db.run(f"INSERT INTO chain VALUES (1, {', '.join('?' * len(COLUMNS))}, ?)", (*row, checksum(row)))


def move(db: Database, **changes: Any) -> None:
    """Change the chain's row."""
    row = {**chain(db), **changes}
    values = [row[name] for name in COLUMNS]
    db.run(f"UPDATE chain SET {', '.join(f'{name} = ?' for name in COLUMNS)}, sum = ?", (*values, checksum(values)))


def epochs(db: Database) -> list[Epoch]:
    """Every epoch, oldest first; DamagedError."""
    rows = db.all("SELECT epoch, received, settled, cut, sum FROM epoch ORDER BY epoch")
    for row in rows:
        if checksum(row[:-1]) != row[-1]:
            raise DamagedError(f"{db.path}: the row of epoch {row[0]} is not as it was written")
    return [row[:-1] for row in rows]


def epoch(db: Database, number: int) -> Epoch:
    """One epoch; as if nothing of it were received when it is not known."""
    return next((each for each in epochs(db) if each[0] == number), (number, 0, 0, None))


def keep_epoch(db: Database, number: int, received: int, settled: int, cut: int | None) -> None:
    """Write what the collector has of an epoch, and from where on it cannot have more."""
    row = (number, received, settled, cut)
    db.run("INSERT OR REPLACE INTO epoch VALUES (?, ?, ?, ?, ?)", (*row, checksum(row)))


def open_epoch(db: Database, number: int, previous: bytes, receipt: bytes | None) -> None:
    """Move the chain to the beginning of an epoch, after ``receipt``; None where that is the enrolment."""
    keep_epoch(db, number, 0, 0, None)
    move(db, epoch=number, next_seq=0, head=previous)
    keep_began(db, number, receipt)


def keep_began(db: Database, number: int, receipt: bytes | None) -> None:
    """Keep what an epoch begins with for as long as the store lives."""
    if receipt is not None:
        db.run("INSERT OR REPLACE INTO began VALUES (?, ?)", (number, receipt))


def began(db: Database, most: int) -> list[bytes]:
    """The envelopes of the receipts that epochs begin with, of the newest epochs, newest first."""
    return [row[0] for row in db.all("SELECT receipt FROM began ORDER BY epoch DESC LIMIT ?", (most,))]
