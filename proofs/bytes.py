"""Bytes: single bits, bombs, and fuzzing of whatever faces a network."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from cloud.signatures import Sodium
from proofs import bits, bombs, fuzzing
from proofs.gateway import live
from proofs.line import Line, Tier

MINUTES = 6
"""Of record, in blocks of one."""


def prove(tier: Tier, seed: int) -> Iterator[Line]:
    """All of it, with the record of one gateway."""
    with tempfile.TemporaryDirectory(prefix="tanmeter-bytes-") as name:
        folder = Path(name)
        gateway = live(folder / "gateway", seed, MINUTES)
        with held_once():
            yield from bits.prove(gateway, folder, tier, seed)
        yield from bombs.prove(folder, seed, gateway)
        yield from fuzzing.prove(gateway, tier, seed)


@contextmanager
def held_once() -> Iterator[None]:
    """A signature that was found to hold is not checked again over the same bytes: of a block with one bit changed in
    its chunks the collector sees the very envelope that it saw before. One that does not hold is checked each time.
    """
    verify = Sodium.verify
    setattr(Sodium, "verify", lru_cache(maxsize=64)(verify))  # noqa: B010 - a class's own method, for as long
    try:
        yield
    finally:
        setattr(Sodium, "verify", verify)  # noqa: B010
