"""The simulated water, gas, heat and cold meters: what real ones say, which questions they do not understand."""

import json
from pathlib import Path

import pytest

from drivers import builtin, profile_file, replay
from drivers.driver import driver
from drivers.site import Device
from simulator.cjt188_meters import GJ, KWH, Cjt188Meter, Make, cold, gas, heat, water
from simulator.pipes import within
from simulator.truth import TruthLog
from simulator.world import World

NOON = 1_795_406_400_000  # 2026-11-23 12:00 in Shanghai
NUMBER = "78330020231101"
MAKES = {"water": water(), "gas": gas(), "heat": heat(), "cold": cold()}


class Bench:
    """One meter on a bench: ask it, see what it says and what it notes."""

    def __init__(self, folder: Path, make: Make, pipe: str = "H-01") -> None:
        self.path = folder / "truth.jsonl"
        self.meter = Cjt188Meter("X", NUMBER, make, within(World(7), pipe), TruthLog(self.path))

    def ask(self, data: bytes, at: int = NOON) -> list[bytes]:
        return self.meter.hear(data, at)

    def served(self) -> dict[str, str]:
        return {name: value for name, _, value in json.loads(self.path.read_text().splitlines()[-1])["served"]}


def frame(meter_type: int, data: str, control: int = 0x01, address: str = NUMBER) -> bytes:
    """A CJ/T 188 frame, made by hand."""
    data_ = bytes.fromhex(data)
    body = bytes([0x68, meter_type, *bytes.fromhex(address)[::-1], control, len(data_)]) + data_
    return b"\xfe\xfe" + body + bytes([sum(body) & 0xFF, 0x16])


@pytest.mark.parametrize("name", MAKES)
def test_each_understands_one_order_of_the_identifier_and_is_silent_to_the_other(tmp_path: Path, name: str) -> None:
    make = MAKES[name]
    own, other = ("1F90", "901F") if make.low_first else ("901F", "1F90")
    bench = Bench(tmp_path, make)
    assert bench.ask(frame(make.asked_as, other + "00")) == []
    (reply,) = bench.ask(frame(make.asked_as, own + "5A"), NOON + 1000)
    assert reply.startswith(b"\xfe" * make.preamble + b"\x68" + bytes([make.answers_as]))
    body = reply.lstrip(b"\xfe")
    assert body[2:9] == bytes.fromhex(NUMBER)[::-1] and body[9] == 0x81
    assert body[11:14].hex().upper() == own + "5A"
    assert len(body) == 13 + body[10] and body[10] == (0x2E if name in ("heat", "cold") else 0x16)


def test_a_water_meter_without_settlement_day_and_clock_fills_them_with_ff(tmp_path: Path) -> None:
    bench = Bench(tmp_path, water(), "W-01")
    (reply,) = bench.ask(frame(0x10, "1F9000"))
    data = reply.lstrip(b"\xfe")[14:-2]
    assert data[4] == data[9] == 0x2C and data[5:9] == b"\xff" * 4 and data[10:17] == b"\xff" * 7
    assert bench.served()["901F.volume"] == f"{int(data[3::-1].hex())}"[:-2] + "." + data[:1].hex()


def test_a_gas_meter_tells_its_clock_seconds_first_and_what_stood_on_the_first_of_the_month(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gas(), "G-01")
    (reply,) = bench.ask(frame(0x30, "901F00"))
    assert reply.lstrip(b"\xfe")[24:31].hex() == "00001223112620"
    settled = bench.served()["901F.settlement_volume"]
    first = NOON - 22 * 86_400_000 - 12 * 3_600_000
    bench.ask(frame(0x30, "901F00"), first)
    assert bench.served()["901F.volume"] == settled


@pytest.mark.parametrize(
    "request_",
    [
        frame(0x20, "901F00", address="78330020231102"),
        frame(0x10, "901F00"),
        frame(0x20, "901F00", address="99" * 7),
        frame(0x20, "901F00", control=0x81),
        frame(0x20, "901F00")[:-2] + b"\x00\x16",
        frame(0x20, "90"),
        b"\x16\x68\xfe",
    ],
    ids=["other address", "other type", "broadcast", "a reply", "bad checksum", "no serial number", "noise"],
)
def test_it_is_silent_to_what_is_not_for_it(tmp_path: Path, request_: bytes) -> None:
    assert Bench(tmp_path, heat()).ask(request_) == []


def test_wildcards_bring_the_real_address(tmp_path: Path) -> None:
    (reply,) = Bench(tmp_path, heat()).ask(frame(0xAA, "810A00", 0x03, "AA" * 7))
    assert reply.lstrip(b"\xfe")[2:9] == bytes.fromhex(NUMBER)[::-1]
    assert reply.lstrip(b"\xfe")[9:14] == bytes.fromhex("8303810A00")


@pytest.mark.parametrize(("control", "data"), [(0x04, "A0170055"), (0x15, "A01800"), (0x01, "810200")])
def test_what_it_will_not_do_is_refused_with_its_status(tmp_path: Path, control: int, data: str) -> None:
    bench = Bench(tmp_path, cold(low_first=False), "C-01")
    (reply,) = bench.ask(frame(0x21, data, control))
    assert reply.lstrip(b"\xfe")[9:14] == bytes([0xC0 | control, 3, 0x00, 0x04, 0x00])


def test_a_request_comes_in_pieces_with_noise_before_it_and_is_forgotten_after_half_a_second(tmp_path: Path) -> None:
    bench = Bench(tmp_path, heat())
    stream = b"\x00\x16\xff" + frame(0x20, "901F00")
    assert [reply for at in range(len(stream)) for reply in bench.ask(stream[at : at + 1])]
    assert bench.ask(stream[:12], NOON + 1000) == []
    assert bench.ask(stream[12:], NOON + 1501) == []


@pytest.mark.parametrize(("unit", "model"), [(KWH, "cjt188-heat"), (GJ, "cjt188-heat-gj"), (KWH, "cjt188-heat-gj")])
def test_our_driver_reads_a_heat_meter_of_either_unit(tmp_path: Path, unit: int, model: str) -> None:
    profile = profile_file.load(builtin.builtin(model))
    held = driver(Device(id="X", profile=model, port="p", address=NUMBER), profile)
    bench = Bench(tmp_path, heat(unit), "C-01")
    (reply,) = bench.ask(held.queries()[0].request)
    frame_ = held.recogniser(held.queries()[0].request).feed(reply)
    assert frame_ is not None
    values, served = replay.values(held, held.queries()[0].request, frame_), bench.served()
    worth = 36 / 10_000 if (unit, model) == (KWH, "cjt188-heat-gj") else 1
    assert float(values["energy_heat"] or 0) == pytest.approx(float(served["901F.energy2"]) * worth)
    assert f"{values['power']:.2f}" == served["901F.power"] and f"{values['temp_supply']}" == served["901F.temp_supply"]
