"""The service manager is fed by progress: a real socket, real threads that hang, a loop that is blocked."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge import control, watchdog
from edge.clock import SystemClock
from edge.notify import Manager
from edge.watchdog import COMMIT_MS, SEAL_MS, SLACK_MS, Pulse, Steady, Vigil, Watched, attend

MEASURES = "READY=1"


class Boss:
    """A service manager's socket: what it was told."""

    def __init__(self, path):
        self.path = path
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._door.bind(path.replace("@", "\0", 1) if path.startswith("@") else path)

    def told(self, seconds=0.0):
        """Every datagram so far, or within this time the first."""
        heard = []
        self._door.settimeout(max(seconds, 0.001))
        try:
            while True:
                heard.append(self._door.recv(4096).decode())
                self._door.settimeout(0.001)
        except TimeoutError:
            return heard

    def until(self, word, seconds=20.0):
        """What it was told up to a datagram with this word in it."""
        heard, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            heard += self.told(0.2)
            if any(word in line for line in heard):
                return heard
        raise AssertionError(f"found {heard}, expected {word}")

    def close(self):
        self._door.close()


@pytest.fixture(params=["path", "abstract"])
def boss(request, tmp_path):
    held = Boss(str(tmp_path / "notify") if request.param == "path" else f"@tanmeter-{os.getpid()}")
    yield held
    held.close()


class Still:
    """A clock that stands where it is put."""

    def __init__(self):
        self.now = 0

    def mono_ms(self):
        return self.now


class Part:
    """A recorder, a chain and a port in one, as a vigil looks at them."""

    def __init__(self, clock):
        self.full, self.end, self.moves, self.name, self.pulse = False, 10**12, (0, False), "bus", Pulse(clock)

    def believed(self):
        return 0


def watched():
    clock = Still()
    vigil, store, chain, port = Vigil(clock), Part(clock), Part(clock), Part(clock)
    vigil.watch(store, chain, [port])
    return clock, vigil, store, chain, port


def passing(clock, vigil, seconds):
    """What is stuck at the end, looked at every ten seconds."""
    found = []
    for _ in range(round(seconds / 10)):
        clock.now += 10_000
        found = vigil.stuck(10_000)
    return found


def test_a_port_that_waits_for_its_hour_is_well_and_one_that_hangs_is_found_in_time():
    clock, vigil, _, _, port = watched()
    port.pulse.within(3_600_000)
    assert passing(clock, vigil, 3600) == []
    assert passing(clock, vigil, 40) == ["port bus"]
    port.pulse.rest()
    assert passing(clock, vigil, 86_400) == []


def test_commits_and_seals_must_become_fewer_unless_the_disk_is_full():
    clock, vigil, store, chain, _ = watched()
    store.moves = (7, True)
    assert passing(clock, vigil, COMMIT_MS / 1000) == []
    assert passing(clock, vigil, 20) == ["store"], "within the minute that the manager waits"
    store.moves = (8, True)
    assert passing(clock, vigil, 30) == [], "a slow card is no hang"
    store.full = True
    assert passing(clock, vigil, 86_400) == [], "waiting for room is what a full disk asks for"
    store.full, store.moves, chain.moves = False, (9, False), (1, True)
    passing(clock, vigil, 20)
    assert passing(clock, vigil, SEAL_MS / 1000) == ["sealing"]


def test_a_block_that_is_not_turned_is_found():
    clock, vigil, _, chain, _ = watched()
    chain.end = -SLACK_MS - 1
    assert passing(clock, vigil, 10) == ["blocks"]


def test_a_box_that_slept_is_given_time_to_go_on():
    clock, vigil, _, _, port = watched()
    port.pulse.within(1000)
    passing(clock, vigil, 10)
    clock.now += 8 * 3_600_000
    assert vigil.stuck(10_000) == []
    assert passing(clock, vigil, 10) == []
    assert passing(clock, vigil, 30) == ["port bus"], "it had its time"


def test_what_stands_still_counts_from_its_last_move():
    steady = Steady(100)
    assert not steady.late(0, (1, True), False) and not steady.late(90, (1, True), False)
    assert steady.late(101, (1, True), False) and not steady.late(102, (2, True), False)


