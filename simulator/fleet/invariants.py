"""The promises, one function each: what must hold of a disk after a crash, of a fleet at rest, and of the whole record.

The record is judged here from its bytes: frames are opened with the gateways' keys and replies are read as registers,
without drivers. I3 and I7 are watched where it happens (``central``, ``network``).
"""

import hashlib
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.ahead import MOST as MOST_AHEAD
from cloud.audit import Audit
from edge.config import OUTBOX
from protocols.errors import TanmeterError
from protocols.record import transport
from protocols.record.block import Chunk, EventKind, Header, open_block
from simulator.fleet.meters import MARKS
from simulator.fleet.node import Acked, Image, Node

if TYPE_CHECKING:
    from simulator.fleet.fleet import Fleet

MOST_WAL = 16 << 20
MOST_OPEN = 20_000
SYNCHRONISED = 2
LATENCY_MS = 60
"""Between a register that was read out and the instant that is told of it."""
HUNDREDTHS = 100


@dataclass(frozen=True)
class Read:
    """One answered reading of the record: when by the box's clocks, and the register."""

    device: int
    mono: int
    utc: int
    raw: int
    reply: bytes


@dataclass(frozen=True)
class Row:
    """One stored block, opened."""

    epoch: int
    seq: int
    fault: str | None
    dated: bool
    frame: bytes
    hash: bytes
    header: Header
    chunks: tuple[Chunk, ...]

    def reads(self) -> Iterator[Read]:
        """Every answer in it."""
        for chunk in self.chunks:
            for track in chunk.tracks:
                for at, reply in zip(track.times, track.replies(), strict=True):
                    yield Read(
                        chunk.device,
                        self.header.mono[0] + at,
                        self.header.utc[0] + at,
                        int.from_bytes(reply[-4:]),
                        reply,
                    )


# ---- after a crash


def on_disk(fleet: "Fleet", node: Node, left: Image) -> None:
    """I1 and I12 of the disk that a killed agent has left; a disk that has lied may have lost what was acknowledged."""
    bounds(fleet, node, left)
    with tempfile.TemporaryDirectory(dir=fleet.folder) as name:
        for file, content in left.items():
            (Path(name) / file).write_bytes(content)
        with closing(sqlite3.connect(Path(name) / OUTBOX)) as db:
            acknowledged_is_durable(fleet, node, db)


def acknowledged_is_durable(fleet: "Fleet", node: Node, db: sqlite3.Connection) -> None:
    """I1: what the agent said was on disk is on disk, in the open block or sealed."""
    for epoch, seq, frame in db.execute(
        "SELECT epoch, seq, frame FROM block WHERE (epoch, seq) > (?, ?) ORDER BY epoch, seq", node.looked_at
    ):
        node.looked_at = (epoch, seq)
        header, chunks = open_block(transport.unpack(frame), node.key.public)
        row = Row(epoch, seq, None, True, frame, b"", header, chunks)
        node.sealed.update((read.device, read.mono, read.reply) for read in row.reads())
    pending = node.acked - node.sealed
    opened: Counter[Acked] = Counter(
        (device, at, reply) for device, at, reply in db.execute("SELECT device, at_ms, reply FROM open_exchange")
    )
    lost = pending - opened
    if lost and not node.lossy:
        fleet.witness.tell("I1", f"gateway {node.index}: {lost.total()} acknowledged exchanges are not on its disk")


def bounds(fleet: "Fleet", node: Node, left: Image) -> None:
    """I12: the write-ahead log stays within its bound."""
    wal = max((len(content) for name, content in left.items() if name.endswith("-wal")), default=0)
    if wal > MOST_WAL:
        fleet.witness.tell("I12", f"gateway {node.index}: a write-ahead log of {wal} bytes")


# ---- at rest


async def at_rest(fleet: "Fleet") -> None:
    """A day after the last fault."""
    for node in fleet.nodes:
        delivered(fleet, node)
    within_bounds(fleet)


def delivered(fleet: "Fleet", node: Node) -> None:
    """I10: the agent runs, and all but its newest block is held by the collector, by a receipt it knows."""
    if not node.alive:
        why = node.failed[-1] if node.failed else "?"
        fleet.witness.tell("I10", f"gateway {node.index} does not run: {why}")
        return
    with closing(sqlite3.connect(node.state / OUTBOX)) as db:
        epoch, seq = db.execute("SELECT epoch, next_seq FROM chain").fetchone()
        (waiting,) = db.execute("SELECT count(*) FROM open_exchange").fetchone()
    gateway = fleet.central.store.gateway(node.id)
    assert gateway is not None, "every gateway is enrolled"
    if gateway.epoch != epoch or not 0 <= seq - gateway.next_seq <= 1:
        told = f"stands at {epoch}/{seq}, the collector at {gateway.epoch}/{gateway.next_seq}"
        fleet.witness.tell("I10", f"gateway {node.index} {told}, a day after the last fault")
    if waiting > MOST_OPEN:
        fleet.witness.tell("I12", f"gateway {node.index}: {waiting} exchanges wait to be sealed")
    node.at_rest = (epoch, seq)


