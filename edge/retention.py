"""Which blocks may go: what a second copy covers, oldest first, once it is old, or when room is short.

Age is what the chain has lived through since: the sum of what its blocks lasted by the monotonic clock. No step of the
wall clock makes a block old; time in which the box was off does not count.
"""

import shutil
from collections.abc import Iterable
from typing import Any

from edge import rows
from edge.database import Database
from edge.rows import Epoch

DAY_MS = 86_400_000
KEPT_MS = 400 * DAY_MS
"""Thirteen months."""
LOW_BYTES = 32 << 20
"""Less than this on the disk and free in the file: settled blocks go before they are old."""
MOST_OLD, MOST_LOW = 4, 16
"""Blocks that go with one seal, so that it does not wait for long."""
MARGIN = 1 << 20
RECENT = 64
"""Blocks whose size foretells how long the room will last."""


def prune(db: Database, chain: dict[str, Any], size: int, most_bytes: int) -> tuple[int, int]:
    """Delete what may and should go for a block of ``size``: (blocks, bytes) that went. Within a transaction."""
    over, gone, freed = chain["bytes"] + size - most_bytes, 0, 0
    low = free(db) < LOW_BYTES
    for number, _, settled, _ in rows.epochs(db):
        end = min(settled, chain["next_seq"] - 1) if number == chain["epoch"] else settled
        while True:
            row = db.one(
                "SELECT seq, lived, length(frame) FROM block WHERE epoch = ? AND seq < ? AND state = 0"
                " ORDER BY seq LIMIT 1",
                (number, end),
            )
            if row is None:
                break
            old = chain["lived"] - row[1] >= KEPT_MS
            if not (over > freed or (old and gone < MOST_OLD) or (low and gone < MOST_LOW)):
                return gone, freed
            db.run("DELETE FROM block WHERE epoch = ? AND seq = ?", (number, row[0]))
            db.run("DELETE FROM damage WHERE epoch = ? AND seq = ?", (number, row[0]))
            gone, freed = gone + 1, freed + row[2]
    return gone, freed


def free(db: Database) -> int:
    """Bytes that may still be written: on the disk, and in the file where deleted rows were."""
    return shutil.disk_usage(db.path.parent).free + db.free_bytes()


def prunable(db: Database, epochs: Iterable[Epoch]) -> tuple[int, int]:
    """How many blocks a second copy covers, and their bytes."""
    blocks = size = 0
    for number, _, settled, _ in epochs:
        first = db.one(
            "SELECT seq, total - length(frame) FROM block WHERE epoch = ? AND seq < ? ORDER BY seq LIMIT 1",
            (number, settled),
        )
        if first is not None:
            last = db.one(
                "SELECT seq, total FROM block WHERE epoch = ? AND seq < ? ORDER BY seq DESC LIMIT 1", (number, settled)
            )
            blocks, size = blocks + last[0] - first[0] + 1, size + last[1] - first[1]
    return blocks, size


def days(db: Database, chain: dict[str, Any], spare: int, most_bytes: int) -> float | None:
    """For how long there is room at the rate of the newest blocks, ``spare`` being what could be deleted; None when
    the rate is not known.
    """
    recent = db.all(
        "SELECT length(frame), utc_end - utc_start FROM block WHERE epoch = ? ORDER BY seq DESC LIMIT ?",
        (chain["epoch"], RECENT),
    )
    size, lasted = sum(row[0] for row in recent), sum(max(0, row[1]) for row in recent)
    if not size or not lasted:
        return None
    overhead = max(1.0, db.used_bytes() / chain["bytes"]) if chain["bytes"] > MARGIN else 1.5
    room = min(free(db) / overhead, most_bytes - chain["bytes"]) + spare
    return float(round(max(0.0, room) / (size * DAY_MS / lasted), 1))
