"""What is told of DL/T 645 frames of both editions: captured ones, good and bad; contents; what broke a frame."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import dlt645, dlt645_1997, messages
from protocols.decode import explain
from protocols.decode_dlt645 import explain as explain_bytes
from protocols.dlt645 import Frame, Parser
from protocols.dlt645_faults import diagnose
from protocols.dlt645_load import CLASSES, Record, load_request, records
from protocols.errors import Damaged, Impossible, ProtocolError

CAPTURED = json.loads((Path(__file__).parents[1] / "vectors" / "dlt645_captured.json").read_text("utf-8"))
METER = "202311070001"
ENERGY = bytes.fromhex("68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16")


def reply(identifier: str, data: str, control: int = 0x91, address: str = METER) -> bytes:
    return Frame(address, control, bytes.fromhex(identifier)[::-1] + bytes.fromhex(data)).to_bytes()


def values(raw: bytes) -> list[tuple[str, str | None]]:
    told: Any = explain_bytes(raw)
    return [(one["name"], one["value"]) for one in told["values"]]


@pytest.mark.parametrize("vector", CAPTURED, ids=lambda vector: f"{vector['protocol'][-4:]} {vector['hex'][-24:]}")
def test_every_captured_frame_is_told(vector: dict[str, Any]) -> None:
    told: Any = explain(vector["hex"])
    expected = vector["expected"]
    assert told["protocol"] == "dlt645"
    assert told["ok"] is (vector["kind"] not in ("bad-checksum", "truncated"))
    if not told["ok"]:
        assert isinstance(told["error"]["byte"], int) and told["error"]["expected"] and told["error"]["cause"]
        return
    assert told["address"] == expected["address"]
    if vector["kind"] != "echo":
        assert told["control"] == expected["control"]
    assert told["identifier"] == expected.get("di")
    assert (told.get("note") == "DL/T 645-1997") is vector["protocol"].endswith("1997")
    assert told.get("error", {}).get("reason") == expected.get("err")
    shown = [one["value"] for one in told["values"]]
    if "value" in expected and expected["value"] is not None:
        assert float(shown[0]) == expected["value"]
    if "values" in expected:
        assert list(map(float, shown)) == expected["values"]
    for key in ("time", "date", "read_address"):
        assert key not in expected or expected[key] in shown


@pytest.mark.parametrize("vector", CAPTURED, ids=lambda vector: f"{vector['protocol'][-4:]} {vector['hex'][-24:]}")
def test_every_captured_frame_is_written_as_it_came(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"])
    found = Parser().feed(raw)
    assert bool(found) is (vector["kind"] not in ("bad-checksum", "truncated"))
    for frame, came in found:
        assert frame.to_bytes() == came and came in raw


@pytest.mark.parametrize(
    ("identifier", "data", "expected"),
    [
        ("00010003", "26000000", [("forward_active_energy_settled_3", "0.26")]),
        (
            "000100FF",
            "26000000 25000000 24000000",
            [
                ("forward_active_energy", "0.26"),
                ("forward_active_energy_settled_1", "0.25"),
                ("forward_active_energy_settled_2", "0.24"),
            ],
        ),
        ("05040101", "26000000", [("hourly_freeze_1_forward_active_energy", "0.26")]),
        ("0504003E", "0013251126", [("hourly_freeze_62_time", "2026-11-25T13:00")]),
        (
            "0504FF01",
            "0013251126 26000000 00000000",
            [
                ("hourly_freeze_1_time", "2026-11-25T13:00"),
                ("hourly_freeze_1_forward_active_energy", "0.26"),
                ("hourly_freeze_1_reverse_active_energy", "0.00"),
            ],
        ),
        (
            "0504FF01",
            "0013251126 AA 26000000 AA 00000000 AA",
            [
                ("hourly_freeze_1_time", "2026-11-25T13:00"),
                ("hourly_freeze_1_forward_active_energy", "0.26"),
                ("hourly_freeze_1_reverse_active_energy", "0.00"),
            ],
        ),
        ("05060001", "0000091015", [("daily_freeze_1_time", "2015-10-09T00:00")]),
        (
            "03010000",
            "010000 020000" * 3,
            [(f"voltage_loss_{p}_{k}", v) for p in "abc" for k, v in (("count", "1"), ("minutes", "2"))],
        ),
        ("0400010C", "59 59 23 03 25 11 26", [("time", "23:59:59"), ("weekday", "03"), ("date", "2026-11-25")]),
        ("04000103", "15", [("demand_period", "15")]),
        ("04000306", "800000", [("ct_ratio", "80")]),
        ("00010000", "EEEEEEEE", [("forward_active_energy", None)]),
    ],
)
def test_contents_of_2007(identifier: str, data: str, expected: list[tuple[str, str | None]]) -> None:
    assert values(reply(identifier, data)) == expected


@pytest.mark.parametrize(
    ("identifier", "data", "expected"),
    [
        ("901F", "26000000 10000000 16000000 AA", ["0.26", "0.10", "0.16"]),
        ("9410", "26000000", ["0.26"]),
        ("A010", "341200", ["0.1234"]),
        ("B010", "30141125", None),
        ("B010", "30142511", ["11-25T14:30"]),
        ("B61F", "2302 2402 2502", ["223", "224", "225"]),
        ("B62F", "2501 FFFF FFFF", ["1.25", None, None]),
        ("B630", "341200", ["0.1234"]),
        ("C011", "595923", ["23:59:59"]),
        ("C032", "953206000000", ["000000063295"]),
    ],
)
def test_contents_of_1997(identifier: str, data: str, expected: list[str | None] | None) -> None:
    told: Any = explain_bytes(reply(identifier, data, control=0x81))
    shown = [one["value"] for one in told["values"]]
    assert shown == ([None] if expected is None else expected)
    assert (expected is None) is ("note" in told["values"][0])
    assert "data" not in told


def test_status_words_name_their_bits() -> None:
    told: Any = explain_bytes(reply("040005FF", "1400 0000 1000 8100 0000 0000 2000"))
    flags = {one["name"]: one["flags"] for one in told["values"]}
    assert flags["status_word_1"] == ["clock_battery_low", "active_power_reverse"]
    assert flags["status_word_3"] == ["relay_open"]
    assert flags["status_word_4"] == ["voltage_loss_a", "phase_open_a"]
    assert flags["status_word_7"] == ["power_lost"]
    assert flags["status_word_2"] == []


def test_a_whole_freeze_is_told_where_separators_part_its_items() -> None:
    items = [
        "0000251126",
        "26000000 10000000",
        *["00000000"] * 7,
        "341200 3014251126",
        "000000 0000000000",
        "341200" * 8,
    ]
    told: Any = explain_bytes(reply("0506FF01", " AA ".join(items)))
    shown = {one["name"]: one["value"] for one in told["values"]}
    assert shown["daily_freeze_1_time"] == "2026-11-25T00:00"
    assert shown["daily_freeze_1_forward_active_energy_t1"] == "0.10"
    assert shown["daily_freeze_1_forward_active_max_demand_time"] == "2026-11-25T14:30"
    assert shown["daily_freeze_1_reactive_power_c"] == "0.1234"
    unparted: Any = explain_bytes(reply("0506FF01", " ".join(items)))
    assert unparted["values"] == [] and unparted["data"]


# ---- requests ----


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (dlt645.read_request(METER, "0001FF00"), {"meaning": "request: read data", "identifier": "0001FF00"}),
        (
            Frame(METER, 0x12, bytes.fromhex("00FF010003")).to_bytes(),
            {"meaning": "request: read follow-up data", "identifier": "0001FF00", "frame": 3},
        ),
        (dlt645.address_request(), {"meaning": "request: read the communication address", "address": "A" * 12}),
        (load_request(METER, "06000000", 2), {"identifier": "06000000", "records": 2}),
        (Frame(METER, 0x1C, bytes(16)).to_bytes(), {"meaning": "request: control the relay", "identifier": None}),
        (Frame("9" * 12, 0x08, bytes.fromhex("512210050617")).to_bytes(), {"meaning": "request: broadcast the time"}),
        (dlt645_1997.read_request(METER, "9010"), {"identifier": "9010", "asks": ["forward_active_energy"]}),
        (Frame(METER, 0x0F, bytes(8)).to_bytes(), {"meaning": "request: change the password", "note": "DL/T 645-1997"}),
        (Frame(METER, 0x03, bytes(8)).to_bytes(), {"meaning": "request: security authentication"}),
        (Frame(METER, 0x03, b"").to_bytes(), {"meaning": "request: read again", "note": "DL/T 645-1997"}),
    ],
)
def test_requests_are_told_as_requests(raw: bytes, expected: dict[str, object]) -> None:
    told: Any = explain(raw.hex())
    assert told["ok"] and {key: told.get(key) for key in expected} == expected


def test_a_request_for_a_block_names_some_of_it() -> None:
    told: Any = explain_bytes(dlt645.read_request(METER, "0001FF00"))
    assert told["asks"][:2] == ["forward_active_energy", "forward_active_energy_t1"]
    assert told["asks"][-1] == "and 56 more"


def test_a_sender_that_forgot_33h_is_given_a_hint() -> None:
    body = bytes.fromhex("68 61 01 00 00 00 00 68 11 04 00 00 01 00")
    told: Any = explain_bytes(body + bytes([sum(body) & 0xFF, 0x16]))
    assert "00010000" in told["hint"]


# ---- several frames ----


def test_an_answer_of_several_frames_in_one_line_is_told_whole() -> None:
    first = reply("0001FF00", "26000000 10000000", control=0xB1)
    second = reply("0001FF00", "06000000 05000000 01", control=0x92)
    told: Any = explain_bytes(b"\xfe" * 4 + first + b"\xfe\xfe" + second)
    assert told["frames"] == 2 and "skipped" not in told
    assert [one["value"] for one in told["values"]] == ["0.26", "0.10", "0.06", "0.05"]
    alone: Any = explain_bytes(first)
    assert alone["note"] == "more frames follow" and len(alone["values"]) == 2
    part: Any = explain_bytes(second)
    assert part["frame"] == 1 and part["values"] == [] and part["data"] == "0600000005000000"


def test_a_field_cut_by_the_end_of_the_first_frame_waits_for_the_next() -> None:
    told: Any = explain_bytes(reply("0001FF00", "26000000 1000", control=0xB1))
    assert [one["value"] for one in told["values"]] == ["0.26"] and told["data"] == "1000"


# ---- broken frames ----


def summed(body: bytes, checksum: int | None = None, end: int = 0x16) -> bytes:
    return body + bytes([(sum(body) if checksum is None else checksum) & 0xFF, end])


BODY = ENERGY[:-2]
HIGH = bytes.fromhex("68 12 90 78 56 34 12 68 91 08 33 33 34 33 83 33 33 C3 98 16")
BROKEN: list[tuple[str, bytes, int, str, str]] = [
    ("noise", ENERGY[:14] + b"\x5a" + ENERGY[15:], 18, "8A", "8B"),
    ("sum_without_33", summed(BODY, sum(BODY) - 8 * 0x33), 18, "F2", "8A"),
    ("sum_with_preamble", b"\xfe\xfe" + summed(BODY, sum(BODY) + 2 * 0xFE), 20, "86", "8A"),
    ("sum_from_second", summed(BODY, sum(BODY[1:])), 18, "22", "8A"),
    ("modulo_255", summed(bytes.fromhex("68610100000000689108 33 32 34 33 33 33 33 33"), 0x62), 18, "62", "63"),
    ("truncated", ENERGY[:15], 15, "-", "20 bytes"),
    ("truncated", ENERGY[:6], 7, "-", "68"),
    ("length_written", summed(BODY[:9] + b"\x06" + BODY[10:]), 9, "06", "08"),
    ("length_damaged", ENERGY[:9] + b"\x28" + ENERGY[10:], 9, "28", "08"),
    ("length_damaged", ENERGY[:9] + b"\x01" + ENERGY[10:], 9, "01", "08"),
    ("end", ENERGY[:-1] + b"\x17", 19, "17", "16"),
    ("byte_lost", ENERGY[:3] + ENERGY[4:], 7, "91", "68"),
    ("byte_added", ENERGY[:3] + b"\0" + ENERGY[3:], 7, "00", "68"),
    ("doubled_start", ENERGY[:8] + b"\x68" + ENERGY[8:], 8, "68", "91"),
    ("seven_bits", bytes(byte & 0x7F for byte in b"\xfe\xfe" + HIGH), 20, "18", "98"),
    ("seven_bits", bytes(byte & 0x7F for byte in b"\xfe\xfe" + HIGH[:-4]), 18, "-", "20 bytes"),
    ("no_start", b"\x00\xff\x13\x99", 0, "00", "68"),
    ("address_not_bcd", summed(b"\x68\x6b" + BODY[2:]), 1, "6B 01 00 00 00 00", "BCD"),
    ("address_damaged", bytes.fromhex("68 61 01 00 00 00 00 60 91 08 33 33 34 33 59 33 33 33 8A 16"), 7, "60", "68"),
]


@pytest.mark.parametrize(("cause", "raw", "at", "found", "expected"), BROKEN, ids=[case[0] for case in BROKEN])
def test_what_broke_a_frame_is_named_with_its_place(cause: str, raw: bytes, at: int, found: str, expected: str) -> None:
    for noise in (b"", b"\x00\x55"):
        if cause == "no_start" and noise:
            continue
        error = diagnose(noise + raw)
        assert error.cause == f"cause.dlt645.{cause}"
        assert (error.at, error.found, error.expected) == (len(noise) + at, found, expected)
        for language in ("zh", "en"):
            told: Any = explain((noise + raw).hex(), "dlt645", language)
            assert told["error"]["cause"] == messages.text(error.cause, language)


def test_an_echo_before_a_broken_answer_does_not_pass_for_an_answer() -> None:
    echo = dlt645.read_request("000000000161", "00010000")
    told: Any = explain((echo + ENERGY[:-3]).hex())
    assert told["ok"] is False and "behind a request" in told["error"]["message"]
    assert told["error"]["byte"] == len(echo) + len(ENERGY) - 3
    assert explain((echo + ENERGY).hex())["ok"] is True
    assert explain(echo.hex())["ok"] is True


def test_a_frame_that_survives_the_loss_of_its_top_bits_is_told_with_a_doubt() -> None:
    told: Any = explain(bytes(byte & 0x7F for byte in b"\xfe\xfe" + ENERGY[:-2] + b"\x0a\x16").hex())
    assert told["ok"] is True and "7 data bits" in told["hint"] and told["noise"] == "7E 7E"


def test_a_doubled_first_start_is_noise_before_a_good_frame() -> None:
    told: Any = explain((b"\x68" + ENERGY).hex())
    assert told["ok"] is True and told["noise"] == "68"


@given(st.binary(max_size=80))
def test_whatever_is_wrong_has_a_place_and_a_reason(raw: bytes) -> None:
    try:
        explain_bytes(raw)
    except Damaged as error:
        assert error.at is None or 0 <= error.at <= len(raw) + 7
        assert str(error)


@given(st.data())
def test_any_one_damaged_byte_is_explained(data: st.DataObject) -> None:
    raw = bytearray(ENERGY)
    at, byte = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 255))
    if raw[at] == byte:
        return
    raw[at] = byte
    with pytest.raises(ProtocolError) as caught:
        explain_bytes(bytes(raw))
    assert caught.value.cause is not None and caught.value.at is not None


# ---- load records ----


def recorded(record: Record) -> bytes:
    """A record as annex B lays it out."""
    body = record.time + b"".join(part + b"\xaa" for part in record.classes)
    head = (b"\xa0\xa0" if record.good else b"\xe0\xe0") + bytes([len(body)])
    return head + body + bytes([sum(head + body) & 0xFF, 0xE5])


digits = st.integers(0, 99).map(lambda number: bytes.fromhex(f"{number:02d}")[0])


def packed(size: int) -> st.SearchStrategy[bytes]:
    return st.lists(digits, min_size=size, max_size=size).map(bytes)


WIDTHS = [sum(form.width for form in forms) for forms in CLASSES]
load_records = st.builds(
    Record, packed(5), st.tuples(*(st.just(b"") | packed(width) for width in WIDTHS)), st.booleans()
)


def test_the_classes_are_as_wide_as_annex_b_says() -> None:
    assert WIDTHS == [17, 24, 8, 16, 16, 6]


@given(st.lists(load_records, max_size=4))
def test_load_records_are_read_as_they_were_written(held: list[Record]) -> None:
    assert list(records("06000000", b"".join(map(recorded, held)))) == held


@given(st.integers(1, 6), st.data())
def test_one_class_alone_may_come_without_the_separators_in_front(kind: int, data: st.DataObject) -> None:
    time, part = data.draw(packed(5)), data.draw(packed(WIDTHS[kind - 1]))
    body = time + part + b"\xaa"
    head = b"\xa0\xa0" + bytes([len(body)])
    raw = head + body + bytes([sum(head + body) & 0xFF, 0xE5])
    (record,) = records(f"060{kind}0000", raw)
    assert record.classes[kind - 1] == part and sum(map(len, record.classes)) == len(part)


@given(st.binary(max_size=60) | load_records.map(recorded), st.sampled_from(["06000000", "06040002"]))
def test_any_bytes_are_load_records_or_impossible(raw: bytes, identifier: str) -> None:
    try:
        for number, record in enumerate(records(identifier, raw), 1):
            record.shown(number)
    except Impossible:
        return


@given(load_records, st.data())
def test_no_flipped_bit_of_a_load_record_is_taken(record: Record, data: st.DataObject) -> None:
    raw = bytearray(recorded(record))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Impossible):
        list(records("06000000", bytes(raw)))


def test_a_load_record_is_told_field_by_field() -> None:
    classes = (
        bytes.fromhex("2023 2123 2223 005001 005101 005201 0050"),
        b"",
        b"",
        bytes.fromhex("26000000" * 4),
        b"",
        b"",
    )
    raw = recorded(Record(bytes.fromhex("4513251126"), classes))
    told: Any = explain_bytes(reply("06000002", raw.hex()))
    shown = {one["name"]: one["value"] for one in told["values"]}
    assert shown["load_record_1_time"] == "2026-11-25T13:45"
    assert shown["load_record_1_voltage_b"] == "232.1"
    assert shown["load_record_1_frequency"] == "50.00"
    assert shown["load_record_1_forward_active_energy"] == "0.26"
    assert "load_record_1_power_factor" not in shown
    bad: Any = explain_bytes(reply("06000002", recorded(Record(bytes.fromhex("4513251126"), classes, False)).hex()))
    assert {one["value"] for one in bad["values"]} == {None}


@pytest.mark.parametrize(
    ("identifier", "count", "since"),
    [("06000001", 1, False), ("06000000", 1, True), ("06000000", 10, False), ("00010000", 1, False)],
)
def test_load_requests_that_cannot_be_are_not_built(identifier: str, count: int, since: bool) -> None:
    from datetime import datetime

    with pytest.raises(Damaged, match="load records"):
        load_request(METER, identifier, count, datetime(2026, 11, 25) if since else None)


def test_a_load_request_from_a_time_on() -> None:
    from datetime import datetime

    raw = load_request(METER, "06010001", 3, datetime(2026, 11, 25, 13, 45))
    assert dlt645.decode(raw).data == bytes.fromhex("01000106 03 4513251126")
    told: Any = explain_bytes(raw)
    assert (told["records"], told["since"]) == (3, "2026-11-25T13:45")
    answer = reply("06010001", "")
    assert dlt645.payload(raw, answer) == b""
