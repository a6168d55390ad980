"""One seed of the fleet: built, driven through its faults, let come to rest, and held to its promises."""

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from drivers.site import duration_ms
from edge.transport import CONNECT_S
from simulator.fleet import disk, invariants, mischief
from simulator.fleet.central import COPY_EVERY_S, Central
from simulator.fleet.clock import FleetLoop, NodeClock, Restless
from simulator.fleet.faults import PLANNED, Fault, Plan
from simulator.fleet.meters import MARKS, MODULUS, Meter, TrueTime
from simulator.fleet.network import Carried, Line
from simulator.fleet.node import Cadence, Node, key
from simulator.fleet.violation import Witness

EPOCH_MS = 1_780_272_000_000
"""2026-06-01 00:00 UTC."""
QUIET_S = 86_400.0
"""Without faults; after it everything must be delivered."""
SETTLES_S = 1800.0
"""Beyond the ends of two blocks and one copying: how late a block may be settled."""
AHEAD_H = 480
"""What a meter counts in twenty days it must show at least to be swapped: its successor shows half of that less, which
it cannot make up for while nobody reads it, to be taken for what the old one went on to count.
"""
YEAR_S = 365.25 * 86_400


def settles_s(cadence: Cadence, copy_every_s: float) -> float:
    """How old a block may become, in seconds, before a second copy covers it, where nothing is wrong."""
    return copy_every_s + 2 * duration_ms(cadence.block) / 1000 + SETTLES_S


@dataclass(frozen=True)
class Shape:
    """How large a seed is: gateways, meters of each, days under faults, cadence.

    ValueError where the quiet end is too short for what it is there for: what the faults held up is sealed, delivered,
    copied and told of as settled only after the last of them.
    """

    gateways: int
    meters: int
    days: float
    cadence: Cadence
    quiet_s: float = QUIET_S
    copy_every_s: float = COPY_EVERY_S
    """How often the second copy is brought up."""
    pace: float = 1.0
    """How many faults a day, against those of a short life: a long one has as many, far apart."""
    connect_s: float = CONNECT_S
    """How long a way that leads nowhere keeps a question, before it is known."""
    durable: bool = False
    """The store writes as it does on a box: through its thread's work, each commit synced. Else it trusts the cache."""

    def __post_init__(self) -> None:
        if self.quiet_s < self.settles_s:
            raise ValueError(f"found a quiet end of {self.quiet_s:.0f} s, expected {self.settles_s:.0f} s at least")

    @property
    def settles_s(self) -> float:
        """As the function, in this life."""
        return settles_s(self.cadence, self.copy_every_s)

    @property
    def gateway_s(self) -> float:
        """Of its gateways together, with the time without faults."""
        return (self.days * 86_400 + self.quiet_s) * self.gateways

    @classmethod
    def of(cls, random: Random) -> "Shape":
        """A life of days or weeks: a few seeds ask every minute, most every quarter of an hour."""
        meters = random.choice((1, 1, 2, 3))
        if random.random() < 0.15:
            return cls(random.choice((1, 2)), meters, random.uniform(0.3, 1), Cadence("60s", "60s"))
        block = random.choice(("15m", "60m", "60m", "60m"))
        return cls(random.choice((1, 2, 3)), meters, random.uniform(3, 12), Cadence("15m", block))

    @classmethod
    def long(cls, random: Random) -> "Shape":
        """A life of years, of a meter of water or heat that is read once a day or four times."""
        cadence = random.choice((Cadence("24h", "24h"), Cadence("24h", "24h"), Cadence("6h", "24h")))
        days = random.uniform(365, 730)
        return cls(1, 1, days, cadence, quiet_s=3 * QUIET_S, pace=0.05, connect_s=600.0)


@dataclass
class Outcome:
    """What came of a seed. ``found``: broken promises, the first first."""

    seed: int
    gateway_s: float
    blocks: int
    readings: int
    fired: dict[Fault, int]
    digest: str
    found: list[tuple[str, str]] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)


