"""A collector with real signed blocks in it: the simulator's meters asked by the drivers, sealed, and appended."""

import asyncio
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from cloud import accounts, activities, closing, factor_shelf, subjects
from cloud.app import create_app
from cloud.collector import Collector
from cloud.store import Store
from cloud.writer import Writer
from drivers.builtin import builtin, builtin_ids
from drivers.driver import Driver
from drivers.installation import install
from drivers.profile import digest
from drivers.site import load
from protocols.record import enrolment, invite, siteconfig, transport
from protocols.record.block import Chunk, ClockState, Counters, Event, Fault, Header, Sealed, Track, seal
from protocols.record.cose import PrivateKey
from simulator import city, meters
from simulator.truth import TruthLog
from simulator.world import World

DAY = 86_400_000
MIDNIGHT = 1_790_956_800_000
"""2026-10-03 00:00 in Shanghai, as UTC ms: the day the tests book."""


SITE = """\
schema = 1

[site]
id = "S-DEMO"
name = "示例机械厂"
timezone = "Asia/Shanghai"
block = "{block}"

[[port]]
name = "bus-1"
device = "/dev/serial/by-id/usb-x"

[[port]]
name = "feeder-2"
tcp = "127.0.0.1:502"

[[port]]
name = "stack"
tcp = "127.0.0.1:503"

[[device]]
id = "M-01"
name = "总进线"
profile = "dlt645-2007-three-phase"
port = "bus-1"
address = "202311070001"
role = "purchased"
period = "{period}"
ratios = [{{ from = 2024-01-01T00:00:00+08:00, ct = "400/5" }}]

[[device]]
id = "M-02"
name = "办公楼"
profile = "dlt645-2007-single-phase"
port = "bus-1"
address = "058581160068"
parent = "M-01"
period = "{period}"

[[device]]
id = "M-03"
name = "空压站"
profile = "acrel-adl400"
port = "bus-1"
address = "3"
parent = "M-01"
period = "{period}"
ratios = [{{ from = 2024-01-01T00:00:00+08:00, ct = "150/5" }}]

[[device]]
id = "M-04"
name = "二路进线"
profile = "eastron-sdm630"
port = "feeder-2"
address = "1"
role = "purchased"
period = "{period}"

[[device]]
id = "S-01"
name = "窑尾烟气"
profile = "sick-marsic300"
port = "stack"
address = "1"
role = "flue-gas"
period = "{period}"
"""


