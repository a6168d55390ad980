"""How fast the collector takes in blocks: readings per second verified, replayed, booked and stored, on one core.

Frames of a minute are signed beforehand; what is measured is ``Store.append`` on a file on this disk, with its commit
and its receipt, in batches as a gateway sends them when it catches up, and one by one. Then the same file is audited:
all of it, and its blocks alone (signature, link, root, plan, replay). Readings a second are by the CPU time of the
process; the wall clock stands beside them. The stages are measured apart on the same frames.
"""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks.fleet import LARGE, MINUTE, SMALL, START, Gateway
from cloud import audit, audit_file
from cloud.booking import Book
from cloud.cycles import look_seldom
from cloud.ingest import Beginning, Content, Examiner, Head, Trust
from cloud.running import Memory
from cloud.signatures import verifier
from cloud.store import Store
from drivers.columns import Layouts, replay_track
from drivers.installation import Installation
from protocols.record import block, siteconfig, transport
from protocols.record.block import Chunk, Header
from protocols.record.cose import PrivateKey, Verifier

T = TypeVar("T")

BLOCKS, BATCH, ROUNDS = 640, 64, 5
TARGETS = {SMALL: 1_500_000, LARGE: 4_000_000}


@dataclass(frozen=True)
class Pace:
    """Readings a second, by CPU time and by the wall clock."""

    cpu: float
    wall: float


def main() -> None:
    """Print the median throughput, and what each stage of a block costs."""
    look_seldom()
    print(f"one process, WAL, synchronous FULL; batches of {BATCH} blocks; medians of {ROUNDS}")
    for shape, target in TARGETS.items():
        gateway = Gateway(shape)
        frames = list(gateway.frames(BLOCKS))
        size = sum(map(len, frames)) / BLOCKS / shape.readings
        print(f"\n{shape.readings} readings a block ({shape.meters} meters), {size:.2f} bytes a reading")
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{number}.db" for number in range(ROUNDS)]
            _say("taken in, in batches", [_taken(gateway, frames, path, BATCH) for path in paths], target)
            _say("taken in, a commit for every block", [_taken(gateway, frames, Path(folder) / "1.db.1", 1)], 0)
            _say("audited, all of it", [_audited(path, None) for path in paths], 0)
            span = (START, START + BLOCKS * MINUTE)
            _say("audited, the blocks", [_audited(path, span) for path in paths], 5_000_000)
        for name, microseconds in _stages(gateway, frames):
            print(f"  {name:<40}{microseconds:8.1f} us a block")


def measure() -> dict[str, float]:
    """Readings a second, the median: for the table of all figures."""
    gateway = Gateway(SMALL)
    frames = list(gateway.frames(BLOCKS))
    with tempfile.TemporaryDirectory() as folder:
        paces = [_taken(gateway, frames, Path(folder) / f"{number}.db", BATCH).cpu for number in range(ROUNDS)]
    return {"collector_readings_per_s": statistics.median(paces)}


def _say(what: str, paces: Sequence[Pace], target: int) -> None:
    cpu = statistics.median(pace.cpu for pace in paces)
    wall = statistics.median(pace.wall for pace in paces)
    aim = f"  (target {target:,})" if target else ""
    print(f"{what:<42}{cpu:12,.0f} readings/s by CPU time{aim}; {wall:,.0f} by the wall clock")


def _taken(gateway: Gateway, frames: Sequence[bytes], path: Path, batch: int) -> Pace:
    with Store(path, PrivateKey.generate()) as store:
        gateway.enrol(store)
        pace = _paced(
            len(frames) * gateway.shape.readings,
            lambda: [
                store.append(frames[at : at + batch], START + len(frames) * MINUTE)
                for at in range(0, len(frames), batch)
            ],
        )
        held = store.counts()
    if (held.blocks, held.readings) != (len(frames), len(frames) * gateway.shape.readings):
        raise SystemExit(f"found {held}, expected {len(frames)} blocks of {gateway.shape.readings} readings")
    return pace


def _audited(path: Path, span: tuple[int, int] | None) -> Pace:
    with closing(audit_file.open_file(path)) as db:
        (gateway,) = audit.gateways(db)
        (readings,) = db.execute("SELECT readings FROM gateways").fetchone()
        one = audit.Audit(db, gateway, lambda _: None)
        return _paced(readings, lambda: _check(one, span, readings))


