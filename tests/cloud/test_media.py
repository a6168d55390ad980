"""Water, gas, heat, cold and flue gas beside electricity: booked in their units, shown, and not taken for kWh."""

import csv
import io
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from cloud.intervals import STATES
from cloud.store import Store
from drivers.installation import Installation, install
from drivers.profile import Medium, digest
from protocols import messages, modbus
from protocols.record import enrolment, invite, siteconfig, transport
from protocols.record.block import Chunk, ClockState, Counters, Event, Header, Track, seal
from protocols.record.cose import PrivateKey

MINUTE, DAY = 60_000, 86_400_000
HTML = {"accept": "text/html"}

PROFILE = """
schema = 1
id = "{id}"
title = {{ zh = "{id}", en = "{id}" }}
protocol = "modbus"
medium = "{medium}"
period = "60s"
source = {{ doc = "made for tests", verified = "simulator" }}
products = []
points = [
{points}
]
[[proof]]
request = "00"
response = "00"
expect = {{}}
"""
COUNTER = (
    '{{ id = "{id}", fc = 3, address = {at}, type = "u32", unit = "{unit}", kind = "counter", scale = {scale},'
    " modulus = 10000000, max_rate_per_h = 10000 }},"
)
GAUGE = (
    '{{ id = "{id}", fc = 3, address = {at}, type = "u32", unit = "{unit}", kind = "{kind}", scale = {scale}{more} }},'
)


def counter(name: str, at: int, unit: str, scale: str) -> str:
    return COUNTER.format(id=name, at=at, unit=unit, scale=scale)


def gauge(name: str, at: int, unit: str, scale: str, kind: str = "gauge", more: str = "") -> str:
    return GAUGE.format(id=name, at=at, unit=unit, scale=scale, kind=kind, more=more)


MODELS = {
    "a-electricity": ("electricity", [counter("energy_import", 0, "Wh", "1"), gauge("power", 2, "W", "1")]),
    "a-water": ("water", [counter("volume", 0, "m3", "0.001"), gauge("flow", 2, "m3/h", "0.001")]),
    "a-gas": ("gas", [counter("volume_standard", 0, "m3", "0.01"), gauge("flow_standard", 2, "m3/h", "0.01")]),
    "a-heat": ("heat", [counter("volume", 0, "m3", "0.01"), counter("energy_heat", 2, "kWh", "1")]),
    "a-cold": ("cold", [counter("energy_cold", 0, "kWh", "1"), gauge("power", 2, "kW", "1")]),
    "a-stack": (
        "flue-gas",
        [
            gauge("co2_mass_rate", 0, "kg/h", "0.1", "rate", ', flag = "calibration"'),
            gauge("calibration", 2, "1", "1", "status"),
        ],
    ),
}
DEVICES = [
    ("M-01", "a-electricity", "purchased"),
    ("W-01", "a-water", "purchased"),
    ("G-01", "a-gas", "purchased"),
    ("H-01", "a-heat", "sub"),
    ("K-01", "a-cold", "purchased"),
    ("S-01", "a-stack", "flue-gas"),
]


def profiles() -> dict[str, bytes]:
    return {
        name: PROFILE.format(id=name, medium=medium, points="\n".join(points)).encode()
        for name, (medium, points) in MODELS.items()
    }


def site() -> bytes:
    head = 'schema = 1\n[site]\nid = "S-MIX"\nname = "综合能源站"\n[[port]]\nname = "bus-1"\ndevice = "/dev/ttyUSB0"\n'
    return (
        head.encode()
        + "".join(
            f'[[device]]\nid = "{name}"\nname = "{profile}"\nprofile = "{profile}"\nport = "bus-1"\n'
            f'address = "{index + 1}"\n'
            f'role = "{role}"\n'
            for index, (name, profile, role) in enumerate(DEVICES)
        ).encode()
    )


