"""The real agent, a real disk, a real SIGKILL, many times, against a meter on a TCP socket."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from edge import control
from protocols.errors import UnreachableError
from protocols.record.block import EventKind
from tests.edge.tcp_meter import TcpMeter

READY_S = 20


@pytest.fixture
def meter():
    with TcpMeter() as held:
        yield held


def start(made):
    """The agent as users start it; each commit and block on its standard error."""
    tanmeter = Path(sys.executable).with_name("tanmeter")
    return subprocess.Popen(
        [tanmeter, "--lang", "en", "edge", "run", "--verbose", "--state", str(made.state)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TANMETER_LANG": "en"},
    )


def acknowledged(agent, enough):
    """Exchanges the agent has said it committed; reads until ``enough(line)``."""
    total = 0
    for line in agent.stderr:
        told = json.loads(line)
        if told["code"] == "committed":
            total = told["total"]
        if enough(told):
            return total
    raise AssertionError(f"the agent ended with {agent.wait()}")


def rest(agent, total):
    """What it said before it died."""
    for line in agent.stderr:
        if line.endswith("\n") and (told := json.loads(line))["code"] == "committed":
            total = told["total"]
    return total


def check(made, meter, acknowledged_total, kills):
    blocks = made.blocks()
    replies = Counter(
        reply for _, chunks in blocks for chunk in chunks for track in chunk.tracks for reply in track.replies()
    )
    assert max(replies.values()) == 1, "no answer is counted twice"
    assert not replies - meter.served, "no answer was made up"
    told = sum(chunk.counters.answered + len(chunk.faults) for _, chunks in blocks for chunk in chunks)
    assert told >= acknowledged_total, "nothing that was acknowledged is lost: answers, faults, what was not asked"
    starts = [event for header, _ in blocks for event in header.events if event.kind == EventKind.BOOT]
    boots = [header.boot for header, _ in blocks]
    assert boots == sorted(boots) and boots[-1] == len(starts) == kills + 1
    losses = [event for header, _ in blocks for event in header.events if event.kind == EventKind.POWER_LOSS]
    assert len(losses) <= kills
    for (before, _), (after, _) in itertools.pairwise(blocks):
        if before.boot == after.boot:
            assert before.mono[1] == after.mono[0]
        else:
            assert after.events[0].kind == EventKind.BOOT and after.events[0].start == before.utc[1]


def test_killed_again_and_again_it_loses_nothing_and_numbers_nothing_twice(box, kit, meter, deep):
    made = box(kit.modbus_port(place=meter.place), *(kit.sdm(n, period="100ms") for n in (1, 2, 3)), block="1s")
    random, total, kills = Random(1), 0, deep(8, 4)
    for _ in range(kills):
        agent = start(made)
        committed = acknowledged(agent, lambda told: told["code"] == "committed" and told["total"] > 0)
        time.sleep(random.uniform(0, 0.5))
        agent.send_signal(signal.SIGKILL)
        agent.wait()
        total += rest(agent, committed)
    agent = start(made)
    committed = acknowledged(agent, lambda told: told["code"] == "sealed")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(READY_S) == 0
    check(made, meter, total + rest(agent, committed), kills)


def test_status_of_the_running_agent_and_its_idle_weight(box, kit, meter):
    made = box(kit.modbus_port(place=meter.place), kit.sdm(1, period="200ms"), block="1s")
    made.enrol("http://127.0.0.1:9")
    agent = start(made)
    try:
        acknowledged(agent, lambda told: told["code"] == "sealed" and told["seq"] == 1)
        told = control.ask(made.state / "control.sock", "status")
        weight = int(next(line for line in _status(agent.pid) if line.startswith("VmRSS")).split()[1])
        loaded = Path(f"/proc/{agent.pid}/maps").read_text()
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.communicate(timeout=READY_S)
    assert (told["state"], told["boot"], told["ports"][0]["gone"]) == ("running", 1, "")
    assert told["devices"][0]["answered"] >= 4 and told["sync"]["state"] == "unreachable"
    assert weight <= 60 * 1024, f"{weight} kB resident with delivery configured, expected at most 60 MB"
    assert "numpy" not in loaded and "pydantic" not in loaded
    with pytest.raises(UnreachableError, match="tanmeter edge run"):
        control.ask(made.state / "control.sock", "status")


def _status(pid):
    return Path(f"/proc/{pid}/status").read_text().splitlines()


def test_a_second_agent_is_kept_out_and_the_first_goes_on(box, kit, meter):
    made = box(kit.modbus_port(place=meter.place), kit.sdm(1, period="200ms"), block="1s")
    first = start(made)
    acknowledged(first, lambda told: told["code"] == "committed" and told["total"] > 0)
    second = start(made)
    _, told = second.communicate(timeout=READY_S)
    assert second.returncode == 1 and "STO-102" in told and "another agent" in told
    assert control.ask(made.state / "control.sock", "status")["state"] == "running"
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=READY_S)
    assert first.returncode == 0
