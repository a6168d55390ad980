"""What a signed record costs: bytes and microseconds a reading, ten 20-point meters polled every 10 s."""

import hashlib
import math
import os
import random
import statistics
import struct
import time
from collections import defaultdict
from collections.abc import Iterator

from drivers import builtin
from drivers.driver import driver
from drivers.profile import Point
from drivers.profile_file import load
from drivers.registers import REGISTERS
from drivers.site import Device
from protocols import modbus
from protocols.record import block, transport
from protocols.record.cose import PrivateKey

METERS, POLL_S = 10, 10
THREE = ("voltage", "current", "power", "reactive_power")
PHASES = tuple(f"{name}_{phase}" for name in THREE for phase in "abc")
GAUGES = (*PHASES, "power", "reactive_power", "apparent_power", "power_factor_a", "power_factor_b", "power_factor_c")
INTEGERS = (*GAUGES, "power_factor", "frequency")
WITH_ENERGY = (*GAUGES, "frequency", "energy_import")
FLOATS = (*(name for name in GAUGES if name != "apparent_power"), "frequency", "power_factor", "energy_import")
SETS = (
    ("16-bit, one request, 3 of 10 idle", "acrel-adl400", INTEGERS, 3),
    ("16-bit, one request, all loaded", "acrel-adl400", INTEGERS, 0),
    ("16-bit and energy, 3 of 10 idle", "acrel-adl400", WITH_ENERGY, 3),
    ("16-bit and energy, all loaded", "acrel-adl400", WITH_ENERGY, 0),
    ("32-bit floats, all loaded", "eastron-sdm630", FLOATS, 0),
)
"""Title, model, its twenty points, and how many of the ten meters have no load behind them."""