class Mixed:
    """A gateway with one meter of each medium, each asked once a minute."""

    def __init__(self, begin: int) -> None:
        self.key, technician = PrivateKey.generate(), PrivateKey.generate()
        self.sources = profiles()
        named = tuple((name, digest(source)) for name, source in self.sources.items())
        config = siteconfig.SiteConfig(1, siteconfig.NO_PREVIOUS, site(), named, begin - DAY)
        self.config = siteconfig.sign_site(config, technician)
        self.installation: Installation = install(site(), self.sources)
        request = enrolment.Enrolment(
            self.key.algorithm, self.key.spki, technician.algorithm, technician.spki, "S-MIX",
            siteconfig.digest(self.config), 0, begin - DAY, bytes(16),
        )  # fmt: skip
        self.enrolment = enrolment.sign_enrolment(request, self.key)
        self.previous, self.seq, self.begin, self.utc = siteconfig.digest(self.enrolment), 0, begin, begin

    @property
    def id(self) -> bytes:
        return self.key.public.id

    def enrol(self, store: Store, collector: PrivateKey) -> None:
        code = invite.make(bytes(range(9)), collector.spki)
        store.create_invite(code, None, self.begin, self.begin - DAY)
        store.enrol(code.format(), self.enrolment, self.config, list(self.sources.values()), self.begin - DAY)

    def block(self, calibrating: bool = False) -> bytes:
        """The next 15 minutes."""
        start, end = self.utc, self.utc + 15 * MINUTE
        boot = (Event(1, start, start, "power on"),) if self.seq == 0 else ()
        header = Header(
            self.id, 0, self.seq, self.previous, 1, (start - self.begin, end - self.begin), (start, end),
            ClockState(2, 2, 5, 0), (1, siteconfig.digest(self.config)), ("0.1", bytes(32)), boot,
        )  # fmt: skip
        sealed = seal(header, [self._chunk(number, start, calibrating) for number in range(len(DEVICES))], self.key)
        self.seq, self.previous, self.utc = self.seq + 1, sealed.hash, end
        return transport.pack(sealed)

    def _chunk(self, number: int, start: int, calibrating: bool) -> Chunk:
        (query,) = self.installation.drivers[number].queries()
        times = [minute * MINUTE + 200 + number for minute in range(15)]
        replies = [self._reply(number, (start - self.begin) // MINUTE + minute, calibrating) for minute in range(15)]
        track = Track.of(query.request, times, replies)
        return Chunk(
            number,
            self.installation.digests[number],
            (track,),
            (),
            Counters.of([track], []),
            None,
            bytes([number]) * 16,
        )

    def _reply(self, number: int, minute: int, calibrating: bool) -> bytes:
        first, second = 1_000_000 + 7 * minute, 2_000 + 3 * minute
        if DEVICES[number][0] == "S-01":
            first, second = 36_000, int(calibrating)
        body = bytes([number + 1, 3, 8]) + first.to_bytes(4) + second.to_bytes(4)
        return body + modbus.crc(body).to_bytes(2, "little")


@pytest.fixture
def mixed(house: Any, midnight: int) -> Iterator[tuple[Any, Mixed]]:
    """Two hours of every medium, the stack's monitor calibrating over one quarter of an hour."""
    box = Mixed(midnight)
    box.enrol(house.store, house.key)
    for quarter in range(8):
        house.now = box.utc + 15 * MINUTE + 1000
        house.store.append([box.block(calibrating=quarter == 5)], house.now)
    return house, box


def rows_of(client: Any, **asked: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/v1/intervals", params=asked).json()["data"]
    return sorted(found, key=lambda row: str(row["start"]))


def test_every_medium_is_booked_in_its_own_unit(mixed: tuple[Any, Mixed]) -> None:
    client = mixed[0].client
    expected = [
        ("M-01", "energy_import", "Wh", "105"),
        ("W-01", "volume", "m3", "0.105"),
        ("G-01", "volume_standard", "m3", "1.05"),
        ("H-01", "energy_heat", "kWh", "45"),
        ("H-01", "volume", "m3", "1.05"),
        ("K-01", "energy_cold", "kWh", "105"),
        ("S-01", "co2_mass_rate", "kg", "900"),
    ]
    for device, point, unit, amount in expected:
        row = rows_of(client, device=device, point=point)[2]
        assert (row["unit"], float(row["consumption"]), row["quality"]) == (unit, float(amount), "measured")


def test_a_rate_counts_for_nothing_while_its_monitor_calibrates(mixed: tuple[Any, Mixed]) -> None:
    rows = rows_of(mixed[0].client, device="S-01")
    assert [row["quality"] for row in rows] == ["measured"] * 5 + ["estimated"] + ["measured"] * 2
    assert (rows[5]["readings"], rows[5]["ignored"]) == (0, 15)
    assert float(rows[5]["consumption"]) == pytest.approx(0.205, abs=1e-6)
    assert float(rows[5]["coverage"]) < 0.001
    assert rows[0]["kind"] == "rate"


def test_what_is_flagged_is_kept_and_says_so(mixed: tuple[Any, Mixed]) -> None:
    house, box = mixed
    readings = house.client.get("/v1/readings", params={"gateway": box.id.hex(), "device": "S-01"}).json()["data"]
    flags = {row["flag"]["value"] for row in readings if row["point"] == "co2_mass_rate"}
    assert flags == {"0", "1"}
    assert {row["quality"] for row in readings if row["flag"] and row["flag"]["value"] == "1"} == {"suspect"}
    page = house.client.get(f"/blocks/{box.id.hex()}/0/5?lang=en&all=1", headers=HTML).text
    assert messages.text("page.quality.flagged", "en") in page


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_overview_shows_each_meter_with_its_medium_and_unit(mixed: tuple[Any, Mixed], lang: Any) -> None:
    shown = mixed[0].client.get("/", params={"lang": lang}, headers=HTML).text
    for medium in ("electricity", "water", "gas", "heat", "cold", "flue-gas"):
        assert messages.text(f"page.medium.{medium}", lang) in shown
    for amount in ("0.833 m³", "8.33 m³", "357 kWh", "6\u202f240 kg"):
        assert amount in shown
    assert messages.text("page.media.unaccounted", lang) in shown


def test_the_power_of_a_cold_meter_is_not_electric(mixed: tuple[Any, Mixed]) -> None:
    client = mixed[0].client
    assert client.get("/power.csv?site=S-MIX").content.decode("utf-8-sig").splitlines()[0] == "start,M-01 kW"
    shown = client.get("/?lang=en", headers=HTML).text
    assert "2.36 <small>kW</small>" in shown
    assert "2\u202f357.000 kW" in shown


def test_only_electricity_enters_the_account(mixed: tuple[Any, Mixed]) -> None:
    (found,) = mixed[0].client.get("/v1/emissions").json()["data"]
    assert found["activity"] == {"value": "0.833", "unit": "kWh"}
    explained = mixed[0].client.get(found["explain"]).json()
    assert [meter["device"] for meter in explained["inputs"][0]["meters"]] == ["M-01"]


def test_a_meters_page_shows_what_it_counts_and_its_intervals(mixed: tuple[Any, Mixed]) -> None:
    house, box = mixed
    base = f"/meters/{box.id.hex()}"
    heat = house.client.get(f"{base}/H-01?lang=en", headers=HTML).text
    assert heat.index("heat</a>") < heat.index("volume</a>")
    assert heat.count("<tr data-x=") == 8
    stack = house.client.get(f"{base}/S-01?lang=en", headers=HTML).text
    assert messages.text("page.quality.estimated", "en") in stack
    assert messages.text("page.meter.ignored", "en", n=15) in stack
    raw = house.client.get(f"{base}/H-01/intervals.csv?point=volume").content.decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(raw)))
    assert (len(lines), lines[1]["unit"], lines[1]["consumption"], lines[1]["state"]) == (8, "m3", "1.05", "ok")
    for path in (f"{base}/H-01?point=nothing", f"{base}/X-99"):
        assert house.client.get(path, headers=HTML).status_code == 404


def test_every_state_medium_and_role_has_a_name() -> None:
    names = [f"page.state.{state}" for state in STATES if state != "ok"]
    names += [f"page.medium.{medium}" for medium in get_args(Medium)]
    assert [name for name in names if name not in messages.catalogue()] == []
