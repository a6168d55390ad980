"""The running accounts of one gateway: its counters, rates and settings. Pure, and without numpy.

Whoever decoded the readings hands them over in the same form, so that collector and verifier book the very same rows:
the valid readings of a counter; the samples of a rate, None where they do not count; registers that a meter kept for
an instant (``of``); and its settings, points of the kind ``config``.

A setting that has changed is told of, and ends the stretch of every counter it affects: consumption is never taken
across it. The meter's own number affects all of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import merge
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple, cast

from cloud.count import Stretch, expanded
from cloud.doubt import Doubt
from cloud.glide import Place, Strides
from cloud.intervals import KINDS, NEAR_MS, Interval, Register, Rules, State, meter_of, rules
from cloud.rates import Rate
from cloud.series import Series
from cloud.turn import MOST_TURNS, Turn
from drivers.installation import Installation
from drivers.profile import Point
from drivers.quantity import scaled
from drivers.site import Device
from drivers.steps import Steps
from protocols.record.block import Header

NUMBER = "meter_number"
"""The point that says which meter answers."""

AT_ONCE = 1024
"""Readings that are entered before the work may be left: one by one some milliseconds."""

Key = tuple[str, str]
"""Device and point."""
Raw = int | float | Decimal


class Samples(NamedTuple):
    """Readings of one point: a value is raw x scale, or without a scale the Decimal itself.

    ``dated``: the times (UTC ms) are the device's own. ``places``: the block of each, where they are of several.
    ``steps``: the least and the greatest step from one raw number to the next, where that is known of all; the times
    rise then.
    """

    times: Sequence[int]
    raws: Sequence[Raw | None]
    scale: Decimal | None
    dated: bool
    places: Sequence[Place] = ()
    steps: Strides | None = None

    @property
    def plain(self) -> bool:
        """Whether they are raw numbers in order of time, dated by us."""
        return self.scale is not None and not self.dated and self.rises

    @property
    def rises(self) -> bool:
        """Whether they are in order of time."""
        return len(self.times) < 2 or list(self.times) == sorted(self.times)

    def in_order(self) -> "Samples":
        """The same in order of time."""
        if self.rises:
            return self
        order = sorted(range(len(self.times)), key=self.times.__getitem__)
        times, raws = [self.times[place] for place in order], [self.raws[place] for place in order]
        return self._replace(times=times, raws=raws, places=[self.places[place] for place in order if self.places])

    def pieces(self) -> Sequence["Samples"]:
        """The same, so many at a time."""
        if len(self.times) <= AT_ONCE:
            return (self,)
        parts = [slice(first, first + AT_ONCE) for first in range(0, len(self.times), AT_ONCE)]
        return [self._replace(times=self.times[part], raws=self.raws[part], places=self.places[part]) for part in parts]

    def moments(self) -> Iterator[tuple[int, Decimal | None]]:
        """Each time with its value, None where there is none that counts; in order of time."""
        own = self.in_order()
        for at, raw in zip(own.times, own.raws, strict=True):
            yield at, None if raw is None else _value(raw, self.scale)

    def values(self) -> Iterator[tuple[int, Decimal]]:
        """Each time that has a value, with it; in order of time."""
        return ((at, value) for at, value in self.moments() if value is not None)


Heard = Sequence[tuple[Point, Samples]]
"""What a device said in one block, point by point; one point may come more than once."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a ``config`` point of a device said last, of which instrument, and when."""

    device: str
    point: str
    meter: str
    register: Register


@dataclass(slots=True)
class Memory:
    """What the accounts must remember between blocks: open intervals, doubts, settings."""

    intervals: Iterable[Interval] = ()
    doubts: Mapping[Key, Doubt] = field(default_factory=dict)
    settings: Iterable[Setting] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """Intervals. Those within long gaps are made one by one as they are read: a year of them would fill the memory."""

    parts: Sequence[Interval | Stretch]

    def __iter__(self) -> Iterator[Interval]:
        return expanded(self.parts)

    def __bool__(self) -> bool:
        return bool(self.parts)


@dataclass(frozen=True, slots=True)
class Moved:
    """What changed: intervals, doubts (None: there is none any more), settings as last heard, and what to look into."""

    intervals: Rows
    doubts: dict[Key, Doubt | None]
    settings: list[Setting]
    turns: list[Turn]


class Step(NamedTuple):
    """A reading of a counter: ``kept``: a register the meter kept for an instant; ``dated``: by the device's clock."""

    value: Decimal
    kept: bool
    dated: bool


