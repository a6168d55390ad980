"""The collector's door to MQTT 5: questions of gateways come from a broker and are served as those over HTTP.

Any number of collectors share the questions. The broker is believed nothing: each question proves itself by what its
gateway signed, and a question that is lost is asked again. The answer goes to the topic of the gateway on whose topic
the question came, never to where somebody asks for it.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable
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
from protocols.errors import ConfigError, EncodingError
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
class Broker:
    """Where the broker is, and what it asks of us."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, url: str, ca: Path | None = None) -> "Broker":
        """From ``mqtt://[user:password@]host[:port]`` or ``mqtts://``; ConfigError."""
        try:
            parts = urlsplit(url)
            port = parts.port or PORTS.get(parts.scheme, 0)
            if parts.scheme not in PORTS or not parts.hostname or parts.path not in ("", "/"):
                raise ValueError(url)
            tls = ssl.create_default_context(cafile=None if ca is None else str(ca))
        except (ValueError, OSError) as error:
            expected = "an address like mqtts://user:password@broker.example:8883, and a PEM file of certificates"
            raise ConfigError("--mqtt", f"{type(error).__name__} in the address or --mqtt-ca", expected) from error
        user, password = [None if part is None else unquote(part) for part in (parts.username, parts.password)]
        return cls(parts.hostname, port, user, password, tls if parts.scheme == "mqtts" else None)


class Door:
    """State: how many questions are being worked on."""

    def __init__(self, collector: Collector, broker: Broker, language: messages.Language = "en") -> None:
        self._collector, self._broker, self._language = collector, broker, language
        self._tasks: set[asyncio.Task[None]] = set()
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled; a broker that goes away is looked for until it is back."""
        while True:
            try:
                async with self._client() as client:
                    await client.subscribe(topics.EVERY_QUESTION, qos=1)
                    self.connected.set()
                    log.info("serving over MQTT at %s:%d", self._broker.host, self._broker.port)
                    async for message in client.messages:
                        self._take(client, message)
            except (aiomqtt.MqttError, OSError) as error:
                log.warning("MQTT at %s:%d: %s", self._broker.host, self._broker.port, error)
            finally:
                self.connected.clear()
                for task in self._tasks:
                    task.cancel()
            await asyncio.sleep(AGAIN_S)

    def _client(self) -> aiomqtt.Client:
        broker, known = self._broker, Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        known.MaximumPacketSize = body.LIMIT + HEAD
        return aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.user,
            password=broker.password,
            tls_context=broker.tls,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            keepalive=KEEPALIVE_S,
            timeout=CALL_S,
            max_queued_incoming_messages=MOST_WAITING,
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
