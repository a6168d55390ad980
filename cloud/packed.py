"""The bodies of the journal, compressed as they are kept."""

import zstandard

from protocols.errors import RottenError

LEVEL = 3
LIMIT = 64 << 20
"""Bytes of a body, opened."""


def pack(source: bytes) -> bytes:
    """A body, compressed as it is kept."""
    return zstandard.ZstdCompressor(level=LEVEL).compress(source)


def unpack(body: bytes) -> bytes:
    """The body out of what ``pack`` made; RottenError when it is something else."""
    try:
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=LIMIT) if body else b""
    except (zstandard.ZstdError, MemoryError, TypeError) as error:  # as large as it says it is, whatever may be at most
        raise RottenError(f"journal: found a body that does not open ({error}), expected what was kept") from error
