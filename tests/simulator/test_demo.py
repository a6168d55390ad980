"""The demo as a person or a script runs it: one JSON object, a clean end, no orphan, and a word about who died."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
KEYS = {
    "gateways", "blocks_stored", "readings", "refused", "expected_kwh", "booked_kwh", "factor", "tco2", "gaps",
    "back_filled_blocks", "evidence_verified", "flows", "city", "works",
}  # fmt: skip


class Running:
    """A demo in a temporary folder of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tanmeter", "--lang", "en", "demo", "--days", "1", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(folder)},
        )

    def line(self, holds: str) -> str:
        """Read on until a line holds this."""
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if holds in line:
                return line
        _, errors = self.process.communicate()
        raise AssertionError(f"ended ({self.process.returncode}) without saying {holds!r}: {''.join(said)}{errors}")

    def children(self) -> list[int]:
        """Every process that works in the folder, but not the demo itself."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.process.pid:
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if str(self.folder).encode() in command:
                    found.append(int(entry.name))
        return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(*arguments: str) -> Running:
        running.append(Running(tmp_path, *arguments))
        return running[-1]

    yield begin
    for each in running:
        each.process.kill()
        each.process.communicate()


def test_once_json_prints_one_object_in_which_everything_holds(start: Callable[..., Running]) -> None:
    demo = start("--once", "--json", "--seed", "3")
    output, talk = demo.process.communicate(timeout=100)
    assert demo.process.returncode == 0, talk
    (line,) = output.splitlines()
    told = json.loads(line)
    assert told.keys() >= KEYS
    assert told["expected_kwh"] == told["booked_kwh"]
    assert Decimal(told["tco2"]) == Decimal(told["booked_kwh"]) * Decimal(told["factor"]) / 1000
    assert (told["gateways"], told["refused"], told["evidence_verified"]) == (1, 2, True)
    assert told["blocks_stored"] > told["back_filled_blocks"] > 96
    assert {name: meter["booked_kwh"] for name, meter in told["meters"].items()} == {
        name: meter["expected_kwh"] for name, meter in told["meters"].items()
    }
    assert {name: (flow["unit"], flow["booked"]) for name, flow in told["flows"].items()} == {
        name: (unit, told["flows"][name]["expected"])
        for name, unit in (("W-01", "m3"), ("G-01", "m3"), ("H-01", "GJ"), ("C-01", "kWh"), ("S-02", "kg"))
    }
    assert all(Decimal(flow["booked"]) > 0 for flow in told["flows"].values())
    assert demo.children() == [] and list(demo.folder.iterdir()) == []


def test_an_interrupt_ends_everything_and_a_taken_port_is_no_obstacle(start: Callable[..., Running]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        demo = start("--port", port)
        demo.line("5. Live")
    commands = b" ".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in demo.children())
    assert len(demo.children()) == 3 and port.encode() not in commands
    demo.process.send_signal(signal.SIGINT)
    output, errors = demo.process.communicate(timeout=30)
    assert (demo.process.returncode, errors) == (130, "")
    assert output.splitlines()[-1].startswith("Ended")
    assert demo.children() == [] and list(demo.folder.iterdir()) == []


def test_a_killed_demo_takes_its_processes_with_it(start: Callable[..., Running]) -> None:
    demo = start()
    demo.line("1. The simulated site")
    assert demo.children()
    demo.process.kill()
    demo.process.communicate()
    limit = time.monotonic() + 10
    while demo.children() and time.monotonic() < limit:
        os.sched_yield()
    assert demo.children() == []


def test_a_process_that_dies_is_named_and_the_rest_is_ended(start: Callable[..., Running]) -> None:
    demo = start()
    demo.line("5. Live")
    (collector,) = [pid for pid in demo.children() if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(collector, signal.SIGKILL)
    output, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 1
    assert "the process 'collector' was ended by SIGKILL" in output
    assert demo.children() == [] and list(demo.folder.iterdir()) == []


def test_a_folder_with_something_in_it_is_not_used(start: Callable[..., Running], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    demo = start("--keep", str(tmp_path))
    output, _ = demo.process.communicate(timeout=30)
    assert demo.process.returncode == 1
    assert "expected an empty or a new one" in output
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
