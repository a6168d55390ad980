"""Modbus: published exchanges both ways, and a refusal for everything a reply can have wrong."""

import json
from pathlib import Path
from typing import Any

import fastcrc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import modbus
from protocols.errors import Damaged, Mismatched, ProtocolError, Refused
from protocols.modbus import Request, frame_rtu, frame_tcp

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "modbus.json").read_text("utf-8"))


@st.composite
def requests(draw: st.DrawFn) -> Request:
    function = draw(st.integers(1, 4))
    count = draw(st.integers(1, modbus.MOST[function]))
    return Request(draw(st.integers(1, 255)), function, draw(st.integers(0, 0x10000 - count)), count)


def sourced(vector: dict[str, Any]) -> str:
    return str(vector["source"])


@pytest.mark.parametrize(("data", "expected", "source"), VECTORS["crc"])
def test_published_checksums(data: str, expected: str, source: str) -> None:
    assert f"{modbus.crc(bytes.fromhex(data)):04X}" == expected, source


@given(st.binary(max_size=300))
def test_the_checksum_is_that_of_another_implementation(data: bytes) -> None:
    assert modbus.crc(data) == fastcrc.crc16.modbus(data)


def check(vector: dict[str, Any], request: bytes, reply: bytes, payload: Any) -> None:
    if "refused" in vector:
        with pytest.raises(Refused) as refused:
            payload(request, reply)
        assert refused.value.reason == vector["refused"]
    else:
        assert payload(request, reply) == bytes.fromhex(vector["data"])


@pytest.mark.parametrize("vector", VECTORS["pdu"], ids=sourced)
def test_the_exchanges_of_the_application_protocol(vector: dict[str, Any]) -> None:
    asked = Request(17, *vector["asked"])
    assert asked.pdu == bytes.fromhex(vector["request"])
    reply = bytes.fromhex(vector["reply"])
    check(vector, asked.rtu(), frame_rtu(17, reply), modbus.payload_rtu)
    check(vector, asked.tcp(), frame_tcp(asked.transaction, 17, reply), modbus.payload_tcp)


@pytest.mark.parametrize("vector", VECTORS["rtu"], ids=sourced)
def test_published_serial_exchanges(vector: dict[str, Any]) -> None:
    request, reply = bytes.fromhex(vector["request"]), bytes.fromhex(vector["reply"])
    asked = Request(*vector["asked"])
    assert asked.rtu() == request
    assert modbus.parse_rtu(request) == asked
    assert "refused" in vector or modbus.reply_length_rtu(asked) == len(reply)
    check(vector, request, reply, modbus.payload_rtu)


@pytest.mark.parametrize("vector", VECTORS["tcp"], ids=sourced)
def test_published_tcp_exchanges(vector: dict[str, Any]) -> None:
    request, reply = bytes.fromhex(vector["request"]), bytes.fromhex(vector["reply"])
    asked = Request(*vector["asked"])
    assert frame_tcp(int.from_bytes(request[:2]), asked.unit, asked.pdu) == request
    assert modbus.parse_tcp(request) == asked
    assert "refused" in vector or modbus.reply_length_tcp(asked) == len(reply)
    check(vector, request, reply, modbus.payload_tcp)


@given(requests())
def test_a_request_is_parsed_back_and_equal_questions_are_equal_bytes(asked: Request) -> None:
    assert modbus.parse_rtu(asked.rtu()) == asked
    assert modbus.parse_tcp(asked.tcp()) == asked
    assert asked.tcp() == modbus.parse_tcp(asked.tcp()).tcp()


@given(requests(), st.data())
def test_a_reply_is_its_data(asked: Request, data: st.DataObject) -> None:
    content = data.draw(st.binary(min_size=asked.width, max_size=asked.width))
    pdu = bytes([asked.function, asked.width]) + content
    rtu, tcp = frame_rtu(asked.unit, pdu), frame_tcp(asked.transaction, asked.unit, pdu)
    assert (len(rtu), len(tcp)) == (modbus.reply_length_rtu(asked), modbus.reply_length_tcp(asked))
    assert modbus.payload_rtu(asked.rtu(), rtu) == content
    assert modbus.payload_tcp(asked.tcp(), tcp) == content


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_raise_one_of_our_errors(raw: bytes) -> None:
    asked = Request(1, 3, 0, 1)
    attempts = (
        lambda: modbus.parse_rtu(raw),
        lambda: modbus.parse_tcp(raw),
        lambda: modbus.payload_rtu(asked.rtu(), raw),
        lambda: modbus.payload_tcp(asked.tcp(), raw),
        lambda: modbus.payload_rtu(asked.rtu(), frame_rtu(1, raw[:200] or b"\3")),
        lambda: modbus.payload_tcp(asked.tcp(), frame_tcp(asked.transaction, 1, raw[:200] or b"\3")),
    )
    for attempt in attempts:
        try:
            attempt()
        except ProtocolError:
            continue


