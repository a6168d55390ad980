"""Device identification: the specification's example, several frames, and nothing else that could be asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import modbus_identification as identification
from protocols.errors import Damaged, Mismatched, ProtocolError, Refused, Silent
from protocols.modbus import frame_rtu, frame_tcp
from protocols.modbus_identification import Framing, identify, recogniser, request

SPECIFICATION = bytes.fromhex("2B 0E 01 01 00 00 03 00 16") + b"Company identification" + bytes.fromhex("01 0D")
SPECIFICATION += b"Product code " + bytes.fromhex("02 05") + b"V2.11"
"""Application protocol 1.1b3, 6.21: three basic objects in one reply (the texts as long as the specification says)."""

FRAMINGS: tuple[Framing, ...] = ("rtu", "modbus-tcp")
both = pytest.mark.parametrize("framing", FRAMINGS)


def framed(framing: Framing, pdu: bytes, asked: bytes, unit: int = 5) -> bytes:
    return frame_rtu(unit, pdu) if framing == "rtu" else frame_tcp(int.from_bytes(asked[:2]), unit, pdu)


def reply(code: int, objects: dict[int, bytes], following: int | None = None) -> bytes:
    told = b"".join(bytes([number, len(text)]) + text for number, text in objects.items())
    more = bytes([0, 0]) if following is None else bytes([0xFF, following])
    return bytes([0x2B, 0x0E, code, 0x81]) + more + bytes([len(objects)]) + told


@both
def test_the_example_of_the_specification(framing: Framing) -> None:
    asked = request(5, framing, identification.BASIC)
    assert (asked[1:5] if framing == "rtu" else asked[7:]) == bytes.fromhex("2B 0E 01 00")
    said = identification.identification(asked, framed(framing, SPECIFICATION, asked), framing)
    assert said.objects == {0: "Company identification", 1: "Product code", 2: "V2.11"}
    assert said.following is None


def test_a_published_serial_question() -> None:
    """As pymodbus documents it: unit 1, basic, from object 0."""
    assert request(1, "rtu", 1).hex(" ").upper() == "01 2B 0E 01 00 70 77"


@both
def test_what_comes_in_several_frames_is_put_together(framing: Framing) -> None:
    talk = identify(5, framing)
    asked = next(talk)
    asked = talk.send(framed(framing, reply(2, {0: b"Acrel", 1: b"ADL400"}, following=2), asked))
    assert identification.parse(asked, framing) == (5, 2, 2)
    with pytest.raises(StopIteration) as done:
        talk.send(framed(framing, reply(2, {2: b"V1.0\0", 4: "电表".encode()}), asked))
    assert done.value.value == {
        "vendor": "Acrel",
        "product_code": "ADL400",
        "revision": "V1.0",
        "product_name": "\\xe7\\x94\\xb5\\xe8\\xa1\\xa8",
    }


@both
def test_an_identification_that_goes_round_in_circles_ends(framing: Framing) -> None:
    talk = identify(5, framing)
    asked = talk.send(framed(framing, reply(2, {0: b"A"}, following=1), next(talk)))
    with pytest.raises(Mismatched, match="a second time"):
        talk.send(framed(framing, reply(2, {1: b"B"}, following=0), asked))


@both
def test_a_refusal_is_one(framing: Framing) -> None:
    asked = request(5, framing)
    raw = recogniser(asked, framing).feed(framed(framing, bytes.fromhex("AB 01"), asked))
    assert raw is not None
    with pytest.raises(Refused, match="exception 01: illegal function"):
        identification.identification(asked, raw, framing)


@both
@pytest.mark.parametrize("size", [1, 3, 500])
def test_the_reply_is_found_behind_noise_and_echo_in_any_pieces(framing: Framing, size: int) -> None:
    asked = request(5, framing, identification.BASIC)
    answer = framed(framing, SPECIFICATION, asked)
    stranger = framed(framing, SPECIFICATION, b"\0\7", unit=6)
    line = b"\x05\x05\x2b\x05\x2b\x0e\x01" + asked[:4] + asked + stranger + answer
    held = recogniser(asked, framing)
    found = [raw for at in range(0, len(line), size) if (raw := held.feed(line[at : at + size])) is not None]
    assert found == [answer]


@both
def test_a_failure_says_what_came(framing: Framing) -> None:
    asked = request(5, framing, identification.BASIC)
    held = recogniser(asked, framing)
    assert isinstance(held.failure(), Silent)
    assert held.feed(framed(framing, SPECIFICATION, asked)[:-3]) is None
    assert isinstance(held.failure(), Damaged)
    other = recogniser(asked, framing)
    assert other.feed(framed(framing, bytes([0x2B, 0x0E, 2]) + SPECIFICATION[3:], asked)) is None
    assert isinstance(other.failure(), Mismatched)


@both
@settings(deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_no_crash(framing: Framing, data: bytes) -> None:
    asked = request(5, framing)
    held = recogniser(asked, framing)
    if (raw := held.feed(data)) is not None:
        identification.identification(asked, raw, framing)
    for pdu in (data[:250], b"\x2b\x0e\x02" + data[:240]):
        try:
            identification.identification(asked, framed(framing, pdu or b"\x2b", asked), framing)
        except ProtocolError:
            continue


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(0, 6), st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)),
    st.sampled_from(FRAMINGS),
)
def test_what_is_said_is_read(texts: dict[int, str], framing: Framing) -> None:
    asked = request(5, framing, identification.REGULAR)
    answer = framed(framing, reply(2, {key: text.encode() for key, text in texts.items()}), asked)
    assert recogniser(asked, framing).feed(answer) == answer
    assert identification.identification(asked, answer, framing).objects == texts


def test_no_flipped_bit_of_a_serial_reply_is_taken() -> None:
    asked = request(5, "rtu", identification.BASIC)
    answer = frame_rtu(5, SPECIFICATION)
    for bit in range(8 * len(answer)):
        raw = bytearray(answer)
        raw[bit // 8] ^= 1 << bit % 8
        assert recogniser(asked, "rtu").feed(bytes(raw)) is None


@pytest.mark.parametrize(
    ("unit", "code", "first"), [(0, 1, 0), (256, 1, 0), (1, 0, 0), (1, 3, 0), (1, 4, 0), (1, 1, 256), (1, 1, -1)]
)
def test_nothing_but_basic_and_regular_can_be_asked(unit: int, code: int, first: int) -> None:
    with pytest.raises(Damaged):
        request(unit, "rtu", code, first)
    with pytest.raises(Damaged):
        identification.parse(frame_rtu(1, bytes([0x2B, 0x0D, 1, 0])), "rtu")
