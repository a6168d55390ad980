"""The store: the exchanges of the open block, and the sealed blocks, in SQLite.

When a method returns, what it wrote is on disk. The one exception is ``settle``: a receipt that is lost is given again.
A file beside the store, the watermark, shows when the store has lost its last commits (``edge.opening``).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import open_rows, retention, rows, soundness
from edge.covering import lets_go, signer
from edge.database import Database, DiskFull
from edge.holdings import Counts, count
from edge.rows import END
from edge.scrub import Shelf
from edge.sealer import Link, OpenBlock, Record
from edge.watermark import Mark, Watermark
from protocols.errors import StoreError
from protocols.record import transport
from protocols.record.block import Sealed
from protocols.record.receipt import SETTLED, Receipt
from protocols.record.siteconfig import digest

__all__ = ["Chain", "Counts", "DiskFull", "First", "Outbox", "Stored"]

TO_SEND, REFUSED = range(2)
SEVERAL = 4
"""After a full disk, readings begin again once there is room for this many blocks like the one that did not fit."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Where the gateway's chain stands: the place of the next block, and what the last start and the last block left.

    ``receipt``: the newest one; ``settled``: the newest of level 2.
    """

    link: Link
    boot: int
    configuration: int
    last_utc: int
    receipt: bytes | None
    settled: bytes | None = None


@dataclass(frozen=True, slots=True)
class First:
    """What a new store begins with, after another one was lost. ``alarm`` is told in its first block."""

    epoch: int
    previous: bytes
    boot: int
    configuration: int
    last_utc: int
    receipt: bytes | None
    settled: bytes | None
    alarm: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A sealed block as it is sent."""

    epoch: int
    seq: int
    frame: bytes


