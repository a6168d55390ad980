"""Reads blocks, several at once and of several gateways, before it is their turn to be examined. Pure.

What is read of a block depends on nothing but the block, the key and the configuration it names: it may be read ahead,
and whether the block is taken is found out one by one (``cloud/ingest.py``). What cannot be read ahead is read when it
is examined, and then it is found out why. Nothing is looked into before the signature over it, or the root above it,
has been checked.

Chunks that look like ones read before are not taken apart one by one: those of one skeleton, of all blocks, devices and
gateways, are held to their forms and replayed as rows of one matrix.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cloud.piles import Cut, Piles
from cloud.signatures import verifier
from cloud.strips import Replayed
from drivers.installation import Installation
from drivers.steps import Steps
from protocols.errors import RecordError
from protocols.record import block, cose, transport
from protocols.record.block import Chunk, Header
from protocols.record.cose import PublicKey
from protocols.record.moulds import Moulds

AHEAD_BYTES = 1 << 19
"""Where so many bytes of chunks have been read ahead, no more are. It is some ten milliseconds of work: little beside
the time that a batch is given (``cloud/taking.py``), for what is read ahead beyond that is read in vain.
"""
ITEM_BYTES = 512
"""What a chunk, a track, an event counts for beside its bytes: many small ones are as laborious as a few large ones."""

Configurations = Callable[[int], tuple[bytes, Installation] | None]
"""The digest of the configuration of a number, and what it means; None when it is not held."""


@dataclass(slots=True)
class Signed:
    """A block whose envelope is signed. ``leaves``: the bytes behind it, which may be anything.

    ``replayed``: what they say, with its values by the configuration which the header names, once they are known to be
    under the root. None: not read ahead.
    """

    hash: bytes
    header: Header
    leaves: bytes
    replayed: tuple[Replayed, ...] | None = None

    def items(self) -> list[tuple[bytes, Any]]:
        """The chunks' bytes, once they are known to be under the root, each with what it says; RecordError."""
        items = transport.cut(self.leaves, self.header.chunks[0])
        block.check_root(self.header, [leaf for leaf, _ in items])
        return items


@dataclass(slots=True, eq=False)
class Coming:
    """Frames of one gateway that are opened next, in this order, with its key and configurations. ``read``: how many of
    them have been read ahead, the last perhaps in vain.
    """

    key: PublicKey
    configurations: Configurations
    frames: Sequence[bytes]
    read: int = 0

    @property
    def unread(self) -> Iterator[bytes]:
        """Those that are not read ahead yet."""
        return islice(self.frames, self.read, None)


class Reader:
    """Reads blocks. It remembers where points lie in replies: one for a thread."""

    def __init__(self) -> None:
        self._moulds, self._piles, self._decompressor = Moulds(), Piles(), transport.decompressor()
        self._coming = deque[Coming]()
        self._own: Coming | None = None
        self._ahead: dict[bytes, tuple[PublicKey, Signed]] = {}
        self._unwrapped: dict[bytes, tuple[bytes, bytes]] = {}
        self._unwrapped_bytes = 0

    def kid(self, frame: bytes) -> bytes | None:
        """The key a frame claims to be signed with, to find its gateway by; None when it cannot be read."""
        with suppress(RecordError):
            found = transport.unwrap(frame, by=self._decompressor)
            if self._unwrapped_bytes < AHEAD_BYTES:
                self._unwrapped[frame] = found
                self._unwrapped_bytes += len(found[0]) + len(found[1])
            return cose.kid_of(found[0])
        return None

    def expect(self, coming: Sequence[Coming]) -> None:
        """These batches are opened next, in this order, each once it has begun."""
        self._coming, self._own, self._ahead = deque(coming), None, {}
        if not coming:
            self._forget()

    def begin(self) -> bool:
        """The next of the batches that are expected has its turn. Unless it has been read together with one before it,
        it is read now, and those behind it as far as there is room; whether there was. What was read of batches before
        it and never opened is let go of.
        """
        self._own = own = self._coming.popleft()
        if own.read > 0:
            return False
        self._ahead = {}
        self._read_ahead(own, self._coming)
        self._forget()
        return bool(self._coming) and self._coming[0].read > 0

    def has_read(self, frame: bytes) -> bool:
        """Whether a frame that is expected was read together with those before it."""
        return frame in self._ahead

    def open(self, frame: bytes, key: PublicKey) -> Signed:
        """The block in a frame, with what could be read of it; RecordError when this key has not signed it."""
        if frame not in self._ahead and self._own is not None and next(self._own.unread, None) is frame:
            self._read_ahead(self._own)
        reader, signed = self._ahead.pop(frame, (None, None))
        return signed if signed is not None and reader is key else self.read(frame, key)

    def read(self, frame: bytes, key: PublicKey) -> Signed:
        """The block in a frame, its chunks not looked into; RecordError."""
        found = self._unwrapped.pop(frame, None)
        envelope, leaves = transport.unwrap(frame, by=self._decompressor) if found is None else found
        header = self._moulds.header(block.open_payload(envelope, verifier(key)))
        return Signed(hashlib.sha256(envelope).digest(), header, leaves)

    def replay(self, installation: Installation, chunks: Sequence[Chunk]) -> Steps[tuple[Replayed, ...]]:
        """The values of the chunks of a block, as ``Piles.replay``."""
        return self._piles.replay([(installation, chunk) for chunk in chunks])

    def _forget(self) -> None:
        self._unwrapped, self._unwrapped_bytes = {}, 0

    def _read_ahead(self, own: Coming, others: Iterable[Coming] = ()) -> None:
        """Read the next frames, up to one that does not read: it is opened by itself, and then says why. Of ``others``,
        whose time this is not, none is read that may be too large for the room that is left.
        """
        size, known = 0, list[tuple[Signed, Cut]]()
        with suppress(RecordError):
            for batch, frame in ((one, unread) for one in (own, *others) for unread in one.unread):
                if size >= AHEAD_BYTES or (batch is not own and size + transport.stated(frame) > AHEAD_BYTES):
                    break
                batch.read += 1
                signed = self.read(frame, batch.key)
                self._ahead[frame] = batch.key, signed
                size += len(signed.leaves) + ITEM_BYTES * (signed.header.chunks[0] + len(signed.header.events))
                number, digest = signed.header.configuration
                config = batch.configurations(number)
                if config is not None and config[0] == digest and signed.header.chunks[0] <= len(config[1].drivers):
                    cut = self._piles.cut(config[1], signed.header, signed.leaves)
                    size += ITEM_BYTES * cut.tracks
                    known.append((signed, cut))
        self._piles.say([cut for _, cut in known])
        for signed, cut in known:
            signed.replayed = cut.whole
