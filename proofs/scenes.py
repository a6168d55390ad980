"""What is recorded for the power cuts: a gateway and its collector as they live, are stopped, killed and started."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge.config import COLLECTOR
from proofs import box as boxes
from proofs.box import ENVIRONMENT, Box
from proofs.cycle import COLLECTOR_KEY
from proofs.meter import Meter
from proofs.recording import Operation, Traced, read
from protocols.record.cose import PrivateKey

DELIVERED = '"state": "idle"'
"""The agent has sent all it had, and heard that it is held."""
PASSING = ("-shm", ".sock", "reserve")
"""Files whose content is of no use to the process that comes after a cut."""

Enough = Callable[[int, Traced], bool]
"""Whether a process may be ended, by the number of its life."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A recording: what lay in the folder before, and what was then done with it and said."""

    before: dict[str, bytes]
    operations: Sequence[Operation]


@dataclass(frozen=True, slots=True)
class Lives:
    """How long (s) and by which signal a process lives, one life after the other."""

    seconds: tuple[float, ...]
    ends: tuple[signal.Signals, ...]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by its path."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(PASSING)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def record(
    command: Sequence[str], root: Path, place: Path, lives: Lives, ready: str, enough: Enough
) -> Iterator[Traced]:
    """Run a command under strace, life after life; each is given out once it has said that it is ``ready``, and lives
    as long as it shall, and until it is ``enough``.
    """
    for number, how in enumerate(lives.ends):
        traced = Traced(
            command, place / f"{root.name}-{number}.trace", place / f"{root.name}-{number}.log", ENVIRONMENT
        )
        try:
            boxes.until(partial(_said, traced, ready), ready)
            yield traced
            time.sleep(lives.seconds[number])
            boxes.until(partial(enough, number, traced), "the end of a life")
            traced.end(how)
        finally:
            if traced.running:
                traced.kill()


def operations(root: Path, place: Path) -> list[Operation]:
    """All that was recorded of a folder, in order."""
    traces = sorted(place.glob(f"{root.name}-*.trace"))
    found = [each for trace in traces for each in read(trace, root, trace.with_suffix(".log"))]
    return [each for each in found if not str(getattr(each, "path", "")).endswith(PASSING)]


@contextmanager
def serving(command: Sequence[str], place: Path) -> Iterator[int]:
    """A collector that is not recorded; its port."""
    traced = Traced(command, Path("/dev/null"), place / "serving.log", ENVIRONMENT)
    try:
        boxes.until(lambda: "http://" in traced.said(), "a collector that is ready")
        yield int(traced.said().rstrip().rstrip("/").rpartition(":")[2])
    finally:
        traced.end(boxes.STOP)


def live(folder: Path, site: bytes, gateway: Lives, collector: Lives) -> tuple[Box, Scene, Scene]:
    """A gateway that is set up and enrolled, and its collector; recorded side by side from their next starts on."""
    box = boxes.set_up(folder, site)
    with serving(boxes.collector_command(box, 0), folder) as port:
        boxes.enrol_at(box, port)
    before = snapshot(box.state), snapshot(box.data)
    done: list[Future[None]] = []

    def over(number: int, traced: Traced) -> bool:
        return number < len(collector.ends) - 1 or (bool(done) and done[0].done())

    def agent() -> None:
        for _ in record(boxes.agent_command(box), box.state, folder, gateway, '"boot"', _delivered):
            pass

    with ThreadPoolExecutor(1) as beside:
        for number, _ in enumerate(
            record(boxes.collector_command(box, port), box.data, folder, collector, "http://", over)
        ):
            if number == 0:
                done.append(beside.submit(agent))
        done[0].result()
    return (
        box,
        Scene(before[0], operations(box.state, folder)),
        Scene(before[1], operations(box.data, folder)),
    )


@contextmanager
def meter() -> Iterator[Meter]:
    """A meter that answers."""
    held = Meter()
    held.open()
    try:
        yield held
    finally:
        held.close()


def cycled(folder: Path, site: bytes, rounds: int) -> tuple[Box, Scene]:
    """The store of a gateway as ``proofs.cycle`` uses it, from its first start on, and once more: it prunes and folds
    its log in again and again.
    """
    box = boxes.set_up(folder, site)
    key = _collector(box)
    (folder / COLLECTOR_KEY).write_bytes(key.pem())
    before = snapshot(box.state)
    for number in range(2):
        command = [sys.executable, "-m", "proofs.cycle", str(box.state), str(rounds), str(number * 10_000)]
        log = folder / f"{box.state.name}-{number}.log"
        traced = Traced(command, log.with_suffix(".trace"), log, ENVIRONMENT)
        try:
            if traced.wait() != 0:
                raise RuntimeError(f"the cycle failed: {traced.said()[-500:]}")
        finally:
            if traced.running:
                traced.kill()
    return box, Scene(before, operations(box.state, folder))


def _collector(box: Box) -> PrivateKey:
    """Have the gateway know a collector that nobody serves; its key."""
    nobody = PrivateKey.generate()
    held = {"url": "http://127.0.0.1:9", "algorithm": nobody.algorithm, "spki": nobody.spki.hex()}
    (box.state / COLLECTOR).write_text(json.dumps(held))
    return nobody


def weak(folder: Path, site: bytes, synchronous: str, lives: Lives) -> tuple[Box, Scene]:
    """A gateway whose SQLite was told to sync less, a bug that the proof must see; it has nobody to send to."""
    box = boxes.set_up(folder, site)
    _collector(box)
    before = snapshot(box.state)
    command = [sys.executable, "-m", "proofs.agent", str(box.state), synchronous]
    list(record(command, box.state, folder, lives, '"boot"', lambda number, traced: _said(traced, '"sealed"')))
    return box, Scene(before, operations(box.state, folder))


def _delivered(number: int, traced: Traced) -> bool:
    return _said(traced, DELIVERED)


def _said(traced: Traced, what: str) -> bool:
    return what in traced.said() or not traced.running
