"""How far a second copy reaches, by its bytes: a reader of its own for the newest segment, from where it last ended.

The layout is the one ``cloud/segments.py`` tells of; what writes it has no part in this.
"""

import hashlib
from pathlib import Path

from cloud.segments import HEAD
from protocols.record import cbor

LENGTH, DIGEST = 4, 32


class Reach:
    """State: the segment that was read last, up to which byte, and the ingest_seq that it holds there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._at, self._before, self._blocks = 0, b"", 0

    def blocks(self) -> int:
        """The ingest_seq up to which whole records lie in the newest segment; 0 when there is none."""
        newest = max(self._folder.glob("[0-9]*/[0-9]*.copy"), default=None)
        if newest is None:
            return 0
        data = newest.read_bytes()
        if newest != self._path or len(data) < self._at:
            self._path, self._at, self._before, self._blocks = newest, HEAD, data[HEAD - DIGEST : HEAD], 0
        self._read(data)
        return self._blocks

    def _read(self, data: bytes) -> None:
        while self._at + LENGTH + DIGEST < len(data):
            begins = self._at + LENGTH + DIGEST
            length = int.from_bytes(data[self._at : self._at + LENGTH])
            digest, body = data[self._at + LENGTH : begins], data[begins : begins + length]
            if len(body) != length or hashlib.sha256(self._before + body).digest() != digest:
                return
            self._at, self._before, self._blocks = begins + length, digest, cbor.decode(body)[1]
