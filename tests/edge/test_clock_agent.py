"""The agent under a clock that is wrong, and the collector behind it: polls go on, and what was read finds its time."""

import asyncio
import struct
from itertools import pairwise

import pytest

from cloud.store import Store
from drivers.replay import replay_chunk
from edge import config
from edge.blocks import Blocks
from protocols.errors import StoreError
from protocols.record.answer import Answer
from protocols.record.block import ClockState, EventKind
from protocols.record.cose import PrivateKey
from protocols.record.invite import make
from simulator.dlt645_meters import Dlt645Meter
from simulator.electricity import behind
from simulator.time import SimClock
from simulator.truth import TruthLog
from simulator.world import World

HOUR, DAY = 3_600_000, 86_400_000
MIDNIGHT = 1_795_392_000_000
"""2026-11-23 00:00 UTC; 08:00 in Shanghai."""
GOOD, NOTHING = ClockState(2, 2, 5, 0), ClockState(0, 0, 16_000, 0)


@pytest.fixture
def said(monkeypatch):
    """What the clock says of itself, for the test to set."""
    held = {"state": GOOD}
    monkeypatch.setattr(SimClock, "state", lambda clock: held["state"])
    return held


def rising():
    """A meter that counts one with each answer."""
    count = 0

    def answer(request):
        nonlocal count
        count += 1
        asked = request[10] << 8 | request[11]
        data = struct.pack(">f", count) * (asked // 2)
        return [(10, request[:4] + (3 + len(data)).to_bytes(2) + request[6:8] + bytes([len(data)]) + data)]

    return answer


def delivered(made, path, now):
    """The blocks, taken by an empty collector at ``now``, and its intervals."""
    outbox = made.outbox()
    frames = [stored.frame for seq in range(outbox.chain().link.seq) for stored in outbox.batch(0, seq, 1, 1 << 30)]
    outbox.close()
    with Store(path, PrivateKey.generate()) as store:
        code = make(bytes(32), store.key.spki)
        store.create_invite(code, None, now + HOUR, now)
        store.enrol(
            code.format(), (made.state / "enrolment.cose").read_bytes(), made.envelopes[0],
            [source for _, source in sorted(made.profiles.items())], now,
        )  # fmt: skip
        verdicts = [
            verdict for at in range(0, len(frames), 40) for verdict in store.append(frames[at : at + 40], now)[0]
        ]
        assert [(verdict.answer, verdict.detail) for verdict in verdicts] == [(Answer.STORED, "")] * len(frames)
        return sorted((row.interval for row in store.intervals()), key=lambda row: row.start)


def events(made, kind):
    return [
        (number, event)
        for number, (header, _) in enumerate(made.blocks())
        for event in header.events
        if event.kind == kind
    ]


def test_fault_26_a_boot_in_1970_measures_at_once_and_is_dated_by_a_signed_correction(box, kit, said, tmp_path):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": rising()})
    world.run(299)
    true = world.start
    world.step_ms, said["state"] = -true, NOTHING

    async def synchronise(world):
        await asyncio.sleep(605)
        world.step_ms, said["state"] = 0, GOOD

    world.run(1200, synchronise, watch_s=1.0)
    headers = [header for header, _ in made.blocks()]
    boot = [header for header in headers if header.boot == 2]
    assert boot[0].utc[0] < HOUR and boot[0].clock.state == 0, "the first block of 1970"
    ((number, event),) = events(made, EventKind.CORRECTION)
    assert abs(headers[number].utc[0] - event.end) <= 2 and headers[number - 1].utc[1] == event.start
    assert [found for found, _ in events(made, EventKind.CLOCK_STEP)] == [number]
    assert {header.clock.state for header in headers[6:number]} == {0} and headers[number].clock.state == 2
    assert all(after.mono[0] == before.mono[1] for before, after in pairwise(boot))
    answered = sum(chunk.counters.answered for header, chunks in made.blocks() if header.boot == 2 for chunk in chunks)
    assert abs(answered - 120) <= 2, "a poll every ten seconds, whatever the year"
    rows = delivered(made, tmp_path / "soon.db", true + HOUR)
    assert rows == delivered(made, tmp_path / "later.db", true + 9 * DAY)
    assert sum(row.readings for row in rows) == answered + 30
    assert all(
        made_at in range(true - HOUR, true + HOUR) for row in rows for made_at in (row.start, row.register_end.at)
    )
    assert sum(row.consumption for row in rows) == rows[-1].register_end.value - rows[0].register_start.value


def test_fault_27_and_28_steps_that_are_not_believed_move_no_block_and_lose_no_slot(box, kit, said, tmp_path):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": rising()})

    async def step(world):
        for step in (-HOUR, 0, 20 * 365 * DAY, 0):
            await asyncio.sleep(400)
            world.step_ms = step

    world.run(1999, step, watch_s=1.0)
    headers = [header for header, _ in made.blocks()]
    assert all((after.mono[0], after.utc[0]) == (before.mono[1], before.utc[1]) for before, after in pairwise(headers))
    doubts = [event for _, event in events(made, EventKind.CLOCK_STEP)]
    assert len(doubts) == 4 and all(event.start == event.end and "CLK-401" in event.detail for event in doubts)
    assert {header.clock.state for header in headers} == {1, 2} and not events(made, EventKind.CORRECTION)
    assert [level for event, level in world.levels if event == "clock_doubted"] == ["error"] * 2
    rows = delivered(made, tmp_path / "collector.db", kit.start + HOUR)
    assert sum(row.readings for row in rows) == 200 and {row.quality for row in rows} == {"measured"}


def test_fault_29_a_right_clock_wins_in_the_end(box, kit, said, tmp_path):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": rising()})

    async def step(world):
        await asyncio.sleep(300)
        world.step_ms = HOUR

    world.run(1999, step, watch_s=1.0)
    ((number, event),) = events(made, EventKind.CORRECTION)
    headers = [header for header, _ in made.blocks()]
    assert event.end - event.start in range(HOUR - 5, HOUR + 5) and headers[number].clock.state == 2
    assert headers[number].mono[0] - headers[0].mono[0] in range(880_000, 960_000), "ten minutes steady"
    rows = delivered(made, tmp_path / "collector.db", kit.start + 2 * HOUR)
    assert sum(row.consumption for row in rows) == rows[-1].register_end.value - rows[0].register_start.value


def test_fault_26_after_a_kill_a_start_in_1970_seals_what_was_open(box, kit, said, tmp_path, monkeypatch):
    made = box(kit.modbus_port(), kit.sdm(1, period="1s"))
    world = kit.world(made, {"net": rising()})

    async def killed(blocks, closing):
        raise StoreError("killed")

    with monkeypatch.context() as patched, pytest.raises(StoreError, match="killed"):
        patched.setattr(Blocks, "seal", killed)
        world.run(90)
    world.step_ms, said["state"] = -world.start, NOTHING
    world.run(90)
    first = [header for header, _ in made.blocks() if header.boot == 1]
    (loss,) = [event for event in first[-1].events if event.kind == EventKind.POWER_LOSS]
    assert loss.start <= loss.end == first[-1].utc[1], "it ends where its block does: nobody knows more"
    assert delivered(made, tmp_path / "collector.db", kit.start + HOUR)


@pytest.mark.parametrize("turn", [2**31 * 1000, 1_798_761_600_000, 1_861_920_000_000], ids=["2038", "year", "leap"])
def test_fault_31_the_end_of_32_bits_a_new_year_and_a_leap_second_are_instants_like_any_other(
    box, kit, said, tmp_path, turn
):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": rising()}, start=turn - 300_000)

    async def leap(world):
        await asyncio.sleep(300)
        world.step_ms = -1000 if turn == 1_861_920_000_000 else 0

    world.run(599, leap, watch_s=1.0)
    headers = [header for header, _ in made.blocks()]
    assert not events(made, EventKind.CLOCK_STEP) and {header.clock.state for header in headers} == {2}
    assert all(after.mono[0] == before.mono[1] for before, after in pairwise(headers))
    rows = delivered(made, tmp_path / "collector.db", turn + HOUR)
    assert sum(row.readings for row in rows) in (60, 61) and {row.quality for row in rows} == {"measured"}
    assert sum(row.consumption for row in rows) == rows[-1].register_end.value - rows[0].register_start.value


@pytest.mark.parametrize("hours", [-5, 5])
def test_fault_32_a_meters_own_clock_that_is_wrong_by_hours_places_nothing(box, kit, said, tmp_path, hours):
    points, number = ["energy_import", "energy_import_hourly"], "202211096512"
    made = box(kit.serial_port(), kit.meter(1, "bus", "dlt645-2007-single-phase", points, "10s", number))
    seen, start = behind(World(7), "M-02"), MIDNIGHT - 60_000
    truth = TruthLog(tmp_path / "truth.jsonl")
    meter = Dlt645Meter("M-1", number, 1, lambda at: seen(at + hours * HOUR), truth, most=12)
    at = [start]

    def answer(request):
        return [(30, reply) for reply in meter.hear(request, at[0])]

    async def live(world):
        for _ in range(30):
            await asyncio.sleep(10)
            at[0] += 10_000

    kit.world(made, {"bus": answer}, start=start).run(310, live)
    installation = config.load(made.state).installation
    stamps = {
        reading.at
        for header, chunks in made.blocks()
        for chunk in chunks
        for reading in replay_chunk(installation, header, chunk)
        if reading.point == "energy_import_hourly"
    }
    assert stamps and all(abs(stamp - MIDNIGHT) >= 4 * HOUR for stamp in stamps), "the meter's word is on record"
    rows = delivered(made, tmp_path / "collector.db", MIDNIGHT + HOUR)
    assert all(start <= row.register_start.at and row.register_end.at < start + 320_000 for row in rows)
    assert sum(row.readings for row in rows) >= 30 and {row.quality for row in rows} == {"measured"}


def test_fault_29_the_collectors_receipts_bear_out_a_right_clock_at_once(box, kit, said, tmp_path):
    made = box(kit.modbus_port(), kit.sdm(1))
    made.enrol()
    collector = kit.collector(made)
    world = kit.world(made, {"net": rising()}, start=kit.start - HOUR, transport=collector)
    signed = collector.receipt

    def receipt(**changed):
        return signed(at=kit.start + round(asyncio.get_running_loop().time() * 1000), **changed)

    collector.receipt = receipt

    async def step(world):
        await asyncio.sleep(300)
        world.step_ms = HOUR

    world.run(600, step, watch_s=1.0)
    ((number, event),) = events(made, EventKind.CORRECTION)
    headers = [header for header, _ in made.blocks()]
    assert event.end - event.start in range(HOUR - 5, HOUR + 5) and headers[number].clock.state == 2
    assert headers[number].mono[0] in range(300_000, 303_000), "the collector had said so all along"


def test_a_block_of_a_day_stays_within_a_day_although_the_clock_is_slewed_back(box, kit, said, tmp_path):
    made = box(kit.modbus_port(), kit.sdm(1, period="12h"), block="1d")
    world = kit.world(made, {"net": rising()})

    async def slew(world):
        await asyncio.sleep(HOUR / 1000)
        world.step_ms = -800

    world.run(4 * DAY / 1000, slew)
    spans = [header.utc[1] - header.utc[0] for header, _ in made.blocks()]
    assert max(spans) == DAY and 800 in spans, "what the clock went back is a block of its own"
    rows = delivered(made, tmp_path / "collector.db", kit.start + 5 * DAY)
    assert sum(row.consumption for row in rows) == rows[-1].register_end.value - rows[0].register_start.value == 7