def within_bounds(fleet: "Fleet") -> None:
    """I12: what the collector keeps beside its chains is bounded."""
    with fleet.central.store.reading() as db:
        for gateway, count in db.execute("SELECT gateway, count(*) FROM ahead GROUP BY gateway"):
            if count > MOST_AHEAD:
                fleet.witness.tell("I12", f"{count} blocks ahead of the chain of {bytes(gateway).hex()}")


# ---- the whole record


def of_the_record(fleet: "Fleet") -> None:
    """Everything the collector holds in the end."""
    for node in fleet.nodes:
        rows = list(stored(fleet, node))
        exact_prefix(fleet, node, rows)
        what_was_read(fleet, node, rows)
        told_in_time(fleet, node, rows)
        every_slot(fleet, node, rows)
        sums(fleet, node, rows)
        no_conflict(fleet, node)
        recomputed(fleet, node)


def stored(fleet: "Fleet", node: Node) -> Iterator[Row]:
    """I5, and half of I7: each stored block opens with its gateway's key, and says the place in which it is kept."""
    with fleet.central.store.reading() as db:
        held = db.execute(
            "SELECT epoch, seq, hash, fault, frame, EXISTS (SELECT 1 FROM undated AS u WHERE u.gateway = b.gateway"
            " AND u.epoch = b.epoch AND u.seq = b.seq AND u.by_seq IS NULL) FROM blocks AS b WHERE gateway = ?"
            " ORDER BY epoch, seq",
            (node.id,),
        ).fetchall()
    for epoch, seq, known, fault, frame, undated in held:
        try:
            sealed = transport.unpack(frame)
            header, chunks = open_block(sealed, node.key.public)
        except TanmeterError as error:
            fleet.witness.tell("I5", f"gateway {node.index} {epoch}/{seq}: {error}")
            continue
        if (header.epoch, header.seq, header.gateway, sealed.hash) != (epoch, seq, node.id, known):
            fleet.witness.tell("I7", f"gateway {node.index}: {header.epoch}/{header.seq} is kept as {epoch}/{seq}")
        yield Row(epoch, seq, fault, not undated, frame, sealed.hash, header, chunks)


