"""History: a gateway's own agent lives through a stretch of the past in virtual time."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

from drivers import site as sites
from edge.agent import Agent
from edge.wire import Wire
from simulator.logger_lines import LoggerEars
from simulator.meters import PAST_PLAN, PORTS, Listener, listeners, logger
from simulator.network import Endpoint, TcpEnd
from simulator.ports import SerialPort
from simulator.rs485 import Pair
from simulator.stations import Station, steady
from simulator.time import SimClock, VirtualLoop
from simulator.truth import TruthLog
from simulator.world import World

LATENCY_MS = 16
"""How often a USB adapter hands over what has come."""
Meters = Callable[[World, TruthLog], dict[str, tuple[Listener, ...]]]
"""The meters on each port of the site in a world, which tell a log what they serve."""


def live_through(state: Path, seed: int, since: int, until: int, truth: Path, *, meters: Meters = listeners) -> None:
    """Run the agent of a state folder from ``since`` to ``until`` (UTC ms) among the simulated meters of ``seed``.

    What the meters served is appended to the ``truth`` log. The agent delivers nothing: the outbox is full afterwards.
    ``meters``: where the site is not the demo's.
    """
    loop, log = VirtualLoop(), TruthLog(truth, buffered=True)
    world, clock = World(seed), SimClock(loop, since)
    wire = wires(clock, Random(f"line/{seed}/{since}"), meters(world, log))
    ears = LoggerEars(logger(world, log, PAST_PLAN), clock)
    agent = Agent(
        state, clock, wire, None, Random(f"{seed}/{since}"), durable=False, listen=lambda port, wire, clock: ears
    )
    try:
        loop.run_until_complete(agent.run(asyncio.Event(), until))
    finally:
        log.close()
        loop.close()


def wires(clock: SimClock, random: Random, meters: dict[str, tuple[Listener, ...]]) -> Callable[[sites.Port], Wire]:
    """Where each port of the site file ends: in a pair with its meters, or in an endpoint."""
    known = {port.name: port for port in PORTS}

    def wire(port: sites.Port) -> Wire:
        held, hanging = known[port.name], meters[port.name]
        if not held.serial:
            return TcpEnd(Endpoint(held.name, clock, random, lambda: hanging, steady(held.turnaround_ms)))
        pair = Pair(clock, random)
        for meter in hanging:
            Station(pair, meter, port.mode, steady(held.turnaround_ms))
        return SerialPort(pair, port.name, latency_ms=LATENCY_MS)

    return wire
