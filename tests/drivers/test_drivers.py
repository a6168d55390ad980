"""What a driver makes of addresses, word orders, sentinels, blocks and refusals."""

import json
from decimal import Decimal, localcontext
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import builtin, profile_file, replay
from drivers.driver import Driver, driver
from drivers.profile import Profile
from drivers.registers import number, ordered
from drivers.site import Device
from protocols import dlt645, modbus, modbus_identification
from protocols.errors import ConfigError, Damaged, Impossible, Mismatched, Refused

THREE_PHASE = profile_file.load(builtin.builtin("dlt645-2007-three-phase"))
ACREL = profile_file.load(builtin.builtin("acrel-adl400"))
SDM630 = profile_file.load(builtin.builtin("eastron-sdm630"))
DTSU666 = profile_file.load(builtin.builtin("chint-dtsu666"))


def meter(model: Profile, address: str, framing: str = "rtu", points: tuple[str, ...] = ()) -> Driver:
    return driver(Device(id="M-01", profile=model.id, port="bus", address=address, points=points), model, framing)


def answer(address: str, identifier: str, data: str) -> bytes:
    return dlt645.Frame(address, 0x91, bytes.fromhex(identifier)[::-1] + bytes.fromhex(data)).to_bytes()


@pytest.mark.parametrize("address", ["0", "248", "01", "1.0", "", "one", "-1", "²", "256"])
def test_a_modbus_address_is_a_unit(address: str) -> None:
    with pytest.raises(ConfigError, match=r"device.address: found .* expected a unit 1..247"):
        meter(ACREL, address)


def test_over_tcp_the_units_0_and_255_mean_the_device_itself() -> None:
    assert modbus.parse_tcp(meter(ACREL, "0", "modbus-tcp").queries()[0].request).unit == 0
    assert modbus.parse_tcp(meter(ACREL, "255", "modbus-tcp").queries()[0].request).unit == 255


@pytest.mark.parametrize("address", ["999999999999", "AAAAAAAAAAAA", "1234567890123", "", "12 34", "１２"])
def test_a_dlt645_address_is_one_meter(address: str) -> None:
    with pytest.raises(ConfigError, match="1 to 12 digits, not broadcast"):
        meter(THREE_PHASE, address)


def test_a_short_dlt645_number_is_padded_at_the_high_end() -> None:
    assert dlt645.parse_request(meter(THREE_PHASE, "161").queries()[0].request)[0] == "000000000161"


def test_a_point_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"device.points\[1\]: found 'tea'"):
        meter(ACREL, "1", points=("power", "tea"))


def test_selected_points_alone_are_read_even_when_others_lie_between() -> None:
    held = meter(ACREL, "1", points=("voltage_a", "frequency"))
    (query,) = held.queries()
    assert query.points == ("voltage_a", "frequency")
    reply = modbus.frame_rtu(1, bytes([3, 46]) + bytes(44) + pack(">H", 5001))
    assert replay.values(held, query.request, reply) == {"voltage_a": Decimal("0.0"), "frequency": Decimal("50.01")}


def test_a_request_covers_what_its_bytes_say_whatever_the_plan() -> None:
    request = modbus.Request(1, 3, 0x0A, 2).rtu()
    assert request not in [query.request for query in meter(ACREL, "1").queries()]
    reply = modbus.frame_rtu(1, bytes([3, 4]) + pack(">I", 1234567))
    assert replay.values(meter(ACREL, "1"), request, reply) == {"energy_import": Decimal("12345.67")}


def test_a_request_to_another_device_or_for_nothing_is_refused() -> None:
    with pytest.raises(Mismatched, match="unit 2, expected unit 1"):
        next(meter(ACREL, "1").read(modbus.Request(2, 3, 0, 2).rtu()))
    with pytest.raises(Mismatched, match="holds no point"):
        next(meter(ACREL, "1").read(modbus.Request(1, 3, 0x2000, 2).rtu()))
    with pytest.raises(Mismatched, match="meter 000000000002"):
        next(meter(THREE_PHASE, "1").read(dlt645.read_request("000000000002", "00010000")))
    with pytest.raises(Mismatched, match="04000101"):
        next(meter(THREE_PHASE, "1").read(dlt645.read_request("000000000001", "04000101")))


def test_an_rtu_request_is_no_request_over_tcp() -> None:
    with pytest.raises(Damaged):
        next(meter(ACREL, "1", "modbus-tcp").read(modbus.Request(1, 3, 0, 2).rtu()))


def test_a_refusal_is_raised_with_its_reason() -> None:
    held = meter(ACREL, "1")
    with pytest.raises(Refused) as caught:
        replay.values(held, held.queries()[0].request, modbus.frame_rtu(1, b"\x83\x02"))
    assert caught.value.reason == 2
    held = meter(THREE_PHASE, "201000000012")
    with pytest.raises(Refused) as caught:
        replay.values(held, held.queries()[0].request, bytes.fromhex("68 12 00 00 00 10 20 68 D1 01 35 19 16"))
    assert caught.value.reason == 2


def test_the_top_digit_of_an_energy_is_no_sign_and_of_a_power_is() -> None:
    held = meter(THREE_PHASE, "1")
    energy = dlt645.read_request("000000000001", "00010000")
    assert replay.values(held, energy, answer("000000000001", "00010000", "50000090")) == {
        "energy_import": Decimal("900000.50")
    }
    power = dlt645.read_request("000000000001", "02030000")
    assert replay.values(held, power, answer("000000000001", "02030000", "702081")) == {"power": Decimal("-1.2070")}


