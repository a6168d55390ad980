"""Replay of a whole track at once with numpy: the collector's fast way to the very values that drivers.replay gives.

A track is taken at once only when every reply has the length, the constant bytes and the checksum of a plain answer.
Any other goes through the driver reply by reply, so that both ways accept, refuse and decode the same.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, inf, nextafter
from typing import Any, Protocol, TypeAlias, overload

import numpy as np
from fastcrc.crc16 import modbus as crc16
from numpy.typing import NDArray

from drivers import plan, replay
from drivers.dlt645 import Dlt645Driver
from drivers.driver import Driver
from drivers.modbus import ModbusDriver, ordered
from drivers.profile import REGISTERS, Point
from drivers.quantity import EXACT, limited, scaled
from drivers.query import Values
from drivers.reading import Quality
from protocols import dlt645, modbus
from protocols.record.block import Track

Numbers: TypeAlias = NDArray[Any]
"""int64 (uint64 for the type u64), or float64 that holds the meter's own IEEE number."""
Mask: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]
"""Replies of a track, one a row, each with a zero byte behind it."""

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
    matrices: Sequence["Matrix"]
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


Matrix: TypeAlias = tuple[Numbers, Mask | None]
"""Replies by points: the numbers, and which of them are valid (None: all)."""


class Family(Protocol):
    """Points of a request that are worked out together."""

    @property
    def dtype(self) -> type[np.generic]:
        """What their numbers are held in."""

    def read(self, rows: Bytes) -> Matrix | None:
        """Their numbers; None when a reply holds what is no number."""


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
class Integers:
    """Modbus integers and bits: eight bytes each, low byte first, shifted down with their sign."""

    gather: NDArray[np.intp]
    shift: NDArray[np.int64] | None
    mask: NDArray[np.int64] | None
    bad: tuple[tuple[int, int], ...]
    dtype: type[np.generic]

    def read(self, rows: Bytes) -> Matrix:
        """The numbers of every reply."""
        raw: Numbers = rows.take(self.gather, axis=1).view(self.dtype)
        valid = _valid(raw, self.bad) if self.bad else None
        if self.shift is not None:
            raw = raw >> self.shift
        return (raw if self.mask is None else raw & self.mask), valid


@dataclass(frozen=True, slots=True)
class Reals:
    """Modbus IEEE numbers, low byte first."""

    gather: NDArray[np.intp]
    stored: type[np.floating[Any]]
    bits: type[np.unsignedinteger[Any]]
    bad: tuple[tuple[int, int], ...]
    dtype: type[np.generic] = np.float64

    def read(self, rows: Bytes) -> Matrix:
        """The numbers of every reply; not valid where they are none or infinite."""
        raw = rows.take(self.gather, axis=1)
        numbers: Numbers = raw.view(self.stored)
        valid: Mask = np.isfinite(numbers)
        if self.bad:
            valid &= _valid(raw.view(self.bits), self.bad)
        if not valid.all():
            numbers = np.where(valid, numbers, self.stored(0))
        return numbers.astype(np.float64), valid


@dataclass(frozen=True, slots=True)
class Digits:
    """BCD items of one format with +33H on each byte, high byte first."""

    gather: NDArray[np.intp]
    weights: NDArray[np.int64]
    signed: bool
    dtype: type[np.generic] = np.int64

    def read(self, rows: Bytes) -> Matrix | None:
        """The numbers of every reply; not valid where filled with FF, None where a digit is above 9."""
        raw = rows.take(self.gather, axis=1).reshape(len(rows), -1, len(self.weights))
        pairs: Numbers = _PAIRS[raw]
        if self.signed:
            pairs[:, :, 0] = _SIGNED_PAIRS[raw[:, :, 0]]
        valid: Mask | None = None
        if pairs.min() < 0:
            valid = np.logical_and.reduce(pairs >= 0, axis=2)
            filled = np.logical_and.reduce(raw == _FILL, axis=2)
            if not np.logical_or(valid, filled).all():
                return None
            pairs *= valid[:, :, np.newaxis]
        numbers = pairs @ self.weights
        if self.signed:
            numbers *= _SIGN[raw[:, :, 0]]
        return numbers, valid


@dataclass(frozen=True, slots=True)
class Missing:
    """Points beyond the end of a block: this meter has none of them."""

    count: int
    dtype: type[np.generic] = np.int64

    def read(self, rows: Bytes) -> Matrix:
        """Nothing valid."""
        shape = (len(rows), self.count)
        return np.zeros(shape, np.int64), np.zeros(shape, np.bool_)


@dataclass(frozen=True, slots=True)
class Read:
    """Points whose numbers only the driver knows."""

    dtype: type[np.generic]

    def read(self, rows: Bytes) -> None:
        """Never at once."""


def _exact(number: int | float) -> int | Decimal:
    return number if isinstance(number, int) else Decimal(number)


def _valid(raw: Numbers, bad: tuple[tuple[int, int], ...]) -> Mask:
    valid = np.ones(raw.shape, np.bool_)
    for column, pattern in bad:
        valid[:, column] &= raw[:, column] != pattern
    return valid


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
    places, groups = _grouped([point.type if point.type in _REALS else "steps" for point in points])
    families = [Read(np.float64 if kind in _REALS else np.int64) for kind, _ in groups]
    counters = tuple(index for index, point in enumerate(points) if point.kind == "counter")
    scales = tuple(_step(point) for point in points)
    return Layout(points, scales, places, tuple(families), length, False, b"", _always, counters, fixed=False)


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
    kinds = [point.type if point.type in _REALS or point.type == "u64" else "i64" for point, _ in parts]
    places, groups = _grouped(kinds)
    families = [_numbers(str(kind), [parts[i] for i in held], len(head), length) for kind, held in groups]
    return Layout(
        tuple(point for point, _ in parts),
        tuple(point.scale for point, _ in parts),
        places,
        tuple(families),
        length,
        length == plain,
        head,
        _always if tcp else _crc_right,
        tuple(index for index, (point, _) in enumerate(parts) if point.kind == "counter"),
    )


