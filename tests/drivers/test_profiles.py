"""One generic test for every profile that comes with tanmeter; and what is refused of a profile file."""

from collections.abc import Callable
from decimal import Decimal
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import builtin, profile_file, replay
from drivers.columns import Layouts, replay_track
from drivers.driver import Driver, driver
from drivers.modbus import ModbusDriver
from drivers.plan import Span, extent, pace
from drivers.profile import Profile, Proof, octets
from drivers.proof import asker, prove
from drivers.site import Device
from protocols import cjt188, dlt645, mbus, modbus
from protocols.errors import ConfigError, ProtocolError
from protocols.record.block import Track

PROFILES = {name: profile_file.load(builtin.builtin(name), name) for name in builtin.builtin_ids()}
PROOFS = [(name, index) for name, model in PROFILES.items() for index in range(len(model.proof))]

every_profile = pytest.mark.parametrize("model", PROFILES.values(), ids=PROFILES)
every_proof = pytest.mark.parametrize(("name", "index"), PROOFS)


READS = {
    "modbus": (1, 2, 3, 4),
    "dlt645": (0x11,),
    "dlt645-1997": (0x01,),
    "cjt188": (0x01,),
    "hj212": (),
    "mbus": (mbus.REQ_UD2,),
}
ADDRESSES = {"cjt188": "00000000000007"}


def installed(model: Profile, framing: str = "rtu", points: tuple[str, ...] = ()) -> Driver:
    address = ADDRESSES.get(model.protocol, "7")
    return driver(Device(id="M-01", profile=model.id, port="bus", address=address, points=points), model, framing)


@cache
def by_itself(name: str) -> Driver:
    """With all points of its profile; made once for all the garbage that it is fed."""
    return installed(PROFILES[name])


def exchange(proof: Proof) -> tuple[bytes, bytes]:
    return octets(proof.request), octets(proof.response)


def test_the_six_profiles_of_the_first_release_are_there() -> None:
    assert set(PROFILES) >= {
        "acrel-adl400",
        "chint-dtsu666",
        "dlt645-2007-single-phase",
        "dlt645-2007-three-phase",
        "eastron-sdm630",
        "sick-marsic300",
    }
    assert len(PROFILES["acrel-adl400"].points) >= 20
    assert len(PROFILES["eastron-sdm630"].points) >= 20


def test_a_profile_that_does_not_come_with_tanmeter_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'acme', expected one that `tanmeter profile list` shows"):
        builtin.builtin("acme")


@every_profile
def test_a_profile_names_its_document_and_claims_no_bench(model: Profile) -> None:
    assert model.source.doc
    assert model.source.verified in ("doc-only", "simulator")
    assert all(point.title is not None and point.title.zh and point.title.en for point in model.points)


@every_profile
def test_proofs_read_as_they_say_and_cover_every_point(model: Profile) -> None:
    prove(model, model.id)
    assert {point.id for point in model.points} == {point for proof in model.proof for point in proof.expect}
    assert all(
        proof.source.startswith(("captured", "composed", "reply captured", "data captured")) for proof in model.proof
    )


@every_proof
def test_a_proof_reads_the_same_by_column(name: str, index: int) -> None:
    proof = PROFILES[name].proof[index]
    request, reply = exchange(proof)
    held = asker(PROFILES[name], proof)
    table = replay_track(held, Track.of(request, [0, 10_000], [reply, reply]), Layouts())
    for at in (0, 1):
        found = {column.point.id: column.decimal(at) for column in table if column.valid[at]}
        assert found == {point: Decimal(text) for point, text in proof.expect.items()}
        assert [(c.point.id, c.decimal(at), c.quality(at)) for c in table] == [
            (reading.point, reading.value, reading.quality) for reading in replay.replay(held, request, reply, 0, 0)
        ]


