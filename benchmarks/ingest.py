"""How fast the collector takes in blocks: readings per second verified, replayed, booked and stored, on one core.

A block is one minute of four meters of twenty points asked every ten seconds: 480 readings. Frames are signed
beforehand; what is measured is ``Store.append`` of batches as a gateway sends them when it catches up, on a file on
this disk, with its commit and its receipt. The stages are measured apart on the same frames, and medians are printed.
"""

import hashlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from cloud.booking import Book
from cloud.ingest import Beginning, Content, Examiner, Head, Trust
from cloud.running import Memory
from cloud.store import Store
from drivers.columns import Layouts, replay_track
from drivers.installation import Installation, install
from protocols import modbus
from protocols.record import block, invite, siteconfig, transport
from protocols.record.block import Chunk, ClockState, Counters, Event, EventKind, Header, Sealed, Track, seal
from protocols.record.cose import PrivateKey
from protocols.record.enrolment import Enrolment, sign_enrolment
from protocols.record.siteconfig import NO_PREVIOUS, SiteConfig, sign_site

T = TypeVar("T")

METERS, EXCHANGES, COUNTERS, GAUGES = 4, 6, 4, 16
READINGS = METERS * EXCHANGES * (COUNTERS + GAUGES)
BLOCKS, BATCH, ROUNDS = 640, 64, 5
START = 1_790_000_100_000
MINUTE = 60_000


@dataclass
class Fleet:
    """A gateway with its signed blocks, and what the collector must know to take them."""

    key: PrivateKey
    enrolment: bytes
    config: bytes
    profile: bytes
    installation: Installation
    frames: list[bytes]


def main() -> None:
    """Print the median throughput and what each stage of a block costs."""
    fleet = make_fleet(BLOCKS)
    rates, singles = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            rates.append(_rate(fleet, Path(folder) / f"batches-{number}.db", BATCH))
        singles.append(_rate(fleet, Path(folder) / "singly.db", 1))
    size = sum(map(len, fleet.frames)) / BLOCKS / READINGS
    print(f"{READINGS} readings a block, {size:.2f} bytes a reading, batches of {BATCH} blocks, one process, WAL, FULL")
    print(f"collector  {statistics.median(rates):12,.0f} readings/s (median of {ROUNDS}; least {min(rates):,.0f})")
    print(f"           {singles[0]:12,.0f} readings/s with a commit and a receipt for every block")
    for name, microseconds in _stages(fleet):
        print(f"  {name:<34}{microseconds:8.1f} us a block")


def measure() -> dict[str, float]:
    """Readings a second, the median: for the table of all figures."""
    fleet = make_fleet(BLOCKS)
    with tempfile.TemporaryDirectory() as folder:
        rates = [_rate(fleet, Path(folder) / f"{number}.db", BATCH) for number in range(ROUNDS)]
    return {"collector_readings_per_s": statistics.median(rates)}


def make_fleet(blocks: int) -> Fleet:
    """A gateway of four meters and this many minutes of it, signed."""
    key, technician = PrivateKey.generate(), PrivateKey.generate()
    profile, site = _profile(), _site()
    named = (("bench-meter", hashlib.sha256(profile).digest()),)
    config = sign_site(SiteConfig(1, NO_PREVIOUS, site, named, START), technician)
    enrolment = sign_enrolment(
        Enrolment(
            key.algorithm,
            key.spki,
            technician.algorithm,
            technician.spki,
            "bench",
            siteconfig.digest(config),
            0,
            START,
            bytes(16),
        ),
        key,
    )
    installation = install(site, {"bench-meter": profile})
    frames = list(_frames(key, installation, enrolment, siteconfig.digest(config), blocks))
    return Fleet(key, enrolment, config, profile, installation, frames)


def _profile() -> bytes:
    points = [
        f'{{ id = "energy_{n}", fc = 3, address = {2 * n}, type = "u32", unit = "kWh", kind = "counter", scale = 0.01,'
        " primary = false, modulus = 42949672.96, max_rate_per_h = 100 }"
        for n in range(COUNTERS)
    ]
    points += [
        f'{{ id = "{"power" if n == 0 else f"gauge_{n}"}", fc = 3, address = {2 * COUNTERS + n}, type = "i16",'
        ' unit = "kW", kind = "gauge", scale = 0.001, primary = false }'
        for n in range(GAUGES)
    ]
    head = (
        'schema = 1\nid = "bench-meter"\ntitle = { zh = "x", en = "x" }\nprotocol = "modbus"\nmedium = "electricity"\n'
        'period = "10s"\nsource = { doc = "made for a benchmark", verified = "simulator" }\nproducts = []\n'
    )
    proof = '[[proof]]\nrequest = "00"\nresponse = "00"\nexpect = {}\n'
    listed = ",\n".join(points)
    return f"{head}points = [\n{listed}\n]\n{proof}".encode()


def _site() -> bytes:
    devices = [
        f'[[device]]\nid = "M-{n}"\nprofile = "bench-meter"\nport = "bus"\naddress = "{n + 1}"\n'
        '[[device.ratios]]\nfrom = 2026-01-01T00:00:00+08:00\nct = "400/5"\n'
        for n in range(METERS)
    ]
    head = 'schema = 1\n[site]\nid = "bench"\nname = "bench"\n[[port]]\nname = "bus"\ndevice = "/dev/ttyUSB0"\n'
    return (head + "".join(devices)).encode()


