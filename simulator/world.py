"""The seeded world: the power in each circuit, the flow in each pipe at every instant, and the exact integrals.

A function of (seed, UTC ms) and of nothing else: two runs of one seed meet the same numbers. Power is constant over a
minute, in milliwatts; energy is therefore a whole number of microjoules (mW x ms) at any millisecond. A flow alike: in
microlitres a second, its volume a whole number of nanolitres.
"""

import random
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from zlib import crc32

MINUTE_MS = 60_000
DAY_MS = 86_400_000
ZONE_MS = 8 * 3_600_000
"""The site lives in Asia/Shanghai, which has had no summer time since 1991."""
ORIGIN_DAY = 19_723
"""2024-01-01, local days since 1970: before it nothing had flowed."""
MICROJOULES_PER_KWH = 3_600_000_000_000
NANOLITRES_PER_M3 = 1_000_000_000_000
NOISE_GROUP = 10
"""Minutes over which the noise adds up to nothing, so that a day's total needs no sum over its minutes."""

TARIFF_BY_HOUR = (4,) * 7 + (3,) + (2,) * 3 + (3,) * 4 + (2,) * 3 + (1,) * 3 + (3,) * 2 + (4,)
"""Time of use: 1 sharp, 2 peak, 3 flat, 4 valley."""


@dataclass(frozen=True, slots=True)
class Load:
    """Something that draws: ``nominal`` times an hourly shape, noise and daily swing in per mille.

    ``nominal`` is in watts, or in millilitres a second where something flows.
    """

    name: str
    nominal: int
    workday: tuple[int, ...]
    weekend: tuple[int, ...]
    noise: int
    swing: int


@dataclass(frozen=True, slots=True)
class Circuit:
    """What a meter is wound around: loads, phase split and power factor (per mille), kWh at the origin."""

    name: str
    loads: tuple[str, ...]
    phases: tuple[int, ...]
    power_factor: int
    start_kwh: int


@dataclass(frozen=True, slots=True)
class Pipe:
    """What a water, gas, heat or cold meter sits in: what flows, the heat it carries (none: no loads), its supply
    temperature in 0.01 °C and whether it heats; m3 and kWh at the origin.
    """

    name: str
    flows: tuple[str, ...]
    heats: tuple[str, ...]
    supply: int
    heating: bool
    start_m3: int
    start_kwh: int


@dataclass(frozen=True, slots=True)
class Gas:
    """The stack at an instant; ``live`` is false while the analyser is being calibrated and holds its values."""

    o2_ppm: int
    co2_ppm: int
    h2o_ppm: int
    so2_ppb: int
    no_ppb: int
    co_ppb: int
    live: bool
    maintenance_wanted: bool


_OFFICE = (
    120, 110, 110, 110, 110, 120, 200, 450, 850, 950, 1000, 1000,
    800, 900, 1000, 1000, 950, 850, 600, 400, 300, 250, 180, 140,
)  # fmt: skip
_NIGHT = (
    150, 150, 140, 140, 140, 150, 160, 180, 220, 240, 250, 250,
    250, 240, 240, 230, 220, 230, 240, 240, 220, 200, 180, 160,
)  # fmt: skip
_SHIFT = (
    420, 400, 400, 400, 420, 500, 700, 920, 1000, 1000, 980, 900,
    820, 950, 1000, 1000, 980, 950, 900, 850, 800, 700, 600, 480,
)  # fmt: skip
_KILN = (
    880, 870, 870, 880, 890, 900, 930, 960, 990, 1000, 1000, 990,
    980, 980, 990, 1000, 990, 970, 950, 930, 920, 910, 900, 890,
)  # fmt: skip

LOADS = (
    Load("workshop", 62_000, _SHIFT, _NIGHT, 90, 60),
    Load("office", 4_200, _OFFICE, _NIGHT, 120, 80),
    Load("compressors", 41_000, _SHIFT, _NIGHT, 150, 50),
    Load("kiln", 27_500, _KILN, _KILN, 40, 30),
    Load("washing", 1_900, _SHIFT, _NIGHT, 140, 70),
    Load("burners", 2_200, _KILN, _KILN, 50, 30),
    Load("hot water loop", 1_900, _SHIFT, _NIGHT, 30, 20),
    Load("process heat", 90_000, _SHIFT, _NIGHT, 60, 40),
    Load("chilled loop", 1_800, _OFFICE, _NIGHT, 30, 20),
    Load("cooling", 36_000, _OFFICE, _NIGHT, 60, 40),
)

CIRCUITS = (
    Circuit("M-01", ("workshop", "office", "compressors"), (338, 334, 328), 943, 412_806),
    Circuit("M-02", ("office",), (1000,), 968, 9_514),
    Circuit("M-03", ("compressors",), (331, 336, 333), 882, 187_233),
    Circuit("M-04", ("kiln",), (334, 332, 334), 955, 60_417),
)
"""M-01 is the main incoming meter: its sub-meters M-02 and M-03 and an unmetered rest, the workshop."""

