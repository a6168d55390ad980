"""Power cuts: the writes and syncs of the real agent and collector are recorded; from each point of the recording disks
are made as a cut may leave them; on each the real code starts, and what was acknowledged must be there.

A cut counts only where something was written that no sync had covered.
"""

import hashlib
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
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
from proofs.images import Disk, Image, Left, Shelf
from proofs.line import Line, Tier
from proofs.recording import Made, Named, Operation, Removed, Said, SyncBegun, Synced, Truncate, Write
from proofs.scenes import Lives, Scene

PART = "power_cuts"
MEMORY = Path("/dev/shm")
MOST_FOUND = 5
LATER_MS = 60_000
STORE, COLLECTOR_STORE = config.OUTBOX, "collector.db"
CYCLE_ROUNDS = 20
PRUNE_CUTS, ROLLBACKS = 10_000, 200
GATEWAY_CUTS, COLLECTOR_CUTS, CONTROL_CUTS = 46_000, 45_000, 300
GATEWAY_LIVES = Lives((2.0, 1.0, 4.0), (boxes.KILL, boxes.STOP, boxes.KILL))
COLLECTOR_LIVES = Lives((3.0, 2.0, 3.0), (boxes.KILL, boxes.STOP, boxes.KILL))
WEAK_LIVES = Lives((5.0,), (boxes.KILL,))
WORKING = ("outbox", "watermark", "learned", "adapters", "clock")
RESEND_EVERY = 3
"""Of the collectors that are started, so many are sent everything again."""
AGAIN_EVERY = 20
"""Of the disks on which SQLite recovers what it had recovered before, every so manyth is started all the same."""
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
    """Disks; on each SQLite has recovered the store."""
    started: int = 0
    """Of those, how many the whole start was tried on."""
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
    store: str
    """The name of the SQLite file among them."""

    def follow(self, operation: Operation, whole: Callable[[], Path]) -> bool:
        """The next operation; whether the world has been told something. ``whole``: the disk as it is then."""

    def examine(self, folder: Path, version: int) -> Sequence[str]:
        """What is wrong; ``version`` is another one when another file than a working one is another."""


def cut(
    operations: Sequence[Operation], disk: Callable[[], Disk], count: int, seed: int, folder: Path, watch: Watch
) -> Outcome:
    """So many cuts of a recording, at points drawn by chance of those with something unsynced."""
    points = _points(operations, disk())
    drawn = Counter(Random(f"{seed} points").choices(points, k=count)) if points else Counter[int]()
    other, now = Shelf(folder / "whole", watch.working), disk()

    def whole() -> Path:
        other.put(now.whole())
        return other.folder

    outcome, number = Outcome(points=len(drawn)), 0
    judge = _Judge(watch, Shelf(folder / "cut", watch.working), outcome)
    for place, operation in enumerate(operations):
        now.do(operation)
        if watch.follow(operation, whole):
            judge.forget()
        for _ in range(drawn.get(place, 0)):
            faults = judge.faults(now.cut(Random(f"{seed} {number}")))
            outcome.unsynced += now.unsynced
            outcome.add(f"seed {seed}, cut {number}, operation {place}", faults)
            number += 1
    return outcome


class _Judge:
    """What is wrong with disks, found out once for those that are equal, between instants at which the world is told
    something. SQLite itself recovers the store of every different disk; the whole start is tried where it recovers
    other rows than before, or another file is another. Some of the rest are started as well, to see that it is so.
    """

    def __init__(self, watch: Watch, shelf: Shelf, outcome: Outcome) -> None:
        self._watch, self._shelf, self._outcome = watch, shelf, outcome
        self._disks: dict[object, Sequence[str]] = {}
        self._starts: dict[object, Sequence[str]] = {}
        self._spared = 0

    def forget(self) -> None:
        """From now on more is promised."""
        self._disks.clear()
        self._starts.clear()

    def faults(self, left: Mapping[str, Left]) -> Sequence[str]:
        """What is wrong with the disk that a cut has left."""
        disk = tuple((name, each.key) for name, each in left.items())
        if disk not in self._disks:
            self._outcome.different += 1
            self._disks[disk] = self._look(left)
        return self._disks[disk]

    def _look(self, left: Mapping[str, Left]) -> Sequence[str]:
        self._shelf.put({name: each.content() for name, each in left.items()})
        start = self._start(left)
        if start is None or start not in self._starts:
            found = self._examine()
            if start is not None:
                self._starts[start] = found
            return found
        self._spared += 1
        known = self._starts[start]
        if self._spared % AGAIN_EVERY == 0 and bool(found := self._examine()) != bool(known):
            return [*found, *known, "two disks with the same rows do not start alike"]
        return known

    def _examine(self) -> Sequence[str]:
        self._outcome.started += 1
        return self._watch.examine(self._shelf.folder, self._shelf.version)

    def _start(self, left: Mapping[str, Left]) -> object:
        """Equal where a start sees the same; None when SQLite recovers nothing."""
        store = self._watch.store
        rows = recovered(self._shelf.folder / store)
        if rows is None:
            return None
        own = [(name, bool(each.content())) for name, each in left.items() if name.startswith(store)]
        others = [(name, _same(each)) for name, each in left.items() if not name.startswith(store)]
        return rows, tuple(own), tuple(others)


def _same(left: Left) -> object:
    """Equal for equal bytes."""
    return bytes(left.content()) if left.file.pending else left.key


def recovered(path: Path) -> bytes | None:
    """A digest of all pages of the store at ``path`` as SQLite recovers it; nothing is changed. None: it cannot."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            return hashlib.sha256(db.serialize()).digest()
    except sqlite3.Error:
        return None
    finally:
        path.with_name(path.name + "-shm").unlink(missing_ok=True)


class GatewayWatch:
    """A gateway."""

    working: Sequence[str] = WORKING
    store = STORE

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

    working: Sequence[str] = (COLLECTOR_STORE,)
    store = COLLECTOR_STORE

    def __init__(self, box: Box) -> None:
        held = config.load(box.state)
        assert held.collector is not None
        reader = Reader(held.key.public)
        self.desk, self.collector = Desk(held.collector.key, reader), Collector(reader, held, resend_every=RESEND_EVERY)

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
        f"{outcome.different:,} different disks from {outcome.points:,} points, each recovered by SQLite,"
        f" {outcome.started:,} started; {mean:.0f} sectors and names unsynced"
    )


def _points(operations: Sequence[Operation], disk: Disk) -> list[int]:
    found = []
    for place, operation in enumerate(operations):
        disk.do(operation)
        if disk.unsynced and isinstance(operation, ON_DISK):
            found.append(place)
    return found
