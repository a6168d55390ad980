"""The simulated M-Bus meter, and the whole way of its values: meter, pair, agent, record, replay."""

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from drivers import builtin, profile_file
from drivers.driver import driver
from drivers.replay import values
from drivers.site import Device, Port
from edge.bus import Bus, Talk
from simulator.mbus_meters import MbusMeter
from simulator.ports import SerialPort
from simulator.rs485 import Noise, Pair
from simulator.stations import Mood, Station, spread
from simulator.time import SimClock, VirtualLoop
from simulator.truth import TruthLog

HEAT = profile_file.load(builtin.builtin("mbus-heat"))


@dataclass(frozen=True)
class Pipe:
    """A pipe that carries more every second."""

    at: int

    def energy(self, unit):
        return 1_234_567 + self.at // 1000

    def volume(self):
        return 98_765 + self.at // 1000

    def power(self):
        return 3_470

    def flow(self):
        return 5_430

    def supply(self):
        return 7_550

    def back(self):
        return 5_940

    def hours(self):
        return 1_942


@pytest.fixture
def truth(tmp_path):
    log = TruthLog(tmp_path / "truth.jsonl")
    yield log
    log.close()


def ask(meter, held, at):
    """One whole answer, as a driver asks for it."""
    request = following = held.queries()[0].request
    reply = b""
    while following is not None:
        for said in meter.hear(following, at):
            reply += held.recogniser(following).feed(said)
        following = held.follow_up(request, reply)
    return values(held, request, reply)


@pytest.mark.parametrize("address", ["5", "12345678"])
def test_a_meter_that_repeats_itself_is_read_as_it_is_now(address, truth):
    """Asked again and again, also with what it said last time still in its buffer."""
    meter = MbusMeter("H", 5, "12345678", Pipe, truth)
    held = driver(Device(id="H", profile="mbus-heat", port="p", address=address), HEAT)
    for at in (0, 60_000, 120_000, 180_000):
        found = ask(meter, held, at)
        assert found["energy_heat"] == Decimal(1_234_567 + at // 1000) / 100
        assert found["volume"] == Decimal(98_765 + at // 1000) / 100
        assert (found["power_heat"], found["flow"]) == (Decimal("34.7"), Decimal("0.543"))
        assert (found["temp_supply"], found["temp_return"]) == (Decimal("75.5"), Decimal("59.4"))
        assert (found["hours"], found["meter_number"], found["status"]) == (1942, 12345678, 0)


def test_it_answers_only_what_is_for_it(truth):
    meter = MbusMeter("H", 5, "12345678", Pipe, truth)
    for burst in ("105b066116", "105b056116", "105b0560", "105afd5716", "68 03 03 68 53 05 50 a8 16", "", "e5"):
        assert meter.hear(bytes.fromhex(burst), 0) == []
    assert meter.hear(bytes.fromhex("105bfd5816"), 0) == []
    first = meter.hear(bytes.fromhex("105b056016"), 0)
    assert meter.hear(bytes.fromhex("105b056016"), 60_000) == first
    assert meter.hear(bytes.fromhex("107b058016"), 60_000) != first


class Links:
    """An M-Bus pair of two meters in virtual time, asked by the edge's own bus."""

    def __init__(self, tmp_path, noise=None, moods=(None, None)):
        self.loop = VirtualLoop()
        self.clock = SimClock(self.loop, 0)
        self.log = tmp_path / "truth.jsonl"
        self.truth = TruthLog(self.log)
        pair = Pair(self.clock, Random(1), noise)
        mode = "2400-8E1"
        for number, mood in enumerate(moods, 1):
            meter = MbusMeter(f"H{number}", number, f"1000000{number}", Pipe, self.truth)
            Station(pair, meter, mode, spread(20, 120), mood)
        self.bus = Bus(SerialPort(pair, "m"), Port("m", device="/dev/m", mode=mode), self.clock)

    def read(self, address, times, every_s):
        """The values of so many answers of one meter; None for a fault."""
        held = driver(Device(id="H", profile="mbus-heat", port="m", address=address), HEAT)
        request = held.queries()[0].request
        talk = Talk(0, 0, request, held.recogniser, timeout_ms=1500, guard_ms=50, late_ms=500, follow_up=held.follow_up)

        async def main():
            found = []
            for _ in range(times):
                exchange = await self.bus.run(talk)
                found.append(None if exchange.fault else values(held, request, exchange.reply))
                await self.clock.sleep(every_s)
            await self.bus.close()
            return found

        try:
            return self.loop.run_until_complete(main())
        finally:
            self.loop.close()
            self.truth.close()

    def energies(self, device):
        """What the meter really served."""
        lines = [json.loads(line) for line in Path(self.log).read_text("ascii").splitlines()]
        return [
            value for line in lines if line["device"] == device for key, _, value in line["served"] if key == "0C04"
        ]


@pytest.mark.parametrize("address", ["1", "10000002"])
def test_over_a_pair_every_value_is_one_that_the_meter_served_just_then(address, tmp_path):
    links = Links(tmp_path)
    found = links.read(address, 20, 60)
    served = [Decimal(value) for value in links.energies(f"H{address[-1]}")]
    read = [None if held is None else held["energy_heat"] for held in found]
    assert None not in read
    assert all(value in served for value in read)
    assert len(set(read)) == 20, "no answer of last time was taken for one of now"


def test_over_a_noisy_pair_a_value_is_right_or_missing(tmp_path):
    links = Links(tmp_path, Noise(flipped=0.002, strays=0.05), (Mood(cut=0.1), Mood()))
    found = links.read("1", 60, 60)
    served = [Decimal(value) for value in links.energies("H1")]
    read = [held["energy_heat"] for held in found if held is not None and held["energy_heat"] is not None]
    assert 10 < len(read) < 60
    assert all(value in served for value in read)
    assert read == sorted(read)
