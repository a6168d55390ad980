"""The link below TCP: the real agent delivers to the real collector, by HTTP and over a broker, while packets are lost,
doubled, delayed and put out of order, and for a while none passes. Nothing is lost, nothing is counted twice.

``python -m proofs.link FOLDER WAY SECONDS STALL SEED`` is one trial, in a network namespace of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from edge import control
from edge.config import COLLECTOR, SOCKET
from proofs import box as boxes
from proofs.box import ROOT, Box
from proofs.line import Line, Tier
from proofs.packets import CALM, FAR, INSIDE, NEAR, Packets, Weather
from proofs.random_kills import look
from proofs.scenes import meter
from protocols.errors import UnreachableError
from provisioning import enrol

PART = "link"
WAYS = ("http", "mqtt")
STORM = Weather(lost=0.05, doubled=0.05, delay_s=(0.01, 0.12))
STORMY = ("lost", "doubled", "reordered")
SECONDS = {Tier.PULL: 20.0, Tier.NIGHTLY: 600.0, Tier.RELEASE: 3600.0}
STALL_S = 30.0
PATIENCE_S = 120.0
PORT, BROKER = 18080, 11883
"""In a network namespace of our own nobody else has them."""


def prove(tier: Tier, seed: int) -> Iterator[Line]:
    """A line for each way."""
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            yield trial(Path(folder), way, SECONDS[tier], STALL_S, seed)


def trial(folder: Path, way: str, seconds: float, stall_s: float, seed: int) -> Line:
    """One trial in a namespace of its own; a line that tried nothing where this user may not make one."""
    name = f"loss, doubles, disorder and a stall of {stall_s:g} s below TCP, by {way.upper()}"
    if why := forbidden():
        return Line(PART, name, seed, 0, 0, not_here=why)
    command = [*INSIDE, sys.executable, "-m", "proofs.link", str(folder), way, str(seconds), str(stall_s), str(seed)]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ | boxes.ENVIRONMENT, capture_output=True, text=True)
    if ran.returncode:
        return Line(PART, name, seed, 1, 1, found=tuple(ran.stderr.splitlines()[-5:]))
    return replace(Line.from_json(ran.stdout.splitlines()[-1]), name=name)


def forbidden() -> str:
    """Why no link can be made here; empty when one can."""
    probe = "import proofs.packets as p\nwith p.Packets(0): pass"
    try:
        ran = subprocess.run([*INSIDE, sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    last = ran.stderr.strip().rpartition("\n")[2]
    return f"a network namespace with a TUN device is not permitted: {last}" if ran.returncode else ""


def _try(folder: Path, way: str, seconds: float, stall_s: float, seed: int) -> Line:
    with Packets(seed) as link, ExitStack() as held:
        served = held.enter_context(meter())
        box = boxes.set_up(folder, boxes.site_file(served.place, meters=3))
        if way == "mqtt":
            _broker(held, folder)
        collector = _Process(held, [*_collector(box, way)], folder / "collector.log")
        collector.until("http://")
        if way == "mqtt":
            collector.until("serving over MQTT")
        _enrol(box, way)
        agent = _Process(held, boxes.agent_command(box), folder / "agent.log")
        agent.until('"sealed"')
        link.weather = STORM
        time.sleep(seconds)
        boxes.until(lambda: all(link.counts[name] for name in STORMY), f"packets that are {STORMY}", PATIENCE_S)
        link.stalled = True
        time.sleep(stall_s)
        link.stalled = False
        mended = time.monotonic()
        boxes.until(lambda: _waiting(box) <= 1, "a backlog that is delivered", PATIENCE_S)
        took = time.monotonic() - mended
        link.weather = CALM
        boxes.until(lambda: _waiting(box) == 0, "all that is delivered", PATIENCE_S)
        agent.end()
        collector.end()
        said = [json.loads(line) for line in agent.said().splitlines() if '"committed"' in line]
        found = look(box, served, said[-1]["total"])
    fired = {name: link.counts[name] for name in (*STORMY, "stalled")}
    figures = f"{link.counts['carried']:,} packets carried; all delivered {took:.0f} s after the stall"
    return Line(PART, way, seed, 1, len(found), fired, False, figures, tuple(found[:5]))


def _waiting(box: Box) -> int:
    """How many blocks have no receipt yet, as the agent says."""
    return int(control.ask(box.state / SOCKET, "status")["outbox"]["unsettled"])


def _collector(box: Box, way: str) -> list[str]:
    command = [*boxes.collector_command(box, PORT), "--host", NEAR]
    return [*command, "--mqtt", f"mqtt://127.0.0.1:{BROKER}"] if way == "mqtt" else command


def _broker(held: ExitStack, folder: Path) -> None:
    """One that hears on every address, and so over the link, too."""
    file = folder / "mosquitto.conf"
    file.write_text(f"listener {BROKER}\nuser root\nallow_anonymous true\npersistence false\n")
    process = subprocess.Popen(["mosquitto", "-c", str(file)], stderr=subprocess.DEVNULL)
    held.callback(process.wait)
    held.callback(process.kill)


def _enrol(box: Box, way: str) -> None:
    """At the collector, over the link."""
    invite = [sys.executable, "-m", "tanmeter", "cloud", "invite", "--data", str(box.data)]
    code = subprocess.run(invite, capture_output=True, text=True, check=True).stdout.strip()
    enrol.enrol(box.state, code, f"http://{FAR}:{PORT}")
    if way == "mqtt":
        path = box.state / COLLECTOR
        path.write_text(json.dumps(json.loads(path.read_text()) | {"url": f"mqtt://{FAR}:{BROKER}"}))


class _Process:
    """A process, and what it has said."""

    def __init__(self, held: ExitStack, command: list[str], log: Path) -> None:
        self._log, self._command = log, command
        with log.open("wb") as said:
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        held.callback(self._process.kill)

    def said(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def until(self, word: str) -> None:
        boxes.until(lambda: word in self.said(), f"{word}: {self.said()[-500:]}", PATIENCE_S)

    def end(self) -> None:
        self._process.terminate()
        if (code := self._process.wait(PATIENCE_S)) != 0:
            raise UnreachableError(f"{self._command[2]} ended with {code}: {self.said()[-500:]}")


if __name__ == "__main__":
    place, by, lasts, stalls, number = sys.argv[1:]
    print(_try(Path(place), by, float(lasts), float(stalls), int(number)).to_json())
