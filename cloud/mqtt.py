"""The collector's door to MQTT 5: questions of gateways come from a broker and are served as those over HTTP.

Any number of collectors share the questions. The broker is believed nothing: each question proves itself by what its
gateway signed, and a question that is lost is asked again. The answer goes to the topic of the gateway on whose topic
the question came, never to where somebody asks for it.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud import body, problem, ways
from cloud.collector import Collector
from cloud.problem import Problem
from cloud.ways import Sent
from protocols import messages
from protocols.errors import AdmissionError, ConfigError, EncodingError, TrustError, UnreachableError
from protocols.record import topics

PORTS = {"mqtt": 1883, "mqtts": 8883}
KEEPALIVE_S = 30
CALL_S = 10.0
AGAIN_S = 2.0
"""Between a connection that ended and the next."""
MOST_AT_ONCE = 32
"""Questions that are worked on; the next ones are told to come again."""
BUSY_S = 5
MOST_WAITING = 256
HEAD = 4096
"""What topic and properties of a question may take beside its body, in bytes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: what the broker's certificate must hang on instead of the system's, and our own with its key."""

    ca: Path | None = None
    own: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """TLS from the files as they are now; ConfigError."""
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
            if self.own is not None:
                context.load_cert_chain(self.own, self.key)
        except OSError as error:
            expected = "--mqtt-ca, --mqtt-certificate and --mqtt-key as PEM files that belong together"
            raise ConfigError("--mqtt", str(error), expected) from error
        return context


SYSTEMS = Certificates()


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, and what it asks of us; ``certificates``: None without TLS."""

    host: str
    port: int
    user: str | None
    password: str | None
    certificates: Certificates | None

    @classmethod
    def of(cls, url: str, certificates: Certificates = SYSTEMS) -> "Broker":
        """From ``mqtt://[user:password@]host[:port]`` or ``mqtts://``; ConfigError."""
        try:
            parts = urlsplit(url)
            port = parts.port or PORTS.get(parts.scheme, 0)
            if parts.scheme not in PORTS or not parts.hostname or parts.path not in ("", "/"):
                raise ValueError(url)
        except ValueError as error:
            expected = "an address like mqtts://user:password@broker.example:8883"
            raise ConfigError("--mqtt", "no address of a broker", expected) from error
        user, password = [None if part is None else unquote(part) for part in (parts.username, parts.password)]
        secured = parts.scheme == "mqtts"
        if secured:
            certificates.context()  # a file that cannot be used is told at once
        return cls(parts.hostname, port, user, password, certificates if secured else None)

    def context(self) -> ssl.SSLContext | None:
        """TLS of a new connection: a certificate that was renewed counts from then on. ConfigError."""
        return None if self.certificates is None else self.certificates.context()

    def why(self, error: Exception) -> UnreachableError:
        """What a failure to be let in means."""
        told = f"{self.host}:{self.port}: {str(error) or type(error).__name__}"
        if TrustError.is_behind(told):
            return TrustError(told)
        code = getattr(error.rc, "value", None) if isinstance(error, aiomqtt.MqttCodeError) else None
        refused = code in topics.NOT_ADMITTED
        return AdmissionError(f"{told}, expected to be let in") if refused else UnreachableError(told)


