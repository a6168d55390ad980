"""M-Bus meters through the agent: asked in several frames, sealed as one answer, replayed one by one and by track."""

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random

from cloud.store import Store
from drivers.columns import Layouts, replay_track
from drivers.replay import replay_chunk
from edge import config
from protocols.record import invite
from protocols.record.answer import Answer
from simulator.mbus_meters import MbusMeter
from simulator.ports import SerialPort
from simulator.rs485 import Pair
from simulator.stations import Station, spread
from simulator.truth import TruthLog

MODE = "2400-8E1"
HOUR = 3_600_000


@dataclass(frozen=True)
class Pipe:
    """A pipe that carries more every second."""

    at: int

    def energy(self, unit):
        return self.at // 1000 % 10**8

    def volume(self):
        return 98_765

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


def test_two_meters_by_address_and_by_number(box, kit, tmp_path):
    log = tmp_path / "truth.jsonl"
    truth = TruthLog(log)
    points = ["energy_heat", "temp_supply", "meter_number"]
    made = box(
        kit.serial_port(mode=MODE),
        kit.meter(1, "bus", "mbus-heat", points, "15s", "7"),
        kit.meter(2, "bus", "mbus-heat-gj", ["temp_return", "hours"], "15s", "10000008"),
    )
    world = kit.world(made, {})

    def wire(port, clock):
        pair = Pair(clock, Random(1))
        for number, address in ((7, 7), (8, 0)):
            Station(pair, MbusMeter(f"H{number}", address, f"1000000{number}", Pipe, truth), MODE, spread(20, 120))
        return SerialPort(pair, port.name, shared=True)

    world.wires = wire
    world.run(300)
    truth.close()
    installation = config.load(made.state).installation
    served = {
        Decimal(value)
        for line in Path(log).read_text("ascii").splitlines()
        for key, _, value in json.loads(line)["served"]
        if key == "0C04" and json.loads(line)["device"] == "H7"
    }
    layouts, energies = Layouts(), []
    for header, chunks in made.blocks():
        for chunk in chunks:
            assert chunk.counters.answered == chunk.counters.asked
            readings = list(replay_chunk(installation, header, chunk))
            energies += [reading.value for reading in readings if reading.point == "energy_heat"]
            by_track = [
                (column.point.id, column.decimal(index))
                for track in chunk.tracks
                for table in [replay_track(installation.drivers[chunk.device], track, layouts)]
                for index in range(len(track.times))
                for column in table
            ]
            assert sorted(by_track) == sorted((reading.point, reading.value) for reading in readings)
    assert len(energies) >= 18 and len(set(energies)) == len(energies)
    assert set(energies) <= served
    booked, verdicts = taken_in(made, tmp_path, world.start + HOUR)
    assert [verdict.answer for verdict in verdicts] == [Answer.STORED] * len(made.blocks())
    consumed = [row.interval for row in booked if row.interval.point == "energy_heat"]
    assert {(interval.unit, interval.quality) for interval in consumed} == {("kWh", "measured")}
    assert sum(interval.readings for interval in consumed) >= 18
    assert all(interval.consumption > 0 for interval in consumed)


def taken_in(made, folder, now):
    """Enrol the box with a new collector and send it everything: what is booked, and the answers."""
    store = Store(folder / "collector.db", made.collector)
    code = invite.make(Random(2).randbytes(9), made.collector.spki)
    store.create_invite(code, None, now + HOUR, now)
    enrolment = (made.state / config.ENROLMENT).read_bytes()
    store.enrol(code.format(), enrolment, made.envelopes[0], list(made.profiles.values()), now)
    outbox = made.outbox()
    frames = [outbox.batch(0, seq, 1, 1)[0].frame for seq in range(outbox.chain().link.seq)]
    outbox.close()
    verdicts = [verdict for frame in frames for verdict in store.append([frame], now)[0]]
    booked = store.intervals()
    store.close()
    return booked, verdicts
