"""How long a reading takes from its gateway's request until it can be queried, at half of what the collector can bear.

A real `tanmeter cloud serve` on loopback, a store on this disk, many gateways that each send a block of 500 readings at
a time. First as fast as they are answered: that is the capacity. Then, open-loop, at instants of a Poisson process of
half that rate, whatever is still unanswered: the time is taken from the instant a block was to be sent at until its
answer is there, which comes after the commit. Then the same at a tenth: what a lone block costs on a core that has
gone to sleep, with next to nothing to queue behind. Behind every fiftieth the newest value of each point is asked for,
and must be that of the block. Where the machine has two cores and little else to do, the collector has the first and
the load, another process, the second, which it keeps awake so that it sends in time; on a busy one both go where there
is room, and the load sleeps until the next instant: how late it was itself stands beside the figures. How long this
disk takes to sync is measured before and after, with as many bytes as a commit writes: no answer comes sooner. So does
how long the collector waited for a core that other programs held: on a quiet machine that is next to nothing; and how
long a loop that is always the same took before and after (``benchmarks/pace.py``): a core that a neighbour shares can
be half as fast, and the figures are those of such a core then.
The collector's memory is read before and after.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fleet import SMALL, Gateway
from benchmarks.pace import STEPS, loop_s
from cloud import config
from protocols.record.answer import BATCH_TYPE, Answer, decode_answers, encode_batch

GATEWAYS, FIRST, LATER, LAST = 50, 20, 60, 20
"""Gateways, and the blocks of each: as fast as it goes, by the clock at half that rate, and at a tenth."""
SAMPLE = 50
SYNCS, SYNCED = 150, 48 << 10
"""Syncs of the disk measured alone, each after so many bytes."""
QUIET = 1.0
"""Processes that want a core, over the last minute: below it the machine has little else to do."""
PERCENTILES = (50.0, 99.0, 99.9)


@dataclass
class Link:
    """A gateway's connection: one request at a time."""

    gateway: Gateway
    frames: list[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: int = 0
    free: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def push(self) -> None:
        """Send the next block; SystemExit unless it is stored."""
        body = encode_batch([self.frames[self.sent]])
        status, answer = await self._request(b"POST /v1/blocks", body, BATCH_TYPE)
        verdicts = decode_answers(answer).verdicts
        if status != 200 or verdicts[0].answer != Answer.STORED:
            raise SystemExit(f"found {status}, {verdicts}, expected a block that is stored")
        self.sent += 1

    async def look(self) -> None:
        """Ask for the newest value of every point; SystemExit unless they are those of the newest block."""
        path = f"GET /v1/gateways/{self.gateway.key.public.id.hex()}"
        status, answer = await self._request(path.encode(), b"", "application/json")
        places = {value["seq"] for value in json.loads(answer)["latest"]} if status == 200 else set()
        if places != {self.sent - 1}:
            raise SystemExit(f"found {status}, values of {places}, expected those of {self.sent - 1}: just receipted")

    async def _request(self, line: bytes, body: bytes, kind: str) -> tuple[int, bytes]:
        head = f" HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        self.writer.write(line + head + body)
        found = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(found.partition(b"content-length: ")[2].split(b"\r\n")[0])
        return int(found.split()[1]), await self.reader.readexactly(length)


def main() -> None:
    """Print the capacity, the percentiles at half of it, what was lost, and the memory."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        gateways = [Gateway(SMALL, number) for number in range(GATEWAYS)]
        with config.open_store(data, config.create_key(data)) as store:
            for gateway in gateways:
                gateway.enrol(store)
        frames = [list(gateway.frames(FIRST + LATER + LAST)) for gateway in gateways]
        syncs, loops = _syncs(Path(folder)), [loop_s()]
        with _serving(data) as (process, port), _apart(process.pid) as alone:
            sent = asyncio.run(_measure(gateways, frames, process.pid, port, alone))
        loops.append(loop_s())
        print(f"a loop of {STEPS:,} steps took {loops[0] * 1e3:.1f} ms before and {loops[1] * 1e3:.1f} ms after")
        syncs += _syncs(Path(folder))
        print(f"a sync of this disk alone, {SYNCED >> 10} KiB, before and after: {_shown(syncs)}")
        with config.open_store(data, config.open_key(data)) as store:
            print(f"blocks lost: {sent - store.counts().blocks} of {sent}")


async def _measure(
    gateways: Sequence[Gateway], frames: Sequence[list[bytes]], process: int, port: int, alone: bool
) -> int:
    links = [
        Link(gateway, own, *await asyncio.open_connection("127.0.0.1", port))
        for gateway, own in zip(gateways, frames, strict=True)
    ]
    for link in links:
        await link.push()
    began, before = time.perf_counter(), _cpu_s(process)
    await asyncio.gather(*[_flood(link, FIRST - 1) for link in links])
    took, cpu = time.perf_counter() - began, _cpu_s(process) - before
    blocks = GATEWAYS * (FIRST - 1)
    rate, memory = blocks / took, _rss_mib(process)
    print(f"{GATEWAYS} gateways, blocks of {SMALL.readings} readings, one a request")
    pace = f"{rate * SMALL.readings:,.0f} readings/s; {cpu / blocks * 1e6:.0f} us CPU a block"
    print(f"capacity   {rate:8.0f} blocks/s ({pace})")
    for share, each in ((2, LATER), (10, LAST)):
        few = links[: max(1, int(rate / share))]  # a connection that is idle for seconds is closed
        await _by_the_clock(few, process, rate / share, each, alone)
    print(f"resident memory: {memory:.0f} MiB after {blocks} blocks, {_rss_mib(process):.0f} MiB at the end")
    for link in links:
        link.writer.close()
    return sum([link.sent for link in links])


async def _by_the_clock(links: Sequence[Link], process: int, rate: float, each: int, alone: bool) -> None:
    before, delayed = _cpu_s(process), _delayed_ms(process)
    found = await _open_loop(links, rate, each, alone)
    blocks = len(found.times)
    busy = (_cpu_s(process) - before) * found.achieved / blocks
    print(f"open-loop  {rate:8.0f} blocks/s offered; {found.achieved:.0f} answered a second, busy {busy:.0%}")
    print(f"  for a core that others held it waited {(_delayed_ms(process) - delayed) / blocks:.1f} ms a block")
    print(f"  sent late by {_shown(found.late)}")
    print(f"  from request to queryable: {_shown(found.times)}; worst {max(found.times):.1f} ms")
    seen = f"p50 {_percentile(found.seen, 50):.1f} ms, worst {max(found.seen):.1f} ms"
    print(f"  with a GET behind it ({len(found.seen)} sampled): {seen}")


async def _flood(link: Link, blocks: int) -> None:
    for _ in range(blocks):
        await link.push()


@dataclass
class Found:
    """How long after the instant a block was due, ms: its answer, of the sampled ones what the GET showed, and that it
    was sent at all; and how many were answered a second.
    """

    times: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    achieved: float = 0.0


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


def _shown(times: Sequence[float]) -> str:
    return ", ".join(f"p{part:g} {_percentile(times, part):.1f} ms" for part in PERCENTILES)


def _percentile(times: Sequence[float], part: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part / 100))]


@contextmanager
def _serving(data: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
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


def _cpu_s(process: int) -> float:
    """CPU seconds of a process so far, in its own and in the kernel's name."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _delayed_ms(process: int) -> float:
    """For how long the threads of a process could have run and had no core, so far."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return sum([int((thread / "schedstat").read_text().split()[1]) for thread in threads]) / 1e6


def _rss_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
