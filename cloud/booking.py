"""The running accounts of one gateway: what its blocks say goes in, the rows that changed come out. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat
from typing import TypeVar, cast

import numpy as np

from cloud.ingest import Content, Replayed
from cloud.intervals import INTERVAL_MS
from cloud.running import Memory, Moved, Running, Samples, Seat
from drivers.columns import Table
from drivers.installation import Installation
from drivers.profile import Point
from drivers.quantity import limited, scaled
from drivers.site import multiplier
from protocols.record.block import Header, Track

T = TypeVar("T")

POWER = "power"
"""What every profile calls the total active power."""
KILOWATTS = {"W": 0.001, "kW": 1.0, "MW": 1000.0}


@dataclass(frozen=True, slots=True)
class Answered:
    """The newest reply to a request of a device; where it speaks unasked, the newest that holds these ``points``."""

    device: str
    request: bytes
    points: str
    config_number: int
    at: int
    reply: bytes
    epoch: int
    seq: int


@dataclass(slots=True)
class Heap:
    """Power readings of one point in one quarter of an hour, since the last rows were taken: kW."""

    total: float = 0.0
    peak: float = float("-inf")
    samples: int = 0

    def add(self, numbers: Sequence[float]) -> None:
        """Some more readings."""
        self.total += sum(numbers)
        self.peak = max(self.peak, *numbers)
        self.samples += len(numbers)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be written: the accounts that moved, newest replies, and power to be added to what is there."""

    moved: Moved
    answered: list[Answered]
    power: dict[tuple[str, str, int], Heap]


class Lane:
    """Which columns of a track are booked, gathered by the matrix they lie in."""

    def __init__(self, table: Table, wanted: Callable[[Point], bool]) -> None:
        layout = table.layout
        chosen = [index for index, point in enumerate(layout.points) if wanted(point)]
        families = sorted({layout.places[index][0] for index in chosen})
        self._groups = []
        for family in families:
            held = [index for index in chosen if layout.places[index][0] == family]
            places = np.array([layout.places[index][1] for index in held], np.intp)
            self._groups.append(
                (family, places, [(index, layout.points[index], layout.scales[index]) for index in held])
            )

    def samples(self, table: Table, times: list[int]) -> Iterator[tuple[Point, Samples]]:
        """The readings of each column that are neither absent nor suspect, of a rate None in their place; nothing where
        there are none.
        """
        dated = table.stamps is not None
        for family, places, columns in self._groups:
            numbers, valid = table.matrices[family]
            rows = numbers[:, places].T.tolist()
            masks = repeat(None) if valid is None else valid[:, places].T.tolist()
            for (index, point, scale), raws, mask in zip(columns, rows, masks, strict=False):
                counting = _counting(table, index, raws, scale, mask)
                if point.kind == "rate":
                    yield point, Samples(times, _or_none(raws, counting), scale, dated)
                elif counting is None:
                    yield point, Samples(times, raws, scale, dated)
                elif any(counting):
                    yield point, Samples(_kept(times, counting), _kept(raws, counting), scale, dated)


class Desk:
    """Which columns of a device's tracks are booked under the configuration in force."""

    def __init__(self, seat: Seat) -> None:
        self.device, self._points = seat.device, seat.points
        self._lanes: dict[tuple[bytes, int], tuple[Lane, Lane]] = {}
        self._multiplier = (0, 1.0)

    def lanes(self, track: Track, table: Table) -> tuple[Lane, Lane]:
        """What of a track is counted, and its power."""
        if not table.layout.fixed:
            return self._lanes_of(table)
        key = (track.request, track.reply_length)
        lanes = self._lanes.get(key)
        if lanes is None:
            lanes = self._lanes[key] = self._lanes_of(table)
        return lanes

    def _lanes_of(self, table: Table) -> tuple[Lane, Lane]:
        return Lane(table, lambda point: point.id in self._points), Lane(table, _is_power)

    def kilowatts(self, point: Point, start: int) -> float:
        """What turns a power as read in the quarter of an hour from ``start`` into kW on the primary side."""
        if start != self._multiplier[0]:
            self._multiplier = (start, float(multiplier(self.device, start)))
        return KILOWATTS[point.unit] * (1.0 if point.primary else self._multiplier[1])


