"""Where devices are heard that speak unasked: an address they connect to, several at once, or one line of a wire."""

import asyncio
import socket
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from drivers.site import Port
from edge.clock import Alarm, Clock
from edge.wire import Wire
from protocols.errors import PortGone

MOST_LINES = 64
"""Connections at a time; another one takes the place of the one that was silent longest."""
IDLE_MS = 2 * 3_600_000
"""After so long without a byte a connection is taken for dead: hour data come every hour."""
MOST_WAITING = 1 << 16
"""Bytes of a connection that are read ahead of what is understood."""
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3}
"""Two minutes after a logger has vanished its connection is gone."""
MOST_UNREAD = 1 << 16
"""Bytes said that nobody reads."""
LONGEST_WAIT_S = 1.0
THE_LINE = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """Bytes of one line, and when they came (CLOCK_BOOTTIME ms). No bytes: the line is over."""

    line: int
    data: bytes
    at_ms: int


class Ears(Protocol):
    """A port as it is listened to. Every method but ``close`` raises PortGone when the port is not there."""

    async def open(self) -> None:
        """Begin to listen."""

    async def hear(self, max_wait_s: float) -> list[Heard]:
        """What has come, at least one piece unless none came in this time."""

    async def say(self, line: int, data: bytes) -> None:
        """Send on a line; nothing where it is over."""

    def ring(self) -> None:
        """End ``hear`` early, where that can be."""

    async def close(self) -> None:
        """Stop listening and end every line."""


class TcpEars:
    """An address, ``host:port``, that loggers connect to."""

    def __init__(self, place: str, clock: Clock) -> None:
        host, _, port = place.rpartition(":")
        self._place, self._host, self._port, self._clock = place, host, int(port), clock
        self._heard: deque[Heard] = deque()
        self._alarm = Alarm()
        self._lines: dict[int, _Connection] = {}
        self._last = THE_LINE
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Take the address; PortGone when it is taken or not ours."""
        try:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Connection(self), self._host, self._port)
        except OSError as error:
            raise PortGone(f"{self._place}: {error.strerror or error}; expected an address that is free") from error

    async def hear(self, max_wait_s: float) -> list[Heard]:
        """What has come on any connection."""
        if self._server is None:
            raise PortGone(f"{self._place}: not open")
        self._end_idle()
        if not self._heard:
            await self._alarm.wait(max_wait_s)
        heard = list(self._heard)
        self._heard.clear()
        for connection in self._lines.values():
            connection.go_on()
        return heard

    async def say(self, line: int, data: bytes) -> None:
        """Send on a connection."""
        if (connection := self._lines.get(line)) is not None:
            connection.write(data)

    def ring(self) -> None:
        """End ``hear`` at once."""
        self._alarm.ring()

    async def close(self) -> None:
        """Stop taking connections and end those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in [*self._lines.values()]:
            connection.end()

    def begin(self, connection: "_Connection") -> int:
        """Take a connection; its number."""
        if len(self._lines) >= MOST_LINES:
            min(self._lines.values(), key=lambda held: held.last).end()
        self._last += 1
        self._lines[self._last] = connection
        connection.last = self._clock.mono_ms()
        return self._last

    def took(self, connection: "_Connection", data: bytes) -> None:
        """Bytes came on a connection; none: it is over."""
        connection.last = self._clock.mono_ms()
        self._heard.append(Heard(connection.number, data, connection.last))
        if not data:
            self._lines.pop(connection.number, None)
        self._alarm.ring()

    def _end_idle(self) -> None:
        oldest = self._clock.mono_ms() - IDLE_MS
        for connection in [held for held in self._lines.values() if held.last < oldest]:
            connection.end()


class _Connection(asyncio.Protocol):
    """One logger's connection."""

    def __init__(self, ears: TcpEars) -> None:
        self._ears = ears
        self._transport: asyncio.Transport | None = None
        self._ahead = 0
        self.number = THE_LINE
        self.last = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        _keep_alive(transport.get_extra_info("socket"))
        self.number = self._ears.begin(self)

    def data_received(self, data: bytes) -> None:
        self._ahead += len(data)
        if self._ahead > MOST_WAITING and self._transport is not None:
            self._transport.pause_reading()
        self._ears.took(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._ears.took(self, b"")

    def go_on(self) -> None:
        """All that came was handed over."""
        if self._ahead > MOST_WAITING and self._transport is not None:
            self._transport.resume_reading()
        self._ahead = 0

    def write(self, data: bytes) -> None:
        """Send, unless the other side reads nothing any more: then the connection is dropped."""
        if self._transport is None:
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > MOST_UNREAD:
            self._transport.abort()

    def end(self) -> None:
        """Drop the connection, once what was said has left."""
        if self._transport is not None:
            self._transport.close()


class WireEars:
    """A wire with one logger, or several, at its other end: a serial port, or an endpoint that we connect to."""

    def __init__(self, wire: Wire, mode: str, clock: Clock) -> None:
        self._wire, self._mode, self._clock = wire, mode, clock

    async def open(self) -> None:
        """Take the port."""
        await self._wire.open()
        await self._wire.configure(self._mode)

    async def hear(self, max_wait_s: float) -> list[Heard]:
        """What has come."""
        data = await self._wire.read(min(max_wait_s, LONGEST_WAIT_S))
        return [Heard(THE_LINE, data, self._clock.mono_ms())] if data else []

    async def say(self, line: int, data: bytes) -> None:
        """Send."""
        await self._wire.write(data)

    def ring(self) -> None:
        """Nothing: a wire is never waited for longer than a second."""

    async def close(self) -> None:
        """Give the port back."""
        await self._wire.close()


def ears(port: Port, wire: Wire | None, clock: Clock) -> Ears:
    """How a port of the site file is listened to; ``wire``: where it is none to listen at."""
    if port.listen is not None:
        return TcpEars(port.listen, clock)
    assert wire is not None, "a port has a wire, or an address to listen at"
    return WireEars(wire, port.mode, clock)


def _keep_alive(held: socket.socket) -> None:
    held.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            held.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
