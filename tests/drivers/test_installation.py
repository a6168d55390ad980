"""A site file and its profiles become drivers; a chunk is replayed by the device it names, or by none."""

import tomllib
from dataclasses import replace
from decimal import Decimal
from struct import pack

import pytest

from drivers import builtin, toml
from drivers.installation import Installation, install
from drivers.profile import Profile
from drivers.replay import replay_chunk
from drivers.site import ratio
from protocols import modbus
from protocols.errors import ChainError, ConfigError, ProtocolError
from protocols.record.block import Chunk, ClockState, Counters, Header, Track

SITE = """
schema = 1
[site]
id = "S-1"
name = "工厂"
[[port]]
name = "bus"
device = "/dev/ttyUSB0"
[[port]]
name = "net"
tcp = "127.0.0.1:502"
[[device]]
id = "M-01"
profile = "dlt645-2007-three-phase"
port = "bus"
address = "202311070001"
role = "purchased"
[[device]]
id = "M-02"
profile = "acrel-adl400"
port = "bus"
address = "3"
period = "10s"
points = ["energy_import", "power"]
[[device]]
id = "S-01"
profile = "sick-marsic300"
port = "net"
address = "1"
role = "flue-gas"
"""
PROFILES = {name: builtin.builtin(name) for name in builtin.builtin_ids()}


def site(old: str = "", new: str = "") -> Installation:
    assert old in SITE
    return install(SITE.replace(old, new, 1).encode(), PROFILES)


def test_every_device_has_its_driver_and_digest() -> None:
    held = site()
    assert [driver.profile.id for driver in held.drivers] == [device.profile for device in held.site.device]
    assert len(set(held.digests)) == 3 and {len(digest) for digest in held.digests} == {16}
    assert {point for query in held.drivers[1].queries() for point in query.points} == {"energy_import", "power"}
    assert {query.period_ms for query in held.drivers[1].queries()} == {10_000}
    assert min(query.period_ms for query in held.drivers[0].queries()) == 60_000


