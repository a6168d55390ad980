"""Reads the blocks of a gateway, several at once, before it is their turn to be examined. Pure.

What is read of a block depends on nothing but the block, the key and the configuration it names: it may be read ahead,
and whether the block is taken is found out one by one (``cloud/ingest.py``). What cannot be read ahead is read when it
is examined, and then it is found out why. Nothing is looked into before the signature over it, or the root above it,
has been checked.

Chunks that look like ones read before are not taken apart one by one: those of one skeleton, of all blocks and all
devices, are held to their forms and replayed as rows of one matrix.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from cloud.piles import Cut, Piles
from cloud.signatures import verifier
from cloud.strips import Replayed
from drivers.installation import Installation
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


class Reader:
    """Reads blocks. It remembers where points lie in replies: one for a thread."""

    def __init__(self) -> None:
        self._moulds, self._piles, self._decompressor = Moulds(), Piles(), transport.decompressor()
        self._coming: list[bytes] = []
        self._ahead: dict[bytes, Signed] = {}
        self._unwrapped: tuple[bytes, tuple[bytes, bytes]] | None = None

    def kid(self, frame: bytes) -> bytes | None:
        """The key a frame claims to be signed with, to find its gateway by; None when it cannot be read."""
        self._unwrapped = None
        with suppress(RecordError):
            found = transport.unwrap(frame, by=self._decompressor)
            self._unwrapped = frame, found
            return cose.kid_of(found[0])
        return None

    def expect(self, frames: Sequence[bytes]) -> None:
        """These frames, all of one gateway, will be opened next, in this order."""
        self._coming, self._ahead = list(reversed(frames)), {}

    def has_read(self, frame: bytes) -> bool:
        """Whether a frame that is expected was read together with those before it."""
        return frame in self._ahead

    def open(self, frame: bytes, key: PublicKey, configurations: Configurations) -> Signed:
        """The block in a frame, with what could be read of it; RecordError when this key has not signed it."""
        if frame not in self._ahead and frame in self._coming[-1:]:
            self._read_ahead(key, configurations)
        return self._ahead.pop(frame, None) or self.read(frame, key)

    def read(self, frame: bytes, key: PublicKey) -> Signed:
        """The block in a frame, its chunks not looked into; RecordError."""
        envelope, leaves = self._unwrap(frame)
        header = self._moulds.header(block.open_payload(envelope, verifier(key)))
        return Signed(hashlib.sha256(envelope).digest(), header, leaves)

    def replay(self, installation: Installation, chunks: Sequence[Chunk]) -> tuple[Replayed, ...]:
        """The values of the chunks of a block; ChainError for a device that is not there, ProtocolError."""
        return self._piles.replay(installation, chunks)

    def _unwrap(self, frame: bytes) -> tuple[bytes, bytes]:
        """As ``transport.unwrap``; what was unwrapped to see whose it is is not unwrapped again."""
        held, self._unwrapped = self._unwrapped, None
        return held[1] if held is not None and held[0] is frame else transport.unwrap(frame, by=self._decompressor)

    def _read_ahead(self, key: PublicKey, configurations: Configurations) -> None:
        """Read the next frames as far as it goes. What does not read is opened by itself, and then says why."""
        size, known = 0, list[tuple[Installation, Signed, Cut]]()
        while self._coming and size < AHEAD_BYTES:
            frame = self._coming.pop()
            with suppress(RecordError):
                signed = self._ahead[frame] = self.read(frame, key)
                size += len(signed.leaves) + ITEM_BYTES * (signed.header.chunks[0] + len(signed.header.events))
                number, digest = signed.header.configuration
                config = configurations(number)
                if config is not None and config[0] == digest and signed.header.chunks[0] <= len(config[1].drivers):
                    cut = self._piles.cut(signed.header, signed.leaves)
                    size += ITEM_BYTES * cut.tracks
                    known.append((config[1], signed, cut))
        for _, group in groupby(known, key=lambda held: id(held[0])):
            held = list(group)
            self._piles.say(held[0][0], [cut for _, _, cut in held])
            for _, signed, cut in held:
                signed.replayed = cut.whole
