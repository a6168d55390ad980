"""M-Bus, the link layer: published questions and replies, and a refusal for everything a reply can have wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import mbus
from protocols.errors import Damaged, Mismatched, ProtocolError, Silent
from protocols.mbus import Frame, Request, recogniser

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "mbus.json").read_text("utf-8"))
REPLIES = [bytes.fromhex(vector["reply"]) for vector in VECTORS["frames"].values()]
ANSWER = Frame(8, 5, 0x72, bytes.fromhex("78563412242328042A000000 0C1427048502")).to_bytes()
ASK = Request(5)


def asked(vector: dict[str, Any]) -> Request:
    if len(vector["address"]) == 8:
        return Request(mbus.SELECTED, identification=vector["address"])
    return Request(int(vector["address"]), vector.get("second", False))


@pytest.mark.parametrize("vector", VECTORS["requests"], ids=lambda vector: vector["request"])
def test_published_questions_both_ways(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["request"])
    assert asked(vector).to_bytes() == raw, vector["source"]
    assert mbus.parse_request(raw) == asked(vector)


@pytest.mark.parametrize("raw", REPLIES, ids=list(VECTORS["frames"]))
def test_published_replies_both_ways(raw: bytes) -> None:
    frame = mbus.decode(raw)
    assert frame.to_bytes() == raw
    assert mbus.replies(raw + raw) == (frame, frame)
    assert mbus.replies(b"\xe5" + raw) == (frame,)


@settings(deadline=None)
@given(st.integers(0, 0x3F), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=252))
def test_a_frame_is_decoded_as_it_was_made(control: int, address: int, information: int, data: bytes) -> None:
    frame = Frame(control, address, information, data)
    assert mbus.decode(frame.to_bytes()) == frame


@settings(deadline=None)
@given(st.integers(0, 250), st.booleans())
def test_a_question_is_parsed_as_it_was_made(address: int, second: bool) -> None:
    assert mbus.parse_request(Request(address, second).to_bytes()) == Request(address, second)


@settings(deadline=None)
@given(st.text("0123456789", min_size=8, max_size=8))
def test_a_selection_is_parsed_as_it_was_made(number: str) -> None:
    chosen = Request(mbus.SELECTED, identification=number)
    assert mbus.parse_request(chosen.to_bytes()) == chosen


@settings(deadline=None)
@given(st.binary(max_size=300) | st.sampled_from(REPLIES).flatmap(lambda raw: st.just(raw[:-1]) | st.just(raw[1:])))
def test_any_bytes_are_read_or_raise_one_of_our_errors(raw: bytes) -> None:
    for attempt in (mbus.decode, mbus.replies, mbus.parse_request):
        try:
            attempt(raw)
        except ProtocolError:
            continue


def test_no_flipped_bit_is_taken() -> None:
    for bit in range(8 * len(ANSWER)):
        raw = bytearray(ANSWER)
        raw[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            mbus.decode(bytes(raw))
        assert recogniser(ASK.to_bytes()).feed(bytes(raw)) is None


def test_nothing_but_the_two_questions_can_be_built() -> None:
    """No SND_UD, no SND_NKE, no broadcast: whatever short or long frame is given, only ours is a request."""
    ours = {Request(address, second).to_bytes() for address in range(251) for second in (False, True)}
    ours |= {Request(mbus.SELECTED, second).to_bytes() for second in (False, True)}
    for control in range(256):
        for address in (0, 1, 250, 251, 253, 254, 255):
            raw = bytes([0x10, control, address, (control + address) & 0xFF, 0x16])
            if raw in ours:
                assert mbus.parse_request(raw).to_bytes() == raw
            else:
                with pytest.raises(Damaged):
                    mbus.parse_request(raw)
    for control in range(0x40, 0x100):
        with pytest.raises(Damaged, match="below 40"):
            Frame(control, 1, 0x51, b"")


@pytest.mark.parametrize(
    "change", [(4, 0x53), (5, 0x01), (5, 0xFE), (6, 0x51), (6, 0x50), (6, 0x56), (11, 0x00), (14, 0x04)]
)
def test_a_selection_selects_and_does_nothing_else(change: tuple[int, int]) -> None:
    raw = bytearray(Request(mbus.SELECTED, identification="12345678").to_bytes())
    raw[change[0]] = change[1]
    raw[-2] = sum(raw[4:-2]) & 0xFF
    with pytest.raises(Damaged):
        mbus.parse_request(bytes(raw))


@pytest.mark.parametrize("address", [-1, 251, 252, 254, 255])
def test_no_address_but_a_meters_own_can_be_asked(address: int) -> None:
    with pytest.raises(Damaged, match="expected 0 to 250"):
        Request(address)


@pytest.mark.parametrize("number", ["1234567", "123456789", "1234567F", "FFFFFFFF"])
def test_no_wildcard_can_be_selected(number: str) -> None:
    with pytest.raises(Damaged, match="8 digits"):
        Request(mbus.SELECTED, identification=number)


@pytest.mark.parametrize(
    ("change", "said", "place"),
    [
        ((0, 0x69), "byte 0 is 69, expected 68", 0),
        ((3, 0x69), "byte 3 is 69, expected 68", 3),
        ((2, 0x11), "L 15 and 11, expected the same", 2),
        ((-1, 0x17), "end byte 17, expected 16", len(ANSWER) - 1),
        ((-2, 0x00), "checksum 00, expected", len(ANSWER) - 2),
        ((10, 0x00), "checksum", len(ANSWER) - 2),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: tuple[int, int], said: str, place: int) -> None:
    raw = bytearray(ANSWER)
    raw[change[0]] = change[1]
    with pytest.raises(Damaged, match=said) as caught:
        mbus.decode(bytes(raw))
    assert caught.value.at == place


@pytest.mark.parametrize("size", [1, 2, 5, 500])
def test_the_answer_is_found_behind_noise_echo_and_strangers_in_any_pieces(size: int) -> None:
    stranger = Frame(8, 6, 0x72, b"\0" * 12).to_bytes()
    line = b"\x68\xff\xff\x68\xe5\x68\x05" + ASK.to_bytes() + stranger + ANSWER[:9] + ANSWER
    held = recogniser(ASK.to_bytes())
    found = [raw for at in range(0, len(line), size) if (raw := held.feed(line[at : at + size])) is not None]
    assert found == [ANSWER]


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(1, 9))
def test_the_answer_behind_any_noise_is_found(noise: bytes, size: int) -> None:
    line = noise + ANSWER
    held = recogniser(ASK.to_bytes())
    assert ANSWER in [held.feed(line[at : at + size]) for at in range(0, len(line), size)]


def test_a_selection_is_answered_by_one_byte_and_a_question_is_not() -> None:
    chosen = Request(mbus.SELECTED, identification="12345678").to_bytes()
    assert recogniser(chosen).feed(b"\0\xe5") == b"\xe5"
    assert recogniser(chosen).feed(ANSWER) is None
    assert recogniser(ASK.to_bytes()).feed(b"\xe5") is None
    assert recogniser(Request(mbus.SELECTED).to_bytes()).feed(ANSWER) == ANSWER


def test_a_failure_says_what_came() -> None:
    held = recogniser(ASK.to_bytes())
    assert isinstance(held.failure(), Silent)
    assert held.feed(ASK.to_bytes()) is None and isinstance(held.failure(), Silent)
    assert held.feed(ANSWER[:-2]) is None and isinstance(held.failure(), Damaged)
    other = recogniser(Request(9).to_bytes())
    assert other.feed(ANSWER) is None
    assert isinstance(other.failure(), Mismatched) and "address 5, expected 9" in str(other.failure())
