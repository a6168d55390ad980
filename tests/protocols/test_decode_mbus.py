"""What decode says of M-Bus: every record of a telegram, questions, selections, and what is wrong with a broken one."""

import json
from pathlib import Path
from typing import Any

import pytest

from protocols import messages
from protocols.decode import explain
from protocols.mbus import Frame, Request

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "mbus.json").read_text("utf-8"))
FRAMES = {name: vector["reply"] for name, vector in VECTORS["frames"].items()}


def values(told: Any) -> dict[str, Any]:
    return {value["name"]: value["value"] for value in told["values"]}


@pytest.mark.parametrize("name", [name for name in FRAMES if name != "sen_pollusonic_2"])
def test_published_telegrams_are_told(name: str) -> None:
    told: Any = explain(FRAMES[name])
    assert (told["ok"], told["protocol"]) == (True, "mbus")
    assert values(told)["fabrication_number" if "fabrication_number" in values(told) else "status"]


def test_a_heat_meter_in_full() -> None:
    told: Any = explain(FRAMES["kamstrup_multical_601"])
    assert (told["address"], told["control"], told["identifier"]) == ("17", "08", "06855817")
    found = values(told)
    assert (found["manufacturer"], found["medium"], found["status"]) == ("KAM", "heat", "00")
    assert (found["energy"], found["volume"], found["flow_temperature"]) == ("37351000", "561.08", "101.69")
    assert (found["energy_s1"], found["power_max"], found["volume_u2"]) == ("33361000", "44800", "0.00")
    assert found["date_time_general"] == "2011-01-05 15:26"
    assert told["data"].startswith("00000000E7E4")
    assert next(value for value in told["values"] if value["name"] == "energy")["record"] == "0406"


def test_more_telegrams_and_extensions_are_noted() -> None:
    assert explain(FRAMES["sen_pollutherm"])["note"] == "more telegrams follow"
    told: Any = explain(FRAMES["itron_cyble_m-bus_v1.4_water"])
    assert [value.get("note") for value in told["values"] if value["name"] == "volume"][1]


def test_questions_and_selections_are_told() -> None:
    told: Any = explain("10 5B 05 60 16")
    assert (told["protocol"], told["address"], told["control"], told["identifier"]) == ("mbus", "5", "5B", "REQ_UD2")
    told = explain(Request(0xFD, identification="12345678").to_bytes().hex())
    assert (told["identifier"], told["note"]) == ("12345678", "selection of a meter by its number")
    told = explain("68 06 06 68 53 FE 51 01 7A 08 25 16")
    assert told["note"] == "to a meter, CI 51" and told["data"] == "017A08"
    assert explain("E5", "mbus")["note"] == "acknowledgement"


def test_a_meters_report_of_an_error_is_a_good_frame() -> None:
    told: Any = explain(Frame(8, 3, 0x70, b"\x08").to_bytes().hex())
    assert told["ok"] and told["error"]["reason"] == 8 and "application too busy" in told["error"]["message"]


def test_a_fixed_structure_is_named() -> None:
    told: Any = explain(FRAMES["sen_pollusonic_2"], "mbus")
    assert not told["ok"] and "fixed data structure" in told["error"]["message"]


RAW = Frame(8, 5, 0x72, bytes.fromhex("78563412242328042A000000 0C1427048502")).to_bytes()


@pytest.mark.parametrize(
    ("raw", "byte", "found", "expected", "cause"),
    [
        (RAW[:-2] + b"\0\x16", 25, "00", f"{RAW[-2]:02X}", "checksum"),
        (RAW[:-3], 1, "15", "12", "truncated"),
        (RAW + b"\0\0", 1, "15", "17", "extra"),
        (RAW[:2] + b"\x14" + RAW[3:], 2, "14", "15", None),
        (RAW[:-1] + b"\x17", 26, "17", "16", None),
        (b"\x10\x5b\x05\x61\x16", 3, "61", "60", "checksum"),
        (b"\x10\x5b\x05\x60", 4, "-", "16", "truncated"),
    ],
)
def test_what_is_wrong_with_a_frame_is_told(
    raw: bytes, byte: int, found: str, expected: str, cause: str | None
) -> None:
    error: Any = explain(raw.hex(), "mbus")["error"]
    assert (error["byte"], error["found"], error["expected"]) == (byte, found, expected)
    assert error["cause"] == (None if cause is None else messages.text(f"cause.mbus.{cause}", "en"))


def test_a_broken_telegram_is_taken_for_what_it_was_meant_to_be() -> None:
    assert explain((RAW[:-2] + b"\0\x16").hex())["protocol"] == "mbus"


def test_an_answer_of_several_telegrams_as_it_is_on_record_is_told_as_one() -> None:
    header = bytes.fromhex("78563412242328042A000000")
    stale = Frame(8, 5, 0x72, header + bytes.fromhex("040601000000 1F")).to_bytes()
    first = Frame(8, 5, 0x72, header + bytes.fromhex("040602000000 1F")).to_bytes()
    last = Frame(8, 5, 0x72, header + bytes.fromhex("041303000000")).to_bytes()
    for raw in (stale + first + last, b"\xe5" + stale + first + last):
        told: Any = explain(raw.hex())
        assert (told["protocol"], told["skipped"], told.get("note")) == ("mbus", 2, None)
        assert (values(told)["energy"], values(told)["volume"]) == ("2000", "0.003")