@every_proof
def test_no_flipped_bit_of_a_proof_is_read(name: str, index: int, deep: Callable[[int, int], int]) -> None:
    """Every bit in the proof; every day each seventh, from another one in each proof of a profile."""
    proof = PROFILES[name].proof[index]
    request, reply = exchange(proof)
    held, layouts = asker(PROFILES[name], proof), Layouts()
    step = deep(1, 7) if len(reply) < 256 else deep(13, 91)
    for bit in range(index % step, 8 * len(reply), step):
        broken = bytearray(reply)
        broken[bit // 8] ^= 1 << bit % 8
        if PROFILES[name].protocol == "hj212" and broken[:-4] + broken[-4:].upper() == reply:
            continue  # a digit of its CRC in lower case
        with pytest.raises(ProtocolError):
            replay.values(held, request, bytes(broken))
        with pytest.raises(ProtocolError):
            replay_track(held, Track.of(request, [0, 1], [reply, bytes(broken)]), layouts)


@every_profile
@pytest.mark.parametrize("framing", ["rtu", "modbus-tcp"])
def test_a_plan_brings_every_point_within_the_limits_of_the_link(model: Profile, framing: str) -> None:
    held = installed(model, framing)
    assert {point for query in held.queries() for point in query.points} == {point.id for point in model.points}
    for query in held.queries():
        if not isinstance(held, ModbusDriver):
            continue
        asked = modbus.parse_tcp(query.request) if framing == "modbus-tcp" else modbus.parse_rtu(query.request)
        first, last = asked.address, asked.address + asked.count - 1
        assert asked.count <= model.link.max_registers * (16 if asked.function <= 2 else 1)
        assert not any(first <= high and last >= low for low, high in model.link.forbidden)
        known = [extent(point) for point in model.points if point.fc == asked.function]
        known += [(low, high + 1) for low, high in model.link.readable]
        assert all(any(low <= at < high for low, high in known) for at in range(first, last + 1))


@every_profile
def test_a_plan_takes_no_more_bus_time_than_a_question_a_point(model: Profile) -> None:
    def cost(held: Driver) -> int:
        total = 0
        for query in held.queries():
            if isinstance(held, ModbusDriver):
                asked = modbus.parse_rtu(query.request)
                total += pace(model.link).modbus(asked.function, asked.count)
            else:
                total += pace(model.link).dlt645(2 * len(query.points))
        return total

    assert cost(installed(model)) <= sum(cost(installed(model, points=(point.id,))) for point in model.points)


@every_profile
def test_a_plan_does_not_depend_on_when_it_is_made(model: Profile) -> None:
    assert installed(model).queries() == installed(model).queries()


@every_profile
def test_only_reads_are_ever_yielded(model: Profile) -> None:
    held = installed(model)
    for query in held.queries():
        assert next(held.read(query.request)) == query.request
        if model.protocol == "modbus":
            assert modbus.parse_rtu(query.request).function in (1, 2, 3, 4)
        elif model.protocol == "cjt188":
            assert {cjt188.decode(wording).control for wording in query.wordings} == {0x01}
        elif model.protocol == "hj212":
            assert query.wordings == (b"",)
        elif model.protocol == "mbus":
            assert query.request[:2] == bytes([mbus.SHORT, mbus.REQ_UD2]) and mbus.parse_request(query.request)
        else:
            assert {dlt645.decode(wording).control for wording in query.wordings} <= {*READS[model.protocol]}
    for code in range(256):
        pdu = bytes([code, 0, 0, 0, 1])
        frames = [
            modbus.frame_rtu(7, pdu),
            modbus.frame_tcp(1, 7, pdu),
            dlt645.Frame("000000000007", code, bytes.fromhex("00000100")).to_bytes(),
            dlt645.Frame("000000000007", code, bytes.fromhex("1090")).to_bytes(),
            cjt188.Frame(0x20, ADDRESSES["cjt188"], code, bytes.fromhex("901F00")).to_bytes(),
            bytes([mbus.SHORT, code, 7, (code + 7) & 0xFF, mbus.END]),
        ]
        for frame in frames:
            try:
                sent = next(held.read(frame))
            except ProtocolError:
                continue
            assert code in READS[model.protocol] and sent == frame


@every_profile
@given(request=st.binary(max_size=40), reply=st.binary(max_size=60))
def test_garbage_is_a_protocol_error(model: Profile, request: bytes, reply: bytes) -> None:
    held = by_itself(model.id)
    with pytest.raises(ProtocolError):
        replay.values(held, request, reply)
    with pytest.raises(ProtocolError):
        replay.values(held, held.queries()[0].request, reply)


GOOD = """
schema = 1
id = "acme"
title = { zh = "表", en = "meter" }
protocol = "modbus"
medium = "electricity"
source = { doc = "manual", verified = "doc-only" }
products = []
points = [
  { id = "e", fc = 3, address = 0, type = "u32", unit = "kWh", kind = "counter", modulus = 1000 },
  { id = "u", fc = 3, address = 2, type = "u16", unit = "V", kind = "gauge", scale = 0.1 },
]
[[proof]]
request = "01 03 00 00 00 03 05 CB"
response = "01 03 06 00 00 00 7B 08 FD 97 2D"
expect = { e = "123", u = "230.1" }
"""


def test_the_model_of_the_bad_files_is_good() -> None:
    prove(profile_file.load(GOOD.encode()))


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ('id = "u"', 'id = "e"', "points[1].id", "a second time"),
        ("modulus = 1000", "modulus = 0", "points[0].modulus", "above 0"),
        (", modulus = 1000", "", "points[0].modulus", "without modulus"),
        ("scale = 0.1", "scal = 0.1", "points[1].scal", "did you mean 'scale'"),
        ("scale = 0.1", "scale = -0.1", "points[1].scale", "above 0"),
        ('type = "u16"', 'type = "bit"', "points[1].type", "bit with fc 1 or 2"),
        ('type = "u16"', 'type = "u61"', "points[1].type", "u61"),
        ("address = 2", "address = 65535, bit = 16", "points[1].bit", "15"),
        ("address = 0, type", "address = 65535, type", "points[0].address", "65535"),
        ("address = 2,", "", "points[1]", "without fc, address and type"),
        ("scale = 0.1", 'period = "10"', "points[1].period", "10s"),
        ("scale = 0.1", 'snapshot = "s", affects = ["x"]', "points[1].affects", "'x'"),
        ("scale = 0.1", "bad = [-1]", "points[1].bad", "-1"),
        ("[[proof]]", "[link]\nforbidden = [[5, 4]]\n[[proof]]", "link.forbidden[0]", "first <= last"),
        ('u = "230.1"', 'v = "230.1"', "proof[0].expect", "'v'"),
        ('request = "01', 'request = "0g', "proof[0].request", "hex"),
    ],
)
def test_a_malformed_profile_is_named_by_its_path(old: str, new: str, path: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        profile_file.load(GOOD.replace(old, new, 1).encode(), "acme.toml")
    assert caught.value.path.startswith(f"acme.toml: {path}")
    assert message in str(caught.value)


FACTORED = GOOD.replace("{ id =", '{ snapshot = "s", id =').replace("scale = 0.1 }", 'scale_by = "e" }')


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ('scale_by = "e"', 'scale_by = "x"', "points[1].scale_by", "the id of another point"),
        ('scale_by = "e"', 'scale_by = "u"', "points[1].scale_by", "the id of another point"),
        ('{ snapshot = "s", id = "e"', '{ id = "e"', "points[1].snapshot", "one snapshot with e"),
        ('type = "u32"', 'type = "f32"', "points[1].scale_by", "an integer"),
        ('type = "u16"', 'type = "f32"', "points[1].type", "an integer"),
        ('scale_by = "e"', 'scale_by = "e", scale_mode = "exponent"', "points[1].scale_by", "min and max are whole"),
        ('scale_by = "e"', 'scale_by = "e", scale_mode = "power"', "points[1].scale_mode", "factor"),
    ],
)
def test_a_factor_that_cannot_be_one_is_named_by_its_path(old: str, new: str, path: str, message: str) -> None:
    profile_file.load(FACTORED.encode())
    assert old in FACTORED
    with pytest.raises(ConfigError) as caught:
        profile_file.load(FACTORED.replace(old, new, 1).encode(), "acme.toml")
    assert caught.value.path.startswith(f"acme.toml: {path}")
    assert message in str(caught.value)


