"""How far the chain had come, in a file of its own: a store that lost its last commits, or all, can be told by it.

Two slots in one file of fixed size, each with a count and a digest. Writing takes the slot that is not the last one
known to be on disk: at every instant one of them is whole, and neither a new name is needed nor room on a full disk.
"""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from edge.database import FULL, DiskFull
from edge.durable import sync_folder
from protocols.errors import EncodingError, StoreError
from protocols.record import cbor, shape

NAME = "watermark"
SLOT = 4096
DIGEST = 16
VERSION = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """The chain's next place and head, the boot and configuration it was made in, and what the collector signed.

    ``received``: (epoch, next seq) of the newest receipt; ``receipt`` and ``settled``: the envelopes, as far as there
    are any. ``last_utc``: end of the newest block, UTC ms. ``doubts``: starts in a row that ended in a read error.
    """

    gateway: bytes
    epoch: int
    next_seq: int
    head: bytes
    boot: int
    configuration: int
    last_utc: int
    received: tuple[int, int] = (0, 0)
    receipt: bytes | None = None
    settled: bytes | None = None
    doubts: int = 0


class Watermark:
    """The file beside the store at ``store``."""

    def __init__(self, store: Path, durable: bool = True) -> None:
        self.path, self._durable = store.with_name(NAME), durable
        self._count = self._next = 0
        self.damaged = False
        """Whether there is a file of which no slot can be read."""
        self.mark: Mark | None = self._read()

    def write(self, mark: Mark, flush: bool = True) -> None:
        """Put it down; on disk when ``flush``, else some time, never in the place of what is. DiskFull, StoreError."""
        if mark == self.mark and not flush:
            return
        try:
            if not self.path.exists():
                self._create()
            self._place(_slot(self._count + 1, mark), flush)
        except OSError as error:
            kind = DiskFull if error.errno in FULL else StoreError
            raise kind(f"{self.path}: {error.strerror}") from error
        self._count, self.mark, self.damaged = self._count + 1, mark, False

    def doubt(self) -> int:
        """Remember that reading the store failed; how often in a row it has."""
        if self.mark is None:
            return 0
        self.write(replace(self.mark, doubts=self.mark.doubts + 1))
        return self.mark.doubts

    def _read(self) -> Mark | None:
        try:
            with self.path.open("r+b") as file:
                data = file.read()
                if self._durable:
                    os.fsync(file.fileno())  # the process before may have left what is read only in the cache
        except FileNotFoundError:
            return None
        except OSError:
            self.damaged = True
            return None
        found = []
        for number in range(2):
            with suppress(EncodingError, ValueError, TypeError):
                found.append((*_unslot(data[number * SLOT : (number + 1) * SLOT]), number))
        if not found:
            self.damaged = bool(data.strip(b"\0"))
            return None
        self._count, mark, number = max(found, key=lambda each: each[0])
        self._next = 1 - number
        return mark

    def _create(self) -> None:
        aside = self.path.with_name(NAME + ".new")
        with aside.open("wb") as file:
            file.write(bytes(2 * SLOT))
            file.flush()
            if self._durable:
                os.fsync(file.fileno())
        aside.chmod(0o600)
        aside.replace(self.path)
        if self._durable:
            sync_folder(self.path.parent)
        self._next = 0

    def _place(self, slot: bytes, flush: bool) -> None:
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, slot, self._next * SLOT)
            if flush:
                if self._durable:
                    os.fdatasync(descriptor)
                self._next = 1 - self._next
        finally:
            os.close(descriptor)


def _slot(count: int, mark: Mark) -> bytes:
    data = cbor.encode(
        {
            0: VERSION,
            1: count,
            2: mark.gateway,
            3: [mark.epoch, mark.next_seq],
            4: mark.head,
            5: mark.boot,
            6: mark.configuration,
            7: mark.last_utc,
            8: list(mark.received),
            9: mark.receipt,
            10: mark.settled,
            11: mark.doubts,
        }
    )
    whole = hashlib.sha256(data).digest()[:DIGEST] + len(data).to_bytes(2) + data
    if len(whole) > SLOT:
        raise EncodingError(f"found a watermark of {len(whole)} bytes, expected at most {SLOT}")
    return whole.ljust(SLOT, b"\0")


def _unslot(slot: bytes) -> tuple[int, Mark]:
    """Count and mark; EncodingError when the slot is not whole."""
    digest, size = slot[:DIGEST], int.from_bytes(slot[DIGEST : DIGEST + 2])
    data = slot[DIGEST + 2 : DIGEST + 2 + size]
    if hashlib.sha256(data).digest()[:DIGEST] != digest:
        raise EncodingError("found a watermark that is not whole")
    version, count, gateway, place, head, boot, configuration, last, received, receipt, settled, doubts = shape.fields(
        cbor.decode(data), 12, "watermark"
    )
    if version != VERSION:
        raise EncodingError(f"found a watermark of version {version}, expected {VERSION}")
    epoch, seq = place
    return count, Mark(
        gateway, epoch, seq, head, boot, configuration, last, (received[0], received[1]), receipt, settled, doubts
    )
