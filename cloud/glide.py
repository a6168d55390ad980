"""Which readings of a counter simply go on from the one before: nothing happens there, and nothing is looked into."""

from collections.abc import Sequence
from operator import sub

Raw = int | float
Place = tuple[int, int]
"""Epoch and seq of a block."""


def even(step: Raw, slack: float | None) -> bool:
    """Whether a raw number did not fall, and grew no faster than it may in no time at all (``slack``; None: any)."""
    return step >= 0 and (slack is None or step <= slack)


def breaks(times: Sequence[int], raws: Sequence[Raw], slack: float | None) -> list[int]:
    """Where a reading is earlier than the one before it, or its step is not even; and last, the end."""
    spans, steps = list(map(sub, times[1:], times)), list(map(sub, raws[1:], raws))
    end = len(times)
    if not steps or (min(spans) >= 0 and even(min(steps), slack) and even(max(steps), slack)):
        return [end]
    pairs = enumerate(zip(spans, steps, strict=True), 1)
    return [at for at, (span, step) in pairs if span < 0 or not even(step, slack)] + [end]
