"""Power cuts: the writes and syncs of the real agent and collector are recorded; from each point of the recording disks
are made as a cut may leave them; on each the real code starts, and what was acknowledged must be there.

A cut counts only where something was written that no sync had covered.
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Protocol

from edge import config, frames, scrub, soundness
from proofs import box as boxes
from proofs import scenes
from proofs.box import Box
from proofs.collector_started import Collector, Desk
from proofs.gateway_started import Gateway, Reader, StillClock, Teller
from proofs.images import Disk, Image, Shelf
from proofs.line import Line, Tier
from proofs.recording import Made, Named, Operation, Removed, Said, SyncBegun, Synced, Truncate, Write
from proofs.scenes import Lives, Scene

PART = "power_cuts"
MEMORY = Path("/dev/shm")
MOST_FOUND = 5
LATER_MS = 60_000
STORE = config.OUTBOX
CYCLE_ROUNDS = 20
PRUNE_CUTS, ROLLBACKS = 10_000, 200
GATEWAY_CUTS, COLLECTOR_CUTS, CONTROL_CUTS = 46_000, 45_000, 300
GATEWAY_LIVES = Lives((2.0, 1.0, 4.0), (boxes.KILL, boxes.STOP, boxes.KILL))
COLLECTOR_LIVES = Lives((3.0, 2.0, 3.0), (boxes.KILL, boxes.STOP, boxes.KILL))
WEAK_LIVES = Lives((5.0,), (boxes.KILL,))
WORKING = ("outbox", "watermark", "learned", "adapters", "clock")
SCALE = {Tier.PULL: 1, Tier.NIGHTLY: 10, Tier.RELEASE: 100}


def prove_gateway(tier: Tier, seed: int) -> Iterator[Line]:
    """Cuts of the agent as it lives; and of one whose disk lies, which must show."""
    with _rooms() as rooms:
        box, scene, _ = scenes.live(rooms.recorded / "live", rooms.site, GATEWAY_LIVES, COLLECTOR_LIVES)
        name, count = "gateway: commit, seal, receipt, checkpoint", GATEWAY_CUTS * SCALE[tier]
        yield gateway_line(name, box, scene, count, seed, rooms.images)
        name = "gateway whose disk ignores syncs"
        yield gateway_line(name, box, scene, CONTROL_CUTS, seed, rooms.images, honest=False)


def prove_collector(tier: Tier, seed: int) -> Iterator[Line]:
    """Cuts of the collector as it lives."""
    with _rooms() as rooms:
        box, _, scene = scenes.live(rooms.recorded / "live", rooms.site, GATEWAY_LIVES, COLLECTOR_LIVES)
        yield collector_line("collector: ingest", box, scene, COLLECTOR_CUTS * SCALE[tier], seed, rooms.images)


def prove_prunes(tier: Tier, seed: int) -> Iterator[Line]:
    """Cuts of a store that prunes all the time; and of one that comes back older than its watermark."""
    with _rooms() as rooms:
        lived = scenes.cycled(rooms.recorded / "cycle", rooms.site, CYCLE_ROUNDS)
        name, count = "gateway: prunes and checkpoints", PRUNE_CUTS * SCALE[tier]
        yield gateway_line(name, *lived, count, seed, rooms.images)
        yield rollback_line(*lived, ROLLBACKS * SCALE[tier], seed, rooms.images)


def prove_controls(tier: Tier, seed: int) -> Iterator[Line]:
    """Cuts of agents that sync less than they should, which must show."""
    with _rooms() as rooms:
        for synchronous in ("NORMAL", "OFF"):
            weak = scenes.weak(rooms.recorded / synchronous, rooms.site, synchronous, WEAK_LIVES)
            name = f"gateway with synchronous = {synchronous}"
            yield gateway_line(name, *weak, CONTROL_CUTS, seed, rooms.images, control=True)


@dataclass(frozen=True, slots=True)
class Rooms:
    """Where a recording is made, where its images are put, and the site of its meters, which answer meanwhile."""

    recorded: Path
    images: Path
    site: bytes


@contextmanager
def _rooms() -> Iterator[Rooms]:
    recorded = tempfile.TemporaryDirectory(prefix="tanmeter-recorded-")
    with recorded as place, memory() as images, scenes.meter() as meter, whole_once():
        yield Rooms(Path(place), images, boxes.site_file(meter.place, meters=2))


@contextmanager
def whole_once() -> Iterator[None]:
    """A frame that was found whole under its hash is not taken apart again: equal bytes, equal finding. The starts of
    thousands of images read the same few blocks.
    """
    used, known = ((scrub, "check"), (soundness, "check_frame")), lru_cache(maxsize=8192)(frames.check)
    for module, name in used:
        setattr(module, name, known)
    try:
        yield
    finally:
        for module, name in used:
            setattr(module, name, frames.check)


@dataclass(slots=True)
class Outcome:
    """What the cuts of one recording have shown."""

    cuts: int = 0
    violations: int = 0
    unsynced: int = 0
    points: int = 0
    different: int = 0
    found: list[str] = field(default_factory=list)

    def add(self, where: str, faults: Sequence[str]) -> None:
        """One cut."""
        self.cuts += 1
        if faults:
            self.violations += 1
            if len(self.found) < MOST_FOUND:
                self.found.append(f"{where}: {'; '.join(faults[:3])}")


@contextmanager
def memory() -> Iterator[Path]:
    """A folder in memory where there is one."""
    folder = Path(tempfile.mkdtemp(prefix="tanmeter-cuts-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


ON_DISK = (Write, Truncate, Made, Named, Removed, SyncBegun, Synced)


class Watch(Protocol):
    """Follows a recording, and judges what a cut has left."""

    working: Sequence[str]
    """The beginnings of the names that it writes to."""

    def follow(self, operation: Operation, whole: Callable[[], Path]) -> bool:
        """The next operation; whether the world has been told something. ``whole``: the disk as it is then."""

    def examine(self, folder: Path, version: int) -> Sequence[str]:
        """What is wrong; ``version`` is another one when another file than a working one is another."""


def cut(
    operations: Sequence[Operation], disk: Callable[[], Disk], count: int, seed: int, folder: Path, watch: Watch
) -> Outcome:
    """So many cuts of a recording, at points drawn by chance of those with something unsynced.

    Disks that are equal, at instants between which the world was told nothing, are looked at once.
    """
    points = _points(operations, disk())
    drawn = Counter(Random(f"{seed} points").choices(points, k=count)) if points else Counter[int]()
    shelf, other, now = Shelf(folder / "cut", watch.working), Shelf(folder / "whole", watch.working), disk()

    def whole() -> Path:
        other.put(now.whole())
        return other.folder

    outcome, seen, number = Outcome(points=len(drawn)), dict[object, Sequence[str]](), 0
    for place, operation in enumerate(operations):
        now.do(operation)
        if watch.follow(operation, whole):
            seen.clear()
        for _ in range(drawn.get(place, 0)):
            left = now.cut(Random(f"{seed} {number}"))
            key = tuple((name, each.key) for name, each in left.items())
            if key not in seen:
                shelf.put({name: each.content() for name, each in left.items()})
                seen[key] = watch.examine(shelf.folder, shelf.version)
                outcome.different += 1
            outcome.unsynced += now.unsynced
            outcome.add(f"seed {seed}, cut {number}, operation {place}", seen[key])
            number += 1
    return outcome


class GatewayWatch:
    """A gateway."""

    working: Sequence[str] = WORKING

    def __init__(self, box: Box, seed: int) -> None:
        held = config.load(box.state)
        assert held.collector is not None
        self._held, self._key, reader = held, held.collector.key, Reader(held.key.public)
        self._reader = reader
        self.gateway = Gateway(reader, StillClock(time.time_ns() // 1_000_000 + LATER_MS), Random(seed))
        self.teller: Teller | None = None

    def follow(self, operation: Operation, whole: Callable[[], Path]) -> bool:
        """The next operation."""
        if self.teller is None:
            self.teller = Teller(self._held, self._reader, self._key, whole)
        return self.teller.take(operation)

    def examine(self, folder: Path, version: int) -> Sequence[str]:
        """What is wrong."""
        assert self.teller is not None
        return self.gateway.examine(folder, version, self.teller.known)


class CollectorWatch:
    """A collector."""

    working: Sequence[str] = ("collector.db",)

    def __init__(self, box: Box) -> None:
        held = config.load(box.state)
        assert held.collector is not None
        reader = Reader(held.key.public)
        self.desk, self.collector = Desk(held.collector.key, reader), Collector(reader, held)

    def follow(self, operation: Operation, whole: Callable[[], Path]) -> bool:
        """The next operation."""
        return self.desk.take(operation)

    def examine(self, folder: Path, version: int) -> Sequence[str]:
        """What is wrong."""
        return self.collector.examine(folder, self.desk.told)


def gateway_line(
    name: str,
    box: Box,
    scene: Scene,
    count: int,
    seed: int,
    images: Path,
    *,
    control: bool = False,
    honest: bool = True,
) -> Line:
    """Cuts of a gateway; of a ``control``, or of a disk that is not ``honest``, they must show."""
    control = control or not honest
    watch = GatewayWatch(box, seed)
    outcome = cut(scene.operations, lambda: Disk(scene.before, honest), count, seed, images, watch)
    assert watch.teller is not None
    known = watch.teller.known
    fired = {"exchanges acknowledged": known.told}
    if watch.teller.pruned:
        fired["blocks pruned"] = watch.teller.pruned
    if not control:
        folded = [each for each in scene.operations if isinstance(each, Write) and each.path == STORE]
        fired |= {
            "pages folded into the file": len(folded),
            "blocks told": len(known.blocks),
            "blocks receipted": sum(place < known.received for place in known.blocks),
            "blocks that a start recovered": watch.gateway.recovered,
        }
    found = (*watch.teller.faults, *outcome.found)
    violations = outcome.violations + len(watch.teller.faults)
    figures = f"{_figures(outcome)}; slowest start {watch.gateway.slowest_s * 1000:.0f} ms"
    return Line(PART, name, seed, outcome.cuts, violations, fired, control, figures, found)


def rollback_line(box: Box, scene: Scene, count: int, seed: int, images: Path) -> Line:
    """A disk that gives back an older store and the newest watermark: a new epoch must begin, every time."""
    held, random = config.load(box.state), Random(f"{seed} rollbacks")
    gateway = Gateway(Reader(held.key.public), StillClock(time.time_ns() // 1_000_000 + LATER_MS), random)
    disk, sealed = Disk(scene.before), list[Image]()
    for operation in scene.operations:
        disk.do(operation)
        if isinstance(operation, Said) and '"sealed"' in operation.text:
            sealed.append({name: bytes(data) for name, data in disk.whole().items()})
    shelf, found = Shelf(images / "rollback", WORKING), list[str]()
    for number in range(count):
        old, new = sorted(random.sample(range(len(sealed)), 2))
        stale = {name: data for name, data in sealed[old].items() if name.startswith("outbox")}
        fresh = {name: data for name, data in sealed[new].items() if not name.startswith("outbox")}
        shelf.put(fresh | stale)
        if (epoch := gateway.epoch(shelf.folder)) != 1:
            found.append(f"seed {seed}, rollback {number} from seal {new} to {old}: epoch {epoch}, expected 1")
    fired = {"seals": len(sealed)}
    name = "gateway whose disk has gone back behind its watermark"
    return Line(PART, name, seed, count, len(found), fired, False, "a new epoch each time", tuple(found[:MOST_FOUND]))


def collector_line(name: str, box: Box, scene: Scene, count: int, seed: int, images: Path) -> Line:
    """Cuts of a collector."""
    watch = CollectorWatch(box)
    outcome = cut(scene.operations, lambda: Disk(scene.before), count, seed, images, watch)
    fired = {
        "receipts sent": watch.desk.receipts,
        "blocks receipted": sum(place < watch.desk.told.next for place in watch.desk.told.sent),
        "kWh booked": watch.collector.booked,
        "blocks sent again": watch.collector.resent,
    }
    figures = f"{_figures(outcome)}; slowest start {watch.collector.slowest_s * 1000:.0f} ms"
    return Line(PART, name, seed, outcome.cuts, outcome.violations, fired, False, figures, tuple(outcome.found))


def _figures(outcome: Outcome) -> str:
    mean = outcome.unsynced / max(1, outcome.cuts)
    return (
        f"{outcome.different:,} different disks from {outcome.points:,} points, {mean:.0f} sectors and names unsynced"
    )


def _points(operations: Sequence[Operation], disk: Disk) -> list[int]:
    found = []
    for place, operation in enumerate(operations):
        disk.do(operation)
        if disk.unsynced and isinstance(operation, ON_DISK):
            found.append(place)
    return found