def exact_prefix(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """I2: within each epoch the rows are 0, 1, 2, ... without a hole, each byte for byte what the box has sealed."""
    expected: dict[int, int] = {}
    for row in rows:
        if row.seq != expected.get(row.epoch, 0):
            fleet.witness.tell("I2", f"gateway {node.index}: {row.epoch}/{row.seq} without the one before it")
        expected[row.epoch] = row.seq + 1
        if node.sent.get((row.epoch, row.seq)) != row.hash and not node.forgetful:
            fleet.witness.tell("I2", f"gateway {node.index}: {row.epoch}/{row.seq} is not what the box has sent")


def what_was_read(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """I4, I9: each answer stands once, was acknowledged by this box, and is that of the meter it is credited to."""
    found: Counter[Acked] = Counter()
    for row in rows:
        for read in row.reads():
            found[read.device, read.mono, read.reply] += 1
            if read.raw % MARKS != node.meters[read.device].mark:
                whose = f"{row.epoch}/{row.seq}: meter {read.raw % MARKS} as {node.meters[read.device].mark}"
                fleet.witness.tell("I9", f"gateway {node.index} {whose}")
    node.answers = found.total()
    if twice := found - node.acked:
        fleet.witness.tell("I4", f"gateway {node.index}: {twice.total()} answers stand that were not read, or twice")
    if node.lossy or node.at_rest is None:
        return
    behind = node.sealed - found
    if behind:
        fleet.witness.tell("I4", f"gateway {node.index}: {len(behind)} sealed answers never came to the collector")


def told_in_time(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """I8: where a block says how good its clock is, each answer was served within that of the time it is told for."""
    for row in rows:
        header = row.header
        if header.clock.state != SYNCHRONISED or any(event.kind == EventKind.CLOCK_STEP for event in header.events):
            continue
        within = header.clock.error_ms + LATENCY_MS
        for read in row.reads():
            if not node.meters[read.device].said(read.raw, read.utc, within):
                fleet.witness.tell(
                    "I8", f"gateway {node.index} {row.epoch}/{row.seq}: {read.utc} is not within {within}"
                )
                return


def every_slot(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """I6: every slot of every meter is answered once, or told of by a fault or a declared gap, never both or neither.

    Counted by UTC, where the clock was right all the time; of the others the audit holds the counters to the plan.
    """
    refused = [row for row in rows if row.fault]
    if refused and not node.lossy:
        why = f"{refused[0].epoch}/{refused[0].seq} is refused: {refused[0].fault}"
        fleet.witness.tell("I6", f"gateway {node.index}: the record of an honest box {why}")
    _every_end(fleet, node, rows)
    if node.distorted or not rows or refused:
        return
    period = fleet.period_ms
    covered = [
        (event.start, event.end)
        for row in rows
        for event in row.header.events
        if event.kind in (EventKind.BOOT, EventKind.POWER_LOSS, EventKind.GAP, EventKind.SHUTDOWN)
    ]
    for device in range(len(node.meters)):
        told: Counter[int] = Counter()
        for row in rows:
            for read in row.reads():
                if read.device == device:
                    told[read.utc // period] += 1
        faults = {
            (row.header.utc[0] + fault.at) // period
            for row in rows
            for chunk in row.chunks
            if chunk.device == device
            for fault in chunk.faults
        }
        first, last = rows[0].header.utc[0], rows[-1].header.utc[1]
        for slot in range(-(-first // period), last // period):
            if told[slot] == 0 and slot not in faults and not _declared(slot * period, period, covered):
                fleet.witness.tell("I6", f"gateway {node.index} device {device}: nothing tells of slot {slot * period}")
                return
            if told[slot] > 1:
                fleet.witness.tell("I6", f"gateway {node.index} device {device}: slot {slot * period} stands twice")
                return


def _every_end(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """The last block of each run tells how it ended."""
    ends = {EventKind.SHUTDOWN, EventKind.POWER_LOSS}
    for before, row in pairwise(rows):
        another = row.header.boot != before.header.boot and row.epoch == before.epoch
        if another and not node.lossy and not ends & {event.kind for event in before.header.events}:
            where = f"{before.epoch}/{before.seq} ends a run and does not tell how"
            fleet.witness.tell("I6", f"gateway {node.index}: {where}")


def _declared(slot: int, period: int, covered: list[tuple[int, int]]) -> bool:
    return any(start < slot + period and slot <= end for start, end in covered)


def sums(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """I4: what is booked of a meter adds up, in whole hundredths, to what it counted between its first and last reading
    that is booked.
    """
    booked: dict[int, list[Read]] = {}
    for row in rows:
        if row.fault is None and row.dated:
            for read in row.reads():
                booked.setdefault(read.device, []).append(read)
    intervals = fleet.central.store.intervals(0, 1 << 30, gateway=node.id)
    for device, reads in booked.items():
        name, meter = f"M-{device + 1}", node.meters[device]
        own = [row.interval for row in intervals if row.interval.device == name]
        total = sum((interval.consumption or Decimal(0) for interval in own), Decimal(0)) * HUNDREDTHS
        suspect = [interval for interval in own if interval.consumption is None]
        counted = meter.unrolled(reads[-1].raw, reads[0].raw)
        if not suspect and int(total) != counted and not node.distorted:
            fleet.witness.tell("I4", f"gateway {node.index} {name}: booked {total}, the meter counted {counted}")


def no_conflict(fleet: "Fleet", node: Node) -> None:
    """I7: nobody has sent a second block for a place, unless the disk took the memory of it from him."""
    with fleet.central.store.reading() as db:
        kinds = Counter(kind for (kind,) in db.execute("SELECT kind FROM incidents WHERE gateway = ?", (node.id,)))
    if (kinds["conflict"] or kinds["fork"]) and not node.lossy:
        fleet.witness.tell("I7", f"gateway {node.index}: {dict(kinds)}")


def recomputed(fleet: "Fleet", node: Node) -> None:
    """I11: every figure the collector publishes is the one that its stored bytes give again."""
    with fleet.central.store.reading() as db:
        audited = Audit(db, node.id, lambda count: None).run(fleet.central.public)
    if audited.found:
        fleet.witness.tell("I11", f"gateway {node.index}: {audited.found} differences: {audited.differences[:2]}")


def record_digest(fleet: "Fleet") -> bytes:
    """One hash over every block and every interval that is held."""
    total = hashlib.sha256()
    for node in fleet.nodes:
        with fleet.central.store.reading() as db:
            for row in db.execute("SELECT epoch, seq, hash FROM blocks WHERE gateway = ? ORDER BY 1, 2", (node.id,)):
                total.update(repr(row).encode())
    return total.digest()