def main() -> None:
    """Print bytes a reading for two models and two block lengths, and the cost of sealing."""
    for title, profile, points, idle in SETS:
        for seconds in (60, 120, 300):
            runs = list(measure(profile, points, idle, seconds, blocks=15))
            readings = METERS * len(points) * (seconds // POLL_S)
            size = statistics.median(size for size, _ in runs) / readings
            cost = statistics.median(cost for _, cost in runs) / readings * 1e6
            print(
                f"{title:34} blocks of {seconds:3} s, {readings:5} readings: {size:5.2f} bytes a reading"
                f" (target <= 2.0), sealing {cost:5.2f} us a reading (target <= 5)"
            )


def measure(profile: str, points: tuple[str, ...], idle: int, seconds: int, blocks: int) -> Iterator[tuple[int, float]]:
    """Packed bytes, and seconds to lay out, sign and pack, of each of ``blocks`` consecutive blocks."""
    assert len(points) == 20
    key = PrivateKey.generate()
    previous = hashlib.sha256(b"enrolment").digest()
    meters = [Meter(profile, points, number, number >= idle) for number in range(METERS)]
    for seq in range(blocks):
        answers = [meter.answers(seconds) for meter in meters]
        start = time.perf_counter()
        sealed = block.seal(header(seq, seconds, previous), [chunk(n, each) for n, each in enumerate(answers)], key)
        frame = transport.pack(sealed)
        yield len(frame), time.perf_counter() - start
        previous = sealed.hash


def header(seq: int, seconds: int, previous: bytes) -> block.Header:
    """The header of the block of this number."""
    start, length = 1_795_000_000_000 + seq * seconds * 1000, seconds * 1000
    return block.Header(
        gateway=previous[:16],
        epoch=0,
        seq=seq,
        previous=previous,
        boot=1,
        mono=(seq * length, (seq + 1) * length),
        utc=(start, start + length),
        clock=block.ClockState(2, 2, 12, start // 1000),
        configuration=(1, hashlib.sha256(b"site").digest()),
        software=("0.1.0", hashlib.sha256(b"software").digest()),
        events=(),
    )


def chunk(device: int, answers: dict[bytes, list[tuple[int, bytes]]]) -> block.Chunk:
    """The chunk of one device: a track a request."""
    tracks = tuple(block.Track.of(request, *zip(*each, strict=True)) for request, each in answers.items())
    digest = hashlib.sha256(bytes([device])).digest()[:16]
    return block.Chunk(device, digest, tracks, (), block.Counters.of(tracks, ()), None, os.urandom(16))


class Meter:
    """Three phases under a load that wanders; currents, powers and factors follow from it as in a real meter."""

    def __init__(self, profile: str, points: tuple[str, ...], number: int, loaded: bool) -> None:
        model = load(builtin.builtin(profile), profile)
        device = Device("M", profile, "bus", str(number + 1), points=points)
        self.queries = driver(device, model).queries()
        self.points = [model.point(name) for name in points]
        self.random = random.Random(number)
        self.late = number * 90 + 40
        self.volts = [self.random.uniform(226, 234) for _ in range(3)]
        self.watts = [self.random.uniform(300, 6000) if loaded else 0.0 for _ in range(3)]
        self.factor = [self.random.uniform(0.9, 1.0) if loaded else 1.0 for _ in range(3)]
        self.loaded = loaded
        self.hertz, self.energy = 50.0, self.random.uniform(1e3, 1e5)

    def answers(self, seconds: int) -> dict[bytes, list[tuple[int, bytes]]]:
        """For each request the times and replies of one block."""
        found: dict[bytes, list[tuple[int, bytes]]] = defaultdict(list)
        for at in range(0, seconds, POLL_S):
            levels = self.poll()
            for query in self.queries:
                at_ms = at * 1000 + self.late + self.random.randrange(4)
                found[query.request].append((at_ms, self.reply(query.request, levels)))
        return found

    def poll(self) -> dict[str, float]:
        """What the meter shows now, by point id: mains move by 0.05 %, loads by 0.5 %, factors by 0.05 %."""
        gauss = self.random.gauss
        self.hertz = 50 + (self.hertz - 50) * 0.9 + gauss(0, 0.004)
        self.volts = [230 + (volts - 230) * 0.99 + gauss(0, 0.12) for volts in self.volts]
        if self.loaded:
            self.watts = [watts * (1 + gauss(0, 0.005)) for watts in self.watts]
            self.factor = [min(1.0, factor + gauss(0, 0.0005)) for factor in self.factor]
        self.energy += sum(self.watts) / 1000 * POLL_S / 3600
        levels = {"frequency": self.hertz, "energy_import": self.energy}
        apparent = [watts / factor for watts, factor in zip(self.watts, self.factor, strict=True)]
        reactive = [math.sqrt(s * s - p * p) for s, p in zip(apparent, self.watts, strict=True)]
        currents = [s / u for s, u in zip(apparent, self.volts, strict=True)]
        for name, phases in (("voltage", self.volts), ("current", currents), ("power_factor", self.factor)):
            levels |= {f"{name}_{phase}": level for phase, level in zip("abc", phases, strict=True)}
        for name, phases in (("power", self.watts), ("reactive_power", reactive), ("apparent_power", apparent)):
            levels |= {f"{name}_{phase}": level / 1000 for phase, level in zip("abc", phases, strict=True)}
            levels[name] = sum(phases) / 1000
        levels["power_factor"] = levels["power"] / levels["apparent_power"] if self.loaded else 1.0
        return levels

    def reply(self, request: bytes, levels: dict[str, float]) -> bytes:
        """The meter's answer, registers that are no point of ours at zero."""
        asked = modbus.parse_rtu(request)
        data = bytearray(2 * asked.count)
        for point in self.points:
            at, raw = 2 * ((point.address or 0) - asked.address), registers(point, levels[point.id])
            if point.fc == asked.function and 0 <= at <= len(data) - len(raw):
                data[at : at + len(raw)] = raw
        body = bytes((asked.unit, asked.function, len(data))) + data
        return body + struct.pack("<H", modbus.crc(body))


def registers(point: Point, level: float) -> bytes:
    """A level in kW, kvar, kVA or the point's own unit as this model writes it."""
    thousand = 1000 if point.unit in ("W", "var", "VAr", "VA") else 1
    if point.type == "f32":
        return struct.pack(">f", level * thousand / float(point.scale))
    size = 2 * REGISTERS[str(point.type)]
    return round(level * thousand / float(point.scale)).to_bytes(size, signed=str(point.type).startswith("i"))


if __name__ == "__main__":
    main()
