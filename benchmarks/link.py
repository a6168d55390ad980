"""Thirty days without a link, then 30 kbit/s: how long the backlog is on the air, and how late the live blocks are.

The box lives through the outage in virtual time. Then the real agent delivers over HTTP to a real collector from a
network namespace whose only way out is a pair of interfaces held to the rate by the kernel (needs root).
"""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from cloud import config as collector_config
from drivers import profile_file
from drivers.builtin import builtin
from edge.agent import Agent
from edge.transport import Response
from protocols.errors import UnreachableError
from protocols.record import invite
from protocols.record.cose import PrivateKey
from provisioning import site_init
from provisioning.enrol import enrol
from simulator.modbus_meters import TcpMeter
from simulator.network import Endpoint, TcpEnd
from simulator.profile_meter import ProfileMeter
from simulator.stations import steady
from simulator.time import SimClock, VirtualLoop

DAYS, POINTS, RATE = 30, 8, "30kbit"
PROFILE = "acrel-adl400"
NAMESPACE, OUTSIDE, INSIDE = "tanmeter-link", "tanmeter-out", "tanmeter-in"
HERE, THERE = "10.213.7.1", "10.213.7.2"
LONGEST_S, LOOKED_S = 3600, 300
TARGET_S, PERIOD_S = 600, 60


class Nowhere:
    """No way to the collector."""

    async def post(self, path: str, body: bytes, content_type: str) -> Response:
        """Nobody is there, and it takes its time to show."""
        await asyncio.sleep(LOOKED_S)
        raise UnreachableError("no route")

    async def close(self) -> None:
        """Nothing is open."""


def main() -> None:
    """Print bytes, time on the air and lateness."""
    if os.geteuid() != 0:
        print("not measured: network namespaces need root")
        return
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        stack.enter_context(_namespace())
        state = _set_up(folder)
        url = stack.enter_context(_collector(folder / "data"))
        _enrol(folder / "data", state, url)
        _live_through(state)
        blocks, held = _stored(state)
        print(f"{DAYS} days, {POINTS} points a minute: {blocks} blocks, {held / 1024:.0f} KiB signed and packed")
        _measure(state, folder / "data", blocks)


def _measure(state: Path, data: Path, blocks: int) -> None:
    before, began = _carried(), time.monotonic()
    agent = subprocess.Popen(
        ["ip", "netns", "exec", NAMESPACE, sys.executable, "-P", "-m", "edge", str(state), "warning"]
    )
    late: dict[tuple[int, int], float] = {}
    try:
        while (done := _next_seq(data)) < blocks:
            _look(state, data, late)
            if time.monotonic() - began > LONGEST_S:
                raise SystemExit(f"found {done} blocks after {LONGEST_S} s, expected {blocks}")
            time.sleep(0.5)
        took, sent = time.monotonic() - began, [after - first for first, after in zip(before, _carried(), strict=True)]
    finally:
        agent.terminate()
        agent.wait()
    print(f"  {took:8.0f} s until the collector's chain holds them at {RATE} (target <= {TARGET_S} s)")
    print(f"  {sent[0] / 1024:8.0f} KiB sent, {sent[1] / 1024:.0f} KiB received, with TCP, IP and HTTP around them")
    live = sorted(seconds for (_, seq), seconds in late.items() if seq >= blocks)
    shown = ", ".join(f"{seconds:.1f}" for seconds in live)
    print(f"  {max(live, default=0):8.1f} s the latest of {len(live)} live blocks (target <= {PERIOD_S} s): {shown}")


def _look(state: Path, data: Path, late: dict[tuple[int, int], float]) -> None:
    """Note when a block was first seen at the collector, against its end (both clocks are this machine's)."""
    seen = {
        (epoch, seq): at / 1000
        for table in ("ahead", "blocks")
        for epoch, seq, at in _rows(data / "collector.db", f"SELECT epoch, seq, received_at FROM {table}")
    }
    for epoch, seq, end in _rows(
        state / "outbox.db", "SELECT epoch, seq, utc_end FROM block ORDER BY seq DESC LIMIT 20"
    ):
        if (epoch, seq) in seen:
            late.setdefault((epoch, seq), seen[epoch, seq] - end / 1000)


