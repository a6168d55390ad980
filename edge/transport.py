"""How blocks leave the box: HTTP POST to the collector. httpx is loaded only where there is a collector."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from protocols.errors import UnreachableError

if TYPE_CHECKING:
    import httpx

CONNECT_S = 3.0
ANSWER_S = 10.0


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
        import httpx

        if self._client is None:
            limits = httpx.Limits(max_connections=1)
            timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
            self._client = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)
        try:
            answer = await self._client.post(self._url + path, content=body, headers={"content-type": content_type})
            return Response(answer.status_code, answer.content, _seconds(answer.headers.get("retry-after")))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            await self.close()
            raise UnreachableError(f"{self._url}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Drop the connection."""
        held, self._client = self._client, None
        if held is not None:
            await held.aclose()


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
