"""The promises of a fleet at rest and of its whole record, one function each.

I1 and half of I3 and I12 are judged where a disk is seen (``disk``), I5 and half of I7 where a record is read
(``rows``), I6 in ``slots``; the other halves of I3, I5 and I7 are watched where it happens (``central``, ``network``).
"""

import hashlib
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from cloud.ahead import MOST as MOST_AHEAD
from cloud.audit import Audit
from cloud.difference import Difference
from cloud.doubt import PROOF
from edge.config import OUTBOX
from protocols.errors import SignatureError
from protocols.record.receipt import SETTLED
from simulator.fleet import disk, slots
from simulator.fleet.meters import POINT
from simulator.fleet.node import Node
from simulator.fleet.rows import Read, Row, stored
from simulator.fleet.witness import Acked, Place

if TYPE_CHECKING:
    from simulator.fleet.fleet import Fleet

UNKNOWN = 0
LATENCY_MS = 60
"""Between a register that was read out and the instant that is told of it."""
DATED_MS = 1_577_836_800_000
"""2020-01-01: a box that knew no time of day believed to be before it; its block's age is told by those behind it."""
HUNDREDTHS = 100
ENOUGH = 2 * PROOF
"""Readings of a meter by which it is known for another one, some of them in doubt or late."""
EVER_MS = 1 << 50
SEEN_BY = {"receipt": "I3", "enrolment": "I5", "configuration": "I5", "block": "I2", "event": "I2", "head": "I2"}
"""Who a difference of an audit belongs to; all others are figures."""


# ---- at rest


async def at_rest(fleet: "Fleet") -> None:
    """Long after the last fault."""
    for node in fleet.nodes:
        delivered(fleet, node)
    within_bounds(fleet)


def delivered(fleet: "Fleet", node: Node) -> None:
    """I10: the agent runs, all but its newest block is held by the collector, and a second copy covers what could be
    copied and told of since.
    """
    if not node.alive:
        why = node.failed[-1] if node.failed else "?"
        fleet.witness.tell("I10", f"gateway {node.index} does not run: {why}")
        return
    with closing(sqlite3.connect(node.state / OUTBOX)) as db:
        disk.acknowledged_is_durable(fleet, node, db)
        disk.bounds(fleet, node, db, (node.state / f"{OUTBOX}-wal").stat().st_size)
        disk.delivered_is_signed_for(fleet, node, db)
        epoch, seq = db.execute("SELECT epoch, next_seq FROM chain").fetchone()
        node.witness.cuts = dict(db.execute("SELECT epoch, cut FROM epoch"))
        (settled,) = db.execute("SELECT settled FROM epoch WHERE epoch = ?", (epoch,)).fetchone()
        (oldest,) = db.execute(
            "SELECT min(utc_end) FROM block WHERE epoch = ? AND seq >= ? AND utc_end >= ?", (epoch, settled, DATED_MS)
        ).fetchone()
    gateway = fleet.central.store.gateway(node.id)
    assert gateway is not None, "every gateway is enrolled"
    if gateway.epoch != epoch or not 0 <= seq - gateway.next_seq <= 1:
        told = f"stands at {epoch}/{seq}, the collector at {gateway.epoch}/{gateway.next_seq}"
        fleet.witness.tell("I10", f"gateway {node.index} {told}, long after the last fault")
        return
    node.witness.at_rest = (gateway.epoch, gateway.next_seq)
    since = node.clock.true_ms() - (oldest or node.clock.true_ms())
    if since > fleet.shape.settles_s * 1000:
        told = f"no second copy covers {epoch}/{settled}, which ended {since // 1000} s ago"
        fleet.witness.tell("I10", f"gateway {node.index}: {told}")


def within_bounds(fleet: "Fleet") -> None:
    """I12: what the collector keeps beside its chains is bounded, and none of it is of blocks that are in them."""
    with fleet.central.store.reading() as db:
        for gateway, count in db.execute("SELECT gateway, count(*) FROM ahead GROUP BY gateway"):
            if count > MOST_AHEAD:
                fleet.witness.tell("I12", f"{count} blocks ahead of the chain of {bytes(gateway).hex()}")
        (past,) = db.execute(
            "SELECT count(*) FROM ahead AS a JOIN gateways AS g USING (gateway)"
            " WHERE (a.epoch, a.seq) < (g.epoch, g.next_seq)"
        ).fetchone()
    if past:
        fleet.witness.tell("I12", f"{past} blocks are kept ahead of a chain that has come past them")


