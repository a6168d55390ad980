"""The agent as a process of its own, without what the command line loads: ``python -m edge STATE LEVEL [METRICS]``."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any

from edge import config, control
from edge.adapters import Adapters
from edge.agent import Agent
from edge.clock import SystemClock
from edge.daemon import Daemon
from edge.log import Calm, Libraries, Log, last_words, to_stderr
from edge.notify import Manager
from edge.transport import transport
from edge.vouched import Vouched
from edge.watchdog import attend
from edge.wire import wire
from protocols import messages, structs
from protocols.errors import TanmeterError

DOOR_RETRY_S = 30.0
STATUS_S = 10.0


async def run(state: Path, language: messages.Language, least: str, metrics: str = "") -> None:
    """Run the agent and its local door until SIGTERM or SIGINT."""
    manager = Manager(os.environ, os.getpid())
    stop = _asked_to_end(manager, language)
    daemon = Daemon(SystemClock())
    clock = SystemClock(Vouched(state).knows, daemon.knows)
    await daemon.refresh()
    log = Calm(to_stderr(language, least, config.site_id(state)), clock.mono_ms)
    logging.getLogger().handlers[:] = [Libraries(log)]
    agent = _agent(state, clock, daemon, log)
    if metrics:
        _measure(metrics, agent)
    running = asyncio.ensure_future(agent.run(stop))
    await agent.ready(running)
    if running.done():
        return await running
    return await _first(
        running,
        attend(manager, agent.vigil, partial(agent.vigil.told, language), log),
        _answer(state / config.SOCKET, {"status": agent.status}, log),
        daemon.follow(),
    )


def _asked_to_end(manager: Manager, language: messages.Language) -> asyncio.Event:
    """What SIGTERM or SIGINT sets, and the service manager is told."""
    stop = asyncio.Event()

    def ended() -> None:
        stop.set()
        manager.tell("STOPPING=1", f"STATUS={messages.text('edge.service.stopping', language)}")

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended)
    return stop


def _agent(state: Path, clock: SystemClock, daemon: Daemon, log: Log) -> Agent:
    """The agent of this state folder, on the wires and the network of this machine."""
    wires = partial(wire, adapters=Adapters(state / config.ADAPTERS))
    ways = partial(transport, state)
    return Agent(state, clock, wires, None, SystemRandom(), log=log, ways=ways, agreed=daemon.agreed)


def _measure(place: str, agent: Agent) -> None:
    """Serve the figures there, in threads that ask the agent in its loop."""
    from edge.metrics import serve  # here, so that a box that is not scraped does not load it

    loop = asyncio.get_running_loop()
    serve(place, lambda: asyncio.run_coroutine_threadsafe(agent.status(), loop).result(STATUS_S))


async def _first(running: "asyncio.Future[None]", *works: Coroutine[Any, Any, None]) -> None:
    """Wait for the agent; what works beside it ends only by failing, and then so does the process."""
    beside = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait((running, *beside), return_when=asyncio.FIRST_COMPLETED)
        for task in beside:
            if task.done():
                task.result()
        await running
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def _answer(door: Path, commands: control.Commands, log: Log) -> None:
    """Hold the local door open; a disk that cannot be written must not end the measuring."""
    while True:
        try:
            async with control.serve(door, commands):
                await asyncio.Event().wait()
        except OSError as error:
            log("warning", "door", path=str(door), why=str(error.strerror))
        await asyncio.sleep(DOOR_RETRY_S)


def main(state: str, least: str, metrics: str = "") -> int:
    """The exit code; an error of ours is told with its code, what happened and the one next action."""
    language = messages.spoken(os.environ)
    structs.learn()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")  # or pyMeterBus sets it to INFO when imported
    try:
        asyncio.run(run(Path(state), language, least, metrics))
    except TanmeterError as error:
        last_words(error, language)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