def _frames(
    key: PrivateKey, installation: Installation, enrolment: bytes, config: bytes, blocks: int
) -> Iterator[bytes]:
    seeded = random.Random(7)
    counters = [[seeded.randrange(10**6) for _ in range(COUNTERS)] for _ in range(METERS)]
    gauges = [[seeded.randrange(10_000) for _ in range(GAUGES)] for _ in range(METERS)]
    previous = hashlib.sha256(enrolment).digest()
    events: tuple[Event, ...] = (Event(EventKind.BOOT, START, START, "first"),)
    clock, software = ClockState(2, 2, 5, 0), ("0.1", bytes(32))
    for seq in range(blocks):
        chunks = [_chunk(installation, meter, counters[meter], gauges[meter], seeded) for meter in range(METERS)]
        at, utc = seq * MINUTE, START + seq * MINUTE
        mono, instants = (at, at + MINUTE), (utc, utc + MINUTE)
        header = Header(
            key.public.id, 0, seq, previous, 1, mono, instants, clock, (1, config), software, () if seq else events
        )
        sealed = seal(header, chunks, key)
        previous = sealed.hash
        yield transport.pack(sealed)


def _chunk(
    installation: Installation, meter: int, counters: list[int], gauges: list[int], seeded: random.Random
) -> Chunk:
    (query,) = installation.drivers[meter].queries()
    times, replies = [], []
    for exchange in range(EXCHANGES):
        counters[:] = [value + seeded.randrange(3) for value in counters]
        gauges[:] = [max(-30_000, min(30_000, value + seeded.randrange(-20, 21))) for value in gauges]
        times.append(exchange * 10_000 + 100 * meter + seeded.randrange(40, 60))
        registers = [value.to_bytes(4) for value in counters] + [value.to_bytes(2, signed=True) for value in gauges]
        data = b"".join(registers)
        body = bytes([meter + 1, 3, len(data)]) + data
        replies.append(body + modbus.crc(body).to_bytes(2, "little"))
    tracks = (Track.of(query.request, times, replies),)
    salt = seeded.randbytes(16)
    return Chunk(meter, installation.digests[meter], tracks, (), Counters.of(tracks, ()), None, salt)


def _rate(fleet: Fleet, path: Path, batch: int) -> float:
    with Store(path, PrivateKey.generate()) as store:
        assert store.key is not None
        code = invite.make(bytes(9), store.key.spki)
        store.create_invite(code, None, START + 1, START)
        store.enrol(code.format(), fleet.enrolment, fleet.config, [fleet.profile], START)
        began = time.perf_counter()
        for at in range(0, len(fleet.frames), batch):
            store.append(fleet.frames[at : at + batch], START + len(fleet.frames) * MINUTE)
        took = time.perf_counter() - began
        held = store.counts()
    if (held.blocks, held.readings) != (len(fleet.frames), len(fleet.frames) * READINGS):
        raise SystemExit(f"found {held}, expected {len(fleet.frames)} blocks of {READINGS} readings")
    return held.readings / took


class _Fresh:
    """Holdings of a gateway of which nothing is held but its configuration."""

    def __init__(self, fleet: Fleet) -> None:
        self._configuration = (siteconfig.digest(fleet.config), fleet.installation)

    def held(self, epoch: int, seq: int) -> bytes | None:
        return None

    def beginning(self, epoch: int, previous: bytes) -> Beginning | None:
        return None

    def configuration(self, number: int) -> tuple[bytes, Installation] | None:
        return self._configuration


def _stages(fleet: Fleet) -> Iterator[tuple[str, float]]:
    frames, layouts = fleet.frames[:128], Layouts()
    sealed = [transport.unpack(frame) for frame in frames]
    opened = [_opened(fleet, one) for one in sealed]
    yield "unzip and cut", _each(frames, transport.unpack)
    yield (
        "check the signature, read the header",
        _each(sealed, lambda one: block.open_header(one.envelope, fleet.key.public)),
    )
    yield (
        "check the leaves under the root",
        _each(list(zip(sealed, opened, strict=True)), lambda pair: block.check_root(pair[1][0], pair[0].chunks)),
    )
    yield (
        "read the chunks",
        _each(list(zip(sealed, opened, strict=True)), lambda pair: block.open_chunks(pair[1][0], pair[0].chunks)),
    )
    yield "replay every reply", _each(opened, lambda pair: _replay(fleet, layouts, pair[1]))
    yield "examine: all of the above, the rules", _once(lambda: _examined(fleet), len(frames))
    contents, book = _examined(fleet), Book(Memory())
    yield "book the intervals", _each(contents, lambda content: book.book(*content))


def _opened(fleet: Fleet, sealed: Sealed) -> tuple[Header, tuple[Chunk, ...]]:
    return block.open_block(sealed, fleet.key.public)


def _replay(fleet: Fleet, layouts: Layouts, chunks: Sequence[Chunk]) -> None:
    for chunk in chunks:
        for track in chunk.tracks:
            replay_track(fleet.installation.drivers[chunk.device], track, layouts)


def _examined(fleet: Fleet) -> list[tuple[Header, Content]]:
    examiner, holdings = Examiner(), _Fresh(fleet)
    head = Head(0, 0, hashlib.sha256(fleet.enrolment).digest(), None, None, 0)
    contents = []
    for frame in fleet.frames[:128]:
        trust = Trust(fleet.key.public.id, fleet.key.public, False, head)
        finding = examiner.examine(trust, holdings, frame, START + BLOCKS * MINUTE)
        if finding.head is None or finding.opened is None or finding.opened.content is None:
            raise SystemExit(f"found {finding.verdict}, expected a block that is stored")
        head = finding.head
        contents.append((finding.opened.header, finding.opened.content))
    return contents


def _each(items: Sequence[T], run: Callable[[T], object]) -> float:
    return statistics.median([_once(partial(run, item), 1) for item in items])


def _once(run: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) / count * 1e6


if __name__ == "__main__":
    main()