def _dlt645_layout(driver: Dlt645Driver, request: bytes, length: int) -> Layout:
    asked = driver.asked(request)
    size = max(0, length - dlt645.OVERHEAD - 4)
    head = request.lstrip(bytes([dlt645.PREAMBLE]))[:14]
    head = head[:8] + bytes([dlt645.READ | dlt645.REPLY, 4 + size & 0xFF]) + head[10:14]
    first = asked.parts[0][0]
    width = plan.width(first)
    kinds = ["digits" if at + width <= size else "missing" for _, at in asked.parts]
    places, groups = _grouped(kinds)
    families = [_items(kind, [asked.parts[i] for i in held], first.signed, width) for kind, held in groups]
    unit = Decimal(1).scaleb(-len(str(first.digits).partition(".")[2]))
    return Layout(
        tuple(point for point, _ in asked.parts),
        tuple(EXACT.multiply(unit, point.scale) for point, _ in asked.parts),
        places,
        tuple(families),
        length,
        size <= 0xFF - 4 and asked.fits(size),
        head,
        _sum_right,
        tuple(index for index, (point, _) in enumerate(asked.parts) if point.kind == "counter"),
    )


def _grouped(kinds: Sequence[str | None]) -> tuple[tuple[tuple[int, int], ...], list[tuple[str | None, list[int]]]]:
    """Each point's family and column, and each family's kind with its points."""
    groups: dict[str | None, list[int]] = {}
    places = []
    for index, kind in enumerate(kinds):
        held = groups.setdefault(kind, [])
        places.append((list(groups).index(kind), len(held)))
        held.append(index)
    return tuple(places), list(groups.items())


def _numbers(kind: str, parts: Sequence[tuple[Point, int]], start: int, length: int) -> Family:
    """The family of Modbus points whose payload starts at byte ``start``; byte ``length`` of a row is zero."""
    if kind in _REALS:
        gather = [at for point, part in parts for at in _little(point, start + part)]
        return Reals(np.array(gather, np.intp), *_REALS[kind], _patterns(parts, [0] * len(parts)))
    gather, shifts, lifts = [], [], []
    for point, part in parts:
        coil = point.type == "bit"
        spots = [start + part // 8] if coil else _little(point, start + part)
        pad = [length] * (8 - len(spots))
        signed = str(point.type).startswith("i")
        lift = 8 * len(pad) if signed else 0
        gather += pad + spots if signed else spots + pad
        lifts.append(lift)
        shifts.append(lift + (part % 8 if coil else point.bit or 0))
    single = [point.type == "bit" or point.bit is not None for point, _ in parts]
    mask = np.array([1 if one else -1 for one in single], np.int64) if any(single) else None
    shift = np.array(shifts, np.int64) if any(shifts) else None
    dtype = np.uint64 if kind == "u64" else np.int64
    return Integers(np.array(gather, np.intp), shift, mask, _patterns(parts, lifts, kind == "i64"), dtype)


def _little(point: Point, start: int) -> list[int]:
    """Where a number's bytes are, low byte first."""
    size = 2 * REGISTERS[str(point.type)]
    return [start + at for at in reversed(ordered(bytes(range(size)), point.order))]


def _patterns(
    parts: Sequence[tuple[Point, int]], lifts: Sequence[int], signed: bool = False
) -> tuple[tuple[int, int], ...]:
    """Each point's column with a pattern that is no value, as it stands in the eight bytes."""
    found = []
    for column, ((point, _), lift) in enumerate(zip(parts, lifts, strict=True)):
        bits = 16 * REGISTERS[str(point.type)]
        for pattern in point.bad if point.type != "bit" else ():
            if pattern < 1 << bits:
                found.append((column, int.from_bytes((pattern << lift).to_bytes(8), signed=signed)))
    return tuple(found)


def _items(kind: str | None, parts: Sequence[tuple[Point, int]], signed: bool, width: int) -> Family:
    """The family of DL/T 645 items; the data begin at byte 14 of a frame."""
    if kind == "missing":
        return Missing(len(parts))
    gather = [14 + at + byte for _, at in parts for byte in reversed(range(width))]
    weights = np.array([100**power for power in reversed(range(width))], np.int64)
    return Digits(np.array(gather, np.intp), weights, signed)


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


_REALS: dict[str | None, tuple[type[np.floating[Any]], type[np.unsignedinteger[Any]]]] = {
    "f32": (np.float32, np.uint32),
    "f64": (np.float64, np.uint64),
}


def _pair(byte: int) -> int:
    high, low = byte >> 4, byte & 0x0F
    return 10 * high + low if high <= 9 and low <= 9 else -1


_PAIRS = np.array([_pair((byte - 0x33) & 0xFF) for byte in range(256)], np.int64)
_SIGNED_PAIRS = np.array([_pair((byte - 0x33) & 0x7F) for byte in range(256)], np.int64)
_SIGN = np.array([-1 if (byte - 0x33) & 0x80 else 1 for byte in range(256)], np.int64)
_FILL = (0xFF + 0x33) & 0xFF
