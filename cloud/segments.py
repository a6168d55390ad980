"""The files of a second copy: records one after another, each bound to the one before it, appended and never changed.

A folder of a copy has generations (``0001``, ``0002``, ...): one begins when what is copied is not what the one before
was made from. A generation has segments. A segment is a head and records:

    head   = "tanmeter-copy/1\\n", the collector's kid (8 bytes), the digest of the record before its first (32 bytes)
    record = length of the body (4 bytes, big-endian), digest (32 bytes), body
    digest = SHA-256(digest of the record before, body); before the first of a generation stand 32 zero bytes

So a record that is damaged, left out or out of its place is found out. A torn end, which was never synced, has no two
records behind it that fit each other; where there are such, the file is kept as NUMBER-BYTE.damaged before it is cut.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from cloud.durable import sync_folder
from protocols.errors import ConfigError, CopyError, EncodingError
from protocols.record import cbor, shape

MAGIC = b"tanmeter-copy/1\n"
HEAD = len(MAGIC) + 8 + 32
LARGEST = 64 << 20
"""Bytes; behind that the next segment begins."""
LARGEST_BODY = 64 << 20
PREFIX = 4 + 32
"""Bytes before the body of a record."""
BODY = re.compile(b"\x84")
"""How one begins: a list of four in CBOR."""
FIRST = bytes(32)
BLOCK = 0
"""The kind of a record that is a block."""


@dataclass(frozen=True, slots=True)
class Record:
    """Something copied. ``blocks``, ``facts``: how far the copy is with it: ingest_seq and number of the fact."""

    kind: int
    blocks: int
    facts: int
    fields: tuple[Any, ...]

    def to_bytes(self) -> bytes:
        """The body."""
        return cbor.encode([int(self.kind), self.blocks, self.facts, list(self.fields)])

    @classmethod
    def from_bytes(cls, body: bytes) -> "Record":
        """The record; EncodingError."""
        kind, blocks, facts, fields = shape.array(cbor.decode(body), "record", 4)
        marks = (shape.unsigned(blocks, "record blocks"), shape.unsigned(facts, "record facts"))
        return cls(shape.unsigned(kind, "record kind"), *marks, tuple(shape.array(fields, "record fields")))


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that was read: its whole records end at ``end``; ``torn`` when something is behind them."""

    path: Path
    kid: bytes
    before: bytes
    records: tuple[tuple[bytes, Record], ...]
    end: int
    torn: bool

    @property
    def digest(self) -> bytes:
        """Of the last record, or of the one before the first."""
        return self.records[-1][0] if self.records else self.before