class Hanging:
    """A wire whose driver never comes back from a write: a thread of it waits for ever."""

    def __init__(self):
        self.never = threading.Event()

    async def open(self):
        return ""

    async def configure(self, mode):
        pass

    async def write(self, data):
        await asyncio.get_running_loop().run_in_executor(None, self.never.wait)

    async def read(self, max_wait_s):
        return b""

    async def drain(self):
        pass

    async def close(self):
        pass


def test_a_thread_that_hangs_in_a_port_ends_the_feeding_and_the_manager_is_asked_to_act(boss, monkeypatch):
    monkeypatch.setattr(watchdog, "STEP_MS", 50)
    monkeypatch.setattr(watchdog, "SLACK_MS", 100)
    clock, wire, logged = SystemClock(), Hanging(), []
    vigil, store, chain, port = Vigil(clock), Part(clock), Part(clock), Part(clock)
    vigil.watch(store, chain, [port])
    manager = Manager({"NOTIFY_SOCKET": boss.path, "WATCHDOG_USEC": "200000"}, os.getpid())

    def log(level, event, **known):
        logged.append((level, event, known["what"]))

    async def main():
        feeding = asyncio.create_task(attend(manager, vigil, lambda: "well", log))
        await asyncio.sleep(0.2)
        fed = boss.told()
        writing = asyncio.create_task(Watched(wire, port.pulse).write(b"?"))
        await asyncio.sleep(0.6)
        boss.told()
        await asyncio.sleep(0.2)
        hung = boss.told()
        wire.never.set()
        await writing
        port.pulse.rest()
        await asyncio.sleep(0.2)
        feeding.cancel()
        return fed, hung, boss.told()

    fed, hung, after = asyncio.run(main())
    assert MEASURES in fed[0] and any(told.startswith("WATCHDOG=1") for told in fed)
    assert hung and set(hung) == {"WATCHDOG=trigger\nSTATUS=hung: port bus"}
    assert after[-1].startswith("WATCHDOG=1")
    assert logged == [("error", "hung", "port bus"), ("info", "moves_on", "port bus")]


def start(made, boss, **more):
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "edge", str(made.state), "warning"],
        env={**os.environ, "TANMETER_LANG": "en", "NOTIFY_SOCKET": boss.path, **more},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_agent_says_when_it_measures_feeds_and_says_when_it_stops(box, kit, boss):
    made = box(kit.modbus_port(), kit.sdm(1, period="1s"))
    agent = start(made, boss, WATCHDOG_USEC="400000")
    try:
        heard = boss.until("WATCHDOG=1")
        assert MEASURES in heard[0] and "measuring: 1 ports" in heard[0], "a meter that is silent is no hang"
        agent.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        boss.told()
        time.sleep(0.5)
        assert boss.told() == [], "a process that was stopped feeds nobody"
        agent.send_signal(signal.SIGCONT)
        boss.until("WATCHDOG=1")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(20) == 0
        assert any("STOPPING=1" in line for line in boss.told(0.1))
    finally:
        agent.kill()
        agent.communicate()


def test_without_a_manager_nothing_is_told_and_another_process_s_watchdog_is_not_ours(tmp_path):
    assert Manager({}, 1).watchdog_s is None
    assert Manager({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "2"}, 1).watchdog_s is None
    assert Manager({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000000"}, 1).watchdog_s == 1.0
    Manager({}, 1).tell("READY=1")
    Manager({"NOTIFY_SOCKET": str(tmp_path / "gone")}, 1).tell("READY=1")


def test_a_door_that_cannot_be_opened_is_tried_again_and_the_measuring_goes_on(box, kit, boss):
    made = box(kit.modbus_port(), kit.sdm(1, period="1s"))
    (made.state / "control.sock").mkdir()
    agent = start(made, boss, WATCHDOG_USEC="400000")
    try:
        boss.until("WATCHDOG=1")
        assert agent.poll() is None
        agent.send_signal(signal.SIGTERM)
        _, said = agent.communicate(timeout=20)
        assert agent.returncode == 0 and '"code": "door"' in said
    finally:
        agent.kill()
        agent.communicate()
    assert Path(made.state / "control.sock").is_dir()
    with pytest.raises(Exception, match="edge run"):
        control.ask(made.state / "control.sock", "status")
