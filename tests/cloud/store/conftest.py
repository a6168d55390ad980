"""A gateway in the hand of a test: it has keys, signs what it is told to, and keeps its own chain."""

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from cloud.store import Store
from drivers.installation import Installation, install
from protocols import modbus
from protocols.record import invite, siteconfig, transport
from protocols.record.block import Chunk, ClockState, Counters, Event, EventKind, Fault, Header, Sealed, Track, seal
from protocols.record.cose import PrivateKey
from protocols.record.enrolment import Enrolment, sign_enrolment
from protocols.record.siteconfig import NO_PREVIOUS, SiteConfig, sign_site
from tests.cloud import tables

NOON = 1_790_000_100_000 - 1_790_000_100_000 % 900_000
"""A quarter of an hour in September 2026 (UTC ms)."""

PROFILE = tables.profile(
    "two-points",
    """\
points = [
  { id = "energy_import", fc = 3, address = 0, type = "u32", unit = "kWh", kind = "counter", scale = 0.01, primary = false, modulus = 10000, max_rate_per_h = 100 },
  { id = "power", fc = 3, address = 2, type = "i16", unit = "kW", kind = "gauge", scale = 0.01, primary = false },
]
""",  # noqa: E501
    proof=("01 03 00 00 00 03 05 CB", "01 03 06 00 00 30 39 00 64 25 9F"),
).encode()

SITE = tables.site(
    tables.device("M-01", "two-points", 'serial = "SN1"\nrole = "purchased"\n{ratios}\n')
    + tables.device("M-02", "two-points", address=2)
)

RATIO = '[[device.ratios]]\nfrom = 2026-01-01T00:00:00+08:00\nct = "400/5"\n'


def site_toml(ratios: str = RATIO) -> bytes:
    return SITE.replace("{ratios}", ratios).encode()


@dataclass
class Box:
    """A gateway with two meters asked every 10 s. ``energy``: the register of the first, in hundredths of kWh.

    Or one with other meters: ``site`` and ``profile``, all of one model.
    """

    key: PrivateKey = field(default_factory=PrivateKey.generate)
    technician: PrivateKey = field(default_factory=PrivateKey.generate)
    site: bytes = field(default_factory=site_toml)
    profile: bytes = PROFILE
    epoch: int = 0
    seq: int = 0
    boot: int = 1
    mono: int = 1_000
    utc: int = NOON
    energy: int = 100_000

    def __post_init__(self) -> None:
        self.config = self.signed_config(1, self.site, NO_PREVIOUS)
        self.enrolment = self.request()
        self.previous = hashlib.sha256(self.enrolment).digest()
        self.use(self.config, 1, self.site)

    @property
    def id(self) -> bytes:
        return self.key.public.id

    @property
    def profiles(self) -> list[bytes]:
        return [self.profile]

    @property
    def model(self) -> str:
        """The id of the profile."""
        return str(tomllib.loads(self.profile.decode())["id"])

    def request(self, **changes: Any) -> bytes:
        fields: dict[str, Any] = {
            "algorithm": self.key.algorithm,
            "spki": self.key.spki,
            "technician_algorithm": self.technician.algorithm,
            "technician_spki": self.technician.spki,
            "site_id": "plant-7",
            "site_config": siteconfig.digest(self.config),
            "custody": 0,
            "at": self.utc,
            "nonce": bytes(16),
        }
        return sign_enrolment(Enrolment(**{**fields, **changes}), self.key)

    def signed_config(self, number: int, site: bytes, previous: bytes) -> bytes:
        profiles = ((self.model, hashlib.sha256(self.profile).digest()),)
        return sign_site(SiteConfig(number, previous, site, profiles, 0), self.technician)

    def use(self, envelope: bytes, number: int, site: bytes) -> None:
        """Name this configuration from the next block on."""
        self.configuration = (number, siteconfig.digest(envelope))
        self.installation: Installation = install(site, {self.model: self.profile})

    def invited(self, store: Store, site: str | None = None, now: int = NOON) -> str:
        """A code that is good for an hour."""
        code = invite.make(hashlib.sha256(self.id).digest(), store.ours.spki)
        store.create_invite(code, site, now + 3_600_000, now)
        return code.format()

    def enrol(self, store: Store, now: int = NOON) -> bytes:
        return store.enrol(self.invited(store, None, now), self.enrolment, self.config, self.profiles, now)

    def reply(self, device: int, energy: int, power: int = 6_000) -> bytes:
        body = bytes([device + 1, 3, 6]) + energy.to_bytes(4) + power.to_bytes(2, signed=True)
        return body + modbus.crc(body).to_bytes(2, "little")

    def chunk(self, device: int, times: Sequence[int], replies: Sequence[bytes], faults: Sequence[Fault] = ()) -> Chunk:
        (query,) = self.installation.drivers[device].queries()
        tracks = (Track.of(query.request, times, replies),) if replies else ()
        counters = Counters.of(tracks, faults)
        return Chunk(device, self.installation.digests[device], tracks, tuple(faults), counters, None, bytes(16))

    def chunks(self, span: int = 60_000) -> list[Chunk]:
        """Each meter asked every 10 s; the first counts a hundredth a reading, the second stands still."""
        times = list(range(50, span, 10_000))
        rising = [self.reply(0, self.energy + index) for index in range(len(times))]
        self.energy += len(times)
        return [self.chunk(0, times, rising), self.chunk(1, times, [self.reply(1, 7)] * len(times))]

    def header(self, span: int = 60_000, **changes: Any) -> Header:
        boots = () if self.seq or self.epoch else (Event(EventKind.BOOT, self.utc, self.utc, "first"),)
        mono, utc = (self.mono, self.mono + span), (self.utc, self.utc + span)
        header = Header(
            *(self.id, self.epoch, self.seq, self.previous, self.boot, mono, utc, ClockState(2, 2, 5, 0)),
            *(self.configuration, ("0.1", bytes(32)), boots),
        )
        return replace(header, **changes)

    def seal(self, header: Header | None = None, chunks: Sequence[Chunk] | None = None) -> Sealed:
        header = header or self.header()
        span = header.mono[1] - header.mono[0]
        return seal(header, self.chunks(span) if chunks is None else chunks, self.key)

    def block(self, span: int = 60_000, chunks: Sequence[Chunk] | None = None, **changes: Any) -> bytes:
        """The next block, as a frame; ``changes`` to its header. The chain goes on from it."""
        header = self.header(span, **changes)
        sealed = self.seal(header, chunks)
        self.previous, self.seq = sealed.hash, header.seq + 1
        self.mono, self.utc, self.boot = header.mono[1], header.utc[1], header.boot
        return transport.pack(sealed)

    def reboot(self, down_ms: int) -> dict[str, Any]:
        """What the header of the first block after a power cut says."""
        event = Event(EventKind.BOOT, self.utc, self.utc + down_ms, "power cut")
        self.utc, self.mono = self.utc + down_ms, 0
        return {"boot": self.boot + 1, "events": (event,)}


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture(scope="session")
def make_box() -> Callable[..., Box]:
    return Box


@pytest.fixture
def make_site() -> Callable[..., bytes]:
    return site_toml


@pytest.fixture
def enrolled(box: Box, store: Store) -> Box:
    """A gateway that the store has let in."""
    box.enrol(store)
    return box
