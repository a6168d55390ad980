"""DL/T 645: answers of several frames, addresses asked for, and the edition of 1997; vectors both ways."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import dlt645, dlt645_1997, dlt645_frame
from protocols.dlt645_edition import LONGEST, Edition
from protocols.dlt645_frame import Frame, split
from protocols.errors import Damaged, Mismatched, ProtocolError, Refused

METER = "202311070001"
EDITIONS = (dlt645.EDITION, dlt645_1997.EDITION)
every_edition = pytest.mark.parametrize("edition", EDITIONS, ids=lambda edition: edition.name)

WRITES = {
    dlt645.EDITION: (0x03, 0x08, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D),
    dlt645_1997.EDITION: (0x03, 0x04, 0x08, 0x0A, 0x0C, 0x0F, 0x10),
}


def identifier(edition: Edition) -> str:
    return "0001FF00" if edition is dlt645.EDITION else "901F"


def ask(edition: Edition, address: str = METER) -> bytes:
    return edition.read_request(address, identifier(edition))


def parts(edition: Edition, data: bytes, size: int, address: str = METER) -> list[Frame]:
    """What a meter makes of an answer: frames of ``size`` data bytes, numbered from the second one on."""
    name = bytes.fromhex(identifier(edition))[::-1]
    pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    frames = []
    for number, piece in enumerate(pieces):
        control = 0x80 | (edition.follow if number else edition.read) | 0x20 * (number + 1 < len(pieces))
        tail = bytes([number]) if number and edition.numbered else b""
        frames.append(Frame(address, control, name + piece + tail))
    return frames


def whole(frames: list[Frame]) -> bytes:
    return b"".join(frame.to_bytes() for frame in frames)


@every_edition
@given(st.binary(max_size=160), st.integers(10, 200))
def test_an_answer_is_put_together_from_its_frames(edition: Edition, data: bytes, size: int) -> None:
    frames = parts(edition, data, size)
    assert edition.payload(ask(edition), whole(frames)) == data


@every_edition
@given(st.binary(min_size=1, max_size=160), st.integers(10, 60))
def test_what_is_pending_is_asked_for_until_all_is_there(edition: Edition, data: bytes, size: int) -> None:
    request = ask(edition)
    frames = parts(edition, data, size)
    for count in range(1, len(frames)):
        following = edition.pending((request,), whole(frames[:count]))
        assert following is not None
        asked = dlt645.decode(following)
        number = bytes([count]) if edition.numbered else b""
        assert (asked.address, asked.control) == (METER, edition.follow)
        assert asked.data == bytes.fromhex(identifier(edition))[::-1] + number
        found = edition.question(following)
        assert edition.difference(found, frames[count]) is None
        with pytest.raises(Mismatched, match="more frames follow"):
            edition.payload(request, whole(frames[:count]))
    assert edition.pending((request,), whole(frames)) is None


def test_the_captured_shape_of_a_follow_up() -> None:
    request = dlt645.read_request("000000000161", "0001FF00")
    first = Frame("000000000161", 0xB1, bytes.fromhex("00FF0100 26000000")).to_bytes()
    following = dlt645.EDITION.pending((request,), first)
    assert following is not None
    assert following.hex(" ").upper() == "FE FE FE FE 68 61 01 00 00 00 00 68 12 05 33 32 34 33 34 49 16"
    last = Frame("000000000161", 0x92, bytes.fromhex("00FF0100 10000000 01")).to_bytes()
    assert dlt645.payload(request, first + last).hex() == "2600000010000000"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda frames: [frames[0], frames[2], frames[1]], "frame number 02, expected 01"),
        (lambda frames: [frames[0], frames[1], frames[1]], "frame number 01, expected 02"),
        (lambda frames: [*frames, frames[2]], "behind the end of the answer"),
        (lambda frames: frames[:2], "more frames follow"),
        (lambda frames: frames[1:], "expected a reply to a read"),
        (lambda frames: [frames[0], Frame("000000000001", 0xB2, frames[1].data), frames[2]], f"expected meter {METER}"),
        (lambda frames: [frames[0], Frame(METER, 0xB2, b"\0\0\1\0\0\1"), frames[2]], "identifier 00010000"),
        (lambda frames: [frames[0], Frame(METER, 0x92, frames[1].data[:4])], "frame number missing"),
    ],
)
def test_frames_out_of_order_doubled_or_of_another_are_no_answer(spoil: Any, said: str) -> None:
    frames = spoil(parts(dlt645.EDITION, bytes(range(25)), 10))
    with pytest.raises(Mismatched, match=said):
        dlt645.payload(ask(dlt645.EDITION), whole(frames))


@every_edition
def test_an_answer_has_at_most_sixteen_frames(edition: Edition) -> None:
    request = ask(edition)
    assert edition.payload(request, whole(parts(edition, bytes(LONGEST), 1))) == bytes(LONGEST)
    endless = parts(edition, bytes(LONGEST + 1), 1)[:LONGEST]
    assert edition.pending((request,), whole(endless)) is None
    with pytest.raises(Mismatched, match="16 frames and more"):
        edition.payload(request, whole(endless))


@every_edition
def test_an_answer_is_read_no_further_than_to_its_end(edition: Edition, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but the thief of a key has more: a mebibyte of frames in one answer took 0.8 s."""
    request, read, decode = ask(edition), list[bytes](), dlt645_frame.decode

    def counted(raw: bytes) -> Frame:
        read.append(raw)
        return decode(raw)

    monkeypatch.setattr(dlt645_frame, "decode", counted)
    frames = parts(edition, bytes(20), 10)
    with pytest.raises(Mismatched, match="behind the end"):
        edition.payload(request, whole(frames * 1_000))
    assert edition.pending((request,), whole(frames * 1_000)) is None
    assert len(read) == 2 * (len(frames) + 1)


