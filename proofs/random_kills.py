"""The whole agent and the whole collector, side by side, each killed at random again and again."""

import json
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from cloud.config import open_key, open_store
from edge import config
from proofs import box as boxes
from proofs.box import Box
from proofs.collector_started import Collector, Receipted
from proofs.gateway_started import Opened, Reader, chained, held_blocks, started_quietly
from proofs.line import Line
from proofs.meter import Meter
from proofs.nursery import Nursery
from proofs.scenes import meter

PART = "kills"
LONGEST_S = 0.4
"""A life that is ended by a kill lasts up to this beyond its first sign."""
PATIENCE_S = 60.0
HOST = "127.0.0.1"
OF_AGENTS = ("httpx", "httpcore", "anyio._backends._asyncio")
OF_COLLECTORS = ("uvicorn.loops.asyncio", "uvicorn.protocols.http.h11_impl", "uvicorn.lifespan.on")
"""What an agent and a collector load when they first speak: here once for all of their lives."""


@dataclass(slots=True)
class Child:
    """A process that is started again and again, and what it has said in all its lives."""

    nursery: Nursery
    arguments: list[str]
    log: Path
    pid: int = 0
    told: int = 0
    """Exchanges that it said it had committed, over all lives."""
    kills: int = 0
    slowest_s: float = 0.0
    _begun: float = 0.0
    failed: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start it."""
        self.log.unlink(missing_ok=True)
        self._begun = time.monotonic()
        self.pid = self.nursery.start(self.arguments, self.log)

    def until(self, word: str, seconds: float = PATIENCE_S) -> None:
        """Wait until it has said this; TimeoutError."""
        boxes.until(lambda: word in self.said(), f"{word} of {self.log.name}: {self.said()[-500:]}", seconds)
        self.slowest_s = max(self.slowest_s, time.monotonic() - self._begun)

    def said(self) -> str:
        """What it has said in this life."""
        return self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""

    def end(self, how: signal.Signals) -> None:
        """End it by a signal; an end of its own before that is a fault."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, how)
        code = self.nursery.wait()
        if code != (-how if how == signal.SIGKILL else 0):
            self.failed.append(f"{self.log.name} ended with {code}: {self.said()[-300:]}")
        self.kills += how == signal.SIGKILL
        committed = [line for line in self.said().splitlines() if '"committed"' in line and line.endswith("}")]
        self.told += json.loads(committed[-1])["total"] if committed else 0


def random_kills(folder: Path, kills: int, seed: int) -> Line:
    """So many kills, two of three of them of the agent; then both end in peace and are looked at."""
    nurseries = Nursery("proofs.agent", *OF_AGENTS), Nursery("proofs.serve", *OF_COLLECTORS)
    with meter() as held, nurseries[0] as agents, nurseries[1] as collectors:
        box, port = _set_up(folder, held, collectors)
        agent = Child(agents, [str(box.state)], folder / "agent.log")
        collector = Child(collectors, [str(box.data), str(port)], folder / "collector.log")
        _live(agent, collector, kills, Random(seed))
        found = [*agent.failed, *collector.failed, *look(box, held, agent.told)]
    fired = {"agent killed": agent.kills, "collector killed": collector.kills, "exchanges acknowledged": agent.told}
    figures = f"slowest start {max(agent.slowest_s, collector.slowest_s):.1f} s"
    tried = agent.kills + collector.kills
    return Line(
        PART, "agent and collector: SIGKILL at random", seed, tried, len(found), fired, False, figures, tuple(found[:5])
    )


def _set_up(folder: Path, held: Meter, collectors: Nursery) -> tuple[Box, int]:
    box = boxes.set_up(folder, boxes.site_file(held.place, meters=3))
    with socket.create_server((HOST, 0)) as probe:
        port = int(probe.getsockname()[1])
    collector = Child(collectors, [str(box.data), str(port)], folder / "collector.log")
    collector.start()
    collector.until("http://")
    boxes.enrol_at(box, port)
    collector.end(boxes.STOP)
    return box, port


def _live(agent: Child, collector: Child, kills: int, random: Random) -> None:
    agent.start()
    collector.start()
    signs = {id(agent): ('"boot"', '"committed"', '"sealed"'), id(collector): ("http://",)}
    for number in range(kills):
        victim = collector if number % 3 == 2 else agent
        if random.random() < 0.8:  # the others may die before they have done anything
            victim.until(random.choice(signs[id(victim)]))
        time.sleep(random.uniform(0, LONGEST_S) ** 2)
        victim.end(boxes.KILL)
        victim.start()
    collector.until("http://")
    agent.until('"sealed"')
    agent.until('"state": "idle"')
    agent.end(boxes.STOP)
    agent.start()
    agent.until('"state": "idle"')
    agent.end(boxes.STOP)
    collector.end(boxes.STOP)


def look(box: Box, held: Meter, told: int) -> list[str]:
    """What is wrong with what the two hold in the end."""
    gateway = config.load(box.state)
    reader = Reader(gateway.key.public)
    with started_quietly(box.state, gateway) as outbox:
        chain = outbox.chain()
        blocks = [reader.open(stored.frame) for stored in held_blocks(outbox)]
    found = chained(blocks, chain, gateway.previous)
    answers = [answer for opened in blocks for answer in opened.answers]
    served = {(unit - 1, count) for unit, counts in held.served.items() for count in counts}
    counted = [(device, int.from_bytes(reply[-4:])) for device, reply in answers]
    if len(set(counted)) != len(counted):
        found.append(f"{len(counted) - len(set(counted))} answers are held twice")
    if made_up := set(counted) - served:
        found.append(f"{len(made_up)} answers were never given")
    accounted = len(answers) + sum(opened.faults for opened in blocks)
    if accounted < told:
        found.append(f"{told} exchanges were acknowledged, {accounted} are accounted for")
    return found + _delivered(box, gateway, reader, blocks)


def _delivered(box: Box, gateway: config.EdgeConfig, reader: Reader, blocks: list[Opened]) -> list[str]:
    """The collector holds the gateway's chain but for the last word of its end, once, and has booked its registers."""
    with open_store(box.data, open_key(box.data)) as store:
        row = store.gateway(gateway.gateway)
        taken = 0 if row is None else row.blocks + row.refused_blocks
        refused = 0 if row is None else row.refused_blocks
    sent = blocks[:taken]
    receipted = Receipted(sent[-1].place if sent else (0, 0), {opened.place: opened.hash for opened in sent[:-1]}, {})
    found = Collector(reader, gateway, resend_every=1 << 40).examine(box.data, receipted)
    if len(blocks) - taken > 2:
        found.append(f"{len(blocks) - taken} of {len(blocks)} blocks were not delivered")
    return [*found, f"{refused} blocks were refused"] if refused else found
