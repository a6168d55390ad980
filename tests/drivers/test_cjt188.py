"""The CJ/T 188 driver: one question in two wordings, exact units, and the options that makers force on us."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import builtin, profile_file, replay
from drivers.cjt188 import Cjt188Driver
from drivers.driver import driver
from drivers.profile import Profile
from drivers.query import Values
from drivers.site import Device
from protocols import cjt188
from protocols.errors import ConfigError, Impossible, Mismatched, Refused

NUMBER = "11110020231107"
CLOCK = "00301006012620"


def model(name: str) -> Profile:
    return profile_file.load(builtin.builtin(name), name)


WATER, HEAT, HEAT_GJ, BOTH = (model(f"cjt188-{kind}") for kind in ("water", "heat", "heat-gj", "heat-cooling"))


def meter(of: Profile, address: str = NUMBER, points: tuple[str, ...] = (), **options: Any) -> Cjt188Driver:
    held = driver(Device(id="W", profile=of.id, port="p", address=address, options=options, points=points), of)
    assert isinstance(held, Cjt188Driver)
    return held


def water(volume: str = "67452301", unit: str = "2C", status: str = "0000", meter_type: int = 0x10) -> bytes:
    data = "901F00" + volume + unit + "FFFFFFFF" + unit + CLOCK + status
    return cjt188.Frame(meter_type, NUMBER, 0x81, bytes.fromhex(data)).to_bytes()


def heat(energies: str, unit: str = "05", flow: str = "0000000035", meter_type: int = 0x20) -> bytes:
    data = "1F9000" + "00000000" + unit + energies + unit + "5012000017" + flow + "000000002C"
    data += "257500" + "104500" + "608700" + CLOCK + "0000"
    return cjt188.Frame(meter_type, NUMBER, 0x81, bytes.fromhex(data)).to_bytes()


def read(held: Cjt188Driver, reply: bytes) -> Values:
    return replay.values(held, held.queries()[0].request, reply)


def test_all_points_come_in_one_question_that_can_be_put_in_two_ways() -> None:
    (query,) = meter(WATER).queries()
    assert set(query.points) == {point.id for point in WATER.points}
    assert [wording[-5:-2].hex().upper() for wording in query.wordings] == ["901F00", "1F9000"]
    assert [cjt188.parse_request(wording).address for wording in query.wordings] == [NUMBER, NUMBER]


@pytest.mark.parametrize("order", ["901F", "1F90"])
def test_an_option_settles_the_order(order: str) -> None:
    (query,) = meter(WATER, identifier=order).queries()
    assert (query.request[-5:-2].hex().upper(), query.also) == (order + "00", ())


def test_an_answer_to_either_wording_is_read_by_the_same_driver() -> None:
    held = meter(WATER)
    for wording in held.queries()[0].wordings:
        assert replay.values(held, wording, water())["volume"] == Decimal("12345.67")
        assert held.recogniser(wording).feed(b"\xfe" * 13 + water() + b"\x52\x4f") == water()


def test_what_a_meter_fills_with_ff_is_absent_and_the_status_is_told_in_parts() -> None:
    assert read(meter(WATER), water(status="0580")) == {
        "volume": Decimal("12345.67"),
        "settlement_volume": None,
        "valve": 1,
        "battery_low": 1,
        "status": 0x8005,
    }
    assert read(meter(WATER, status="mirrored"), water(status="6000"))["valve"] == 1
    assert read(meter(WATER, status="mirrored"), water(status="6000"))["battery_low"] == 1
    assert read(meter(WATER), water(status="6000"))["battery_low"] == 0


@pytest.mark.parametrize(
    ("unit", "options", "value"),
    [
        ("2C", {}, "12345.67"),
        ("2D", {}, "123456.7"),
        ("2E", {}, "1234567"),
        ("2C", {"volume_decimals": 3}, "1234.567"),
        ("29", {"volume_decimals": 0}, "1234.567"),
        ("00", {"volume_unit": "2C"}, "12345.67"),
        ("2D", {"volume_unit": "2C"}, "12345.67"),
    ],
)
def test_units_and_decimals_are_what_the_meter_or_the_options_say(
    unit: str, options: dict[str, Any], value: str
) -> None:
    assert read(meter(WATER, **options), water(unit=unit))["volume"] == Decimal(value)


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("29", r"found 1/100000 m3 for one digit in L, expected whole steps of 0.001: compare with the dial"),
        ("00", "unit code 00, expected one of a volume"),
        ("05", "found kWh, expected a unit that can be told in m3"),
    ],
)
def test_a_unit_that_does_not_fit_is_impossible_whatever_the_number(unit: str, said: str) -> None:
    for number in ("67452301", "00000000"):
        with pytest.raises(Impossible, match=said):
            read(meter(WATER), water(number, unit))


@pytest.mark.parametrize(
    ("of", "unit", "value"),
    [
        (HEAT, "05", "12345.67"),
        (HEAT, "08", "12345670"),
        (HEAT_GJ, "11", "12345.67"),
        (HEAT_GJ, "0E", "12.34567"),
        (HEAT_GJ, "05", "44.444412"),
        (HEAT_GJ, "08", "44444.412"),
    ],
)
def test_energy_is_told_exactly_in_the_unit_of_the_model(of: Profile, unit: str, value: str) -> None:
    held = read(meter(of), heat("67452301", unit))
    assert held["energy_heat"] == Decimal(value)
    assert held["power"] == Decimal("12.5") and held["temp_supply"] == Decimal("75.25")


def test_joules_in_a_model_of_kilowatt_hours_are_impossible_and_the_way_out_is_told() -> None:
    with pytest.raises(Impossible, match=r"energy1: found 25/9 kWh for one digit in GJ.*a model in another unit"):
        read(meter(HEAT), heat("00000000", "11"))


def test_a_heat_meter_asked_as_20_may_answer_as_25_and_its_energies_are_what_the_options_say() -> None:
    reply = heat("67452301", meter_type=0x25)
    assert read(meter(HEAT), reply)["energy_settlement"] == 0
    assert read(meter(BOTH), reply)["energy_cold"] == 0
    swapped = meter(BOTH, energy1="heat", energy2="cold")
    assert (read(swapped, reply)["energy_cold"], read(swapped, reply)["energy_heat"]) == (Decimal("12345.67"), 0)


def test_a_flow_has_the_decimals_of_its_maker_and_may_run_backwards() -> None:
    reply = heat("00000000", flow="5634120035")
    assert read(meter(HEAT), reply)["flow"] == Decimal("12.3456")
    assert read(meter(HEAT, flow_decimals=2), reply)["flow"] == Decimal("1234.56")
    assert read(meter(HEAT), heat("00000000", flow="5634128035"))["flow"] == Decimal("-12.3456")


def test_the_answer_of_another_meter_another_kind_or_another_layout_is_refused() -> None:
    other = cjt188.Frame(0x10, "22220020231107", 0x81, cjt188.decode(water()).data).to_bytes()
    with pytest.raises(Mismatched, match="expected meter 11110020231107"):
        read(meter(WATER), other)
    with pytest.raises(Mismatched, match="expected a meter of type 1x"):
        read(meter(WATER), heat("00000000"))
    with pytest.raises(Impossible, match="expected one with energy1"):
        read(meter(HEAT), water(meter_type=0x20))
    refusal = cjt188.Frame(0x10, NUMBER, 0xC1, b"\0\4\0").to_bytes()
    with pytest.raises(Refused, match="status 04 00"):
        read(meter(WATER), refusal)


@pytest.mark.parametrize(
    "request_",
    [
        cjt188.read_request(0x10, "22220020231107"),
        cjt188.read_request(0x11, NUMBER),
        cjt188.address_request(0x10, NUMBER),
        cjt188.read_request(0x10, "AA" * 7),
    ],
)
def test_a_request_that_is_not_to_this_meter_is_none_of_its_own(request_: bytes) -> None:
    with pytest.raises(Mismatched, match="expected one for 901F from meter 11110020231107 of type 10"):
        next(meter(WATER).read(request_))


@pytest.mark.parametrize(
    "address",
    ["", "7", "1111002023110", "111100202311077", "99" * 7, "AA" * 7, "FF" * 7, "AAAA0020231107", "1111002023110g"],
)
def test_an_address_is_fourteen_digits_and_no_wildcard(address: str) -> None:
    with pytest.raises(ConfigError, match="14 digits"):
        meter(WATER, address)


def test_an_address_padded_with_f_is_one() -> None:
    assert meter(HEAT, "20691530F1FFFF").address == "20691530F1FFFF"


@pytest.mark.parametrize(
    ("options", "path", "expected"),
    [
        ({"flow_decimal": 2}, "device.options: flow_decimal", "did you mean 'flow_decimals'"),
        ({"flow_decimals": 9}, "device.options: flow_decimals", "<= 8"),
        ({"identifier": "9F10"}, "device.options: identifier", "one of auto, 901F, 1F90"),
        ({"status": "odd"}, "device.options: status", "standard"),
        ({"volume_unit": "2"}, "device.options: volume_unit", "matching regex"),
        ({"volume_unit": "FF"}, "device.options.volume_unit", "a unit code of CJ/T 188"),
        ({"energy1": "heat"}, "device.options.energy2", "something else than energy1"),
        ({"energy2": "unused"}, "device: point energy_heat.field", "a field of meter type 20"),
        ({"meter_type": "10"}, "device: point energy_settlement.field", "a field of meter type 10"),
    ],
)
def test_options_are_checked_by_name(options: dict[str, Any], path: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        meter(HEAT, **options)
    assert caught.value.path == path and expected in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "path", "expected"),
    [
        ('field = "volume"', 'field = "volum"', "point volume.field", "volume, settlement_volume, valve"),
        ('field = "volume", unit = "m3"', 'field = "volume", unit = "kWh"', "point volume.unit", "L, m3"),
        ('field = "valve", unit = "1"', 'field = "valve", unit = ""', "point valve.unit", "1"),
        ('field = "valve", unit', 'field = "valve", bit = 3, unit', "points[2].bit", "a bit of the status word"),
        ('meter_type = "10"', "", "options", "the key 'meter_type'"),
        ('meter_type = "10"', 'meter_type = "10", units = "behind"', "options: units", "one of after, before"),
    ],
)
def test_a_malformed_profile_is_named_by_its_path(old: str, new: str, path: str, expected: str) -> None:
    source = builtin.builtin("cjt188-water").decode()
    assert old in source
    with pytest.raises(ConfigError) as caught:
        profile_file.load(source.replace(old, new, 1).encode(), "w.toml")
    assert path in caught.value.path and expected in str(caught.value)


def test_some_points_alone_are_asked_with_the_same_question() -> None:
    held = meter(WATER, points=("volume",))
    assert held.queries()[0].points == ("volume",)
    assert read(held, water()) == {"volume": Decimal("12345.67")}


@given(st.integers(0, 99_999_999), st.sampled_from(["2C", "2D", "2E"]), st.integers(0, 3))
def test_every_value_is_a_whole_number_of_its_points_steps(number: int, unit: str, decimals: int) -> None:
    digits = bytes.fromhex(f"{number:08d}")[::-1].hex()
    value = read(meter(WATER, volume_decimals=decimals), water(digits, unit))["volume"]
    times = {"2C": 1, "2D": 10, "2E": 100}[unit]
    assert value is not None and value * 10**decimals == number * times and value % Decimal("0.001") == 0