@every_edition
def test_a_refusal_in_the_middle_is_a_refusal_and_ends_the_asking(edition: Edition) -> None:
    request = ask(edition)
    refused = Frame(METER, 0xC0 | edition.follow, b"\2")
    came = whole([parts(edition, bytes(20), 10)[0], refused])
    assert edition.pending((request,), came) is None
    with pytest.raises(Refused, match="no such data") as caught:
        edition.payload(request, came)
    assert caught.value.reason == 2
    first = whole([Frame(METER, 0xC0 | edition.read, b"\2")])
    assert edition.pending((request,), first) is None


@every_edition
@given(st.binary(max_size=120))
def test_any_reply_is_data_or_one_of_our_errors(edition: Edition, raw: bytes) -> None:
    edition.pending((ask(edition),), raw)
    with pytest.raises(ProtocolError):
        edition.payload(ask(edition), raw)


@every_edition
@given(st.binary(max_size=60), st.integers(10, 40), st.data())
def test_no_single_flipped_bit_in_an_answer_is_taken(
    edition: Edition, data: bytes, size: int, draw: st.DataObject
) -> None:
    raw = bytearray(whole(parts(edition, data, size)))
    bit = draw.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolError):
        edition.payload(ask(edition), bytes(raw))


@every_edition
@given(st.integers(0, 255), st.binary(max_size=12))
def test_what_does_not_read_is_no_question(edition: Edition, control: int, data: bytes) -> None:
    raw = Frame(METER, control, data).to_bytes()
    try:
        asked = edition.question(raw)
    except Mismatched:
        return
    assert asked.control in (edition.read, edition.follow, edition.find)
    assert control not in WRITES[edition]
    assert asked.to_bytes() == b"\xfe" * 4 + raw


@every_edition
def test_no_question_writes_freezes_clears_or_switches(edition: Edition) -> None:
    for control in WRITES[edition]:
        for length in range(13):
            with pytest.raises(Mismatched, match="that reads"):
                edition.question(Frame(METER, control, bytes(length)).to_bytes())


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=5), st.integers(0, 5))
def test_frames_one_after_another_are_parted_again(contents: list[bytes], preamble: int) -> None:
    frames = [Frame(METER, 0x91, content) for content in contents]
    assert [*split(b"".join(b"\xfe" * preamble + frame.to_bytes() for frame in frames))] == frames


@pytest.mark.parametrize("raw", [b"", b"\xfe" * 5, b"\0" + Frame(METER, 0x91, b"").to_bytes()])
def test_what_is_not_frames_alone_is_not_parted(raw: bytes) -> None:
    with pytest.raises(Damaged):
        list(split(raw))


