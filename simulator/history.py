"""History: a gateway's own agent lives through a stretch of the past in virtual time."""

import asyncio
from pathlib import Path
from random import Random

from drivers import site as sites
from edge.agent import Agent
from simulator.meters import PORTS, listeners
from simulator.time import SimClock, VirtualLoop
from simulator.truth import TruthLog
from simulator.wires import MeterWire
from simulator.world import World


def live_through(state: Path, seed: int, since: int, until: int, truth: Path) -> None:
    """Run the agent of a state folder from ``since`` to ``until`` (UTC ms) among the simulated meters of ``seed``.

    What the meters served is appended to the ``truth`` log. The agent delivers nothing: the outbox is full afterwards.
    """
    loop, log = VirtualLoop(), TruthLog(truth, buffered=True)
    clock, meters = SimClock(loop, since), listeners(World(seed), log)
    ends = {port.name: MeterWire(port, meters[port.name], clock) for port in PORTS}

    def wire(port: sites.Port) -> MeterWire:
        return ends[port.name]

    agent = Agent(state, clock, wire, None, Random(f"{seed}/{since}"), durable=False)
    try:
        loop.run_until_complete(agent.run(asyncio.Event(), until))
    finally:
        log.close()
        loop.close()
