"""How blocks leave the box over MQTT 5: a question to the collectors, its answer on the box's own topic.

That the broker has taken a message (PUBACK) says nothing: it may lose it. The collector's answer counts, and what it
settles only its receipt says, as over HTTP. Nothing is kept at the broker between connections.
"""

import asyncio
import contextlib
import logging
import os
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edge.config import Collector
from edge.transport import ANSWER_S, LARGEST_ANSWER, Response, tls
from protocols.errors import AbsentError, AdmissionError, ConfigError, TrustError, UnreachableError
from protocols.record import topics

if TYPE_CHECKING:
    import aiomqtt
    from paho.mqtt.properties import Properties

KEEPALIVE_S = 30
"""A connection that carries nothing any more is known for one within one and a half of this."""
PORTS = {"mqtt": 1883, "mqtts": 8883}
JOIN_S = 15.0
"""Until the broker has let us in and to our topic: a few packets there and back, with TLS some thousand bytes."""
CLOSE_S = 2.0


class MqttTransport:
    """One connection, one question at a time. ``gateway``: the id whose topics this box may use.

    ``asker``: who asks beside the agent; a broker ends the older of two connections of one name.
    """

    def __init__(self, collector: Collector, gateway: bytes, asker: str = "") -> None:
        scheme, self._host, self._port = place(collector.url, "collector.json")
        self._collector, self._gateway, self._asker = collector, gateway, asker
        self._is_secured = scheme == "mqtts"
        self._context()  # a file that cannot be used is told at once
        self._client: aiomqtt.Client | None = None

    async def post(self, path: str, body: bytes, content_type: str) -> Response:
        """The answer; UnreachableError. After an error the next post begins on a new connection."""
        import aiomqtt

        await self.join()
        assert self._client is not None, "joined"
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._ask(self._client, path, body, content_type)
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            await self.close()
            why = "no collector answered" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise UnreachableError(f"{self._collector.url}: {why}") from error
        except BaseException:
            await self.close()
            raise

    async def join(self) -> str:
        """Be let in by the broker and hear our own topic, unless we do already; where, and whether by TLS.

        TrustError when a certificate does not hold, AdmissionError when the broker says no, UnreachableError.
        """
        import aiomqtt

        shown = self._collector.url
        try:
            async with asyncio.timeout(JOIN_S):
                await self._connected()
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            await self.close()
            raise _unreached(shown, error) from error
        except ConfigError as error:  # files that were right when we began
            raise TrustError(str(error)) from error
        except BaseException:
            await self.close()
            raise
        return f"{shown}, {'TLS' if self._is_secured else 'without TLS'}"

    def _context(self) -> ssl.SSLContext | None:
        """TLS of a new connection, from the files as they are now: a certificate that was renewed counts from then on.
        ConfigError."""
        return tls(self._collector.ca, self._collector) if self._is_secured else None

    async def close(self) -> None:
        """Drop the connection."""
        import aiomqtt

        held, self._client = self._client, None
        if held is not None:
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError, OSError):
                async with asyncio.timeout(CLOSE_S):
                    await held.__aexit__(None, None, None)

    async def _connected(self) -> None:
        if self._client is not None:
            return
        import aiomqtt

        complaints = _Complaints()
        client = aiomqtt.Client(
            self._host,
            self._port,
            username=self._collector.user,
            password=self._collector.password,
            identifier=f"tanmeter-{self._gateway.hex()}{self._asker}",
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            keepalive=KEEPALIVE_S,
            timeout=JOIN_S,
            tls_context=self._context(),
            max_queued_incoming_messages=4,
            logger=complaints.logger(),
            properties=_properties("CONNECT", MaximumPacketSize=LARGEST_ANSWER),
        )
        await complaints.entered(client)
        self._client = client
        granted = await client.subscribe(topic := topics.answer(self._gateway), qos=1)
        for code in granted:
            if (value := getattr(code, "value", code)) >= topics.REFUSED:
                raise AdmissionError(f"{self._collector.url}: {topic}: found {code} ({value}), expected to hear it")

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

    async def entered(self, client: "aiomqtt.Client") -> None:
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


def _unreached(shown: str, error: Exception) -> UnreachableError:
    """Why the broker has not let us in."""
    import aiomqtt

    told = f"{shown}: {str(error) or type(error).__name__}"
    if TrustError.is_behind(told):
        return TrustError(told)
    code = getattr(error.rc, "value", None) if isinstance(error, aiomqtt.MqttCodeError) else None
    if code in topics.NOT_ADMITTED:
        return AdmissionError(f"{told}, expected to be let in")
    return (AbsentError if AbsentError.is_behind(error) else UnreachableError)(told)


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