def test_several_questions_are_answered_in_their_order() -> None:
    time, energy = (dlt645.read_request(METER, name) for name in ("05060001", "05060101"))
    when = Frame(METER, 0x91, bytes.fromhex("01000605 0000251126")).to_bytes()
    first = Frame(METER, 0xB1, bytes.fromhex("01010605 26000000")).to_bytes()
    second = Frame(METER, 0x92, bytes.fromhex("01010605 10000000 01")).to_bytes()
    edition = dlt645.EDITION
    assert edition.pending((time, energy), when) == energy
    following = edition.pending((time, energy), when + first)
    assert following is not None and dlt645.decode(following).control == 0x12
    assert edition.pending((time, energy), when + first + second) is None
    assert edition.answers((time, energy), when + first + second) == (
        bytes.fromhex("0000251126"),
        bytes.fromhex("2600000010000000"),
    )
    with pytest.raises(Mismatched):
        edition.answers((time, energy), when)
    with pytest.raises(Mismatched):
        edition.answers((time, energy), first + second + when)


# ---- addresses ----


@pytest.mark.parametrize(
    "captured",
    [
        "FE FE FE FE FE FE FE 68 12 90 78 56 34 12 68 93 06 45 C3 AB 89 67 45 07 16",
        "68 01 00 00 00 00 00 68 93 06 34 33 33 33 33 33 9D 16",
    ],
)
def test_a_meter_tells_its_address(captured: str) -> None:
    request = dlt645.address_request()
    assert request.hex(" ").upper() == "FE FE FE FE 68 AA AA AA AA AA AA 68 13 00 DF 16"
    reply = bytes.fromhex(captured)
    recogniser = dlt645.recogniser(request)
    found = recogniser.feed(request[4:] + reply)
    assert found is not None
    assert dlt645.address_of(request, found) == dlt645.decode(reply).address


@given(st.from_regex(r"\A[0-9]{12}\Z"), st.integers(0, 6))
def test_an_address_is_found_among_those_that_end_like_it(number: str, wild: int) -> None:
    request = dlt645.address_request("AA" * wild + number[2 * wild :])
    reply = Frame(number, 0x93, bytes.fromhex(number)[::-1]).to_bytes()
    assert dlt645.address_of(request, reply) == number


@pytest.mark.parametrize(
    ("among", "reply", "said"),
    [
        ("AAAAAAAAAA62", Frame(METER, 0x93, bytes.fromhex(METER)[::-1]), "expected meter AAAAAAAAAA62"),
        ("AAAAAAAAAA01", Frame(METER, 0x93, bytes(6)), "expected the 12 digits"),
        ("AAAAAAAAAAAA", Frame(METER, 0x93, bytes(5)), "expected the 12 digits"),
        ("AAAAAAAAAAAA", Frame(METER, 0x93, b"\xaa" * 6), "expected the 12 digits"),
        ("AAAAAAAAAAAA", Frame(METER, 0xB3, bytes.fromhex(METER)[::-1]), "expected the 12 digits"),
        ("AAAAAAAAAAAA", Frame(METER, 0x91, bytes(6)), "expected a reply"),
    ],
)
def test_what_is_no_address_is_mismatched(among: str, reply: Frame, said: str) -> None:
    with pytest.raises(Mismatched, match=said):
        dlt645.address_of(dlt645.address_request(among), reply.to_bytes())


def test_only_an_address_request_has_an_address_for_answer() -> None:
    with pytest.raises(Mismatched, match="request for an address"):
        dlt645.address_of(ask(dlt645.EDITION), Frame(METER, 0x93, bytes(6)).to_bytes())


# ---- 1997 ----


