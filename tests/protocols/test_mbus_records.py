"""M-Bus records: telegrams of real meters, as another decoder reads them; every coding; and no crash on any bytes."""

import gc
import json
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meterbus import TelegramLong
from meterbus.exceptions import MBusFrameDecodeError

from protocols import mbus
from protocols.errors import Impossible, ProtocolError, Refused
from protocols.mbus import Frame
from protocols.mbus_records import SHAPES_BYTES, Telegram, telegram

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "mbus.json").read_text("utf-8"))
HEADER = bytes.fromhex("78563412 2423 28 04 2A 00 0000")
REPLIES = [bytes.fromhex(vector["reply"]) for vector in VECTORS["frames"].values()]


def told(records: str) -> Telegram:
    return telegram(Frame(8, 1, 0x72, HEADER + bytes.fromhex(records)))


@pytest.mark.parametrize("vector", VECTORS["telegrams"], ids=lambda vector: vector["identification"])
def test_telegrams_say_what_another_decoder_reads(vector: dict[str, Any]) -> None:
    held = telegram(mbus.decode(bytes.fromhex(vector["reply"])))
    assert held.identification == vector["identification"] and held.manufacturer == vector["manufacturer"]
    assert (held.version, held.medium, f"{held.status:02X}") == (vector["version"], vector["medium"], vector["status"])
    assert held.more == vector.get("more", False) and held.makers.hex().upper() == vector["makers"]
    found = {record.key: record for record in held.records}
    for key, (name, unit, value) in vector["records"].items():
        record = found[key]
        assert (record.name, record.unit) == (name, unit), vector["source"]
        if record.numeric:
            assert record.number() == Decimal(value)
        else:
            assert record.text() == value


@pytest.mark.parametrize(
    ("record", "name", "unit", "value"),
    [
        ("0106 FE", "energy", "Wh", "-2000"),
        ("0206 3930", "energy", "Wh", "12345000"),
        ("0303 FFFFFF", "energy", "Wh", "-1"),
        ("0400 40E20100", "energy", "Wh", "123.456"),
        ("0613 010000000001", "volume", "m3", "1099511627.777"),
        ("0713 0100000000000001", "volume", "m3", "72057594037927.937"),
        ("055B 00007A42", "flow_temperature", "°C", "62.5"),
        ("0906 42", "energy", "Wh", "42000"),
        ("0A5A F507", "flow_temperature", "°C", None),
        ("0A5A 05F7", "flow_temperature", "°C", "-70.5"),
        ("0B62 0200F0", "temperature_difference", "K", "-0.2"),
        ("0C0E 45230100", "energy", "J", "12345000000"),
        ("0E07 563412907856", "energy", "Wh", "5678901234560000"),
        ("0CFB08 12000000", "energy", "J", "1200000000"),
        ("0CFB01 12000000", "energy", "Wh", "12000000"),
        ("0C94 76 12000000", "volume", "m3", "0.12"),
        ("0C947D12000000", "volume", "m3", "120.00"),
        ("0C13 EEEEEEEE", "volume", "m3", None),
        ("0C13 FFFFFFFF", "volume", "m3", None),
        ("0406 00000080", "energy", "Wh", None),
        ("055B 0000C07F", "flow_temperature", "°C", None),
        ("0456 01000000", "mass_flow", "kg/h", "1000"),
        ("0441 01000000", "volume_flow", "m3/min", "0.000001"),
        ("027A 0500", "address", "", "5"),
    ],
)
def test_every_coding_is_exact(record: str, name: str, unit: str, value: str | None) -> None:
    (held,) = told(record).records
    assert (held.name, held.unit) == (name, unit)
    number = held.number()
    assert number == (None if value is None else Decimal(value))


def test_numbers_that_floats_would_spoil_are_exact() -> None:
    """Seventeen digits, and a multiplier that no float holds."""
    (held,) = told("0710 FFFFFFFFFFFFFF7F").records
    assert str(held.number()) == "9223372036854.775807"


def test_what_a_record_is_apart_from_its_quantity() -> None:
    held = told("C4 80 40 14 01000000").records[0]
    assert (held.key, held.storage, held.tariff, held.subunit, held.plain) == ("C4804014", 1, 0, 2, True)
    held = told("94 10 BB 6F 00000000").records[0]
    assert (held.key, held.function, held.tariff, held.plain) == ("9410BB6F", "maximum", 1, False)


def test_text_and_dates_are_told() -> None:
    records = told("0DFD0B 05 3132484657 426C 5F1C 046D 1A2F6511 0D7C 03 544952 04 01020304").records
    assert [record.text() for record in records] == ["WFH21", "2010-12-31", "2011-01-05 15:26", "04030201"]


@pytest.mark.parametrize(
    "records", ["04", "0414", "041400", "0414000000", "0C13 123456", "84", "8484", "04FB", "0DFD0B"]
)
def test_a_record_that_is_cut_off_is_impossible(records: str) -> None:
    with pytest.raises(Impossible):
        told("0413 01000000" + records)


def test_what_is_no_telegram_in_records() -> None:
    for information, error, said in ((0x73, Impossible, "fixed data"), (0x78, Impossible, "CI 78")):
        with pytest.raises(error, match=said):
            telegram(Frame(8, 1, information, HEADER))
    with pytest.raises(Refused, match="application too busy") as refused:
        telegram(Frame(8, 1, 0x70, b"\x08"))
    assert refused.value.reason == 8
    with pytest.raises(Impossible, match="encrypted"):
        telegram(Frame(8, 1, 0x72, HEADER[:-1] + b"\x05" + bytes(16)))
    with pytest.raises(Impossible, match="header of 12"):
        telegram(Frame(8, 1, 0x72, HEADER[:-1]))


