"""The simulated meters: what real ones say, and when they keep quiet."""

import json
from pathlib import Path

import pytest

from simulator.meters import listeners
from simulator.modbus_meters import crc
from simulator.truth import Truth, TruthLog
from simulator.world import World

NOON = 1_795_406_400_000
MAIN, OFFICE = "202311070001", "058581160068"


class Bench:
    """The site on a bench: ask a port, see every reply."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "truth.jsonl"
        self.truth = TruthLog(self.path)
        self.ports = listeners(World(7), self.truth)

    def ask(self, port: str, data: bytes, at: int = NOON) -> list[bytes]:
        return [reply for meter in self.ports[port] for reply in meter.hear(data, at)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def frame(address: str, control: int, data: bytes) -> bytes:
    """A DL/T 645 frame, made by hand."""
    own = bytes.fromhex(address)[::-1]
    body = bytes([0x68, *own, 0x68, control, len(data), *((byte + 0x33) & 0xFF for byte in data)])
    return b"\xfe" * 4 + body + bytes([sum(body) & 0xFF, 0x16])


def read(address: str, identifier: str) -> bytes:
    return frame(address, 0x11, bytes.fromhex(identifier)[::-1])


def rtu(*body: int) -> bytes:
    return bytes(body) + crc(bytes(body))


def inside(reply: bytes) -> bytes:
    """The data of a DL/T 645 reply after its FE bytes, offset removed."""
    assert reply.startswith(b"\xfe\xfe\xfe\xfe\x68")
    return bytes((byte - 0x33) & 0xFF for byte in reply[14:-2])


def test_a_dlt645_meter_answers_with_a_preamble_its_address_and_the_identifier(bench: Bench) -> None:
    (reply,) = bench.ask("bus-1", read(MAIN, "00010000"))
    assert reply[5:11] == bytes.fromhex(MAIN)[::-1]
    assert (reply[12], reply[13]) == (0x91, 8)
    assert inside(reply)[:4] == bytes.fromhex("00000100")
    served = json.loads(bench.path.read_text())["served"]
    digits = inside(reply)[4:][::-1].hex()
    assert served == [["00010000", int(digits), f"{digits[:6].lstrip('0')}.{digits[6:]}"]]


def test_an_address_with_68_and_16_in_it_is_found_in_noise_and_in_pieces(bench: Bench) -> None:
    stream = b"\x68\x00\x16\xff" + read(OFFICE, "00010000")
    assert [reply for at in range(len(stream)) for reply in bench.ask("bus-1", stream[at : at + 1])]


def test_the_beginning_of_a_frame_is_forgotten_after_half_a_second(bench: Bench) -> None:
    whole = read(MAIN, "00010000")
    assert bench.ask("bus-1", whole[:10]) == []
    assert bench.ask("bus-1", whole[10:], NOON + 501) == []


@pytest.mark.parametrize("address", ["A" * 12, "AAAAAAAA0001"])
def test_wildcards_are_answered_with_the_real_address(bench: Bench, address: str) -> None:
    replies = bench.ask("bus-1", read(address, "00010000"))
    assert bytes.fromhex(MAIN)[::-1] in [reply[5:11] for reply in replies]


@pytest.mark.parametrize(
    "request_",
    [
        read("202311070002", "00010000"),
        read("999999999999", "00010000"),
        frame("999999999999", 0x08, bytes(6)),
        read(MAIN, "00010000")[:-2] + b"\x00\x16",
        rtu(4, 3, 0, 10, 0, 2),
        rtu(3, 3, 0, 10, 0, 2)[:-1] + b"\x00",
        b"\x16\x68\xfe",
    ],
    ids=["other address", "broadcast read", "broadcast time", "bad checksum", "other unit", "bad CRC", "noise"],
)
def test_nobody_answers_what_is_not_for_them(bench: Bench, request_: bytes) -> None:
    assert bench.ask("bus-1", request_) == []


def test_an_unknown_identifier_is_refused_with_no_such_data(bench: Bench) -> None:
    (reply,) = bench.ask("bus-1", read(MAIN, "0FEDCBA9"))
    assert (reply[12], inside(reply)) == (0xD1, b"\x02")


def test_a_write_is_refused_as_not_authorised(bench: Bench) -> None:
    (reply,) = bench.ask("bus-1", frame(MAIN, 0x1C, bytes(8)))
    assert (reply[12], inside(reply)) == (0xDC, b"\x04")


def test_a_single_phase_meter_fills_the_missing_phases_with_ff(bench: Bench) -> None:
    (reply,) = bench.ask("bus-1", read(OFFICE, "0201FF00"))
    assert inside(reply)[6:] == b"\xff" * 4
    (reply,) = bench.ask("bus-1", read(OFFICE, "02010200"))
    assert reply[12] == 0xD1


def test_yesterdays_freeze_is_what_the_register_was_at_midnight(bench: Bench) -> None:
    midnight = NOON - 12 * 3_600_000
    (then,) = bench.ask("bus-1", read(MAIN, "0001FF00"), midnight)
    (frozen,) = bench.ask("bus-1", read(MAIN, "05060101"), NOON)
    assert inside(frozen)[4:] == inside(then)[4:]


@pytest.mark.parametrize(
    ("body", "exception"),
    [
        ((3, 4, 0, 0, 0, 2), 1),
        ((3, 3, 2, 0, 0, 2), 2),
        ((3, 3, 0, 0, 0, 0), 3),
        ((3, 3, 0, 0, 0, 126), 3),
        ((3, 6, 0, 0, 0, 1), 1),
    ],
    ids=["function", "address", "no register", "too many", "write"],
)
def test_modbus_exceptions(bench: Bench, body: tuple[int, ...], exception: int) -> None:
    assert bench.ask("bus-1", rtu(*body)) == [rtu(3, body[1] | 0x80, exception)]


def test_a_register_cut_in_half_is_sent_but_is_no_served_number(bench: Bench) -> None:
    (whole,) = bench.ask("bus-1", rtu(3, 3, 0, 10, 0, 2))
    (half,) = bench.ask("bus-1", rtu(3, 3, 0, 11, 0, 1))
    assert half[3:5] == whole[5:7]
    assert [len(json.loads(line)["served"]) for line in bench.path.read_text().splitlines()] == [1, 0]


def test_modbus_tcp_takes_its_requests_in_pieces_and_keeps_the_transaction(bench: Bench) -> None:
    ask = bytes.fromhex("beef 0000 0006 01 04 0048 0002") * 2
    replies = [reply for at in range(len(ask)) for reply in bench.ask("feeder-2", ask[at : at + 1])]
    assert [reply[:9].hex() for reply in replies] == ["beef00000007010404"] * 2
    assert bench.ask("feeder-2", bytes.fromhex("beef 0000 0006 02 04 0048 0002")) == []


def test_what_is_no_modbus_is_hung_up_on(bench: Bench) -> None:
    with pytest.raises(ConnectionError, match="expected a Modbus TCP header"):
        bench.ask("feeder-2", b"GET / HTTP/1.1\r\n")


def test_the_analyser_says_that_it_is_calibrated(bench: Bench) -> None:
    ask = bytes.fromhex("0001 0000 0006 01 02 03e8 0005")
    assert bench.ask("stack", ask)[0][-1] == 0b10000
    assert bench.ask("stack", ask, NOON - 9 * 3_600_000)[0][-1] == 0b00110


def test_the_truth_is_the_register_last_served_at_or_before_an_instant(bench: Bench) -> None:
    for at in (NOON, NOON + 3_600_000):
        bench.ask("bus-1", read(MAIN, "00010000"), at)
        bench.ask("bus-1", read(OFFICE, "00010000"), at)
    with bench.path.open("a") as log:
        log.write('{"utc_ms":17954')  # a line that is still being written
    truth = Truth({"M-01": "00010000"})
    truth.read(bench.path)
    assert truth.at("M-01", NOON - 1) is None
    first, second = truth.at("M-01", NOON + 3_599_999), truth.at("M-01", NOON + 3_600_000)
    assert first is not None and second is not None and first < second
