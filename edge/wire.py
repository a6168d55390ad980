"""The wires: a serial port and a TCP endpoint behind one small contract. Blocking calls stay in a port's own thread."""

import asyncio
import os
import select
import termios
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

from drivers.site import Port
from edge.adapters import Adapters, Found
from edge.clock import Alarm
from protocols.errors import PortGone

T = TypeVar("T")
CONNECT_S, TLS_CONNECT_S = 3.0, 5.0
MOST_BYTES = 4096
BITS = {"7": 7, "8": 8}
STOP = {"1": 1, "2": 2}


class Wire(Protocol):
    """One port. Every method but ``close`` raises PortGone when the port is not there."""

    async def open(self) -> str:
        """Take the port for this process alone; what is odd about how it was found, empty when nothing is."""

    async def configure(self, mode: str) -> None:
        """Set the line, like ``9600-8E1``; nothing on a wire that has no such settings."""

    async def write(self, data: bytes) -> None:
        """Send."""

    async def read(self, max_wait_s: float) -> bytes:
        """The next bytes; b"" when none came in this time. With 0: what is there already."""

    async def drain(self) -> None:
        """Throw away what has come and was not read."""

    async def close(self) -> None:
        """Give the port back."""


class TcpWire:
    """A TCP endpoint, ``host:port``; ``secured``: what TLS needs for each connection (context, whose certificate)."""

    def __init__(self, place: str, secured: Callable[[], tuple[Any, str]] | None = None) -> None:
        host, _, port = place.rpartition(":")
        self._place, self._host, self._port = place, host, int(port)
        self._secured = secured
        self._line = _Line()
        self._line.closed = True

    async def open(self) -> str:
        """Connect, within three seconds, five with TLS."""
        secured: dict[str, Any] = {}
        if self._secured is not None:
            secured["ssl"], secured["server_hostname"] = await asyncio.to_thread(self._secured)
        try:
            async with asyncio.timeout(TLS_CONNECT_S if secured else CONNECT_S):
                loop = asyncio.get_running_loop()
                _, self._line = await loop.create_connection(_Line, self._host, self._port, **secured)
        except (OSError, TimeoutError) as error:
            raise PortGone(f"{self._place}: {_why(error)}; expected a meter that takes connections") from error
        return ""

    async def configure(self, mode: str) -> None:
        """TCP has no line settings."""

    async def write(self, data: bytes) -> None:
        """Send."""
        self._whole().write(data)

    async def read(self, max_wait_s: float) -> bytes:
        """The next bytes; PortGone when the other side has closed and all it sent was read."""
        line = self._line
        if not line.buffer and not line.closed and max_wait_s > 0:
            await line.alarm.wait(max_wait_s)
        if not line.buffer:
            self._whole()
        data = bytes(line.buffer)
        line.buffer.clear()
        return data

    async def drain(self) -> None:
        """Throw away what has come."""
        self._whole()
        self._line.buffer.clear()

    async def close(self) -> None:
        """Drop the connection; what was on its way to us is never read."""
        if self._line.transport is not None:
            self._line.transport.abort()
        self._line.closed = True

    def _whole(self) -> asyncio.Transport:
        if self._line.closed or self._line.transport is None:
            raise PortGone(f"{self._place}: closed by the meter")
        return self._line.transport


class _Line(asyncio.Protocol):
    """What has come over one connection."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.closed = False
        self.alarm = Alarm()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.alarm.ring()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.alarm.ring()


class SerialWire:
    """A serial port by its stable path, held exclusively, in a thread of its own."""

    def __init__(self, device: str, adapters: Adapters | None = None) -> None:
        self._device, self._adapters = device, adapters
        self._serial: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"port {device}")

    async def open(self) -> str:
        """Find the port's adapter, open and lock the port."""
        return await self._do(self._open)

    async def configure(self, mode: str) -> None:
        """Set baud rate, bits, parity and stop bits."""
        await self._do(partial(self._configure, mode))

    async def write(self, data: bytes) -> None:
        """Send; returns when the bytes have left."""
        await self._do(partial(self._write, data))

    async def read(self, max_wait_s: float) -> bytes:
        """The next bytes."""
        return await self._do(partial(self._read, max_wait_s))

    async def drain(self) -> None:
        """Throw away what has come."""
        await self._do(self._port().reset_input_buffer)

    async def close(self) -> None:
        """Give the port back."""
        held, self._serial = self._serial, None
        if held is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, held.close)

    def _open(self) -> str:
        import serial  # here, so that a box without serial ports does not load it

        found = self._adapters.find(self._device) if self._adapters is not None else Found(self._device, "")
        self._serial = serial.Serial(found.path, exclusive=True, timeout=0, write_timeout=2)
        if self._adapters is not None:
            self._adapters.opened(self._device, found.path)
        return found.note

    def _configure(self, mode: str) -> None:
        baud, _, frame = mode.partition("-")
        self._port().apply_settings(
            {"baudrate": int(baud), "bytesize": BITS[frame[0]], "parity": frame[1], "stopbits": STOP[frame[2]]}
        )

    def _write(self, data: bytes) -> None:
        self._port().write(data)
        self._port().flush()

    def _read(self, max_wait_s: float) -> bytes:
        """Straight from the descriptor: pyserial sets the line anew for every other time limit."""
        descriptor = self._port().fileno()
        if not select.select([descriptor], [], [], max_wait_s)[0]:
            return b""
        data = os.read(descriptor, MOST_BYTES)
        if not data:
            raise OSError("device disconnected")
        return data

    def _port(self) -> Any:
        if self._serial is None:
            raise PortGone(f"{self._device}: not open")
        return self._serial

    async def _do(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except (OSError, termios.error, ValueError) as error:  # SerialException is an OSError
            raise PortGone(
                f"{self._device}: {_why(error)}; expected a serial port that is free and permitted"
            ) from error


def wire(port: Port, adapters: Adapters | None = None) -> Wire:
    """The wire of a port of the site file."""
    if port.tcp is not None and port.framing == "modbus-tls":
        return TcpWire(port.tcp, partial(_secured, port))
    if port.tcp is not None:
        return TcpWire(port.tcp)
    return SerialWire(str(port.device), adapters)


def _secured(port: Port) -> tuple[Any, str]:
    from edge import secured  # here, so that a box without it does not load TLS

    return secured.context(port), secured.name(port)


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