@settings(deadline=None)
@given(st.sampled_from([0x72, 0x76]), st.binary(max_size=240), st.data())
def test_any_records_are_told_or_impossible(information: int, data: bytes, more: st.DataObject) -> None:
    published = bytearray(more.draw(st.sampled_from(REPLIES))[7:-2])
    for at, byte in more.draw(
        st.dictionaries(st.integers(0, len(published) - 1), st.integers(0, 255), max_size=3)
    ).items():
        published[at] = byte
    for body in (HEADER + data, bytes(published), data):
        try:
            held = telegram(Frame(8, 1, information, body[:252]))
        except ProtocolError:
            continue
        for record in held.records:
            assert record.numeric or isinstance(record.text(), str)
            record.number()


@pytest.mark.parametrize("raw", REPLIES, ids=list(VECTORS["frames"]))
def test_the_numbers_are_those_of_the_library_but_exact(raw: bytes) -> None:
    """A second opinion on the coding: what the library makes of a record with floats is near what is made here."""
    frame = mbus.decode(raw)
    if frame.information != 0x72:
        return
    theirs = [rec for rec in TelegramLong(list(raw)).records if not rec.dib.is_eoud]
    ours = telegram(frame).records
    assert len(theirs) == len(ours)
    compared = 0
    for rec, record in zip(theirs, ours, strict=True):
        if record.numeric and record.name and record.plain and record.name != "text":
            number = record.number()
            assert number is not None and float(number) == pytest.approx(float(rec.value), rel=1e-6, abs=1e-9)
            compared += 1
    assert compared


FRAMES = [frame for raw in REPLIES for frame in mbus.replies(raw)]


def by_the_library(frame: Frame) -> Any:
    """What it cuts out of a frame, record by record; None where it finds no records in it."""
    try:
        held = TelegramLong(list(frame.to_bytes()))
    except (IndexError, MBusFrameDecodeError):
        return None
    records = [rec for rec in held.records if not rec.dib.is_eoud]
    header = held.body.bodyHeader
    return (
        "".join(f"{byte:02X}" for byte in header.id_nr),
        [header.version_field.parts[0], header.measure_medium_field.parts[0]],
        [header.acc_nr_field.parts[0], header.status_field.parts[0]],
        [(bytes(rec.dib.parts[:1]), bytes(rec.dataField.parts)) for rec in records],
        b"".join(bytes(rec.dataField.parts) for rec in held.records if rec.dib.is_manufacturer_specific),
        held.more_records_follow,
    )


@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(st.sampled_from(FRAMES), st.sampled_from([0x72, 0x76]), st.data())
def test_telegrams_like_ones_before_say_what_the_library_cuts_out_of_them(
    frame: Frame, information: int, more: st.DataObject
) -> None:
    """Any bytes of a telegram set to anything: it is read by the shape of those before it, or by its own."""
    for _ in range(4):
        data = bytearray(frame.data)
        for place in more.draw(st.lists(st.integers(0, len(data) - 1), max_size=3)):
            data[place] = more.draw(st.sampled_from([data[place] ^ 1, data[place] ^ 0x80]) | st.integers(0, 255))
        other = Frame(frame.control, frame.address, information, bytes(data))
        try:
            held = telegram(other)
        except ProtocolError:
            continue
        assert by_the_library(other) == (
            held.identification,
            [held.version, held.medium],
            [held.access, held.status],
            [(bytes.fromhex(record.key[:2]), record.data) for record in held.records],
            held.makers,
            held.more,
        )


def test_a_telegram_of_the_same_shape_is_not_taken_apart_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = (told(f"0406 {number:02X}000000 0413 00000000") for number in (1, 2))
    monkeypatch.setattr("protocols.mbus_records.TelegramLong", None)
    assert told("0406 03000000 0413 07000000").records[1].number() == Decimal("0.007")
    assert first.records[0].number() == Decimal(1000)
    with pytest.raises(Impossible, match="not callable"):
        told("0405 03000000 0413 07000000")


def test_shapes_are_remembered_of_so_many_bytes_of_telegrams_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape takes up to 150 times its telegram: eight of each length came to 50 MiB."""
    told = list[Frame]()
    for number in range(400):
        extensions = bytes([0xF0 | number >> place & 1 for place in range(9)] + [0xF0] * (150 + number % 60))
        told.append(Frame(8, 1, 0x72, HEADER + b"\x01\x93" + extensions + b"\x70\x05"))
        assert telegram(told[-1]).records
    telegram.cache_clear()
    monkeypatch.setattr("protocols.mbus_records.TelegramLong", None)
    remembered = 0
    for frame in told:
        with suppress(Impossible):
            remembered += len(frame.data) * len(telegram(frame).records)
    assert 0 < remembered <= SHAPES_BYTES


def test_what_the_library_made_of_a_telegram_is_freed_at_once() -> None:
    """Its cycles waited for a search, which then took 80 ms of the collector's writer at a time."""
    gc.collect()
    gc.disable()
    try:
        assert told("0406 01000000" + "015B05" * 70).records
        assert gc.collect() == 0
    finally:
        gc.enable()
