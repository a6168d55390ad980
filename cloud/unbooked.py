"""What is held of a gateway and not booked yet: a row with the first such block, none while everything is booked.

A gateway is answered once its block is on the disk. What the block says is booked behind the answer, several blocks
together where they come fast. The row is written in the transaction that takes the first of them, and goes in the one
that books the last: whatever ends the process, it is known what is still to be booked, and nothing is booked twice.
"""

import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cloud import dated_rows
from cloud.booking import Changes
from cloud.ingest import Content, Opened
from cloud.intervals import Interval
from cloud.receipts import NOWHERE
from cloud.rot import Place
from drivers.steps import Steps
from protocols.record.block import Header

LIGHTEST = 64
"""What a block weighs that says nothing, in readings: it is held in memory all the same."""


class Block(NamedTuple):
    """A block in the chain whose content is good. ``dated``: its own clock knew the time."""

    header: Header
    content: Content
    dated: bool

    @property
    def place(self) -> Place:
        """Where it is in the chain."""
        return self.header.epoch, self.header.seq


class Unread(NamedTuple):
    """Such a block as it lies in the file: nothing it says is in memory. ``weight``: what it weighs once it is read."""

    place: Place
    dated: bool
    weight: int


@dataclass(slots=True)
class Entered:
    """Blocks in the books, and what they come to once the ``work`` is done: of that ``rows`` are not written yet.
    ``dated``: blocks that had no time of their own, as they are dated now, and the seq of the block that says so.
    ``were_open``: intervals that are written last.
    """

    work: Steps[Changes]
    dated: list[tuple[Header, int]]
    changes: Changes | None = None
    rows: Iterator[Interval] = field(default_factory=lambda: iter(()))
    were_open: list[Interval] = field(default_factory=list)


class Waiting:
    """What is not booked of a gateway: blocks in the order of the chain, and what they weigh together.

    ``unread``: those behind the others that must be read again. ``begun``: how far blocks have come that are read again
    in several turns. ``since``: from which block on nothing is booked, as the row says; None where there is none.
    ``entered``: the blocks before the first, while they are entered or written only in part. ``dated_to``: up to which
    seq the first block has dated those before it; -1 for none. ``dated``: how many of them, as the file says.
    """

    def __init__(self) -> None:
        self._blocks: deque[Block] = deque()
        self.unread: deque[Unread] = deque()
        self.begun: dict[Place, Steps[Opened]] = {}
        self.weight, self.dated_to, self.dated = 0, -1, 0
        self.since: Place | None = None
        self.entered: Entered | None = None

    def __bool__(self) -> bool:
        return bool(self._blocks or self.unread) or self.entered is not None

    @property
    def first(self) -> Block | None:
        """The block that comes next; None as well while that is unread."""
        return self._blocks[0] if self._blocks else None

    @property
    def place(self) -> Place | None:
        """Where the block that comes next is in the chain, be it unread."""
        held = self._blocks or self.unread
        return held[0].place if held else None

    def add(self, block: Block) -> None:
        """One more behind the others; behind unread ones it is left to be read again too."""
        if self.unread:
            self.leave(Unread(block.place, block.dated, _weight(block)))
        else:
            self._blocks.append(block)
            self.weight += _weight(block)

    def leave(self, block: Unread) -> None:
        """One more behind the others, to be read again."""
        self.unread.append(block)
        self.weight += block.weight

    def read(self, opened: Opened | None) -> None:
        """The first of the unread has been read; None: it is damaged, and left out."""
        unread = self.unread.popleft()
        self.weight -= unread.weight
        if opened is not None and opened.content is not None:
            self._blocks.append(Block(opened.header, opened.content, unread.dated))
            self.weight += _weight(self._blocks[-1])

    def drop(self) -> None:
        """The first is in the books."""
        self.weight, self.dated_to = self.weight - _weight(self._blocks.popleft()), -1


def since(db: sqlite3.Connection, gateway: bytes) -> Place | None:
    """From which block on nothing is booked; None where everything is."""
    row = db.execute("SELECT epoch, seq FROM unbooked WHERE gateway = ?", (gateway,)).fetchone()
    return None if row is None else (row[0], row[1])


def gateways(db: sqlite3.Connection) -> list[bytes]:
    """The gateways of which something is not booked yet."""
    return [bytes(gateway) for (gateway,) in db.execute("SELECT gateway FROM unbooked")]


def begin(db: sqlite3.Connection, gateway: bytes, waiting: Waiting) -> None:
    """The first block that waits has just been taken."""
    assert waiting.place is not None, "a block that waits"
    waiting.since = waiting.place
    db.execute("INSERT INTO unbooked VALUES (?,?,?)", (gateway, *waiting.since))


def leave(db: sqlite3.Connection, gateway: bytes, waiting: Waiting, dated_by: Sequence[int] = ()) -> None:
    """Everything before the first block that waits is booked. ``dated_by``: seqs of who dated what was booked now."""
    if waiting.place != waiting.since:
        waiting.dated = 0
    waiting.since = waiting.place
    if waiting.since is None:
        db.execute("DELETE FROM unbooked WHERE gateway = ?", (gateway,))
    else:
        waiting.dated += dated_by.count(waiting.since[1])
        db.execute("UPDATE unbooked SET epoch = ?, seq = ? WHERE gateway = ?", (*waiting.since, gateway))


def blocks(db: sqlite3.Connection, gateway: bytes, place: Place) -> list[Unread]:
    """The good blocks from a place on, in the order of the chain."""
    rows = db.execute(
        "SELECT epoch, seq, readings, NOT EXISTS (SELECT 1 FROM undated AS u WHERE u.gateway = b.gateway"
        " AND u.epoch = b.epoch AND u.seq = b.seq) FROM blocks AS b"
        " WHERE gateway = ? AND (epoch, seq) >= (?, ?) AND fault IS NULL ORDER BY epoch, seq",
        (gateway, *place),
    )
    return [Unread((epoch, seq), bool(dated), LIGHTEST + readings) for epoch, seq, readings, dated in rows]


def configuration(db: sqlite3.Connection, gateway: bytes, place: Place | None) -> int:
    """The configuration under which the newest block was read that is booked; 0 before the first.

    ``place``: from which block on nothing is booked; None: everything is, but blocks that have no time yet.
    """
    row = db.execute(
        "SELECT config_number FROM blocks WHERE gateway = ? AND (epoch, seq) < (?, ?) AND fault IS NULL"
        f" AND NOT {dated_rows.PENDING} ORDER BY epoch DESC, seq DESC LIMIT 1",
        (gateway, *(place or NOWHERE)),
    ).fetchone()
    return 0 if row is None else int(row[0])


def _weight(block: Block) -> int:
    return LIGHTEST + block.content.readings + len(block.header.events)
