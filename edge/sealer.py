"""From committed exchanges to a signed block (pure): a chunk a device, counters that add up, the chain's next link."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from drivers.reading import Exchange
from drivers.slots import slots
from edge.belief import drift
from protocols.record import cbor
from protocols.record.block import (
    GAPS,
    Chunk,
    ClockState,
    Counters,
    Event,
    EventKind,
    Fault,
    Header,
    Sealed,
    Track,
    seal,
)
from protocols.record.chunk import OVERRUN
from protocols.record.cose import Signer

UNPLACED = -1
"""The slot of an exchange whose clock has stepped since it was due."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A device as it is asked in a block: its number, the digest of its entry, (request, period in ms) of its plan."""

    device: int
    digest: bytes
    queries: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """An exchange in an open block, and the slot (UTC ms) it concludes."""

    block: int
    slot: int
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class OpenBlock:
    """A block from its start on: all that is needed to seal it, even by another process after a crash.

    ``mono``: CLOCK_BOOTTIME ms, ``utc``: ms, both at its start. ``carried``: (device, query, slot) that were due in the
    block before and are concluded in this one.
    """

    id: int
    boot: int
    mono: int
    utc: int
    clock: ClockState
    configuration: tuple[int, bytes]
    software: tuple[str, bytes]
    plan: tuple[Planned, ...]
    events: tuple[Event, ...] = ()
    carried: tuple[tuple[int, int, int], ...] = ()

    def noting(self, event: Event) -> Self:
        """With one event more."""
        return replace(self, events=(*self.events, event))

    def to_bytes(self) -> bytes:
        """As it is kept on disk."""
        clock = self.clock
        return cbor.encode(
            [
                self.id,
                self.boot,
                self.mono,
                self.utc,
                [clock.source, clock.state, clock.error_ms, clock.last_sync_s],
                list(self.configuration),
                list(self.software),
                [[item.device, item.digest, [list(query) for query in item.queries]] for item in self.plan],
                [[int(event.kind), event.start, event.end, event.detail] for event in self.events],
                [list(job) for job in self.carried],
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """As it was kept; EncodingError."""
        number, boot, mono, utc, clock, configuration, software, plan, events, carried = cbor.decode(data)
        return cls(
            number,
            boot,
            mono,
            utc,
            ClockState(*clock),
            (configuration[0], configuration[1]),
            (software[0], software[1]),
            tuple(Planned(device, digest, tuple((r, ms) for r, ms in queries)) for device, digest, queries in plan),
            tuple(Event(*event) for event in events),
            tuple((device, query, slot) for device, query, slot in carried),
        )


@dataclass(frozen=True, slots=True)
class Link:
    """Where a block stands in its gateway's chain."""

    gateway: bytes
    epoch: int
    seq: int
    previous: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The end of a block: CLOCK_BOOTTIME ms, UTC ms as believed, and how good the clock is."""

    mono: int
    utc: int
    clock: ClockState


def close(
    block: OpenBlock,
    end: End,
    records: Iterable[Record],
    pending: Collection[tuple[int, int, int]],
    *,
    link: Link,
    salt: Callable[[], bytes],
    signer: Signer,
) -> Sealed:
    """The signed block of what was committed. ``pending``: (device, query, slot) due and carried into the next block.

    A slot in the block, or carried into it, that is neither recorded nor pending is owed: an event of a gap tells of
    it, and where there is none it is "not asked".
    """
    by_device: dict[int, list[Record]] = {item.device: [] for item in block.plan}
    for record in records:
        by_device[record.exchange.device].append(record)
    chunks = [
        chunk
        for item in block.plan
        if (chunk := _chunk(block, end, item, by_device[item.device], pending=pending, salt=salt)) is not None
    ]
    return seal(_header(block, end, link), chunks, signer)


def recover(
    block: OpenBlock,
    records: Sequence[Record],
    now: int,
    *,
    following: OpenBlock | None = None,
    link: Link,
    salt: Callable[[], bytes],
    signer: Signer,
) -> tuple[Sealed, End]:
    """The signed block that a crash left open; ``now``: UTC ms of this start.

    The last one ends at its last committed exchange. One with another open block ``following`` it in its boot ends
    where that begins, and has lost nothing but what neither it nor that block knows of.
    """
    end = _last_instant(block, records) if following is None else _joint(block, following)
    pending, until = ((), max(now, end.utc)) if following is None else (following.carried, end.utc)
    owed = [
        slot
        for item in block.plan
        for found in _slots_of(block, end, item, [r for r in records if r.exchange.device == item.device], pending)
        for slot in _owed(*found, _gaps(block.events))[1][:1]
    ]
    if owed or following is None:
        loss = Event(EventKind.POWER_LOSS, min([end.utc, *owed]), until, "the agent ended without closing this block")
        block = block.noting(loss)
    return close(block, end, records, pending, link=link, salt=salt, signer=signer), end


def _joint(block: OpenBlock, following: OpenBlock) -> End:
    """Where a block ends and the next one of its boot begins, in its own line of time."""
    lasted = following.mono - block.mono
    return End(following.mono, block.utc + lasted, _worn(following.clock, lasted))


def _last_instant(block: OpenBlock, records: Sequence[Record]) -> End:
    last = max([block.mono, *(record.exchange.at_ms for record in records)])
    placed = [record.slot + 1 for record in records]
    return End(last, max([block.utc + last - block.mono, *placed]), _worn(block.clock, last - block.mono))


def _worn(clock: ClockState, lasted: int) -> ClockState:
    """How well a clock is known after a block that nobody ended: the error holds the true time all through it."""
    return replace(clock, error_ms=clock.error_ms + drift(lasted))


def _header(block: OpenBlock, end: End, link: Link) -> Header:
    return Header(
        gateway=link.gateway,
        epoch=link.epoch,
        seq=link.seq,
        previous=link.previous,
        boot=block.boot,
        mono=(block.mono, end.mono),
        utc=(block.utc, end.utc),
        clock=end.clock,
        configuration=block.configuration,
        software=block.software,
        events=_events(block, link),
    )


def _events(block: OpenBlock, link: Link) -> tuple[Event, ...]:
    """What a block tells. The first of a later epoch has a boot event in any case: where that was opened in the course
    of a boot, the block that had it may never have been taken.
    """
    if link.seq or not link.epoch or any(event.kind == EventKind.BOOT for event in block.events):
        return block.events
    return (Event(EventKind.BOOT, block.utc, block.utc, f"start {block.boot}"), *block.events)


def _chunk(
    block: OpenBlock,
    end: End,
    item: Planned,
    records: list[Record],
    *,
    pending: Collection[tuple[int, int, int]],
    salt: Callable[[], bytes],
) -> Chunk | None:
    """The chunk of a device; None when nothing was due and nothing came."""
    spans = _slots_of(block, end, item, records, pending)
    if not records and not any(len(span) or carried for span, carried, _ in spans):
        return None
    tracks, faults = _tracks(block.mono, records), _faults(block.mono, records)
    told, gaps = 0, _gaps(block.events)
    for query, (span, carried, known) in enumerate(spans):
        count, untold = _owed(span, carried, known, gaps)
        told += count
        faults += [Fault(max(0, slot - block.utc), query, OVERRUN) for slot in untold]
    faults.sort(key=lambda fault: (fault.at, fault.query))
    counters = Counters.of(tracks, faults, told)
    return Chunk(item.device, item.digest, tracks, tuple(faults), counters, None, salt())


def _tracks(start: int, records: Iterable[Record]) -> tuple[Track, ...]:
    kinds: dict[tuple[bytes, int], tuple[list[int], list[bytes]]] = {}
    for record in records:
        exchange = record.exchange
        if exchange.fault == 0:
            times, replies = kinds.setdefault((exchange.request, len(exchange.reply)), ([], []))
            times.append(exchange.at_ms - start)
            replies.append(exchange.reply)
    return tuple(Track.of(request, times, replies) for (request, _), (times, replies) in kinds.items())


def _faults(start: int, records: Iterable[Record]) -> list[Fault]:
    return [
        Fault(max(0, record.exchange.at_ms - start), record.exchange.query, record.exchange.fault)
        for record in records
        if record.exchange.fault
    ]


def _slots_of(
    block: OpenBlock, end: End, item: Planned, records: Iterable[Record], pending: Collection[tuple[int, int, int]]
) -> list[tuple[range, list[int], set[int]]]:
    """For each question of a device its slots in the block, those carried into it, and those on record or pending."""
    known: list[set[int]] = [set() for _ in item.queries]
    carried: list[list[int]] = [[] for _ in item.queries]
    for device, query, slot in block.carried:
        if device == item.device and slot < block.utc:
            carried[query].append(slot)
    for record in records:
        known[record.exchange.query].add(record.slot)
    for device, query, slot in pending:
        if device == item.device:
            known[query].add(slot)
    return [
        (slots(period, block.utc, end.utc), carried[query], known[query])
        for query, (_, period) in enumerate(item.queries)
    ]


def _gaps(events: Iterable[Event]) -> list[tuple[int, int]]:
    return sorted((event.start, event.end + 1) for event in events if event.kind in GAPS)


def _owed(
    span: range, carried: Iterable[int], known: Collection[int], gaps: Collection[tuple[int, int]]
) -> tuple[int, list[int]]:
    """Slots that nothing accounts for: how many lie in a gap that an event tells of, and the others. A gap may last
    for weeks: what lies in it is counted, never listed.
    """
    lost = [slot for slot in carried if slot not in known]
    untold = [slot for slot in lost if not any(start <= slot < end for start, end in gaps)]
    told, at = len(lost) - len(untold), span.start
    for start, end in gaps:
        untold += [slot for slot in slots(span.step, at, min(start, span.stop)) if slot not in known]
        inside = slots(span.step, max(at, start), min(end, span.stop))
        told += len(inside) - sum(slot in inside for slot in known)
        at = max(at, min(end, span.stop))
    untold += [slot for slot in slots(span.step, at, span.stop) if slot not in known]
    return told, untold
