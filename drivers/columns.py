"""Replay of a whole track at once with numpy: the collector's fast way to the very values that drivers.replay gives.

A track is taken at once only when every reply has the length, the constant bytes and the checksum of a plain answer;
then the number families make its columns (drivers/families.py). Any other goes through the driver reply by reply, so
that both ways accept, refuse and decode the same.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, inf, nextafter
from typing import TypeVar, overload

import numpy as np
from fastcrc.crc16 import modbus as crc16
from numpy.typing import NDArray

from drivers import families, plan, replay
from drivers.dlt645 import Dlt645Driver
from drivers.driver import Driver
from drivers.families import Bytes, Family, Mask, Matrix, Numbers, Part
from drivers.modbus import ModbusDriver
from drivers.profile import Point
from drivers.quantity import EXACT, limited, scaled
from drivers.query import Values
from drivers.reading import Quality
from protocols import dlt645, modbus
from protocols.record.block import Track

Kind = TypeVar("Kind", bound=Hashable)

KEPT = 8192
"""Layouts kept before all are dropped: enough for two thousand meters."""


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

    ``stamps``: when the values are of (UTC ms), where the device dates them itself.
    """

    times: tuple[int, ...]
    layout: "Layout"
    matrices: Sequence[Matrix]
    stamps: tuple[int, ...] | None = None

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


class Layouts:
    """What is known of the tracks seen so far, so that it is worked out once; hold one for a thread."""

    def __init__(self) -> None:
        self._known: dict[tuple[Driver, bytes, int], Layout] = {}

    def of(self, driver: Driver, request: bytes, length: int) -> "Layout":
        """Where in the replies of this length the points of this request lie; ProtocolError for a request of no use."""
        key = (driver, request, length)
        if (layout := self._known.get(key)) is None:
            layout = _layout(driver, request, length)
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[key] = layout
        return layout


