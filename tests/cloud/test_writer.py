"""The writer's thread: what it does when nothing comes."""

import asyncio
import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from cloud import collector
from cloud import writer as writing
from cloud.writer import Writer
from protocols.errors import RottenError, StoreError


def test_idle_work_is_done_once_nothing_comes_and_what_comes_then_is_written() -> None:
    order, idle = list[str](), threading.Event()

    def tidy() -> None:
        if order:  # a slow machine may idle before anything comes
            order.append("idle")
            idle.set()

    async def send(writer: Writer) -> None:
        await writer.append([b"block"])
        assert await asyncio.to_thread(idle.wait, 30)
        await writer.append([b"another"])

    writer = Writer(lambda batches: [order.append("written") for _ in batches], tidy)
    asyncio.run(send(writer))
    writer.close()
    assert order[:3] == ["written", "idle", "written"]


def test_idle_work_goes_on_as_long_as_it_says_and_what_fails_in_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[float | Exception | None] = [0.0, 0.001, ValueError("rotten"), 0.0, None]
    calls, begun = threading.Semaphore(0), threading.Event()

    def rest() -> float | None:
        if not begun.is_set() or not told:  # a slow machine may idle before anything comes
            return None
        found = told.pop(0)
        calls.release()
        if isinstance(found, Exception):
            raise found
        return found

    async def send(writer: Writer) -> None:
        begun.set()
        await writer.append([b"block"])
        for _ in range(3):
            assert await asyncio.to_thread(calls.acquire, timeout=30)
        assert len(told) == 2, "what failed waits for the next block"
        assert await writer.append([b"another"]) == 1
        for _ in range(2):
            assert await asyncio.to_thread(calls.acquire, timeout=30)

    writer = Writer(lambda batches: [1 for _ in batches], rest)
    asyncio.run(send(writer))
    writer.close()
    assert not told and "idle work failed" in caplog.text


@pytest.mark.parametrize(
    ("error", "calls", "answers"),
    [
        (RottenError("rows of b"), [4, 2, 1, 1, 2], ["a", RottenError, "c", "d"]),
        (ValueError("rows of b"), [4, 2, 1, 1, 2], ["a", ValueError, "c", "d"]),
        (StoreError("disk full"), [4], [StoreError] * 4),
    ],
    ids=["rotten", "fault", "disk"],
)
def test_a_batch_that_cannot_be_worked_on_takes_no_other_down_unless_it_is_the_disk(
    error: Exception, calls: list[int], answers: list[Any]
) -> None:
    seen, begun, goes_on = list[int](), threading.Event(), threading.Event()

    def append(batches: Sequence[Sequence[bytes]]) -> list[str]:
        names = [batch[0].decode() for batch in batches]
        if names == ["first"]:
            begun.set()
            assert goes_on.wait(30)
            return names
        seen.append(len(names))
        if "b" in names:
            raise error
        return names

    async def send(writer: Writer) -> list[Any]:
        first = asyncio.create_task(writer.append([b"first"]))
        assert await asyncio.to_thread(begun.wait, 30)
        sent = [asyncio.create_task(writer.append([name])) for name in (b"a", b"b", b"c", b"d")]
        await asyncio.sleep(0)
        assert writer.waiting == 4
        goes_on.set()
        await first
        return await asyncio.gather(*sent, return_exceptions=True)

    writer = Writer(append)
    found = asyncio.run(send(writer))
    writer.close()
    assert [type(one) if isinstance(one, Exception) else one for one in found] == answers
    assert seen == calls


def test_idle_work_that_comes_upon_what_has_rotted_leaves_no_trace_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever found it has told of it."""
    tried = threading.Semaphore(0)

    def rest() -> None:
        tried.release()
        raise RottenError("rows of a gateway")

    async def send(writer: Writer) -> None:
        for _ in range(2):
            assert await asyncio.to_thread(tried.acquire, timeout=30)
            assert await writer.append([b"block"]) == 1

    writer = Writer(lambda batches: [1 for _ in batches], rest)
    asyncio.run(send(writer))
    writer.close()
    assert not caplog.records


def test_the_next_batch_is_begun_once_the_answers_to_the_one_before_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "HANDED_S", 30.0)
    order, begun, goes_on = list[str](), threading.Event(), threading.Event()

    def append(batches: Sequence[Sequence[bytes]]) -> list[None]:
        order.append("written")
        begun.set()
        assert goes_on.wait(30)
        return [None for _ in batches]

    def answer() -> None:
        time.sleep(0.05)  # as long as this takes the interpreter is free
        order.append("answered")

    async def send(writer: Writer) -> None:
        await writer.append([b"block"])
        answer()

    async def send_both(writer: Writer) -> None:
        first = asyncio.create_task(send(writer))
        assert await asyncio.to_thread(begun.wait, 30)
        second = asyncio.create_task(send(writer))
        await asyncio.sleep(0)
        assert writer.waiting == 1
        goes_on.set()
        await asyncio.gather(first, second)

    writer = Writer(append)
    asyncio.run(send_both(writer))
    writer.close()
    assert order == ["written", "answered"] * 2


def test_a_question_waits_for_the_blocks_that_came_before_it_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    def append(batches: Sequence[Sequence[bytes]]) -> list[str]:
        assert goes_on.wait(30)
        return ["written" for _ in batches]

    async def ask(writer: Writer) -> None:
        request: Any = SimpleNamespace(
            app=SimpleNamespace(state=SimpleNamespace(collector=SimpleNamespace(writer=writer)))
        )
        await collector._held(request)
        assert not writer.is_busy
        sent = asyncio.create_task(writer.append([b"block"]))
        await asyncio.sleep(0)
        await collector._held(request)
        assert writer.is_busy and not sent.done(), "it has waited for a while"
        monkeypatch.setattr(collector, "LOOKS", 30_000)
        asyncio.get_running_loop().call_later(0.05, goes_on.set)
        await collector._held(request)
        assert not writer.is_busy and await sent == "written"

    writer = Writer(append)
    asyncio.run(ask(writer))
    writer.close()