class _Complaints(logging.Handler):
    """The first thing that the client complains of. That the broker refuses our certificate comes after the handshake
    (TLS 1.3); the client says so in its log, and would wait for an answer all the same."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._loop = asyncio.get_running_loop()
        self.first: asyncio.Future[str] = self._loop.create_future()

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.call_soon_threadsafe(self._take, record.getMessage())

    def logger(self) -> logging.Logger:
        """One that comes here and goes nowhere else."""
        made = logging.Logger("mqtt")
        made.addHandler(self)
        return made

    async def entered(self, client: aiomqtt.Client) -> None:
        """Log in; ConnectionError with what the client complains of."""
        entering = asyncio.ensure_future(client.__aenter__())
        try:
            await asyncio.wait((entering, self.first), return_when=asyncio.FIRST_COMPLETED)
            if not entering.done():
                raise ConnectionError(self.first.result())
            await entering
        finally:
            entering.cancel()

    def _take(self, said: str) -> None:
        if not self.first.done():
            self.first.set_result(said)


class Door:
    """State: how many questions are being worked on."""

    def __init__(self, collector: Collector, broker: Broker, language: messages.Language = "en") -> None:
        self._collector, self._broker, self._language = collector, broker, language
        self._tasks: set[asyncio.Task[None]] = set()
        self.connected = collector.heard or asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled; a broker that goes away is looked for until it is back."""
        while True:
            try:
                async with self._joined() as client:
                    self.connected.set()
                    log.info("serving over MQTT at %s:%d", self._broker.host, self._broker.port)
                    async for message in client.messages:
                        self._take(client, message)
            except (aiomqtt.MqttError, OSError) as error:
                found = self._broker.why(error)
                log.warning("MQTT: %s %s", found.code, found)
            except (ConfigError, AdmissionError) as error:
                log.warning("MQTT: %s %s", error.code, error)
            finally:
                self.connected.clear()
                for task in self._tasks:
                    task.cancel()
            await asyncio.sleep(AGAIN_S)

    @contextlib.asynccontextmanager
    async def _joined(self) -> AsyncIterator[aiomqtt.Client]:
        """Let in by the broker, and hearing every question."""
        complaints = _Complaints()
        async with contextlib.AsyncExitStack() as held:
            client = self._client(complaints.logger())
            await complaints.entered(client)
            held.push_async_exit(client)
            for code in await client.subscribe(topics.EVERY_QUESTION, qos=1):
                if (value := getattr(code, "value", code)) >= topics.REFUSED:
                    found = f"{self._broker.host}: {topics.EVERY_QUESTION}: found {code} ({value}), expected to hear it"
                    raise AdmissionError(found)
            yield client

    def _client(self, logger: logging.Logger) -> aiomqtt.Client:
        broker, known = self._broker, Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        known.MaximumPacketSize = body.LIMIT + HEAD
        return aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.user,
            password=broker.password,
            tls_context=broker.context(),
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            keepalive=KEEPALIVE_S,
            timeout=CALL_S,
            max_queued_incoming_messages=MOST_WAITING,
            logger=logger,
            properties=known,
        )

    def _take(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        """Work on a question beside the others; one that nobody could be answered for is let go."""
        mark = getattr(message.properties, "CorrelationData", None)
        try:
            gateway, path = topics.asked(str(message.topic))
        except EncodingError as error:
            log.warning("a question over MQTT: %s", error)
            return
        if message.retain or not isinstance(mark, bytes) or not isinstance(message.payload, bytes):
            log.warning("a question over MQTT of %s without correlation data, or a kept one", gateway.hex())
            return
        busy = len(self._tasks) >= MOST_AT_ONCE
        work = self._busy(path, mark) if busy else self._served(path, message.payload, mark)
        task = asyncio.create_task(self._answer(client, gateway, mark, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, client: aiomqtt.Client, gateway: bytes, mark: bytes, work: Awaitable[Sent]) -> None:
        sent = await work
        known: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        known.CorrelationData, known.ContentType = mark, sent.media
        after = sent.headers.get("retry-after")
        known.UserProperty = [(topics.STATUS, str(sent.status))]
        if after is not None:
            known.UserProperty = (topics.RETRY_AFTER, after)
        with contextlib.suppress(aiomqtt.MqttError):  # the question will be asked again
            await client.publish(topics.answer(gateway), sent.body, qos=1, properties=known)

    async def _served(self, path: str, data: bytes, mark: bytes) -> Sent:
        try:
            if len(data) > body.LIMIT:
                found = Problem(413, "API-413", f"found a body of {len(data)} bytes, expected at most {body.LIMIT}")
                return ways.refusal(found, path, self._language, mark.hex())
            return await ways.serve(self._collector, path, data, self._language, mark.hex())
        except Exception as error:
            log.exception("a question over MQTT failed")
            return ways.refusal(problem.of(error), path, self._language, mark.hex())

    async def _busy(self, path: str, mark: bytes) -> Sent:
        detail = f"found {MOST_AT_ONCE} questions being worked on, expected fewer"
        found = Problem(503, "API-503", detail, headers={"retry-after": str(BUSY_S)})
        return ways.refusal(found, path, self._language, mark.hex())
