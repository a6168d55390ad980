"""The reads of least cost that bring a set of fields: exactly, by dynamic programming. Pure arithmetic on addresses.

Why cutting the fields, sorted by start, into consecutive runs loses nothing: a field inside another rides along for
free, so only fields remain whose ends rise with their starts. Let two runs of a best plan cross. Either the later
field of the earlier run ends within the other run, and moves there for free, or it ends beyond, and then the other run
lies within this one and is not needed at all. Neither makes a run longer, and the cost rises with the length.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

Interval = tuple[int, int]
"""Addresses from the first to one past the last."""

RUN, TIME = 32, 48
"""Bits: a weight holds the addresses read below the runs, and both below the cost: one sum compares all three."""


def cover(
    fields: Iterable[Interval], cost: Callable[[int], int], limit: int, allowed: Sequence[Interval]
) -> list[Interval]:
    """The runs of least total cost that hold every field, each inside one allowed interval and at most ``limit`` long.

    ``cost`` of a length must not fall as the length rises. Ties: fewer runs, then fewer addresses read that are not of
    a field. ``allowed`` is sorted and disjoint. ValueError holds the field that fits nowhere.
    """
    order = _outermost(fields)
    starts, ends = [field[0] for field in order], [field[1] for field in order]
    openings = [interval[0] for interval in allowed]
    homes = [_home(field, openings, allowed, limit) for field in order]
    longest = min(limit, ends[-1] - starts[0]) if order else 0
    weights = [0] + [(cost(length) << TIME) + (1 << RUN) + length for length in range(1, longest + 1)]
    best, cut, low = [0], [0], 0
    for last, end in enumerate(ends):
        while end - starts[low] > limit or homes[low] != homes[last]:
            low += 1
        totals = [best[first] + weights[end - starts[first]] for first in range(low, last + 1)]
        best.append(min(totals))
        cut.append(low + totals.index(best[-1]))
    return [(starts[cut[at]], ends[at - 1]) for at in _cuts(cut)][::-1]


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The same addresses as disjoint intervals in order, those that touch made one."""
    found: list[Interval] = []
    for first, end in sorted(intervals):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((first, end))
    return found


def without(intervals: Iterable[Interval], holes: Iterable[Interval]) -> Iterator[Interval]:
    """What is left of the intervals, in order, beside the holes."""
    closed = merged(holes)
    for first, end in intervals:
        at = first
        for low, high in closed:
            if low > at and low < end:
                yield at, low
            if high > at and low < end:
                at = high
        if at < end:
            yield at, end


def _outermost(fields: Iterable[Interval]) -> list[Interval]:
    """The fields that lie in no other one, by rising start and end."""
    found: list[Interval] = []
    for field in sorted(set(fields), key=lambda field: (field[0], -field[1])):
        if not found or field[1] > found[-1][1]:
            found.append(field)
    return found


def _home(field: Interval, openings: Sequence[int], allowed: Sequence[Interval], limit: int) -> int:
    """Which allowed interval the field lies in."""
    home = bisect_right(openings, field[0]) - 1
    if home < 0 or field[1] > allowed[home][1] or field[1] - field[0] > limit:
        raise ValueError(field)
    return home


def _cuts(cut: Sequence[int]) -> Iterator[int]:
    """The ends of the runs, last first."""
    at = len(cut) - 1
    while at:
        yield at
        at = cut[at]
