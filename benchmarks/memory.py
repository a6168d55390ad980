"""Whether a collector's memory is flat: what it holds while its gateways send block after block, and people look.

A real `tanmeter cloud serve` on loopback and a store on this disk. Every gateway sends its blocks one request at a
time, ``TOGETHER`` in each, as fast as they are answered; behind each tenth of the blocks some lists are asked for. What
the process then holds (VmRSS) is told, and what a million readings of the second half have added to it.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fleet import SMALL, Gateway
from benchmarks.latency import Link, Server, serving
from cloud import config

GATEWAYS, BLOCKS, TOGETHER = 50, 2000, 8
"""Blocks of each gateway, and how many are in a request."""
TENTHS = 10
LOOKS = ("/v1/health", "/v1/gateways", "/v1/incidents", "/v1/intervals", "/", "/city")


def main() -> None:
    """Print the memory behind each tenth of the blocks, and by how much it grows."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        gateways = [Gateway(SMALL, number) for number in range(GATEWAYS)]
        with config.open_store(data, config.create_key(data)) as store:
            for gateway in gateways:
                gateway.enrol(store)
        with serving(data) as (process, port):
            asyncio.run(_measure(gateways, Server(process.pid, alone=False), port))


async def _measure(gateways: Sequence[Gateway], server: Server, port: int) -> None:
    links = [Link(gateway, [], *await asyncio.open_connection("127.0.0.1", port)) for gateway in gateways]
    tenth, readings = GATEWAYS * BLOCKS // TENTHS, SMALL.readings
    print(
        f"{GATEWAYS} gateways, blocks of {readings} readings, {TOGETHER} a request; {server.rss_mib():.0f} MiB before"
    )
    held = list[float]()
    for number in range(1, TENTHS + 1):
        for link in links:
            link.frames += link.gateway.frames(BLOCKS // TENTHS)
            link.reader, link.writer = await asyncio.open_connection("127.0.0.1", port)  # one that is idle is closed
        await asyncio.gather(*[_send(link) for link in links])
        links[0].reader, links[0].writer = await asyncio.open_connection("127.0.0.1", port)
        for path in LOOKS:
            await links[0].ask(path)
        held.append(server.rss_mib())
        print(f"  {number * tenth * readings / 1e6:5.1f} M readings, {number * tenth:7,} blocks: {held[-1]:.0f} MiB")
    half = held[TENTHS // 2 :]
    grown = (half[-1] - half[0]) / ((len(half) - 1) * tenth * readings / 1e6)
    print(f"second half: {min(half):.0f} to {max(half):.0f} MiB, {grown:+.2f} MiB a million readings")


async def _send(link: Link) -> None:
    while link.sent < len(link.frames):
        await link.push(TOGETHER)
    link.writer.close()


if __name__ == "__main__":
    main()