def replay_track(driver: Driver, track: Track, layouts: Layouts) -> Table:
    """Every value of a track; ProtocolError, the same that replay raises, when a reply is not what a driver records."""
    layout = layouts.of(driver, track.request, track.reply_length)
    matrices = layout.read(track.columns, len(track.times))
    if matrices is not None:
        return Table(track.times, layout, matrices)
    replies = track.replies()
    rows = [replay.values(driver, track.request, reply) for reply in replies]
    if not layout.fixed:
        layout = _found_layout(driver, rows, track.reply_length)
    stamps = [driver.stamp(track.request, reply) for reply in replies]
    dated = tuple([stamp for stamp in stamps if stamp is not None])
    return Table(track.times, layout, _one_by_one(layout, rows), dated if len(dated) == len(stamps) else None)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the points of a request lie in replies of one length.

    ``places``: family and column in its matrix, for each point. A plain answer begins with ``head`` and passes
    ``check``; ``plain`` is false when none has this length.
    """

    points: tuple[Point, ...]
    scales: tuple[Decimal, ...]
    places: tuple[tuple[int, int], ...]
    families: tuple[Family, ...]
    length: int
    plain: bool
    head: bytes
    check: Callable[[bytes], bool]
    counters: tuple[int, ...]
    fixed: bool = True
    """Whether the request alone tells the points; else the replies do."""

    def read(self, columns: bytes, count: int) -> list[Matrix] | None:
        """The numbers of every reply; None when one of them is no plain answer."""
        if not self.plain:
            return None
        rows = np.zeros((count, self.length + 1), np.uint8)
        rows[:, :-1] = np.frombuffer(columns, np.uint8).reshape(self.length, count).T
        if not self._sound(rows.tobytes()):
            return None
        matrices = []
        for family in self.families:
            if (matrix := family.read(rows)) is None:
                return None
            matrices.append(matrix)
        return matrices

    def _sound(self, rows: bytes) -> bool:
        head, size, length, check = self.head, len(self.head), self.length, self.check
        for start in range(0, len(rows), length + 1):
            if rows[start : start + size] != head or not check(rows[start : start + length]):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Read:
    """Points whose numbers only the driver knows."""

    dtype: type[np.generic]

    def read(self, rows: Bytes) -> None:
        """Never at once."""


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


def _layout(driver: Driver, request: bytes, length: int) -> Layout:
    if isinstance(driver, ModbusDriver):
        return _modbus_layout(driver, request, length)
    if isinstance(driver, Dlt645Driver):
        return _dlt645_layout(driver, request, length)
    return Layout((), (), (), (), length, False, b"", _always, (), fixed=False)


def _found_layout(driver: Driver, rows: Sequence[Values], length: int) -> Layout:
    """The layout of replies that were read one by one: every point that one of them holds, exact steps of its scale."""
    held = {point_id for values in rows for point_id in values}
    points = tuple(point for point in driver.profile.points if point.id in held)
    places, groups = _grouped([point.type in ("f32", "f64") for point in points])
    found = [Read(np.float64 if real else np.int64) for real, _ in groups]
    counters = tuple(index for index, point in enumerate(points) if point.kind == "counter")
    scales = tuple(_step(point) for point in points)
    return Layout(points, scales, places, tuple(found), length, False, b"", _always, counters, fixed=False)


def _step(point: Point) -> Decimal:
    """What every value of a point is a whole number of."""
    return point.scale.scaleb(-len((point.digits or "").partition(".")[2]))


def _modbus_layout(driver: ModbusDriver, request: bytes, length: int) -> Layout:
    parts = driver.parts(request)
    tcp = driver.framing == "modbus-tcp"
    asked = modbus.parse_tcp(request) if tcp else modbus.parse_rtu(request)
    head = bytes([asked.unit, asked.function, asked.width])
    if tcp:
        head = request[:4] + (3 + asked.width).to_bytes(2) + head
    plain = modbus.reply_length_tcp(asked) if tcp else modbus.reply_length_rtu(asked)
    factors = {point.id: (point, at) for point, at in parts}
    places, groups = _grouped([_kind(point, factors) for point, _ in parts])
    found = [_family(kind, [parts[i] for i in held], factors, (len(head), length)) for kind, held in groups]
    return Layout(
        tuple(point for point, _ in parts),
        tuple(driver.steps[point.id] for point, _ in parts),
        places,
        tuple(found),
        length,
        length == plain,
        head,
        _always if tcp else _crc_right,
        tuple(index for index, (point, _) in enumerate(parts) if point.kind == "counter"),
    )


def _kind(point: Point, factors: Mapping[str, Part]) -> tuple[str, ...]:
    """What makes Modbus points one family: their coding, and that of what they are multiplied by."""
    if point.scale_by is None:
        return (families.kind_of(point),)
    factor, _ = factors[point.scale_by]
    powers = (str(factor.min), str(factor.max)) if point.scale_mode == "exponent" else ()
    return (families.kind_of(point), families.kind_of(factor), *powers)


def _family(kind: tuple[str, ...], parts: Sequence[Part], factors: Mapping[str, Part], span: tuple[int, int]) -> Family:
    """The family of Modbus points; ``span``: where the payload begins, and the zero byte behind it."""
    numbers = families.registers(kind[0], parts, *span)
    if len(kind) == 1:
        return numbers
    by = families.registers(kind[1], [factors[str(point.scale_by)] for point, _ in parts], *span)
    return families.Multiplied(numbers, by, (int(kind[2]), int(kind[3])) if len(kind) > 2 else None)


def _dlt645_layout(driver: Dlt645Driver, request: bytes, length: int) -> Layout:
    asked = driver.asked(request)
    size = max(0, length - dlt645.OVERHEAD - 4)
    head = request.lstrip(bytes([dlt645.PREAMBLE]))[:14]
    head = head[:8] + bytes([dlt645.READ | dlt645.REPLY, 4 + size & 0xFF]) + head[10:14]
    first = asked.parts[0][0]
    width = plan.width(first)
    kinds = ["digits" if at + width <= size else "missing" for _, at in asked.parts]
    places, groups = _grouped(kinds)
    spots = [[14 + asked.parts[i][1] for i in held] if kind == "digits" else [] for kind, held in groups]
    found = [families.items(len(held), first.signed, width, at) for (_, held), at in zip(groups, spots, strict=True)]
    unit = Decimal(1).scaleb(-len(str(first.digits).partition(".")[2]))
    return Layout(
        tuple(point for point, _ in asked.parts),
        tuple(EXACT.multiply(unit, point.scale) for point, _ in asked.parts),
        places,
        tuple(found),
        length,
        size <= 0xFF - 4 and asked.fits(size),
        head,
        _sum_right,
        tuple(index for index, (point, _) in enumerate(asked.parts) if point.kind == "counter"),
    )


def _grouped(kinds: Sequence[Kind]) -> tuple[tuple[tuple[int, int], ...], list[tuple[Kind, list[int]]]]:
    """Each point's family and column, and each family's kind with its points."""
    groups: dict[Kind, list[int]] = {}
    places = []
    for index, kind in enumerate(kinds):
        held = groups.setdefault(kind, [])
        places.append((list(groups).index(kind), len(held)))
        held.append(index)
    return tuple(places), list(groups.items())


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


def _crc_right(frame: bytes) -> bool:
    """A frame with its CRC behind it has the CRC 0."""
    return not crc16(frame)


def _sum_right(frame: bytes) -> bool:
    return frame[-1] == dlt645.END and sum(frame[:-2]) & 0xFF == frame[-2]


def _always(_: bytes) -> bool:
    """On TCP the fixed bytes are all there is to check."""
    return True
