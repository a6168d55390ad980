"""The writer's thread: what it does when nothing comes."""

import asyncio
import threading

from cloud.writer import Writer


def test_idle_work_is_done_once_nothing_comes_and_what_comes_then_is_written() -> None:
    order, idle = list[str](), threading.Event()

    def tidy() -> None:
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
