"""The whole agent in virtual time: what is asked, what is recorded, what the chain says of starts, stops and steps."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from drivers.slots import slots
from edge import config
from protocols import dlt645, modbus
from protocols.record.block import EventKind
from protocols.record.chunk import BACK_OFF, DAMAGED, IMPOSSIBLE, OVERRUN, PORT_GONE, REFUSED, SILENT


def kinds(header):
    return [EventKind(event.kind) for event in header.events]


def codes(chunk):
    return [fault.code for fault in chunk.faults]


def totals(blocks, device=0):
    """Counters of a device over all blocks, and how many slots the plan owed it in them."""
    counters = [chunk.counters for _, chunks in blocks for chunk in chunks if chunk.device == device]
    return {name: sum(getattr(counter, name) for counter in counters) for name in counters[0].__slots__}


def test_every_slot_is_answered_and_counted(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1), kit.sdm(2, period="20s"))
    kit.world(made, {"net": kit.registers()}).run(179)
    blocks = made.blocks()
    assert len(blocks) == 3
    for header, chunks in blocks:
        for device, period in ((0, 10_000), (1, 20_000)):
            counters = chunks[device].counters
            assert counters.due == counters.asked == counters.answered == len(slots(period, *header.utc))
    assert kinds(blocks[0][0]) == [EventKind.BOOT, EventKind.CONFIGURATION]
    assert kinds(blocks[-1][0]) == [EventKind.SHUTDOWN]


def test_every_recorded_reply_replays(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    kit.world(made, {"net": kit.registers(0x41200000)}).run(59)
    from drivers.replay import replay_chunk

    installation = config.load(made.state).installation
    readings = [
        reading
        for header, chunks in made.blocks()
        for chunk in chunks
        for reading in replay_chunk(installation, header, chunk)
    ]
    assert [str(reading.value) for reading in readings] == ["10"] * 6
    assert [reading.at for reading in readings] == [kit.start + 10 + 10_000 * n for n in range(6)]


def test_blocks_meet_within_a_boot_and_boots_count_starts(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": kit.registers()})
    world.run(150)
    world.run(70)
    blocks = [header for header, _ in made.blocks()]
    for before, after in itertools.pairwise(blocks):
        if before.boot == after.boot:
            assert before.mono[1] == after.mono[0] and before.utc[1] == after.utc[0]
        else:
            assert kinds(after)[0] == EventKind.BOOT
            assert (after.events[0].start, after.events[0].end) == (before.utc[1], after.utc[0])
    assert [header.boot for header in blocks] == [1, 1, 1, 2, 2]


def test_a_silent_meter_has_a_chunk_that_says_so(box, kit):
    made = box(kit.serial_port(), kit.sdm(1, "bus"), kit.sdm(2, "bus"))
    answer = kit.rtu()
    kit.world(made, {"bus": lambda request: answer(request) if request[0] == 1 else []}).run(599)
    blocks = made.blocks()
    live, dead = totals(blocks, 0), totals(blocks, 1)
    assert live["due"] == live["answered"] == 60
    assert dead["answered"] == 0 and dead["silent"] == dead["asked"] > 3
    for number, (header, chunks) in enumerate(blocks):
        assert [chunk.device for chunk in chunks] == [0, 1]
        counters = chunks[1].counters
        assert abs(counters.due - len(slots(10_000, *header.utc))) <= 1
        assert set(codes(chunks[1])) <= {SILENT, BACK_OFF}
        stopped = number == len(blocks) - 1  # its last slot is told of by the shutdown event
        assert counters.due == counters.asked + codes(chunks[1]).count(BACK_OFF) + stopped
    assert abs(dead["due"] - 60) <= 1


def test_one_silent_meter_of_four_costs_the_others_nothing_at_one_second(box, kit):
    made = box(kit.serial_port(), *(kit.sdm(n, "bus", "1s") for n in range(1, 5)))
    answer = kit.rtu(delay=60)
    kit.world(made, {"bus": lambda request: answer(request) if request[0] != 3 else []}).run(599)
    blocks = made.blocks()
    for device in (0, 1, 3):
        counted = totals(blocks, device)
        assert counted["answered"] >= 0.99 * counted["due"], counted


def test_garbage_truncation_wrong_address_and_wrong_crc_are_faults_and_never_values(box, kit):
    made = box(kit.serial_port(), *(kit.sdm(n, "bus", "60s") for n in range(1, 6)))
    answer = kit.rtu()

    def bus(request):
        ((delay, frame),) = answer(request)
        broken = {
            1: b"\x00garbage\xff",
            2: frame[:-3],
            3: modbus.frame_rtu(9, frame[1:-2]),
            4: frame[:-1] + bytes([frame[-1] ^ 1]),
            5: modbus.frame_rtu(5, b"\x84\x02"),
        }
        return [(delay, broken[request[0]])]

    kit.world(made, {"bus": bus}).run(59)
    ((_, chunks),) = made.blocks()
    assert [chunk.tracks for chunk in chunks] == [()] * 5
    assert [codes(chunk) for chunk in chunks] == [[DAMAGED]] * 4 + [[REFUSED]]


def test_a_value_that_cannot_be_is_a_fault_and_not_in_a_track(box, kit):
    made = box(kit.serial_port(), kit.meter(1, "bus", "dlt645-2007-single-phase", ["energy_import"], "60s", "123456"))
    world = kit.world(made, {"bus": lambda request: [(20, kit.energy(request, "0A123456"))]})
    world.run(59)
    ((_, (chunk,)),) = made.blocks()
    assert (codes(chunk), chunk.tracks, chunk.counters.damaged) == ([IMPOSSIBLE], (), 1)
    (said,) = [known["why"] for event, known in world.logged if event == "undecoded"]
    assert said.startswith("56 34 12 0A"), "its bytes, as they came"


def test_a_driver_that_breaks_stops_nobody_else(box, kit, monkeypatch):
    made = box(kit.modbus_port(), kit.modbus_port("net2", "127.0.0.1:2"), kit.sdm(1), kit.sdm(2, "net2"))
    from edge import poller

    real = poller.values

    def breaks(driver, request, reply):
        if request[6] == 1:
            raise RuntimeError("a bug")
        return real(driver, request, reply)

    monkeypatch.setattr(poller, "values", breaks)
    world = kit.world(made, {"net": kit.registers(), "net2": kit.registers()})
    world.run(59)
    ((_, (broken, whole)),) = made.blocks()
    assert codes(broken) == [IMPOSSIBLE] * 6 and whole.counters.answered == 6
    assert any(event == "driver_failed" for event, _ in world.logged)


def test_a_port_that_babbles_costs_the_others_no_reading(box, kit):
    made = box(kit.serial_port(), kit.modbus_port(), kit.sdm(1, "bus"), kit.sdm(2, "net"))
    babble = [(delay, b"\x55") for delay in range(0, 8000, 20)]
    kit.world(made, {"bus": lambda request: babble, "net": kit.registers()}).run(179)
    blocks = made.blocks()
    assert totals(blocks, 0)["answered"] == 0 < totals(blocks, 0)["damaged"]
    assert totals(blocks, 1)["answered"] == totals(blocks, 1)["due"] == 18
    late = [at % 10_000 for _, chunks in blocks for chunk in chunks for track in chunk.tracks for at in track.times]
    assert max(late) <= 1000, "a tenth of the period at most"


def test_dlt645_and_modbus_share_one_bus_without_a_collision(box, kit):
    made = box(
        kit.serial_port(),
        kit.sdm(1, "bus"),
        kit.meter(2, "bus", "dlt645-2007-single-phase", ["energy_import", "power"], "10s", "58581160068"),
    )
    out = []
    modbus_answer = kit.rtu()

    def bus(request):
        out.append(request)
        if request[0] == 1:
            return modbus_answer(request)
        _, identifier = dlt645.parse_request(request)
        return [(30, b"\xfe\xfe" + kit.energy(request, "00123456" if identifier == "00010000" else "001234"))]

    kit.world(made, {"bus": bus}).run(59)
    ((_, chunks),) = made.blocks()
    assert [chunk.counters.answered for chunk in chunks] == [6, 12]
    assert all(track.replies()[0][:1] == b"\x68" for track in chunks[1].tracks)


def test_a_port_that_is_gone_is_fault_seven_and_comes_back_by_itself(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": kit.registers()})

    async def unplug(world):
        await asyncio.sleep(65)
        answer = world.answer.pop("net")
        await asyncio.sleep(60)
        world.answer["net"] = answer

    world.run(239, unplug)
    blocks = made.blocks()
    counted = totals(blocks)
    gone = sum(code == PORT_GONE for _, chunks in blocks for chunk in chunks for code in codes(chunk))
    assert 5 <= gone <= 7 and counted["due"] == 24 == counted["answered"] + gone
    assert [
        event.detail[:17] for header, _ in blocks for event in header.events if event.kind == EventKind.BUS_FAULT
    ] == [
        "BUS-106 net: net:",
        "BUS-106 net: over",
    ]


def test_a_slow_bus_says_what_it_did_not_ask(box, kit):
    made = box(kit.serial_port(), *(kit.sdm(n, "bus", "1s") for n in range(1, 6)))
    kit.world(made, {"bus": kit.rtu(delay=300)}).run(119)
    blocks = made.blocks()
    for device in range(5):
        counted = totals(blocks, device)
        overrun = sum(codes(chunks[device]).count(OVERRUN) for _, chunks in blocks)
        assert overrun > 10 and counted["answered"] > 30
        assert counted["asked"] + overrun <= counted["due"] <= counted["asked"] + overrun + 2  # told by the shutdown


def test_a_clock_that_steps_ends_the_block_and_is_told(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": kit.registers()})

    async def step(world):
        await asyncio.sleep(95)
        world.step_ms = -3_600_000
        await asyncio.sleep(50)
        world.step_ms = 7_200_000

    world.run(240, step, watch_s=1.0, agreed=lambda: True)
    headers = [header for header, _ in made.blocks()]
    steps = [
        (n, event) for n, header in enumerate(headers) for event in header.events if event.kind == EventKind.CLOCK_STEP
    ]
    assert [round((event.end - event.start) / 1000) for _, event in steps] == [-3600, 10_800]
    assert all(after.mono[0] == before.mono[1] for before, after in itertools.pairwise(headers))
    for number, event in steps:
        assert headers[number - 1].utc[1] == event.start and abs(headers[number].utc[0] - event.end) <= 1
    for header, chunks in made.blocks():
        assert abs(chunks[0].counters.due - len(slots(10_000, *header.utc))) <= 1


def test_a_new_configuration_is_named_by_every_block_after_the_start(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": kit.registers()})
    world.run(59)
    made.sign(kit.site.format(block="60s") + kit.modbus_port() + kit.sdm(1, period="5s"))
    world.run(119)
    headers = [header for header, _ in made.blocks()]
    assert [header.configuration[0] for header in headers] == [1, 2, 2, 2]
    assert kinds(headers[1]) == [EventKind.BOOT, EventKind.CONFIGURATION]


def test_a_block_is_closed_early_before_it_grows_too_large(box, kit):
    everything = kit.meter(1, "net", "eastron-sdm630", [], "100ms")
    made = box(kit.modbus_port(), everything, block="1h")
    kit.world(made, {"net": kit.registers()}).run(400)
    blocks = made.blocks()
    assert len(blocks) == 2
    assert sum(header.utc[1] - header.utc[0] for header, _ in blocks) in range(400_000, 400_020)
    assert totals(blocks)["due"] - totals(blocks)["answered"] <= 2


def test_a_block_is_closed_early_before_it_holds_too_many_kinds_of_exchange(box, kit, monkeypatch):
    everything = kit.meter(1, "net", "eastron-sdm630", [], "1s")
    made = box(kit.modbus_port(), everything, block="1h")
    kit.world(made, {"net": kit.registers()}).run(30)
    ((_, (chunk,)),) = made.blocks()
    monkeypatch.setattr("edge.blocks.MOST_KINDS", len(chunk.tracks) - 1)
    kit.world(made, {"net": kit.registers()}).run(30)
    assert 25 <= len(made.blocks()[1:]) <= 31
    assert abs(totals(made.blocks()[1:])["answered"] - chunk.counters.answered) <= len(chunk.tracks)


def test_a_box_that_stood_still_declares_the_gap(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": kit.registers()})

    async def sleep_through(world):
        await asyncio.sleep(65)
        asyncio.get_running_loop()._jump.now += 600

    world.run(899, sleep_through)
    blocks = made.blocks()
    (gap,) = [event for header, _ in blocks for event in header.events if event.kind == EventKind.GAP]
    assert 540_000 <= gap.end - gap.start <= 560_000
    assert abs(totals(blocks)["due"] - 90) <= 1


def test_status_tells_values_faults_and_room(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": kit.registers()})
    told = {}

    async def ask(world):
        await asyncio.sleep(100)
        told.update(await world.agents[0].status())

    world.run(120, ask)
    assert (told["state"], told["boot"], told["next_seq"], told["site"]) == ("running", 1, 1, "S-1")
    (value,) = told["devices"][0]["values"]
    assert (value["point"], value["value"], value["unit"], value["quality"]) == (
        "energy_import",
        "10",
        "kWh",
        "measured",
    )
    assert told["outbox"]["unsettled"] == 1 and told["outbox"]["days_left"] > 1
    assert told["sync"] == {"state": "not enrolled"}


def test_days_of_quarter_hours_are_a_block_each(box, kit, deep):
    made = box(kit.modbus_port(), *(kit.sdm(n, period="15m") for n in range(1, 6)), block="15m")
    days = deep(10, 2)
    kit.world(made, {"net": kit.registers()}).run(days * 86_400)
    outbox = made.outbox()
    assert 96 * days <= outbox.counts().blocks <= 96 * days + 1
    outbox.close()


def test_a_gateway_does_not_take_a_configuration_number_that_went_back(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    made.sign(kit.site.format(block="60s") + kit.modbus_port() + kit.sdm(1, period="5s"))
    world = kit.world(made, {"net": kit.registers()})
    world.run(10)
    (made.state / "configs" / "0002.cose").unlink()
    from protocols.errors import StoreError

    with pytest.raises(StoreError, match="configuration 1"):
        world.run(10)


def test_records_carry_the_salt_of_their_random_source(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    kit.world(made, {"net": kit.registers()}).run(130)
    salts = [chunk.salt for _, chunks in made.blocks() for chunk in chunks]
    assert len(set(salts)) == len(salts) == 3
    assert replace(made.blocks()[0][1][0], salt=b"\0" * 16) != made.blocks()[0][1][0]
