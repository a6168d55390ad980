"""SQLite's file format (sqlite.org/fileformat2.html), as far as rows can be found in pages nobody vouches for.

Every leaf page is looked at for what it is, whatever the tree above it says, so that a page, or the header, may be
destroyed and all others are still read. What a row says is for the reader to believe: by a hash, a signature, a sum.
"""

import os
from collections.abc import Iterator
from pathlib import Path

SIZES = (1024, 4096, 2048, 8192, 512, 16384, 32768, 65536)
MAGIC = b"SQLite format 3\0"
LEAF = 0x0D
WAL_MAGIC = frozenset({0x377F0682, 0x377F0683})
LARGEST = 2 << 20
"""Bytes of a row beyond which it is none of ours."""
Value = int | bytes | str | None
SAMPLE = 1 << 20
"""Bytes by which the page size is guessed."""
WIDTHS = (0, 1, 2, 3, 4, 6, 8)


class Pages:
    """The pages of a file, and of the log beside it, which come first."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._newer: dict[int, bytes] = {}
        log = path.with_name(path.name + "-wal")
        self.size = _page_size(self._at(0, SAMPLE))
        if log.exists():
            self._read_log(log.read_bytes())
        self._count = max([path.stat().st_size // self.size, *self._newer])

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def rows(self, columns: int) -> Iterator[list[Value]]:
        """Every row with so many columns that a leaf page holds, in the order of the pages."""
        for number in range(1, self._count + 1):
            page = self.page(number)
            start = 100 if number == 1 else 0
            if len(page) == self.size and page[start] == LEAF:
                yield from self._leaf(page, start, columns)

    def page(self, number: int) -> bytes:
        """A page as it was last written, empty when there is none or the disk does not give it."""
        if number in self._newer:
            return self._newer[number]
        return self._at((number - 1) * self.size, self.size)

    def _at(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._file.fileno(), size, offset)
        except (OSError, OverflowError):
            return b""

    def _leaf(self, page: bytes, start: int, columns: int) -> Iterator[list[Value]]:
        count = int.from_bytes(page[start + 3 : start + 5])
        for index in range(min(count, self.size // 4)):
            at = int.from_bytes(page[start + 8 + 2 * index : start + 10 + 2 * index])
            try:
                payload = self._payload(page, at)
                row = _record(payload, columns)
            except (ValueError, IndexError):
                continue
            if row is not None:
                yield row

    def _payload(self, page: bytes, at: int) -> bytes:
        """The bytes of a cell, with what lies in overflow pages; ValueError, IndexError."""
        size, at = _varint(page, at)
        _, at = _varint(page, at)
        if size > LARGEST:
            raise ValueError(size)
        most, least = self.size - 35, (self.size - 12) * 32 // 255 - 23
        if size <= most:
            return page[at : at + size]
        local = least + (size - least) % (self.size - 4)
        local = local if local <= most else least
        parts, held = [page[at : at + local]], local
        following = int.from_bytes(page[at + local : at + local + 4])
        while held < size:
            more = self.page(following)
            if not following or len(more) < self.size:
                raise ValueError(following)
            following, part = int.from_bytes(more[:4]), more[4 : 4 + size - held]
            parts.append(part)
            held += len(part)
        return b"".join(parts)

    def _read_log(self, log: bytes) -> None:
        """The pages of the log that belong to its header; a transaction that was cut short counts too."""
        if int.from_bytes(log[:4]) not in WAL_MAGIC:
            return
        if (size := int.from_bytes(log[8:12])) in SIZES:
            self.size = size
        salt, at = log[16:24], 32
        while at + 24 + self.size <= len(log) and log[at + 8 : at + 16] == salt:
            self._newer[int.from_bytes(log[at : at + 4])] = log[at + 24 : at + 24 + self.size]
            at += 24 + self.size


def _page_size(data: bytes) -> int:
    """As the header says, else the size at which most pages are leaves whose cells lie in them."""
    said = int.from_bytes(data[16:18])
    if data.startswith(MAGIC) and (said in SIZES or said == 1):
        return 65536 if said == 1 else said
    return max(SIZES, key=lambda size: sum(_is_leaf(data[at : at + size], size) for at in range(size, len(data), size)))


def _is_leaf(page: bytes, size: int) -> bool:
    if len(page) < size or page[0] != LEAF:
        return False
    count = int.from_bytes(page[3:5])
    pointers = [int.from_bytes(page[at : at + 2]) for at in range(8, min(8 + 2 * count, size - 1), 2)]
    return bool(pointers) and all(8 + 2 * count <= at < size for at in pointers)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(9):
        byte = data[at + count]
        if count == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + count + 1
    raise ValueError(at)


def _record(payload: bytes, columns: int) -> list[Value] | None:
    """The values of a row of so many columns; None when it has another number of them."""
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if at != end or len(kinds) != columns:
        return None
    row: list[Value] = []
    for kind in kinds:
        value, at = _value(payload, kind, at)
        row.append(value)
    return row


def _value(payload: bytes, kind: int, at: int) -> tuple[Value, int]:
    if kind in (8, 9):
        return kind - 8, at
    if kind <= 6:
        width = WIDTHS[kind]
        return (None if kind == 0 else int.from_bytes(payload[at : at + width], signed=True)), at + width
    if kind < 12:
        raise ValueError(kind)
    width = (kind - 12) // 2
    data = payload[at : at + width]
    if len(data) < width:
        raise IndexError(at)
    return (data.decode("utf-8") if kind % 2 else data), at + width