PIPES = (
    Pipe("W-01", ("washing",), (), 1_450, False, 86_214, 0),
    Pipe("G-01", ("burners",), (), 2_000, False, 153_977, 0),
    Pipe("H-01", ("hot water loop",), ("process heat",), 8_650, True, 41_060, 515_300),
    Pipe("C-01", ("chilled loop",), ("cooling",), 720, False, 67_702, 71_940),
)
"""Tap water, natural gas, bought heat, chilled water."""

MICROJOULES_PER_UL_K = 4_186
"""Heat capacity of water: microjoules that warm a microlitre by one kelvin."""


class _Day:
    """One local day of one load: power of each minute, and energy up to each minute, total and by tariff."""

    __slots__ = ("energy", "power", "tariffs")

    def __init__(self, seed: str, load: Load, day: int, scale: int) -> None:
        shape = _minutes(load, day)
        noise = _noise(random.Random(f"{seed}/{load.name}/{day}"), shape, scale * load.noise // 1000)
        self.power = [part * scale + noise[minute] for minute, part in enumerate(shape)]
        self.energy = list(accumulate((power * MINUTE_MS for power in self.power), initial=0))
        self.tariffs: dict[int, list[int]] = {}

    def until(self, ms: int, tariff: int) -> int:
        """Microjoules from midnight until ``ms`` of the day, in one tariff (0: in all)."""
        minute, rest = divmod(ms, MINUTE_MS)
        if tariff == 0:
            return self.energy[minute] + self.power[minute] * rest
        if tariff not in self.tariffs:
            parts = (power * MINUTE_MS * (_tariff(at) == tariff) for at, power in enumerate(self.power))
            self.tariffs[tariff] = list(accumulate(parts, initial=0))
        return self.tariffs[tariff][minute] + self.power[minute] * rest * (_tariff(minute) == tariff)


class World:
    """Everything the simulated meters measure, for one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._loads = {load.name: load for load in LOADS}
        self._circuits = {circuit.name: circuit for circuit in CIRCUITS}
        self._pipes = {pipe.name: pipe for pipe in PIPES}
        self._days: dict[tuple[str, int], _Day] = {}
        self._starts: dict[tuple[str, int], list[int]] = {}

    def circuit(self, name: str) -> Circuit:
        """The circuit of this meter; KeyError when there is none."""
        return self._circuits[name]

    def pipe(self, name: str) -> Pipe:
        """The pipe of this meter; KeyError when there is none."""
        return self._pipes[name]

    def power_mw(self, circuit: str, utc_ms: int) -> int:
        """Active power in milliwatts, all phases together."""
        return self._rate(self._circuits[circuit].loads, utc_ms)

    def energy_uj(self, circuit: str, utc_ms: int, tariff: int = 0) -> int:
        """Active energy in microjoules since the meter was made, in one tariff (1-4; 0: total); never falls.

        The four tariffs add up to the total: what the meter had counted before the origin lies in tariff 3.
        """
        about = self._circuits[circuit]
        start = about.start_kwh * MICROJOULES_PER_KWH if tariff in (0, 3) else 0
        return start + self._counted(about.loads, utc_ms, tariff)

    def flow_ul_s(self, pipe: str, utc_ms: int) -> int:
        """Flow in microlitres a second."""
        return self._rate(self._pipes[pipe].flows, utc_ms)

    def volume_nl(self, pipe: str, utc_ms: int) -> int:
        """Volume in nanolitres since the meter was made; never falls."""
        about = self._pipes[pipe]
        return about.start_m3 * NANOLITRES_PER_M3 + self._counted(about.flows, utc_ms)

    def heat_mw(self, pipe: str, utc_ms: int) -> int:
        """Heat carried, or taken away by a cold one, in milliwatts."""
        return self._rate(self._pipes[pipe].heats, utc_ms)

    def heat_uj(self, pipe: str, utc_ms: int) -> int:
        """Heat or cold in microjoules since the meter was made; never falls."""
        about = self._pipes[pipe]
        return about.start_kwh * MICROJOULES_PER_KWH + self._counted(about.heats, utc_ms)

    def temperatures_ck(self, pipe: str, utc_ms: int) -> tuple[int, int]:
        """Supply and return in 0.01 °C: as far apart as this heat at this flow of water takes them."""
        about, flow = self._pipes[pipe], self.flow_ul_s(pipe, utc_ms)
        supply = about.supply + self._wobble(f"{pipe}/t", utc_ms, 30)
        apart = self.heat_mw(pipe, utc_ms) * 100_000 // (flow * MICROJOULES_PER_UL_K)
        return supply, supply - apart if about.heating else supply + apart

    def voltage_dv(self, circuit: str, phase: int, utc_ms: int) -> int:
        """Phase voltage in tenths of a volt."""
        return 2318 + self._wobble(f"{circuit}/u{phase}", utc_ms, 24)

    def frequency_chz(self, utc_ms: int) -> int:
        """Grid frequency in hundredths of a hertz."""
        return 5000 + self._wobble("f", utc_ms, 3)

    def gas(self, utc_ms: int) -> Gas:
        """The stack, while it is calibrated from 03:00 to 03:09 local: the values of 02:59, held."""
        ms = (utc_ms + ZONE_MS) % DAY_MS
        calibrating = 10_800_000 <= ms < 11_400_000
        at = utc_ms - ms + 10_799_000 if calibrating else utc_ms
        load = self.power_mw("M-04", at) // 27_500
        return Gas(
            o2_ppm=112_000 - load * 22 + self._wobble("o2", at, 900),
            co2_ppm=82_000 + load * 20 + self._wobble("co2", at, 800),
            h2o_ppm=96_000 + self._wobble("h2o", at, 700),
            so2_ppb=31_000 + self._wobble("so2", at, 6_000),
            no_ppb=148_000 + self._wobble("no", at, 15_000),
            co_ppb=42_000 + self._wobble("co", at, 8_000),
            live=not calibrating,
            maintenance_wanted=calibrating,
        )

    def _rate(self, loads: tuple[str, ...], utc_ms: int) -> int:
        """What these loads draw together, in thousandths of their nominal's unit."""
        day, ms = divmod(utc_ms + ZONE_MS, DAY_MS)
        return sum(self._day(name, day).power[ms // MINUTE_MS] for name in loads)

    def _counted(self, loads: tuple[str, ...], utc_ms: int, tariff: int = 0) -> int:
        """What these loads have drawn since the origin: their rate times milliseconds; ValueError before it."""
        day, ms = divmod(utc_ms + ZONE_MS, DAY_MS)
        if day < ORIGIN_DAY:
            raise ValueError(f"found local day {day}, expected {ORIGIN_DAY} (2024-01-01) or later")
        return sum(self._midnight(name, day, tariff) + self._day(name, day).until(ms, tariff) for name in loads)

    def _wobble(self, name: str, utc_ms: int, size: int) -> int:
        """A whole number in -size..size that changes every minute."""
        return crc32(f"{self.seed}/{name}/{utc_ms // MINUTE_MS}".encode()) % (2 * size + 1) - size

    def _day(self, name: str, day: int) -> _Day:
        found = self._days.get((name, day))
        if found is None:
            load = self._loads[name]
            found = self._days[name, day] = _Day(str(self.seed), load, day, self._scale(load, day))
        return found

    def _scale(self, load: Load, day: int) -> int:
        """Watts at full shape on this day, so that shape (per mille) x scale is in milliwatts."""
        swing = load.nominal * load.swing // 1000
        return load.nominal + crc32(f"{self.seed}/{load.name}/{day}".encode()) % (2 * swing + 1) - swing

    def _midnight(self, name: str, day: int, tariff: int) -> int:
        """Microjoules from the origin to the start of this day, without a walk through the minutes before."""
        starts = self._starts.setdefault((name, tariff), [0])
        load = self._loads[name]
        while len(starts) <= day - ORIGIN_DAY:
            done = ORIGIN_DAY + len(starts) - 1
            starts.append(starts[-1] + _weight(load, done, tariff) * self._scale(load, done) * MINUTE_MS)
        return starts[day - ORIGIN_DAY]


def _minutes(load: Load, day: int) -> tuple[int, ...]:
    """The shape of this day minute by minute, in per mille."""
    return _line(load.weekend if _weekend(day) else load.workday)


def _weight(load: Load, day: int, tariff: int) -> int:
    """The sum of this day's shape over the minutes of a tariff (0: of all)."""
    return _sum(load.weekend if _weekend(day) else load.workday, tariff)


def _weekend(day: int) -> bool:
    return (day + 3) % 7 >= 5  # 1970-01-01 was a Thursday


@cache
def _line(hours: tuple[int, ...]) -> tuple[int, ...]:
    """Straight lines from hour to hour."""
    ends = hours[1:] + hours[:1]
    return tuple(
        (start * (60 - minute) + end * minute) // 60
        for start, end in zip(hours, ends, strict=True)
        for minute in range(60)
    )


@cache
def _sum(hours: tuple[int, ...], tariff: int) -> int:
    return sum(part for minute, part in enumerate(_line(hours)) if tariff in (0, _tariff(minute)))


def _noise(draw: random.Random, shape: tuple[int, ...], size: int) -> list[int]:
    """Milliwatts to add to each minute; every group of ten minutes adds up to zero, no minute halves its shape."""
    noise: list[int] = []
    for start in range(0, len(shape), NOISE_GROUP):
        bound = min(shape[start : start + NOISE_GROUP]) * size
        values = [int((2 * draw.random() - 1) * bound) for _ in range(NOISE_GROUP)]
        mean, rest = divmod(sum(values), NOISE_GROUP)
        noise += [value - mean - (place < rest) for place, value in enumerate(values)]
    return noise


def _tariff(minute: int) -> int:
    return TARIFF_BY_HOUR[minute // 60]