# ---- the whole record


def of_the_record(fleet: "Fleet") -> None:
    """Everything the collector holds in the end."""
    for node in fleet.nodes:
        rows = stored(fleet, node)
        exact_prefix(fleet, node, rows)
        what_was_read(fleet, node, rows)
        told_in_time(fleet, node, rows)
        slots.every_slot(fleet, node, rows)
        sums(fleet, node, rows)
        swaps_are_told(fleet, node, rows)
        no_conflict(fleet, node)
        recomputed(fleet, node)


def exact_prefix(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """I2: within each epoch the rows are 0, 1, 2, ... without a hole, each one that the box has sent. The chain at a
    collector that was lost begins later, with the oldest block that the box still has of those a second copy covered;
    where the box's disk has lost some, it goes on behind them.
    """
    epoch, seq = fleet.central.begins(node.id)
    resumed = fleet.central.resumed(node.id) if node.witness.lossy else frozenset()
    expected = {epoch: seq}
    if seq > fleet.central.signed.get((node.id, epoch, SETTLED), 0):
        fleet.witness.tell("I2", f"gateway {node.index}: begins with {epoch}/{seq}, which no second copy has covered")
    for row in rows:
        if row.seq != expected.get(row.epoch, 0) and (row.epoch, row.seq) not in resumed:
            fleet.witness.tell("I2", f"gateway {node.index}: {row.name} without the one before it")
        expected[row.epoch] = row.seq + 1
        if row.hash not in node.witness.sent.get((row.epoch, row.seq), ()):
            fleet.witness.tell("I2", f"gateway {node.index}: {row.name} is not what the box has sent")


def what_was_read(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """I4, I9: each answer stands once, was acknowledged by this box, and is that of the meter it is credited to."""
    found: Counter[Acked] = Counter()
    for row in rows:
        for read in row.reads():
            found[read.device, read.mono, read.reply] += 1
            if read.mark not in (marks := [meter.mark for meter in row.meters(node, read.device)]):
                whose = f"{row.name}: meter {read.mark} as one of {marks}"
                fleet.witness.tell("I9", f"gateway {node.index} {whose}")
    node.answers = found.total()
    if twice := found - node.witness.acked:
        fleet.witness.tell("I4", f"gateway {node.index}: {twice.total()} answers stand that were not read, or twice")
    if node.witness.at_rest is None:
        return
    behind = _wanted(node, fleet.central.begins(node.id)) - found - node.witness.excused
    if behind and all(row.header is not None for row in rows):
        fleet.witness.tell("I4", f"gateway {node.index}: {behind.total()} sealed answers never came to the collector")


def _wanted(node: Node, begins: Place) -> Counter[Acked]:
    """The answers in sealed blocks that the collector must hold: not those before its chain ``begins``, nor those
    behind a damaged block or a fork, which cannot be delivered in their epoch, nor of an epoch that went aside with a
    damaged store.
    """
    found: Counter[Acked] = Counter()
    seen = node.witness
    for place, own in seen.sealed.items():
        if seen.at_rest is not None and begins <= place < seen.at_rest and place[0] in seen.cuts:
            cut = seen.cuts[place[0]]
            if cut is None or place[1] < cut:
                found.update(own)
    return found


def told_in_time(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """I8: where a block knows the time, each answer was served within its error of the time it is told for."""
    every = [*node.hung.values(), *node.swapped.values()]
    meters = {meter.mark: meter for hung in every for meter in hung}
    for row in rows:
        if row.header is None or row.header.clock.state == UNKNOWN:
            continue
        within = row.header.clock.error_ms + LATENCY_MS
        for read in row.reads():
            meter = meters.get(read.mark)
            if meter is not None and not meter.said(read.raw, read.utc, within):
                told = f"gateway {node.index} {row.name}: {read.utc} is not within {within}"
                fleet.witness.tell("I8", told)
                return


def sums(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """I4: what is booked of a place adds up, in whole hundredths, to what each meter in it counted between its first
    and last reading that is booked; where a stretch is suspect, or a meter was swapped, to no more. None is negative.
    """
    booked = _booked(node, rows)
    found = fleet.central.store.sums(node.id, [(name, POINT) for name in booked], -EVER_MS, EVER_MS)
    by_name = {each.device: each for each in found}
    for name, stretches in booked.items():
        own = by_name.get(name)
        if own is None:
            fleet.witness.tell("I4", f"gateway {node.index} {name}: nothing is booked of {len(stretches)} meters")
            continue
        total = int(own.consumption * HUNDREDTHS)
        counted = sum(node.meters[0].unrolled(one[-1][1].raw, one[0][1].raw) for one in stretches)
        less = len(stretches) > 1 or own.suspect or own.absent
        if total > counted or (total < counted and not less):
            fleet.witness.tell("I4", f"gateway {node.index} {name}: booked {total}, the meter counted {counted}")


def _booked(node: Node, rows: list[Row]) -> dict[str, list[list[tuple[Row, Read]]]]:
    """The readings that are booked of each device, a list for each meter that was in its place, in their order; those
    of a meter that never was are for I9.
    """
    booked: dict[str, list[list[tuple[Row, Read]]]] = {}
    for row in rows:
        if row.fault is None and row.dated and row.header is not None:
            for read in row.reads():
                stretches = booked.setdefault(node.name(row.header.configuration[0], read.device), [])
                if read.mark not in [meter.mark for meter in row.meters(node, read.device)]:
                    continue
                if not stretches or stretches[-1][-1][1].mark != read.mark:
                    stretches.append([])
                stretches[-1].append((row, read))
    return booked


def swaps_are_told(fleet: "Fleet", node: Node, rows: list[Row]) -> None:
    """I13: of a meter that took another's place without a word somebody is told, in a block that holds its readings,
    once there were enough of them.
    """
    if node.witness.distorted:
        return
    with fleet.central.store.booked() as db:
        told = db.execute(
            "SELECT epoch, seq, detail FROM incidents WHERE gateway = ? AND kind IN ('reset', 'unexplained')",
            (node.id,),
        ).fetchall()
    for name, stretches in _booked(node, rows).items():
        places = {(epoch, seq) for epoch, seq, detail in told if detail.startswith(f"{name}.{POINT}:")}
        for stretch in stretches[1:]:
            if len(stretch) >= ENOUGH and places.isdisjoint((row.epoch, row.seq) for row, _ in stretch):
                mark, first = stretch[0][1].mark, stretch[0][0].name
                fleet.witness.tell("I13", f"gateway {node.index} {name}: nobody is told of meter {mark} since {first}")


def no_conflict(fleet: "Fleet", node: Node) -> None:
    """I7: nobody has sent a second block for a place, unless the disk took the memory of it from him."""
    with fleet.central.store.reading() as db:
        kinds = Counter(kind for (kind,) in db.execute("SELECT kind FROM incidents WHERE gateway = ?", (node.id,)))
    if (kinds["conflict"] or kinds["fork"]) and not node.witness.forks:
        fleet.witness.tell("I7", f"gateway {node.index}: {dict(kinds)}")


def recomputed(fleet: "Fleet", node: Node) -> None:
    """I11: every figure the collector publishes is the one that its stored bytes give again. What an audit finds beside
    the figures belongs to others.
    """
    with fleet.central.store.booked() as db:
        audited = Audit(db, node.id, lambda count: None).run(fleet.central.public)
    if audited.unbooked:
        fleet.witness.tell(
            "I11", f"gateway {node.index}: {audited.unbooked} blocks wait to be booked, asked for or not"
        )
    chained = any(difference.what == "block" for difference in audited.differences)
    for difference in audited.differences:
        if difference.what == "head" and chained:
            continue  # its counts are those of the blocks
        fleet.witness.tell(_belongs(difference), f"gateway {node.index}: {difference}")


def _belongs(difference: Difference) -> str:
    unsigned = difference.what == "block" and difference.detail.startswith(SignatureError.code)
    return "I5" if unsigned else SEEN_BY.get(difference.what, "I11")


def record_digest(fleet: "Fleet") -> bytes:
    """One hash over every block that is held, and every figure."""
    total = hashlib.sha256()
    for node in fleet.nodes:
        with fleet.central.store.booked() as db:
            for row in db.execute("SELECT epoch, seq, hash FROM blocks WHERE gateway = ? ORDER BY 1, 2", (node.id,)):
                total.update(repr(row).encode())
            for row in db.execute(
                "SELECT device, point, start, consumption, quality FROM intervals WHERE gateway = ? ORDER BY 1, 2, 3",
                (node.id,),
            ):
                total.update(repr(row).encode())
    return total.digest()
