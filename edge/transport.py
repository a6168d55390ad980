"""How blocks leave the box: HTTP POST to the collector. httpx is loaded only where there is a collector."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from edge.config import load_collector
from protocols.errors import UnreachableError

if TYPE_CHECKING:
    import httpx

CONNECT_S = 3.0
ANSWER_S = 10.0
LARGEST_ANSWER = 256 << 10
"""Bytes; verdicts on a full batch and a receipt take a tenth of it."""
HEADERS = {"accept-encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: the status, the body, and how long the collector asks to be left alone (s)."""

    status: int
    body: bytes
    retry_after_s: float | None = None


class Transport(Protocol):
    """Carries a body to the collector and its answer back."""

    async def post(self, path: str, body: bytes, content_type: str) -> Response:
        """The answer; UnreachableError when none came."""

    async def close(self) -> None:
        """Drop what is open."""


class HttpTransport:
    """HTTP with one kept connection. No redirect is followed: nobody but the collector answers for it."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client: httpx.AsyncClient | None = None

    async def post(self, path: str, body: bytes, content_type: str) -> Response:
        """The answer; UnreachableError. After an error the next post begins on a new connection."""
        httpx = _httpx()
        if self._client is None:
            timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
            checked = not self._url.startswith("http://")  # without TLS there is no certificate store to load
            self._client = httpx.AsyncClient(
                timeout=timeout, limits=httpx.Limits(max_connections=1), trust_env=False, verify=checked
            )
        try:
            headers = {**HEADERS, "content-type": content_type}
            async with self._client.stream("POST", self._url + path, content=body, headers=headers) as answer:
                held = await _within(LARGEST_ANSWER, answer)
            return Response(answer.status_code, held, _seconds(answer.headers.get("retry-after")))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            await self.close()
            raise UnreachableError(f"{self._url}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Drop the connection."""
        held, self._client = self._client, None
        if held is not None:
            await held.aclose()


def transport(collector: Path) -> HttpTransport | None:
    """The way to the collector this box is enrolled with; None before that. ConfigError."""
    held = load_collector(collector)
    return None if held is None else HttpTransport(held.url)


def _httpx() -> ModuleType:
    """httpx without its command line, which would bring rich and pygments: 12 MB that an agent must not carry."""
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    import httpx

    return httpx


async def _within(limit: int, answer: "httpx.Response") -> bytes:
    """The body as it was sent, never unpacked; UnreachableError when it is larger."""
    held = bytearray()
    async for part in answer.aiter_raw():
        held += part
        if len(held) > limit:
            raise UnreachableError(f"{answer.url}: found an answer that goes on, expected at most {limit} bytes")
    return bytes(held)


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
