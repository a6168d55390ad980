"""What a box must bear: a driver that fails, no descriptors, a slow card, a read-only disk, brown-outs; and
what it may cost: bytes written a day, memory.
"""

import asyncio
import gc
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from edge import poller
from protocols.record.block import EventKind
from tests.edge.tcp_meter import TcpMeter

READY_S = 30
MB = 1_000_000


@pytest.fixture
def meter():
    with TcpMeter() as held:
        yield held


class Running:
    """The real agent in its own process, what it says read as it comes."""

    def __init__(self, made, *before, limit=None, level="debug"):
        command = [*before, sys.executable, "-P", "-m", "edge", str(made.state), level]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TANMETER_LANG": "en"},
            preexec_fn=limit,
        )
        self.told, self.other = [], []

    def until(self, word, seconds=READY_S):
        """Read up to this event."""
        end = time.monotonic() + seconds
        for line in self.process.stderr:
            if line.startswith("{"):
                self.told.append(json.loads(line))
                if self.told[-1]["code"] == word:
                    return self.told[-1]
            else:
                self.other.append(line)
            if time.monotonic() > end:
                break
        raise AssertionError(f"found {self.other[-12:]} {self.told[-5:]}, expected {word}")

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=READY_S)
        self.told += [json.loads(line) for line in rest.splitlines() if line.startswith("{") and line.endswith("}")]
        return self.process.returncode


def test_a_driver_that_fails_at_random_stops_its_own_meter_alone(box, kit, monkeypatch):
    made = box(kit.modbus_port(), *(kit.sdm(number, period="1s") for number in (1, 2, 3)))
    random, real = Random(7), poller.values
    failing = []

    def values(driver, request, reply):
        if not failing:
            failing.append(driver)
        if driver is failing[0] and random.random() < 0.5:
            raise ZeroDivisionError("a fault of ours")
        return real(driver, request, reply)

    monkeypatch.setattr(poller, "values", values)
    world = kit.world(made, {"net": kit.registers()})
    world.run(300)
    assert [event for event, _ in world.logged].count("driver_failed") > 50
    times, answered = {}, {}
    for header, chunks in made.blocks():
        for chunk in chunks:
            answered[chunk.device] = answered.get(chunk.device, 0) + chunk.counters.answered
            times.setdefault(chunk.device, []).extend(
                header.utc[0] + at for track in chunk.tracks for at in track.times
            )
    broken = min(answered, key=answered.get)
    for device in set(answered) - {broken}:
        steps = [later - earlier for earlier, later in pairwise(sorted(times[device]))]
        assert answered[device] >= 299 and 900 <= min(steps) <= max(steps) <= 1100, "a tenth of the period at most"
    assert 50 < answered[broken] < 250


def test_whoever_holds_the_door_open_takes_no_descriptor_from_the_ports(box, kit, meter):
    made = box(kit.modbus_port(place=meter.place), kit.sdm(1, period="200ms"), block="1s")
    agent = Running(made, limit=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)))
    agent.until("sealed")
    doors = []
    for _ in range(40):
        door = socket.socket(socket.AF_UNIX)
        door.settimeout(1)
        door.connect(str(made.state / "control.sock"))
        doors.append(door)
    meter.cut()
    for _ in range(3):
        agent.until("sealed")
    for door in doors:
        door.close()
    assert agent.end() == 0
    assert sum(chunk.counters.answered for _, chunks in made.blocks() for chunk in chunks) >= 12


def test_without_descriptors_nothing_is_lost_and_the_next_start_goes_on(box, kit, meter):
    """The process may have to end: the service manager starts it again."""
    made = box(kit.modbus_port(place=meter.place), kit.sdm(1, period="200ms"), block="1s")
    agent = Running(made)
    agent.until("sealed")
    _, most = resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (4, most))
    served = len(meter.served)
    meter.cut()
    time.sleep(1.5)
    if agent.process.poll() is None:
        resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (most, most))
        try:
            agent.until("sealed")
        except AssertionError:  # it was about to end
            assert agent.process.wait(READY_S) == 1
    assert agent.end() in (0, 1)
    commits = [told for told in agent.told if told["code"] == "committed"]
    assert max(told["exchanges"] for told in commits) <= 10, "no exchange waits for two seconds to be committed"
    committed = max(told["total"] for told in commits)
    again = Running(made)
    again.until("sealed")
    assert again.end() == 0
    told = [(header.boot, chunk) for header, chunks in made.blocks() for chunk in chunks]
    first = [chunk for boot, chunk in told if boot == 1]
    assert sum(chunk.counters.answered + len(chunk.faults) for chunk in first) >= committed, "nothing is left out"
    held = Counter(reply for _, chunk in told for track in chunk.tracks for reply in track.replies())
    assert set(held.values()) == {1}, "each answer stands once"
    lost = [number for number, reply in enumerate(meter.served, 1) if reply not in held]
    assert lost in ([], [served], [served + 1]), "none but the one that was under way when the meter was cut off"