@given(requests(), st.data())
def test_no_single_flipped_bit_of_a_serial_frame_is_accepted(asked: Request, data: st.DataObject) -> None:
    reply = frame_rtu(asked.unit, bytes([asked.function, asked.width]) + bytes(asked.width))
    raw = bytearray(data.draw(st.sampled_from([asked.rtu(), reply])))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged, match="CRC"):
        modbus.split_rtu(bytes(raw))


@given(requests(), st.data())
def test_no_flipped_bit_in_the_head_of_a_tcp_reply_is_accepted(asked: Request, data: st.DataObject) -> None:
    raw = bytearray(frame_tcp(asked.transaction, asked.unit, bytes([asked.function, asked.width]) + bytes(asked.width)))
    bit = data.draw(st.integers(0, 9 * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises((Damaged, Mismatched)):
        modbus.payload_tcp(asked.tcp(), bytes(raw))


@pytest.mark.parametrize(
    ("unit", "function", "address", "count", "said"),
    [
        (256, 3, 0, 1, "unit 256"),
        (-1, 3, 0, 1, "unit -1"),
        (1, 5, 0, 1, "function 05, expected a read"),
        (1, 6, 0, 1, "function 06, expected a read"),
        (1, 15, 0, 1, "function 0F, expected a read"),
        (1, 16, 0, 1, "function 10, expected a read"),
        (1, 0x83, 0, 1, "function 83"),
        (1, 3, 0, 0, "count 0, expected 1 to 125"),
        (1, 4, 0, 126, "count 126, expected 1 to 125"),
        (1, 1, 0, 2001, "count 2001, expected 1 to 2000"),
        (1, 3, 65535, 2, "address 65535 with count 2"),
        (1, 3, -1, 2, "address -1"),
    ],
)
def test_what_may_not_be_asked_cannot_be_built(unit: int, function: int, address: int, count: int, said: str) -> None:
    with pytest.raises(Damaged, match=said):
        Request(unit, function, address, count)


def test_a_broadcast_is_never_sent() -> None:
    with pytest.raises(Damaged, match="unit 0"):
        Request(0, 3, 0, 1).rtu()


@pytest.mark.parametrize(
    ("unit", "pdu", "error", "said"),
    [
        (2, "03 02 00 07", Mismatched, "unit 2, expected 1"),
        (1, "04 02 00 07", Mismatched, "function 04, expected 03"),
        (1, "84 02", Mismatched, "function 84, expected 03"),
        (1, "03 04 00 07 00 08", Mismatched, "4 bytes of data, expected 2"),
        (1, "03 03 00 07", Damaged, "byte count does not fit"),
        (1, "03", Damaged, "byte count does not fit"),
        (1, "83", Damaged, "exception of 1 bytes"),
        (1, "83 02 00", Damaged, "exception of 3 bytes"),
        (1, "83 02", Refused, "exception 02: illegal data address"),
        (1, "83 0B", Refused, "exception 0B: gateway target device failed to respond"),
        (1, "83 63", Refused, "exception 63: unknown code"),
    ],
)
def test_a_reply_that_is_not_the_answer(unit: int, pdu: str, error: type[ProtocolError], said: str) -> None:
    asked, content = Request(1, 3, 0, 1), bytes.fromhex(pdu)
    with pytest.raises(error, match=said):
        modbus.payload_rtu(asked.rtu(), frame_rtu(unit, content))
    with pytest.raises(error, match=said):
        modbus.payload_tcp(asked.tcp(), frame_tcp(asked.transaction, unit, content))


def test_a_tcp_reply_to_another_transaction_is_mismatched() -> None:
    asked = Request(1, 3, 0, 1)
    with pytest.raises(Mismatched, match="transaction 0007"):
        modbus.payload_tcp(asked.tcp(), frame_tcp(7, 1, bytes.fromhex("03 02 00 07")))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("00 01 00 01 00 05 01 03 02 00 07", "protocol id 00 01, expected 00 00"),
        ("00 01 00 00 00 06 01 03 02 00 07", "length field 6, expected 5 for 11 bytes"),
        ("00 01 00 00 00 01 01", "7 bytes, expected 8 to 260"),
    ],
)
def test_a_tcp_head_that_is_wrong(raw: str, said: str) -> None:
    with pytest.raises(Damaged, match=said):
        modbus.split_tcp(bytes.fromhex(raw))


def test_a_wrong_checksum_says_what_came_and_what_was_expected() -> None:
    with pytest.raises(Damaged, match="CRC C4 0C, expected C4 0B"):
        modbus.split_rtu(bytes.fromhex("01 03 00 00 00 02 C4 0C"))
