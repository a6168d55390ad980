"""The running accounts of one gateway: what its blocks say goes in, the rows that changed come out. Pure."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise, repeat, starmap
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from cloud import newest
from cloud.glide import Place
from cloud.ingest import Content
from cloud.intervals import INTERVAL_MS
from cloud.lanes import Lane, Piece, Rows
from cloud.newest import Answered, Kind, Newest
from cloud.running import Memory, Moved, Running, Samples, Seat
from cloud.strips import Replayed, Row
from drivers.columns import Table
from drivers.installation import Installation
from drivers.layouts import Layout
from drivers.profile import Point
from drivers.site import multiplier
from drivers.steps import Steps
from protocols.record.block import Header
from protocols.record.stacks import Form

POWER = "power"
"""What every profile calls the total active power."""
MOST_READINGS = 200_000
"""Readings that wait, and then they are to be entered before more are put down: tens of bytes each."""
FORMS, KINDS = 16, 64
"""Of a device: forms of chunks, and kinds of questions, whose lanes are remembered. It may be asked anything."""
KILOWATTS = {"W": 0.001, "kW": 1.0, "MW": 1000.0}


@dataclass(slots=True)
class Heap:
    """Power readings of one point in one quarter of an hour, since the last rows were taken: kW."""

    total: float = 0.0
    peak: float = float("-inf")
    samples: int = 0

    def add(self, raws: Sequence[int | float], factor: float) -> None:
        """Some more readings; each is raw x factor."""
        self.total += sum(raws) * factor
        self.peak = max(self.peak, max(raws) * factor)
        self.samples += len(raws)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be written: the accounts that moved, newest replies, and power to be added to what is there."""

    moved: Moved
    answered: list[Answered]
    power: dict[tuple[str, str, int], Heap]


class Track(NamedTuple):
    """Replies to one question: where they lie, and when each came (UTC ms)."""

    layout: Layout
    piece: Piece
    times: NDArray[np.int64]


class Run:
    """The tracks of one kind over several blocks."""

    def __init__(self, counted: Lane, power: Lane, layout: Layout) -> None:
        self.counted, self.power, self._layout = counted, power, layout
        self._pieces: list[Piece] = []
        self._times: list[NDArray[np.int64]] = []
        self._blocks: list[tuple[Place, int]] = []

    def add(self, track: Track, blocks: Sequence[Place]) -> None:
        """As many replies in each of these blocks."""
        piece, each = track.piece, track.piece.length // len(blocks)
        last = self._pieces[-1] if self._pieces else None
        if last is not None and last.whole is piece.whole and last.first + last.length == piece.first:
            self._pieces[-1] = Piece(last.whole, last.first, last.length + piece.length)
        else:
            self._pieces.append(piece)
        self._times.append(track.times)
        self._blocks += [(block, each) for block in blocks]

    @property
    def rows(self) -> Rows:
        """All of its replies."""
        return Rows(self._layout, self._pieces)

    @property
    def times(self) -> NDArray[np.int64]:
        """When each came (UTC ms)."""
        return self._times[0] if len(self._times) == 1 else np.concatenate(self._times)

    @property
    def places(self) -> list[Place]:
        """The block of each."""
        return list(chain.from_iterable(starmap(repeat, self._blocks)))


Lanes = tuple[Lane, Lane]
"""What of a track is counted, and its power."""
Said = tuple[Header, Replayed]
"""A device in a block."""