def _check(one: audit.Audit, span: tuple[int, int] | None, readings: int) -> None:
    found = one.run(None, span)
    if found.found or found.readings != readings:
        raise SystemExit(f"found {found}, expected {readings} readings and nothing that differs")


def _paced(readings: int, run: Callable[[], object]) -> Pace:
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return Pace(readings / (time.process_time() - cpu), readings / (time.perf_counter() - wall))


class _Fresh:
    """Holdings of a gateway of which nothing is held but its configuration."""

    def __init__(self, gateway: Gateway) -> None:
        self._configuration = (siteconfig.digest(gateway.config), gateway.installation)

    def held(self, epoch: int, seq: int) -> bytes | None:
        return None

    def beginning(self, epoch: int, previous: bytes) -> Beginning | None:
        return None

    def configuration(self, number: int) -> tuple[bytes, Installation] | None:
        return self._configuration


def _stages(gateway: Gateway, frames: Sequence[bytes]) -> Iterator[tuple[str, float]]:
    some, layouts, key = frames[:128], Layouts(), gateway.key.public
    sealed = [transport.unpack(frame) for frame in some]
    opened = [block.open_block(one, key) for one in sealed]
    pairs = list(zip(sealed, opened, strict=True))
    data = [(one.envelope[-64:], one.envelope) for one in sealed]
    fast = verifier(key)
    yield "a signature by itself, by cryptography", _each(data, lambda pair: _verify(key, *pair))
    yield "a signature by itself, by libsodium", _each(data, lambda pair: _verify(fast, *pair))
    yield "unzip and cut", _each(some, transport.unpack)
    yield "check the signature, read the header", _each(sealed, lambda one: block.open_header(one.envelope, key))
    yield "check the leaves under the root", _each(pairs, lambda pair: block.check_root(pair[1][0], pair[0].chunks))
    yield "read the chunks", _each(pairs, lambda pair: block.open_chunks(pair[1][0], pair[0].chunks))
    yield "replay every reply, block by block", _each(opened, lambda pair: _replay(gateway, layouts, pair[1]))
    yield "examine: all of the above, together", _once(lambda: _examined(gateway, some), len(some))
    contents, book = _examined(gateway, some), Book(Memory())
    yield "book the intervals, together", _once(lambda: _book(book, contents), len(some))


def _verify(key: Verifier, signature: bytes, data: bytes) -> None:
    """Check a wrong signature: it costs the same."""
    try:
        key.verify(signature, data)
    except Exception:  # noqa: BLE001 - it is wrong; what it costs is asked
        return
    raise SystemExit("found a right signature over other bytes")


def _book(book: Book, contents: Sequence[tuple[Header, Content]]) -> None:
    for header, content in contents:
        book.book(header, content)
    book.take()


def _replay(gateway: Gateway, layouts: Layouts, chunks: Sequence[Chunk]) -> None:
    for chunk in chunks:
        for track in chunk.tracks:
            replay_track(gateway.installation.drivers[chunk.device], track, layouts)


def _examined(gateway: Gateway, frames: Sequence[bytes]) -> list[tuple[Header, Content]]:
    examiner, holdings = Examiner(), _Fresh(gateway)
    head = Head(0, 0, hashlib.sha256(gateway.enrolment).digest(), None, None, 0)
    contents = []
    for at in range(0, len(frames), BATCH):
        examiner.expect(frames[at : at + BATCH])
        for frame in frames[at : at + BATCH]:
            trust = Trust(gateway.key.public.id, gateway.key.public, False, head)
            finding = examiner.examine(trust, holdings, frame, START + BLOCKS * MINUTE)
            if finding.head is None or finding.opened is None or finding.opened.content is None:
                raise SystemExit(f"found {finding.verdict}, expected a block that is stored")
            head = finding.head
            contents.append((finding.opened.header, finding.opened.content))
    return contents


def _each(items: Sequence[T], run: Callable[[T], object]) -> float:
    return statistics.median([_once(partial(run, item), 1) for item in items])


def _once(run: Callable[[], object], count: int) -> float:
    began = time.process_time()
    run()
    return (time.process_time() - began) / count * 1e6


if __name__ == "__main__":
    main()