def generations(folder: Path) -> list[Path]:
    """The generations of a copy, oldest first."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())


def collectors(folder: Path) -> set[bytes]:
    """The kids of the collectors that the segments of a generation say they are of: one, where all are whole."""
    found = set[bytes]()
    for path in _paths(folder):
        with path.open("rb") as file:
            head = file.read(HEAD)
        if len(head) == HEAD and head.startswith(MAGIC):
            found.add(head[len(MAGIC) : HEAD - 32])
    return found


def read(folder: Path, *, up_to_damage: bool = False) -> Iterator[Record]:
    """Every record of a generation in its order; CopyError where it is damaged before its end, unless that ends it."""
    before, paths = FIRST, _paths(folder)
    for index, path in enumerate(paths):
        segment = _read(path)
        fits = segment is not None and segment.before == before
        if segment is not None and fits:
            yield from (record for _, record in segment.records)
            before = segment.digest
        last = index == len(paths) - 1
        if not fits or (segment is not None and segment.torn):
            at = segment.end if segment is not None and fits else 0
            if up_to_damage or (last and not _goes_on(path, at)):
                return
            expected = "whole records up to the end: restore --up-to-damage takes what stands before it"
            raise CopyError(f"{path}: found damage at byte {at}, expected {expected}")


def whole(folder: Path) -> Iterator[Record]:
    """Every whole record of a generation, and of a damaged segment what stands before the damage.

    For whoever proves by itself what a record holds: that none is left out or out of its place is not checked.
    """
    for path in _paths(folder):
        if (segment := _read(path)) is not None:
            yield from (record for _, record in segment.records)


class Segments:
    """A generation to append to. Nothing counts before ``sync``; after an OSError it must be opened anew.

    ``blocks``, ``facts``: how far it is. ``found``: the last block of the newest segment when it was opened.
    """

    def __init__(self, folder: Path, kid: bytes, largest: int = LARGEST) -> None:
        """Open it, made when it is not there; its newest segment is read from the disk and a torn end cut off."""
        self.folder, self._kid, self._largest = folder, kid, largest
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(folder.parent)
        self.blocks = self.facts = 0
        self.found: Record | None = None
        self._file: IO[bytes] | None = None
        self._digest, self._number = FIRST, 0
        self._recover()

    def append(self, records: Iterable[Record]) -> None:
        """Write records behind the others."""
        for record in records:
            body = record.to_bytes()
            digest = hashlib.sha256(self._digest + body).digest()
            self._open().write(len(body).to_bytes(4) + digest + body)
            self._digest = digest
            self.blocks, self.facts = record.blocks, record.facts

    def sync(self) -> None:
        """What was appended is on the disk when this returns."""
        if self._file is None:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._file.tell() >= self._largest:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Let go of the file; what was not synced may be lost."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _open(self) -> IO[bytes]:
        """The segment to write to, a new one when there is none."""
        if self._file is None:
            self._number += 1
            path = self.folder / f"{self._number:08d}.copy"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(descriptor, "r+b", buffering=1 << 20)
            self._file.write(MAGIC + self._kid + self._digest)
            sync_folder(self.folder)
        return self._file

    def _recover(self) -> None:
        """Find the end of what is whole, from the newest segment backwards; nobody counts on what is behind it."""
        for path in reversed(_paths(self.folder)):
            segment = _read(path)
            if segment is not None and segment.kid != self._kid:
                found = f"a copy of the collector {segment.kid.hex()}"
                raise ConfigError(f"--copy {self.folder.parent}", found, "an empty folder, or a copy of this one")
            if segment is None or segment.torn:
                _keep_aside(path, 0 if segment is None else segment.end)
            if segment is None or not segment.records:
                path.unlink()
                sync_folder(self.folder)
                continue
            newest = segment.records[-1][1]
            self.found = next((held for _, held in reversed(segment.records) if held.kind == BLOCK), None)
            self._number, self._digest = int(path.stem), segment.digest
            self.blocks, self.facts = newest.blocks, newest.facts
            self._file = path.open("r+b", buffering=1 << 20)
            self._file.truncate(segment.end)
            self._file.seek(segment.end)
            os.fsync(self._file.fileno())
            return


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.copy"))


def _read(path: Path) -> Segment | None:
    """A segment as the disk has it, not as memory remembers it; None when not even its head is whole."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        data = file.read()
    if len(data) < HEAD or not data.startswith(MAGIC):
        return None
    kid, before = data[len(MAGIC) : len(MAGIC) + 8], data[HEAD - 32 : HEAD]
    records: list[tuple[bytes, Record]] = []
    at, digest = HEAD, before
    while (found := _record(data, at, digest)) is not None:
        digest, record, at = found
        records.append((digest, record))
    return Segment(path, kid, before, tuple(records), at, at < len(data))


def _keep_aside(path: Path, at: int) -> None:
    """Leave a file that goes on behind damage beside the others: who cuts it may not have what is there."""
    if _goes_on(path, at):
        shutil.copyfile(path, path.with_name(f"{path.stem}-{at}.damaged"))


def _goes_on(path: Path, at: int) -> bool:
    """Whether two records that fit each other stand at ``at`` or behind: then the end there is none that was torn.

    Where one begins is not known behind a damaged length, so each byte that may begin a body is tried.
    """
    data = path.read_bytes()
    starts = chain([at], (match.start() - PREFIX for match in BODY.finditer(data, at + PREFIX)))
    return any(_followed(data, start) for start in starts)


def _followed(data: bytes, start: int) -> bool:
    """Whether a record stands behind the one that may begin here, and is bound to it."""
    end = start + PREFIX + int.from_bytes(data[start : start + 4])
    body, length = end + PREFIX, int.from_bytes(data[end : end + 4])
    if data[body : body + 1] != BODY.pattern or body + length > len(data):
        return False
    bound = hashlib.sha256(data[start + 4 : start + PREFIX] + data[body : body + length]).digest()
    return bound == data[end + 4 : body]


def _record(data: bytes, at: int, before: bytes) -> tuple[bytes, Record, int] | None:
    """(digest, record, where it ends); None when there is no whole one."""
    length = int.from_bytes(data[at : at + 4])
    digest, body = data[at + 4 : at + 36], data[at + 36 : at + 36 + length]
    if not 0 < length <= LARGEST_BODY or len(body) != length or hashlib.sha256(before + body).digest() != digest:
        return None
    try:
        return digest, Record.from_bytes(body), at + 36 + length
    except EncodingError:
        return None
