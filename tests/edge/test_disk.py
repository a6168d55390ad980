"""A full disk: readings stop, the agent says so, goes on by itself, and the gap is signed."""

import asyncio
import contextlib
import resource
import subprocess
from dataclasses import replace

import pytest

from edge import config
from edge.sealer import OpenBlock
from protocols.record.block import ClockState, EventKind


class FileSize:
    """No file may grow: what a full disk is to SQLite's log, for any user."""

    def __init__(self, state):
        self._state = state
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(self, agent):
        size = max(path.stat().st_size for path in self._state.glob("outbox.db*"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, self._before[1]))

    def free(self, agent):
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


class Filler:
    """A small file system that another program fills to the last byte."""

    def __init__(self, state):
        self._file = state / "filler"

    def full(self, agent):
        with self._file.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self, agent):
        self._file.unlink()


@pytest.fixture(params=["file size", "file system"])
def disk(request, tmp_path):
    """What makes the disk full. Where nobody may mount a file system of its own, the file size does for both."""
    state = tmp_path / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(state)]
    if request.param == "file size" or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield FileSize
        return
    yield Filler
    subprocess.run(["umount", str(state)], check=True)


@pytest.mark.parametrize("instant", [61, 118])
def test_readings_stop_with_a_signed_gap_and_go_on_by_themselves(box, kit, disk, instant):
    made = box(kit.modbus_port(), *(kit.sdm(n, period="1s") for n in range(1, 6)))
    world = kit.world(made, {"net": kit.registers()})
    held, told = disk(made.state), {}

    async def fill(world):
        (agent,) = world.agents
        await asyncio.sleep(instant)
        held.full(agent)
        try:
            await asyncio.sleep(100)
            told.update(await agent.status())
        finally:
            held.free(agent)

    world.run(400, fill)
    assert told["state"] == "disk-full" and told["why"]
    events = [event for event, _ in world.logged]
    assert "disk_full" in events and "disk_room" in events
    blocks = made.blocks()
    gaps = [event for header, _ in blocks for event in header.events if event.kind == EventKind.GAP]
    full = sum(gap.end - gap.start for gap in gaps)
    assert 80_000 <= full <= 120_000
    counters = [chunk.counters for _, chunks in blocks for chunk in chunks]
    asked, due = sum(held.asked for held in counters), sum(held.due for held in counters)
    committed = sum(known["exchanges"] for event, known in world.logged if event == "committed")
    assert asked == committed, "what was acknowledged is in the record, and nothing else"
    assert 0 <= due - 5 * 400 <= 5
    assert asked >= 5 * (400 - full / 1000) - 60


def test_a_disk_that_is_full_at_the_start_is_waited_for(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1))
    world = kit.world(made, {"net": kit.registers()})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    told = {}

    async def make_room(world):
        (agent,) = world.agents
        await asyncio.sleep(30)
        told.update(await agent.status())
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        world.run(119, make_room)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert told["state"] == "disk-full"
    assert sum(chunk.counters.answered for _, chunks in made.blocks() for chunk in chunks) >= 8


def test_stopped_while_full_the_next_start_seals_what_was_committed(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1, period="1s"))
    world = kit.world(made, {"net": kit.registers()})
    held = FileSize(made.state)

    async def fill(world):
        await asyncio.sleep(30)
        held.full(world.agents[0])

    try:
        world.run(50, fill)
    finally:
        held.free(None)
    committed = sum(known["exchanges"] for event, known in world.logged if event == "committed")
    world.run(20)
    first = made.blocks()[0]
    assert [EventKind(event.kind) for event in first[0].events][-1] == EventKind.POWER_LOSS
    assert sum(chunk.counters.answered for chunk in first[1]) == committed >= 29
    assert not (made.state / config.OUTBOX).with_suffix(".db-journal").exists()


