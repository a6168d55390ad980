"""A request's body as raw bytes, under a hard cap and a time limit; no header is believed."""

import asyncio

from starlette.types import Receive, Scope

from cloud.problem import Problem

LIMIT = 1 << 20
"""The most a body may hold, in bytes: 1 MiB."""

SECONDS = 20.0
"""How long a body may take to arrive."""

CLOSE = {"connection": "close"}


async def read(scope: Scope, receive: Receive, limit: int = LIMIT, seconds: float = SECONDS) -> bytes:
    """The whole body; Problem 413 at the first byte above ``limit`` (or at once when a length above it is stated),
    408 when it takes longer than ``seconds``, 400 when the client goes away before its end."""
    if _stated(scope) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(seconds):
            return await _collect(receive, limit)
    except TimeoutError:
        raise Problem(408, "API-408", f"the body was not there after {seconds:g} s", headers=CLOSE) from None


async def _collect(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "API-400", f"the client went away after {len(body)} bytes")
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(limit: int) -> Problem:
    return Problem(413, "API-413", f"found a body above {limit} bytes, expected at most {limit}", headers=CLOSE)


def _stated(scope: Scope) -> int:
    """The length the client states, 0 when it states none: enough to refuse by, never to trust."""
    text: bytes = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(text) if text.isdigit() and len(text) < 20 else 0
