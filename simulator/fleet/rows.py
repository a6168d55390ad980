"""What is read of a record, from its bytes: frames opened with the gateway's key, replies read as registers.

Without drivers: what is judged by it has no part in it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.errors import TanmeterError
from protocols.record import transport
from protocols.record.block import Chunk, Header, open_block
from simulator.fleet.meters import MARKS, Meter
from simulator.fleet.node import Node
from simulator.fleet.witness import Acked

if TYPE_CHECKING:
    from simulator.fleet.fleet import Fleet


@dataclass(frozen=True)
class Read:
    """One answered reading of the record: when by the box's clocks, and the register."""

    device: int
    mono: int
    utc: int
    raw: int
    reply: bytes

    @property
    def mark(self) -> int:
        """Of the meter that it is of."""
        return self.raw % MARKS


@dataclass(frozen=True)
class Row:
    """One stored block. ``header`` is None where its bytes do not open."""

    epoch: int
    seq: int
    hash: bytes
    fault: str | None
    dated: bool
    header: Header | None
    chunks: tuple[Chunk, ...]

    @property
    def name(self) -> str:
        """Its place."""
        return f"{self.epoch}/{self.seq}"

    def reads(self) -> Iterator[Read]:
        """Every answer in it."""
        if self.header is not None:
            yield from reads(self.header, self.chunks)

    def meters(self, node: Node, device: int) -> list[Meter]:
        """The meters that hung there under the configuration that the block names."""
        assert self.header is not None, "only what is opened has devices"
        return node.hung_there(self.header.configuration[0], device)


def reads(header: Header, chunks: Iterable[Chunk]) -> Iterator[Read]:
    """Every answer of a block."""
    for chunk in chunks:
        for track in chunk.tracks:
            for at, reply in zip(track.times, track.replies(), strict=True):
                yield Read(chunk.device, header.mono[0] + at, header.utc[0] + at, int.from_bytes(reply[-4:]), reply)


def answers(header: Header, chunks: Iterable[Chunk]) -> Counter[Acked]:
    """The answers of a block as they were acknowledged."""
    return Counter((read.device, read.mono, read.reply) for read in reads(header, chunks))


def stored(fleet: "Fleet", node: Node) -> list[Row]:
    """Everything the collector holds of a gateway. I5: it opens with its key. I7: it says the place in which it is."""
    with fleet.central.store.booked() as db:
        held = db.execute(
            "SELECT epoch, seq, hash, fault, frame, EXISTS (SELECT 1 FROM undated AS u WHERE u.gateway = b.gateway"
            " AND u.epoch = b.epoch AND u.seq = b.seq AND u.by_seq IS NULL) FROM blocks AS b WHERE gateway = ?"
            " ORDER BY epoch, seq",
            (node.id,),
        ).fetchall()
    rows = []
    for epoch, seq, known, fault, frame, undated in held:
        row = Row(epoch, seq, known, fault, not undated, None, ())
        try:
            sealed = transport.unpack(frame)
            header, chunks = open_block(sealed, node.key.public)
        except TanmeterError as error:
            fleet.witness.tell("I5", f"gateway {node.index} {row.name}: {error}")
        else:
            row = Row(epoch, seq, known, fault, not undated, header, chunks)
            if (header.epoch, header.seq, header.gateway, sealed.hash) != (epoch, seq, node.id, known):
                told = f"gateway {node.index}: {header.epoch}/{header.seq} is kept as {row.name}"
                fleet.witness.tell("I7", told)
        rows.append(row)
    return rows


def held(fleet: "Fleet", node: Node) -> Counter[Acked]:
    """The answers that the collector holds of a gateway now."""
    with fleet.central.store.reading() as db:
        frames = db.execute("SELECT frame FROM blocks WHERE gateway = ?", (node.id,)).fetchall()
    found: Counter[Acked] = Counter()
    for (frame,) in frames:
        found.update(answers(*open_block(transport.unpack(frame), node.key.public)))
    return found
