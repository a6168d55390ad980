"""How long a reading takes from its gateway's request until it can be queried, at half of what the collector can bear.

A real `tanmeter cloud serve` on loopback, a store on this disk, many gateways that each send a block of 500 readings at
a time, of minutes from now on: no day is over. A round is two spells. First as fast as they are answered, until all of
it is booked: that is the capacity just then. Then, open-loop, at instants of a Poisson process of half that rate,
whatever is still unanswered: the time is taken from the instant a block was to be sent at until its answer is there.
From then on whoever asks is shown it, for what was answered is booked before it is looked into: behind every fiftieth
the newest value of each point is asked for, must be that of the block, and the time until that is there is told as
well.

A core with nothing to do sleeps between two requests, and what it knew is cold when it wakes; one of a hired machine is
lent to a neighbour meanwhile. So every other round is run with the cores kept awake, where this user may ask the kernel
for it (``AWAKE``), as an operator may (docs/operator.md): those rounds are told apart. Behind the rounds the same at a
tenth of the load: what a lone block costs, with next to nothing to queue behind. A core that a neighbour shares is half
as fast for seconds, and capacity and waiting with it: so how long a loop that is always the same takes on the
collector's core stands beside each round, before, between and after its spells.

Where the machine has two cores and little else to do, the collector has the first and the load, another process, the
second, which it keeps awake so that it sends in time; on a busy one both go where there is room, and the load sleeps
until the next instant: how late it was itself stands beside the figures. How long this disk takes to sync is measured
before and after, with as many bytes as a commit writes: no answer comes sooner. So does how long the collector waited
for a core that other programs, or its own other thread, held. The collector's memory is read before and after.
"""

import asyncio
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fleet import SMALL, Gateway
from benchmarks.pace import loop_s
from cloud import config
from protocols.record.answer import BATCH_TYPE, Answer, decode_answers, encode_batch

GATEWAYS, ROUNDS = 50, 8
"""So many rounds with the cores awake, and as many as the machine has them."""
FLOOD, HALF, LAST = 6, 12, 10
"""Blocks of each gateway: in a round as fast as it goes and by the clock at half that rate; behind them at a tenth."""
EACH = 1 + 2 * (ROUNDS * (FLOOD + HALF) + LAST)
SAMPLE = 50
SYNCS, SYNCED = 150, 48 << 10
"""Syncs of the disk measured alone, each after so many bytes."""
BOOKED = "/v1/incidents"
"""Told once everything that was answered is booked, of all gateways."""
QUIET = 1.0
"""Processes that want a core, over the last minute: below it the machine has little else to do."""
PERCENTILES = (50.0, 99.0, 99.9)
AWAKE = Path("/dev/cpu_dma_latency")
"""While somebody holds it open having written 0 to it, no core sleeps (Linux, PM quality of service)."""
CORES = {False: "cores as they are", True: "cores awake"}


