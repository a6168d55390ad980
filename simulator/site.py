"""The simulated site as a process: a shared serial bus on a pseudo terminal, a TCP port for each networked meter."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.clock import SystemClock
from simulator.logger_lines import speak
from simulator.meters import LIVE_PLAN, LOGGER_PORT, PORTS, Listener, Port, listeners, logger
from simulator.truth import TruthLog
from simulator.world import World

BURST_S = 0.004
"""Silence that ends a frame: 3.5 characters at 9600 baud."""
READ_SIZE = 4096
TURNAROUND_MS = 5
HEAD = 6
"""Bytes of a reply that come at once."""


def utc_ms() -> int:
    """Now, UTC ms."""
    return time.time_ns() // 1_000_000


class SerialBus:
    """Meters on one pair of wires: a pseudo terminal whose slave is linked at ``link``."""

    def __init__(self, port: Port, meters: tuple[Listener, ...], link: Path) -> None:
        self._port, self._meters = port, meters
        self._master, self._slave = (
            os.openpty()
        )  # the slave stays open here: a collector that leaves must not hang the bus up
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(self._slave))
        self._link, self._burst = link, bytearray()
        self._end: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Begin to listen, in the running loop."""
        asyncio.get_running_loop().add_reader(self._master, self._hear)

    def close(self) -> None:
        """Take the bus away."""
        asyncio.get_running_loop().remove_reader(self._master)
        self._link.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._slave)

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._burst += os.read(self._master, READ_SIZE)
        if self._end:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_later(BURST_S, self._heard)

    def _heard(self) -> None:
        burst = bytes(self._burst)
        self._burst.clear()
        asyncio.get_running_loop().call_later(self._port.delay_ms(burst) / 1000, self._answer, burst)

    def _answer(self, burst: bytes) -> None:
        """The registers are those of the first byte; the rest follows at the speed of the line."""
        for reply in [reply for meter in self._meters for reply in meter.hear(burst, utc_ms())]:
            self._say(reply[:HEAD])
            asyncio.get_running_loop().call_later(self._port.line_ms(reply) / 1000, self._say, reply[HEAD:])

    def _say(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody reads the bus: what is said is lost, as on a wire
            os.write(self._master, data)


async def serve_connection(
    port: Port, meters: tuple[Listener, ...], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one TCP connection until it ends or speaks no Modbus."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(READ_SIZE):
            await asyncio.sleep(port.delay_ms(data) / 1000)
            for reply in [reply for meter in meters for reply in meter.hear(data, utc_ms())]:
                writer.write(reply)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def alone(listener: Listener, link: Path) -> Iterator[str]:
    """One meter on a pseudo terminal of its own, in the running loop: its path."""
    bus = SerialBus(Port("meter", True, TURNAROUND_MS), (listener,), link)
    bus.open()
    try:
        yield str(link)
    finally:
        bus.close()


class Site:
    """The whole site in the running loop; ``places`` says how to reach each port once it is open."""

    def __init__(self, seed: int, folder: Path, host: str = "127.0.0.1", tcp_ports: tuple[int, ...] = ()) -> None:
        self.truth = TruthLog(folder / "truth.jsonl")
        self.places: dict[str, str] = {}
        self._world, self._folder, self._host = World(seed), folder, host
        self._wanted = dict(zip((port.name for port in PORTS if not port.serial), tcp_ports, strict=False))
        self._close: list[Callable[[], None]] = [self.truth.close]

    async def open(self) -> None:
        """Put every meter on its wire. A TCP port that is taken gives way to a free one."""
        for port in PORTS:
            if port.serial:
                link = self._folder / port.name
                bus = SerialBus(port, listeners(self._world, self.truth)[port.name], link)
                bus.open()
                self._close.insert(0, bus.close)
                self.places[port.name] = str(link)
            else:
                self.places[port.name] = await self._listen(port)
        self.places[LOGGER_PORT] = self._connect()

    def close(self) -> None:
        """Take the site down."""
        for close in self._close:
            close()

    def _connect(self) -> str:
        """Let the data logger connect to the address that is told, once a box listens there."""
        with socket.create_server((self._host, 0)) as probe:
            number = int(probe.getsockname()[1])
        held = logger(self._world, self.truth, LIVE_PLAN)
        speaking = asyncio.ensure_future(speak(held, self._host, number, SystemClock()))
        self._close.insert(0, lambda: (speaking.cancel(), None)[1])
        return f"{self._host}:{number}"

    async def _listen(self, port: Port) -> str:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await serve_connection(port, listeners(self._world, self.truth)[port.name], reader, writer)

        try:
            server = await asyncio.start_server(connected, self._host, self._wanted.get(port.name, 0))
        except OSError:
            server = await asyncio.start_server(connected, self._host, 0)
        self._close.insert(0, server.close)
        return f"{self._host}:{server.sockets[0].getsockname()[1]}"


async def run(seed: int, folder: Path, host: str, tcp_ports: tuple[int, ...]) -> None:
    """Serve the site until SIGINT or SIGTERM; first prints one JSON object: seed, truth log, the place of each port."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    site = Site(seed, folder, host, tcp_ports)
    await site.open()
    try:
        print(json.dumps({"seed": seed, "truth": str(folder / "truth.jsonl"), "ports": site.places}), flush=True)  # noqa: T201
        await stop.wait()
    finally:
        site.close()
    sys.stdout.flush()
