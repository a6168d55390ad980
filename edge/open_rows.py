"""The rows of the store that hold what is not sealed yet: open blocks and their exchanges, each with its checksum."""

from collections.abc import Sequence

from drivers.reading import Exchange
from edge.database import Database
from edge.frames import checksum
from edge.sealer import OpenBlock, Record
from protocols.errors import DamagedError


def keep(db: Database, records: Sequence[Record], blocks: Sequence[OpenBlock]) -> None:
    """Write exchanges, and blocks as they are now; an alarm that one of their events tells is told. Within a
    transaction.
    """
    told = [(event.detail,) for block in blocks for event in block.events]
    data = [(block.id, block.to_bytes()) for block in blocks]
    db.many("INSERT OR REPLACE INTO open_block VALUES (?, ?, ?)", [(*each, checksum(each)) for each in data])
    if told and db.one("SELECT 1 FROM alarm"):
        db.many("DELETE FROM alarm WHERE detail = ?", told)
    db.many(
        "INSERT INTO open_exchange (block, slot, device, query, request, reply, fault, at_ms, sum)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(*row, checksum(row)) for row in map(_row_of, records)],
    )


def blocks(db: Database) -> list[OpenBlock]:
    """The blocks that are not sealed, oldest first; DamagedError."""
    found = db.all("SELECT id, data, sum FROM open_block ORDER BY id")
    for number, data, known in found:
        if checksum((number, data)) != known:
            raise DamagedError(f"{db.path}: open block {number} is not as it was written")
    return [OpenBlock.from_bytes(data) for _, data, _ in found]


def exchanges(db: Database, block: int) -> tuple[list[Record], int]:
    """What was committed of an open block, in that order; and how many rows are left out, for they are damaged."""
    found = db.all(
        "SELECT block, slot, device, query, request, reply, fault, at_ms, sum FROM open_exchange WHERE block = ?"
        " ORDER BY id",
        (block,),
    )
    whole = [row for row in found if checksum(row[:-1]) == row[-1]]
    return [Record(block, row[1], Exchange(*row[2:-1])) for row in whole], len(found) - len(whole)


def drop(db: Database, block: int) -> None:
    """Forget an open block with its exchanges: it is sealed. Within a transaction."""
    db.run("DELETE FROM open_exchange WHERE block = ?", (block,))
    db.run("DELETE FROM open_block WHERE id = ?", (block,))


def drop_all(db: Database) -> int:
    """Forget all of them; how many exchanges went. Within a transaction."""
    (count,) = db.one("SELECT count(*) FROM open_exchange")
    db.run("DELETE FROM open_exchange")
    db.run("DELETE FROM open_block")
    return int(count)


def _row_of(record: Record) -> tuple[object, ...]:
    held = record.exchange
    return (
        record.block,
        record.slot,
        held.device,
        held.query,
        held.request,
        held.reply,
        held.fault,
        held.at_ms,
    )
