"""The store read beside a running agent, or on a box that stands still: never written, each block checked.

A connection of its own, read-only, that holds no transaction for longer than a page of blocks: the agent's log is never
kept from being brought in. The gateway's private key is not needed, its enrolment has the public one.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from drivers.installation import Installation, install
from drivers.reading import Exchange
from edge import config
from edge.database import unread
from edge.sealer import OpenBlock, Record
from protocols.errors import ChainError, ConfigError, RecordError
from protocols.record import transport
from protocols.record.block import Chunk, Header, open_block
from protocols.record.cose import PublicKey

PAGE = 32
"""Blocks read in one go."""


@dataclass(frozen=True, slots=True)
class Good:
    """A block that is what the gateway signed, in its place."""

    header: Header
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Bad:
    """A block that is not, or that is not there: which, when (UTC ms), and why."""

    epoch: int
    seq: int
    start: int | None
    end: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Row:
    """A block as it lies there."""

    epoch: int
    seq: int
    hash: bytes
    start: int
    end: int
    frame: bytes


class Archive:
    """The box in a state folder. ConfigError, RecordError, StoreError when it is none that can be read."""

    def __init__(self, state: Path) -> None:
        self._path = state / config.OUTBOX
        try:
            envelope = (state / config.ENROLMENT).read_bytes()
        except OSError as error:
            found = str(error.strerror)
            raise ConfigError(str(state / config.ENROLMENT), found, "an enrolment: run `tanmeter site init`") from error
        enrolment = config.opened_enrolment(state / config.ENROLMENT, envelope)
        self.key: PublicKey = enrolment.key
        self._previous = hashlib.sha256(envelope).digest()
        signed = config.load_configurations(state, enrolment.technician)
        self._signed = {held.config.number: held for held in signed}
        self._installed: dict[int, Installation] = {}
        self.newest = self.installation(*signed[-1].name)
        self._db = _connect(self._path)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def installation(self, number: int, digest: bytes) -> Installation:
        """What gives the bytes of a configuration's blocks their meaning; ChainError when it is not here."""
        held = self._signed.get(number)
        if held is None or held.name[1] != digest:
            raise ChainError(f"found configuration {number} {digest.hex()[:16]}, expected one of this box")
        if number not in self._installed:
            profiles = dict(zip([name for name, _ in held.config.profiles], held.profiles, strict=True))
            self._installed[number] = install(held.config.site, profiles, f"configuration {number}")
        return self._installed[number]

    def blocks(self, start: int, end: int) -> Iterator[Good | Bad]:
        """The sealed blocks that touch [start, end) (UTC ms as believed), in the order of the chain."""
        place, before = (-1, -1), None
        while rows := self._page(place, start, end):
            for row in rows:
                if before is not None and before.epoch == row.epoch and before.seq + 1 < row.seq:
                    yield from self._missing(before, row)
                yield self._opened(row, before)
                before = row
            place = rows[-1].epoch, rows[-1].seq

    def place(self) -> tuple[int, int]:
        """Epoch and seq of the next block."""
        ((epoch, seq),) = self._rows("SELECT epoch, next_seq FROM chain", ())
        return epoch, seq

    def starts_before(self, blocks: int) -> int:
        """When so many of the newest blocks begin (UTC ms as believed)."""
        rows = self._rows("SELECT utc_start FROM block ORDER BY epoch DESC, seq DESC LIMIT ?", (blocks,))
        return min([start for (start,) in rows], default=0)

    def opened(self) -> Iterator[tuple[OpenBlock, list[Record]]]:
        """What is committed and not sealed yet: unsigned."""
        for (data,) in self._rows("SELECT data FROM open_block ORDER BY id", ()):
            block = OpenBlock.from_bytes(data)
            rows = self._rows(
                "SELECT slot, device, query, request, reply, fault, at_ms FROM open_exchange WHERE block = ?"
                " ORDER BY id",
                (block.id,),
            )
            yield block, [Record(block.id, slot, Exchange(*rest)) for slot, *rest in rows]

    def _page(self, place: tuple[int, int], start: int, end: int) -> list[Row]:
        rows = self._rows(
            "SELECT epoch, seq, hash, utc_start, utc_end, frame FROM block"
            " WHERE (epoch, seq) > (?, ?) AND utc_end >= ? AND utc_start < ? ORDER BY epoch, seq LIMIT ?",
            (*place, start, end, PAGE),
        )
        return [Row(*row) for row in rows]

    def _missing(self, before: Row, row: Row) -> Iterator[Bad]:
        """The places between two blocks of one epoch that should be there; not those outside the time asked for."""
        count = self._rows(
            "SELECT count(*) FROM block WHERE epoch = ? AND seq > ? AND seq < ?", (row.epoch, before.seq, row.seq)
        )[0][0]
        if count < row.seq - before.seq - 1:
            why = f"found {count} blocks between {before.seq} and {row.seq}, expected {row.seq - before.seq - 1}"
            yield Bad(row.epoch, before.seq + 1, before.end, row.start, why)

    def _opened(self, row: Row, before: Row | None) -> Good | Bad:
        try:
            sealed = transport.unpack(row.frame)
            if sealed.hash != row.hash:
                raise ChainError(f"found an envelope {sealed.hash.hex()}, expected {row.hash.hex()}")
            header, chunks = open_block(sealed, self.key)
            self._check_place(header, row, before)
            return Good(header, chunks)
        except RecordError as error:
            return Bad(row.epoch, row.seq, row.start, row.end, f"{error.code} {error}")

    def _check_place(self, header: Header, row: Row, before: Row | None) -> None:
        if (header.epoch, header.seq) != (row.epoch, row.seq):
            raise ChainError(f"found block {header.epoch}/{header.seq}, expected {row.epoch}/{row.seq}")
        expected = self._predecessor(row, before)
        if expected is not None and header.previous != expected:
            raise ChainError(f"found a predecessor {header.previous.hex()}, expected {expected.hex()}")

    def _predecessor(self, row: Row, before: Row | None) -> bytes | None:
        """The hash the block must name; None where that is not here any more."""
        if row.seq == 0:
            return self._previous if row.epoch == 0 else None
        if before is not None and (before.epoch, before.seq) == (row.epoch, row.seq - 1):
            return before.hash
        held = self._rows("SELECT hash FROM block WHERE epoch = ? AND seq = ?", (row.epoch, row.seq - 1))
        return held[0][0] if held else None

    def _rows(self, query: str, values: tuple[object, ...]) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise unread(self._path, error) from error


def _connect(path: Path) -> sqlite3.Connection:
    """Read-only; on a disk that cannot be written without the log of a run that did not end."""
    if not path.exists():
        raise ConfigError(str(path), "no store", "that of a box that has measured: `tanmeter edge run`")
    last: sqlite3.Error | None = None
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        with suppress(sqlite3.Error):
            db = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None, timeout=5)
            try:
                with closing(db.execute("SELECT epoch FROM chain")) as found:
                    found.fetchone()
                return db
            except sqlite3.Error as error:
                db.close()
                last = error
    raise unread(path, last)
