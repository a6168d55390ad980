"""Which bytes are the answer: behind noise, echo, fake headers and other meters' frames, in any pieces."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import cjt188, dlt645, dlt645_1997, modbus
from protocols.dlt645 import Frame
from protocols.errors import Damaged, Mismatched, ProtocolError, Refused, Silent
from protocols.modbus import Request, frame_rtu, frame_tcp
from protocols.recogniser import Recogniser, quote


@dataclass(frozen=True)
class Case:
    """One protocol: a question, its answer and refusal, frames that answer something else, and a fake beginning."""

    name: str
    start: Callable[[bytes], Recogniser]
    payload: Callable[[bytes, bytes], bytes]
    request: bytes
    answer: bytes
    refusal: bytes
    strangers: tuple[bytes, ...]
    fakes: tuple[bytes, ...]


def _dlt645(address: str, control: int, data: str) -> bytes:
    return Frame(address, control, bytes.fromhex(data)).to_bytes()


def _cjt188(data: str, address: str = "78330011223344", control: int = 0x81, meter_type: int = 0x10) -> bytes:
    return cjt188.Frame(meter_type, address, control, bytes.fromhex(data)).to_bytes()


def _tcp(request: Request, pdu: str, transaction: int | None = None, unit: int = 1) -> bytes:
    number = request.transaction if transaction is None else transaction
    return frame_tcp(number, unit, bytes.fromhex(pdu))


ASK = Request(1, 4, 0x34, 2)
DLT645 = Case(
    "dlt645",
    dlt645.recogniser,
    dlt645.payload,
    dlt645.read_request("000016818505", "00010000"),
    _dlt645("000016818505", 0x91, "0000010026000000"),
    _dlt645("000016818505", 0xD1, "02"),
    (
        _dlt645("000016818506", 0x91, "0000010026000000"),
        _dlt645("000016818505", 0x91, "0000020026000000"),
        _dlt645("000016818505", 0x94, ""),
    ),
    (b"\x68", b"\x68\x68", bytes.fromhex("68 05 85 81 16 00 00 68 91 FF"), bytes.fromhex("D8 B0 4C BD D1 47")),
)
DLT645_1997 = Case(
    "dlt645-1997",
    dlt645_1997.recogniser,
    dlt645_1997.payload,
    dlt645_1997.read_request("000016818505", "9010"),
    _dlt645("000016818505", 0x81, "109026000000"),
    _dlt645("000016818505", 0xC1, "02"),
    (
        _dlt645("000016818506", 0x81, "109026000000"),
        _dlt645("000016818505", 0x81, "209026000000"),
        _dlt645("000016818505", 0x91, "0000010026000000"),
        _dlt645("000016818505", 0x84, ""),
    ),
    (b"\x68", b"\x68\x68", bytes.fromhex("68 05 85 81 16 00 00 68 81 FF"), bytes.fromhex("68 20 11 12 21 06 36 68 C5")),
)
RTU = Case(
    "modbus-rtu",
    modbus.RtuRecogniser,
    modbus.payload_rtu,
    ASK.rtu(),
    frame_rtu(1, bytes.fromhex("04 04 43 66 33 34")),
    frame_rtu(1, bytes.fromhex("84 02")),
    (
        frame_rtu(2, bytes.fromhex("04 04 43 66 33 34")),
        frame_rtu(1, bytes.fromhex("03 04 43 66 33 34")),
        frame_rtu(1, bytes.fromhex("04 02 43 66")),
        frame_rtu(1, bytes.fromhex("83 02")),
    ),
    (b"\1", b"\1\4", b"\1\4\4", b"\1\4\4\x43\x66\x33", b"\1\x84", b"\1\x84\2", b"\0", b"\xff"),
)
TCP = Case(
    "modbus-tcp",
    modbus.TcpRecogniser,
    modbus.payload_tcp,
    ASK.tcp(),
    _tcp(ASK, "04 04 43 66 33 34"),
    _tcp(ASK, "84 02"),
    (
        _tcp(ASK, "04 04 43 66 33 34", transaction=7),
        _tcp(ASK, "04 04 43 66 33 34", unit=2),
        _tcp(ASK, "03 04 43 66 33 34"),
        _tcp(ASK, "04 02 43 66"),
        _tcp(ASK, "83 02"),
    ),
    (ASK.tcp()[:2], ASK.tcp()[:4] + b"\0\xff\1\4", b"keepalive"),
)
WATER = "78330011223344"
COUNTED = "005959002C" + "FF" * 4 + "2C" + "FF" * 7 + "0000"
CJT188 = Case(
    "cjt188",
    cjt188.recogniser,
    cjt188.payload,
    cjt188.read_request(0x10, WATER),
    _cjt188("1F90AA" + COUNTED),
    _cjt188("000200", control=0xC1),
    (
        _cjt188("1F90AA" + COUNTED, address="78330011223345"),
        _cjt188("1F90AA" + COUNTED, meter_type=0x20),
        _cjt188("810A00"),
        _cjt188("A01700550000", control=0x84),
    ),
    (b"\x68", b"\x68\x68", bytes.fromhex("68 10 44 33 22 11 00 33 78 81 FF"), bytes.fromhex("4354524C3A26")),
)
CASES = (DLT645, DLT645_1997, CJT188, RTU, TCP)
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def feed(case: Case, data: bytes, size: int = 0) -> bytes | None:
    """What is recognised in this stream, cut into pieces of ``size`` bytes."""
    recogniser = case.start(case.request)
    pieces = [data[at : at + size] for at in range(0, len(data), size)] if size else [data]
    return next((raw for piece in pieces if (raw := recogniser.feed(piece)) is not None), None)


def failure(case: Case, data: bytes) -> ProtocolError:
    recogniser = case.start(case.request)
    assert recogniser.feed(data) is None
    return recogniser.failure()


@every
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7])
def test_the_answer_comes_in_any_pieces(case: Case, size: int) -> None:
    assert feed(case, case.answer, size) == case.answer


@every
def test_nothing_is_recognised_before_the_last_byte(case: Case) -> None:
    assert feed(case, case.answer[:-1]) is None


@every
@pytest.mark.parametrize("size", [0, 1])
def test_a_refusal_is_an_answer(case: Case, size: int) -> None:
    raw = feed(case, case.refusal, size)
    assert raw == case.refusal
    with pytest.raises(Refused) as refused:
        case.payload(case.request, raw)
    assert refused.value.reason == 2


@every
@pytest.mark.parametrize("size", [0, 1, 5])
def test_the_echo_of_the_request_is_skipped(case: Case, size: int) -> None:
    assert feed(case, case.request + case.answer, size) == case.answer


@every
def test_other_frames_are_skipped(case: Case) -> None:
    for stranger in case.strangers:
        assert feed(case, stranger + case.answer) == case.answer
        with pytest.raises(ProtocolError):
            case.payload(case.request, stranger)


@every
def test_a_beginning_that_never_completes_does_not_swallow_the_answer(case: Case) -> None:
    for fake in case.fakes:
        for size in (0, 1, 4):
            assert feed(case, fake + case.answer, size) == case.answer
            assert feed(case, fake + fake + case.answer[:4] + case.answer, size) == case.answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@given(data=st.data())
def test_the_answer_behind_garbage_is_found_however_it_is_cut(case: Case, data: st.DataObject) -> None:
    pieces = st.one_of(st.binary(max_size=12), st.sampled_from([*case.fakes, *case.strangers, case.request]))
    noise = b"".join(data.draw(st.lists(pieces, max_size=6)))
    size = data.draw(st.integers(0, 9))
    assert feed(case, noise + case.answer, size) == case.answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@given(noise=st.binary(max_size=400))
def test_noise_is_never_an_answer_and_always_a_fault(case: Case, noise: bytes) -> None:
    assert isinstance(failure(case, noise), Damaged | Mismatched | Silent)


@pytest.mark.parametrize("case", [DLT645, CJT188, RTU], ids=lambda case: case.name)
def test_no_flipped_bit_is_recognised(case: Case) -> None:
    for bit in range(len(case.answer) * 8):
        raw = bytearray(case.answer)
        raw[bit // 8] ^= 1 << bit % 8
        assert isinstance(failure(case, bytes(raw)), Damaged), bit


@every
def test_no_byte_is_silence_and_so_is_the_echo_alone(case: Case) -> None:
    assert isinstance(failure(case, b""), Silent)
    assert isinstance(failure(case, case.request), Silent)


@every
def test_bytes_without_a_frame_are_damage(case: Case) -> None:
    error = failure(case, case.answer[:-1])
    assert isinstance(error, Damaged)
    assert quote(case.answer[:-1]) in str(error)
    assert isinstance(failure(case, case.request + b"\xa5\x5a\x13"), Damaged)


@every
def test_valid_frames_that_are_not_ours_are_a_mismatch(case: Case) -> None:
    for stranger in case.strangers:
        assert isinstance(failure(case, case.request + stranger), Mismatched), stranger.hex(" ")


@every
def test_an_endless_flood_of_noise_does_not_hide_the_answer(case: Case) -> None:
    recogniser = case.start(case.request)
    for _ in range(200):
        assert recogniser.feed(case.answer[1:] + b"\xa5") is None
    assert recogniser.feed(case.answer) == case.answer


def test_an_echo_that_looks_like_a_reply_never_becomes_a_value() -> None:
    request = Request(1, 1, 0x0311, 20).rtu()
    assert modbus.payload_rtu(request, request) == request[3:6], "the very bytes that make the trap"
    answer = frame_rtu(1, bytes.fromhex("01 03 55 AA 05"))
    recogniser = modbus.RtuRecogniser(request)
    assert recogniser.feed(request) is None
    assert isinstance(recogniser.failure(), Silent)
    assert recogniser.feed(answer) == answer


def test_the_answer_in_a_line_shared_with_other_meters_is_found() -> None:
    line = (
        bytes.fromhex("56 7B 16") + DLT645.strangers[0] + DLT645.refusal[:5] + DLT645.answer + DLT645.strangers[1][:9]
    )
    assert feed(DLT645, line) == DLT645.answer


def test_a_reply_to_a_wildcard_is_recognised() -> None:
    recogniser = dlt645.recogniser(dlt645.read_request("AAAAAAAAAAAA", "00010000"))
    assert recogniser.feed(b"\xfe" + DLT645.answer) == DLT645.answer


def test_an_echo_that_lost_its_preamble_is_still_silence() -> None:
    assert isinstance(failure(DLT645, DLT645.request[3:]), Silent)


def test_the_other_framing_is_named() -> None:
    """A Modbus TCP server takes unit and function of a serial question for its transaction, and refuses."""
    ask = Request(1, 3, 0, 2)
    held = modbus.RtuRecogniser(ask.rtu())
    assert held.feed(ask.rtu()[:2] + bytes.fromhex("00 00 00 03 C4 8B 01")) is None
    error = held.failure()
    assert isinstance(error, Mismatched) and 'framing = "modbus-tcp"' in str(error)
    other = modbus.TcpRecogniser(ask.tcp())
    assert other.feed(frame_rtu(1, bytes.fromhex("03 04 00 00 00 07"))) is None
    error = other.failure()
    assert isinstance(error, Mismatched) and 'framing = "rtu"' in str(error)