class Fleet:
    """The world of one seed, in a folder of its own."""

    def __init__(
        self,
        seed: int,
        folder: Path,
        allowed: Iterable[Fault] = PLANNED,
        shape: Shape | None = None,
        *,
        goes_on: bool = False,
    ) -> None:
        """``goes_on``: it lives to its end when a promise is broken, and everything is judged."""
        self.seed, self.folder = seed, folder
        self.random = Random(f"fleet/{seed}")
        self.loop = FleetLoop()
        self.time = TrueTime(self.loop, EPOCH_MS)
        self.witness = Witness(self.loop.time, goes_on)
        self.plan = Plan.of(self.random, allowed)
        self.shape = shape or Shape.of(self.random)
        self.plan.pace = self.shape.pace
        collector = key(self.random)
        self.marks = 0
        self.central = Central(
            folder / "collector",
            collector,
            self.plan,
            random=Random(f"central/{seed}"),
            time=self.time,
            witness=self.witness,
            copy_every_s=self.shape.copy_every_s,
        )
        self.lines: list[Line] = []
        self.nodes = [self._node(index) for index in range(self.shape.gateways)]

    @property
    def block_ms(self) -> int:
        """How long a block is."""
        return duration_ms(self.shape.cadence.block)

    @property
    def period_ms(self) -> int:
        """How often a meter is asked."""
        return duration_ms(self.shape.cadence.period)

    def run(self) -> Outcome:
        """Live through it, and judge."""
        try:
            try:
                self.loop.run_until_complete(self._live())
            except Restless as error:
                self.witness.tell("I10", str(error))
            if self.witness.failed is not None:
                raise self.witness.failed
            if self.witness.goes_on or not self.witness.found:
                invariants.of_the_record(self)
            return self._outcome()
        finally:
            self.central.close()
            self.loop.close()

    def _node(self, index: int) -> Node:
        random, line, shape = Random(f"node/{self.seed}/{index}"), Line(), self.shape
        meters = [self._meter() for _ in range(shape.meters)]
        self.lines.append(line)

        def transport(node: Node) -> Carried:
            way = Random(f"net/{self.seed}/{index}/{node.lives}")
            return Carried(
                node,
                line,
                self.central.serve,
                plan=self.plan,
                random=way,
                witness=self.witness,
                connect_s=shape.connect_s,
            )

        clock = NodeClock(self.loop, EPOCH_MS)
        folder = self.folder / f"gateway-{index}"
        node = Node(
            index,
            folder,
            random,
            meters=meters,
            cadence=shape.cadence,
            clock=clock,
            time=self.time,
            collector=self.central.key,
            transport=transport,
            durable=shape.durable,
        )
        self.central.enrol(node)
        return node

    def another(self, old: Meter, random: Random) -> Meter:
        """A new meter in the place of an old one, with a mark of its own."""
        meter = Meter(self.marks, random.randrange(1000), old.per_hour)
        self.marks += 1
        return meter

    def swapped(self, old: Meter, random: Random) -> Meter | None:
        """Another meter for the place of an old one, whose register now shows at most half of what that one does, or
        next to nothing; None where there is none that could be told from it.
        """
        now = self.time.since_ms(self.time.seconds())
        stands = old.raw(now) // MARKS
        if stands < old.per_hour * AHEAD_H or self.marks >= MARKS:
            return None
        used = random.randrange(stands // 4, stands // 2)
        fresh = random.randrange(stands // 200) if stands < MODULUS // MARKS // 2 else used
        meter = Meter(self.marks, 0, old.per_hour)
        self.marks, meter.start = self.marks + 1, random.choice((used, fresh)) - meter.steps(now)
        return meter

    def _meter(self) -> Meter:
        mark, self.marks = self.marks, self.marks + 1
        per_hour = self.random.randrange(20, 90)
        start = self.random.randrange(1000, 1_000_000)
        if Fault.ROLLOVER in self.plan.kinds:
            start = MODULUS // MARKS - round(per_hour * 24 * self.shape.days * self.random.uniform(0.1, 0.9))
            self.plan.count(Fault.ROLLOVER)
        return Meter(mark, start, per_hour)

    async def _live(self) -> None:
        lives = [asyncio.ensure_future(node.live()) for node in self.nodes]
        of_all = (self.central.copying(), self.central.operating(), disk.looking(self))
        beside = [asyncio.ensure_future(work) for work in of_all]
        beside += [asyncio.ensure_future(work) for work in mischief.all_of(self)]
        over = asyncio.ensure_future(self._course())
        broken_off = asyncio.ensure_future(self.witness.broken.wait())
        waiting = {over, broken_off, *lives, *beside}
        while waiting and not any(task.done() for task in (over, broken_off, *lives)):
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done & {*beside}:
                task.result()
        for task in [*beside, broken_off]:
            task.cancel()
        broken = [task for task in [over, *lives] if task.done() and task.exception() is not None]
        if not over.done():
            over.cancel()
        if broken:
            self.witness.tell("I10", f"an agent ended: {broken[0].exception()!r}")
        for node in self.nodes:
            node.stop.set()
        await asyncio.gather(*lives, return_exceptions=True)

    async def _course(self) -> None:
        await asyncio.sleep(self.shape.days * 86_400)
        self.plan.on = False
        mischief.calm(self)
        await asyncio.sleep(self.shape.quiet_s)
        await invariants.at_rest(self)

    def _outcome(self) -> Outcome:
        record = invariants.record_digest(self)
        told = f"{sorted(self.plan.fired.items())} {self.loop.steps} {self.witness.found}"
        total = hashlib.sha256(record + told.encode()).hexdigest()
        answers = sum(node.answers for node in self.nodes)
        blocks = self.central.store.counts().blocks
        fired, checked = dict(self.plan.fired), dict(self.witness.counted)
        return Outcome(self.seed, self.shape.gateway_s, blocks, answers, fired, total, self.witness.found, checked)
