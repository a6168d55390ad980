"""The agent as a process of its own, without the libraries of the command line: ``python -m edge STATE LEVEL``."""

import asyncio
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from random import SystemRandom

from edge import config, control
from edge.adapters import Adapters
from edge.agent import Agent
from edge.clock import SystemClock
from edge.log import to_stderr
from edge.transport import HttpTransport, transport
from edge.wire import wire
from protocols import messages
from protocols.errors import TanmeterError


async def run(state: Path, language: messages.Language, least: str) -> None:
    """Run the agent and its local door until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def link() -> HttpTransport | None:
        return transport(state / config.COLLECTOR)

    log = to_stderr(language, least)
    wires = partial(wire, adapters=Adapters(state / config.ADAPTERS))
    agent = Agent(state, SystemClock(), wires, link(), SystemRandom(), log=log, enrolled=link)
    running = asyncio.ensure_future(agent.run(stop))
    await agent.ready(running)
    if running.done():
        return await running
    async with control.serve(state / config.SOCKET, {"status": agent.status}):
        return await running


def main(state: str, least: str) -> int:
    """The exit code; an error of ours is told with its code, what happened and the one next action."""
    language = messages.spoken(os.environ)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")  # or pyMeterBus sets it to INFO when imported
    try:
        asyncio.run(run(Path(state), language, least))
    except TanmeterError as error:
        sys.stderr.write(f"{error.code} {messages.text(error.code, language)}: {error}\n")
        sys.stderr.write(f"→ {messages.remedy(error.code, language)}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
