"""Replay of whole tracks at once with numpy: the collector's fast way to the very values that drivers.replay gives.

Tracks are taken at once only when every reply has the length, the constant bytes and the checksum of a plain answer
(drivers/layouts.py); then the number families make their columns (drivers/families.py). Any other goes through the
driver reply by reply, so that both ways accept, refuse and decode the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, pairwise
from math import ceil, floor, inf, nextafter
from typing import overload

import numpy as np
from numpy.typing import NDArray

from drivers import layouts as laid
from drivers import replay
from drivers.driver import Driver
from drivers.families import Bytes, Mask, Matrix, Numbers
from drivers.layouts import Layout, Layouts
from drivers.profile import Point
from drivers.quantity import EXACT, limited, scaled
from drivers.query import Values
from drivers.reading import Quality
from drivers.steps import Steps, finished
from protocols.record.block import Track

__all__ = [
    "Column",
    "Layouts",
    "Stretch",
    "Table",
    "read_stacked",
    "replay_track",
    "replay_tracks",
    "steps",
]


@dataclass(frozen=True, slots=True)
class Column:
    """One point over the replies of a track: value i is ``mantissa[i]`` x ``scale`` in its unit, where ``valid``.

    ``times``: of the first reply byte, ms since block start.
    """

    point: Point
    times: tuple[int, ...]
    mantissa: Numbers
    scale: Decimal
    valid: Mask
    flagged: Mask | None = None
    """Where the point's ``flag`` says that the value does not count; None: it has none."""

    def decimal(self, index: int) -> Decimal | None:
        """The exact value of one reply; None when the meter says it has none."""
        return scaled(_exact(self.mantissa[index].item()), self.scale) if self.valid[index] else None

    def quality(self, index: int) -> Quality:
        """measured, absent or suspect, as replay says."""
        value = self.decimal(index)
        if value is None:
            return "absent"
        return "suspect" if self.flagged is not None and self.flagged[index] else limited(self.point, value)

    def suspect(self) -> Mask:
        """Where the value lies outside the point's ``min`` and ``max``, or its flag says that it does not count."""
        low, high = _bounds(self.point, self.scale, self.mantissa.dtype.kind == "f")
        mask = np.zeros(len(self.times), np.bool_)
        if low is not None:
            mask |= self.mantissa < low
        if high is not None:
            mask |= self.mantissa > high
        if self.flagged is not None:
            mask |= self.flagged
        return mask & self.valid

    def floats(self) -> NDArray[np.float64]:
        """The values as floats, NaN where there is none: for charts and means, never for an account."""
        return np.where(self.valid, self.mantissa * float(self.scale), np.nan)


