"""What every route of the collector has in hand: the store, the key, the writer and the time."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from cloud.copier import Copier
from cloud.rows import Gateway
from cloud.store import Store
from cloud.writer import Writer
from protocols.record.cose import EDDSA, PrivateKey

VERSION = version("tanmeter")
"""What runs here: read once, for it is parsed out of a file of the installation."""

QUIET_MS = 5 * 60_000
"""A gateway that has sent nothing for this long is shown as quiet."""

LOOKS, LOOK_S = 10, 0.001
"""How often, and how long each time, a question waits for the blocks that came before it (s)."""

LATE_MS = 2 * 60_000
"""A block that came this long after its end was back-filled."""


def now_ms() -> int:
    """UTC now, ms."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Collector:
    """One collector process. ``heard``: set while the broker lets us hear, None where there is none."""

    store: Store
    key: PrivateKey
    writer: Writer
    now: Callable[[], int] = now_ms
    copier: Copier | None = None
    heard: asyncio.Event | None = None


async def _held(request: Request) -> Collector:
    """The collector, once the blocks that came before are answered, or soon: it takes the interpreter from them.

    Async: any other would have a thread hop of its own.
    """
    collector: Collector = request.app.state.collector
    for _ in range(LOOKS):
        if not collector.writer.is_busy:
            break
        await asyncio.sleep(LOOK_S)
    return collector


Held = Annotated[Collector, Depends(_held)]
"""The collector, as a parameter of a route."""


def health(gateway: Gateway, now: int) -> str:
    """live, quiet, never or revoked."""
    if gateway.revoked:
        return "revoked"
    if gateway.received_at is None:
        return "never"
    return "live" if now - gateway.received_at <= QUIET_MS else "quiet"


def algorithm(number: int) -> str:
    """The name of a COSE algorithm, as people write it."""
    return "ed25519" if number == EDDSA else "es256"
