"""Columns against replay: the same values to the last digit, the same refusals, whatever was recorded."""

from decimal import Decimal
from struct import pack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import builtin, profile_file, replay
from drivers.columns import Column, Layouts, replay_track
from drivers.driver import Driver, driver
from drivers.profile import Link, Point, Profile, Source, Text
from drivers.registers import REGISTERS, coding, ordered
from drivers.site import Device
from protocols import dlt645, modbus
from protocols.errors import Impossible, Mismatched, ProtocolError
from protocols.record.block import Track

TYPES = [kind for kind in REGISTERS if kind != "bit"]
WHOLE = [kind for kind in TYPES if coding(kind) != "f"]
ORDERS = ["ABCD", "CDAB", "BADC", "DCBA"]
SCALES = [Decimal(1), Decimal("0.01"), Decimal("0.1"), Decimal(10), Decimal("0.003"), Decimal(3)]
SPECIAL = [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x8000, 0x7FFF, 0x7FC00000, 0x7F800000, 0xFFFFFFFF, 0x80000000]

EXAMPLES = settings.default.max_examples
"""A hundred in the proof, fewer every day (``tests/conftest.py``)."""


def model(protocol: str, points: list[Point]) -> Profile:
    source, link = Source("", "doc-only"), Link(readable_gaps=True)
    return Profile(1, "m", Text("", ""), protocol, "electricity", source, (), tuple(points), (), link)


def device(held: Profile, framing: str = "rtu") -> Driver:
    return driver(Device(id="M", profile="m", port="p", address="9"), held, framing)


def outcome(held: Driver, track: Track) -> object:
    """What replay makes of a track: readings by reply, or the error."""
    try:
        exchanges = zip(track.times, track.replies(), strict=True)
        return [replay.replay(held, track.request, reply, at, 0) for at, reply in exchanges]
    except ProtocolError as error:
        return type(error), str(error)


def written(value: Decimal | None) -> str | None:
    """All digits and the exponent: equal only when the decimals are the same, -0 and trailing zeros included."""
    return None if value is None else str(value.as_tuple())


def same(held: Driver, track: Track, layouts: Layouts) -> bool:
    """Both ways give the same; whether they gave values."""
    expected = outcome(held, track)
    try:
        table = replay_track(held, track, layouts)
    except ProtocolError as error:
        assert (type(error), str(error)) == expected
        return False
    assert isinstance(expected, list)
    for index, readings in enumerate(expected):
        assert [(reading.point, written(reading.value), reading.quality) for reading in readings] == [
            (column.point.id, written(column.decimal(index)), column.quality(index)) for column in table
        ]
        assert [reading.quality == "suspect" for reading in readings] == [bool(c.suspect()[index]) for c in table]
    assert table.times == track.times
    assert table.readings == len(table) * len(track.times)
    return True


@st.composite
def registers(draw: st.DrawFn) -> list[Point]:
    """Of every type as they come, or many of one type side by side."""
    points, address = [], 0
    alike = draw(st.none() | st.tuples(st.sampled_from(TYPES), st.sampled_from(ORDERS)))
    for index in range(draw(st.integers(1, 6))):
        kind, order = alike or (draw(st.sampled_from(TYPES)), draw(st.sampled_from(ORDERS)))
        bad = draw(st.lists(st.sampled_from([*SPECIAL, 2**64 - 1, 2**63]), max_size=2))
        bit = draw(st.none() | st.integers(0, 15)) if kind == "u16" and alike is None else None
        limits = draw(st.none() | st.integers(-1000, 1000))
        points.append(
            Point(
                id=f"p{index}",
                unit="1",
                kind="gauge",
                fc=3,
                address=address,
                type=kind,
                order=order,
                scale=draw(st.sampled_from(SCALES)),
                bad=tuple(bad),
                bit=bit,
                min=None if limits is None else Decimal(limits) / 10,
                max=None if limits is None else Decimal(limits) / 10 + 7,
            )
        )
        address += REGISTERS[kind] + (draw(st.integers(0, 2)) if alike is None else 0)
    return points


