"""What must hold of a gateway's disk: after a crash, and at rest. I1, half of I3, and the bounds of I12."""

import asyncio
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edge.config import OUTBOX
from edge.database import WAL_LIMIT
from edge.frames import checksum
from protocols.errors import TanmeterError
from protocols.record import transport
from protocols.record.block import open_block
from protocols.record.receipt import RECEIVED, SETTLED
from simulator.fleet import rows
from simulator.fleet.faults import Fault
from simulator.fleet.node import Image, Node
from simulator.fleet.witness import Acked, Place

if TYPE_CHECKING:
    from simulator.fleet.fleet import Fleet

MOST_WAL = 2 * WAL_LIMIT
LOOK_S = 60 * 86_400.0
STRETCHED_MS = 900_000
"""So long a block may become while nobody listens."""
MOST_BLOCKS = 4
"""Blocks of which exchanges may wait at once: the open one, and those that have ended and are not sealed yet."""


def on_disk(fleet: "Fleet", node: Node, left: Image) -> None:
    """I1 and I12 of the disk that a killed agent has left."""
    wal = max((len(data) for name, data in left.items() if name.endswith("-wal")), default=0)
    try:
        with opened(fleet, left) as db:
            acknowledged_is_durable(fleet, node, db)
            bounds(fleet, node, db, wal)
            delivered_is_signed_for(fleet, node, db)
    except sqlite3.DatabaseError as error:
        if not node.witness.lossy:
            fleet.witness.tell("I1", f"gateway {node.index}: its store does not open: {error}")


async def looking(fleet: "Fleet") -> None:
    """I1 of disks that nothing happens to: now and then, long before a block is so old that it may go."""
    while True:
        await asyncio.sleep(LOOK_S)
        for node in fleet.nodes:
            if node.alive:
                try:
                    with closing(sqlite3.connect(node.state / OUTBOX)) as db:
                        acknowledged_is_durable(fleet, node, db)
                        delivered_is_signed_for(fleet, node, db)
                except sqlite3.DatabaseError as error:
                    if not node.witness.lossy:
                        fleet.witness.tell("I1", f"gateway {node.index}: its store cannot be read: {error}")


@contextmanager
def opened(fleet: "Fleet", image: Image) -> Iterator[sqlite3.Connection]:
    """The store of a disk, in a place of its own."""
    with tempfile.TemporaryDirectory(dir=fleet.folder) as name:
        for file, content in image.items():
            if file.startswith(OUTBOX):
                (Path(name) / file).write_bytes(content)
        with closing(sqlite3.connect(Path(name) / OUTBOX)) as db:
            yield db


def acknowledged_is_durable(fleet: "Fleet", node: Node, db: sqlite3.Connection) -> None:
    """I1: what the agent said was on disk is on disk, in the open block or sealed, until a second copy covers it.

    Not where a disk took it that lied or rots: what it may have taken is known by exchange (``Witness.excused``). What
    a box has let go because the collector holds it in a block that the box has lost is there.
    """
    for epoch, seq, frame in db.execute(
        "SELECT epoch, seq, frame FROM block WHERE (epoch, seq) > (?, ?) ORDER BY epoch, seq", node.witness.looked_at
    ):
        node.witness.looked_at = (epoch, seq)
        try:
            node.witness.sealed[epoch, seq] = rows.answers(*open_block(transport.unpack(frame), node.key.public))
        except TanmeterError as error:
            if not node.witness.lossy:
                fleet.witness.tell("I1", f"gateway {node.index}: block {epoch}/{seq} on its disk is damaged: {error}")
    opened: Counter[Acked] = Counter(
        (device, at, reply) for device, at, reply in db.execute("SELECT device, at_ms, reply FROM open_exchange")
    )
    lost = node.witness.acked - node.witness.found_sealed() - opened - node.witness.excused
    if lost and node.witness.lossy:
        lost -= rows.held(fleet, node)
    if lost:
        fleet.witness.tell("I1", f"gateway {node.index}: {lost.total()} acknowledged exchanges are not on its disk")
    if not node.witness.lossy:
        _nothing_uncovered_is_gone(fleet, node, db)


