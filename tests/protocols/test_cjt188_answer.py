"""CJ/T 188: what the answer to 901F holds, from captured frames; units converted exactly; what is no value."""

import json
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.cjt188_answer import LAYOUTS, Answer, Number, Units, battery_low, valve
from protocols.cjt188_units import QUANTITY, UNITS, factor
from protocols.errors import Impossible, ProtocolError

VECTORS = {
    vector["name"]: bytes.fromhex(vector["frames"][0]["data"])[3:]
    for vector in json.loads((Path(__file__).parents[1] / "vectors" / "cjt188.json").read_text("utf-8"))
    if vector["frames"] and vector["frames"][0]["control"] == "81"
}


def told(name: str, units: Units = "after") -> dict[str, Any]:
    answer = Answer.of(VECTORS[name], units)
    numbers: dict[str, Any] = {
        number.name: (number.value, "" if number.code is None else UNITS[number.code].name)
        for number in answer.numbers.values()
    }
    return numbers | {"clock": answer.told_clock(), "status": answer.status.hex().upper()}


def test_a_water_meter_tells_its_volume_twice_its_clock_and_its_status() -> None:
    assert told("read_reply_copied_everywhere_with_the_right_checksum") == {
        "volume": (55667700, "m3"),
        "settlement_volume": (55667700, "m3"),
        "clock": datetime(2015, 5, 11, 22, 1, 31),
        "status": "2184",
    }


def test_a_heat_meter_tells_eight_numbers() -> None:
    assert told("heat_reply_type_25_to_a_20_request") == {
        "energy1": (27411, "kWh"),
        "energy2": (5442788, "kWh"),
        "power": (0, "kW"),
        "flow": (0, "m3/h"),
        "volume": (715608, "m3"),
        "temp_supply": (2679, ""),
        "temp_return": (2664, ""),
        "hours": (74766, ""),
        "clock": datetime(2025, 9, 3, 17, 52, 11),
        "status": "0005",
    }


@pytest.mark.parametrize(
    ("name", "energy", "volume", "clock"),
    [
        ("heat_reply_unit_before_number", (532819, "kWh"), (183342, "m3"), datetime(2015, 3, 31, 23, 57, 26)),
        ("heat_reply_unit_before_number_jy", (2, "MWh"), (1034, "m3"), datetime(2015, 7, 10, 12, 0, 53)),
    ],
)
def test_some_makers_put_the_unit_before_the_number(
    name: str, energy: tuple[int, str], volume: tuple[int, str], clock: datetime
) -> None:
    found = told(name, "before")
    assert (found["energy2"], found["volume"], found["clock"]) == (energy, volume, clock)
    with pytest.raises(Impossible, match=r"volume: .* is not BCD"):
        _ = Answer.of(VECTORS[name]).numbers["volume"].value


def test_fields_filled_with_ff_or_99_are_absent() -> None:
    found = told("water_reply_filled_with_ff_and_serial_aa")
    assert (found["volume"], found["settlement_volume"]) == ((595900, "m3"), (None, "m3"))
    assert found["clock"] is None
    assert told("water_reply_filled_with_99")["settlement_volume"] == (None, "m3")


@pytest.mark.parametrize(
    ("name", "clock"),
    [
        ("water_reply_in_litres_clock_century_first", datetime(2020, 5, 28, 20, 58, 24)),
        ("water_reply_with_a_clock", datetime(2017, 1, 9, 17, 20, 6)),
        ("water_reply_with_a_clock_that_is_none", None),
        ("water_reply_low_byte_first", None),
    ],
)
def test_the_clock_is_read_either_way_round_or_is_absent(name: str, clock: datetime | None) -> None:
    assert told(name)["clock"] == clock


def test_a_length_that_is_neither_is_impossible() -> None:
    with pytest.raises(Impossible, match=r"L=15 \(21\), expected 16 \(22\) or 2E \(46\)"):
        Answer.of(bytes(18))


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("flow", "50010080", -150),
        ("temp_supply", "500080", -50),
        ("volume", "00000090", 90000000),
        ("energy2", "99999999", 99999999),
        ("settlement_volume", "99999999", None),
        ("flow", "FFFFFFFF", None),
    ],
)
def test_the_top_bit_is_a_sign_only_where_a_number_can_be_negative(name: str, raw: str, value: int | None) -> None:
    assert Number(name, bytes.fromhex(raw), 0x2C).value == value


