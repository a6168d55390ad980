"""The agent with meters that refuse what their manual allows: nothing is lost, all is told, and it is remembered."""

import json
from random import Random

from cloud.course import check_plan
from cloud.store import Store
from drivers.replay import replay_chunk
from edge import config
from protocols import modbus
from protocols.record import invite
from protocols.record.answer import Answer
from protocols.record.chunk import BACK_OFF, REFUSED

POINTS = ["voltage_a", "power_a", "power_factor_a"]
"""Registers 0, 12 and 30 of the meter, one read of its plan."""


def refusing(kit, *registers):
    """A meter on a serial line that answers no read over these registers; and what it was asked."""
    answer, asked = kit.rtu(), []

    def meter(request):
        found = modbus.parse_rtu(request)
        asked.append((found.address, found.count))
        if any(found.address <= at < found.address + found.count for at in registers):
            return [(40, modbus.frame_rtu(found.unit, bytes([found.function | 0x80, 2])))]
        return answer(request)

    return meter, asked


def readings(made):
    """(point, instant) of every reading on record, each block checked as a collector does."""
    installation, found = config.load(made.state).installation, []
    for header, chunks in made.blocks():
        check_plan(header, chunks, installation)
        for chunk in chunks:
            found += [(reading.point, reading.at) for reading in replay_chunk(installation, header, chunk)]
    return found


def test_a_read_that_is_refused_is_asked_in_pieces_and_no_reading_is_lost(box, kit):
    made = box(kit.serial_port(), kit.meter(1, "bus", "eastron-sdm630", POINTS))
    meter, asked = refusing(kit, 6)
    kit.world(made, {"bus": meter}).run(299)
    held = readings(made)
    for point in POINTS:
        slots = {at // 10_000 for name, at in held if name == point}
        assert len(slots) == 30, "every slot, the first one too"
    assert asked.count((0, 32)) == 1, "the whole was asked once"
    counters = [chunk.counters for _, chunks in made.blocks() for chunk in chunks]
    faults = [fault.code for _, chunks in made.blocks() for chunk in chunks for fault in chunk.faults]
    assert faults.count(REFUSED) == 1 and faults.count(BACK_OFF) == 29, "what the plan asks and was not asked is told"
    assert sum(counter.due for counter in counters) == sum(counter.answered for counter in counters) + 30


def test_what_was_learned_is_known_after_a_restart_and_can_be_told(box, kit):
    made = box(kit.serial_port(), kit.meter(1, "bus", "eastron-sdm630", POINTS))
    meter, asked = refusing(kit, 6)
    world = kit.world(made, {"bus": meter})
    world.run(299)
    before = len(asked)
    world.run(119)
    assert (0, 32) not in asked[before:]
    [entry] = json.loads((made.state / config.LEARNED).read_bytes())["devices"].values()
    assert entry["latencies"] and all(35 <= ms <= 60 for ms in entry["latencies"])
    assert len({at // 10_000 for name, at in readings(made) if name == "power_a"}) == 42


def test_after_a_day_the_whole_is_asked_again(box, kit):
    made = box(kit.serial_port(), kit.meter(1, "bus", "eastron-sdm630", POINTS, period="15m"), block="1h")
    meter, asked = refusing(kit, 6)
    kit.world(made, {"bus": meter}).run(3 * 86_400)
    assert asked.count((0, 32)) == 3
    assert len({at // 900_000 for name, at in readings(made) if name == "power_a"}) == 3 * 96


def test_noise_and_silences_change_nothing_in_what_is_asked(box, kit):
    made = box(kit.serial_port(), kit.meter(1, "bus", "eastron-sdm630", POINTS))
    answer, asked, noise = kit.rtu(), [], Random(1)

    def noisy(request):
        asked.append(request)
        [(delay, reply)] = answer(request)
        kind = noise.randrange(3)
        return [] if kind == 0 else [(delay, reply if kind == 1 else reply[:-1] + bytes([reply[-1] ^ 1]))]

    kit.world(made, {"bus": noisy}).run(1199)
    assert len(set(asked)) == 1


def test_why_an_answer_cannot_be_taken_is_said_aloud_once(box, kit):
    made = box(kit.serial_port(), kit.sdm(1, "bus"))
    meter, _ = refusing(kit, *range(0x48, 0x4A))
    world = kit.world(made, {"bus": meter})
    world.run(25)
    said = [known for event, known in world.logged if event == "undecoded"]
    assert said[0]["device"] == "M-1" and said[0]["port"] == "bus" and "refused" in str(said[0]["why"])
    levels = [level for event, level in world.levels if event == "undecoded"]
    assert levels[0] == "warning" and set(levels[1:]) == {"debug"}


def test_a_meter_that_refuses_a_point_is_asked_the_others(box, kit):
    made = box(kit.serial_port(), kit.meter(1, "bus", "eastron-sdm630", POINTS))
    meter, asked = refusing(kit, 12)
    kit.world(made, {"bus": meter}).run(599)
    held = readings(made)
    assert {name for name, _ in held} == {"voltage_a", "power_factor_a"}
    assert len([at for name, at in held if name == "voltage_a"]) == 60
    assert asked.count((12, 2)) == 3, "given up for the day after three refusals alike"


def test_a_collector_takes_the_pieces_in_and_books_from_them(box, kit, tmp_path):
    """The counter of this meter comes only in pieces: it is read together with registers that the meter refuses."""
    made = box(kit.serial_port(), kit.meter(1, "bus", "eastron-sdm630", ["power_factor", "energy_import"]))
    meter, asked = refusing(kit, 0x42)
    kit.world(made, {"bus": meter}).run(3599)
    assert (0x48, 2) in asked and (0x3E, 12) in asked
    store, now = Store(tmp_path / "collector.db", made.collector), kit.start + 7_200_000
    code = invite.make(Random(2).randbytes(9), made.collector.spki)
    store.create_invite(code, None, now + 3_600_000, now)
    enrolment = (made.state / config.ENROLMENT).read_bytes()
    store.enrol(code.format(), enrolment, made.envelopes[0], list(made.profiles.values()), now)
    outbox = made.outbox()
    frames = [outbox.batch(0, seq, 1, 1)[0].frame for seq in range(outbox.chain().link.seq)]
    outbox.close()
    assert {verdict.answer for frame in frames for verdict in store.append([frame], now)[0]} == {Answer.STORED}
    booked = [row.interval for row in store.intervals(point="energy_import", closed=True)]
    assert len(booked) >= 2 and {interval.quality for interval in booked} == {"measured"}