def _nothing_uncovered_is_gone(fleet: "Fleet", node: Node, db: sqlite3.Connection) -> None:
    """I1 of sealed blocks: only what is settled is pruned, or was until the collector was lost."""
    settled = dict(db.execute("SELECT epoch, settled FROM epoch"))
    if Fault.COLLECTOR_LOST in fleet.plan.kinds:
        settled = {epoch: fleet.central.signed.get((node.id, epoch, SETTLED), 0) for epoch in settled}
    there = set(db.execute("SELECT epoch, seq FROM block"))
    gone = [place for place in node.witness.sealed if place not in there and place[1] >= settled.get(place[0], 0)]
    if gone:
        told = f"gateway {node.index}: block {gone[0][0]}/{gone[0][1]} is gone and no second copy covers it"
        fleet.witness.tell("I1", told)


def delivered_is_signed_for(fleet: "Fleet", node: Node, db: sqlite3.Connection) -> None:
    """I3 at the box: it takes for received, and for settled, only what an answer had such a receipt for."""
    for epoch, received, settled, cut, known in db.execute("SELECT epoch, received, settled, cut, sum FROM epoch"):
        if checksum((epoch, received, settled, cut)) != known:
            continue  # bits rot: the agent finds it out when it starts
        covered, copied = (fleet.central.signed.get((node.id, epoch, level), 0) for level in (RECEIVED, SETTLED))
        if settled > copied or received > max(covered, copied):
            told = f"takes {epoch}/{received} for received and {epoch}/{settled} for settled"
            fleet.witness.tell("I3", f"gateway {node.index} {told}, receipts were given up to {covered} and {copied}")


def bounds(fleet: "Fleet", node: Node, db: sqlite3.Connection, wal: int) -> None:
    """I12: the write-ahead log stays within its bound, and so does what waits to be sealed."""
    if wal > MOST_WAL:
        fleet.witness.tell("I12", f"gateway {node.index}: a write-ahead log of {wal} bytes")
    (waiting,) = db.execute("SELECT count(*) FROM open_exchange").fetchone()
    slots = max(fleet.block_ms, STRETCHED_MS) // fleet.period_ms + 2
    if waiting > (most := MOST_BLOCKS * slots * len(node.meters)):
        fleet.witness.tell("I12", f"gateway {node.index}: {waiting} exchanges wait to be sealed, at most {most} may")


def chain_of(fleet: "Fleet", image: Image) -> Place:
    """Where the chain of a disk stands."""
    with opened(fleet, image) as db:
        epoch, seq = db.execute("SELECT epoch, next_seq FROM chain").fetchone()
        return epoch, seq


def may_be_gone(fleet: "Fleet", node: Node, before: Counter[Acked], back_to: Place | None) -> Counter[Acked]:
    """What a disk may have taken that went ``back_to`` a place of its chain, where ``before`` had been acknowledged, or
    that rots.

    Bits may rot anywhere: of all that is on it only what the collector holds is safe, as long as that is not lost too.
    With the blocks that were sealed since goes what was open then: it is only at the collector, too.
    """
    forgets = fleet.plan.kinds & {Fault.COLLECTOR_OLD, Fault.COLLECTOR_LOST}
    if back_to is None:
        return node.witness.acked.copy() if forgets else node.witness.acked - rows.held(fleet, node)
    since = node.witness.acked - before
    return since | _sealed_from(fleet, node, back_to) if forgets else since


def _sealed_from(fleet: "Fleet", node: Node, place: Place) -> Counter[Acked]:
    """The answers in the blocks on a disk from a place on, as far as it can be read."""
    found: Counter[Acked] = Counter()
    with opened(fleet, node.image()) as db, suppress(sqlite3.DatabaseError):
        for (frame,) in db.execute("SELECT frame FROM block WHERE (epoch, seq) >= (?, ?)", place):
            with suppress(TanmeterError):
                found.update(rows.answers(*open_block(transport.unpack(frame), node.key.public)))
    return found