@pytest.mark.parametrize("raw", ["0A000000", "FFFFFF00", "EEEEEEEE", "FFFFFF7F"])
def test_what_is_no_number_is_impossible_and_never_a_value(raw: str) -> None:
    for name in ("volume", "flow"):
        with pytest.raises(Impossible, match="is not BCD"):
            _ = Number(name, bytes.fromhex(raw), 0x2C).value


@given(st.binary(max_size=60), st.sampled_from(["after", "before"]))
def test_any_data_is_an_answer_or_impossible(data: bytes, units: Units) -> None:
    try:
        answer = Answer.of(data, units)
        values = [number.value for number in answer.numbers.values()]
    except ProtocolError:
        return
    assert len(data) in LAYOUTS and len(values) == len(LAYOUTS[len(data)])
    answer.told_clock()


@pytest.mark.parametrize(
    ("status", "mirrored", "open_closed", "low"),
    [
        (0x00, False, 0, 0),
        (0x01, False, 1, 0),
        (0x03, False, 3, 0),
        (0x04, False, 0, 1),
        (0x84, False, 0, 1),
        (0x40, True, 1, 0),
        (0xC0, True, 3, 0),
        (0x20, True, 0, 1),
        (0x04, True, 0, 0),
    ],
)
def test_the_status_has_two_layouts(status: int, mirrored: bool, open_closed: int, low: int) -> None:
    assert (valve(bytes([status, 0]), mirrored), battery_low(bytes([status, 0]), mirrored)) == (open_closed, low)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0x01, "J"), (0x02, "Wh"), (0x03, "Wh×10"), (0x04, "Wh×100"), (0x05, "kWh"), (0x08, "MWh"), (0x0A, "MWh×100"),
        (0x0B, "kJ"), (0x0E, "MJ"), (0x11, "GJ"), (0x13, "GJ×100"), (0x14, "W"), (0x17, "kW"), (0x1A, "MW"),
        (0x29, "L"), (0x2A, "L×10"), (0x2C, "m3"), (0x2D, "m3×10"), (0x2E, "m3×100"), (0x32, "L/h"), (0x35, "m3/h"),
        (0x40, "J/h"), (0x43, "kJ/h"), (0x46, "MJ/h"), (0x49, "GJ/h"), (0x4B, "GJ/h×100"),
    ],
)  # fmt: skip
def test_unit_codes(code: int, name: str) -> None:
    assert UNITS[code].name == name


def test_no_unit_code_is_given_twice_and_each_measures_something() -> None:
    assert len(UNITS) == 50 and all(unit.symbol in QUANTITY for unit in UNITS.values())


@pytest.mark.parametrize(
    ("symbol", "wanted", "expected"),
    [
        ("kWh", "GJ", Fraction(36, 10_000)),
        ("MWh", "kWh", Fraction(1000)),
        ("GJ", "kWh", Fraction(10_000, 36)),
        ("MJ", "GJ", Fraction(1, 1000)),
        ("L", "m3", Fraction(1, 1000)),
        ("m3/h", "L/h", Fraction(1000)),
        ("W", "kW", Fraction(1, 1000)),
        ("MJ/h", "kW", Fraction(10, 36)),
    ],
)
def test_units_are_converted_exactly(symbol: str, wanted: str, expected: Fraction) -> None:
    assert factor(symbol, wanted) == expected
    assert factor(symbol, wanted) * factor(wanted, symbol) == 1


@pytest.mark.parametrize(("symbol", "wanted"), [("kWh", "kW"), ("m3", "m3/h"), ("m3", "t"), ("°C", "kWh")])
def test_no_unit_becomes_one_of_another_quantity(symbol: str, wanted: str) -> None:
    with pytest.raises(Impossible, match="expected a unit that can be told in"):
        factor(symbol, wanted)
