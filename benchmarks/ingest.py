"""How fast the collector takes in blocks: readings per second verified, replayed, booked and stored, on one core.

Frames of a minute are signed beforehand; what is measured is ``Store.append`` on a file on this disk, with its commit
and its receipt, in batches as a gateway sends them when it catches up, and one by one, until all of it is booked. Then
the same file is audited: all of it, and its blocks alone (signature, link, root, plan, replay). The four take turns,
round after round. The stages are measured apart on the same frames. Readings a second are by the CPU time of the
process, in the rounds in which the core was as fast as it can be and in all (``benchmarks/pace.py``); the wall clock
stands beside them.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.fleet import LARGE, MINUTE, SMALL, START, Gateway
from benchmarks.pace import STEPS, Round, loop_s, measure, pace
from cloud import audit, audit_file
from cloud.booking import Book
from cloud.cycles import look_seldom
from cloud.ingest import Beginning, Content, Examiner, Head, Trust
from cloud.reader import Coming
from cloud.running import Memory
from cloud.signatures import verifier
from cloud.store import Store
from drivers.columns import Layouts, replay_track
from drivers.installation import Installation
from drivers.steps import finished
from protocols.record import block, siteconfig, transport
from protocols.record.block import Chunk, Header
from protocols.record.cose import PrivateKey, Verifier

BLOCKS, BATCH, ROUNDS = 640, 64, 12
SOME, TURNS = 128, 7
"""Blocks whose stages are measured, and how often."""
TARGETS = {SMALL: 1_500_000, LARGE: 4_000_000}
AUDITED = 5_000_000
TAKEN, SINGLY = "taken in, in batches", "taken in, a commit for every block"
ALL, BLOCKS_ALONE = "audited, all of it", "audited, the blocks"
Stage = tuple[str, Callable[[], object]]
"""Its name, and what is done of ``SOME`` blocks."""
T = TypeVar("T")


def main() -> None:
    """Print the throughput, and what each stage of a block costs."""
    look_seldom()
    print(
        f"one process, WAL, synchronous FULL; batches of {BATCH} blocks; {ROUNDS} rounds of each, {BLOCKS} blocks each"
    )
    for shape, target in TARGETS.items():
        gateway = Gateway(shape)
        frames = list(gateway.frames(BLOCKS))
        size = sum(map(len, frames)) / BLOCKS / shape.readings
        best = min(loop_s() for _ in range(20))
        print(f"\n{shape.readings} readings a block ({shape.meters} meters), {size:.2f} bytes a reading")
        found = _rounds(gateway, frames)
        turns = {name: [measure(SOME, work) for _ in range(TURNS)] for name, work in _stages(gateway, frames)}
        best = min([best, *[one.loop for rounds in (*found.values(), *turns.values()) for one in rounds]])
        print(f"a loop of {STEPS:,} steps took {best * 1e3:.1f} ms at its best")
        aims = {TAKEN: target, ALL: AUDITED}
        for what, rounds in found.items():
            aim = f" (aim: {aims[what]:,})" if what in aims else ""
            print(f"{what + aim:<55}{pace(rounds, best)}")
        for name, rounds in turns.items():
            shown = pace(rounds, best)
            print(f"  {name:<42}{1e6 / shown.fast:8.1f} us a block ({shown.quick} of {TURNS} turns)")


def _rounds(gateway: Gateway, frames: Sequence[bytes]) -> dict[str, list[Round]]:
    found: dict[str, list[Round]] = {TAKEN: [], SINGLY: [], ALL: [], BLOCKS_ALONE: []}
    span = (START, START + BLOCKS * MINUTE)
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "batches.db"
            found[TAKEN].append(_taken(gateway, frames, path, BATCH))
            found[ALL].append(_audited(path, None))
            found[BLOCKS_ALONE].append(_audited(path, span))
            found[SINGLY].append(_taken(gateway, frames[:SOME], Path(folder) / "singly.db", 1))
    return found


def _taken(gateway: Gateway, frames: Sequence[bytes], path: Path, batch: int) -> Round:
    with Store(path, PrivateKey.generate()) as store:
        gateway.enrol(store)
        found = measure(len(frames) * gateway.shape.readings, lambda: _take(store, frames, batch))
        held = store.counts()
    if (held.blocks, held.readings) != (len(frames), len(frames) * gateway.shape.readings):
        raise SystemExit(f"found {held}, expected {len(frames)} blocks of {gateway.shape.readings} readings")
    return found


def _take(store: Store, frames: Sequence[bytes], batch: int) -> None:
    """All of it taken in and booked."""
    for at in range(0, len(frames), batch):
        store.append(frames[at : at + batch], START + len(frames) * MINUTE)
    store.book()


def _audited(path: Path, span: tuple[int, int] | None) -> Round:
    with audit_file.open_file(path) as db:
        (gateway,) = audit.gateways(db)
        (readings,) = db.execute("SELECT readings FROM gateways").fetchone()
        one = audit.Audit(db, gateway, lambda _: None)
        return measure(readings, lambda: _check(one, span, readings))


def _check(one: audit.Audit, span: tuple[int, int] | None, readings: int) -> None:
    found = one.run(None, span)
    if found.found or found.readings != readings:
        raise SystemExit(f"found {found}, expected {readings} readings and nothing that differs")


class _Fresh:
    """Holdings of a gateway of which nothing is held but its configuration."""

    def __init__(self, gateway: Gateway) -> None:
        self._configuration = (siteconfig.digest(gateway.config), gateway.installation)

    def held(self, epoch: int, seq: int) -> bytes | None:
        return None

    def beginning(self, header: Header) -> Beginning | None:
        return None

    def configuration(self, number: int) -> tuple[bytes, Installation] | None:
        return self._configuration


def _stages(gateway: Gateway, frames: Sequence[bytes]) -> Iterator[Stage]:
    some, layouts, key = frames[:SOME], Layouts(), gateway.key.public
    sealed = [transport.unpack(frame) for frame in some]
    opened = [block.open_block(one, key) for one in sealed]
    pairs = list(zip(sealed, opened, strict=True))
    data = [(one.envelope[-64:], one.envelope) for one in sealed]
    fast, contents = verifier(key), _examined(gateway, some)
    yield "a signature by itself, by cryptography", _each(data, lambda one: _verify(key, *one))
    yield "a signature by itself, by libsodium", _each(data, lambda one: _verify(fast, *one))
    yield "unzip and cut", _each(some, transport.unpack)
    yield "check the signature, read the header", _each(sealed, lambda one: block.open_header(one.envelope, key))
    yield "check the leaves under the root", _each(pairs, lambda pair: block.check_root(pair[1][0], pair[0].chunks))
    yield "read the chunks", _each(pairs, lambda pair: block.open_chunks(pair[1][0], pair[0].chunks))
    yield "replay every reply, block by block", _each(opened, lambda pair: _replay(gateway, layouts, pair[1]))
    yield "examine: all of the above, together", lambda: _examined(gateway, some)
    yield "book the intervals, together", lambda: _book(Book(Memory()), contents)


def _each(items: Sequence[T], run: Callable[[T], object]) -> Callable[[], None]:
    def work() -> None:
        for item in items:
            run(item)

    return work


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
    finished(book.take())


def _replay(gateway: Gateway, layouts: Layouts, chunks: Sequence[Chunk]) -> None:
    for chunk in chunks:
        for track in chunk.tracks:
            replay_track(gateway.installation.drivers[chunk.device], track, layouts)


def _examined(gateway: Gateway, frames: Sequence[bytes]) -> list[tuple[Header, Content]]:
    examiner, holdings = Examiner(), _Fresh(gateway)
    head = Head(0, 0, hashlib.sha256(gateway.enrolment).digest(), None, None, 0)
    contents = []
    key = gateway.key.public
    for at in range(0, len(frames), BATCH):
        examiner.expect([Coming(key, holdings.configuration, frames[at : at + BATCH])])
        examiner.begin()
        for frame in frames[at : at + BATCH]:
            trust = Trust(key.id, key, False, head)
            finding = examiner.examine(trust, holdings, frame, START + BLOCKS * MINUTE)
            if finding.head is None or finding.opened is None or finding.opened.content is None:
                raise SystemExit(f"found {finding.verdict}, expected a block that is stored")
            head = finding.head
            contents.append((finding.opened.header, finding.opened.content))
    return contents


if __name__ == "__main__":
    main()
