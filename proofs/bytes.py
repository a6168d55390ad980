"""Bytes: single bits, bombs, and fuzzing of whatever faces a network."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

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
        yield from bits.prove(gateway, folder, tier, seed)
        yield from bombs.prove(folder, seed, gateway)
        yield from fuzzing.prove(gateway, tier, seed)
