"""What happens to a fleet: each planned kind of fault at its own pace, to a box, its line, its clock, the collector."""

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import TYPE_CHECKING, Any

from edge.watermark import NAME as WATERMARK
from simulator.fleet import disk
from simulator.fleet.faults import PER_DAY, Fault
from simulator.fleet.meters import MARKS
from simulator.fleet.network import flipped
from simulator.fleet.node import Node

if TYPE_CHECKING:
    from simulator.fleet.fleet import Fleet

DAY_S = 86_400.0
YEARS_20_MS = 20 * 31_557_600_000
OF_COLLECTOR = (Fault.COLLECTOR_OLD, Fault.COLLECTOR_LOST, Fault.COLLECTOR_FULL)
MOST_STEPS = 60
"""Steps of the loop, from when a node is next busy, within which its agent is killed."""


def all_of(fleet: "Fleet") -> list[Coroutine[Any, Any, None]]:
    """The work of every planned fault."""
    found: list[Coroutine[Any, Any, None]] = []
    for fault in PER_DAY:
        if fault not in fleet.plan.kinds:
            continue
        if fault in OF_COLLECTOR:
            found.append(_of_collector(fleet, fault, Random(f"{fault}/{fleet.seed}")))
        else:
            found += [
                _of_node(fleet, fault, node, Random(f"{fault}/{fleet.seed}/{node.index}")) for node in fleet.nodes
            ]
    return found


def calm(fleet: "Fleet") -> None:
    """Everything that is wrong for a while ends now."""
    for line in fleet.lines:
        line.down_until = line.half_open_until = line.portal_until = -1.0
    fleet.central.full_until = -1.0
    for node in fleet.nodes:
        node.down_until = 0.0
        node.clock.sync()
        node.room.clear()
        for meter in node.meters:
            meter.silent_until = -1.0


async def _of_node(fleet: "Fleet", fault: Fault, node: Node, random: Random) -> None:
    while True:
        await asyncio.sleep(fleet.plan.wait_s(fault, random))
        if fleet.plan.on:
            await _do(fleet, fault, node, random)


async def _do(fleet: "Fleet", fault: Fault, node: Node, random: Random) -> None:
    plan, now, line = fleet.plan, fleet.loop.time(), fleet.lines[node.index]
    if fault == Fault.CRASH:
        fleet.loop.after_steps(random.randrange(MOST_STEPS), lambda: _kill(fleet, fault, node, random.uniform(1, 30)))
    elif fault in (Fault.POWER, Fault.NO_RTC):
        down = random.choice((20.0, random.uniform(20, 600), random.uniform(600, 2 * DAY_S)))
        steps = random.randrange(MOST_STEPS)
        fleet.loop.after_steps(steps, lambda: _cut(fleet, fault, node, down))
        if fault == Fault.NO_RTC:
            node.witness.distorted = True
            await asyncio.sleep(down + random.uniform(60, 0.3 * DAY_S))
            node.clock.sync()
    elif fault in (Fault.LYING_DISK, Fault.BIT_ROT):
        await _lose(fleet, fault, node, random)
    elif fault in (Fault.CLOCK_STEP, Fault.CLOCK_YEARS):
        by = random.choice((-3_600_000, 3_600_000, random.randrange(-86_400_000, 86_400_000)))
        node.witness.distorted = True
        plan.count(fault)
        node.clock.step(random.choice((-1, 1)) * YEARS_20_MS if fault == Fault.CLOCK_YEARS else by)
        await asyncio.sleep(random.uniform(600, 0.5 * DAY_S))
        node.clock.sync()
    elif fault == Fault.DRIFT:
        plan.count(fault)
        node.clock.lose(random.uniform(-400, 400))
        await asyncio.sleep(random.uniform(0.2, 3) * DAY_S)
        node.clock.sync()
    elif fault == Fault.OUTAGE:
        plan.count(fault)
        line.down_until = now + random.choice((0.1, 0.5, random.uniform(1, 5))) * DAY_S
    elif fault == Fault.HALF_OPEN:
        line.half_open_until = now + random.uniform(30, 3600)
    elif fault == Fault.PORTAL:
        line.portal_until = now + random.uniform(600, 4 * 3600)
    elif fault == Fault.SILENT:
        plan.count(fault)
        random.choice(node.meters).silent_until = now + random.uniform(600, DAY_S)
    elif fault == Fault.GATEWAY_FULL:
        await _fill(fleet, node, random)
    else:
        _visit(fleet, fault, node, random)


