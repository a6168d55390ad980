"""Which readings of a counter simply go on from the one before: nothing happens there, and nothing is looked into."""

from collections.abc import Sequence
from itertools import pairwise
from operator import sub

Raw = int | float
Place = tuple[int, int]
"""Epoch and seq of a block."""


def even(step: Raw, slack: float | None) -> bool:
    """Whether a raw number did not fall, and grew no faster than it may in no time at all (``slack``; None: any)."""
    return step >= 0 and (slack is None or step <= slack)


def breaks(times: Sequence[int], raws: Sequence[Raw], slack: float | None) -> list[int]:
    """Where a reading is earlier than the one before it, or its step is not even; and last, the end."""
    steps, end = list(map(sub, raws[1:], raws)), len(times)
    if not steps or (even(min(steps), slack) and even(max(steps), slack) and list(times) == sorted(times)):
        return [end]
    pairs = enumerate(zip(pairwise(times), steps, strict=True), 1)
    return [at for at, ((before, now), step) in pairs if now < before or not even(step, slack)] + [end]
