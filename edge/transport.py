"""How blocks leave the box: HTTP POST to the collector. httpx is loaded only where there is a collector."""

import ssl
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from edge import keys
from edge.addresses import Addresses
from edge.config import ADDRESSES, KEY, Collector
from protocols.errors import AbsentError, ConfigError, TrustError, UnreachableError

if TYPE_CHECKING:
    import httpx

CONNECT_S = 5.0
ANSWER_S = 30.0
"""A batch is cut so that it takes at most 20 s on its way; a line that is slower is found out by this."""
LARGEST_ANSWER = 256 << 10
"""Bytes; verdicts on a full batch and a receipt take a tenth of it."""
HEADERS = {"accept-encoding": "identity"}
MQTT = ("mqtt", "mqtts")
NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python does not name."""
COLLECTORS_WORD = ("application/cbor", "application/problem+json")


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
    """HTTP with one kept connection. No redirect is followed: nobody but the collector answers for it.

    ``addresses``: where else it may be found. ``ca``: the only certificates that its certificate may hang on.
    """

    def __init__(self, url: str, addresses: Addresses | None = None, ca: Path | None = None) -> None:
        self._url, self._addresses, self._ca = url.rstrip("/"), addresses, ca
        self._client: httpx.AsyncClient | None = None

    async def post(self, path: str, body: bytes, content_type: str) -> Response:
        """The answer; UnreachableError. After an error the next post begins on a new connection."""
        httpx = _httpx()
        try:
            url = httpx.URL(self._url + path)
            headers = {**HEADERS, "content-type": content_type, "host": url.netloc.decode("ascii")}
            place = url if self._addresses is None else url.copy_with(host=self._addresses.next())
            async with self._opened().stream(
                "POST", place, content=body, headers=headers, extensions={"sni_hostname": url.host}
            ) as answer:
                held = await _within(LARGEST_ANSWER, answer)
            await self._note(answer)
            return Response(answer.status_code, held, _seconds(answer.headers.get("retry-after")))
        except (httpx.HTTPError, httpx.InvalidURL, ConfigError) as error:
            await self._elsewhere()
            raise unreachable(self._url, error) from error

    async def close(self) -> None:
        """Drop the connection."""
        held, self._client = self._client, None
        if held is not None:
            await held.aclose()

    def _opened(self) -> "httpx.AsyncClient":
        if self._client is None:
            httpx = _httpx()
            checked = self._url.startswith("https://")  # without TLS there is no certificate store to load
            self._client = httpx.AsyncClient(
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=1),
                trust_env=False,
                verify=tls(self._ca) if checked else False,
            )
        return self._client

    async def _note(self, answer: "httpx.Response") -> None:
        """Remember where the collector is, or that somebody else answers there."""
        media = answer.headers.get("content-type", "").partition(";")[0].strip()
        if media not in COLLECTORS_WORD:
            await self._elsewhere()
        elif self._addresses is not None and (stream := answer.extensions.get("network_stream")) is not None:
            self._addresses.found(str((stream.get_extra_info("server_addr") or ("",))[0]))

    async def _elsewhere(self) -> None:
        await self.close()
        if self._addresses is not None:
            self._addresses.failed()


def transport(state: Path, collector: Collector, asker: str = "") -> Transport:
    """The way from the box in ``state`` to a collector, by its address's scheme; ConfigError.

    ``asker``: who asks beside the agent.
    """
    parts = urlsplit(collector.url)
    if parts.scheme in MQTT:
        from edge.mqtt import MqttTransport

        return MqttTransport(collector, keys.load(state / KEY).public.id, asker)
    return HttpTransport(collector.url, Addresses(state / ADDRESSES, parts.hostname or ""), collector.ca)


def tls(ca: Path | None, identity: Collector | None = None) -> ssl.SSLContext:
    """How the other side's certificate is held to be right; ConfigError when a file cannot be used.

    With certificates of its own (``ca``) name and chain count and dates do not: a box whose clock is wrong must be able
    to deliver, and what settles is signed by the collector anyway. ``identity`` has the box's own certificate.
    """
    own = (None, None) if identity is None else (identity.certificate, identity.certificate_key)
    try:
        return _tls(ca, *own, tuple(_stamp(file) for file in (ca or ssl.get_default_verify_paths().cafile, *own)))
    except OSError as error:
        raise ConfigError("collector.json", str(error), "ca, certificate and certificate_key as PEM files") from error


@lru_cache(maxsize=1)
def _tls(ca: Path | None, certificate: Path | None, key: Path | None, stamps: tuple[object, ...]) -> ssl.SSLContext:
    """Read anew only when one of the files is another (``stamps``): whoever looks for a collector that is away does so
    every few seconds, and a system's certificates are a fifth of a second of a small core."""
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    if ca is not None:
        context.verify_flags |= NO_CHECK_TIME | ssl.VERIFY_X509_PARTIAL_CHAIN
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def _stamp(file: str | Path | None) -> object:
    return None if file is None else ((held := Path(file).stat()).st_mtime_ns, held.st_size, held.st_ino)


def unreachable(shown: str, error: BaseException) -> UnreachableError:
    """What a failure of HTTP means: TrustError when a certificate is behind it, AbsentError when nobody listens."""
    told = f"{shown}: {str(error) or type(error).__name__}"
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, ssl.SSLError) and TrustError.is_behind(behind.reason):
            return TrustError(told)
        behind = behind.__cause__ or behind.__context__
    return (AbsentError if AbsentError.is_behind(error) else UnreachableError)(told)


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
