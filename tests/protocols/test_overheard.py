"""Frames that nobody expected: whoever speaks, it is told whether he asks or answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import cjt188, dlt645, modbus
from protocols.overheard import overheard

ASKS = {
    "read": modbus.Request(3, 3, 100, 10).rtu(),
    "read coils": modbus.Request(3, 1, 0x0400, 10).rtu(),
    "write one": modbus.frame_rtu(3, bytes.fromhex("0600010003")),
    "write many": modbus.frame_rtu(3, bytes.fromhex("100001000204000A0102")),
    "645": dlt645.read_request("123456789012", "00010000").lstrip(b"\xfe"),
    "188": cjt188.read_request(0x10, "00112233445566").lstrip(b"\xfe"),
}
ANSWERS = {
    "read": modbus.frame_rtu(3, bytes.fromhex("030400010002")),
    "coils": modbus.frame_rtu(3, bytes.fromhex("0103010203")),
    "refusal": modbus.frame_rtu(3, bytes.fromhex("8302")),
    "645": dlt645.Frame("123456789012", 0x91, bytes.fromhex("0000010078563412")).to_bytes(),
}


@pytest.mark.parametrize(
    ("raw", "asks"), [(raw, True) for raw in ASKS.values()] + [(raw, False) for raw in ANSWERS.values()]
)
@pytest.mark.parametrize("before", [b"", b"\x00", b"\xfe\xfe", b"\x68\x68"])
def test_a_frame_is_found_behind_noise_and_it_is_told_whether_it_asks(raw, asks, before):
    (found,) = overheard(before + raw + b"\xff")
    assert (found.raw, found.asks) == (raw, asks)


def test_frames_come_in_their_order_with_their_addresses():
    found = overheard(ASKS["read"] + ANSWERS["read"] + ASKS["645"] + ANSWERS["645"])
    assert [(frame.who, frame.asks) for frame in found] == [
        ("3", True),
        ("3", False),
        ("123456789012", True),
        ("123456789012", False),
    ]


@given(st.binary(max_size=300))
def test_any_bytes_are_taken(data):
    for frame in overheard(data):
        assert frame.raw in data