@pytest.mark.parametrize(
    ("captured", "address", "name", "data"),
    [
        ("68 95 32 06 00 00 00 68 81 06 43 C3 48 33 33 33 0B 16", "000000063295", "9010", "15000000"),
        ("68 95 32 06 00 00 00 68 81 06 43 C4 33 33 33 33 F7 16", "000000063295", "9110", "00000000"),
        ("68 95 32 06 00 00 00 68 81 04 44 E9 33 33 B5 16", "000000063295", "B611", "0000"),
        ("FE FE FE FE 68 34 69 17 08 17 20 68 81 06 43 F3 39 39 3A 4C 78 16", "201708176934", "C010", "06060719"),
        ("68 07 05 06 00 00 00 68 81 06 43 C3 97 C6 33 33 32 16", "000000060507", "9010", "64930000"),
    ],
)
def test_captured_replies_of_1997(captured: str, address: str, name: str, data: str) -> None:
    reply = bytes.fromhex(captured)
    request = dlt645_1997.read_request(address, name)
    assert dlt645_1997.parse_request(request) == (address, name)
    assert dlt645_1997.payload(request, reply) == bytes.fromhex(data)
    assert Frame(address, 0x81, bytes.fromhex(name)[::-1] + bytes.fromhex(data)).to_bytes() in reply


def test_a_captured_refusal_of_1997() -> None:
    request = dlt645_1997.read_request("000000063295", "B621")
    with pytest.raises(Refused, match="no such data"):
        dlt645_1997.payload(request, bytes.fromhex("68 95 32 06 00 00 00 68 C1 01 35 94 16"))


def test_among_replies_of_others_the_one_that_was_asked_for_is_found() -> None:
    """A capture from a power line: the tail of a frame, two meters, other functions, a cut end."""
    came = bytes.fromhex(
        "56 7b 16 68 20 11 06 02 41 56 68 81 06 43 c3 33 33 33 33 f9 16 68 20 11 12 21 06 36 68 c5 03 e9 04 56 7b 16"
        "68 20 11 06 00 41 56 68 81 06 43 c3 33 3b 33 33 ff 16 68 20 11 12 21 06 36 68 c5 03 e9 04 56 7b 16 68 20 11"
    )
    for address, data in (("564102061120", "00000000"), ("564100061120", "00080000")):
        request = dlt645_1997.read_request(address, "9010")
        found = dlt645_1997.recogniser(request).feed(came)
        assert found is not None
        assert dlt645_1997.payload(request, found) == bytes.fromhex(data)
    stranger = dlt645_1997.recogniser(dlt645_1997.read_request("564102061121", "9010"))
    assert stranger.feed(came) is None
    assert isinstance(stranger.failure(), Mismatched)


@pytest.mark.parametrize(
    ("number", "addresses"),
    [
        ("63295", ("AAAAAA063295", "000000063295")),
        ("7", ("AAAAAAAAAA07", "000000000007")),
        ("201708176934", ("201708176934",)),
        ("01708176934", ("001708176934",)),
        ("000000063295", ("000000063295",)),
    ],
)
def test_a_short_number_of_1997_is_filled_with_aa_or_with_zeros(number: str, addresses: tuple[str, ...]) -> None:
    assert dlt645_1997.wordings(number) == addresses


@pytest.mark.parametrize("answering", ["AAAAAA063295", "000000063295", "201708063295"])
def test_to_a_wildcard_a_meter_answers_with_its_address_or_with_the_wildcard(answering: str) -> None:
    request = dlt645_1997.read_request("AAAAAA063295", "9010")
    reply = Frame(answering, 0x81, bytes.fromhex("1090 15000000")).to_bytes()
    assert dlt645_1997.payload(request, reply) == bytes.fromhex("15000000")


def test_a_separator_at_the_end_of_a_block_is_taken_off() -> None:
    assert dlt645_1997.unseparated(bytes.fromhex("15000000 10000000 AA")) == bytes.fromhex("15000000 10000000")
    assert dlt645_1997.unseparated(bytes.fromhex("15000000")) == bytes.fromhex("15000000")


def test_the_editions_do_not_take_each_other_for_an_answer() -> None:
    reply = Frame(METER, 0x81, bytes.fromhex("1090 15000000")).to_bytes()
    with pytest.raises(Mismatched):
        dlt645.payload(ask(dlt645.EDITION), reply)
    with pytest.raises(Mismatched):
        dlt645_1997.parse_request(ask(dlt645.EDITION))
    with pytest.raises(Damaged, match="4 upper-case hex digits"):
        dlt645_1997.read_request(METER, "00010000")