@st.composite
def multiplied(draw: st.DrawFn) -> list[Point]:
    """Numbers and what they are multiplied by, in one snapshot."""
    exponent = draw(st.booleans())
    low = draw(st.integers(-9, 0))
    factors = [
        Point(
            id=f"f{index}",
            unit="1",
            kind="config",
            fc=3,
            address=4 * index,
            type=draw(st.sampled_from(WHOLE)),
            order=draw(st.sampled_from(ORDERS)),
            scale=Decimal(1) if exponent else draw(st.sampled_from(SCALES)),
            min=Decimal(low) if exponent else None,
            max=Decimal(draw(st.integers(0, 9))) if exponent else None,
            bad=draw(st.sampled_from([(), (0xFFFF,), (0, 7)])),
            snapshot="s",
        )
        for index in range(2)
    ]
    return factors + [
        Point(
            id=f"p{index}",
            unit="1",
            kind="gauge",
            fc=3,
            address=8 + 4 * index,
            type=draw(st.sampled_from(WHOLE)),
            order=draw(st.sampled_from(ORDERS)),
            scale=draw(st.sampled_from(SCALES)),
            scale_by=f"f{draw(st.integers(0, 1))}",
            scale_mode="exponent" if exponent else "factor",
            bad=draw(st.sampled_from([(), (0xFFFF,), (0, 7)])),
            max=draw(st.none() | st.just(Decimal(40))),
            snapshot="s",
        )
        for index in range(draw(st.integers(1, 3)))
    ]


digits = st.integers(0, 9999).map(lambda n: bytes.fromhex(f"{n:04d}"))
words = (
    st.sampled_from(SPECIAL).map(lambda n: pack(">H", n & 0xFFFF))
    | st.integers(-9, 9).map(lambda n: pack(">h", n))
    | digits
    | st.binary(min_size=2, max_size=2)
)


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(registers(), st.booleans(), st.integers(1, 5), st.data())
def test_registers_of_every_type_are_the_same_both_ways(
    points: list[Point], tcp: bool, count: int, data: st.DataObject
) -> None:
    held = device(model("modbus", points), "modbus-tcp" if tcp else "rtu")
    last = points[-1].address + REGISTERS[points[-1].type]
    asked = modbus.Request(9, 3, 0, last)
    bodies = [b"".join(data.draw(words) for _ in range(last)) for _ in range(count)]
    if tcp:
        replies = [modbus.frame_tcp(asked.transaction, 9, bytes([3, 2 * last]) + body) for body in bodies]
    else:
        replies = [modbus.frame_rtu(9, bytes([3, 2 * last]) + body) for body in bodies]
    track = Track.of(asked.tcp() if tcp else asked.rtu(), range(count), replies)
    layouts = Layouts()
    assert same(held, track, layouts) == same(held, track, layouts)


