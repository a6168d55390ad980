"""How blocks leave the box over MQTT 5: a question to the collectors, its answer on the box's own topic.

That the broker has taken a message (PUBACK) says nothing: it may lose it. The collector's answer counts, and what it
settles only its receipt says, as over HTTP. Nothing is kept at the broker between connections.
"""

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edge.config import Collector
from edge.transport import ANSWER_S, LARGEST_ANSWER, Response, tls
from protocols.errors import ConfigError, UnreachableError
from protocols.record import topics

if TYPE_CHECKING:
    import aiomqtt
    from paho.mqtt.properties import Properties

KEEPALIVE_S = 30
"""A connection that carries nothing any more is known for one within one and a half of this."""
PORTS = {"mqtt": 1883, "mqtts": 8883}
CLOSE_S = 2.0


class MqttTransport:
    """One connection, one question at a time. ``gateway``: the id whose topics this box may use."""

    def __init__(self, collector: Collector, gateway: bytes) -> None:
        scheme, self._host, self._port = place(collector.url, "collector.json")
        self._tls = tls(collector.ca, collector) if scheme == "mqtts" else None
        self._collector, self._gateway = collector, gateway
        self._client: aiomqtt.Client | None = None

    async def post(self, path: str, body: bytes, content_type: str) -> Response:
        """The answer; UnreachableError. After an error the next post begins on a new connection."""
        import aiomqtt

        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._ask(await self._connected(), path, body, content_type)
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            await self.close()
            why = "no collector answered" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise UnreachableError(f"{self._collector.url}: {why}") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Drop the connection."""
        import aiomqtt

        held, self._client = self._client, None
        if held is not None:
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError, OSError):
                async with asyncio.timeout(CLOSE_S):
                    await held.__aexit__(None, None, None)

    async def _connected(self) -> "aiomqtt.Client":
        if self._client is not None:
            return self._client
        import aiomqtt

        client = aiomqtt.Client(
            self._host,
            self._port,
            username=self._collector.user,
            password=self._collector.password,
            identifier=f"tanmeter-{self._gateway.hex()}",
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            keepalive=KEEPALIVE_S,
            timeout=ANSWER_S,
            tls_context=self._tls,
            max_queued_incoming_messages=4,
            properties=_properties("CONNECT", MaximumPacketSize=LARGEST_ANSWER),
        )
        await client.__aenter__()
        self._client = client
        await client.subscribe(topics.answer(self._gateway), qos=1)
        return client

    async def _ask(self, client: "aiomqtt.Client", path: str, body: bytes, content_type: str) -> Response:
        mark = os.urandom(16)
        known = _properties(
            "PUBLISH",
            ResponseTopic=topics.answer(self._gateway),
            CorrelationData=mark,
            ContentType=content_type,
            MessageExpiryInterval=round(ANSWER_S),
        )
        await client.publish(topics.question(self._gateway, path), body, qos=1, properties=known)
        async for message in client.messages:
            if getattr(message.properties, "CorrelationData", None) == mark:
                return _response(message)
        raise UnreachableError(f"{self._collector.url}: the connection ended before an answer")


def place(url: str, where: str) -> tuple[str, str, int]:
    """Scheme, host and port; ConfigError. Name and password have fields of their own: the address is shown."""
    parts = urlsplit(url)
    with contextlib.suppress(ValueError):
        port = parts.port or PORTS.get(parts.scheme, 0)
        if port and parts.scheme in PORTS and parts.hostname and not parts.username and parts.path in ("", "/"):
            return parts.scheme, parts.hostname, port
    raise ConfigError(where, repr(url), "an address like mqtts://broker.example:8883")


def _response(message: "aiomqtt.Message") -> Response:
    """What the collector answered; UnreachableError when it carries no status."""
    known = dict(getattr(message.properties, "UserProperty", ()))
    status, after = known.get(topics.STATUS, ""), known.get(topics.RETRY_AFTER, "")
    if not (status.isascii() and status.isdigit() and len(status) == 3) or not isinstance(message.payload, bytes):
        raise UnreachableError(f"found an answer with status {status!r}, expected three digits")
    return Response(int(status), message.payload, float(after) if after.isascii() and after.isdigit() else None)


def _properties(packet: str, **values: object) -> "Properties":
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    made = Properties(getattr(PacketTypes, packet))  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(made, name, value)
    return made
