"""DL/T 645: captured frames both ways, and a refusal for every rule the reference names."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols import dlt645
from protocols.dlt645 import Frame, Parser
from protocols.errors import Damaged, Impossible, Mismatched, ProtocolError, Refused

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "dlt645.json").read_text("utf-8"))
METER = "000000000161"
ASK = dlt645.read_request(METER, "00010000")

addresses = st.builds(
    lambda wild, digits: "AA" * wild + digits[2 * wild :], st.integers(0, 6), st.from_regex(r"\A[0-9]{12}\Z")
)
frames = st.builds(Frame, addresses, st.integers(0, 255), st.binary(max_size=255))


def named(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def reply(data: str, identifier: str = "00010000", address: str = METER, control: int = 0x91) -> bytes:
    return Frame(address, control, bytes.fromhex(identifier)[::-1] + bytes.fromhex(data)).to_bytes()


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_captured_bytes_give_the_known_frames(vector: dict[str, Any]) -> None:
    found = [frame for frame, _ in Parser().feed(bytes.fromhex(vector["hex"]))]
    assert found == [
        Frame(part["address"], int(part["control"], 16), bytes.fromhex(part["data"])) for part in vector["frames"]
    ]


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_known_frames_give_the_captured_bytes(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"])
    for part in vector["frames"]:
        assert Frame(part["address"], int(part["control"], 16), bytes.fromhex(part["data"])).to_bytes() in raw


@given(frames, st.integers(0, 8))
def test_decode_undoes_encode_behind_any_number_of_preamble_bytes(frame: Frame, preamble: int) -> None:
    assert dlt645.decode(b"\xfe" * preamble + frame.to_bytes()) == frame


@given(st.binary(max_size=64))
@example(b"\x68" * 12)
@example(b"\xfe" * 20)
def test_any_bytes_decode_or_raise_one_of_our_errors(raw: bytes) -> None:
    try:
        frame = dlt645.decode(raw)
    except ProtocolError:
        return
    assert raw.endswith(frame.to_bytes())


@given(frames, st.data())
def test_no_single_flipped_bit_is_accepted(frame: Frame, data: st.DataObject) -> None:
    raw = bytearray(frame.to_bytes())
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged):
        dlt645.decode(bytes(raw))


@given(st.lists(st.one_of(frames.map(Frame.to_bytes), st.binary(max_size=20), st.just(b"\x68"))), st.data())
def test_the_pieces_of_a_stream_do_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    parser = Parser()
    assert [found for piece in pieces for found in parser.feed(piece)] == Parser().feed(stream)


@given(
    st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([b"\x68", b"\x68\1\0\0\0\0\0\x68\x91\xff", b"\x16"]))),
    frames,
)
def test_a_frame_behind_garbage_is_found(noise: list[bytes], frame: Frame) -> None:
    assert (frame, frame.to_bytes()) in Parser().feed(b"".join(noise) + frame.to_bytes())


def test_a_fake_header_of_any_length_does_not_hold_a_frame_back() -> None:
    frame = Frame(METER, 0x91, b"\0\0\1\0\x26\0\0\0")
    for length in range(256):
        fake = bytes.fromhex("68 01 00 00 00 00 00 68 91") + bytes([length])
        assert [found for found, _ in Parser().feed(fake + frame.to_bytes())] == [frame], length


def test_a_parser_keeps_no_more_than_one_frame_of_noise() -> None:
    parser = Parser()
    for _ in range(1000):
        parser.feed(b"\x68\xff\x00" * 40)
    assert len(parser._stream._buffer) <= 267


@pytest.mark.parametrize(
    ("address", "control", "data", "said"),
    [
        ("16", 0x11, b"", "12 digits"),
        ("00000000016A", 0x11, b"", "12 digits"),
        ("0000000001AA", 0x11, b"", "12 digits"),
        (METER, 256, b"", "one byte"),
        (METER, 0x91, bytes(256), "at most 255"),
    ],
)
def test_a_frame_that_cannot_be_is_not_built(address: str, control: int, data: bytes, said: str) -> None:
    with pytest.raises(Damaged, match=said):
        Frame(address, control, data)


@pytest.mark.parametrize(
    ("at", "byte", "said"),
    [
        (0, 0x67, "67 and 68 around the address, expected 68 and 68"),
        (7, 0x69, "68 and 69 around the address, expected 68 and 68"),
        (9, 0x07, "20 bytes, expected 19 for L=07"),
        (-2, 0x00, "checksum 00, expected 8A"),
        (-1, 0x17, "end byte 17, expected 16"),
    ],
)
def test_a_broken_frame_is_refused_with_the_check_that_failed(at: int, byte: int, said: str) -> None:
    raw = bytearray.fromhex("68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16")
    raw[at] = byte
    with pytest.raises(Damaged, match=said):
        dlt645.decode(bytes(raw))


def test_an_address_that_is_not_bcd_is_refused_although_the_sum_is_right() -> None:
    body = bytes.fromhex("68 6B 01 00 00 00 00 68 91 00")
    with pytest.raises(Damaged, match="00000000016B"):
        dlt645.decode(body + bytes([sum(body) & 0xFF, 0x16]))


def test_the_offset_is_modulo_256() -> None:
    every = bytes(range(255))
    raw = Frame(METER, 0x91, every).to_bytes()
    assert raw[10:-2] == bytes((byte + 0x33) % 256 for byte in every)
    assert dlt645.decode(raw).data == every


def test_a_read_request_is_what_a_meter_expects() -> None:
    assert ASK.hex(" ").upper() == "FE FE FE FE 68 61 01 00 00 00 00 68 11 04 33 33 34 33 14 16"
    assert dlt645.parse_request(ASK) == (METER, "00010000")


@given(addresses, st.from_regex(r"\A[0-9A-F]{8}\Z"))
def test_a_request_is_parsed_back(address: str, identifier: str) -> None:
    request = dlt645.read_request(address, identifier)
    assert dlt645.parse_request(request) == (address, identifier)
    assert dlt645.decode(request).control == 0x11, "nothing but a read can be asked"


@pytest.mark.parametrize("identifier", ["0001000", "000100000", "0001ff00", "0001000G", ""])
def test_an_identifier_that_is_none_is_refused(identifier: str) -> None:
    with pytest.raises(ProtocolError, match="8 upper-case hex digits"):
        dlt645.read_request(METER, identifier)


@pytest.mark.parametrize("control", [0x08, 0x13, 0x14, 0x16, 0x1A, 0x1C, 0x91])
def test_a_request_to_write_freeze_clear_or_switch_is_no_read_request(control: int) -> None:
    with pytest.raises(Mismatched, match="expected the read request 11"):
        dlt645.parse_request(Frame(METER, control, bytes(4)).to_bytes())


def test_the_answer_to_a_request_is_its_data() -> None:
    assert dlt645.payload(ASK, reply("26000000")) == bytes.fromhex("26000000")


@pytest.mark.parametrize("wild", ["AAAAAAAAAAAA", "AAAAAAAAAA61", "AAAAAAAA0161"])
def test_a_wildcard_is_answered_by_a_real_address(wild: str) -> None:
    assert dlt645.payload(dlt645.read_request(wild, "00010000"), reply("26000000")) == bytes.fromhex("26000000")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply("26000000", address="000000000162"), "meter 000000000162, expected meter 000000000161"),
        (reply("26000000", identifier="00020000"), "identifier 00020000, expected 00010000"),
        (reply("26000000", control=0x11), "control 11 .*expected a reply"),
        (reply("26000000", control=0x94), "control 94 .*expected a reply to a read"),
        (reply("26000000", control=0x81), "control 81 .*expected a reply to a read"),
        (reply("26000000", control=0xB1), "more frames follow"),
        (Frame(METER, 0x91, b"\0\0").to_bytes(), "identifier missing"),
        (Frame(METER, 0xD1, b"\2\0").to_bytes(), "2 data bytes, expected one error word"),
        (Frame(METER, 0xD1, b"").to_bytes(), "0 data bytes, expected one error word"),
    ],
)
def test_what_does_not_answer_is_mismatched(answer: bytes, said: str) -> None:
    with pytest.raises(Mismatched, match=said):
        dlt645.payload(ASK, answer)


def test_a_wildcard_byte_in_front_matches_no_other_low_bytes() -> None:
    with pytest.raises(Mismatched):
        dlt645.payload(dlt645.read_request("AAAAAAAAAA62", "00010000"), reply("26000000"))


@pytest.mark.parametrize("bit", range(8))
def test_a_refusal_names_the_bits_of_its_error_word(bit: int) -> None:
    with pytest.raises(Refused, match=dlt645.ERROR_BITS[bit]) as refused:
        dlt645.payload(ASK, Frame(METER, 0xD1, bytes([1 << bit])).to_bytes())
    assert refused.value.reason == 1 << bit


def test_several_bits_of_an_error_word_are_all_named() -> None:
    with pytest.raises(Refused, match="no such data, wrong password"):
        dlt645.payload(ASK, Frame(METER, 0xD1, b"\x06").to_bytes())


@pytest.mark.parametrize(
    ("field", "digits", "signed", "expected"),
    [
        ("50000090", "XXXXXX.XX", False, "900000.50"),
        ("50000090", "XXXXXX.XX", True, "-100000.50"),
        ("99999999", "XXXXXX.XX", False, "999999.99"),
        ("99999979", "XXXXXX.XX", True, "799999.99"),
        ("00000080", "XXXXXX.XX", True, "0.00"),
        ("5622", "XXX.X", False, "225.6"),
        ("5692", "XXX.X", False, "925.6"),
        ("0090", "X.XXX", True, "-1.000"),
        ("270000", "XXXXXX", False, "27"),
        ("FFFF", "XXX.X", False, None),
        ("FFFFFF", "XX.XXXX", True, None),
        ("EEEE", "XXX.X", False, None),
        ("EEEEEE", "XX.XXXX", True, None),
    ],
)
def test_values(field: str, digits: str, signed: bool, expected: str | None) -> None:
    got = dlt645.value(bytes.fromhex(field), digits, signed)
    assert (None if got is None else str(got)) == expected


@pytest.mark.parametrize(
    ("field", "digits", "signed"),
    [
        ("002603", "XXX.X", False),
        ("26", "XXX.X", False),
        ("", "XXX.X", False),
        ("0A00", "XXX.X", False),
        ("EEFF", "XXX.X", False),
        ("FF7F", "XXX.X", False),
        ("FF12", "XXX.X", False),
        ("00FF", "XXX.X", True),
    ],
)
def test_what_is_no_number_is_impossible_and_never_a_value(field: str, digits: str, signed: bool) -> None:
    with pytest.raises(Impossible, match=digits):
        dlt645.value(bytes.fromhex(field), digits, signed)


@given(st.integers(0, 79_999_999), st.booleans(), st.integers(0, 6))
def test_value_undoes_bcd(number: int, negative: bool, places: int) -> None:
    field = bytearray(bytes.fromhex(f"{number:08d}")[::-1])
    field[-1] |= 0x80 * negative
    digits = "X" * (8 - places) + ("." + "X" * places if places else "")
    got = dlt645.value(bytes(field), digits, True)
    assert got == Decimal(-number if negative else number).scaleb(-places)


@given(st.binary(max_size=8), st.sampled_from(["XXXXXX.XX", "XXX.X", "XX.XXXX", "XX"]), st.booleans())
def test_any_field_is_a_number_absent_or_impossible(field: bytes, digits: str, signed: bool) -> None:
    try:
        got = dlt645.value(field, digits, signed)
    except Impossible:
        return
    assert got is None or abs(got) < 10 ** len(digits.partition(".")[0])
