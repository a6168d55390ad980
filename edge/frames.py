"""What a stored block shows without anybody's key (pure): whether its bytes are those that were sealed."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from protocols.errors import DamagedError, EncodingError, RecordError
from protocols.record import cbor, cose, merkle, transport
from protocols.record.block import Chunk


@dataclass(frozen=True, slots=True)
class Damage:
    """A block that is not as it was sealed: its place, its time (UTC ms), what is wrong, whether the collector has it.

    ``delivered``: its receipt covers it, so that nothing is lost for the accounts.
    """

    epoch: int
    seq: int
    utc_start: int
    utc_end: int
    detail: str
    delivered: bool


def check(frame: bytes, digest: bytes) -> bytes:
    """SHA-256 of the block before; DamagedError unless the frame holds the envelope of this SHA-256 and its chunks.

    A signature adds nothing here: the hash is held by the chain, and the head of the chain by what was read at the
    start. DamagedError tells of whose readings the block can still be read, and what is wrong.
    """
    try:
        sealed = transport.unpack(frame)
        if sealed.hash != digest:
            raise DamagedError(f"its envelope is {sealed.hash.hex()[:16]}, expected {digest.hex()[:16]}")
        header = cbor.decode(cose.unverified(sealed.envelope))
        count, root = header[11]
        if (count, root) != (len(sealed.chunks), merkle.root(sealed.chunks)):
            raise DamagedError(f"its chunks are not those under its signature: {devices(sealed.chunks)}")
        previous: bytes = header[4]
        return previous
    except RecordError as error:
        raise DamagedError(str(error)) from error
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedError(f"its header cannot be read: {type(error).__name__}") from error


def devices(chunks: Sequence[bytes]) -> str:
    """Of which devices the chunks speak, as far as they can be read."""
    found = []
    for leaf in chunks:
        try:
            found.append(str(Chunk.from_bytes(leaf).device))
        except (RecordError, EncodingError):
            found.append("?")
    return "devices " + ", ".join(found)


def checksum(values: Sequence[object]) -> int:
    """CRC-32 over a row: finds every single flipped bit, and a column whose type has changed."""
    return zlib.crc32(repr(tuple(values)).encode())
