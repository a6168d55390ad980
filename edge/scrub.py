"""Sealed blocks as they are read back: each is held against its hash, and one that is damaged is named, not sent.

The slow pass over all of them finds what has rotted while nobody asked for it.
"""

from edge import rows
from edge.database import Database
from edge.frames import Damage, check
from protocols.errors import DamagedError

PASSES = 1440
"""Portions of the whole store: one with each block of a minute is a pass a day."""
PORTION = 16
"""Blocks that are looked at in one go: a few ms, for commits wait meanwhile."""


class Shelf:
    """State: what was found to be damaged and not told yet; where the pass over all blocks stands."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._found: list[Damage] = []
        chain = rows.chain(db)
        self.at: tuple[int, int] = (chain["scrub_epoch"], chain["scrub_seq"])
        """The block that is looked at next; kept with the next seal."""

    def read(self, epoch: int, seq: int) -> bytes | None:
        """A block as it was sealed; None when it is damaged, which is then known."""
        start = end = 0
        place = (epoch, seq)
        try:
            start, end = self._db.one("SELECT utc_start, utc_end FROM block WHERE epoch = ? AND seq = ?", place)
            digest, frame = self._db.one("SELECT hash, frame FROM block WHERE epoch = ? AND seq = ?", place)
            check(frame, digest)
        except (DamagedError, TypeError) as error:
            if not any((each.epoch, each.seq) == place for each in self._found) and not self._known(place):
                delivered = seq < rows.epoch(self._db, epoch)[1]
                self._found.append(Damage(epoch, seq, start, end, str(error)[:120], delivered))
            return None
        return bytes(frame)

    def lost(self, epoch: int, seq: int, detail: str) -> None:
        """Something of this block is lost that was never in it."""
        self._found.append(Damage(epoch, seq, 0, 0, detail, delivered=True))

    def scrub(self, count: int) -> bool:
        """Look at the next blocks; True when these were the newest and the next ones are the oldest again."""
        places = self._db.all(
            "SELECT epoch, seq FROM block WHERE (epoch, seq) >= (?, ?) ORDER BY epoch, seq LIMIT ?", (*self.at, count)
        )
        for place in places:
            self.read(*place)
        over = len(places) < count
        self.at = (0, 0) if over else (places[-1][0], places[-1][1] + 1)
        return over

    def portion(self) -> int:
        """Blocks to look at with each seal, so that all of them are once in a day of minutes."""
        return 1 + int(rows.chain(self._db)["blocks"]) // PASSES

    def damages(self) -> list[Damage]:
        """What was found to be damaged since this was last asked; it is remembered from now on."""
        found, self._found = self._found, []
        if found:
            with self._db.transaction():
                self._db.many(
                    "INSERT OR IGNORE INTO damage VALUES (?, ?, ?, ?, ?)",
                    [(each.epoch, each.seq, each.utc_start, each.utc_end, each.detail) for each in found],
                )
        return found

    def damaged(self, most: int = 20) -> list[tuple[int, int, int, int, str]]:
        """(epoch, seq, UTC ms from, to, what) of damaged blocks, oldest first."""
        return self._db.all(
            "SELECT epoch, seq, utc_start, utc_end, detail FROM damage ORDER BY epoch, seq LIMIT ?", (most,)
        )

    def _known(self, place: tuple[int, int]) -> bool:
        return self._db.one("SELECT 1 FROM damage WHERE epoch = ? AND seq = ?", place) is not None
