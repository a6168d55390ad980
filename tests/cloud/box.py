"""A gateway in the hand of a test: it counts energy, signs blocks and configurations, and delivers."""

import hashlib
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from cloud.accounting import period as periods
from cloud.store import Store
from drivers.installation import install
from protocols import modbus
from protocols.record import invite, siteconfig, transport
from protocols.record.block import Chunk, ClockState, Counters, Event, EventKind, Fault, Header, Track, seal
from protocols.record.cose import PrivateKey
from protocols.record.enrolment import Enrolment, sign_enrolment
from protocols.record.siteconfig import NO_PREVIOUS, SiteConfig, sign_site
from tests.cloud import tables

DAY = periods.parse("2026-09-22", ZoneInfo("Asia/Shanghai"))
MINUTE = 60_000

PROFILE = tables.profile(
    "test-meter",
    """\
[[points]]
id = "energy_import"
fc = 3
address = 0
type = "u32"
unit = "kWh"
kind = "counter"
scale = 0.01
primary = false
modulus = 10000
max_rate_per_h = 1000
[[points]]
id = "active_power"
fc = 3
address = 2
type = "i16"
unit = "kW"
kind = "gauge"
scale = 0.01
primary = false
""",
    proof=("01 03 00 00 00 03 05 CB", "01 03 06 00 00 30 39 00 64 25 9F"),
).encode()

MAIN = 'role = "purchased"\n[[device.ratios]]\nfrom = 2026-01-01T00:00:00+08:00\nct = "400/5"\n'
SITE = tables.site(tables.device("M-01", "test-meter", MAIN) + tables.device("M-02", "test-meter", address=2)).encode()


@dataclass
class Box:
    """A gateway in the hand of a test: keys, a chain, and two meters that count 1 and 2 hundredths a reading."""

    key: PrivateKey = field(default_factory=PrivateKey.generate)
    technician: PrivateKey = field(default_factory=PrivateKey.generate)
    place: str = "plant-7"
    site: bytes = SITE
    profile: bytes = PROFILE
    ct: int = 600
    utc: int = DAY.start - 2 * MINUTE
    epoch: int = 0
    seq: int = 0
    boot: int = 1
    energy: int = 100_000

    def __post_init__(self) -> None:
        self.config = self.configured(1, self.site, NO_PREVIOUS)
        keys = (self.key.algorithm, self.key.spki, self.technician.algorithm, self.technician.spki)
        request = Enrolment(*keys, self.place, siteconfig.digest(self.config), 0, self.utc, bytes(16))
        self.enrolment = sign_enrolment(request, self.key)
        self.previous = hashlib.sha256(self.enrolment).digest()
        self.use(1, self.config, self.site)
        self.born = self.utc - 1000

    def configured(self, number: int, site: bytes, previous: bytes) -> bytes:
        profiles = (("test-meter", hashlib.sha256(self.profile).digest()),)
        return sign_site(SiteConfig(number, previous, site, profiles, 0), self.technician)

    def use(self, number: int, envelope: bytes, site: bytes) -> None:
        self.configuration = (number, siteconfig.digest(envelope))
        self.installation = install(site, {"test-meter": self.profile})

    def enrol(self, store: Store) -> None:
        assert store.key is not None
        code = invite.make(hashlib.sha256(self.key.spki).digest(), store.key.spki)
        store.create_invite(code, None, self.utc + MINUTE, self.utc)
        store.enrol(code.format(), self.enrolment, self.config, [self.profile], self.utc)

    def chunk(self, device: int, span: int, step: int) -> Chunk:
        (query,) = self.installation.drivers[device].queries()
        times = range(50, span, 10_000)
        replies = [self.reply(device, self.energy + step * index) for index in range(len(times))]
        track = Track.of(query.request, times, replies)
        counters = Counters.of([track], [])
        return Chunk(device, self.installation.digests[device], (track,), (), counters, None, bytes(16))

    def reply(self, device: int, energy: int) -> bytes:
        body = bytes([device + 1, 3, 6]) + energy.to_bytes(4) + self.ct.to_bytes(2)
        return body + modbus.crc(body).to_bytes(2, "little")

    def block(self, span: int = MINUTE, **changes: Any) -> bytes:
        """The next block, as a frame; ``changes`` are of its header."""
        boots = () if self.seq or self.epoch else (Event(EventKind.BOOT, self.utc, self.utc, "first"),)
        mono = (self.utc - self.born, self.utc - self.born + span)
        header = Header(
            self.key.public.id, self.epoch, self.seq, self.previous, self.boot, mono, (self.utc, self.utc + span),
            ClockState(2, 2, 5, 0), self.configuration, ("0.1", bytes(32)), boots,
        )  # fmt: skip
        chunks = [self.chunk(0, span, 1), self.chunk(1, span, 2)]
        sealed = seal(msgspec.structs.replace(header, **changes), chunks, self.key)
        self.energy += 2 * len(range(50, span, 10_000))
        self.previous, self.seq, self.utc = sealed.hash, self.seq + 1, self.utc + span
        return transport.pack(sealed)

    def deliver(self, store: Store, blocks: int, span: int = MINUTE, **changes: Any) -> None:
        for _ in range(blocks):
            verdicts, *_ = store.append([self.block(span, **changes)], self.utc + 1)
            assert [int(verdict.answer) for verdict in verdicts] == [0], verdicts


class Silent(Box):
    """A gateway whose meters do not answer."""

    def chunk(self, device: int, span: int, step: int) -> Chunk:
        faults = tuple(Fault(at, 0, 1) for at in range(50, span, 10_000))
        return Chunk(
            device, self.installation.digests[device], (), faults, Counters.of((), faults), None, bytes([step] * 16)
        )


def store_config(store: Store, box: Box, envelope: bytes) -> bool:
    return store.put_config(box.key.public.id, envelope, [PROFILE], box.utc)