@dataclass
class Link:
    """A gateway's connection: one request at a time."""

    gateway: Gateway
    frames: list[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: int = 0
    free: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def push(self, together: int = 1) -> None:
        """Send the next block, or some in one request; SystemExit unless they are stored."""
        frames = self.frames[self.sent : self.sent + together]
        status, answer = await self.request(b"POST /v1/blocks", encode_batch(frames), BATCH_TYPE)
        verdicts = decode_answers(answer).verdicts
        if status != 200 or {verdict.answer for verdict in verdicts} != {Answer.STORED}:
            raise SystemExit(f"found {status}, {verdicts}, expected blocks that are stored")
        self.sent += len(frames)

    async def look(self) -> None:
        """Ask for the newest value of every point; SystemExit unless they are those of the newest block."""
        latest = json.loads(await self.ask(f"/v1/gateways/{self.gateway.key.public.id.hex()}"))["latest"]
        if (places := {value["seq"] for value in latest}) != {self.sent - 1}:
            raise SystemExit(f"found values of {places}, expected those of {self.sent - 1}: just receipted")

    async def ask(self, path: str) -> bytes:
        """The body of what is at a path; SystemExit where there is none."""
        status, answer = await self.request(f"GET {path}".encode(), b"", "application/json")
        if status != 200:
            raise SystemExit(f"found {status}, expected {path}")
        return answer

    async def request(self, line: bytes, body: bytes, kind: str) -> tuple[int, bytes]:
        head = f" HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        self.writer.write(line + head + body)
        found = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(found.partition(b"content-length: ")[2].split(b"\r\n")[0])
        return int(found.split()[1]), await self.reader.readexactly(length)


@dataclass(frozen=True)
class Server:
    """The collector's process; ``alone``: it has a core to itself, and the load another one."""

    process: int
    alone: bool

    def cpu_s(self) -> float:
        """CPU seconds so far, in its own and in the kernel's name."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def delayed_ms(self) -> float:
        """For how long its threads could have run and had no core, so far."""
        threads = Path(f"/proc/{self.process}/task").iterdir()
        return sum([int((thread / "schedstat").read_text().split()[1]) for thread in threads]) / 1e6

    def rss_mib(self) -> float:
        """What it holds in memory."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def loop_s(self) -> float:
        """How long the loop takes on its core."""
        held = os.sched_getaffinity(0)
        if self.alone:
            os.sched_setaffinity(0, os.sched_getaffinity(self.process))
        try:
            return loop_s()
        finally:
            os.sched_setaffinity(0, held)


def main() -> None:
    """Print the rounds, what they come to, a tenth of the load, what was lost, and the memory."""
    now = time.time_ns() // 60_000_000_000 * 60_000
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        gateways = [Gateway(SMALL, number, now) for number in range(GATEWAYS)]
        with config.open_store(data, config.create_key(data)) as store:
            for gateway in gateways:
                gateway.enrol(store)
        frames = [list(gateway.frames(EACH)) for gateway in gateways]
        syncs = _syncs(Path(folder))
        with serving(data) as (process, port), _apart(process.pid) as alone:
            sent = asyncio.run(_measure(gateways, frames, Server(process.pid, alone), port))
        syncs += _syncs(Path(folder))
        print(f"a sync of this disk alone, {SYNCED >> 10} KiB, before and after: {shown(syncs)}")
        with config.open_store(data, config.open_key(data)) as store:
            print(f"blocks lost: {sent - store.counts().blocks} of {sent}")


async def _measure(gateways: Sequence[Gateway], frames: Sequence[list[bytes]], server: Server, port: int) -> int:
    links = [
        Link(gateway, own, *await asyncio.open_connection("127.0.0.1", port))
        for gateway, own in zip(gateways, frames, strict=True)
    ]
    await asyncio.gather(*[_flood(link, 1) for link in links])
    memory = server.rss_mib()
    print(f"{GATEWAYS} gateways, blocks of {SMALL.readings} readings, one a request")
    rounds: dict[bool, list[Round]] = {False: [], True: []} if _may_keep_awake() else {False: []}
    for _ in range(ROUNDS):
        for awake, held in rounds.items():
            with _awake(awake):
                held.append(await _round(links, server, CORES[awake]))
    for awake, held in rounds.items():
        tenth = _told(held, CORES[awake]) / 10
        few = links[: max(1, int(tenth))]  # a connection that is idle for seconds is closed
        with _awake(awake):
            lone = await _by_the_clock(few, server, tenth, LAST)
        print(f"  at a tenth, {tenth:.0f} blocks/s: {shown(lone.times)}; {lone}")
    print(f"resident memory: {memory:.0f} MiB after the first blocks, {server.rss_mib():.0f} MiB at the end")
    for link in links:
        link.writer.close()
    return sum([link.sent for link in links])


def _told(rounds: Sequence["Round"], cores: str) -> float:
    """Say what some rounds come to; blocks a second as fast as it goes."""
    p50, p99 = (statistics.median([_percentile(one.half.times, part) for one in rounds]) for part in (50, 99))
    rate = statistics.median([one.rate for one in rounds])
    print(f"{cores}, median of {len(rounds)} rounds: {rate:.0f} blocks/s; at half p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    print(f"  all blocks of them: {shown([taken for one in rounds for taken in one.half.times])}")
    seen = [taken for one in rounds for taken in one.half.seen]
    p50, p90 = (_percentile(seen, part) for part in (50, 90))
    print(f"  shown by a GET, {len(seen)} sampled: p50 {p50:.1f} ms, p90 {p90:.1f} ms, longest {max(seen):.1f} ms")
    return rate


@dataclass
class Found:
    """How long after the instant a block was due, ms: its answer, of the sampled ones what the GET showed, and that it
    was sent at all; how many were answered a second; of a block the collector's CPU, and its wait for a core.
    """

    times: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    achieved: float = 0.0
    cpu_us: float = 0.0
    delayed_ms: float = 0.0

    def __str__(self) -> str:
        late = f"sent late by p99 {_percentile(self.late, 99):.1f} ms"
        busy = f"busy {self.cpu_us * self.achieved / 1e6:.0%}"
        return f"{busy}, {self.cpu_us:.0f} us CPU each, {self.delayed_ms:.1f} ms without a core; {late}"


@dataclass(frozen=True)
class Round:
    """Blocks a second as fast as it went, and what came of half of that."""

    rate: float
    half: Found


async def _round(links: Sequence[Link], server: Server, cores: str) -> Round:
    loops = [server.loop_s()]
    began, before = time.perf_counter(), server.cpu_s()
    await asyncio.gather(*[_flood(link, FLOOD) for link in links])
    await links[0].ask(BOOKED)
    rate = GATEWAYS * FLOOD / (time.perf_counter() - began)
    each_us = (server.cpu_s() - before) / (GATEWAYS * FLOOD) * 1e6
    loops.append(server.loop_s())
    half = await _by_the_clock(links, server, rate / 2, HALF)
    loops.append(server.loop_s())
    pace = "/".join([f"{loop * 1e3:.0f}" for loop in loops])
    flood = f"loop {pace} ms; {rate:4.0f} blocks/s, {each_us:.0f} us CPU each"
    print(f"  {cores}, {flood}; at half {shown(half.times)}; {half}")
    return Round(rate, half)


def _may_keep_awake() -> bool:
    try:
        AWAKE.open("wb", buffering=0).close()
    except OSError:
        return False
    return True


@contextmanager
def _awake(wanted: bool) -> Iterator[None]:
    """While it lasts no core sleeps, where that is wanted."""
    if not wanted:
        yield
        return
    with AWAKE.open("wb", buffering=0) as held:
        held.write(struct.pack("=i", 0))
        yield


async def _by_the_clock(links: Sequence[Link], server: Server, rate: float, each: int) -> Found:
    before, delayed = server.cpu_s(), server.delayed_ms()
    found = await _open_loop(links, rate, each, server.alone)
    blocks = len(found.times)
    found.cpu_us = (server.cpu_s() - before) / blocks * 1e6
    found.delayed_ms = (server.delayed_ms() - delayed) / blocks
    return found


async def _flood(link: Link, blocks: int) -> None:
    for _ in range(blocks):
        await link.push()


async def _open_loop(links: Sequence[Link], rate: float, each: int, alone: bool) -> Found:
    """So many blocks of each link at random instants; ``alone``: nobody else needs this core while it waits."""
    seeded, found = random.Random(11), Found()
    order = [link for _ in range(each) for link in seeded.sample(list(links), len(links))]
    start, at, tasks = time.perf_counter() + 0.5, 0.0, []

    async def one(link: Link, due: float, look: bool) -> None:
        async with link.free:
            await link.push()
            found.times.append(_since_ms(due))
            if look:
                await link.look()
                found.seen.append(_since_ms(due))

    for number, link in enumerate(order):
        at += seeded.expovariate(rate)
        while (left := start + at - time.perf_counter()) > 0:  # noqa: ASYNC110 - it is the clock that is waited for
            await asyncio.sleep(0 if alone else left)
        found.late.append(_since_ms(start + at))
        tasks.append(asyncio.create_task(one(link, start + at, number % SAMPLE == 0)))
    await asyncio.gather(*tasks)
    found.achieved = len(found.times) / (time.perf_counter() - start)
    return found


def _since_ms(due: float) -> float:
    return (time.perf_counter() - due) * 1e3


def _syncs(folder: Path) -> list[float]:
    """How long each of some syncs took, ms: of bytes written over what was there, as into a log that is used again."""
    times, data = [], os.urandom(SYNCED)
    descriptor = os.open(folder / "synced", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for _ in range(SYNCS + 1):
            os.pwrite(descriptor, data, 0)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            times.append((time.perf_counter() - began) * 1e3)
    finally:
        os.close(descriptor)
    return times[1:]


@contextmanager
def _apart(process: int) -> Iterator[bool]:
    """The collector on one core and this process on another, while it lasts, where there are two and they are free:
    whether it is so.
    """
    cores, load = sorted(os.sched_getaffinity(0)), os.getloadavg()[0]
    free = len(cores) > 1 and load < QUIET
    print(f"{len(cores)} cores, load {load:.1f} before: {'one for each' if free else 'shared with whatever runs'}")
    if free:
        for thread in Path(f"/proc/{process}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores[:1])
        os.sched_setaffinity(0, cores[1:2])
    try:
        yield free
    finally:
        os.sched_setaffinity(0, cores)


def shown(times: Sequence[float]) -> str:
    return ", ".join(f"p{part:g} {_percentile(times, part):.1f} ms" for part in PERCENTILES)


def _percentile(times: Sequence[float], part: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part / 100))]


@contextmanager
def serving(data: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "tanmeter", "--lang", "en", "cloud", "serve", "--data", str(data), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        while "collector ready" not in (line := process.stderr.readline()):
            if not line:
                raise SystemExit("found a collector that ended, expected it to serve")
        yield process, int(line.rstrip().rstrip("/").rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
