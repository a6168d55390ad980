"""A link that is cut at every byte of question and answer: nothing is lost, nothing counts twice."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from cloud.app import create_app
from cloud.collector import Collector
from edge.outbox import Stored
from edge.session import understand
from edge.transport import HttpTransport, Response
from protocols.errors import UnreachableError
from protocols.record.answer import BATCH_TYPE, encode_batch
from simulator.link import Cut

QUARTER = 900_000
BLOCKS = "/v1/blocks"
EVERY = 97
"""Cuts lie this far apart, so that the test stays short; the first and last bytes are tried one by one."""


@pytest.fixture
def served(house: Any) -> Iterator[int]:
    """The collector on a real port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(Collector(house.store, house.key, house.writer, lambda: house.now))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()


def places(length: int) -> list[int]:
    return sorted({*range(4), *range(0, length, EVERY), *range(length - 4, length)})


async def through(port: int, body: bytes, forth: int | None, back: int | None) -> tuple[Response | None, Cut]:
    cut = Cut("127.0.0.1", port, forth=forth, back=back)
    await cut.open()
    transport, answered = HttpTransport(f"http://127.0.0.1:{cut.port}"), None
    with contextlib.suppress(UnreachableError):
        answered = await transport.post(BLOCKS, body, BATCH_TYPE)
    await transport.close()
    cut.close()
    return answered, cut


def test_wherever_it_is_cut_the_block_counts_once_and_only_the_receipt_tells(
    house: Any, rig: Any, served: int, midnight: int
) -> None:
    rig.enrol(house.store, house.key)
    house.now = midnight + QUARTER
    (frame,) = rig.history(midnight, midnight + QUARTER, QUARTER)
    body, sent = encode_batch([frame]), [Stored(0, 0, frame)]

    async def main() -> None:
        whole, cut = await through(served, b"none", None, None)
        assert whole is not None and whole.status == 400
        question = cut.carried[0] - 4 + len(body)
        for place in places(question):
            answered, _ = await through(served, body, place, None)
            assert answered is None, f"cut after {place} of {question} bytes asked"
        assert house.store.gateway(rig.id).next_seq == 0, "a question that is not whole is not worked on"
        first, cut = await through(served, body, None, None)
        assert first is not None and understand(sent, first.status, first.body, rig.id, house.key.public).receipt
        for place in places(cut.carried[1]):
            answered, _ = await through(served, body, None, place)
            assert answered is None, f"cut after {place} of {cut.carried[1]} bytes answered"
        again, _ = await through(served, body, None, None)
        assert again is not None
        assert understand(sent, again.status, again.body, rig.id, house.key.public).receipt is not None

    asyncio.run(main())
    gateway = house.store.gateway(rig.id)
    assert (gateway.next_seq, gateway.blocks) == (1, 1), "however often it came"


def test_an_answer_that_is_cut_is_never_understood(house: Any, rig: Any, midnight: int) -> None:
    """Every byte: a proxy that ends an answer early and calls it whole."""
    rig.enrol(house.store, house.key)
    house.now = midnight + QUARTER
    (frame,) = rig.history(midnight, midnight + QUARTER, QUARTER)
    answer = house.client.post(BLOCKS, content=encode_batch([frame])).content
    sent = [Stored(0, 0, frame)]
    assert understand(sent, 200, answer, rig.id, house.key.public).receipt is not None
    for length in range(len(answer)):
        with pytest.raises(UnreachableError):
            understand(sent, 200, answer[:length], rig.id, house.key.public)