class Outbox:
    """The store of one gateway. A method has its change on disk when it returns, or raises and has changed nothing.

    ``durable`` False leaves the writes to the operating system: for simulated history, never for a meter.
    ``max_bytes`` bounds what sealed blocks may take; to keep within it, only blocks that a second copy covers are
    deleted. ``first``: what a new store begins with. DamagedError when the file does not hold what was written to it.
    """

    def __init__(
        self,
        path: Path,
        gateway: bytes,
        enrolment: bytes,
        durable: bool = True,
        max_bytes: int = 8 << 30,
        *,
        first: First | None = None,
    ):
        self.path, self.durable, self._max_bytes = path, durable, max_bytes
        self._refused = 0
        self._db = Database(path, durable)
        try:
            self.watermark = Watermark(path, durable)
            self._create(gateway, first or First(0, enrolment, 0, 0, 0, None, None, ""))
            self.shelf = Shelf(self._db)
            for place in soundness.check(self._db):
                self.shelf.read(*place)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file and let another process have it."""
        self._db.close()

    # ---- the chain

    def chain(self) -> Chain:
        """Where the chain stands."""
        row = rows.chain(self._db)
        link = Link(row["gateway"], row["epoch"], row["next_seq"], row["head"])
        return Chain(link, row["boot"], row["configuration"], row["last_utc"], row["receipt"], row["settled"])

    def begin(self, configuration: int) -> int:
        """The number of this start, one more than the last; StoreError when the configuration's number went back."""
        with self._db.transaction():
            row = rows.chain(self._db)
            if configuration < row["configuration"]:
                found = f"found site configuration {configuration} in force"
                raise StoreError(f"{found}, expected {row['configuration']} or newer")
            rows.move(self._db, boot=row["boot"] + 1, configuration=configuration)
            return int(row["boot"]) + 1

    def alarms(self) -> list[str]:
        """What has happened to the store, to be told in the next block."""
        return [detail for (detail,) in self._db.all("SELECT detail FROM alarm ORDER BY id")]

    # ---- the open block

    def add(self, records: Sequence[Record], blocks: Sequence[OpenBlock] = ()) -> None:
        """Keep exchanges, and blocks that were opened or had an event added; DiskFull."""
        with self._db.transaction():
            open_rows.keep(self._db, records, blocks)

    def opened(self) -> list[OpenBlock]:
        """The blocks that are not sealed, oldest first; DamagedError."""
        return open_rows.blocks(self._db)

    def records(self, block: int) -> list[Record]:
        """The exchanges of an open block, in the order of their commits; a damaged row is reported and left out."""
        records, damaged = open_rows.exchanges(self._db, block)
        if damaged:
            link = self.chain().link
            self.shelf.lost(link.epoch, link.seq, f"{damaged} exchanges, before it was sealed")
        return records

    # ---- sealed blocks

    def seal(self, block: OpenBlock, sealed: Sealed, link: Link, utc_end: int, *, bounded: bool = True) -> None:
        """Put the sealed block in the place of the open one and move the chain on, in one step; DiskFull.

        ``bounded`` False, for blocks that a start finds open, ignores ``max_bytes``: were they refused, nothing could
        be delivered, and so no room be made.
        """
        frame = transport.pack(sealed)
        settled = rows.chain(self._db)["settled"]
        with lets_go(self.path.parent, settled) as may_prune, self._db.transaction():
            row = rows.chain(self._db)
            if (row["epoch"], row["next_seq"], row["head"]) != (link.epoch, link.seq, link.previous):
                raise StoreError(f"found the chain at {row['next_seq']}, expected {link.seq}: it moved meanwhile")
            lived, total = row["lived"] + max(0, utc_end - block.utc), row["total"] + len(frame)
            gone, freed = retention.prune(self._db, row, len(frame), self._max_bytes) if may_prune else (0, 0)
            if bounded and row["bytes"] + len(frame) - freed > self._max_bytes:
                self._refused = len(frame)
                found = f"found {row['bytes'] - freed} bytes of blocks that no second copy covers"
                raise DiskFull(f"{found}, expected {self._max_bytes} or less")
            self._db.run(
                "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (link.epoch, link.seq, sealed.hash, block.utc, utc_end, TO_SEND, "", lived, total, frame),
            )
            open_rows.drop(self._db, block.id)
            rows.move(
                self._db,
                next_seq=link.seq + 1,
                head=sealed.hash,
                last_utc=utc_end,
                blocks=row["blocks"] + 1 - gone,
                bytes=row["bytes"] + len(frame) - freed,
                lived=lived,
                total=total,
                scrub_epoch=self.shelf.at[0],
                scrub_seq=self.shelf.at[1],
            )
        self.remember()

    def batch(self, epoch: int, seq: int, blocks: int, size: int) -> list[Stored]:
        """The blocks to send from this place on, in order: at most ``blocks`` and ``size`` bytes, but at least one.

        Refused blocks are sent too: they keep their place in the chain, and a collector that was restored needs them.
        An epoch ends before its first damaged block: the collector could not take what comes after it. One that was
        delivered once, and is asked for again, is passed over: the chain goes on behind it as behind one that was let
        go.
        """
        held: list[Stored] = []
        for number, received, _, cut in rows.epochs(self._db):
            if number < epoch:
                continue
            start = self._whole(number, seq if number == epoch else 0, received)
            end = END if cut is None else cut
            places = self._db.all(
                "SELECT seq FROM block WHERE epoch = ? AND seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
                (number, start, end, blocks - len(held)),
            )
            for (place,) in places:
                frame = self.shelf.read(number, place)
                if frame is None:
                    break
                size -= len(frame) + 5
                if held and size < 0:
                    return held
                held.append(Stored(number, place, frame))
            if len(held) == blocks:
                break
        return held

    def _whole(self, epoch: int, seq: int, received: int) -> int:
        """From which block on an epoch can be read, of those from ``seq`` on that were delivered."""
        first = "SELECT seq FROM block WHERE epoch = ? AND seq >= ? AND seq < ? ORDER BY seq LIMIT 1"
        while (row := self._db.one(first, (epoch, seq, received))) and self.shelf.read(epoch, row[0]) is None:
            seq = row[0] + 1
        return seq

    def first_unsettled(self) -> tuple[int, int]:
        """(epoch, seq) of the oldest block without a receipt; of the next block when all have one."""
        for epoch, received, _, cut in rows.epochs(self._db):
            row = self._db.one(
                "SELECT seq FROM block WHERE epoch = ? AND seq >= ? AND seq < ? AND state = 0 ORDER BY seq LIMIT 1",
                (epoch, received, END if cut is None else cut),
            )
            if row is not None:
                return epoch, row[0]
        link = self.chain().link
        return link.epoch, link.seq

    def settle(self, receipt: Receipt, envelope: bytes) -> bool:
        """Mark what the receipt covers. False, and nothing marked, when its head is not in this chain: a fork.

        A collector that holds less than a second copy once covered was set back, or is a new one. What it does not
        hold counts as uncovered again, and is kept. What one with another key has settled counts for nothing.
        """
        with self._db.transaction(lazy=True):
            if not self._knows(receipt):
                return False
            before = rows.chain(self._db)["settled"]
            if before is not None and signer(before) != signer(envelope):
                self._uncover(-1)
                rows.move(self._db, settled=None)
            _, received, settled, cut = rows.epoch(self._db, receipt.epoch)
            if receipt.level >= SETTLED:
                settled = max(settled, receipt.next_seq)
                rows.move(self._db, settled=envelope)
            else:
                settled = min(settled, receipt.next_seq)
                self._uncover(receipt.epoch)
            rows.keep_epoch(self._db, receipt.epoch, max(received, receipt.next_seq), settled, cut)
            if receipt.level < SETTLED or receipt.next_seq >= received:
                rows.move(self._db, receipt=envelope)
        self.remember((receipt.epoch, receipt.next_seq), flush=False)
        return True

    def _uncover(self, behind: int) -> None:
        """Nothing of the epochs behind this one is covered."""
        for number, received, settled, cut in rows.epochs(self._db):
            if number > behind and settled > 0:
                rows.keep_epoch(self._db, number, received, 0, cut)

    def refuse(self, epoch: int, seq: int, detail: str) -> None:
        """Keep this block, but no longer wait for its receipt: the collector has gone on without taking it."""
        with self._db.transaction():
            self._db.run(
                "UPDATE block SET state = ?, detail = ? WHERE epoch = ? AND seq = ?", (REFUSED, detail, epoch, seq)
            )

    def open_epoch(self, epoch: int, previous: bytes, receipt: bytes) -> None:
        """Begin a new epoch after ``previous``, SHA-256 of ``receipt``; what was not received stays where it is."""
        with self._db.transaction():
            for number, received, settled, cut in rows.epochs(self._db):
                rows.keep_epoch(self._db, number, received, settled, received if cut is None else min(cut, received))
            rows.open_epoch(self._db, epoch, previous, receipt)
            rows.move(self._db, receipt=receipt)
        self.remember()

    def began(self, most: int) -> list[bytes]:
        """The receipts that the newest epochs began with, newest first."""
        return rows.began(self._db, most)

    def renew(
        self,
        epoch: int,
        previous: bytes,
        alarm: str,
        *,
        cut: tuple[int, int] | None = None,
        after: Mark | None = None,
    ) -> None:
        """Begin a new epoch because of a fault of this box; what the one before holds is still delivered.

        ``cut``: (epoch, seq) from which on it cannot be. ``after``: what the watermark knows of the chain and this
        store has lost.
        """
        with self._db.transaction():
            if cut is not None:
                _, received, settled, _ = rows.epoch(self._db, cut[0])
                rows.keep_epoch(self._db, cut[0], received, settled, cut[1])
            row = rows.chain(self._db)
            held = (after.receipt if after is not None else None) or row["receipt"]
            rows.open_epoch(self._db, epoch, previous, _named(held, previous))
            if after is not None:
                rows.move(
                    self._db,
                    boot=max(row["boot"], after.boot),
                    configuration=max(row["configuration"], after.configuration),
                    receipt=held,
                    settled=after.settled or row["settled"],
                )
            self._db.run("INSERT INTO alarm (detail) VALUES (?)", (alarm,))
        self.remember()

    def cut(self, epoch: int, seq: int) -> None:
        """Nothing from this block on can be delivered in its epoch, which is not the one in use."""
        with self._db.transaction():
            _, received, settled, before = rows.epoch(self._db, epoch)
            rows.keep_epoch(self._db, epoch, received, settled, seq if before is None else min(seq, before))

    def hash_of(self, epoch: int, seq: int) -> bytes | None:
        """SHA-256 of a block's envelope; None when it is no longer here."""
        row = self._db.one("SELECT hash FROM block WHERE epoch = ? AND seq = ?", (epoch, seq))
        return None if row is None else row[0]

    def drop_open(self) -> int:
        """Delete the open blocks, of which another record is known to be delivered; how many exchanges they held."""
        with self._db.transaction():
            return open_rows.drop_all(self._db)

    def adopt(self, epoch: int, received: int, blocks: Sequence[tuple[Any, ...]]) -> None:
        """Add blocks of an earlier epoch, recovered from another store, that the collector has not received.

        Each (seq, hash, utc_start, utc_end, frame), one after another without a hole.
        """
        with self._db.transaction():
            row = rows.chain(self._db)
            lived, total = row["lived"], row["total"]
            for seq, digest, start, end, frame in blocks:
                lived, total = lived + max(0, end - start), total + len(frame)
                self._db.run(
                    "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (epoch, seq, digest, start, end, TO_SEND, "", lived, total, frame),
                )
            added = total - row["total"]
            rows.move(
                self._db, blocks=row["blocks"] + len(blocks), bytes=row["bytes"] + added, lived=lived, total=total
            )
            rows.keep_epoch(self._db, epoch, received, 0, blocks[-1][0] + 1)

    # ---- what is told of it

    def counts(self) -> Counts:
        """What status tells."""
        return count(self._db, self._max_bytes)

    def short_of(self) -> int:
        """How many bytes are missing before sealed blocks may be kept again; 0 when there is room within the bound."""
        _, prunable = retention.prunable(self._db, rows.epochs(self._db))
        margin = max(min(retention.MARGIN, self._max_bytes // 64), min(SEVERAL * self._refused, self._max_bytes // 2))
        return max(0, int(rows.chain(self._db)["bytes"]) - prunable + margin - self._max_bytes)

    def scrub(self, blocks: int) -> bool:
        """Look at some sealed blocks; True when all have been looked at. Then no read error counts any more."""
        over = self.shelf.scrub(blocks)
        if over and self.watermark.mark is not None and self.watermark.mark.doubts:
            self.remember(doubts=0)
        return over

    def free(self) -> int:
        """Bytes that may still be written, on the disk and inside the file."""
        return retention.free(self._db)

    def log_bytes(self) -> int:
        """How large SQLite's log is: it grows beyond its bound only when somebody reads the store for long."""
        return self._db.log_bytes()

    def remember(self, received: tuple[int, int] | None = None, flush: bool = True, doubts: int | None = None) -> None:
        """Put the watermark where the chain is. On a full disk it may stay behind: that harms nothing."""
        row, before = rows.chain(self._db), self.watermark.mark
        known = (0, 0) if before is None or before.gateway != row["gateway"] else before.received
        if doubts is None:
            doubts = 0 if before is None else before.doubts
        names = ("gateway", "epoch", "next_seq", "head", "boot", "configuration", "last_utc")
        place: dict[str, Any] = {name: row[name] for name in names}
        known = max(known, received or known)
        mark = Mark(**place, received=known, receipt=row["receipt"], settled=row["settled"], doubts=doubts)
        with suppress(DiskFull):
            self.watermark.write(mark, flush)

    def doubt(self) -> None:
        """Reading the store has failed: the next start shall know."""
        with suppress(StoreError):
            self.watermark.doubt()

    # ---- how

    def _create(self, gateway: bytes, first: First) -> None:
        soundness.check_structure(self._db)
        fresh = not soundness.begun(self._db)
        with self._db.transaction():
            rows.create(self._db)  # in an older store, what came since
            if fresh:
                rows.begin(
                    self._db,
                    schema=rows.SCHEMA,
                    gateway=gateway,
                    epoch=first.epoch,
                    next_seq=0,
                    head=first.previous,
                    boot=first.boot,
                    configuration=first.configuration,
                    last_utc=first.last_utc,
                    receipt=first.receipt,
                    settled=first.settled,
                    **dict.fromkeys(("blocks", "bytes", "lived", "total", "scrub_epoch", "scrub_seq"), 0),
                )
                rows.keep_epoch(self._db, first.epoch, 0, 0, None)
                rows.keep_began(self._db, first.epoch, _named(first.receipt, first.previous))
                if first.alarm:
                    self._db.run("INSERT INTO alarm (detail) VALUES (?)", (first.alarm,))
        if fresh and self.durable:
            self._db.sync_name()
        soundness.check_owner(self._db, gateway)

    def _knows(self, receipt: Receipt) -> bool:
        """Whether the newest block the collector holds is in this chain."""
        link = self.chain().link
        if (receipt.epoch, receipt.next_seq) >= (link.epoch, link.seq):
            return (receipt.epoch, receipt.next_seq, receipt.head) == (link.epoch, link.seq, link.previous)
        return self.hash_of(receipt.epoch, receipt.next_seq - 1) in (None, receipt.head)


def _named(receipt: bytes | None, previous: bytes) -> bytes | None:
    """The receipt, if it is the one whose hash this is."""
    return receipt if receipt is not None and digest(receipt) == previous else None
