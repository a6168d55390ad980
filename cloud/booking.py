"""The running accounts of one gateway: what its blocks say goes in, the rows that changed come out. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat

import numpy as np

from cloud.ingest import Content, Replayed
from cloud.intervals import INTERVAL_MS, Interval, Rules, datable, rules
from cloud.series import Series
from drivers.columns import Table
from drivers.installation import Installation
from drivers.profile import Point
from drivers.quantity import limited, scaled
from drivers.site import Device, multiplier
from protocols.record.block import Header, Track

Samples = tuple[list[int], list[int | float], Decimal]
"""Times (UTC ms), raw numbers, and the scale that makes them values."""

POWER = "power"
"""What every profile calls the total active power."""
KILOWATTS = {"W": 0.001, "kW": 1.0, "MW": 1000.0}


@dataclass(frozen=True, slots=True)
class Answered:
    """The newest reply to a request of a device."""

    device: str
    request: bytes
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
    """What is to be written: intervals new or changed, newest replies, and power to be added to what is there."""

    intervals: list[Interval]
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
            self._groups.append((family, places, [(layout.points[index], layout.scales[index]) for index in held]))

    def samples(self, table: Table, times: list[int]) -> Iterator[tuple[Point, Samples]]:
        """The readings of each column that are neither absent nor suspect; nothing where there are none."""
        for family, places, columns in self._groups:
            numbers, valid = table.matrices[family]
            rows = numbers[:, places].T.tolist()
            masks = repeat(None) if valid is None else valid[:, places].T.tolist()
            for (point, scale), raws, mask in zip(columns, rows, masks, strict=False):
                samples = _kept(point, times, raws, scale, mask)
                if samples[0]:
                    yield point, samples


class Seat:
    """What the readings of a device are booked on under the configuration in force."""

    def __init__(self, device: Device, rules: dict[str, Rules]) -> None:
        self.device, self.rules = device, rules
        self._lanes: dict[tuple[bytes, int], tuple[Lane, Lane]] = {}
        self._multiplier = (0, 1.0)

    def lanes(self, track: Track, table: Table) -> tuple[Lane, Lane]:
        """The counters of a track, and its power."""
        if not table.layout.fixed:
            return self._lanes_of(table)
        key = (track.request, track.reply_length)
        lanes = self._lanes.get(key)
        if lanes is None:
            lanes = self._lanes[key] = self._lanes_of(table)
        return lanes

    def _lanes_of(self, table: Table) -> tuple[Lane, Lane]:
        return Lane(table, lambda point: point.id in self.rules), Lane(table, _is_power)

    def kilowatts(self, point: Point, start: int) -> float:
        """What turns a power as read in the quarter of an hour from ``start`` into kW on the primary side."""
        if start != self._multiplier[0]:
            self._multiplier = (start, float(multiplier(self.device, start)))
        return KILOWATTS[point.unit] * (1.0 if point.primary else self._multiplier[1])


class Book:
    """Books blocks in chain order. Its memory is the open interval of each counter."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self._held = {(interval.device, interval.point): interval for interval in intervals}
        self._series: dict[tuple[str, str], Series] = {}
        self._installation: Installation | None = None
        self._seats: dict[int, Seat] = {}
        self._answered: dict[tuple[str, bytes], tuple[Track, int, Header]] = {}
        self._power: dict[tuple[str, str, int], Heap] = {}

    def configure(self, installation: Installation, at: int = 0) -> None:
        """Go on under this configuration, whose first block began ``at`` (UTC ms)."""
        if installation is self._installation:
            return
        self._installation = installation
        self._seats = {
            number: Seat(device, rules(installation, number)) for number, device in enumerate(installation.site.device)
        }
        for seat in self._seats.values():
            for point, held in seat.rules.items():
                if (series := self._series.get((seat.device.id, point))) is not None:
                    series.configure(held, at)
                elif (seat.device.id, point) in self._held:
                    self._series_of(seat, point, at)

    def book(self, header: Header, content: Content) -> None:
        """Everything a block says."""
        self.configure(content.installation, header.utc[0])
        dated = datable(header.utc)
        for replayed in content.chunks:
            seat = self._seats[replayed.chunk.device]
            self._answer(seat, header, replayed)
            if dated:
                self._count(seat, header, replayed)

    def take(self) -> Changes:
        """The rows that are new or changed since the last call."""
        intervals = [row for series in self._series.values() for row in series.take()]
        answered = [_answered(device, track, at, header) for (device, _), (track, at, header) in self._answered.items()]
        changes = Changes(intervals, answered, self._power)
        self._answered, self._power = {}, {}
        return changes

    def _answer(self, seat: Seat, header: Header, replayed: Replayed) -> None:
        for track in replayed.chunk.tracks:
            at = max(track.times)
            known = self._answered.get((seat.device.id, track.request))
            if known is None or known[2] is not header or at >= known[1]:
                self._answered[seat.device.id, track.request] = (track, at, header)

    def _count(self, seat: Seat, header: Header, replayed: Replayed) -> None:
        """Feed the counters, in order of time where more than one track tells of one; heap the power."""
        heard: dict[str, list[Samples]] = {}
        for track, table in zip(replayed.chunk.tracks, replayed.tables, strict=True):
            counters, power = seat.lanes(track, table)
            times = [header.utc[0] + at for at in track.times]
            for point, samples in counters.samples(table, times):
                heard.setdefault(point.id, []).append(samples)
            for point, samples in power.samples(table, times):
                self._heap(seat, point, samples)
        for name, parts in heard.items():
            times, raws, scale = parts[0] if len(parts) == 1 and _rising(parts[0][0]) else _merged(parts)
            self._series_of(seat, name).feed(times, raws, scale, header.epoch, header.seq)

    def _series_of(self, seat: Seat, point: str, at: int = 0) -> Series:
        key = (seat.device.id, point)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(seat.rules[point], self._held.pop(key, None), at)
        return series

    def _heap(self, seat: Seat, point: Point, samples: Samples) -> None:
        times, raws, scale = samples
        cells: dict[int, list[int | float]] = {}
        if min(times) // INTERVAL_MS == max(times) // INTERVAL_MS:
            cells[times[0] // INTERVAL_MS] = raws
        else:
            for at, raw in zip(times, raws, strict=True):
                cells.setdefault(at // INTERVAL_MS, []).append(raw)
        for cell, held in cells.items():
            start = cell * INTERVAL_MS
            factor = float(scale) * seat.kilowatts(point, start)
            heap = self._power.setdefault((seat.device.id, point.id, start), Heap())
            heap.add([raw * factor for raw in held])


def _kept(point: Point, times: list[int], raws: list[int | float], scale: Decimal, mask: list[bool] | None) -> Samples:
    """The readings that are neither absent nor suspect."""
    low, high = point.min, point.max
    if mask is None and low is None and high is None:
        return times, raws, scale
    kept = [
        index
        for index, raw in enumerate(raws)
        if (mask is None or mask[index])
        and ((low is None and high is None) or limited(point, scaled(Decimal(raw), scale)) == "measured")
    ]
    return [times[index] for index in kept], [raws[index] for index in kept], scale


def _is_power(point: Point) -> bool:
    return point.kind == "gauge" and point.unit in KILOWATTS and point.id == POWER


def _merged(parts: Sequence[Samples]) -> Samples:
    """The samples of one point by rising time; tracks of one point have one scale."""
    pairs = [pair for times, raws, _ in parts for pair in zip(times, raws, strict=True)]
    pairs.sort(key=lambda pair: pair[0])
    return [at for at, _ in pairs], [raw for _, raw in pairs], parts[0][2]


def _rising(times: list[int]) -> bool:
    return len(times) < 2 or times == sorted(times)


def _answered(device: str, track: Track, at: int, header: Header) -> Answered:
    index = track.times.index(at)
    reply = track.columns[index :: len(track.times)]
    number = header.configuration[0]
    return Answered(device, track.request, number, header.utc[0] + at, reply, header.epoch, header.seq)