def _kill(fleet: "Fleet", fault: Fault, node: Node, down_s: float) -> None:
    left = node.kill(down_s) if fleet.plan.on else None
    if left is not None:
        fleet.plan.count(fault)
        disk.on_disk(fleet, node, left)


def _cut(fleet: "Fleet", fault: Fault, node: Node, down_s: float) -> None:
    """The power is gone: the clock begins anew when it comes back."""
    rises = lambda: node.clock.boot(rtc=fault != Fault.NO_RTC)  # noqa: E731
    left = node.kill(down_s, reboot=rises) if fleet.plan.on else None
    if left is not None:
        fleet.plan.count(fault)
        disk.on_disk(fleet, node, left)


async def _lose(fleet: "Fleet", fault: Fault, node: Node, random: Random) -> None:
    """A power cut after which the disk holds what it held hours before, or not what was written."""
    before, acked = node.image() if node.alive else None, node.witness.acked.copy()
    await asyncio.sleep(random.uniform(60, 0.5 * DAY_S))
    if before is None or not fleet.plan.on or not node.alive:
        return
    image, place = dict(before), None
    if fault == Fault.BIT_ROT:
        image = node.image()
        name = random.choice([name for name in sorted(image) if name.startswith("outbox.db") and image[name]])
        image[name] = flipped(image[name], random)
    else:
        place = disk.chain_of(fleet, image)
        node.witness.goes_back(place)
        if random.random() < 0.5:
            node.witness.forks.append(place)
        else:
            image[WATERMARK] = node.image()[WATERMARK]
    node.witness.lossy = True
    gone = disk.may_be_gone(fleet, node, acked, place)
    if node.kill(30.0, image, reboot=node.clock.boot) is not None:
        node.witness.excused |= gone
        fleet.plan.count(fault)


async def _fill(fleet: "Fleet", node: Node, random: Random) -> None:
    """Something else takes the disk for some time."""
    before = node.room.refused
    node.room.fill()
    await asyncio.sleep(random.uniform(600, 7200))
    node.room.clear()
    if node.room.refused > before:
        fleet.plan.count(Fault.GATEWAY_FULL)


def _visit(fleet: "Fleet", fault: Fault, node: Node, random: Random) -> None:
    """The technician signs a new edition, perhaps for another meter, and the agent is started again under it; or hangs
    another meter and tells nobody.
    """
    if fault == Fault.SWAPPED:
        _swap(fleet, node, random)
        return
    if node.kill(1.0) is None:
        return
    if fault == Fault.REPLACED:
        if fleet.marks >= MARKS:
            return
        unit = random.randrange(len(node.meters))
        node.replace(unit, fleet.another(node.meters[unit], random))
    fleet.plan.count(fault)
    node.sign()


def _swap(fleet: "Fleet", node: Node, random: Random) -> None:
    """A meter, new or used, takes the place of another while the box runs. Its register stands lower by more than any
    meter slips: of one that goes on where the other stood no register can tell.
    """
    unit = random.randrange(len(node.meters))
    meter = fleet.swapped(node.meters[unit], random)
    if meter is not None:
        fleet.plan.count(Fault.SWAPPED)
        node.swap(unit, meter)


async def _of_collector(fleet: "Fleet", fault: Fault, random: Random) -> None:
    central, plan = fleet.central, fleet.plan
    while True:
        await asyncio.sleep(plan.wait_s(fault, random))
        if not plan.on:
            return
        if fault == Fault.COLLECTOR_FULL:
            central.full_until = fleet.loop.time() + random.uniform(600, 6 * 3600)
        elif fault == Fault.COLLECTOR_LOST:
            plan.count(fault)
            central.lose(fleet.nodes)
        else:
            image = central.image()
            await asyncio.sleep(random.uniform(0.05, 2) * DAY_S)
            if plan.on:
                plan.count(fault)
                central.restore(image)
