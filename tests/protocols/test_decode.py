"""What ``tanmeter decode`` says of a frame, as a technician types or pastes it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.decode import PROTOCOLS, explain
from protocols.dlt645 import Frame
from protocols.dlt645_identifiers import Format, describe, show
from protocols.errors import Impossible
from protocols.modbus import Request, frame_rtu, frame_tcp

HERE = Path(__file__).parents[1] / "vectors"
DLT645 = json.loads((HERE / "dlt645.json").read_text("utf-8"))
MODBUS = json.loads((HERE / "modbus.json").read_text("utf-8"))
ENERGY = "68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16"


@pytest.mark.parametrize("vector", DLT645, ids=lambda vector: vector["name"])
@pytest.mark.parametrize("protocol", ["auto", "dlt645"])
def test_captured_frames(vector: dict[str, Any], protocol: str) -> None:
    told: Any = explain(vector["hex"], protocol)
    assert told["protocol"] == "dlt645"
    if "error" in vector:
        assert told["ok"] is False
        assert told["error"]["code"] == "BUS-102"
        assert vector["error"] in told["error"]["message"]
        return
    assert told["ok"] is True
    expected = vector["told"]
    assert (told["address"], told["control"]) == (expected["address"], expected["control"])
    assert told["identifier"] == expected["identifier"]
    assert [[value["name"], value["value"], value["unit"]] for value in told["values"]] == expected["values"]
    assert told.get("error", {}).get("reason") == expected.get("refused")
    assert "raw" not in expected or told["values"][0]["raw"] == expected["raw"]


@pytest.mark.parametrize("framing", ["rtu", "tcp"])
def test_published_modbus_exchanges(framing: str) -> None:
    for vector in MODBUS[framing]:
        unit, function, address, count = vector["asked"]
        request: Any = explain(vector["request"])
        assert (request["ok"], request["protocol"]) == (True, f"modbus-{framing}")
        assert request["identifier"] == f"{function:02X}:{address:04X}+{count}"
        reply: Any = explain(vector["reply"])
        assert (reply["ok"], reply["protocol"], reply["address"]) == (True, f"modbus-{framing}", str(unit))
        if "refused" in vector:
            assert (reply["values"], reply["error"]["reason"]) == ([], vector["refused"])
            assert reply["error"]["code"] == "BUS-103"
            assert reply["control"] == f"{function | 0x80:02X}"
        else:
            assert reply["control"] == f"{function:02X}"
            assert reply["values"][0]["unit"] == ""


def test_registers_are_words_and_coils_are_bits() -> None:
    words: Any = explain(frame_rtu(1, bytes.fromhex("04 04 43 66 33 34")).hex())
    assert [(value["name"], value["value"]) for value in words["values"]] == [("word_0", "17254"), ("word_1", "13108")]
    bits: Any = explain(frame_rtu(1, bytes.fromhex("02 01 05")).hex())
    assert [value["value"] for value in bits["values"]] == ["1", "0", "1", "0", "0", "0", "0", "0"]
    assert bits["values"][2]["name"] == "bit_2"


@pytest.mark.parametrize(
    "line",
    [
        ENERGY.lower(),
        ENERGY.replace(" ", ""),
        ENERGY.replace(" ", "").lower(),
        " ".join(f"0x{pair}" for pair in ENERGY.split()),
        ",".join(f"0X{pair}" for pair in ENERGY.split()),
        "0x" + ENERGY.replace(" ", ""),
        f"  \t{ENERGY}\r\n",
        ENERGY.replace(" ", ":"),
        ENERGY.replace("00", "0"),
        " ".join(f"{pair}H" for pair in ENERGY.split()),
        "".join(f"\\x{pair}" for pair in ENERGY.split()),
    ],
)
def test_hex_as_people_write_it(line: str) -> None:
    assert explain(line) == explain(ENERGY)
    assert explain(line)["ok"] is True


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "0 hex digits"),
        ("hello", "character 'h'"),
        ("68 61 0", "1 bytes|2 bytes|3 bytes"),
        ("686", "3 hex digits"),
    ],
)
def test_a_line_that_is_no_frame(line: str, said: str) -> None:
    told: Any = explain(line)
    assert (told["ok"], told["protocol"], told["error"]["code"]) == (False, None, "BUS-102")
    assert any(part in told["error"]["message"] for part in said.split("|"))


def test_a_line_with_more_than_the_frame_is_told_what_to_leave_out() -> None:
    told: Any = explain(f"12:03:55 RX {ENERGY}")
    assert told["ok"] is False and "no RX or TX" in told["error"]["cause"]


@pytest.mark.parametrize(
    ("line", "protocol", "said"),
    [
        ("01 03 00 00 00 02 C4 0C", "modbus-rtu", "CRC C4 0C, expected C4 0B"),
        ("00 01 00 00 00 07 01 03 00 00 00 02", "modbus-tcp", "length field 7, expected 6"),
        ("FE FE " + ENERGY.replace("8A 16", "8A 17"), "dlt645", "end byte 17, expected 16"),
        ("AB CD " + ENERGY.replace("8A 16", "8B 16"), "dlt645", "checksum 8B, expected 8A"),
    ],
)
def test_a_bad_frame_names_the_check_what_came_and_what_was_expected(line: str, protocol: str, said: str) -> None:
    for asked in ("auto", protocol):
        told: Any = explain(line, asked)
        assert (told["ok"], told["protocol"], told["error"]["code"]) == (False, protocol, "BUS-102")
        assert said in told["error"]["message"]


def test_what_fits_no_protocol_is_told_for_each() -> None:
    told: Any = explain("FF FF FF FF FF FF FF FF FF FF FF FF FF")
    assert told["protocol"] is None
    assert all(name in told["error"]["message"] for name in PROTOCOLS if name not in ("auto", "hj212"))


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "auto"])
def test_a_protocol_that_is_asked_for_is_the_one_that_is_tried(protocol: str) -> None:
    good = {
        "dlt645": ENERGY,
        "modbus-rtu": Request(1, 3, 0, 3).rtu().hex(),
        "modbus-tcp": Request(1, 3, 0, 3).tcp().hex(),
    }
    for name, line in good.items():
        told = explain(line, protocol)
        assert (told["ok"], told["protocol"]) == (name == protocol, protocol)


@given(st.integers(1, 247), st.integers(0, 65000), st.integers(1, 125), st.integers(1, 2**16 - 1))
def test_a_serial_frame_with_a_wrong_checksum_never_passes_for_tcp(
    unit: int, address: int, count: int, wrong: int
) -> None:
    raw = Request(unit, 3, address, count).rtu()
    broken = raw[:-2] + (int.from_bytes(raw[-2:]) ^ wrong).to_bytes(2)
    assert explain(broken.hex())["ok"] is False


def test_frames_of_other_functions_are_good_and_not_interpreted() -> None:
    write: Any = explain(frame_rtu(17, bytes.fromhex("06 00 01 00 03")).hex())
    assert (write["ok"], write["control"], write["identifier"], write["data"]) == (True, "06", None, "00010003")
    relay: Any = explain(Frame("223002000066", 0x9C, b"").to_bytes().hex())
    assert (relay["ok"], relay["control"], relay["values"]) == (True, "9C", [])
    unknown: Any = explain(Frame("223002000066", 0x91, bytes.fromhex("01020377AB")).to_bytes().hex())
    assert (unknown["identifier"], unknown["values"], unknown["data"]) == ("77030201", [], "AB")


def test_the_1997_edition_is_told_as_such() -> None:
    told: Any = explain("68 95 32 06 00 00 00 68 81 06 43 C3 48 33 33 33 0B 16")
    assert (told["ok"], told["identifier"], told["note"]) == (True, "9010", "DL/T 645-1997")
    assert told["values"] == [{"name": "forward_active_energy", "value": "0.15", "unit": "kWh"}]
    refused: Any = explain("68 95 32 06 00 00 00 68 C1 01 35 94 16")
    assert "no such data" in refused["error"]["message"]


def test_a_reply_in_parts_says_so() -> None:
    told: Any = explain(Frame("000000000161", 0xB1, bytes.fromhex("00FF010026000000")).to_bytes().hex())
    assert told["note"] == "more frames follow"


@given(st.text(max_size=60), st.sampled_from(PROTOCOLS))
@example("0x", "auto")
@example("68" * 30, "dlt645")
def test_any_text_is_explained_in_json(line: str, protocol: str) -> None:
    told = explain(line, protocol)
    assert json.loads(json.dumps(told)) == told
    assert ("values" in told) is told["ok"]
    assert ("error" in told) is not told["ok"]


@given(st.binary(min_size=1, max_size=40), st.sampled_from(PROTOCOLS))
def test_any_bytes_in_a_sound_wrapping_are_explained(content: bytes, protocol: str) -> None:
    for raw in (
        frame_rtu(1, content),
        frame_tcp(1, 1, content),
        Frame("000000000161", content[0], content[1:]).to_bytes(),
        Frame("000000000161", 0x91, content).to_bytes(),
    ):
        assert json.dumps(explain(raw.hex(), protocol))


SIGNED = {
    "combined_active_energy",
    "combined_reactive_1_energy",
    "combined_reactive_2_energy",
    "current",
    "active_power",
    "reactive_power",
    "power_factor",
    "neutral_current",
    "mean_active_power_1min",
    "active_demand",
    "reactive_demand",
    "temperature",
}


def test_the_top_bit_is_a_sign_only_where_the_standard_says_so() -> None:
    groups = ("00{:02X}0000", "01{:02X}0000", "02{:02X}FF00", "028000{:02X}", "0090{:02X}00")
    forms = [form for group in groups for number in range(256) for form in describe(group.format(number))]
    assert len(forms) > 100
    for form in forms:
        base = re.sub("_[abc]$", "", form.name).replace("max_demand", "energy")
        assert form.signed is (base in SIGNED), form.name


@pytest.mark.parametrize(
    ("identifier", "names", "signed"),
    [
        ("00000000", ["combined_active_energy"], True),
        ("00010000", ["forward_active_energy"], False),
        ("0001000C", ["forward_active_energy_settled_12"], False),
        ("00013F00", ["forward_active_energy_t63"], False),
        ("00020000", ["reverse_active_energy"], False),
        ("00030000", ["combined_reactive_1_energy"], True),
        ("00050000", ["quadrant_1_reactive_energy"], False),
        ("00090000", ["forward_apparent_energy"], False),
        ("00150000", ["forward_active_energy_a"], False),
        ("00290000", ["forward_active_energy_b"], False),
        ("003D0000", ["forward_active_energy_c"], False),
        ("00460000", ["reverse_apparent_energy_c"], False),
        ("02010100", ["voltage_a"], False),
        ("0201FF00", ["voltage_a", "voltage_b", "voltage_c"], False),
        ("0202FF00", ["current_a", "current_b", "current_c"], True),
        ("02030000", ["active_power"], True),
        ("0203FF00", ["active_power", "active_power_a", "active_power_b", "active_power_c"], True),
        ("02050000", ["apparent_power"], False),
        ("0206FF00", ["power_factor", "power_factor_a", "power_factor_b", "power_factor_c"], True),
        ("02800001", ["neutral_current"], True),
        ("02800002", ["frequency"], False),
        ("02800007", ["temperature"], True),
        ("020A0115", ["voltage_harmonic_21_a"], False),
        ("04000101", ["weekday", "date"], False),
    ],
)
def test_the_table_of_identifiers(identifier: str, names: list[str], signed: bool) -> None:
    forms = describe(identifier)
    assert [form.name for form in forms] == names
    assert {form.signed for form in forms} == {signed}


@pytest.mark.parametrize(
    "identifier",
    [
        "00014000",
        "0001000D",
        "00F00000",
        "02010000",
        "02010400",
        "020C0100",
        "020A0116",
        "04000508",
        "05070100",
        "FFFFFFFF",
    ],
)
def test_what_is_not_in_the_table_is_not_guessed(identifier: str) -> None:
    assert describe(identifier) == ()


@given(st.from_regex(r"\A[0-9A-F]{8}\Z"))
def test_every_identifier_is_described_or_not(identifier: str) -> None:
    for form in describe(identifier):
        assert form.width >= 1
        assert form.name


@pytest.mark.parametrize(
    ("identifier", "data", "expected"),
    [
        ("04000101", "01 05 06 17", [("weekday", "01"), ("date", "2017-06-05")]),
        ("0400010C", "51 22 10 01 05 06 17", [("time", "10:22:51"), ("weekday", "01"), ("date", "2017-06-05")]),
        ("04000402", "12 90 78 56 34 12", [("meter_number", "123456789012")]),
        ("04000501", "04 00", [("status_word_1", "0004")]),
        (
            "01010000",
            "56 34 12 22 10 05 06 17",
            [("forward_active_max_demand", "12.3456"), ("forward_active_max_demand_time", "2017-06-05T10:22")],
        ),
        (
            "01010000",
            "00 00 00 00 00 00 00 00",
            [("forward_active_max_demand", "0.0000"), ("forward_active_max_demand_time", None)],
        ),
        (
            "05060101",
            "26 00 00 00 10 00 00 00",
            [("daily_freeze_1_forward_active_energy", "0.26"), ("daily_freeze_1_forward_active_energy_t1", "0.10")],
        ),
        ("02030000", "56 34 92", [("active_power", "-12.3456")]),
        (
            "0202FF00",
            "45 23 81 FF FF FF FF FF FF",
            [("current_a", "-12.345"), ("current_b", None), ("current_c", None)],
        ),
    ],
)
def test_contents(identifier: str, data: str, expected: list[tuple[str, str | None]]) -> None:
    frame = Frame("000000000161", 0x91, bytes.fromhex(identifier)[::-1] + bytes.fromhex(data))
    told: Any = explain(frame.to_bytes().hex())
    assert [(value["name"], value["value"]) for value in told["values"]] == expected


def test_a_block_that_ends_in_the_middle_of_a_field_says_so() -> None:
    frame = Frame("000000000161", 0x91, bytes.fromhex("00FF0102") + bytes.fromhex("5622 5522 54"))
    told: Any = explain(frame.to_bytes().hex())
    assert [value["value"] for value in told["values"]] == ["225.6", "225.5", None]
    assert told["values"][2]["note"] == "1 bytes 54, expected 2 for XXX.X"


@pytest.mark.parametrize(
    ("field", "digits"), [("61 25 60", "hhmmss"), ("32 13 17", "YYMMDD"), ("0A", "NN"), ("01", "NNNN")]
)
def test_a_field_that_cannot_be_is_impossible(field: str, digits: str) -> None:
    with pytest.raises(Impossible):
        show(bytes.fromhex(field), Format(digits, "", False, "x"))


def test_bytes_pasted_without_quotes_are_one_frame() -> None:
    from typer.testing import CliRunner

    from tanmeter import app

    pasted = CliRunner().invoke(app, ["decode", *ENERGY.split()])
    assert (pasted.exit_code, pasted.output) == (0, CliRunner().invoke(app, ["decode", ENERGY]).output)
    assert len(CliRunner().invoke(app, ["decode", ENERGY, ENERGY]).output.splitlines()) == 2


@pytest.mark.parametrize(("frames", "lines"), [([""], ""), ([" ", ""], ""), ([], ""), ([], "\n \n")])
def test_nothing_to_decode_is_a_wrong_use(frames: list[str], lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from tanmeter import app

    monkeypatch.setenv("TANMETER_LANG", "en")
    ran = CliRunner().invoke(app, ["decode", *frames], input=lines)
    assert (ran.exit_code, ran.stdout) == (2, "") and "nothing to decode" in ran.stderr


def test_a_line_that_fits_nothing_says_what_may_be_the_matter() -> None:
    told: Any = explain("12 34 56")
    assert (told["ok"], told["protocol"]) == (False, None)
    assert "--protocol" in told["error"]["cause"] and "hj212" not in told["error"]["message"]


def test_the_help_names_every_protocol() -> None:
    import typer

    from tanmeter import app

    (option,) = [one for one in typer.main.get_command(app).commands["decode"].params if one.name == "protocol"]  # type: ignore[attr-defined]
    assert tuple(str(option.metavar).split("|")) == PROTOCOLS
