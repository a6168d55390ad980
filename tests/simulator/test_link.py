"""The link: carries everything while whole, nothing while cut, and resets what hung when it is mended."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from simulator.link import Link


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


def over_link(talk: Callable[[Link], Awaitable[None]]) -> None:
    """Run ``talk`` with a link to an echo server."""

    async def run() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        link = Link("127.0.0.1", server.sockets[0].getsockname()[1])
        await link.open()
        try:
            await asyncio.wait_for(talk(link), 10)
        finally:
            link.close()
            server.close()

    asyncio.run(run())


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> bytes:
    writer.write(data)
    return await asyncio.wait_for(reader.readexactly(len(data)), 0.2)


def test_a_whole_link_carries_both_ways() -> None:
    async def talk(link: Link) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        assert await ask(reader, writer, b"there and back") == b"there and back"
        writer.close()

    over_link(talk)


def test_a_cut_link_is_mute_and_what_hung_on_it_is_reset() -> None:
    async def talk(link: Link) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        await ask(reader, writer, b"before")
        link.cut()
        with pytest.raises(TimeoutError):
            await ask(reader, writer, b"during")
        fresh_reader, fresh_writer = await asyncio.open_connection("127.0.0.1", link.port)
        with pytest.raises(TimeoutError):
            await ask(fresh_reader, fresh_writer, b"new")
        link.mend()
        for hung in (reader, fresh_reader):
            with pytest.raises(ConnectionError):
                await hung.readexactly(1)
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        assert await ask(reader, writer, b"after") == b"after"
        writer.close()

    over_link(talk)


def test_nobody_at_the_far_end_is_a_reset() -> None:
    async def talk(link: Link) -> None:
        nowhere = Link("127.0.0.1", 1)
        await nowhere.open()
        reader, _ = await asyncio.open_connection("127.0.0.1", nowhere.port)
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
        nowhere.close()

    over_link(talk)