def test_a_block_may_be_short_and_what_is_filled_with_ff_is_absent() -> None:
    held = meter(THREE_PHASE, "1")
    request = dlt645.read_request("000000000001", "0201FF00")
    one = {"voltage_a": Decimal("225.6"), "voltage_b": None, "voltage_c": None}
    assert replay.values(held, request, answer("000000000001", "0201FF00", "5622 FFFF FFFF")) == one
    assert replay.values(held, request, answer("000000000001", "0201FF00", "5622")) == one
    for data in ("562256", ""):
        with pytest.raises(Impossible, match="items of 2 bytes"):
            replay.values(held, request, answer("000000000001", "0201FF00", data))
    assert replay.values(held, request, answer("000000000001", "0201FF00", "5622 EEEE FFFF")) == one
    with pytest.raises(Impossible):
        replay.values(held, request, answer("000000000001", "0201FF00", "5622 EEFF FFFF"))


def test_a_width_that_is_not_the_formats_is_impossible() -> None:
    held = meter(THREE_PHASE, "111111111111")
    captured = bytes.fromhex("68 11 11 11 11 11 11 68 91 07 33 34 34 35 33 59 36 60 16")
    with pytest.raises(Impossible, match="3 bytes of data, expected 2 bytes"):
        replay.values(held, dlt645.read_request("111111111111", "02010100"), captured)


@given(st.sampled_from(["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"]), st.binary(min_size=8, max_size=8))
def test_word_orders_are_what_their_letters_say(kind: str, data: bytes) -> None:
    size = int(kind[1:]) // 8
    field = data[:size]
    words = [field[at : at + 2] for at in range(0, size, 2)]
    assert ordered(field, "ABCD") == field
    assert ordered(field, "DCBA") == field[::-1]
    assert ordered(field, "CDAB") == b"".join(words[::-1])
    assert ordered(field, "BADC") == b"".join(word[::-1] for word in words)
    assert ordered(b"\1\2\3\4", "CDAB") == b"\3\4\1\2"
    assert number(field, kind) == number(ordered(ordered(field, "CDAB"), "CDAB"), kind)


@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(1, 28))
def test_a_float_is_the_exact_number_its_bits_say_whatever_the_context(value: float, digits: int) -> None:
    request = modbus.Request(1, 3, 0x2044, 2).rtu()
    body = pack(">f", value) if abs(value) < 3e38 else pack(">f", float("nan"))
    with localcontext(prec=digits):
        values = replay.values(meter(DTSU666, "1"), request, modbus.frame_rtu(1, bytes([3, 4]) + body))
    if abs(value) < 3e38:
        exact = number(body, "f32")
        assert isinstance(exact, Decimal) and values["frequency"] is not None
        with localcontext(prec=1000):
            assert values["frequency"] * 100 == exact
    else:
        assert values == {"frequency": None}


def test_a_value_outside_the_limits_is_suspect_and_kept() -> None:
    held = meter(SDM630, "1")
    request = modbus.Request(1, 4, 0x46, 2).rtu()
    for frequency, quality in ((50.0, "measured"), (500.0, "suspect"), (float("inf"), "absent")):
        reply = modbus.frame_rtu(1, bytes([4, 4]) + pack(">f", frequency))
        (reading,) = replay.replay(held, request, reply, 1_700_000_000_000, 3)
        assert (reading.device, reading.point, reading.unit, reading.quality) == (3, "frequency", "Hz", quality)
        assert reading.at == 1_700_000_000_000


def captured() -> list[tuple[bytes, str, str, list[Decimal]]]:
    path = Path(__file__).parent.parent / "vectors" / "dlt645_replies.json"
    rows = json.loads(path.read_text("utf-8"))
    return [(bytes.fromhex(r["frame"]), r["address"], r["identifier"], [Decimal(v) for v in r["values"]]) for r in rows]


@pytest.mark.parametrize(("frame", "address", "identifier", "values"), captured())
def test_captured_replies_read_as_their_meters_showed(
    frame: bytes, address: str, identifier: str, values: list[Decimal]
) -> None:
    found = replay.values(meter(THREE_PHASE, address), dlt645.read_request(address, identifier), frame)
    assert list(found.values()) == values


def test_the_recogniser_finds_the_answer_behind_the_echo() -> None:
    held = meter(THREE_PHASE, "161")
    echo = bytes.fromhex("68 61 01 00 00 00 00 68 11 04 33 33 34 33 14 16")
    reply = bytes.fromhex("68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16")
    request = held.queries()[0].request
    assert held.recogniser(request).feed(echo + reply) == reply
    coils = meter(profile_file.load(builtin.builtin("sick-marsic300")), "1", "modbus-tcp")
    request = coils.queries()[0].request
    reply = request[:4] + bytes([0, 4, 1, 2, 1, 0b10010])
    assert coils.recogniser(request).feed(reply) == reply
    assert replay.values(coils, request, reply) == {
        "malfunction": 0,
        "maintenance_request": 1,
        "maintenance": 0,
        "out_of_spec": 0,
        "live": 1,
    }


@pytest.mark.parametrize("framing", ["rtu", "modbus-tcp"])
def test_the_answer_to_what_a_device_is_is_recognised_but_is_no_reading(framing: str) -> None:
    held = meter(ACREL, "3", framing)
    asked = modbus_identification.request(3, "rtu" if framing == "rtu" else "modbus-tcp")
    pdu = bytes.fromhex("2B 0E 01 01 00 00 01 00 05") + b"Acrel"
    reply = modbus.frame_rtu(3, pdu) if framing == "rtu" else modbus.frame_tcp(int.from_bytes(asked[:2]), 3, pdu)
    assert held.recogniser(asked).feed(reply) == reply
    with pytest.raises(Damaged):
        replay.values(held, asked, reply)