class Book:
    """Books blocks in chain order."""

    def __init__(self, memory: Memory) -> None:
        self._running = Running(memory)
        self._desks: dict[int, Desk] = {}
        self._answered: dict[tuple[str, bytes, str], tuple[Track, int, Header]] = {}
        self._power: dict[tuple[str, str, int], Heap] = {}

    def configure(self, installation: Installation, at: int = 0) -> None:
        """Go on under this configuration, whose first block began ``at`` (UTC ms)."""
        if self._running.configure(installation, at):
            self._desks = {number: Desk(seat) for number, seat in self._running.seats.items()}

    def book(self, header: Header, content: Content) -> None:
        """Everything a dated block says."""
        self.configure(content.installation, header.utc[0])
        self.show(header, content)
        for replayed in content.chunks:
            self._count(header, replayed)

    def show(self, header: Header, content: Content) -> None:
        """The newest replies of a block, and no more: of one that is undated nothing is booked."""
        for replayed in content.chunks:
            self._answer(content.installation.site.device[replayed.chunk.device].id, header, replayed)

    def take(self) -> Changes:
        """The rows that are new or changed since the last call."""
        answered = [_answered(key, *found) for key, found in self._answered.items()]
        changes = Changes(self._running.take(), answered, self._power)
        self._answered, self._power = {}, {}
        return changes

    def _answer(self, device: str, header: Header, replayed: Replayed) -> None:
        for track, table in zip(replayed.chunk.tracks, replayed.tables, strict=True):
            at = max(track.times)
            kind = "" if track.request else " ".join([point.id for point in table.points])
            key = (device, track.request, kind)
            known = self._answered.get(key)
            if known is None or known[2] is not header or at >= known[1]:
                self._answered[key] = (track, at, header)

    def _count(self, header: Header, replayed: Replayed) -> None:
        """Hand over what is counted; heap the power."""
        desk = self._desks[replayed.chunk.device]
        heard: list[tuple[Point, Samples]] = []
        for track, table in zip(replayed.chunk.tracks, replayed.tables, strict=True):
            counted, power = desk.lanes(track, table)
            times = [header.utc[0] + at for at in track.times] if table.stamps is None else list(table.stamps)
            heard += counted.samples(table, times)
            for point, samples in power.samples(table, times):
                self._heap(desk, point, samples)
        self._running.hear(replayed.chunk.device, heard, header)

    def _heap(self, desk: Desk, point: Point, samples: Samples) -> None:
        times, raws = samples.times, cast("Sequence[int | float]", samples.raws)
        cells: dict[int, list[int | float]] = {}
        if min(times) // INTERVAL_MS == max(times) // INTERVAL_MS:
            cells[times[0] // INTERVAL_MS] = list(raws)
        else:
            for at, raw in zip(times, raws, strict=True):
                cells.setdefault(at // INTERVAL_MS, []).append(raw)
        for cell, held in cells.items():
            start = cell * INTERVAL_MS
            factor = float(samples.scale or 1) * desk.kilowatts(point, start)
            heap = self._power.setdefault((desk.device.id, point.id, start), Heap())
            heap.add([raw * factor for raw in held])


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
        (mask is None or mask[at]) and limited(point, scaled(_exact(raw), scale)) == "measured"
        for at, raw in enumerate(raws)
    ]


def _exact(raw: int | float) -> int | Decimal:
    return raw if isinstance(raw, int) else Decimal(raw)


def _kept(values: Sequence[T], counting: Sequence[bool]) -> list[T]:
    return [value for value, counts in zip(values, counting, strict=True) if counts]


def _or_none(raws: Sequence[int | float], counting: Sequence[bool] | None) -> Sequence[int | float | None]:
    if counting is None:
        return raws
    return [raw if counts else None for raw, counts in zip(raws, counting, strict=True)]


def _is_power(point: Point) -> bool:
    return point.kind == "gauge" and point.unit in KILOWATTS and point.id == POWER


def _answered(key: tuple[str, bytes, str], track: Track, at: int, header: Header) -> Answered:
    index = track.times.index(at)
    reply = track.columns[index :: len(track.times)]
    number = header.configuration[0]
    return Answered(*key, number, header.utc[0] + at, reply, header.epoch, header.seq)
