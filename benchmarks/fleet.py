"""Gateways for the collector's benchmarks: registers that count, quantities that swing, signed minute by minute."""

import hashlib
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from cloud.store import Store
from drivers.installation import Installation, install
from protocols import modbus
from protocols.record import invite, siteconfig, transport
from protocols.record.block import Chunk, ClockState, Counters, Event, EventKind, Header, Track, seal
from protocols.record.cose import PrivateKey
from protocols.record.enrolment import Enrolment, sign_enrolment
from protocols.record.siteconfig import NO_PREVIOUS, SiteConfig, sign_site

START = 1_790_000_100_000
MINUTE = 60_000


@dataclass(frozen=True)
class Shape:
    """What a block holds: meters, how often each is asked, and its counters (u32), gauges (i16) and reals (f32)."""

    meters: int
    exchanges: int
    counters: int
    gauges: int
    reals: int

    @property
    def readings(self) -> int:
        """Readings of a block."""
        return self.meters * self.exchanges * (self.counters + self.gauges + self.reals)


SMALL = Shape(4, 5, 5, 14, 6)
"""500 readings a block: four meters of 25 points, every 12 s."""
LARGE = Shape(10, 10, 4, 12, 4)
"""2,000 readings a block: ten meters of 20 points, every 6 s."""


@dataclass
class Gateway:
    """One gateway: its blocks come one after another, minute by minute, from ``start`` on (UTC ms). ``seed`` tells its
    registers from others'.
    """

    shape: Shape
    seed: int = 7
    start: int = START
    key: PrivateKey = field(default_factory=PrivateKey.generate)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        technician, site = PrivateKey.generate(), _site(self.shape)
        self.profile = _profile(self.shape)
        named = (("bench-meter", hashlib.sha256(self.profile).digest()),)
        self.config = sign_site(SiteConfig(1, NO_PREVIOUS, site, named, self.start), technician)
        keys = (self.key.algorithm, self.key.spki, technician.algorithm, technician.spki)
        request = Enrolment(*keys, "bench", siteconfig.digest(self.config), 0, self.start, bytes(16))
        self.enrolment = sign_enrolment(request, self.key)
        self.installation: Installation = install(site, {"bench-meter": self.profile})
        self._meters = [_Meter(self.shape, number, self.random) for number in range(self.shape.meters)]
        self._previous, self._seq = hashlib.sha256(self.enrolment).digest(), 0
        self._boot, self._at, self._utc, self._down = 1, 0, self.start, self.start

    def enrol(self, store: Store) -> None:
        """Let a collector know it."""
        code = invite.make(hashlib.sha256(self.key.public.id).digest()[:9], store.ours.spki)
        store.create_invite(code, None, self.start + 1, self.start)
        store.enrol(code.format(), self.enrolment, self.config, [self.profile], self.start)

    def frames(self, blocks: int) -> Iterator[bytes]:
        """Its next blocks."""
        for _ in range(blocks):
            yield self._frame()

    def off(self, ms: int) -> None:
        """It is without power for so long."""
        self._boot, self._at, self._utc, self._down = self._boot + 1, 0, self._utc + ms, self._utc

    def _frame(self) -> bytes:
        at, utc = self._at, self._utc
        boot = () if at else (Event(EventKind.BOOT, self._down, utc, "power"),)
        place = (self.key.public.id, 0, self._seq, self._previous, self._boot)
        clocks = ((at, at + MINUTE), (utc, utc + MINUTE), ClockState(2, 2, 5, 0))
        header = Header(*place, *clocks, (1, siteconfig.digest(self.config)), ("0.1", bytes(32)), boot)
        sealed = seal(header, [self._chunk(meter) for meter in self._meters], self.key)
        self._previous, self._seq = sealed.hash, self._seq + 1
        self._at, self._utc = at + MINUTE, utc + MINUTE
        return transport.pack(sealed)

    def _chunk(self, meter: "_Meter") -> Chunk:
        (query,) = self.installation.drivers[meter.number].queries()
        period = MINUTE // self.shape.exchanges
        starts = range(0, MINUTE, period)
        times = [start + 100 * meter.number + self.random.randrange(40, 60) for start in starts]
        tracks = (Track.of(query.request, times, [meter.reply() for _ in times]),)
        digest = self.installation.digests[meter.number]
        return Chunk(meter.number, digest, tracks, (), Counters.of(tracks, ()), None, self.random.randbytes(16))


class _Meter:
    """Registers that count and quantities that swing."""

    def __init__(self, shape: Shape, number: int, seeded: random.Random) -> None:
        self.number, self._random = number, seeded
        self._counters = [seeded.randrange(10**6) for _ in range(shape.counters)]
        self._gauges = [seeded.randrange(10_000) for _ in range(shape.gauges)]
        self._reals = [seeded.uniform(200, 240) for _ in range(shape.reals)]

    def reply(self) -> bytes:
        """The next answer."""
        draw = self._random.randrange
        self._counters = [value + draw(3) for value in self._counters]
        self._gauges = [max(-30_000, min(30_000, value + draw(-20, 21))) for value in self._gauges]
        self._reals = [value + draw(-20, 21) / 100 for value in self._reals]
        registers = [value.to_bytes(4) for value in self._counters]
        registers += [value.to_bytes(2, signed=True) for value in self._gauges]
        registers += [struct.pack(">f", value) for value in self._reals]
        return modbus.frame_rtu(self.number + 1, bytes([3, len(b"".join(registers))]) + b"".join(registers))


def _profile(shape: Shape) -> bytes:
    kinds = ["u32"] * shape.counters + ["i16"] * shape.gauges + ["f32"] * shape.reals
    points, address = [], 0
    for index, kind in enumerate(kinds):
        name, unit, of = f"gauge_{index}", "kW", 'kind = "gauge", scale = 0.001'
        if kind == "u32":
            name, unit = f"energy_{index}", "kWh"
            of = 'kind = "counter", scale = 0.01, modulus = 42949672.96, max_rate_per_h = 100'
        elif kind == "f32":
            name, unit, of = f"voltage_{index}", "V", 'kind = "gauge", min = 0, max = 400'
        elif index == shape.counters:
            name = "power"
        points.append(
            f'{{ id = "{name}", fc = 3, address = {address}, type = "{kind}", unit = "{unit}", {of}, primary = false }}'
        )
        address += 1 if kind == "i16" else 2
    head = (
        'schema = 1\nid = "bench-meter"\ntitle = { zh = "x", en = "x" }\nprotocol = "modbus"\nmedium = "electricity"\n'
        f'period = "{60 // shape.exchanges}s"\nproducts = []\n'
        'source = { doc = "made for a benchmark", verified = "simulator" }\n'
    )
    proof = '[[proof]]\nrequest = "00"\nresponse = "00"\nexpect = {}\n'
    listed = ",\n".join(points)
    return f"{head}points = [\n{listed}\n]\n{proof}".encode()


def _site(shape: Shape) -> bytes:
    devices = [
        f'[[device]]\nid = "M-{n}"\nprofile = "bench-meter"\nport = "bus"\naddress = "{n + 1}"\n'
        '[[device.ratios]]\nfrom = 2026-01-01T00:00:00+08:00\nct = "400/5"\n'
        for n in range(shape.meters)
    ]
    head = 'schema = 1\n[site]\nid = "bench"\nname = "bench"\n[[port]]\nname = "bus"\ndevice = "/dev/ttyUSB0"\n'
    return (head + "".join(devices)).encode()
