"""The columns of a track that are booked: which they are, and their readings by point. Pure."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import compress
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from cloud.glide import Place
from cloud.running import Samples
from drivers.columns import Table
from drivers.families import Matrix, Numbers
from drivers.layouts import Layout
from drivers.profile import Point

MANY = 32
"""Readings of a point from which on numpy finds out what it did sooner than Python."""
FAR = 1 << 62
"""Two int64 nearer to zero than this have a difference that is one, too."""


Reading = tuple[Point, Samples]
Spots = NDArray[np.intp] | slice
"""Columns of a matrix."""


class Piece(NamedTuple):
    """So many rows of matrices, from the row ``first`` on."""

    whole: Sequence[Matrix]
    first: int
    length: int

    def columns(self, family: int, spots: Spots) -> Matrix:
        """Some columns of a family, one a row; and which of their numbers are valid, None: all."""
        numbers, valid = self.whole[family]
        rows = slice(self.first, self.first + self.length)
        if valid is not None:
            valid = None if (own := valid[rows, spots]).all() else own.T
        return numbers[rows, spots].T, valid


class Rows(NamedTuple):
    """The replies of tracks of one layout, piece after piece where they lie."""

    layout: Layout
    pieces: Sequence[Piece]

    def columns(self, family: int, spots: Spots) -> Matrix:
        """As of a piece, of all of them one behind another."""
        if len(self.pieces) == 1:
            return self.pieces[0].columns(family, spots)
        parts = [(*whole[family], slice(first, first + length)) for whole, first, length in self.pieces]
        cut = [own[rows, spots] for own, _, rows in parts]
        joint: Numbers = np.concatenate(cut, dtype=parts[0][0].dtype)
        if all(valid is None for _, valid, _ in parts):
            return joint.T, None
        masks = [
            np.ones(numbers.shape, np.bool_) if valid is None else valid[rows, spots]
            for numbers, (_, valid, rows) in zip(cut, parts, strict=True)
        ]
        mask = np.concatenate(masks)
        return joint.T, None if mask.all() else mask.T

    def table(self, times: Sequence[int]) -> Table:
        """All that was read of them, for what is asked of more than one column."""
        found = [self.columns(family, slice(None)) for family in range(len(self.layout.families))]
        turned = [(numbers.T, None if valid is None else valid.T) for numbers, valid in found]
        return Table(tuple(times), self.layout, turned)


class Group(NamedTuple):
    """Columns of one family: which of its own, and the index, the point and the scale of each.

    ``plain``: no limit, no flag and no rate among them, so that every valid number is a reading as it stands.
    """

    family: int
    spots: Spots
    named: list[tuple[int, Point, Decimal]]
    plain: bool

    def readings(self, rows: Rows, times: Sequence[int], places: Sequence[Place], dated: bool = False) -> list[Reading]:
        """The valid numbers of each column, of plain ones."""
        numbers, valid = rows.columns(self.family, self.spots)
        named = zip(self.named, numbers.tolist(), strict=True)
        if valid is None:
            return [(point, Samples(times, raws, scale, dated, places)) for (_, point, scale), raws in named]
        found = []
        for ((_, point, scale), raws), mask in zip(named, valid.tolist(), strict=True):
            if any(mask):
                kept = [list(compress(values, mask)) for values in (times, raws, places)]
                found.append((point, Samples(kept[0], kept[1], scale, dated, kept[2])))
        return found


class Lane:
    """Which columns of a track are booked, gathered by the matrix they lie in.

    ``even``: they are readings of counters, ``points``, so that several blocks can be booked at once. ``plain``: every
    valid number is a reading.
    """

    def __init__(self, layout: Layout, wanted: Callable[[Point], bool]) -> None:
        chosen = [index for index, point in enumerate(layout.points) if wanted(point)]
        self.points = [layout.points[index].id for index in chosen]
        counters = all(layout.points[index].kind == "counter" and layout.points[index].of is None for index in chosen)
        self.even = layout.fixed and counters
        self._groups: list[Group] = []
        for family in sorted({layout.places[index][0] for index in chosen}):
            held = [index for index in chosen if layout.places[index][0] == family]
            spots = _spots([layout.places[index][1] for index in held])
            named = [(index, layout.points[index], layout.scales[index]) for index in held]
            self._groups.append(Group(family, spots, named, all(_is_plain(point) for _, point, _ in named)))
        self.plain = all(group.plain for group in self._groups)

    def readings(self, rows: Rows, times: Sequence[int], places: Sequence[Place] = ()) -> list[Reading]:
        """As ``samples``, for a plain lane."""
        return [pair for group in self._groups for pair in group.readings(rows, times, places)]

    def stretches(self, rows: Rows, times: Sequence[int], places: Sequence[Place]) -> Iterator[Reading]:
        """As ``samples``, for an even lane and rising times; of many readings what each column did from one to the next
        is found out of all columns at once, and its numbers are looked at only where they are needed.
        """
        for group in self._groups:
            if len(times) < MANY or not group.plain:
                yield from _samples(group, rows, times, places)
                continue
            chosen, valid = rows.columns(group.family, group.spots)
            if valid is not None or not _exactly_stepped(chosen := np.ascontiguousarray(chosen)):
                yield from _samples(group, rows, times, places)
                continue
            with np.errstate(over="ignore"):
                steps = chosen[:, 1:] - chosen[:, :-1]
            least, most = steps.min(axis=1).tolist(), steps.max(axis=1).tolist()
            for at, (_, point, scale) in enumerate(group.named):
                raws = cast("Sequence[int | float]", chosen[at].data)
                yield point, Samples(times, raws, scale, False, places, (least[at], most[at]))

    def samples(
        self, rows: Rows, times: Sequence[int], places: Sequence[Place] = (), dated: bool = False
    ) -> list[Reading]:
        """The readings of each column that are neither absent nor suspect, of a rate None in their place; nothing where
        there are none. ``places``: the block of each row, where they are of several. ``dated``: by the device's clock.
        """
        return [pair for group in self._groups for pair in _samples(group, rows, times, places, dated)]


def _is_plain(point: Point) -> bool:
    return point.kind != "rate" and point.flag is None and point.min is None and point.max is None


def _spots(places: list[int]) -> Spots:
    """Columns of a matrix; a slice, which costs less, where they lie side by side."""
    if places == list(range(places[0], places[-1] + 1)):
        return slice(places[0], places[-1] + 1)
    return np.array(places, np.intp)


def _samples(
    group: Group, rows: Rows, times: Sequence[int], places: Sequence[Place], dated: bool = False
) -> Iterator[Reading]:
    if group.plain:
        yield from group.readings(rows, times, places, dated)
        return
    table = rows.table(times)
    for index, point, scale in group.named:
        column = table[index]
        raws, mask = column.mantissa.tolist(), column.valid & ~column.suspect()
        counting = None if mask.all() else mask.tolist()
        if point.kind == "rate":
            yield point, Samples(times, _or_none(raws, counting), scale, dated)
        elif counting is None:
            yield point, Samples(times, raws, scale, dated, places)
        elif any(counting):
            kept = [list(compress(values, counting)) for values in (times, raws, places)]
            yield point, Samples(kept[0], kept[1], scale, dated, kept[2])


def _exactly_stepped(numbers: Numbers) -> bool:
    """Whether numpy finds the very differences from one to the next in a row that Python does."""
    if len(numbers.T) < 2 or not numbers.size:
        return False
    if numbers.dtype.kind == "f":
        return True
    return numbers.dtype == np.int64 and int(numbers.min()) > -FAR and int(numbers.max()) < FAR


def _or_none(raws: Sequence[int | float], counting: Sequence[bool] | None) -> Sequence[int | float | None]:
    if counting is None:
        return raws
    return [raw if counts else None for raw, counts in zip(raws, counting, strict=True)]
