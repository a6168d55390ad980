"""What a troubled agent has recorded is taken in by the collector's own store: nothing is refused or booked twice."""

import asyncio
import itertools
import resource
import struct
from collections import Counter
from decimal import Decimal
from random import Random

import pytest

from cloud.store import Store
from edge import config
from edge.blocks import Blocks
from protocols import modbus
from protocols.errors import StoreError
from protocols.record import invite
from protocols.record.answer import Answer
from protocols.record.block import EventKind
from protocols.record.chunk import BACK_OFF, OVERRUN, PORT_GONE

HOUR = 3_600_000
TWENTY_YEARS = 20 * 365 * 24 * HOUR


def deliver(made, folder, now):
    """Enrol the box with a new collector and send it the whole chain; the answers, the first refusal, the store."""
    store = Store(folder / "collector.db", made.collector)
    code = invite.make(Random(2).randbytes(9), made.collector.spki)
    store.create_invite(code, None, now + HOUR, now)
    profiles = list(made.profiles.values())
    store.enrol(code.format(), (made.state / config.ENROLMENT).read_bytes(), made.envelopes[0], profiles, now)
    outbox = made.outbox()
    frames = [outbox.batch(0, seq, 1, 1)[0].frame for seq in range(outbox.chain().link.seq)]
    outbox.close()
    verdicts = [verdict for frame in frames for verdict in store.append([frame], now)[0]]
    return verdicts, store


def rising(delay=10):
    """Modbus meters, on TCP or a serial line, whose energy rises with every question."""
    count = itertools.count(1 << 20)

    def answer(request):
        serial = len(request) == 8
        asked = modbus.parse_rtu(request) if serial else modbus.parse_tcp(request)
        pdu = bytes([asked.function, 4]) + struct.pack(">f", next(count) / 1024)
        framed = modbus.frame_rtu(asked.unit, pdu) if serial else modbus.frame_tcp(asked.transaction, asked.unit, pdu)
        return [(delay, framed)]

    return answer


def replies(made):
    return Counter(
        (chunk.device, reply)
        for _, chunks in made.blocks()
        for chunk in chunks
        for track in chunk.tracks
        for reply in track.replies()
    )


def due(made):
    return sum(chunk.counters.due for _, chunks in made.blocks() for chunk in chunks)


@pytest.mark.parametrize("after_s", [0, 20, 90])
@pytest.mark.parametrize("delay", [40, 260])
def test_killed_while_the_block_before_is_not_sealed_yet(box, kit, tmp_path, monkeypatch, after_s, delay):
    made = box(kit.serial_port(), *(kit.sdm(n, "bus", "1s") for n in range(1, 5)))
    world = kit.world(made, {"bus": rising(delay)})

    async def killed(self, closing):
        await asyncio.sleep(after_s)
        raise StoreError("killed")

    with monkeypatch.context() as patched, pytest.raises(StoreError, match="killed"):
        patched.setattr(Blocks, "seal", killed)
        world.run(300)
    committed = sum(known["exchanges"] for event, known in world.logged if event == "committed")
    before = made.outbox()
    assert len(before.opened()) == 2 + after_s // 60
    before.close()
    world.start += 400_000
    world.run(30)
    blocks = made.blocks()
    first = [(header, chunks) for header, chunks in blocks if header.boot == 1]
    verdicts, store = deliver(made, tmp_path, world.start)
    store.close()
    assert [(verdict.answer, verdict.detail) for verdict in verdicts] == [(Answer.STORED, "")] * len(blocks)
    for (before, _), (after, _) in itertools.pairwise(first):
        assert (before.mono[1], before.utc[1]) == (after.mono[0], after.utc[0])
    asked = sum(chunk.counters.asked for _, chunks in first for chunk in chunks)
    missed = sum(fault.code in (OVERRUN, BACK_OFF, PORT_GONE) for _, cs in first for c in cs for fault in c.faults)
    assert asked + missed == committed and max(replies(made).values()) == 1
    assert first[-1][0].events[-1].kind == EventKind.POWER_LOSS
    spent = first[-1][0].utc[1] - kit.start
    owed = sum(chunk.counters.due for _, chunks in first for chunk in chunks)
    assert abs(owed - 4 * spent / 1000) <= 4