class Rig:
    """A gateway with its site: keys, signed configuration, enrolment, and blocks made as the edge makes them."""

    def __init__(self, folder: Path, period: str = "60s", block: str = "15m", seed: int = 7) -> None:
        self.key, self.technician = PrivateKey.generate(), PrivateKey.generate()
        source = SITE.format(period=period, block=block).encode()
        named = sorted({device.profile for device in load(source).device})
        self.profiles = [builtin(name) for name in named if name in builtin_ids()]
        profiles = tuple((name, digest(builtin(name))) for name in named)
        config = siteconfig.SiteConfig(1, siteconfig.NO_PREVIOUS, source, profiles, MIDNIGHT - 90 * DAY)
        self.config = siteconfig.sign_site(config, self.technician)
        self.installation = install(source, {name: builtin(name) for name in named})
        request = enrolment.Enrolment(
            algorithm=self.key.algorithm, spki=self.key.spki, technician_algorithm=self.technician.algorithm,
            technician_spki=self.technician.spki, site_id="S-DEMO", site_config=siteconfig.digest(self.config),
            custody=0, at=MIDNIGHT - 90 * DAY, nonce=bytes(16),
        )  # fmt: skip
        self.enrolment = enrolment.sign_enrolment(request, self.key)
        self.previous = siteconfig.digest(self.enrolment)
        self.seq = 0
        self.born: int | None = None
        self.truth_path = folder / f"{self.key.public.kid.hex()}.jsonl"
        self._truth = TruthLog(self.truth_path, buffered=True)
        self._meters = meters.listeners(World(seed), self._truth)

    def flush(self) -> None:
        """Write the truth log out; the meters answer no more."""
        self._truth.close()

    @property
    def id(self) -> bytes:
        """The gateway's id."""
        return self.key.public.id

    def enrol(self, store: Store, collector: PrivateKey) -> None:
        """Invite and enrol it."""
        code = invite.make(bytes(range(9)), collector.spki)
        store.create_invite(code, None, MIDNIGHT, MIDNIGHT - 90 * DAY)
        store.enrol(code.format(), self.enrolment, self.config, self.profiles, MIDNIGHT - 90 * DAY)

    def block(self, start: int, end: int, dead: str = "", events: tuple[Event, ...] = ()) -> Sealed:
        """The next block over [start, end) UTC ms; the device named ``dead`` is silent."""
        self.born = start if self.born is None else self.born
        mono = (start - self.born, end - self.born)
        boot = (Event(1, start, start, "power on"),) if self.seq == 0 else ()
        header = Header(
            self.id, 0, self.seq, self.previous, 1, mono, (start, end), ClockState(2, 2, 12, start // 1000),
            (1, siteconfig.digest(self.config)), ("0.1.0", bytes(32)), boot + events,
        )  # fmt: skip
        chunks = [self._chunk(number, start, end, dead) for number in range(len(self.installation.drivers))]
        sealed = seal(header, [chunk for chunk in chunks if chunk is not None], self.key)
        self.seq, self.previous = self.seq + 1, sealed.hash
        return sealed

    def history(self, start: int, end: int, length: int, **more: str) -> Iterator[bytes]:
        """Frames of back-to-back blocks."""
        for at in range(start, end, length):
            yield transport.pack(self.block(at, min(at + length, end), **more))

    def _chunk(self, number: int, start: int, end: int, dead: str) -> Chunk | None:
        device, driver = self.installation.site.device[number], self.installation.drivers[number]
        answers: dict[tuple[bytes, int], tuple[list[int], list[bytes]]] = {}
        faults = []
        for index, query in enumerate(driver.queries()):
            for at in range(-(-start // query.period_ms) * query.period_ms, end, query.period_ms):
                when = min(at + 40 * (number + 1) + index * 7, end - 1)
                reply = None if device.id == dead else self._ask(device.port, driver, query.request, when)
                if reply is None:
                    faults.append(Fault(when - start, index, 1))
                else:
                    times, replies = answers.setdefault((query.request, len(reply)), ([], []))
                    times.append(when - start)
                    replies.append(reply)
        tracks = tuple(Track.of(request, *found) for (request, _), found in answers.items())
        salt = bytes([number]) * 16
        counters = Counters.of(tracks, faults)
        return Chunk(number, self.installation.digests[number], tracks, tuple(faults), counters, None, salt)

    def _ask(self, port: str, driver: Driver, request: bytes, when: int) -> bytes | None:
        whole, asked = b"", request
        while asked is not None:
            if (reply := self._hear(port, driver, asked, when)) is None:
                return None
            whole += reply
            asked = driver.follow_up(request, whole)
        return whole

    def _hear(self, port: str, driver: Driver, request: bytes, when: int) -> bytes | None:
        recogniser = driver.recogniser(request)
        for listener in self._meters[port]:
            for said in listener.hear(request, when):
                if (reply := recogniser.feed(said)) is not None:
                    return bytes(reply)
        return None


class Client:
    """Asks an application over HTTP without a network."""

    def __init__(self, app: ASGIApp) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """GET."""
        return asyncio.run(self._send("GET", path, more))

    def post(self, path: str, **more: Any) -> httpx.Response:
        """POST."""
        return asyncio.run(self._send("POST", path, more))

    async def _send(self, method: str, path: str, more: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://collector") as client:
            return await client.request(method, path, **more)


class House:
    """A collector in a folder, its client, and a clock that stands still."""

    def __init__(self, folder: Path, now: int, key: PrivateKey | None = None) -> None:
        self.key = PrivateKey.generate() if key is None else key
        self.store = Store(folder / "collector.db", self.key)
        self.now = now
        self.writer = Writer(lambda batches: self.store.append_batches(batches, self.now))
        self.client = Client(create_app(Collector(self.store, self.key, self.writer, lambda: self.now)))

    def close(self) -> None:
        """Finish and let go."""
        self.writer.close()
        self.store.close()

    @contextmanager
    def copied(self, folder: Path) -> "Iterator[House]":
        """A collector of its own with all that is in this one."""
        self.store.back_up(folder / "collector.db")
        found = House(folder, self.now)
        yield found
        found.close()


def altered(sealed: Sealed) -> bytes:
    """The frame of a block in which somebody changed one byte of a reading."""
    chunk = bytearray(sealed.chunks[0])
    chunk[len(chunk) // 2] ^= 1
    return transport.pack(replace(sealed, chunks=(bytes(chunk), *sealed.chunks[1:])))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "collector.db", PrivateKey.generate()) as opened:
        yield opened


@pytest.fixture
def make_rig(tmp_path: Path) -> Callable[[], Rig]:
    """A new gateway."""
    return lambda: Rig(tmp_path)


@pytest.fixture
def rig(make_rig: Callable[[], Rig]) -> Rig:
    """One gateway."""
    return make_rig()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An empty collector at midnight."""
    found = House(tmp_path, MIDNIGHT)
    yield found
    found.close()


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Rig]]:
    """A collector with a day and a half of one gateway: an outage, a silent meter, a forged and an altered block.

    Shared: tests only look at it.
    """
    folder = tmp_path_factory.mktemp("full")
    found, rig = House(folder, MIDNIGHT), Rig(folder, period="5m")
    rig.enrol(found.store, found.key)
    quarter = 900_000
    for index, at in enumerate(range(MIDNIGHT, MIDNIGHT + DAY + DAY // 2, quarter)):
        sealed = rig.block(at, at + quarter, dead="M-02" if index == 10 else "")
        found.now = at + quarter + (7_200_000 if 40 <= index < 48 else 3_000)
        if index == 20:
            found.store.append([altered(sealed)], found.now)
            found.store.append([transport.pack(Rig(folder).block(at, at + quarter))], found.now)
        found.store.append([transport.pack(sealed)], found.now)
    closing.close_all(found.store, found.now)
    yield found, rig
    found.close()


@pytest.fixture(name="altered")
def _altered() -> Callable[[Sealed], bytes]:
    """Alters a block."""
    return altered


@pytest.fixture
def midnight() -> int:
    """2026-10-03 00:00 in Shanghai, UTC ms."""
    return MIDNIGHT


TOWN = ("E-03", "E-08", "E-21", "E-24")
"""Whose accounts of two months are in the town."""


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A collector with the accounts of a few of the invented city's enterprises. Shared: tests only look at it."""
    found = House(tmp_path_factory.mktemp("town"), MIDNIGHT + 60 * DAY)
    months = city.months("2026-10", 2)
    made = city.city(1, months)
    subjects.take(found.store, "city.toml", made.subjects, by="demo", now=found.now)
    library = factor_shelf.library(None)
    for name in TOWN:
        for month in months:
            activities.declare(found.store, month, made.activity[name][month], by="demo", now=found.now)
            accounts.close(found.store, library, name, accounts.period_of(month), found.now)
    yield found
    found.close()


@pytest.fixture(scope="session")
def truth(full: tuple[House, Rig]) -> dict[tuple[str, str, int], str]:
    """What the simulated meters served: (device, register, UTC ms) -> value."""
    full[1].flush()
    found = {}
    for line in full[1].truth_path.read_text().splitlines():
        entry = json.loads(line)
        for register, _, value in entry["served"]:
            found[entry["device"], register, entry["utc_ms"]] = value
    return found


class Mosquitto:
    """A broker in a process, on a port of its own."""

    def __init__(self, folder: Path, *more: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._file = folder / "mosquitto.conf"
        self._file.write_text("\n".join((f"listener {self.port} 127.0.0.1", "user root", "persistence false", *more)))
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(["mosquitto", "-c", str(self._file)], stderr=subprocess.DEVNULL)
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise AssertionError("mosquitto did not start")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Makes a broker, with these further lines in its file."""
    made: list[Mosquitto] = []

    def make(*more: str) -> Mosquitto:
        made.append(Mosquitto(tmp_path, *more))
        return made[-1]

    yield make
    for found in made:
        found.kill()