class Desk:
    """Which columns of a device's tracks are booked under the configuration in force."""

    def __init__(self, seat: Seat, power: bool = True) -> None:
        self.device, self._points, self._power = seat.device, seat.points, power
        self._lanes: dict[tuple[bytes, int], Lanes] = {}
        self._forms: dict[Form, Sequence[Lanes] | None] = {}
        self._multipliers: dict[int, float] = {}

    def lanes(self, request: bytes, layout: Layout) -> Lanes:
        """What of a track that answers this request is counted, and its power."""
        if not layout.fixed:
            return self._lanes_of(layout)
        key = (request, layout.length)
        lanes = self._lanes.get(key)
        if lanes is None:
            if len(self._lanes) >= KINDS:
                self._lanes.clear()
            lanes = self._lanes[key] = self._lanes_of(layout)
        return lanes

    def _lanes_of(self, layout: Layout) -> Lanes:
        return Lane(layout, lambda point: point.id in self._points), Lane(
            layout, lambda point: self._power and _is_power(point)
        )

    def lanes_of(self, row: Row) -> Sequence[Lanes] | None:
        """The lanes of each of its tracks; None unless nothing is booked of it but the valid numbers of counters, each
        in one track, and of its power.
        """
        form = row.strip.form
        if form not in self._forms:
            lanes = [self._lanes_of(stretch.layout) for stretch in row.strip.stretches]
            points = [point for counted, _ in lanes for point in counted.points]
            plain = all(counted.even and counted.plain and power.plain for counted, power in lanes)
            if len(self._forms) >= FORMS:
                self._forms.clear()
            self._forms[form] = lanes if plain and len(points) == len(set(points)) else None
        return self._forms[form]

    def even(self, replayed: Replayed) -> bool:
        """Whether nothing is booked of a chunk but plain readings of counters."""
        pairs = zip(replayed.requests, replayed.tables, strict=True)
        return all(table.stamps is None and self._plain(request, table.layout) for request, table in pairs)

    def _plain(self, request: bytes, layout: Layout) -> bool:
        return layout.fixed and self.lanes(request, layout)[0].even

    def runs(self, parts: Sequence[Said]) -> list[Run] | None:
        """The tracks of even chunks kind by kind; None where one is not even, or a counter is in several of them."""
        found: dict[int, Run] = {}
        for requests, tracks, blocks in _together(parts):
            if tracks is None:
                return None
            for request, track in zip(requests, tracks, strict=True):
                layout = track.layout
                if (run := found.get(id(layout))) is None:
                    if not self._plain(request, layout):
                        return None
                    run = found[id(layout)] = Run(*self.lanes(request, layout), layout)
                run.add(track, blocks)
        points = [point for run in found.values() for point in run.counted.points]
        return list(found.values()) if len(points) == len(set(points)) else None

    def kilowatts(self, point: Point, start: int) -> float:
        """What turns a power as read in the quarter of an hour from ``start`` into kW on the primary side."""
        factor = self._multipliers.get(start)
        if factor is None:
            self._multipliers = {start: float(multiplier(self.device, start))}
            factor = self._multipliers[start]
        return KILOWATTS[point.unit] * (1.0 if point.primary else factor)


def _together(parts: Sequence[Said]) -> Iterator[tuple[tuple[bytes, ...], list[Track] | None, list[Place]]]:
    """Requests, tracks and blocks of what a device said; rows of a strip that follow one another are taken together.
    None: a track whose values the device dates itself is among them.
    """
    at = 0
    while at < len(parts):
        _, one = parts[at]
        end = at + 1
        if isinstance(one, Row):
            while end < len(parts) and one.is_followed(parts[end][1], end - at):
                end += 1
        headers = [header for header, _ in parts[at:end]]
        starts = np.array([header.utc[0] for header in headers], np.int64)
        blocks = [(header.epoch, header.seq) for header in headers]
        yield one.requests, _row_tracks(one, starts) if isinstance(one, Row) else _tracks(one, starts), blocks
        at = end


def _row_tracks(row: Row, starts: NDArray[np.int64]) -> list[Track]:
    """The tracks of a row of a strip and of those that follow it, in blocks that begin at ``starts`` (UTC ms)."""
    found, end = list[Track](), row.index + len(starts)
    for own, stretch in zip(row.strip.times, row.strip.stretches, strict=True):
        each = own.shape[1]
        times = (own[row.index : end] + starts[:, np.newaxis]).ravel()
        piece = Piece(stretch.whole, stretch.first + row.index * each, len(times))
        found.append(Track(stretch.layout, piece, times))
    return found