def test_limits_that_no_value_can_keep_are_refused() -> None:
    source = builtin.builtin("eastron-sdm630").replace(b"min = 0, max = 500", b"min = 500, max = 0", 1)
    with pytest.raises(ConfigError, match=r"points\[0\]\.max: found 0, expected min \(500\) or more"):
        profile_file.load(source)


def test_what_a_point_is_multiplied_by_is_asked_with_it() -> None:
    meter = Device(id="M", profile="acme", port="p", address="1", points=("u",))
    held = driver(meter, profile_file.load(FACTORED.encode()))
    assert held.queries()[0].points == ("e", "u")
    proof = profile_file.load(FACTORED.encode()).proof[0]
    values = replay.values(held, bytes.fromhex(proof.request), bytes.fromhex(proof.response))
    assert values == {"e": 123, "u": 123 * 2301}


@pytest.mark.parametrize(
    ("old", "new"),
    [("230.1", "230.2"), ("FD 97", "FD 98"), ('e = "123", ', ""), ('"230.1"', '"much"'), ("05 CB", "05 CC")],
)
def test_a_proof_that_does_not_come_out_is_refused(old: str, new: str) -> None:
    with pytest.raises(ConfigError, match=r"profile: proof\[0\]"):
        prove(profile_file.load(GOOD.replace(old, new, 1).encode()))


def test_a_point_that_fits_in_no_read_is_refused() -> None:
    tight = profile_file.load(GOOD.replace("[[proof]]", "[link]\nmax_registers = 1\n[[proof]]").encode())
    with pytest.raises(ConfigError, match="at most 1 in one read"):
        installed(tight)
    assert Span(3, 0, 2).holds(tight.points[0])
