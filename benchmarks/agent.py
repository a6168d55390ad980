"""The whole agent as its own process: 200 points a second over TCP, each exchange on disk, each block signed."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from drivers import profile_file
from drivers.builtin import builtin
from edge import config, control
from protocols.record.cose import PrivateKey
from provisioning import site_init
from simulator.profile_meter import over_tcp

METERS = 10
PROFILE = "acrel-adl400"
POINTS = (
    *(f"{name}_{phase}" for name in ("voltage", "current") for phase in "abc"),
    *(f"{name}{phase}" for name in ("power", "reactive_power", "apparent_power") for phase in ("_a", "_b", "_c", "")),
    *("power_factor", "frequency"),
)
"""Twenty points that come in one read, as the meters of reference/peers.md."""
WITH_COUNTER = (*POINTS[:-1], "energy_import")
"""Twenty points that come in two reads."""
WARM_S, MEASURED_S = 15.0, 60.0
MIB = 1 << 20


def main() -> None:
    """Print processor time and memory for one read and for two reads a second of each meter."""
    for name, points in (("one read a meter", POINTS), ("two reads a meter", WITH_COUNTER)):
        with tempfile.TemporaryDirectory() as folder:
            cpu_s, readings, resident = measure(Path(folder), points)
        print(f"{METERS} meters of {len(points)} points, 1 s, {name}: {readings / MEASURED_S:.0f} readings a second")
        print(f"  {cpu_s / readings * 1000:8.4f} CPU s per 1,000 readings (target <= 0.05)")
        print(f"  {resident / MIB:8.1f} MiB resident (target <= 60 MB)")


def measure(folder: Path, points: tuple[str, ...]) -> tuple[float, int, int]:
    """CPU seconds and readings of a minute, and resident bytes at its end."""
    meters = subprocess.Popen([sys.executable, "-m", "benchmarks.agent", "meters"], stdout=subprocess.PIPE, text=True)
    assert meters.stdout is not None
    agent: subprocess.Popen[bytes] | None = None
    try:
        state = _set_up(folder, json.loads(meters.stdout.readline()), points)
        agent = subprocess.Popen([sys.executable, "-P", "-m", "edge", str(state), "warning"])
        time.sleep(WARM_S)
        cpu, count = _cpu_s(agent.pid), _exchanges(state)
        time.sleep(MEASURED_S)
        readings = (_exchanges(state) - count) * len(points) // _reads(points)
        return _cpu_s(agent.pid) - cpu, readings, _resident(agent.pid)
    finally:
        for process in (agent, meters):
            if process is not None:
                process.terminate()
                process.wait()


def _set_up(folder: Path, places: list[str], points: tuple[str, ...]) -> Path:
    state = folder / "state"
    state.mkdir()
    named = ", ".join(f'"{point}"' for point in points)
    parts = ['schema = 1\n[site]\nid = "S-1"\nname = "bench"\n']
    parts += [f'[[port]]\nname = "net-{n}"\ntcp = "{place}"\n' for n, place in enumerate(places)]
    parts += [
        f'[[device]]\nid = "M-{n}"\nprofile = "{PROFILE}"\nport = "net-{n}"\naddress = "1"\nperiod = "1s"\n'
        f"points = [{named}]\n"
        for n in range(len(places))
    ]
    source = "".join(parts).encode()
    site_init.init(state, source, site_init.gather(source), PrivateKey.generate(), time.time_ns() // 1_000_000)
    return state


def _reads(points: tuple[str, ...]) -> int:
    return 2 if "energy_import" in points else 1


def _exchanges(state: Path) -> int:
    return int(control.ask(state / config.SOCKET, "status")["exchanges"])


def _cpu_s(process: int) -> float:
    """User and system time of a process, its threads included."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _meters() -> None:
    """Serve the meters until terminated; first prints their places."""
    profile = profile_file.load(builtin(PROFILE))
    async with contextlib.AsyncExitStack() as stack:
        served = [await stack.enter_async_context(over_tcp(profile, 1)) for _ in range(METERS)]
        print(json.dumps([place for _, place in served]), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["meters"]:
        asyncio.run(_meters())
    else:
        main()