def _tracks(replayed: Replayed, starts: NDArray[np.int64]) -> list[Track] | None:
    tables = replayed.tables
    if any(table.stamps is not None for table in tables):
        return None
    return [Track(table.layout, _piece(table), np.array(table.times, np.int64) + starts) for table in tables]


def _piece(table: Table) -> Piece:
    return Piece(table.whole, table.first, len(table.times))


class Book:
    """Books blocks in chain order. They wait to be entered together, until the rows are asked for."""

    def __init__(self, memory: Memory, *, heaped: bool = True) -> None:
        """``heaped``: the power is heaped as well, which is for the eye alone."""
        self._running, self._heaped = Running(memory), heaped
        self._desks: dict[int, Desk] = {}
        self._newest: dict[Kind, Newest] = {}
        self._power: dict[tuple[str, str, int], Heap] = {}
        self._waiting: list[tuple[Header, Content]] = []
        self._shown: list[tuple[Header, Content]] = []
        self._readings = 0

    def configure(self, installation: Installation, at: int = 0) -> None:
        """Go on under this configuration, whose first block began ``at`` (UTC ms)."""
        if self._running.configure(installation, at):
            self._desks = {number: Desk(seat, self._heaped) for number, seat in self._running.seats.items()}

    @property
    def is_full(self) -> bool:
        """Whether so much waits that it should be entered before more is put down."""
        return self._readings > MOST_READINGS

    def book(self, header: Header, content: Content) -> None:
        """Everything a dated block says."""
        self.show(header, content)
        self._waiting.append((header, content))

    def show(self, header: Header, content: Content) -> None:
        """The newest replies of a block, and no more: of one that is undated nothing is booked."""
        self._shown.append((header, content))
        self._readings += content.readings

    def take(self) -> Steps[Changes]:
        """The rows that are new or changed since the last call. Until it is done nothing else is put down."""
        yield from self.settle()
        answered = newest.answers(self._newest)
        changes = Changes(self._running.take(), answered, self._power)
        self._newest, self._power = {}, {}
        return changes

    def settle(self) -> Steps[None]:
        """Enter what waits, and find the newest of what was shown; the rows are left to be taken."""
        self._readings = 0
        yield from self._enter()
        self._newest |= newest.of(self._shown)
        self._shown = []

    def _enter(self) -> Steps[None]:
        """Enter what waits. What follows one another under one configuration is entered device by device."""
        waiting, self._waiting = self._waiting, []
        for _, group in groupby(waiting, key=lambda block: id(block[1].installation)):
            blocks = list(group)
            self.configure(blocks[0][1].installation, blocks[0][0].utc[0])
            said: dict[int, list[Said]] = {}
            for header, content in blocks:
                for replayed in content.chunks:
                    said.setdefault(replayed.device, []).append((header, replayed))
            for number, parts in said.items():
                yield from self._device(self._desks[number], number, parts)

    def _device(self, desk: Desk, number: int, parts: Sequence[Said]) -> Steps[None]:
        """What a device said in blocks that follow one another. Where nothing is booked of them but its counters, each
        from one kind of track, they are entered together, to the same rows as one by one.
        """
        parts = yield from self._enter_rows(desk, parts)
        if not parts:
            return
        if (runs := desk.runs(parts)) is not None and _rise(times := [run.times for run in runs]):
            yield from self._follow(desk, number, runs, times)
        elif len(parts) == 1:
            yield from self._count(desk, *parts[0])
        else:
            stretches = [list(group) for _, group in groupby(parts, key=lambda said: desk.even(said[1]))]
            if len(stretches) == 1:
                stretches = [[part] for part in parts]
            for stretch in stretches:
                yield from self._device(desk, number, stretch)

    def _enter_rows(self, desk: Desk, parts: Sequence[Said]) -> Steps[Sequence[Said]]:
        """The same of rows that came one by one and have no tables yet, those of a form together; what is left then."""
        at = 0
        while at < len(parts) and isinstance(first := parts[at][1], Row):
            if at + 1 < len(parts) and first.is_followed(parts[at + 1][1], 1):
                break
            if (lanes := desk.lanes_of(first)) is None:
                break
            end = at + 1
            while end < len(parts) and parts[end][1].form is first.form:
                end += 1
            rows = cast("Sequence[tuple[Header, Row]]", parts[at:end])
            if len(rows) > 1 and any(now[0].utc[0] < before[0].utc[1] for before, now in pairwise(rows)):
                end, rows = at + 1, rows[:1]
            yield from self._enter_alike(desk, rows, lanes)
            at = end
        return parts[at:]

    def _enter_alike(self, desk: Desk, said: Sequence[tuple[Header, Row]], lanes: Sequence[Lanes]) -> Steps[None]:
        """Rows of one form, in blocks that begin where the one before has ended: their times rise."""
        device = said[0][1].device
        for track, (counted, power) in enumerate(lanes):
            times: list[int] = []
            places: list[Place] = []
            pieces: list[Piece] = []
            for header, row in said:
                start, stretch, own = header.utc[0], row.strip.stretches[track], row.strip.listed[track][row.index]
                times += [start + at for at in own]
                places += [(header.epoch, header.seq)] * len(own)
                pieces.append(Piece(stretch.whole, stretch.first + row.index * len(own), len(own)))
            rows = Rows(said[0][1].strip.stretches[track].layout, pieces)
            yield from self._running.follow(device, counted.stretches(rows, times, places))
            for point, samples in power.readings(rows, times):
                self._heap(desk, point, samples)

    def _count(self, desk: Desk, header: Header, replayed: Replayed) -> Steps[None]:
        """Hand over what is counted in one block; heap the power."""
        heard: list[tuple[Point, Samples]] = []
        for request, table in zip(replayed.requests, replayed.tables, strict=True):
            counted, power = desk.lanes(request, table.layout)
            dated, rows = table.stamps is not None, Rows(table.layout, (_piece(table),))
            times = [header.utc[0] + at for at in table.times] if table.stamps is None else list(table.stamps)
            heard += counted.samples(rows, times, dated=dated)
            for point, samples in power.samples(rows, times, dated=dated):
                self._heap(desk, point, samples)
        yield from self._running.hear(replayed.device, heard, header)

    def _follow(self, desk: Desk, number: int, runs: Sequence[Run], rising: Sequence[NDArray[np.int64]]) -> Steps[None]:
        """The same of runs, whose times rise."""
        for run, times in zip(runs, rising, strict=True):
            rows, each = run.rows, cast("Sequence[int]", times.data)
            yield from self._running.follow(number, list(run.counted.stretches(rows, each, run.places)))
            for point, samples in run.power.samples(rows, each):
                self._heap(desk, point, samples)

    def _heap(self, desk: Desk, point: Point, samples: Samples) -> None:
        """Heap the power of readings, those of a quarter of an hour at a time."""
        own = samples.in_order()
        times, raws = own.times, cast("Sequence[int | float]", own.raws)
        end = 0
        while (first := end) < len(times):
            start = times[first] - times[first] % INTERVAL_MS
            end = len(times) if times[-1] < start + INTERVAL_MS else bisect_left(times, start + INTERVAL_MS, first)
            key = (desk.device.id, point.id, start)
            if (heap := self._power.get(key)) is None:
                heap = self._power[key] = Heap()
            heap.add(raws[first:end], float(samples.scale or 1) * desk.kilowatts(point, start))


def _rise(times: Sequence[NDArray[np.int64]]) -> bool:
    """Whether time never goes back."""
    return all((each[1:] >= each[:-1]).all() for each in times)


def _is_power(point: Point) -> bool:
    return point.kind == "gauge" and point.unit in KILOWATTS and point.id == POWER
