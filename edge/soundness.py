"""Whether a store is what was written, found out in bounded time: before anything is built upon it.

Structure (SQLite's own check, of files up to 16 MiB), owner and schema, the row of the chain, the newest block and the
chain of the newest 32, the open blocks, and the counters of small stores. The rest is looked at while the agent runs.
"""

from edge import rows
from edge.database import Database
from edge.frames import check as check_frame
from edge.frames import checksum
from protocols.errors import DamagedError, ForeignError

CHAINED = 32
COUNTED = 4096
LARGEST_CHECKED = 16 << 20
"""Bytes: a quarter of a second on a server, about two on the slowest box."""


def begun(db: Database) -> bool:
    """Whether there is a chain in it."""
    return bool(db.one("SELECT 1 FROM sqlite_master WHERE name = 'chain'")) and bool(db.one("SELECT 1 FROM chain"))


def check_structure(db: Database) -> None:
    """SQLite's quick check, where it does not take long; DamagedError."""
    if db.used_bytes() > LARGEST_CHECKED:
        return
    (found,) = db.one("PRAGMA quick_check(1)")
    if found != "ok":
        raise DamagedError(f"{db.path}: {' '.join(found.split())}")


def check_owner(db: Database, gateway: bytes) -> None:
    """It is this gateway's and of our schema; ForeignError when it is another's."""
    schema, owner = db.one("SELECT schema, gateway FROM chain")
    if schema == rows.SCHEMA:
        owner = rows.chain(db)["gateway"]
    if schema != rows.SCHEMA or owner != gateway:
        found = f"schema {schema} of gateway {owner.hex() if isinstance(owner, bytes) else owner!r}"
        raise ForeignError(f"{db.path}: found {found}, expected schema {rows.SCHEMA} of gateway {gateway.hex()}")


def check(db: Database) -> list[tuple[int, int]]:
    """The chain's row, its newest blocks, what is open, the counters; DamagedError.

    The places of newest blocks that are not whole: the store goes on without them, unless it is the very last one.
    """
    chain, _ = rows.chain(db), rows.epochs(db)
    spoilt = _check_newest(db, chain["epoch"], chain["next_seq"], chain["head"])
    for number, data, known in db.all("SELECT id, data, sum FROM open_block"):
        if checksum((number, data)) != known:
            raise DamagedError(f"{db.path}: open block {number} is not as it was written")
    db.all("SELECT sum(length(reply)) FROM open_exchange")
    if chain["blocks"] <= COUNTED:
        found = db.one("SELECT count(*), coalesce(sum(length(frame)), 0) FROM block")
        if found != (chain["blocks"], chain["bytes"]):
            raise DamagedError(f"{db.path}: found {found} blocks and bytes, expected {chain['blocks'], chain['bytes']}")
    return spoilt


def _check_newest(db: Database, epoch: int, next_seq: int, head: bytes) -> list[tuple[int, int]]:
    """Each of the newest blocks follows the one before; the places of those that cannot be told."""
    wanted: bytes | None = head
    spoilt = []
    newest = db.all("SELECT seq, hash, frame FROM block WHERE epoch = ? ORDER BY seq DESC LIMIT ?", (epoch, CHAINED))
    if next_seq and not newest:
        raise DamagedError(f"{db.path}: block {epoch}/{next_seq - 1} is not there, the newest one")
    for place, (seq, digest, frame) in enumerate(newest):
        if seq != next_seq - 1 - place or digest != (wanted or digest):
            raise DamagedError(f"{db.path}: found block {epoch}/{seq}, expected {next_seq - 1 - place} of the chain")
        try:
            wanted = check_frame(frame, digest)
        except DamagedError as error:
            if place == 0:
                raise DamagedError(f"{db.path}: block {epoch}/{seq}: {error}") from error
            wanted = None
            spoilt.append((epoch, seq))
    return spoilt
