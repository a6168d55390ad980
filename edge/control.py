"""The agent's local door: a Unix socket in the state folder; a JSON line in, a JSON line out."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from protocols.errors import NotRunningError, UnreachableError

LONGEST_LINE = 65_536
LONGEST_PATH = 100
"""Bytes of a socket's path that every Unix bears."""
ANSWER_S = 10.0
MOST_LINES, IDLE_S = 8, 60.0
"""Connections at a time, and how long one may be silent: the door must not take the ports' descriptors."""

Commands = dict[str, Callable[[], Awaitable[dict[str, object]]]]


@contextlib.asynccontextmanager
async def serve(path: Path, commands: Commands) -> AsyncIterator[None]:
    """Answer on this socket, which only this user may use, while the block runs."""

    lines = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal lines
        lines += 1
        try:
            with contextlib.suppress(OSError, asyncio.LimitOverrunError, ValueError, TimeoutError):
                while lines <= MOST_LINES and (line := await asyncio.wait_for(reader.readline(), IDLE_S)):
                    writer.write(json.dumps(await _answer(line, commands), ensure_ascii=False).encode() + b"\n")
                    await writer.drain()
        finally:
            lines -= 1
            writer.close()

    _remove(path)
    with _short(path) as place:
        before = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(connected, place, limit=LONGEST_LINE)
        finally:
            os.umask(before)
    try:
        yield
    finally:
        server.close()
        _remove(path)


def ask(path: Path, command: str) -> dict[str, Any]:
    """What the running agent answers; NotRunningError when none runs."""
    try:
        with socket.socket(socket.AF_UNIX) as door, _short(path) as place:
            door.settimeout(ANSWER_S)
            door.connect(place)
            door.sendall(json.dumps({"command": command}).encode() + b"\n")
            with door.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline())
                return answer
    except (OSError, ValueError) as error:
        raise NotRunningError(f"{path}: {error}; expected a running agent: `tanmeter edge run`") from error


async def _answer(line: bytes, commands: Commands) -> dict[str, object]:
    try:
        wanted = json.loads(line)["command"]
        return await commands[wanted]()
    except (ValueError, KeyError, TypeError):
        return {"error": f"found {line[:80]!r}, expected a command: {', '.join(sorted(commands))}"}


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """The path as a socket address can bear it: through the folder's descriptor when it is long."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UnreachableError(f"{path}: {error.strerror}") from error
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
