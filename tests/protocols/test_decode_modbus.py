"""What decode says of Modbus: identification; of a broken frame the byte, what was expected and the likely cause."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import messages
from protocols.decode import explain
from protocols.modbus import Request, crc, frame_rtu, frame_tcp

REPLY = frame_rtu(1, bytes.fromhex("03 04 00 01 E2 40"))
TCP = frame_tcp(7, 1, bytes.fromhex("03 04 00 01 E2 40"))


def changed(raw: bytes, at: int, byte: int) -> bytes:
    return raw[:at] + bytes([byte]) + raw[at + 1 :]


def lost_top_bits(raw: bytes) -> bytes:
    return bytes(byte & 0x7F for byte in raw)


@pytest.mark.parametrize(
    ("raw", "protocol", "byte", "found", "expected", "cause"),
    [
        (REPLY[:-2] + REPLY[:-3:-1], "modbus-rtu", 7, "A3 E2", "E2 A3", "crc_swapped"),
        (REPLY[:-1], "modbus-rtu", 8, "-", "9 bytes", "truncated"),
        (REPLY[:5], "modbus-rtu", 5, "-", "9 bytes", "truncated"),
        (REPLY[:2], "modbus-rtu", 2, "-", "4 bytes", "truncated"),
        (REPLY + b"\0", "modbus-rtu", 9, "00", "-", "extra"),
        (REPLY + b"\x55\xaa", "modbus-rtu", 9, "55 AA", "-", "extra"),
        (Request(1, 3, 0, 2).rtu() + REPLY, "modbus-rtu", 8, REPLY.hex(" ").upper(), "-", "extra"),
        (b"\0\xff" + REPLY, "modbus-rtu", 0, "00 FF", "-", "before"),
        (changed(REPLY, 4, 0x03), "modbus-rtu", 4, "03", "01", "one_bit"),
        (
            changed(REPLY, 8, REPLY[8] ^ 0x80),
            "modbus-rtu",
            8,
            f"{REPLY[8] ^ 0x80:02X}",
            f"{REPLY[8]:02X}",
            "one_bit",
        ),
        (changed(changed(REPLY, 3, 0x31), 4, 0x55), "modbus-rtu", 7, "E2 A3", None, "noise"),
        (TCP, "modbus-rtu", 2, "00 00", "-", "tcp_in_rtu"),
        (b":010300000002FA\r\n", "modbus-rtu", 0, "3A", "30", "ascii"),
        (lost_top_bits(REPLY), "modbus-rtu", 7, "62 23", None, "seven_bits"),
        (REPLY, "modbus-tcp", 0, "01 03", "-", "rtu_in_tcp"),
        (TCP[:-2], "modbus-tcp", 11, "-", "13 bytes", "truncated"),
        (TCP[:5], "modbus-tcp", 5, "-", "8 bytes", "truncated"),
        (TCP + b"\1", "modbus-tcp", 13, "01", "-", "extra"),
        (changed(TCP, 3, 1), "modbus-tcp", 2, "00 01", "00 00", "protocol_id"),
        (changed(TCP, 4, 9), "modbus-tcp", 4, "09 07", "00 07", "length"),
        (frame_rtu(1, bytes.fromhex("03 06 00 01 E2 40")), "modbus-rtu", 2, "06", "04", "byte_count"),
        (frame_tcp(1, 1, bytes.fromhex("03 06 00 01 E2 40")), "modbus-tcp", 8, "06", "04", "byte_count"),
    ],
)
def test_what_is_wrong_with_a_frame_is_told(
    raw: bytes, protocol: str, byte: int, found: str, expected: str | None, cause: str
) -> None:
    told: Any = explain(raw.hex(), protocol)
    assert told["ok"] is False
    error = told["error"]
    assert error["cause"] == messages.text(f"cause.modbus.{cause}", "en")
    assert (error["byte"], error["found"]) == (byte, found)
    assert expected is None or error["expected"] == expected
    chinese: Any = explain(raw.hex(), protocol, "zh")
    assert chinese["error"]["cause"] == messages.text(f"cause.modbus.{cause}", "zh")


@settings(deadline=None)
@given(st.integers(1, 247), st.binary(min_size=2, max_size=40).filter(lambda data: len(data) % 2 == 0), st.data())
def test_a_single_flipped_bit_is_found(unit: int, data: bytes, draw: st.DataObject) -> None:
    """Wherever it was, the CRC tells which one, except where a part of the frame is a sound frame itself."""
    raw = frame_rtu(unit, bytes([3, len(data)]) + data)
    bit = draw.draw(st.integers(0, 8 * len(raw) - 1))
    broken = bytearray(raw)
    broken[bit // 8] ^= 1 << bit % 8
    error: Any = explain(bytes(broken).hex(), "modbus-rtu")["error"]
    causes = {messages.text(f"cause.modbus.{name}", "en") for name in ("one_bit", "truncated", "extra", "before")}
    assert error["cause"] in causes
    if error["cause"] == messages.text("cause.modbus.one_bit", "en"):
        assert (error["byte"], error["expected"]) == (bit // 8, f"{raw[bit // 8]:02X}")


@settings(deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["modbus-rtu", "modbus-tcp", "mbus"]))
def test_any_bytes_are_explained(raw: bytes, protocol: str) -> None:
    told: Any = explain(raw.hex() or "00", protocol)
    assert told["ok"] or told["error"]["message"]


def test_identification_is_told() -> None:
    objects = b"\x00\x05Acrel\x01\x06ADL400"
    for asked in (frame_rtu(1, bytes.fromhex("2B 0E 01 00")), frame_tcp(1, 1, bytes.fromhex("2B 0E 01 00"))):
        told: Any = explain(asked.hex())
        assert (told["ok"], told["identifier"], told["values"]) == (True, "2B:0E:01", [])
    told = explain(frame_rtu(1, bytes.fromhex("2B 0E 02 82 FF 02 02") + objects).hex())
    assert [(value["name"], value["value"]) for value in told["values"]] == [
        ("vendor", "Acrel"),
        ("product_code", "ADL400"),
    ]
    assert told["note"] == "more follows from object 02"
    assert crc(frame_rtu(1, objects)) == 0
