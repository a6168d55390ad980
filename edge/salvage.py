"""What can still be read of a store that was set aside: sealed blocks, each proved by its hash, and open exchanges."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edge.frames import check, checksum
from edge.pages import Pages, Value
from protocols.errors import ConfigError, DamagedError, RecordError
from protocols.record import cbor, cose, transport
from protocols.record.block import open_block
from protocols.record.cose import PublicKey

BLOCK_COLUMNS = 10


@dataclass(frozen=True, slots=True)
class Recovered:
    """A sealed block as it was kept."""

    epoch: int
    seq: int
    hash: bytes
    utc_start: int
    utc_end: int
    frame: bytes

    @property
    def name(self) -> str:
        """Of its file: epoch and seq."""
        return f"{self.epoch}-{self.seq}.blk"


@dataclass(frozen=True, slots=True)
class Salvaged:
    """``damaged``: (epoch, seq, what is wrong) of blocks that were found and are not whole. ``missing``: (epoch, first,
    last seq) of stretches between recovered blocks of which nothing was found; ``exchanges``: of the open block.
    """

    blocks: tuple[Recovered, ...]
    damaged: tuple[tuple[int, int, str], ...]
    missing: tuple[tuple[int, int, int], ...]
    exchanges: tuple[tuple[Any, ...], ...]


def salvage(path: Path, key: PublicKey | None = None) -> Salvaged:
    """Read the store as far as it can be read; nothing is written. With ``key`` every block's signature is checked.

    ConfigError when there is no such file.
    """
    try:
        pages = Pages(path)
    except OSError as error:
        raise ConfigError(str(path), str(error.strerror), "a store that can be read") from error
    whole: dict[tuple[int, int], Recovered] = {}
    damaged: dict[tuple[int, int], str] = {}
    with closing(pages):
        for row in pages.rows(BLOCK_COLUMNS):
            if (block := _as_block(row)) is None:
                continue
            try:
                _prove(block, key)
                whole[block.epoch, block.seq] = block
            except (DamagedError, RecordError) as error:
                damaged[block.epoch, block.seq] = str(error)
    blocks = tuple(whole[place] for place in sorted(whole))
    bad = tuple((*place, damaged[place]) for place in sorted(damaged) if place not in whole)
    return Salvaged(blocks, bad, tuple(_missing([*whole, *(entry[:2] for entry in bad)])), tuple(exchanges(path)))


def exchanges(path: Path) -> list[tuple[Any, ...]]:
    """Committed exchanges that no block holds yet (block, slot, device, query, request, reply, fault, at ms), as SQLite
    reads them: pages alone do not tell what was deleted. Empty when it cannot read them.
    """
    found = []
    try:
        with closing(_reading(path)) as db:
            for row in db.execute(
                "SELECT block, slot, device, query, request, reply, fault, at_ms, sum FROM open_exchange ORDER BY id"
            ):
                if checksum(row[:-1]) == row[-1]:
                    found.append(row[:-1])
    except (sqlite3.Error, UnicodeError):
        pass
    return found


def open_blocks(path: Path) -> list[bytes]:
    """The blocks that were open, as they were kept; empty when SQLite cannot read them."""
    try:
        with closing(_reading(path)) as db:
            rows = db.execute("SELECT id, data, sum FROM open_block ORDER BY id").fetchall()
            return [data for number, data, known in rows if checksum((number, data)) == known]
    except (sqlite3.Error, UnicodeError):
        return []


def place(path: Path) -> tuple[int, int]:
    """Where the chain of the store stands by its own word: epoch and next seq; (-1, 0) when SQLite cannot read it."""
    try:
        with closing(_reading(path)) as db:
            epoch, seq = db.execute("SELECT epoch, next_seq FROM chain").fetchone()
            return int(epoch), int(seq)
    except (sqlite3.Error, UnicodeError, TypeError):
        return -1, 0


def newest_epoch(path: Path) -> tuple[int, int]:
    """The epoch and next seq of a store whose own word is in doubt: the newest of its blocks, (0, 0) without one."""
    try:
        blocks = salvage(path).blocks
    except ConfigError:
        return 0, 0
    return (blocks[-1].epoch, blocks[-1].seq + 1) if blocks else (0, 0)


def _reading(path: Path) -> sqlite3.Connection:
    """The file as SQLite sees it, its log included; nothing in it is changed."""
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=0)


def _as_block(row: list[Value]) -> Recovered | None:
    """A row of the table of blocks; None when it is one of another table."""
    match row:
        case [int(epoch), int(seq), bytes(digest), int(start), int(end), int(), str(), int(), int(), bytes(frame)]:
            return Recovered(epoch, seq, digest, start, end, frame) if len(digest) == 32 else None
    return None


def _prove(block: Recovered, key: PublicKey | None) -> None:
    """Its bytes are those of its hash, it stands where its signed header says; DamagedError, RecordError."""
    check(block.frame, block.hash)
    sealed = transport.unpack(block.frame)
    header = cbor.decode(cose.unverified(sealed.envelope))
    if (header[2], header[3]) != (block.epoch, block.seq):
        raise DamagedError(f"it is block {header[2]}/{header[3]}")
    if key is not None:
        open_block(sealed, key)


def _missing(places: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    before: tuple[int, int] | None = None
    for epoch, seq in sorted(places):
        if before is not None and before[0] == epoch and seq > before[1] + 1:
            yield epoch, before[1] + 1, seq - 1
        before = (epoch, seq)