@pytest.mark.parametrize("instant", [59.9995, 119.9995, 120.1])
@pytest.mark.parametrize("delay", [40, 260])
def test_a_disk_that_is_full_when_a_block_is_to_be_opened(box, kit, tmp_path, instant, delay):
    made = box(kit.serial_port(), *(kit.sdm(n, "bus", "1s") for n in range(1, 5)))
    world = kit.world(made, {"bus": rising(delay)})
    before, told = resource.getrlimit(resource.RLIMIT_FSIZE), []

    async def fill(world):
        (agent,) = world.agents
        await asyncio.sleep(instant)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            await asyncio.sleep(30)
            told.append(await agent.status())
            await asyncio.sleep(60)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    world.run(299, fill)
    assert told[0]["state"] == "disk-full"
    blocks = made.blocks()
    verdicts, store = deliver(made, tmp_path, world.start)
    store.close()
    assert [(verdict.answer, verdict.detail) for verdict in verdicts] == [(Answer.STORED, "")] * len(blocks)
    for (before_, _), (after, _) in itertools.pairwise(blocks):
        assert before_.mono[1] == after.mono[0]
    committed = sum(known["exchanges"] for event, known in world.logged if event == "committed")
    counters = [chunk.counters for _, chunks in blocks for chunk in chunks]
    missed = sum(fault.code in (OVERRUN, BACK_OFF, PORT_GONE) for _, cs in blocks for c in cs for fault in c.faults)
    assert sum(held.asked for held in counters) <= committed <= sum(held.asked for held in counters) + missed
    assert max(replies(made).values()) == 1
    (gap,) = [event for header, _ in blocks for event in header.events if event.kind == EventKind.GAP]
    assert 85_000 <= gap.end - gap.start <= 100_000
    assert due(made) == 4 * 300, "every slot of every meter, the one of the last instant included"


def test_what_is_no_number_and_a_negative_energy_are_kept_as_they_came_and_never_booked(box, kit, tmp_path):
    made = box(kit.modbus_port(), kit.sdm(1))
    odd, answer, asked = {20: "7FC00000", 21: "FF800000", 22: "C47A0000"}, rising(), itertools.count()

    def spoilt(request):
        ((delay, frame),) = answer(request)
        return [(delay, frame[:-4] + bytes.fromhex(odd.get(next(asked), frame[-4:].hex())))]

    kit.world(made, {"net": spoilt}).run(599)
    kept = {reply[-4:] for _, reply in replies(made)}
    assert kept >= {bytes.fromhex(value) for value in odd.values()} and sum(replies(made).values()) == 60
    verdicts, store = deliver(made, tmp_path, kit.start + HOUR)
    assert {verdict.answer for verdict in verdicts} == {Answer.STORED}
    (gateway,) = store.gateways()
    rows = store.series(gateway.id, "M-1", "energy_import", 0, kit.start + HOUR)
    store.close()
    assert sum(row.readings for row in rows) == 60 - len(odd)
    assert sum(row.ignored for row in rows) == 1, "the negative one: of the others nothing was read"
    assert sum(row.consumption for row in rows) == Decimal(59) / 1024


@pytest.mark.parametrize("received", ["soon", "in twenty years"])
def test_a_clock_that_steps_back_an_hour_and_ahead_twenty_years(box, kit, tmp_path, received):
    made = box(kit.modbus_port(), *(kit.sdm(n, period="10s") for n in (1, 2)))
    world = kit.world(made, {"net": rising()})

    async def step(world):
        await asyncio.sleep(1000)
        world.step_ms = -HOUR
        await asyncio.sleep(1000)
        world.step_ms = TWENTY_YEARS
        await asyncio.sleep(1000)
        world.step_ms = 0

    world.run(3999, step, watch_s=1.0, agreed=lambda: True)
    blocks = made.blocks()
    assert max(replies(made).values()) == 1 and abs(due(made) - 2 * 400) <= 8
    steps = [event.end - event.start for header, _ in blocks for event in header.events if event.kind == 4]
    assert [round(ms / HOUR) for ms in steps] == [-1, TWENTY_YEARS // HOUR + 1, -TWENTY_YEARS // HOUR]
    now = kit.start + 2 * HOUR + (TWENTY_YEARS if received == "in twenty years" else 0)
    verdicts, store = deliver(made, tmp_path, now)
    answers = {verdict.answer for verdict, (header, _) in zip(verdicts, blocks, strict=True) if header.utc[1] < now}
    assert answers == {Answer.STORED}
    assert {verdict.answer for verdict in verdicts} <= {Answer.STORED, Answer.REFUSED}, "a wrong clock stops no chain"
    values = [struct.unpack(">f", reply[-4:])[0] for device, reply in replies(made) if device == 0]
    (gateway,) = store.gateways()
    rows = store.series(gateway.id, "M-1", "energy_import", 0, kit.start + 2 * TWENTY_YEARS)
    store.close()
    assert sum(row.readings for row in rows) <= len(values)
    assert 0 < sum(row.consumption or 0 for row in rows) <= max(values) - min(values)


@pytest.mark.parametrize("period", ["100ms", "300ms", "700ms"])
@pytest.mark.parametrize("delay", [90, 290, 900, 2500])
def test_a_bus_that_takes_longer_than_a_period_still_owes_each_block_what_it_should(box, kit, tmp_path, period, delay):
    made = box(kit.serial_port(), kit.sdm(1, "bus", period), kit.sdm(2, "bus", period))
    kit.world(made, {"bus": rising(delay)}).run(200)
    verdicts, store = deliver(made, tmp_path, kit.start + HOUR)
    store.close()
    assert [(verdict.answer, verdict.detail) for verdict in verdicts] == [(Answer.STORED, "")] * len(verdicts)