@dataclass(frozen=True, slots=True)
class Table(Sequence[Column]):
    """The columns of a track, one a point, in the profile's order; each is made when it is asked for.

    ``stamps``: when the values are of (UTC ms), where the device dates them itself. ``whole``: the matrices it was read
    in, which may be those of several tracks; its rows begin at ``first``.
    """

    times: tuple[int, ...]
    layout: Layout
    whole: Sequence[Matrix]
    stamps: tuple[int, ...] | None = None
    first: int = 0

    @property
    def matrices(self) -> Sequence[Matrix]:
        """The numbers of its own rows, family by family, and which of them are valid."""
        return _rows(self.whole, slice(self.first, self.first + len(self.times)))

    def __len__(self) -> int:
        return len(self.layout.points)

    @overload
    def __getitem__(self, index: int) -> Column: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Column, ...]: ...
    def __getitem__(self, index: int | slice) -> Column | tuple[Column, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        numbers, valid = self._numbers(index)
        return Column(
            self.layout.points[index], self.times, numbers, self.layout.scales[index], valid, self.flagged(index)
        )

    def flagged(self, index: int) -> Mask | None:
        """Where the flag of a point says that its value does not count, be it that it says nothing; None: no flag."""
        flag = self.layout.points[index].flag
        if flag is None:
            return None
        places = [place for place, point in enumerate(self.layout.points) if point.id == flag]
        if not places:
            return np.ones(len(self.times), np.bool_)
        numbers, valid = self._numbers(places[0])
        found: Mask = ~valid | (numbers != 0)
        return found

    def _numbers(self, index: int) -> tuple[Numbers, Mask]:
        family, place = self.layout.places[index]
        numbers, valid = self.matrices[family]
        return numbers[:, place], np.ones(len(self.times), np.bool_) if valid is None else valid[:, place]

    @property
    def points(self) -> tuple[Point, ...]:
        """The points of the columns."""
        return self.layout.points

    @property
    def readings(self) -> int:
        """How many readings the track holds, absent ones included."""
        return len(self.times) * len(self.layout.points)

    def counters(self) -> Iterator[Column]:
        """The columns of the points that count."""
        return (self[index] for index in self.layout.counters)


SOME, SOME_BYTES = 256, 2048
"""Replies of a track that are tried together where not all of them are plain, or else read one by one before the work
may be left: some milliseconds.
"""
Part = tuple[Layout | None, int]
"""So many tracks of one layout; of none that is known."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where the numbers of some tracks of one layout lie: from the row ``first`` of these matrices on."""

    layout: Layout
    whole: Sequence[Matrix]
    first: int


def replay_track(driver: Driver, track: Track, layouts: Layouts) -> Table:
    """Every value of a track; ProtocolError, the same that replay raises, when a reply is not what a driver records."""
    return replay_tracks([(driver, track)], layouts)[0]


def replay_tracks(tracks: Sequence[tuple[Driver, Track]], layouts: Layouts) -> list[Table]:
    """Every value of each track, in the order given; those that are alike are read together. ProtocolError."""
    return finished(steps(tracks, layouts))


def steps(tracks: Sequence[tuple[Driver, Track]], layouts: Layouts) -> Steps[list[Table]]:
    """As ``replay_tracks``; a step wherever some replies have been read one by one."""
    alike: dict[tuple[Driver, bytes, int, int], list[int]] = {}
    for index, (driver, track) in enumerate(tracks):
        alike.setdefault((driver, track.request, track.reply_length, len(track.times)), []).append(index)
    tables: list[Table | None] = [None] * len(tracks)
    for (driver, request, length, count), held in alike.items():
        layout = layouts.of(driver, request, length)
        matrices = layout.read(_laid([tracks[index][1] for index in held], length, count))
        if matrices is None:
            for index in held:
                tables[index] = yield from _read(driver, tracks[index][1], layout)
        else:
            for first, index in enumerate(held):
                tables[index] = Table(tracks[index][1].times, layout, matrices, None, first * count)
    return [table for table in tables if table is not None]


def read_stacked(parts: Sequence[Part], laid: Bytes) -> list[Stretch | None]:
    """The numbers of tracks that are stacked, so many of each layout, laid as tracks by bytes of a reply by replies:
    where those of each part lie. None: it has no layout, or one of its replies is no plain answer.
    """
    groups = list[list[Part]]()
    for part in parts:
        if groups and _are_alike(groups[-1][-1], part):
            groups[-1].append(part)
        else:
            groups.append([part])
    found, at = list[Stretch | None](), 0
    for group in groups:
        rows = sum([count for _, count in group])
        found += _read_alike(group, laid[at : at + rows])
        at += rows
    return found


def _are_alike(one: Part, other: Part) -> bool:
    return one[0] is not None and other[0] is not None and one[0].is_like(other[0])


def _read_alike(parts: Sequence[Part], laid: Bytes) -> list[Stretch | None]:
    """As ``read_stacked``, for parts that are alike; where one is not plain, each by itself."""
    layouts = [layout for layout, _ in parts if layout is not None]
    if len(layouts) < len(parts):
        return [None] * len(parts)
    replies, starts = laid.shape[2], [0, *accumulate([count for _, count in parts])]
    heads = b"".join([layout.head * (count * replies) for layout, (_, count) in zip(layouts, parts, strict=True)])
    if (matrices := layouts[0].read(laid, heads)) is not None:
        return [Stretch(layout, matrices, start * replies) for layout, start in zip(layouts, starts, strict=False)]
    if len(parts) == 1:
        return [None]
    return [
        stretch
        for part, (start, end) in zip(parts, pairwise(starts), strict=True)
        for stretch in _read_alike([part], laid[start:end])
    ]


def _rows(matrices: Sequence[Matrix], rows: slice) -> list[Matrix]:
    return [(numbers[rows], None if valid is None else valid[rows]) for numbers, valid in matrices]


def _laid(tracks: Sequence[Track], length: int, count: int) -> Bytes:
    """The replies of tracks of so many replies each: tracks by bytes of a reply by replies."""
    joint = b"".join([track.columns for track in tracks])
    return np.frombuffer(joint, np.uint8).reshape(len(tracks), length, count)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some replies of a track that were read together: which, and their numbers."""

    rows: slice
    layout: Layout
    matrices: Sequence[Matrix]


def _read(driver: Driver, track: Track, layout: Layout) -> Steps[Table]:
    """A track by itself: one that is not plain keeps none of those like it from being read at once."""
    replies, length = track.replies(), track.reply_length
    columns = _laid([track], length, len(replies))
    if (matrices := layout.read(columns)) is not None:
        return Table(track.times, layout, matrices)
    pieces, stamps = list[Piece](), list[int | None]()
    some = min(SOME, max(1, SOME_BYTES // max(1, length)))
    for first in range(0, len(replies), some):
        rows = slice(first, min(first + some, len(replies)))
        if (matrices := layout.read(columns[:, :, rows])) is None:
            read = list[Values]()
            for reply in replies[rows]:
                read.append(replay.values(driver, track.request, reply))
                stamps.append(driver.stamp(track.request, reply))
            own = layout if layout.fixed else laid.found(driver, {name for values in read for name in values}, length)
            pieces.append(Piece(rows, own, _one_by_one(own, read)))
            yield
        else:
            pieces.append(Piece(rows, layout, matrices))
    if not layout.fixed:
        layout = laid.found(driver, {point.id for piece in pieces for point in piece.layout.points}, length)
    dated = tuple([stamp for stamp in stamps if stamp is not None])
    matrices = _joined(layout, pieces, len(replies))
    return Table(track.times, layout, matrices, dated if len(dated) == len(replies) else None)


def _joined(layout: Layout, pieces: Sequence[Piece], count: int) -> list[Matrix]:
    """The numbers of pieces that together are so many replies; not valid where a piece has no such point."""
    shape = count, len(layout.points)
    matrices = [(np.zeros(shape, family.dtype), np.zeros(shape, np.bool_)) for family in layout.families]
    for piece in pieces:
        places = dict(zip([point.id for point in piece.layout.points], piece.layout.places, strict=True))
        for point, (family, place) in zip(layout.points, layout.places, strict=True):
            if (own := places.get(point.id)) is not None:
                numbers, valid = piece.matrices[own[0]]
                matrices[family][0][piece.rows, place] = numbers[:, own[1]]
                matrices[family][1][piece.rows, place] = True if valid is None else valid[:, own[1]]
    return [(numbers, valid) for numbers, valid in matrices]


def _exact(number: int | float) -> int | Decimal:
    return number if isinstance(number, int) else Decimal(number)


def _one_by_one(layout: Layout, rows: Sequence[Values]) -> list[Matrix]:
    """The matrices of replies that the driver read."""
    shape = len(rows), len(layout.points)
    matrices = [(np.zeros(shape, family.dtype), np.zeros(shape, np.bool_)) for family in layout.families]
    for point, scale, (family, place) in zip(layout.points, layout.scales, layout.places, strict=True):
        numbers, valid = matrices[family]
        for row, values in enumerate(rows):
            if (value := values.get(point.id)) is not None:
                raw = EXACT.divide(value, scale)
                numbers[row, place] = float(raw) if numbers.dtype.kind == "f" else int(raw)
                valid[row, place] = True
    return [(numbers, valid) for numbers, valid in matrices]


def _bounds(point: Point, scale: Decimal, real: bool) -> tuple[int | float | None, int | float | None]:
    """The least and the greatest number whose value is within the point's limits."""
    low = None if point.min is None else Fraction(point.min) / Fraction(scale)
    high = None if point.max is None else Fraction(point.max) / Fraction(scale)
    if not real:
        return None if low is None else ceil(low), None if high is None else floor(high)
    return None if low is None else -_float_below(-low), None if high is None else _float_below(high)


def _float_below(value: Fraction) -> float:
    """The greatest float that is not above the value."""
    try:
        near = float(value)
    except OverflowError:
        return nextafter(inf, 0) if value > 0 else -inf
    return near if Fraction(near) <= value else nextafter(near, -inf)
