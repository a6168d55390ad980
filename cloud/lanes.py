"""The columns of a track that are booked: which they are, and their readings by point. Pure."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import compress, repeat
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from cloud.glide import Place, exact
from cloud.running import Samples
from drivers.columns import Table
from drivers.families import Matrix, Numbers
from drivers.profile import Point
from drivers.quantity import limited, scaled

MANY = 32
"""Readings of a point from which on numpy finds out what it did sooner than Python."""
FAR = 1 << 62
"""Two int64 nearer to zero than this have a difference that is one, too."""


Reading = tuple[Point, Samples]


class Group(NamedTuple):
    """Columns of one family: which of its own, and the index, the point and the scale of each.

    ``plain``: no limit, no flag and no rate among them, so that every valid number is a reading as it stands.
    """

    family: int
    spots: NDArray[np.intp] | slice
    columns: list[tuple[int, Point, Decimal]]
    plain: bool

    def numbers(self, whole: Sequence[Matrix], first: int, count: int) -> Matrix:
        """Their numbers in so many rows of these matrices, and which of them are valid; None: all."""
        numbers, valid = whole[self.family]
        rows = slice(first, first + count)
        if valid is not None:
            valid = None if (own := valid[rows, self.spots]).all() else own
        return numbers[rows, self.spots], valid

    def readings(
        self, whole: Sequence[Matrix], first: int, times: list[int], places: Sequence[Place], dated: bool = False
    ) -> list[Reading]:
        """The valid numbers of each column, of plain ones, in the rows from ``first`` on."""
        numbers, valid = self.numbers(whole, first, len(times))
        named = zip(self.columns, numbers.T.tolist(), strict=True)
        if valid is None:
            return [(point, Samples(times, raws, scale, dated, places)) for (_, point, scale), raws in named]
        found = []
        for ((_, point, scale), raws), mask in zip(named, valid.T.tolist(), strict=True):
            if any(mask):
                kept = [list(compress(values, mask)) for values in (times, raws, places)]
                found.append((point, Samples(kept[0], kept[1], scale, dated, kept[2])))
        return found


class Lane:
    """Which columns of a track are booked, gathered by the matrix they lie in.

    ``even``: they are readings of counters, ``points``, so that several blocks can be booked at once. ``plain``: every
    valid number is a reading.
    """

    def __init__(self, table: Table, wanted: Callable[[Point], bool]) -> None:
        layout = table.layout
        chosen = [index for index, point in enumerate(layout.points) if wanted(point)]
        self.points = [layout.points[index].id for index in chosen]
        counters = all(layout.points[index].kind == "counter" and layout.points[index].of is None for index in chosen)
        self.even = layout.fixed and counters
        self._groups: list[Group] = []
        for family in sorted({layout.places[index][0] for index in chosen}):
            held = [index for index in chosen if layout.places[index][0] == family]
            spots = _spots([layout.places[index][1] for index in held])
            columns = [(index, layout.points[index], layout.scales[index]) for index in held]
            self._groups.append(Group(family, spots, columns, all(_is_plain(point) for _, point, _ in columns)))
        self.plain = all(group.plain for group in self._groups)

    def readings(
        self, whole: Sequence[Matrix], first: int, times: list[int], places: Sequence[Place] = ()
    ) -> list[Reading]:
        """As ``samples``, for a plain lane, from a row of these matrices on."""
        return [pair for group in self._groups for pair in group.readings(whole, first, times, places)]

    def stretches(self, table: Table, times: list[int], places: Sequence[Place]) -> Iterator[Reading]:
        """As ``samples``, for an even lane and rising times; of many readings what each column did from one to the next
        is found out of all columns at once, and its numbers are looked at only where they are needed.
        """
        for group in self._groups:
            if len(times) < MANY or not group.plain:
                yield from _samples(group, table, times, places)
                continue
            chosen, valid = group.numbers(table.whole, table.first, len(times))
            if valid is not None or not _exactly_stepped(chosen):
                yield from _samples(group, table, times, places)
                continue
            with np.errstate(over="ignore"):
                steps = np.diff(chosen, axis=0)
            for at, ((_, point, scale), least, most) in enumerate(
                zip(group.columns, steps.min(axis=0).tolist(), steps.max(axis=0).tolist(), strict=True)
            ):
                raws = cast("Sequence[int | float]", chosen[:, at].data)
                yield point, Samples(times, raws, scale, False, places, (least, most))

    def samples(self, table: Table, times: list[int], places: Sequence[Place] = ()) -> list[Reading]:
        """The readings of each column that are neither absent nor suspect, of a rate None in their place; nothing where
        there are none. ``places``: the block of each row, where they are of several.
        """
        return [pair for group in self._groups for pair in _samples(group, table, times, places)]


def _is_plain(point: Point) -> bool:
    return point.kind != "rate" and point.flag is None and point.min is None and point.max is None


def _spots(places: list[int]) -> NDArray[np.intp] | slice:
    """Columns of a matrix; a slice, which costs less, where they lie side by side."""
    if places == list(range(places[0], places[-1] + 1)):
        return slice(places[0], places[-1] + 1)
    return np.array(places, np.intp)


def _samples(group: Group, table: Table, times: list[int], places: Sequence[Place]) -> Iterator[Reading]:
    dated = table.stamps is not None
    if group.plain:
        yield from group.readings(table.whole, table.first, times, places, dated)
        return
    numbers, valid = group.numbers(table.whole, table.first, len(times))
    masks = repeat(None) if valid is None else valid.T.tolist()
    for (index, point, scale), raws, mask in zip(group.columns, numbers.T.tolist(), masks, strict=False):
        counting = _counting(table, index, raws, scale, mask)
        if point.kind == "rate":
            yield point, Samples(times, _or_none(raws, counting), scale, dated)
        elif counting is None:
            yield point, Samples(times, raws, scale, dated, places)
        elif any(counting):
            kept = [list(compress(values, counting)) for values in (times, raws, places)]
            yield point, Samples(kept[0], kept[1], scale, dated, kept[2])


def _exactly_stepped(numbers: Numbers) -> bool:
    """Whether numpy finds the very differences from row to row that Python does."""
    if len(numbers) < 2 or not numbers.size:
        return False
    if numbers.dtype.kind == "f":
        return True
    return numbers.dtype == np.int64 and int(numbers.min()) > -FAR and int(numbers.max()) < FAR


def _counting(
    table: Table, index: int, raws: list[int | float], scale: Decimal, mask: list[bool] | None
) -> list[bool] | None:
    """Which readings of a column are neither absent nor suspect; None: all."""
    point = table.points[index]
    if point.flag is not None and (flagged := table.flagged(index)) is not None:
        unflagged = (~flagged).tolist()
        mask = unflagged if mask is None else [one and other for one, other in zip(mask, unflagged, strict=True)]
    if point.min is None and point.max is None:
        return mask
    return [
        (mask is None or mask[at]) and limited(point, scaled(exact(raw), scale)) == "measured"
        for at, raw in enumerate(raws)
    ]


def _or_none(raws: Sequence[int | float], counting: Sequence[bool] | None) -> Sequence[int | float | None]:
    if counting is None:
        return raws
    return [raw if counts else None for raw, counts in zip(raws, counting, strict=True)]