def _set_up(folder: Path) -> Path:
    state = folder / "state"
    state.mkdir()
    names = [f"voltage_{phase}" for phase in "abc"] + [f"current_{phase}" for phase in "abc"] + ["power", "frequency"]
    points = ", ".join(f'"{name}"' for name in names[:POINTS])
    source = (
        'schema = 1\n[site]\nid = "S-1"\nname = "bench"\n[[port]]\nname = "net"\ntcp = "127.0.0.1:1502"\n'
        f'[[device]]\nid = "M-1"\nprofile = "{PROFILE}"\nport = "net"\naddress = "1"\nperiod = "60s"\n'
        f"points = [{points}]\n"
    ).encode()
    since = time.time_ns() // 1_000_000 - DAYS * 86_400_000
    site_init.init(state, source, site_init.gather(source), PrivateKey.generate(), since)
    return state


def _live_through(state: Path) -> None:
    loop, now = VirtualLoop(), time.time_ns() // 1_000_000
    clock, profile = SimClock(loop, now - DAYS * 86_400_000), profile_file.load(builtin(PROFILE))
    meter = (TcpMeter(ProfileMeter(profile, 1)),)
    wire = TcpEnd(Endpoint("net", clock, Random(1), lambda: meter, steady(20)))
    agent = Agent(state, clock, lambda port: wire, Nowhere(), Random(1), durable=False)
    try:
        loop.run_until_complete(agent.run(asyncio.Event(), now))
    finally:
        loop.close()


def _enrol(data: Path, state: Path, url: str) -> None:
    key = collector_config.open_key(data)
    code = invite.make(os.urandom(invite.ENTROPY_BYTES), key.spki)
    now = time.time_ns() // 1_000_000
    with collector_config.open_store(data, key) as store:
        store.create_invite(code, None, now + 3_600_000, now)
    enrol(state, code.format(), url)


@contextlib.contextmanager
def _collector(data: Path) -> Iterator[str]:
    serve = [sys.executable, "-m", "tanmeter", "cloud", "serve", "--data", str(data), "--host", HERE, "--port", "0"]
    process = subprocess.Popen(serve, stderr=subprocess.PIPE, text=True, env={**os.environ, "TANMETER_LANG": "en"})
    assert process.stderr is not None
    try:
        yield process.stderr.readline().split()[-1].rstrip("/")
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _namespace() -> Iterator[None]:
    _run(f"ip netns add {NAMESPACE}")
    try:
        _run(f"ip link add {OUTSIDE} type veth peer name {INSIDE} netns {NAMESPACE}")
        _run(f"ip addr add {HERE}/30 dev {OUTSIDE}", f"ip link set {OUTSIDE} up")
        inside = f"ip netns exec {NAMESPACE}"
        _run(f"{inside} ip addr add {THERE}/30 dev {INSIDE}", f"{inside} ip link set {INSIDE} up")
        _run(f"{inside} ip link set lo up")
        held = f"root tbf rate {RATE} burst 1600 latency 1s"
        _run(f"tc qdisc add dev {OUTSIDE} {held}", f"{inside} tc qdisc add dev {INSIDE} {held}")
        yield
    finally:
        _run(f"ip netns del {NAMESPACE}")


def _run(*commands: str) -> None:
    for command in commands:
        subprocess.run(command.split(), check=True)


def _carried() -> tuple[int, int]:
    """Bytes that have come from the box and gone to it."""
    folder = Path(f"/sys/class/net/{OUTSIDE}/statistics")
    return int((folder / "rx_bytes").read_text()), int((folder / "tx_bytes").read_text())


def _stored(state: Path) -> tuple[int, int]:
    ((count, size),) = _rows(state / "outbox.db", "SELECT count(*), sum(length(frame)) FROM block")
    return count, size


def _next_seq(data: Path) -> int:
    ((seq,),) = _rows(data / "collector.db", "SELECT next_seq FROM gateways")
    return int(seq)


def _rows(path: Path, query: str) -> list[tuple[int, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
        return db.execute(query).fetchall()
