"""A TCP link that can be cut: carries bytes between a port of its own and a collector, until it goes dead."""

import asyncio
import contextlib
import socket
import struct

CHUNK = 65_536
NO_LINGER = struct.pack("ii", 1, 0)
"""Close with a reset, not with a farewell."""


class Link:
    """Forwards connections to ``host:port``. Cut, it passes nothing and refuses nothing, as when a route is gone."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._whole = asyncio.Event()
        self._whole.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        """Listen on a free loopback port, ``port``."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """From now on no byte passes in either direction."""
        self._whole.clear()

    def mend(self) -> None:
        """Bytes pass again on new connections; those that hung are reset."""
        self._whole.set()
        for writer in self._writers:
            _reset(writer)

    def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server:
            self._server.close()
        for writer in self._writers:
            _reset(writer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._whole.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._writers.add(far_writer)
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        except OSError:
            _reset(writer)
        except asyncio.CancelledError:
            pass  # the demo ends while a connection is held; asyncio would print it as an error of this callback
        finally:
            self._writers.discard(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    writer.transport.abort()


class Cut:
    """Forwards connections to ``host:port`` and resets both ends once so many bytes went ``forth`` or came ``back``;
    None: never. ``carried``: how many did, of the last connection."""

    def __init__(self, host: str, port: int, *, forth: int | None = None, back: int | None = None) -> None:
        self._target, self._most = (host, port), (forth, back)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.carried = [0, 0]
        self.port = 0

    async def open(self) -> None:
        """Listen on a free loopback port, ``port``."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server:
            self._server.close()
        self._reset()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.carried = [0, 0]
        self._writers.append(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._writers.append(far_writer)
            await asyncio.gather(self._carry(0, reader, far_writer), self._carry(1, far_reader, writer))

    async def _carry(self, way: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        most = self._most[way]
        while most is None or self.carried[way] < most:
            data = await reader.read(CHUNK if most is None else most - self.carried[way])
            if not data:
                break
            self.carried[way] += len(data)
            writer.write(data)
            await writer.drain()
        if most is not None and self.carried[way] >= most:
            self._reset()
        else:
            writer.close()

    def _reset(self) -> None:
        for writer in self._writers:
            if not writer.transport.is_closing():
                _reset(writer)
