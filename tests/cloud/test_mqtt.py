"""The way in over MQTT, with a real broker: what it loses is asked again, and what it says counts for nothing."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import edge.mqtt
from cloud import mqtt
from cloud.app import create_app
from cloud.collector import Collector
from cloud.metrics import Figures
from cloud.mqtt import Broker, Door
from edge.config import Collector as Enrolled
from edge.mqtt import MqttTransport
from edge.transport import Response
from protocols.errors import AdmissionError, ConfigError, EncodingError, UnreachableError
from protocols.record import topics
from protocols.record.answer import BATCH_TYPE, Answer, decode_answers, encode_batch
from protocols.record.receipt import open_receipt
from simulator.link import Link

ACL = Path(__file__).parents[2] / "docs/mosquitto/acl.conf"
BLOCKS = "/v1/blocks"
QUARTER = 900_000


Mosquitto = Any
"""The broker of ``conftest.py``."""


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return mosquitto("allow_anonymous true")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "AGAIN_S", 0.1)


def collector(house: Any) -> Collector:
    return Collector(house.store, house.key, house.writer, lambda: house.now)


def box(house: Any, rig: Any, url: str, **more: Any) -> MqttTransport:
    return MqttTransport(Enrolled(url, house.key.public, **more), rig.id)


def served(work: Callable[[], Awaitable[None]], *doors: Door) -> None:
    """Do some work while the doors are open."""

    async def main() -> None:
        tasks = [asyncio.create_task(door.run()) for door in doors]
        try:
            async with asyncio.timeout(20):
                for door in doors:
                    await door.connected.wait()
                await work()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def enrolled(house: Any, rig: Any, midnight: int, blocks: int) -> list[bytes]:
    rig.enrol(house.store, house.key)
    house.now = midnight + blocks * QUARTER
    return list(rig.history(midnight, midnight + blocks * QUARTER, QUARTER))


async def until_answered(transport: MqttTransport, frames: list[bytes]) -> Response:
    while True:
        with suppress(UnreachableError):
            return await transport.post(BLOCKS, encode_batch(frames), BATCH_TYPE)
        await asyncio.sleep(0.05)


def test_blocks_arrive_and_the_receipt_is_the_collectors(
    house: Any, rig: Any, broker: Mosquitto, midnight: int
) -> None:
    frames = enrolled(house, rig, midnight, 3)

    async def work() -> None:
        transport = box(house, rig, broker.url)
        ahead = await transport.post(BLOCKS, encode_batch(frames[2:]), BATCH_TYPE)
        assert (ahead.status, decode_answers(ahead.body).verdicts[0].answer) == (409, Answer.GAP)
        response = await transport.post(BLOCKS, encode_batch(frames[:2]), BATCH_TYPE)
        answers = decode_answers(response.body)
        assert (response.status, len(answers.verdicts)) == (200, 2) and answers.receipt is not None
        assert open_receipt(answers.receipt, house.key.public).next_seq == 3
        strange = await transport.post("/v1/strange", b"", "a/b")
        assert strange.status == 404 and b"API-404" in strange.body
        await transport.close()

    served(work, Door(collector(house), Broker.of(broker.url)))


def test_a_broker_that_lost_its_state_loses_no_block(
    house: Any, rig: Any, broker: Mosquitto, midnight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.mqtt, "ANSWER_S", 0.5)
    frames = enrolled(house, rig, midnight, 6)

    async def work() -> None:
        transport = box(house, rig, broker.url)
        for number, frame in enumerate(frames):
            if number % 2:
                broker.kill()
                with pytest.raises(UnreachableError):
                    await transport.post(BLOCKS, encode_batch([frame]), BATCH_TYPE)
                broker.start()
            response = await until_answered(transport, [frame])
            assert response.status == 200
        await transport.close()

    served(work, Door(collector(house), Broker.of(broker.url)))
    gateway = house.store.gateway(rig.id)
    assert (gateway.next_seq, gateway.blocks) == (6, 6)


def test_a_broker_that_is_gone_is_an_alarm_in_health_and_metrics(house: Any, broker: Mosquitto) -> None:
    held = Collector(house.store, house.key, house.writer, lambda: house.now, heard=asyncio.Event())
    client = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(held)), base_url="http://here")

    async def told() -> tuple[list[str], float]:
        (figure,) = [one for one in Figures(held).collect() if one.name.endswith("collector_broker_ok")]
        return (await client.get("/v1/health")).json()["reasons"], figure.samples[0].value

    async def work() -> None:
        assert await told() == ([], 1)
        broker.kill()
        while await told() != (["broker"], 0):  # noqa: ASYNC110 - what is asked is what a person would ask
            await asyncio.sleep(0.01)

    served(work, Door(held, Broker.of(broker.url)))


def test_an_answer_that_comes_late_is_not_taken_for_that_to_the_next_question(
    house: Any, rig: Any, broker: Mosquitto, midnight: int
) -> None:
    frames = enrolled(house, rig, midnight, 2)

    async def work() -> None:
        transport = box(house, rig, broker.url)
        first = await transport.post(BLOCKS, encode_batch(frames[:1]), BATCH_TYPE)
        known = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        known.CorrelationData, known.UserProperty = bytes(16), [(topics.STATUS, "200")]
        async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as late:
            await late.publish(topics.answer(rig.id), first.body, qos=1, properties=known)
        response = await transport.post(BLOCKS, encode_batch(frames[1:]), BATCH_TYPE)
        receipt = decode_answers(response.body).receipt
        assert receipt is not None and open_receipt(receipt, house.key.public).next_seq == 2
        await transport.close()

    served(work, Door(collector(house), Broker.of(broker.url)))


def test_that_the_broker_took_it_is_not_delivery(
    house: Any, rig: Any, broker: Mosquitto, midnight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.mqtt, "ANSWER_S", 1.0)
    frames = enrolled(house, rig, midnight, 1)

    async def work() -> None:
        with pytest.raises(UnreachableError, match="no collector answered"):
            await box(house, rig, broker.url).post(BLOCKS, encode_batch(frames), BATCH_TYPE)

    asyncio.run(work())
    assert house.store.gateway(rig.id).next_seq == 0


def test_a_link_to_the_broker_that_has_gone_half_open_is_found_out(
    house: Any, rig: Any, broker: Mosquitto, midnight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert edge.mqtt.ANSWER_S <= 90 and 1.5 * edge.mqtt.KEEPALIVE_S <= 90
    monkeypatch.setattr(edge.mqtt, "ANSWER_S", 1.0)
    frames = enrolled(house, rig, midnight, 2)

    async def work() -> None:
        link = Link("127.0.0.1", broker.port)
        await link.open()
        transport = box(house, rig, f"mqtt://127.0.0.1:{link.port}")
        assert (await transport.post(BLOCKS, encode_batch(frames[:1]), BATCH_TYPE)).status == 200
        link.cut()
        with pytest.raises(UnreachableError):
            await transport.post(BLOCKS, encode_batch(frames[1:]), BATCH_TYPE)
        link.mend()
        assert (await until_answered(transport, frames[1:])).status == 200
        await transport.close()
        link.close()

    served(work, Door(collector(house), Broker.of(broker.url)))
    assert house.store.gateway(rig.id).blocks == 2


def test_of_two_doors_one_answers_each_question(house: Any, rig: Any, broker: Mosquitto, midnight: int) -> None:
    frames = enrolled(house, rig, midnight, 8)
    doors, taken = [Door(collector(house), Broker.of(broker.url)) for _ in range(2)], []

    def counted(door: Door) -> None:
        real = door._take

        def take(client: Any, message: Any) -> None:
            taken.append(doors.index(door))
            real(client, message)

        door._take = take  # type: ignore[method-assign]

    async def work() -> None:
        transport = box(house, rig, broker.url)
        for frame in frames:
            assert (await transport.post(BLOCKS, encode_batch([frame]), BATCH_TYPE)).status == 200
        await transport.close()

    for door in doors:
        counted(door)
    served(work, *doors)
    assert len(taken) == len(frames) and set(taken) == {0, 1}
    assert house.store.gateway(rig.id).blocks == len(frames)


def test_a_crowd_is_told_to_come_again(
    house: Any, rig: Any, broker: Mosquitto, midnight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "MOST_AT_ONCE", 0)
    frames = enrolled(house, rig, midnight, 1)

    async def work() -> None:
        transport = box(house, rig, broker.url)
        response = await transport.post(BLOCKS, encode_batch(frames), BATCH_TYPE)
        assert (response.status, response.retry_after_s) == (503, 5.0)
        await transport.close()

    served(work, Door(collector(house), Broker.of(broker.url)))


def test_a_gateway_may_use_its_own_topics_only(
    house: Any,
    make_rig: Callable[[], Any],
    mosquitto: Callable[..., Mosquitto],
    tmp_path: Path,
    midnight: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edge.mqtt, "ANSWER_S", 1.0)
    mine, other = make_rig(), make_rig()
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    for name in ("collector", mine.id.hex(), other.id.hex()):
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), name, f"pw {name}"], check=True, capture_output=True)
    found = mosquitto("allow_anonymous false", f"password_file {passwords}", f"acl_file {ACL}")
    frames = enrolled(house, mine, midnight, 1)
    body = encode_batch(frames)

    async def work() -> None:
        own = box(house, mine, found.url, user=mine.id.hex(), password=f"pw {mine.id.hex()}")
        foreign = box(house, mine, found.url, user=other.id.hex(), password=f"pw {other.id.hex()}")
        wrong = box(house, mine, found.url, user=mine.id.hex(), password="guessed")
        with pytest.raises(UnreachableError, match="no collector answered"):
            await foreign.post(BLOCKS, body, BATCH_TYPE)
        with pytest.raises(AdmissionError, match="expected to be let in"):
            await wrong.post(BLOCKS, body, BATCH_TYPE)
        assert house.store.gateway(mine.id).next_seq == 0, "a question on another's topic reaches nobody"
        assert (await own.post(BLOCKS, body, BATCH_TYPE)).status == 200
        await own.close()

    served(work, Door(collector(house), Broker.of(f"mqtt://collector:pw%20collector@127.0.0.1:{found.port}")))


@pytest.mark.parametrize("url", ["http://broker", "mqtt://", "mqtt://broker/path", "mqtt://broker:port"])
def test_what_is_no_broker_is_refused(house: Any, rig: Any, url: str) -> None:
    with pytest.raises(ConfigError):
        Broker.of(url)
    with pytest.raises(ConfigError):
        box(house, rig, url)


def test_a_topic_is_read_as_it_is_written() -> None:
    assert topics.asked(topics.question(bytes(16), "/v1/blocks")) == (bytes(16), "/v1/blocks")
    for wrong in ("tanmeter/1/00/ask/blocks", "a/1/" + 32 * "0" + "/ask/x", "tanmeter/1/" + 32 * "z" + "/ask/x", ""):
        with pytest.raises(EncodingError):
            topics.asked(wrong)
