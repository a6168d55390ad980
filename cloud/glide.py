"""Which readings of a counter simply go on from the one before: nothing happens there, and nothing is looked into."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from operator import sub

Raw = int | float
Place = tuple[int, int]
"""Epoch and seq of a block."""
Strides = tuple[Raw, Raw]
"""The least and the greatest step between readings by rising time."""


def even(step: Raw, slack: float | None) -> bool:
    """Whether a raw number did not fall, and grew no faster than it may in no time at all (``slack``; None: any)."""
    return step >= 0 and (slack is None or step <= slack)


def breaks(times: Sequence[int], raws: Sequence[Raw], slack: float | None, known: Strides | None = None) -> list[int]:
    """Where a reading is earlier than the one before it, or its step is not even; and last, the end. ``known``: their
    steps, where they have been looked at.
    """
    if known is not None and even(known[0], slack) and even(known[1], slack):
        return [len(times)]
    steps, end = list(map(sub, raws[1:], raws)), len(times)
    if not steps or (even(min(steps), slack) and even(max(steps), slack) and list(times) == sorted(times)):
        return [end]
    pairs = enumerate(zip(pairwise(times), steps, strict=True), 1)
    return [at for at, ((before, now), step) in pairs if now < before or not even(step, slack)] + [end]


def exact(raw: Raw) -> int | Decimal:
    """A raw number as a decimal can take it, every bit kept."""
    return raw if isinstance(raw, int) else Decimal(raw)