class Cut(NamedTuple):
    """A setting that was found changed at ``at``; before, it was last heard at ``known``."""

    at: int
    point: str
    state: State
    known: int


class Seat:
    """A device of the configuration in force: what is booked of it."""

    __slots__ = ("device", "meter", "points", "rules")

    def __init__(self, installation: Installation, number: int) -> None:
        self.device: Device = installation.site.device[number]
        self.rules: dict[str, Rules] = rules(installation, number)
        self.meter = meter_of(self.device)
        self.points = {
            point.id: point for point in installation.drivers[number].profile.points if _is_booked(point, self.rules)
        }

    def affected(self, point: Point) -> Iterable[str]:
        """The counters whose meaning a setting changes."""
        counters = [name for name, held in self.rules.items() if held.kind == "counter"]
        return counters if point.id == NUMBER else [name for name in counters if name in point.affects]


class Running:
    """The accounts as they run: blocks in, in chain order; rows out."""

    def __init__(self, memory: Memory) -> None:
        self._held = {(interval.device, interval.point): interval for interval in memory.intervals}
        self._doubts = dict(memory.doubts)
        self._settings = {(setting.device, setting.point): setting for setting in memory.settings}
        self._series: dict[Key, Series] = {}
        self._rates: dict[Key, Rate] = {}
        self._doubted: dict[Key, Doubt | None] = dict(memory.doubts)
        self._heard: dict[Key, Setting] = {}
        self._turns: list[Turn] = []
        self._installation: Installation | None = None
        self._entered = 0
        self.seats: dict[int, Seat] = {}

    def configure(self, installation: Installation, at: int = 0) -> bool:
        """Go on under this configuration, whose first block began ``at`` (UTC ms); whether it is another one."""
        if installation is self._installation:
            return False
        self._installation = installation
        self.seats = {number: Seat(installation, number) for number in range(len(installation.site.device))}
        for seat in self.seats.values():
            for point, held in seat.rules.items():
                key = (seat.device.id, point)
                if (series := self._series.get(key)) is not None:
                    series.configure(held, at)
                elif (rate := self._rates.get(key)) is not None:
                    rate.configure(held)
                elif key in self._held:
                    self._account(seat, point, at)
        return True

    def hear(self, device: int, heard: Heard, header: Header) -> Steps[None]:
        """What a device of the configuration in force said in a block."""
        seat, latest = self.seats[device], max(header.utc) + NEAR_MS
        cuts: dict[str, list[Cut]] = {}
        counted: dict[str, list[tuple[Point, Samples]]] = {}
        told: dict[str, list[Samples]] = {}
        for point, samples in heard:
            if point.id not in seat.points:
                continue
            own = _until(samples, latest) if samples.dated else samples
            if point.kind == "config":
                told.setdefault(point.id, []).append(own)
            else:
                counted.setdefault(point.of or point.id, []).append((point, own))
        for name, samples_of in told.items():
            values = merge(*[samples.values() for samples in samples_of], key=itemgetter(0))
            yield from self._set(seat, seat.points[name], values, header, cuts)
        for name in {**counted, **cuts}:
            account = self._account(seat, name)
            if isinstance(account, Rate):
                yield from self._flow(account, [samples for _, samples in counted[name]], header)
            else:
                yield from self._count(account, counted.get(name, []), cuts.get(name, []), header)

    def follow(self, device: int, heard: Iterable[tuple[Point, Samples]]) -> Steps[None]:
        """What a device said over several blocks: plain readings of counters that are booked, each point once."""
        seat = self.seats[device]
        name = seat.device.id
        for point, samples in heard:
            series = self._series.get((name, point.id)) or self._account(seat, point.id)
            assert isinstance(series, Series), "a counter"
            for some in samples.pieces():
                _feed(series, some)
                if self._may_leave(len(some.times)):
                    yield

    def take(self) -> Moved:
        """What is new or changed since the last call."""
        changed = [series for series in self._series.values() if series.changed]
        intervals = [row for series in changed for row in series.take_parts()]
        intervals += [row for rate in self._rates.values() for row in rate.take_parts()]
        turns, self._turns = self._turns, []
        turns += [turn for series in changed for turn in series.turns()]
        settings, self._heard = list(self._heard.values()), {}
        return Moved(Rows(intervals), self._take_doubts(), settings, turns)

    def _take_doubts(self) -> dict[Key, Doubt | None]:
        changed = {
            key: series.doubt for key, series in self._series.items() if series.doubt is not self._doubted.get(key)
        }
        self._doubted |= changed
        return changed

    def _account(self, seat: Seat, point: str, at: int = 0) -> Series | Rate:
        key, held = (seat.device.id, point), seat.rules[point]
        if held.kind == "rate":
            if key not in self._rates:
                self._rates[key] = Rate(held, self._held.pop(key, None))
            return self._rates[key]
        if key not in self._series:
            self._series[key] = Series(held, self._held.pop(key, None), at, self._doubts.pop(key, None))
        return self._series[key]

    def _set(
        self,
        seat: Seat,
        point: Point,
        values: Iterable[tuple[int, Decimal]],
        header: Header,
        cuts: dict[str, list[Cut]],
    ) -> Steps[None]:
        """Remember what a setting says; where it says something else than before, note it down for what it affects."""
        key = (seat.device.id, point.id)
        for at, value in values:
            now = Register(value, at, header.epoch, header.seq)
            before = self._settings.get(key)
            if before is not None and before.meter == seat.meter and before.register.value != now.value:
                affected = list(seat.affected(point))
                state: State = "replaced" if point.id == NUMBER else "ratio"
                if affected:
                    self._turns.append(Turn(state, seat.device.id, point.id, before.register, now))
                del self._turns[:-MOST_TURNS]
                cut = Cut(at, point.id, state, before.register.at)
                for name in affected:
                    cuts.setdefault(name, []).append(cut)
            self._settings[key] = self._heard[key] = Setting(seat.device.id, point.id, seat.meter, now)
            if self._may_leave():
                yield

    def _may_leave(self, readings: int = 1) -> bool:
        """So many more readings are entered: whether the work may be left now."""
        self._entered += readings
        if self._entered < AT_ONCE:
            return False
        self._entered = 0
        return True

    def _count(self, series: Series, heard: Heard, cuts: Sequence[Cut], header: Header) -> Steps[None]:
        """Feed a counter in order of time; what a setting changed comes before a reading of the same instant."""
        if len(heard) == 1 and not cuts and heard[0][1].plain:
            samples = heard[0][1]
            places = [(header.epoch, header.seq)] * len(samples.times)
            for some in samples._replace(places=places).pieces():
                _feed(series, some)
                if self._may_leave(len(some.times)):
                    yield
            return
        ordered = sorted(cuts, key=lambda cut: (cut.at, cut.point))
        steps = [_steps(point, samples) for point, samples in heard]
        for at, _, _, step in merge(((cut.at, 1, cut.point, cut) for cut in ordered), *steps, key=itemgetter(0, 1, 2)):
            if isinstance(step, Cut):
                series.part(step.state, step.known)
            elif step.kept and step.dated:
                series.recall(at, step.value, header.epoch, header.seq)
            elif not step.kept and (not step.dated or series.first is None or at > series.position):
                series.add(at, step.value, header.epoch, header.seq)
            if self._may_leave():
                yield

    def _flow(self, rate: Rate, heard: Sequence[Samples], header: Header) -> Steps[None]:
        """Feed a rate in order of time."""
        steps = [zip(samples.moments(), repeat(samples.dated)) for samples in heard]
        for (at, value), dated in merge(*steps, key=lambda entry: entry[0][0]):
            rate.add(at, value, header.epoch, header.seq, dated)
            if self._may_leave():
                yield


