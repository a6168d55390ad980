"""What a block after a long outage costs all other gateways: every quarter of an hour of the gap is booked with it.

A real `tanmeter cloud serve` on loopback. A gateway of eight devices with three counters each sends a block, is off for
399 days, and sends the next. Meanwhile another one sends a block every 50 ms: how long each of its answers took is
told, of those before and of those while the gap is booked, and how long that took in all, until a GET shows it.
"""

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet import SMALL, Gateway, Shape
from benchmarks.latency import Link, Server, serving, shown
from cloud import config

MANY = Shape(8, 5, 3, 1, 0)
DAYS = 399
BEFORE, EVERY_S = 100, 0.05
"""Blocks of the other gateway before, and how often it sends."""
DAY_MS = 86_400_000


@dataclass
class Other:
    """The gateway that is not concerned."""

    link: Link
    ended: bool = False

    async def send(self, most: int) -> list[float]:
        """A block every so often until it is ended, at most so many: how long each answer took, ms."""
        times: list[float] = []
        while not self.ended and len(times) < most:
            began = time.perf_counter()
            await self.link.push()
            times.append((time.perf_counter() - began) * 1e3)
            await asyncio.sleep(EVERY_S)
        return times


def main() -> None:
    """Print both, and what the collector held in memory."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        away, other = Gateway(MANY, 1), Gateway(SMALL, 2)
        with config.open_store(data, config.create_key(data)) as store:
            away.enrol(store)
            other.enrol(store)
        frames = [next(away.frames(1))]
        away.off(DAYS * DAY_MS)
        frames.append(next(away.frames(1)))
        others = list(other.frames(3000))
        with serving(data) as (process, port):
            asyncio.run(_measure(away, frames, other, others, Server(process.pid, False), port))


async def _measure(
    away: Gateway, frames: list[bytes], other: Gateway, others: list[bytes], server: Server, port: int
) -> None:
    link = Link(away, frames, *await asyncio.open_connection("127.0.0.1", port))
    beside = Other(Link(other, others, *await asyncio.open_connection("127.0.0.1", port)))
    await link.push()
    print(f"before: {shown(await beside.send(BEFORE))}")
    cpu, memory = server.cpu_s(), server.rss_mib()
    link.reader, link.writer = await asyncio.open_connection("127.0.0.1", port)  # an idle connection is closed
    sending = asyncio.create_task(beside.send(len(others)))
    began = time.perf_counter()
    await link.push()
    answered = time.perf_counter()
    await _booked(link)
    booked = time.perf_counter()
    beside.ended = True
    times = await sending
    rows = DAYS * 96 * MANY.meters * MANY.counters
    print(f"{DAYS} days, {MANY.meters} devices with {MANY.counters} counters: {rows:,} quarters of an hour")
    print(f"answered after {(answered - began) * 1e3:.0f} ms; a GET behind it showed them after {booked - began:.1f} s")
    print(f"meanwhile: {shown(times)}, worst {max(times):.1f} ms, {len(times)} blocks of the other gateway")
    print(
        f"CPU {server.cpu_s() - cpu:.1f} s; resident memory {memory:.0f} MiB before, {server.rss_mib():.0f} behind it"
    )
    link.writer.close()
    beside.link.writer.close()


async def _booked(link: Link) -> None:
    """Ask for the newest values until they are those of the newest block: they are written behind its intervals."""
    path = f"/v1/gateways/{link.gateway.key.public.id.hex()}"
    while {value["seq"] for value in json.loads(await link.ask(path))["latest"]} != {link.sent - 1}:
        pass


if __name__ == "__main__":
    main()
