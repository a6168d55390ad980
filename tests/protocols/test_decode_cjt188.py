"""What ``tanmeter decode`` says of CJ/T 188 frames: captured ones, and what is wrong with broken ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import cjt188, messages
from protocols.decode import explain
from protocols.errors import ProtocolError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "cjt188.json").read_text("utf-8"))
GOOD = "68 10 44 33 22 11 00 33 78 81 16 1F 90 00 00 77 66 55 2C 00 77 66 55 2C 31 01 22 11 05 15 20 21 84 13 16"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
@pytest.mark.parametrize("protocol", ["auto", "cjt188"])
def test_captured_frames(vector: dict[str, Any], protocol: str) -> None:
    told: Any = explain(vector["hex"], protocol)
    assert told["protocol"] == "cjt188"
    if "error" in vector:
        assert told["ok"] is False and vector["error"] in told["error"]["message"]
        return
    assert told["ok"] is True
    assert {key: told[key] for key in ("address", "control", "identifier", "meter_type")} == {
        key: value for key, value in vector["told"].items() if key != "values"
    }
    assert [[value["name"], value["value"], value["unit"]] for value in told["values"]] == vector["told"]["values"]


def told_of(data: str, control: int = 0x81, meter_type: int = 0x10) -> Any:
    return explain(cjt188.Frame(meter_type, "78330011223344", control, bytes.fromhex(data)).to_bytes().hex())


def test_what_makers_do_otherwise_is_noted() -> None:
    by_name = {vector["name"]: vector["hex"] for vector in VECTORS}
    radio: Any = explain(by_name["water_reply_with_two_bytes_of_signal_strength"])
    assert "signal strength" in radio["note"]
    before: Any = explain(by_name["heat_reply_unit_before_number"])
    assert "option units = before" in before["note"]
    tens = told_of("901F00" + "674523012D" * 2 + "00" * 7 + "2400")
    assert "compare with the dial" in tens["values"][0]["note"] and tens["values"][0]["value"] == "123456.70"
    assert "mirrored" in told_of("901F00" + "674523012C" * 2 + "00" * 7 + "6000")["values"][-1]["note"]
    unknown = told_of("901F00" + "6745230100" * 2 + "31012211051520" + "0000")
    assert "unit code 00 is none" in unknown["values"][0]["note"]


def test_a_number_that_is_none_is_null_with_its_bytes() -> None:
    told = told_of("901F00" + "EEEEEEEE2C" + "000000002C" + "00" * 9)
    assert told["values"][0]["value"] is None
    assert (told["values"][0]["raw"], "not BCD" in told["values"][0]["note"]) == ("EEEEEEEE", True)
    assert told["values"][1]["value"] == "0.00"


def test_a_refusal_is_a_good_frame_and_other_content_is_told_as_bytes() -> None:
    refused = told_of("000480", control=0xC1)
    assert (refused["ok"], refused["error"]["code"], refused["error"]["reason"]) == (True, "BUS-103", 0x8004)
    assert told_of("8102007788")["data"] == "7788"
    assert told_of("A01700", control=0x84)["identifier"] == "A017"
    assert told_of("901F0001")["data"] == "01"
    assert told_of("90")["data"] == "90"


def test_the_reply_behind_its_echo_is_told() -> None:
    echo = cjt188.read_request(0x10, "78330011223344").hex()
    told: Any = explain(echo + GOOD)
    assert (told["control"], told["skipped"]) == ("81", 1)


@pytest.mark.parametrize(
    ("line", "byte", "found", "expected", "cause"),
    [
        (GOOD.replace("13 16", "08 16"), 33, "08", "13", "copied"),
        (GOOD.replace("78 81", "79 81"), 33, "13", "14", "checksum"),
        ("FE FE " + GOOD.replace("78 81", "79 81"), 35, "13", "14", "checksum"),
        (GOOD.replace("13 16", "AB 16"), 33, "AB", "13", "sum_without_start"),
        (GOOD.replace("13 16", "13 17"), 34, "17", "16", "end"),
        (GOOD[: 3 * 20], 20, "20 bytes", "35 bytes", "truncated"),
        (GOOD.replace("77 66 55 2C 00", "77 66 2C 00", 1), 34, "34 bytes", "35 bytes", "truncated"),
        (GOOD.replace("77 66 55 2C 00", "77 66 55 55 2C 00", 1), 34, "13", "16", "lost_or_added"),
        ("68 10 44 33 22", 5, "5 bytes", "13 bytes", "truncated"),
        (GOOD.replace("81 16", "82 16"), 9, "82", "a control byte (01, 81, C1, 03, 83, …)", "header"),
        (GOOD.replace("68 10", "68 55"), 1, "55", "a meter type (10 to 13, 20 to 29, 30 to 39, AA)", "header"),
        (GOOD.replace("68 10", "66 10"), 0, "66", "68", "no_start"),
    ],
)
def test_a_bad_frame_is_explained(line: str, byte: int, found: str, expected: str, cause: str) -> None:
    told: Any = explain(line, "cjt188")
    assert told["ok"] is False
    error = told["error"]
    assert (error["byte"], error["found"], error["expected"]) == (byte, found, expected)
    assert error["cause"] == messages.text(f"cause.cjt188.{cause}", "en")


def test_a_length_that_does_not_fit_its_frame_is_told_as_that() -> None:
    body = bytearray(bytes.fromhex(GOOD)[:-2])
    body[10] = 0x10
    told: Any = explain((bytes(body) + bytes([sum(body) & 0xFF, 0x16])).hex(), "cjt188")
    assert (told["error"]["byte"], told["error"]["found"], told["error"]["expected"]) == (10, "10", "16")
    assert told["error"]["cause"] == messages.text("cause.cjt188.length", "en")


@given(st.binary(min_size=1, max_size=80))
def test_any_bytes_are_told_or_explained(raw: bytes) -> None:
    try:
        told: Any = explain(raw.hex(), "cjt188")
    except ProtocolError:
        pytest.fail("explain raises nothing")
    assert told["ok"] or told["error"]["cause"]


@given(st.sampled_from([v["hex"] for v in VECTORS if "told" in v]), st.integers(0, 70), st.integers(0, 7))
def test_a_flipped_bit_is_explained_with_its_place(line: str, at: int, bit: int) -> None:
    raw = bytearray.fromhex(line)
    start = raw.index(b"\x68")
    size = cjt188.OVERHEAD + raw[start + 10]
    raw[start + at % size] ^= 1 << bit
    told: Any = explain(bytes(raw[start : start + size]).hex(), "cjt188")
    assert told["ok"] is False and 0 <= told["error"]["byte"] <= size