def _feed(series: Series, samples: Samples) -> None:
    """Feed a counter plain readings."""
    times, raws, scale, _, places, steps = samples
    assert scale is not None, "plain samples have a scale"
    series.feed(times, cast("Sequence[int | float]", raws), scale, places, steps)


def _steps(point: Point, samples: Samples) -> Iterator[tuple[int, int, str, Cut | Step]]:
    """The readings of a counter in order of time, each with what it is put in order by among others."""
    order = 0 if point.of else 2
    for at, value in samples.values():
        yield at, order, point.id, Step(value, order == 0, samples.dated)


def _value(raw: Raw, scale: Decimal | None) -> Decimal:
    exact = raw if isinstance(raw, int) else Decimal(raw)
    return Decimal(exact) if scale is None else scaled(exact, scale)


def _until(samples: Samples, latest: int) -> Samples:
    """The samples without those that the device dates later than it can have sent them."""
    kept = [pair for pair in zip(samples.times, samples.raws, strict=True) if pair[0] <= latest]
    return samples._replace(times=[at for at, _ in kept], raws=[raw for _, raw in kept])


def is_counted(point: Point) -> bool:
    """Whether a point can be booked at all."""
    return point.kind in (*KINDS, "config") or point.of is not None


def _is_booked(point: Point, held: Mapping[str, Rules]) -> bool:
    return point.kind == "config" or (point.of or point.id) in held
