"""After an outage over midnights the meter's own freezes are on record before the first reading of today."""

import asyncio
from decimal import Decimal
from itertools import takewhile
from random import Random

from cloud import course
from drivers.replay import replay_chunk
from edge import config
from protocols.dlt645_frame import Frame
from simulator.dlt645_meters import Dlt645Meter
from simulator.electricity import behind
from simulator.ports import SerialPort
from simulator.rs485 import Pair
from simulator.stations import Mood, Station, steady
from simulator.truth import TruthLog
from simulator.world import DAY_MS, World

EVENING = 1_795_363_200_000 - 3 * 3_600_000
"""2026-11-22 21:00 in Shanghai."""
NUMBER = "058581160068"
MODE = "2400-8E1"
POINTS = ["energy_import", "energy_import_daily"]
HOUR = 3600


def site(box, kit, tmp_path, period="60s", points=POINTS):
    """A box with one meter on a simulated pair, and the world it lives in from the evening on."""
    meter = kit.meter(1, "bus", "dlt645-2007-single-phase", points, period, NUMBER)
    made = box(kit.serial_port(mode=MODE), meter)
    world = kit.world(made, {}, start=EVENING)
    world.mood = Mood()
    seen = behind(World(7), "M-02")

    def wire(port, clock):
        pair = Pair(clock, Random(1))
        world.log = pair.log = []
        meter = Dlt645Meter("M-1", NUMBER, 1, seen, TruthLog(tmp_path / "truth.jsonl"))
        Station(pair, meter, MODE, steady(40), world.mood)
        return SerialPort(pair, port.name, latency_ms=16)

    world.wires = wire
    world.register = lambda at: Decimal(seen(at).energy(0, at)).scaleb(-2)
    return made, world


def readings(made):
    """(block, point, value, of when) in the order of the record; each block fits the signed plan."""
    installation, found = config.load(made.state).installation, []
    for seq, (header, chunks) in enumerate(made.blocks()):
        course.check_plan(header, chunks, installation)
        for chunk in chunks:
            held = replay_chunk(installation, header, chunk)
            found += [(seq, reading.point, reading.value, reading.at) for reading in held]
    return found


def frozen(found):
    return [(value, at) for _, point, value, at in found if point == "energy_import_daily"]


def midnights(*days):
    return [EVENING + 3 * 3_600_000 + day * DAY_MS for day in days]


def test_a_box_that_was_down_over_three_midnights_asks_for_them_first(box, kit, tmp_path):
    made, world = site(box, kit, tmp_path)
    world.run(HOUR)
    before = len(made.blocks())
    world.start = EVENING + 2 * DAY_MS + 5 * 3_600_000
    world.run(HOUR / 2)
    after = [entry for entry in readings(made) if entry[0] >= before]
    assert frozen(after) == [(world.register(at), at) for at in midnights(0, 1, 2)]
    first_live = next(seq for seq, point, _, _ in after if point == "energy_import")
    assert all(seq <= first_live for seq, point, _, _ in after if point == "energy_import_daily")
    last_live = len([1 for entry in after if entry[1] == "energy_import"])
    assert 30 <= last_live <= 31


def test_the_hours_of_the_last_two_days_come_between_the_midnights_in_order_of_time(box, kit, tmp_path):
    made, world = site(box, kit, tmp_path, points=[*POINTS, "energy_import_hourly"])
    world.run(HOUR)
    before = len(made.blocks())
    world.start = back = EVENING + 3 * DAY_MS + 3 * 3_600_000
    world.run(HOUR / 2)
    after = [entry for entry in readings(made) if entry[0] >= before]
    hours = [back - hour * 3_600_000 for hour in reversed(range(48))]
    found = [(value, at) for _, point, value, at in after if point == "energy_import_hourly"]
    assert found == [(world.register(at), at) for at in hours]
    kept = [at for _, point, _, at in after if point.startswith("energy_import_")]
    seqs = [seq for seq, point, _, _ in after if point.startswith("energy_import_")]
    assert len(kept) == 48 + 4 and max(seqs) <= min(seq for seq, point, _, _ in after if point == "energy_import")


def test_a_series_that_the_meter_refuses_is_not_asked_on(box, kit, tmp_path):
    made, world = site(box, kit, tmp_path, points=[*POINTS, "energy_import_hourly"])
    world.run(HOUR)
    before = len(made.blocks())
    world.start = EVENING + 2 * DAY_MS + 5 * 3_600_000
    wires, asked = world.wires, []

    def without_hours(port, clock):
        end = wires(port, clock)
        meter = end._pair.listeners[0]._meter
        hear = meter.hear

        def refuse(data, at):
            if data[-4:-2] != b"\x37\x38":
                return hear(data, at)
            asked.append(data)
            return [Frame(NUMBER, 0xD1, b"\x02").to_bytes()]

        meter.hear = refuse
        return end

    world.wires = without_hours
    world.run(HOUR / 2)
    after = [entry for entry in readings(made) if entry[0] >= before]
    assert frozen(after) == [(world.register(at), at) for at in midnights(0, 1, 2)]
    assert len(asked) <= 3


def test_a_meter_that_was_silent_over_a_midnight_is_asked_for_it(box, kit, tmp_path):
    made, world = site(box, kit, tmp_path)

    async def silence(world):
        await asyncio.sleep(HOUR)
        world.mood.dead = True
        await asyncio.sleep(4 * HOUR)
        world.mood.dead = False

    world.run(6 * HOUR, silence)
    found = readings(made)
    assert frozen(found) == [(world.register(at), at) for at in midnights(0)]
    order = [point for _, point, _, at in sorted(found, key=lambda entry: entry[0])]
    assert "energy_import_daily" in order


def test_an_ordinary_midnight_and_a_short_stop_ask_nothing_more(box, kit, tmp_path):
    made, world = site(box, kit, tmp_path)
    world.run(3 * HOUR - 30)
    world.run(2 * HOUR)
    assert frozen(readings(made)) == []


def test_a_meter_without_freezes_is_read_at_once(box, kit, tmp_path):
    made, world = site(box, kit, tmp_path, points=["energy_import"])
    world.run(HOUR)
    world.start = EVENING + 2 * DAY_MS
    world.run(HOUR)
    live = [at for _, point, _, at in readings(made) if point == "energy_import" and at > EVENING + DAY_MS]
    assert len(live) >= 60


def test_a_meter_that_is_silent_to_such_questions_is_left_alone_with_them(box, kit, tmp_path):
    made, world = site(box, kit, tmp_path)
    world.run(HOUR)
    before = len(made.blocks())
    world.start = EVENING + 2 * DAY_MS
    wires = world.wires

    def deaf(port, clock):
        end = wires(port, clock)
        station = end._pair.listeners[0]
        hear = station._meter.hear
        station._meter.hear = lambda data, at: [] if b"\x39\x38" in data[-4:-2] else hear(data, at)
        return end

    world.wires = deaf
    world.run(HOUR)
    after = [entry for entry in readings(made) if entry[0] >= before]
    assert frozen(after) == []
    assert len([1 for entry in after if entry[1] == "energy_import"]) >= 55
    assert [event for event, _ in world.logged].count("past_given_up") == 1
    assert list(takewhile(lambda event: event != "past_given_up", (event for event, _ in world.logged)))
