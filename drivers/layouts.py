"""Where the points of a request lie in replies of one length, and how all of them are read at once with numpy."""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TypeVar

import numpy as np
from fastcrc.crc16 import modbus as crc16

from drivers import families, plan
from drivers.cjt188 import Cjt188Driver, steps_by_code
from drivers.cjt188_options import Options
from drivers.dlt645 import Dlt645Driver
from drivers.driver import Driver
from drivers.families import Bytes, Family, Matrix, Numbers, Part
from drivers.modbus import ModbusDriver
from drivers.profile import Point
from drivers.quantity import EXACT
from protocols import cjt188, cjt188_answer, dlt645, modbus
from protocols.cjt188_answer import Quantity

Kind = TypeVar("Kind", bound=Hashable)

DATA = 14
"""Where the data behind identifier and serial number begin in an answer of CJ/T 188."""
KEPT = 8192
"""Layouts kept before all are dropped: enough for two thousand meters."""
LONGEST = 512
"""Bytes of a question whose layout is kept: none of ours has so many, and what others ask may have a mebibyte."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the points of a request lie in replies of one length.

    ``places``: family and column in its matrix, for each point; ``spots``: where it begins in what is behind the head.
    A plain answer begins with ``head`` and passes ``check``; ``plain`` is false when none has this length.
    """

    points: tuple[Point, ...]
    scales: tuple[Decimal, ...]
    places: tuple[tuple[int, int], ...]
    spots: tuple[int, ...]
    families: tuple[Family, ...]
    length: int
    plain: bool
    head: bytes
    check: Callable[[Bytes], bool]
    counters: tuple[int, ...]
    fixed: bool = True
    """Whether the request alone tells the points; else the replies do."""
    options: Hashable = None
    """What else of its device makes the numbers what they are."""

    def read(self, laid: Bytes, heads: bytes | None = None) -> list[Matrix] | None:
        """The numbers of every reply of some tracks, which are laid as tracks by bytes of a reply by replies; None when
        one of the replies is no plain answer. ``heads``: how each of the replies begins, one after another, where that
        is not ``head``.
        """
        if not self.plain:
            return None
        tracks, length, count = laid.shape
        rows = np.zeros((tracks * count, length + 1), np.uint8)
        rows.reshape(tracks, count, -1)[:, :, :-1] = laid.transpose(0, 2, 1)
        if rows[:, : len(self.head)].tobytes() != (self.head * len(rows) if heads is None else heads):
            return None
        if not self.check(rows[:, :-1]):
            return None
        matrices = []
        for family in self.families:
            if (matrix := family.read(rows)) is None:
                return None
            matrices.append(matrix)
        return matrices

    def is_like(self, other: "Layout") -> bool:
        """Whether the replies of both are read the same way, but for how they begin."""
        mine, others = (self.length, len(self.head), self.spots), (other.length, len(other.head), other.spots)
        both = self.plain and other.plain and self.check is other.check
        return both and mine == others and (self.points, self.options) == (other.points, other.options)


class Layouts:
    """What is known of the tracks seen so far, so that it is worked out once; hold one for a thread."""

    def __init__(self) -> None:
        self._known: dict[tuple[Driver, bytes, int], Layout] = {}

    def of(self, driver: Driver, request: bytes, length: int) -> Layout:
        """Where in the replies of this length the points of this request lie; ProtocolError for a request of no use."""
        key = (driver, request, length)
        if (layout := self._known.get(key)) is None:
            layout = _layout(driver, request, length)
            if len(self._known) >= KEPT:
                self._known.clear()
            if len(request) <= LONGEST:
                self._known[key] = layout
        return layout


@dataclass(frozen=True, slots=True)
class Read:
    """Points whose numbers only the driver knows."""

    dtype: type[np.generic]

    def read(self, rows: Bytes) -> None:
        """Never at once."""


def found(driver: Driver, held: Collection[str], length: int) -> Layout:
    """The layout of replies that were read one by one: every point that one of them holds, exact steps of its scale."""
    points = tuple(point for point in driver.profile.points if point.id in held)
    places, groups = _grouped([point.type in ("f32", "f64") for point in points])
    read = [Read(np.float64 if real else np.int64) for real, _ in groups]
    counters = tuple(index for index, point in enumerate(points) if point.kind == "counter")
    scales = tuple(_step(point) for point in points)
    return Layout(points, scales, places, (), tuple(read), length, False, b"", _always, counters, fixed=False)


def _step(point: Point) -> Decimal:
    """What every value of a point is a whole number of."""
    return point.scale.scaleb(-len((point.digits or "").partition(".")[2]))


def _layout(driver: Driver, request: bytes, length: int) -> Layout:
    if isinstance(driver, ModbusDriver):
        return _modbus_layout(driver, request, length)
    if isinstance(driver, Dlt645Driver):
        return _dlt645_layout(driver, request, length)
    if isinstance(driver, Cjt188Driver):
        return _cjt188_layout(driver, request, length)
    return _unknown(length)


