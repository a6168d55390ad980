"""What the store holds, in numbers: for the status, and for whoever plans a disk."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge import retention, rows
from edge.database import Database


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is held, how much of it waits for a receipt, and for how many days there is room (None: unknown).

    ``settled``: blocks that a second copy covers. ``days_left``: until readings stop if nothing more is delivered.
    """

    blocks: int
    bytes: int
    unsettled: int
    oldest_unsettled: int | None
    refused: int
    left_behind: int
    open_exchanges: int
    days_left: float | None
    settled: int
    damaged: int


def count(db: Database, most_bytes: int) -> Counts:
    """Count, by the keys alone."""
    chain, epochs = rows.chain(db), rows.epochs(db)
    unsettled, behind, oldest = 0, 0, None
    for epoch, received, _, cut in epochs:
        end = rows.END if cut is None else max(cut, received)
        place = (epoch, received, end)
        unsettled += _count(db, "block WHERE epoch = ? AND seq >= ? AND seq < ?", place)
        unsettled -= _count(db, "block WHERE epoch = ? AND seq >= ? AND seq < ? AND state > 0", place)
        behind += _count(db, "block WHERE epoch = ? AND seq >= ?", (epoch, end))
        oldest = oldest if oldest is not None else _oldest(db, place)
    settled, prunable = retention.prunable(db, epochs)
    return Counts(
        chain["blocks"],
        chain["bytes"],
        unsettled,
        oldest,
        _count(db, "block WHERE state > 0"),
        behind,
        _count(db, "open_exchange"),
        retention.days(db, chain, prunable, most_bytes),
        settled,
        _count(db, "damage"),
    )


def _oldest(db: Database, place: tuple[int, int, int]) -> int | None:
    row = db.one(
        "SELECT utc_start FROM block WHERE epoch = ? AND seq >= ? AND seq < ? AND state = 0 ORDER BY seq LIMIT 1", place
    )
    return None if row is None else int(row[0])


def _count(db: Database, what: str, values: Sequence[object] = ()) -> int:
    return int(db.one(f"SELECT count(*) FROM {what}", values)[0])
