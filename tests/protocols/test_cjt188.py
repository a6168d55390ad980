"""CJ/T 188: captured frames both ways, and a refusal for every rule the reference names."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols import cjt188
from protocols.cjt188 import Frame, Order, Parser
from protocols.errors import Damaged, Mismatched, ProtocolError, Refused

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "cjt188.json").read_text("utf-8"))
METER = "78330011223344"
ASK = cjt188.read_request(0x10, METER)
COUNTED = "007766552C007766552C3101221105152021" + "84"

bytes_ = st.integers(0, 255)
addresses = st.from_regex(r"\A[0-9A-F]{14}\Z")
frames = st.builds(Frame, bytes_, addresses, bytes_, st.binary(max_size=255))
orders = st.sampled_from(["901F", "1F90"])


def named(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def reply(data: str = "901F00" + COUNTED, address: str = METER, control: int = 0x81, meter_type: int = 0x10) -> bytes:
    return Frame(meter_type, address, control, bytes.fromhex(data)).to_bytes()


def built(part: dict[str, str]) -> Frame:
    return Frame(int(part["type"], 16), part["address"], int(part["control"], 16), bytes.fromhex(part["data"]))


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_captured_bytes_give_the_known_frames(vector: dict[str, Any]) -> None:
    found = [frame for frame, _ in Parser().feed(bytes.fromhex(vector["hex"]))]
    assert found == [built(part) for part in vector["frames"]]
    assert [cjt188.identifier_of(frame) for frame in found] == [part["identifier"] for part in vector["frames"]]


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_known_frames_give_the_captured_bytes(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"])
    for part in vector["frames"]:
        assert built(part).to_bytes() in raw


@pytest.mark.parametrize("name", ["read_request_copied_everywhere", "read_request_high_byte_first", "heat_request_jy"])
def test_a_request_is_put_as_others_put_it(name: str) -> None:
    (vector,) = [vector for vector in VECTORS if vector["name"] == name]
    (part,) = vector["frames"]
    frame = built(part)
    order: Order = "901F" if frame.data[0] == 0x90 else "1F90"
    own = cjt188.read_request(frame.meter_type, frame.address, order, frame.data[2])
    assert own.lstrip(b"\xfe") == bytes.fromhex(vector["hex"]).lstrip(b"\xfe")


def test_the_checksum_copied_all_over_the_web_is_wrong_and_ours_is_right() -> None:
    copied = {named(v): bytes.fromhex(v["hex"]) for v in VECTORS if "copied_everywhere_with" in named(v)}
    wrong = copied["read_reply_copied_everywhere_with_its_wrong_checksum"]
    with pytest.raises(Damaged, match="checksum 08, expected 13"):
        cjt188.decode(wrong)
    right = copied["read_reply_copied_everywhere_with_the_right_checksum"]
    assert cjt188.decode(right) == cjt188.decode(wrong[:-2] + b"\x13\x16")


@given(frames, st.integers(0, 13))
def test_decode_undoes_encode_behind_any_number_of_preamble_bytes(frame: Frame, preamble: int) -> None:
    assert cjt188.decode(b"\xfe" * preamble + frame.to_bytes()) == frame


@given(st.binary(max_size=64))
@example(b"\x68" * 13)
@example(b"\xfe" * 20)
def test_any_bytes_decode_or_raise_one_of_our_errors(raw: bytes) -> None:
    try:
        frame = cjt188.decode(raw)
    except ProtocolError:
        return
    assert raw.endswith(frame.to_bytes())


@given(frames, st.data())
def test_no_single_flipped_bit_is_accepted(frame: Frame, data: st.DataObject) -> None:
    raw = bytearray(frame.to_bytes())
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged):
        cjt188.decode(bytes(raw))


@given(st.lists(st.one_of(frames.map(Frame.to_bytes), st.binary(max_size=20), st.just(b"\x68"))), st.data())
def test_the_pieces_of_a_stream_do_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    parser = Parser()
    assert [found for piece in pieces for found in parser.feed(piece)] == Parser().feed(stream)


@given(
    st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([b"\x68", b"\x68\x10\0\0\0\0\0\0\0\x81\xff", b"\x16"]))),
    frames,
)
def test_a_frame_behind_garbage_is_found(noise: list[bytes], frame: Frame) -> None:
    assert (frame, frame.to_bytes()) in Parser().feed(b"".join(noise) + frame.to_bytes())


def test_a_fake_header_of_any_length_does_not_hold_a_frame_back() -> None:
    frame = cjt188.decode(reply())
    for length in range(256):
        fake = bytes.fromhex("68 10 01 00 00 00 00 00 00 81") + bytes([length])
        assert frame in [found for found, _ in Parser().feed(fake + frame.to_bytes())], length


def test_a_parser_keeps_no_more_than_one_frame_of_noise() -> None:
    parser = Parser()
    for _ in range(1000):
        parser.feed(b"\x68\xff\x00" * 40)
    assert len(parser._stream._buffer) <= 268


@pytest.mark.parametrize(
    ("meter_type", "address", "control", "data", "said"),
    [
        (0x10, "16", 0x01, b"", "14 hex digits"),
        (0x10, "7833001122334g", 0x01, b"", "14 hex digits"),
        (0x10, "7833001122334a", 0x01, b"", "14 hex digits"),
        (256, METER, 0x01, b"", "meter type 256"),
        (0x10, METER, -1, b"", "control -1"),
        (0x10, METER, 0x81, bytes(256), "at most 255"),
    ],
)
def test_a_frame_that_cannot_be_is_not_built(
    meter_type: int, address: str, control: int, data: bytes, said: str
) -> None:
    with pytest.raises(Damaged, match=said):
        Frame(meter_type, address, control, data)


@pytest.mark.parametrize(
    ("at", "byte", "said"),
    [
        (0, 0x67, "first byte 67, expected 68"),
        (10, 0x15, "35 bytes, expected 34 for L=15"),
        (-2, 0x08, "checksum 08, expected 13"),
        (-1, 0x17, "end byte 17, expected 16"),
    ],
)
def test_a_broken_frame_is_refused_with_the_check_that_failed(at: int, byte: int, said: str) -> None:
    raw = bytearray(reply("1F9000" + COUNTED))
    raw[at] = byte
    with pytest.raises(Damaged, match=said):
        cjt188.decode(bytes(raw))


@given(bytes_, addresses, orders, bytes_)
def test_a_request_is_parsed_back_and_can_only_read(meter_type: int, address: str, order: Order, serial: int) -> None:
    read = cjt188.read_request(meter_type, address, order, serial)
    assert cjt188.parse_request(read) == cjt188.Asked(meter_type, address, 0x01, "901F")
    number = cjt188.address_request(meter_type, address, order, serial)
    assert cjt188.parse_request(number) == cjt188.Asked(meter_type, address, 0x03, "810A")
    assert (cjt188.decode(read).control, cjt188.decode(number).control) == (0x01, 0x03)


@pytest.mark.parametrize("data", ["901F00", "A01700", "17A000", "A01800"])
def test_what_writes_sets_or_switches_is_no_read_request(data: str) -> None:
    for control in sorted(set(range(256)) - {0x01}):
        with pytest.raises(Mismatched, match="expected the read of 901F"):
            cjt188.parse_request(reply(data, control=control))


@pytest.mark.parametrize("data", ["A01700", "17A000", "A01055", "901F", "901F0055", "", "8102" + "00"])
def test_a_read_of_something_else_is_no_request_of_ours(data: str) -> None:
    with pytest.raises(Mismatched, match="expected the read of 901F"):
        cjt188.parse_request(reply(data, control=0x01))


@pytest.mark.parametrize("asked", ["901F", "1F90"])
@pytest.mark.parametrize("answered", ["901F", "1F90"])
@pytest.mark.parametrize("serial", ["00", "AA", "7F"])
def test_the_answer_is_taken_in_either_order_and_with_any_serial_number(
    asked: Order, answered: str, serial: str
) -> None:
    request = cjt188.read_request(0x10, METER, asked, 0)
    assert cjt188.payload(request, reply(answered + serial + COUNTED)) == bytes.fromhex(COUNTED)


def test_wildcards_are_answered_by_a_real_address_and_a_type_by_one_of_its_kind() -> None:
    for request in (
        cjt188.read_request(0xAA, METER),
        cjt188.read_request(0x10, "AA" * 7),
        cjt188.read_request(0x10, "AAAA0011223344"),
    ):
        assert cjt188.payload(request, reply()) == bytes.fromhex(COUNTED)
    heat = cjt188.read_request(0x20, METER)
    assert cjt188.payload(heat, reply(meter_type=0x25)) == bytes.fromhex(COUNTED)


def test_an_address_is_asked_for_and_told_by_the_frame_around_it() -> None:
    request = cjt188.address_request()
    assert request.hex(" ").upper() == "FE FE FE FE 68 AA AA AA AA AA AA AA AA 03 03 81 0A 00 49 16"
    answer = bytes.fromhex("68 10 01 00 00 05 08 00 00 83 03 81 0A 00 97 16")
    assert cjt188.payload(request, answer) == b""
    assert cjt188.decode(answer).address == "00000805000001"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(address="78330011223345"), "meter 78330011223345 .*expected meter 78330011223344"),
        (reply(meter_type=0x20), "type 20, expected a meter of type 1x"),
        (reply("810A00" + COUNTED), "identifier 810A, expected 901F"),
        (reply(control=0x01), "control 01 .*expected a reply to 01"),
        (reply(control=0x84), "control 84 .*expected a reply to 01"),
        (reply(control=0x83), "control 83 .*expected a reply to 01"),
        (reply(control=0xA1), "more frames follow"),
        (reply("90"), "identifier missing"),
        (reply("901F"), "expected 901F and a serial number"),
    ],
)
def test_what_does_not_answer_is_mismatched(answer: bytes, said: str) -> None:
    with pytest.raises(Mismatched, match=said):
        cjt188.payload(ASK, answer)


def test_a_refusal_tells_its_status_word() -> None:
    with pytest.raises(Refused, match=r"control C1.*status 04 80") as refused:
        cjt188.payload(ASK, reply("000480", control=0xC1))
    assert refused.value.reason == 0x8004
    for data in ("", "00"):
        with pytest.raises(Refused, match="without a status") as refused:
            cjt188.payload(ASK, reply(data, control=0xC1))
        assert refused.value.reason == 0