def test_framing_follows_the_port() -> None:
    assert modbus.parse_rtu(site().drivers[1].queries()[0].request).unit == 3
    assert modbus.parse_tcp(site().drivers[2].queries()[0].request).unit == 1
    through = site('tcp = "127.0.0.1:502"', 'tcp = "127.0.0.1:502"\nframing = "rtu"')
    assert modbus.parse_rtu(through.drivers[2].queries()[0].request).unit == 1


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ('"acrel-adl400"', '"acrel-adl500"', "device[1].profile", "acrel-adl400, "),
        ('"3"', '"300"', "device[1].address", "a unit 1..247"),
        ('"202311070001"', '"20231107000X"', "device[0].address", "1 to 12 digits"),
        ('"power"]', '"powr"]', "device[1].points[1]", "'powr'"),
        ('role = "flue-gas"', 'role = "purchased"', "device[2].role", "the role flue-gas"),
        ('role = "purchased"', 'role = "flue-gas"', "device[0].role", "purchased or sub"),
        ('role = "purchased"', 'forbidden = [[9, 8]]', "device[0].forbidden[0]", "first <= last"),
        ('role = "purchased"', 'readable = [[0, 65536]]', "device[0].readable[0]", "both 0..65535"),
        ('"acrel-adl400"\nport = "bus"\naddress = "3"\nperiod = "10s"\npoints = ["energy_import", "power"]',
         '"dlt645-2007-single-phase"\nport = "bus"\naddress = "0202311070001"', "device[1].address", "1 to 12 digits"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_by_its_path(old: str, new: str, path: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        site(old, new)
    assert caught.value.path == f"site.toml: {path}"
    assert message in str(caught.value)


def test_two_spellings_of_one_meter_are_refused() -> None:
    twice = SITE.replace('"202311070001"', '"161"') + (
        '[[device]]\nid = "M-09"\nprofile = "dlt645-2007-single-phase"\nport = "bus"\naddress = "000000000161"\n'
    )
    with pytest.raises(ConfigError, match=r"device\[3\].address: found '000000000161' a second time"):
        install(twice.encode(), PROFILES)


def test_a_profile_under_another_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="'acrel-adl400', expected 'mine'"):
        install(SITE.encode(), PROFILES | {"mine": PROFILES["acrel-adl400"]})


HEADER = Header(
    bytes(16), 0, 0, bytes(32), 1, (0, 60_000), (1_700_000_000_000, 1_700_000_060_000), ClockState(2, 2, 5, 0),
    (1, bytes(32)), ("0", bytes(32)), (),
)  # fmt: skip


def energy_chunk(held: Installation) -> Chunk:
    request = held.drivers[1].queries()[0].request
    replies = [modbus.frame_rtu(3, bytes([3, 4]) + pack(">I", count)) for count in (12345, 12346)]
    track = Track.of(request, [100, 10_100], replies)
    return Chunk(1, held.digests[1], (track,), (), Counters(2, 2, 2, 0, 0, 0), None, bytes(16))


def test_a_chunk_is_replayed_at_the_times_it_was_read() -> None:
    held = site()
    readings = list(replay_chunk(held, HEADER, energy_chunk(held)))
    assert [(reading.device, reading.point, reading.value, reading.unit, reading.at) for reading in readings] == [
        (1, "energy_import", Decimal("123.45"), "kWh", 1_700_000_000_100),
        (1, "energy_import", Decimal("123.46"), "kWh", 1_700_000_010_100),
    ]


def test_a_chunk_of_another_configuration_is_refused() -> None:
    held = site()
    chunk = energy_chunk(held)
    with pytest.raises(ChainError, match="found device 7"):
        list(replay_chunk(held, HEADER, replace(chunk, device=7)))
    with pytest.raises(ChainError, match="entry digest"):
        list(replay_chunk(held, HEADER, replace(chunk, device=0)))
    with pytest.raises(ChainError, match="entry digest"):
        list(replay_chunk(site('"3"', '"4"'), HEADER, chunk))


def test_a_sealed_reply_that_does_not_decode_is_a_protocol_error() -> None:
    held = site()
    (track,) = energy_chunk(held).tracks
    broken = replace(track, columns=track.columns[:-1] + bytes([track.columns[-1] ^ 1]))
    with pytest.raises(ProtocolError, match="CRC"):
        list(replay_chunk(held, HEADER, replace(energy_chunk(held), tracks=(broken,))))


@pytest.mark.parametrize("text", ["200/3", "2/3", "400/7", "1/3", "1" * 5000, "1/1" + "1" * 5000, "0", "1e2"])
def test_a_ratio_that_does_not_end_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"found|limit"):
        ratio(text)
    with pytest.raises(ConfigError, match="a ratio like 400/5"):
        install(
            SITE.replace('role = "purchased"', f'ratios = [{{ from = 2026-01-01T00:00:00Z, ct = "{text}" }}]').encode(),
            PROFILES,
        )


@pytest.mark.parametrize(
    ("text", "value"), [("400/5", "80"), ("10/0.1", "100"), ("1/1024", "0.0009765625"), ("80", "80")]
)
def test_a_ratio_that_ends_is_exact(text: str, value: str) -> None:
    assert ratio(text) == Decimal(value)


def test_a_site_and_a_profile_are_bounded() -> None:
    device = '[[device]]\nid = "D-{0}"\nprofile = "acrel-adl400"\nport = "bus"\naddress = "{0}"\n'
    with pytest.raises(ConfigError, match="device: found 257 entries, expected at most 256"):
        install((SITE[: SITE.index("[[device]]")] + "".join(map(device.format, range(257)))).encode(), PROFILES)
    port = '[[port]]\nname = "p{}"\ndevice = "/dev/x"\n'
    with pytest.raises(ConfigError, match=r"port: found 6[0-9] entries, expected at most 64"):
        install((SITE + "".join(map(port.format, range(64)))).encode(), PROFILES)
    source = PROFILES["acrel-adl400"].decode()
    tables = tomllib.loads(source, parse_float=Decimal)
    tables["points"] = tables["points"][:1] * 1001
    with pytest.raises(ConfigError, match="points: found 1001 entries, expected at most 1000"):
        toml.convert(tables, Profile, "profile")