def _unknown(length: int) -> Layout:
    """Of replies that are read one by one."""
    return Layout((), (), (), (), (), length, False, b"", _always, (), fixed=False)


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
        tuple(at for _, at in parts),
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
        tuple(at for _, at in asked.parts),
        tuple(found),
        length,
        size <= 0xFF - 4 and asked.fits(size),
        head,
        _sum_right,
        tuple(index for index, (point, _) in enumerate(asked.parts) if point.kind == "counter"),
    )


def _cjt188_layout(driver: Cjt188Driver, request: bytes, length: int) -> Layout:
    """Of an answer as long as this meter's, of its very type, with the identifier as it was asked for."""
    asked, made, points = cjt188.parse_request(request), driver.options, driver.points
    size = length - cjt188.OVERHEAD - 3
    plain = asked.meter_type == made.type_code and (asked.address, asked.control) == (driver.address, cjt188.READ)
    whole = all(point.scale == 1 for point in points if made.source(str(point.field)) is None)
    if not plain or not whole or cjt188_answer.LAYOUTS.get(size) != made.layout:
        return _unknown(length)
    frame = request.lstrip(bytes([cjt188.PREAMBLE]))
    head = frame[:9] + bytes([cjt188.READ | cjt188.REPLY, 3 + size]) + frame[11:13]
    places, groups = _grouped([made.source(str(point.field)) is None for point in points])
    found = [
        _states(driver, [points[i] for i in held], length)
        if state
        else _coded(driver, [points[i] for i in held], length)
        for state, held in groups
    ]
    return Layout(
        points,
        tuple(point.scale for point in points),
        places,
        (),
        tuple(found),
        length,
        True,
        head,
        _sum_right,
        tuple(index for index, point in enumerate(points) if point.kind == "counter"),
        options=made,
    )


def _coded(driver: Cjt188Driver, points: Sequence[Point], length: int) -> Family:
    """The family of points that are numbers of an answer."""
    made, sources = driver.options, [str(driver.options.source(str(point.field))) for point in points]
    spots = {name: (number, code) for name, number, code in cjt188_answer.spots(made.layout, made.units)}
    gather, weights, codes = list[int](), list[list[int]](), list[int]()
    for name in sources:
        number, code = spots[name]
        own = [DATA + at for at in range(number.start, number.stop)][::-1]
        gather += own + [length] * (4 - len(own))
        weights.append([100**power for power in reversed(range(len(own)))] + [0] * (4 - len(own)))
        codes.append(length if code is None else DATA + code)
    wanted = [(point.unit, point.scale, made.layout[name]) for point, name in zip(points, sources, strict=True)]
    return families.Coded(
        np.array(gather, np.intp),
        np.array(weights, np.int64),
        np.array(codes, np.intp),
        _steps(tuple(wanted), made),
        np.array([name in cjt188_answer.SIGNED for name in sources], np.bool_),
        np.array([name in cjt188_answer.NINES for name in sources], np.bool_),
    )


@lru_cache(256)
def _steps(wanted: tuple[tuple[str, Decimal, Quantity], ...], made: Options) -> Numbers:
    """Of each point, by unit code, what a digit is worth: one for all meters of a model, for it takes 2 kB a point."""
    return np.array([steps_by_code(unit, scale, quantity, made) for unit, scale, quantity in wanted], np.int64)


def _states(driver: Cjt188Driver, points: Sequence[Point], length: int) -> Family:
    """The family of points that are bits of the status at the end of an answer."""
    mirrored = driver.options.status == "mirrored"
    parts = []
    for point in points:
        if point.field in ("valve", "battery_low"):
            parts.append(cjt188_answer.state_bits(point.field, mirrored))
        else:
            parts.append((0, 0xFFFF) if point.bit is None else (point.bit, 1))
    return families.words(parts, length - 4, length)


def _grouped(kinds: Sequence[Kind]) -> tuple[tuple[tuple[int, int], ...], list[tuple[Kind, list[int]]]]:
    """Each point's family and column, and each family's kind with its points."""
    groups: dict[Kind, list[int]] = {}
    places = []
    for index, kind in enumerate(kinds):
        held = groups.setdefault(kind, [])
        places.append((list(groups).index(kind), len(held)))
        held.append(index)
    return tuple(places), list(groups.items())


def _crc_right(frames: Bytes) -> bool:
    """Every frame with its CRC behind it has the CRC 0."""
    return not any(map(crc16, frames.view(f"V{frames.shape[1]}").ravel().tolist()))


def _sum_right(frames: Bytes) -> bool:
    sums = frames[:, :-2].sum(axis=1, dtype=np.uint8)
    return bool((frames[:, -1] == dlt645.END).all() and (sums == frames[:, -2]).all())


def _always(_: Bytes) -> bool:
    """On TCP the fixed bytes are all there is to check."""
    return True