def test_one_outage_is_one_gap_and_what_was_committed_is_sealed_meanwhile(box, kit, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nobody may mount a file system of its own here")
    try:
        made = box(kit.modbus_port(), *(kit.sdm(n, period="1s") for n in range(1, 6)))
        world, held, told = kit.world(made, {"net": kit.registers()}), Filler(state), []

        async def fill(world):
            (agent,) = world.agents
            await asyncio.sleep(170)
            told.append(await agent.status())
            held.full(agent)
            await asyncio.sleep(200)
            told.append(await agent.status())
            held.free(agent)
            await asyncio.sleep(10)
            told.append(await agent.status())

        world.run(450, fill)
        assert [status["state"] for status in told] == ["running", "disk-full", "running"]
        assert [status["store"]["reserve"] for status in told] == [True, False, True]
        assert [status["outbox"]["days_left"] > 0 for status in told] == [True, False, True]
        assert told[1]["outbox"]["open_exchanges"] <= 5 * 60
        blocks = made.blocks()
    finally:
        subprocess.run(["umount", str(state)], check=True)
    gaps = [event for header, _ in blocks for event in header.events if event.kind == EventKind.GAP]
    assert len(gaps) == 1, "and it begins later than the disk is full: the log has room of its own"
    assert kit.start + 170_000 <= gaps[0].start and kit.start + 370_000 <= gaps[0].end <= kit.start + 380_000
    asked = sum(chunk.counters.asked for _, chunks in blocks for chunk in chunks)
    assert asked == sum(known["exchanges"] for event, known in world.logged if event == "committed")


def test_stopped_by_the_bound_readings_begin_again_once_when_enough_is_settled(box, kit):
    made = box(kit.modbus_port(), *(kit.sdm(n, period="1s") for n in range(1, 6)))
    made.enrol()
    collector = kit.collector(made)
    collector.instead = ConnectionError("away")
    world, told = kit.world(made, {"net": kit.registers()}, transport=collector), []

    async def bound(world):
        (agent,) = world.agents
        await asyncio.sleep(100)
        agent._outbox._max_bytes = 5 * (await agent.status())["outbox"]["bytes"]
        await asyncio.sleep(400)
        told.append(await agent.status())
        collector.instead, collector.level = None, 2
        await asyncio.sleep(200)
        told.append(await agent.status())

    world.run(900, bound)
    assert [status["state"] for status in told] == ["disk-full", "running"]
    assert told[0]["outbox"]["days_left"] == 0.0
    assert [event for event, _ in world.logged if event.startswith("disk_")] == ["disk_full", "disk_room"]
    assert told[1]["outbox"]["unsettled"] <= 1 and told[1]["outbox"]["settled"] >= 1


def test_a_box_that_is_started_at_its_bound_delivers_what_makes_room(box, kit, monkeypatch):
    made = box(kit.modbus_port(), *(kit.sdm(n, period="1s") for n in range(1, 6)))
    made.enrol()
    collector = kit.collector(made)
    collector.instead = ConnectionError("away")
    world, told = kit.world(made, {"net": kit.registers()}, transport=collector), {}
    world.run(200)
    outbox = made.outbox()
    bound = outbox.counts().bytes
    outbox.add([], [replace(_opened(made), id=7)])
    outbox.close()
    monkeypatch.setattr("edge.opening.MAX_BYTES", bound)
    collector.instead, collector.level = None, 2

    async def during(world):
        await asyncio.sleep(130)
        told.update(await world.agents[-1].status())

    world.run(140, during)
    assert told["state"] == "running" and len(collector.held) >= 6


def _opened(made):
    """An open block, as a crash leaves it."""
    held = config.load(made.state)
    start = 1_780_000_020_000 + 300_000
    return OpenBlock(
        1, 1, 300_000, start, ClockState(2, 2, 5, start // 1000), held.in_force.name, ("1", bytes(32)), held.plan()
    )


def remount(place, how):
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)


def test_a_disk_that_cannot_be_written_is_waited_for_without_ending(box, kit, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nobody may mount a file system of its own here")
    try:
        made = box(kit.modbus_port(), kit.sdm(1))
        world, told = kit.world(made, {"net": kit.registers()}), []
        world.run(70)
        remount(state, "ro")

        async def during(world):
            await asyncio.sleep(30)
            told.append(await world.agents[-1].status())
            remount(state, "rw")
            await asyncio.sleep(90)
            told.append(await world.agents[-1].status())

        world.run(130, during)
        blocks = made.blocks()
    finally:
        subprocess.run(["umount", str(state)], check=True)
    assert [status["state"] for status in told] == ["disk-full", "running"] and "Read-only" in told[0]["why"]
    assert {header.boot for header, _ in blocks} == {1, 2} and {header.epoch for header, _ in blocks} == {0}