@pytest.mark.parametrize(("kind", "bad"), [("i16", 0x8000), ("u16", 0xFFFF), ("i32", 0xFFFF_FFFF), ("u64", 1 << 63)])
@pytest.mark.parametrize("order", ["ABCD", "DCBA"])
def test_what_is_no_value_is_none_among_numbers_side_by_side(kind: str, bad: int, order: str) -> None:
    width = REGISTERS[kind]
    points = [
        Point(id=f"p{at}", unit="1", kind="gauge", fc=3, address=width * at, type=kind, order=order, bad=(bad,))
        for at in range(4)
    ]
    held, asked = device(model("modbus", points)), modbus.Request(9, 3, 0, 4 * width)
    fields = [ordered(value.to_bytes(2 * width), order) for value in (1, bad, bad - 1, 0)]
    track = Track.of(asked.rtu(), [5], [modbus.frame_rtu(9, bytes([3, 8 * width]) + b"".join(fields))])
    assert same(held, track, Layouts())
    assert [column.quality(0) for column in replay_track(held, track, Layouts())] == [
        "measured",
        "absent",
        "measured",
        "measured",
    ]


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(multiplied(), st.integers(1, 4), st.data())
def test_numbers_with_a_factor_are_the_same_both_ways(points: list[Point], count: int, data: st.DataObject) -> None:
    held = device(model("modbus", points))
    last = points[-1].address + REGISTERS[points[-1].type]
    asked = modbus.Request(9, 3, 0, last)
    bodies = [b"".join(data.draw(words) for _ in range(last)) for _ in range(count)]
    replies = [modbus.frame_rtu(9, bytes([3, 2 * last]) + body) for body in bodies]
    same(held, Track.of(asked.rtu(), range(count), replies), Layouts())


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(st.sampled_from(WHOLE), st.sampled_from(ORDERS), st.lists(st.integers(0, 9999), min_size=4, max_size=4))
def test_plain_numbers_of_every_coding_are_taken_at_once(kind: str, order: str, parts: list[int]) -> None:
    """Decimal digits and words that every coding can hold: the fast way takes them, and to the same values."""
    size = 2 * REGISTERS[kind]
    body = b"".join(pack(">H", part) for part in parts) if coding(kind) == "mod10k" else b""
    body = body or b"".join(bytes.fromhex(f"{part:04d}") for part in parts)
    point = Point(id="p", unit="1", kind="gauge", fc=3, address=0, type=kind, order=order)
    asked = modbus.Request(9, 3, 0, size // 2)
    field = ordered(body[:size], order)
    track = Track.of(asked.rtu(), [0], [modbus.frame_rtu(9, bytes([3, size]) + field)])
    held, layouts = device(model("modbus", [point])), Layouts()
    assert same(held, track, layouts)
    assert (
        layouts.of(held, asked.rtu(), track.reply_length).read(np.frombuffer(track.columns, np.uint8).reshape(1, -1, 1))
        is not None
    )


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_every_pattern_that_means_no_value_is_absent_both_ways(kind: str, order: str) -> None:
    size = 2 * REGISTERS[kind]
    for pattern in (0, 1 << 8 * size - 1, (1 << 8 * size) - 1, (1 << 8 * size - 1) - 1, 0x1234, 1 << 64 - 1):
        field = ordered((pattern & (1 << 8 * size) - 1).to_bytes(size), order)
        point = Point(
            id="p", unit="1", kind="gauge", fc=3, address=0, type=kind, order=order, bad=(pattern, 7), scale=Decimal(2)
        )
        asked = modbus.Request(9, 3, 0, size // 2)
        replies = [modbus.frame_rtu(9, bytes([3, size]) + body) for body in (bytes(size - 1) + b"\1", field)]
        track = Track.of(asked.rtu(), [0, 1], replies)
        held = device(model("modbus", [point]))
        taken = same(held, track, Layouts())
        if pattern < 1 << 8 * size:
            assert taken and not replay_track(held, track, Layouts())[0].valid[1]


def test_a_limit_between_two_floats_is_kept_exactly() -> None:
    limit = Decimal("0.1")
    for kind, form in (("f32", ">f"), ("f64", ">d")):
        for low, high, step in ((None, limit, 1), (limit, None, -1), (-limit, None, 1), (None, -limit, -1)):
            point = Point(id="p", unit="1", kind="gauge", fc=3, address=0, type=kind, min=low, max=high)
            number = 0.1 if limit in (low, high) else -0.1
            body = pack(form, number)
            near = [(int.from_bytes(body) + step * change).to_bytes(len(body)) for change in (-1, 0, 1)]
            asked = modbus.Request(9, 3, 0, len(body) // 2)
            replies = [modbus.frame_rtu(9, bytes([3, len(body)]) + field) for field in near]
            track = Track.of(asked.rtu(), [0, 1, 2], replies)
            held = device(model("modbus", [point]))
            assert same(held, track, Layouts())
            assert len(set(replay_track(held, track, Layouts())[0].suspect().tolist())) == 2


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.binary(min_size=3, max_size=3), min_size=1, max_size=4), st.integers(1, 2), st.integers(0, 7))
def test_coils_are_the_same_both_ways(bodies: list[bytes], function: int, first: int) -> None:
    points = [
        Point(id=f"s{n}", unit="1", kind="status", fc=function, address=100 + n, type="bit") for n in (0, 3, 8, 13)
    ]
    held = device(model("modbus", points))
    asked = modbus.Request(9, function, 100 - first, 20)
    replies = [modbus.frame_rtu(9, bytes([function, 3]) + body) for body in bodies]
    assert same(held, Track.of(asked.rtu(), range(len(replies)), replies), Layouts())


FORMATS = ["XXXXXX.XX", "XX.XXXX", "XXX.X", "XXXX", "X.XXX"]
items = st.sampled_from(["FF", "00", "80", "99", "79", "EE", "7F", "12"]).map(bytes.fromhex) | st.integers(0, 99).map(
    lambda n: bytes.fromhex(f"{n:02d}")
)


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(st.sampled_from(FORMATS), st.booleans(), st.booleans(), st.integers(1, 3), st.integers(0, 12), st.data())
def test_bcd_items_are_the_same_both_ways(
    digits: str, signed: bool, block: bool, count: int, size: int, data: st.DataObject
) -> None:
    points = [
        Point(
            id=f"p{n}",
            unit="1",
            kind="gauge",
            di=f"02010{n}00",
            digits=digits,
            signed=signed,
            block="0201FF00",
            index=n,
            scale=data.draw(st.sampled_from(SCALES)),
            max=Decimal(50),
        )
        for n in range(3)
    ]
    held = device(model("dlt645", points))
    identifier = "0201FF00" if block else "02010000"
    width = digits.count("X") // 2
    if data.draw(st.booleans()):
        size = width * (size % 5) if block else width
    fill = st.just(b"\xff" * size) | st.lists(items, min_size=size, max_size=size).map(b"".join)
    head = bytes.fromhex(identifier)[::-1]
    replies = [dlt645.Frame("000000000009", 0x91, head + data.draw(fill)).to_bytes() for _ in range(count)]
    same(held, Track.of(dlt645.read_request("000000000009", identifier), range(count), replies), Layouts())


MODELS = [
    held
    for name in builtin.builtin_ids()
    if (held := profile_file.load(builtin.builtin(name))).protocol in ("modbus", "dlt645")
]
"""Those that are read column by column; every other goes reply by reply."""
NAMED = {held.id: held for held in MODELS}


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(st.sampled_from(MODELS), st.integers(0, 9), st.integers(0, 2), st.data())
def test_tampered_replies_are_the_same_both_ways(held: Profile, query: int, at: int, data: st.DataObject) -> None:
    """Any bytes set to anything, with the checksum made right again or not."""
    proof = held.proof[query % len(held.proof)]
    request, reply = bytes.fromhex(proof.request), bytes.fromhex(proof.response)
    address = str(modbus.parse_rtu(request).unit) if held.protocol == "modbus" else dlt645.parse_request(request)[0]
    made = driver(Device(id="M", profile="m", port="p", address=address), held)
    broken = bytearray(reply)
    for place, byte in data.draw(
        st.dictionaries(st.integers(0, len(reply) - 1), st.integers(0, 255), max_size=3)
    ).items():
        broken[place] = byte
    if data.draw(st.booleans()):
        if held.protocol == "modbus":
            broken[-2:] = modbus.crc(bytes(broken[:-2])).to_bytes(2, "little")
        else:
            broken[-2] = sum(broken[:-2]) & 0xFF
    replies = [reply] * 3
    replies[at] = bytes(broken)
    same(made, Track.of(request, [5, 10, 15], replies), Layouts())


@pytest.mark.parametrize("cut", [1, 2, 7])
def test_a_reply_of_another_length_is_refused_both_ways(cut: int) -> None:
    for held in MODELS:
        proof = held.proof[0]
        request, reply = bytes.fromhex(proof.request), bytes.fromhex(proof.response)
        address = str(modbus.parse_rtu(request).unit) if held.protocol == "modbus" else dlt645.parse_request(request)[0]
        made = driver(Device(id="M", profile="m", port="p", address=address), held)
        for changed in (reply[:-cut], reply + bytes(cut)):
            assert not same(made, Track.of(request, [1], [changed]), Layouts())


def test_a_reply_with_its_preamble_is_read_both_ways() -> None:
    request = dlt645.read_request("000000000009", "0203FF00")
    data = bytes.fromhex("00FF0302 106203 702001 702081 FFFFFF")
    reply = b"\xfe" * 3 + dlt645.Frame("000000000009", 0x91, data).to_bytes()
    held = driver(Device(id="M", profile="m", port="p", address="9"), NAMED["dlt645-2007-three-phase"])
    assert same(held, Track.of(request, [1, 2], [reply, reply]), Layouts())


def test_a_request_to_another_unit_is_refused_every_time() -> None:
    held, layouts = device(NAMED["acrel-adl400"]), Layouts()
    reply = modbus.frame_rtu(8, bytes([3, 4, 0, 0, 0, 1]))
    for _ in range(2):
        with pytest.raises(Mismatched, match="unit 8, expected unit 9"):
            replay_track(held, Track.of(modbus.Request(8, 3, 0, 2).rtu(), [0], [reply]), layouts)


def acrel(counts: list[int]) -> tuple[Driver, Track]:
    held = device(NAMED["acrel-adl400"])
    replies = [modbus.frame_rtu(9, bytes([3, 44]) + pack(">11I", n, 0, 0, 0, 0, 2 * n, 0, 0, 0, 0, 7)) for n in counts]
    return held, Track.of(held.queries()[0].request, [10 * n for n in range(len(counts))], replies)


def test_counters_come_with_times_and_whole_mantissas() -> None:
    held, track = acrel([123, 124, 130])
    table = replay_track(held, track, Layouts())
    total, imported, exported = table.counters()
    assert isinstance(total, Column)
    assert (total.point.id, total.times, total.mantissa.tolist()) == ("energy_total", (0, 10, 20), [123, 124, 130])
    assert total.mantissa.dtype == np.int64
    assert imported.decimal(-1) == Decimal("2.60") and imported.scale == Decimal("0.01")
    assert np.allclose(exported.floats(), 0.07)
    assert [column.point.id for column in table[:2]] == ["energy_total", "energy_import"]
    assert table[-1].point.id == "energy_export"


def test_a_meter_seen_under_two_profiles_is_read_by_each() -> None:
    """A layout belongs to the driver that made it, not to the name of its model."""
    layouts = Layouts()
    held, track = acrel([123])
    tenfold = profile_file.load(builtin.builtin("acrel-adl400").replace(b"scale = 0.01", b"scale = 0.1"))
    assert replay_track(held, track, layouts)[0].decimal(0) == Decimal("1.23")
    assert replay_track(device(tenfold), track, layouts)[0].decimal(0) == Decimal("12.3")


def scaling(mode: str, factor: int, raw: int) -> tuple[Driver, Track]:
    """A power register in 0.1 W, and what it is multiplied by, in one reply."""
    low, high = (Decimal(-3), Decimal(3)) if mode == "exponent" else (None, None)
    by = Point(
        id="by", unit="1", kind="config", fc=3, address=0, type="i16", min=low, max=high, bad=(0x8000,), snapshot="s"
    )
    power = Point(
        id="power", unit="kW", kind="gauge", fc=3, address=1, type="i32", scale=Decimal("0.0001"), scale_by="by",
        scale_mode=mode, snapshot="s",
    )  # fmt: skip
    held = device(model("modbus", [by, power]))
    asked = modbus.Request(9, 3, 0, 3)
    reply = modbus.frame_rtu(9, bytes([3, 6]) + pack(">hi", factor, raw))
    return held, Track.of(asked.rtu(), [0], [reply])


@pytest.mark.parametrize(
    ("mode", "factor", "raw", "value"),
    [
        ("factor", 80, -12345, "-98.7600"),
        ("factor", 0, 5, "0.0000"),
        ("exponent", -2, 12345, "0.0123450"),
        ("exponent", 3, 7, "0.7000000"),
        ("factor", -(1 << 15), 7, None),
        ("exponent", -(1 << 15), 7, None),
    ],
)
def test_a_factor_register_is_taken_at_once(mode: str, factor: int, raw: int, value: str | None) -> None:
    held, track = scaling(mode, factor, raw)
    layouts = Layouts()
    assert same(held, track, layouts)
    assert (
        layouts.of(held, track.request, track.reply_length).read(
            np.frombuffer(track.columns, np.uint8).reshape(1, -1, 1)
        )
        is not None
    )
    found = replay_track(held, track, layouts)[1].decimal(0)
    assert (None if found is None else str(found)) == value


def test_an_exponent_beyond_the_profile_is_impossible() -> None:
    held, track = scaling("exponent", 4, 7)
    with pytest.raises(Impossible, match="power: found the exponent 4 in by, expected -3 to 3"):
        replay_track(held, track, Layouts())
    assert not same(held, track, Layouts())