def test_a_card_that_takes_two_periods_for_an_fsync_misses_no_poll(box, kit, meter):
    """But for the first moments, in which the start itself waits for the card: they are declared."""
    made = box(kit.modbus_port(place=meter.place), kit.sdm(1, period="250ms"))
    slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"]
    agent = Running(made, *slow, "-e", "inject=fdatasync,fsync:delay_enter=500000")
    agent.until("committed", 60)
    time.sleep(6)
    for child in Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGTERM)
    assert agent.process.wait(60) == 0
    counters = [chunk.counters for _, chunks in made.blocks() for chunk in chunks]
    answered = sum(held.answered for held in counters)
    start = made.blocks()[0][0].utc[0]
    missed = [
        header.utc[0] + fault.at - start for header, chunks in made.blocks() for c in chunks for fault in c.faults
    ]
    assert answered >= 20 and all(at <= 3000 for at in missed), missed


def test_on_a_disk_that_is_read_only_it_waits_says_so_and_goes_on(box, kit, meter, tmp_path):
    made = box(kit.modbus_port(place=meter.place), kit.sdm(1, period="200ms"), block="1s")
    kept = {path.relative_to(made.state): path.read_bytes() for path in made.state.rglob("*") if path.is_file()}
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", made.state], capture_output=True).returncode:
        pytest.skip("not permitted to mount")
    try:
        for path, content in kept.items():
            (made.state / path).parent.mkdir(exist_ok=True)
            (made.state / path).write_bytes(content)
        (made.state / "gateway.key").chmod(0o600)
        subprocess.run(["mount", "-o", "remount,ro", made.state], check=True)
        agent = Running(made)
        agent.until("disk_full")
        time.sleep(1)
        assert agent.process.poll() is None, "no crash loop"
        subprocess.run(["mount", "-o", "remount,rw", made.state], check=True)
        agent.until("sealed")
        assert agent.end() == 0
        assert len(made.blocks()) >= 1
    finally:
        subprocess.run(["umount", made.state], check=True)


def test_twenty_cuts_in_a_row_are_no_boot_loop_and_fill_nothing(box, kit, meter, deep):
    """Twenty in the proof; every day fewer, for each costs a start."""
    made = box(kit.modbus_port(place=meter.place), kit.sdm(1, period="200ms"), block="1s")
    random, lines, cuts = Random(3), [], deep(20, 7)
    for _ in range(cuts):
        agent = Running(made, level="info")
        agent.until("boot")
        assert time.monotonic() - agent.started <= 5 * max(1.0, os.getloadavg()[0]), "each start within five seconds"
        time.sleep(random.uniform(0, 0.3))
        agent.end(signal.SIGKILL)
        lines.append(len(agent.told))
    assert max(lines) <= 3 and lines[-1] <= max(lines[:3]), "what a start says does not grow"
    agent = Running(made)
    agent.until("sealed")
    assert agent.end() == 0
    blocks = made.blocks()
    starts = sum(event.kind == EventKind.BOOT for header, _ in blocks for event in header.events)
    assert blocks[-1][0].boot == cuts + 1 and 1 < starts <= cuts + 1, (
        "one that was cut before its first commit left its number"
    )
    assert {path.name for path in made.state.glob("outbox.db*")} <= {"outbox.db", "outbox.db.lock"}


def written():
    """Bytes this process has given to write calls."""
    return int(Path("/proc/self/io").read_text().split("wchar:")[1].split()[0])


def test_a_day_of_ten_meters_every_quarter_minute_writes_less_than_a_hundred_megabytes(box, kit):
    """Each answer with a commit of its own: a card that is slower than the bus gathers several in one."""
    made = box(kit.modbus_port(), *(kit.sdm(number, period="15s") for number in range(1, 11)))
    world, found = kit.world(made, {"net": kit.registers()}), []

    async def look(world):
        for _ in range(2):
            await asyncio.sleep(1200)
            found.append(written())

    world.run(2450, look)
    day = (found[1] - found[0]) * 72
    assert day <= 100 * MB, f"{day / MB:.0f} MB a day"


def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow_with_the_days(box, kit):
    made = box(kit.modbus_port(), kit.sdm(1, period="60s"), kit.sdm(2, period="60s"), block="15m")
    world, found = kit.world(made, {"net": kit.registers()}), []

    async def look(world):
        for _ in range(3):
            await asyncio.sleep(43_200)
            found.append(resident())

    world.run(3 * 43_200 + 60, look)
    slope = found[2] - found[0]
    assert slope <= MB, f"{slope / MB:.2f} MB a day"
