"""The block: a signed header over the Merkle root of its chunks, one chunk a device."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgspec

from protocols.errors import ChainError, EncodingError
from protocols.record import cbor, cose, merkle, shape
from protocols.record.chunk import MOST_TRACKS, Chunk, Counters, Fault, Track, undeclared

__all__ = [
    "BLOCK_AAD",
    "BLOCK_TYPE",
    "Chunk",
    "ClockState",
    "Counters",
    "Event",
    "EventKind",
    "Fault",
    "Header",
    "Sealed",
    "Track",
    "check_root",
    "check_together",
    "open_block",
    "open_chunks",
    "open_header",
    "open_items",
    "open_payload",
    "read_header",
    "seal",
]

BLOCK_TYPE = "application/tanmeter-block+cbor"
BLOCK_AAD = b"tanmeter-block/v1"
EARLIEST_MS = -60_000
"""A reply may have begun in the block before the one it ends in; earlier than this it cannot belong here."""

MOST_EVENTS = 1024


class EventKind(IntEnum):
    """What happened to the box, in the order of RECORD.md."""

    BOOT = 1
    SHUTDOWN = 2
    POWER_LOSS = 3
    CLOCK_STEP = 4
    GAP = 5
    CONFIGURATION = 6
    KEY_CHANGE = 7
    DISK = 8
    BUS_FAULT = 9
    UPDATE = 10
    CORRECTION = 11


GAPS = frozenset({EventKind.SHUTDOWN, EventKind.POWER_LOSS, EventKind.GAP, EventKind.DISK})
"""The events that may explain why questions were due that no track and no fault tells of."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the box, from ``start`` to ``end`` (UTC ms as believed)."""

    kind: int
    start: int
    end: int
    detail: str


@dataclass(frozen=True, slots=True)
class ClockState:
    """Where UTC comes from (0 none 1 rtc 2 ntp 3 nts 4 gnss 5 technician) and how good it is.

    ``state``: 0 unknown, 1 informative, 2 synchronised. ``last_sync_s``: UTC seconds, 0 when never.
    """

    source: int
    state: int
    error_ms: int
    last_sync_s: int


class Header(msgspec.Struct, frozen=True, gc=False):
    """What is signed. ``chunks`` (number and root) is filled in by ``seal``.

    ``mono``: CLOCK_BOOTTIME ms at start and end. ``utc``: ms at start and end, as believed. ``custody``: 0 file,
    1 PKCS#11 software, 2 TPM, 3 secure element. (A struct: whoever reads in bulk makes one of every block, and a frozen
    dataclass takes thirty times as long to make.)
    """

    gateway: bytes
    epoch: int
    seq: int
    previous: bytes
    boot: int
    mono: tuple[int, int]
    utc: tuple[int, int]
    clock: ClockState
    configuration: tuple[int, bytes]
    software: tuple[str, bytes]
    events: tuple[Event, ...]
    custody: int = 0
    counter: tuple[int, int] | None = None
    checkpoint: tuple[bytes, int, bytes] | None = None
    chunks: tuple[int, bytes] = (0, b"")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A block as it is kept and sent: these bytes, never others that mean the same."""

    envelope: bytes
    chunks: tuple[bytes, ...]

    @property
    def hash(self) -> bytes:
        """SHA-256 of the envelope: what the next block names as its predecessor."""
        return hashlib.sha256(self.envelope).digest()


def seal(header: Header, chunks: Sequence[Chunk], signer: cose.Signer) -> Sealed:
    """The signed block of these chunks, laid in the order of their device numbers.

    EncodingError or ChainError on what ``open_block`` would refuse: nothing is signed that does not open again.
    """
    ordered = sorted(chunks, key=lambda chunk: chunk.device)
    leaves = tuple([chunk.to_bytes() for chunk in ordered])
    complete = msgspec.structs.replace(header, chunks=(len(leaves), merkle.root(leaves)))
    payload = cbor.encode(_written(complete))
    read_header(payload)
    for leaf in leaves:
        Chunk.from_bytes(leaf)
    check_together(complete, ordered)
    return Sealed(cose.sign1(payload, signer, BLOCK_TYPE, BLOCK_AAD), leaves)


def open_block(sealed: Sealed, key: cose.PublicKey) -> tuple[Header, tuple[Chunk, ...]]:
    """Header and chunks of a block signed by this key; SignatureError, EncodingError, ChainError.

    Signature first, then the header, then every leaf under the root, then what the leaves say. Whether the block is
    the next one of its gateway, and the plan it names was kept, is for whoever holds the chain and the configuration.
    """
    header = open_header(sealed.envelope, key)
    check_root(header, sealed.chunks)
    return header, open_chunks(header, sealed.chunks)


def check_root(header: Header, leaves: Sequence[bytes]) -> None:
    """Check that these very leaves are what was signed; ChainError."""
    count, root = header.chunks
    if count != len(leaves):
        raise ChainError(f"found {len(leaves)} chunks, expected {count}")
    if (found := merkle.root(leaves)) != root:
        raise ChainError(f"found chunks with the root {found.hex()}, expected {root.hex()}")


def open_chunks(header: Header, leaves: Sequence[bytes]) -> tuple[Chunk, ...]:
    """What the leaves say, once they are known to be under the root; EncodingError, ChainError."""
    chunks = _bounded(Chunk.from_bytes(leaf) for leaf in leaves)
    check_together(header, chunks)
    return chunks


def open_items(header: Header, items: Sequence[tuple[bytes, Any]]) -> tuple[Chunk, ...]:
    """As ``open_chunks``, for leaves that ``cbor.cut`` has decoded; EncodingError, ChainError."""
    chunks = _bounded(Chunk.of_item(leaf, value) for leaf, value in items)
    check_together(header, chunks)
    return chunks


def open_header(envelope: bytes, key: cose.Verifier) -> Header:
    """The header of an envelope signed by this key; SignatureError, EncodingError, ChainError."""
    return read_header(open_payload(envelope, key))


def open_payload(envelope: bytes, key: cose.Verifier) -> bytes:
    """The bytes of the header of an envelope signed by this key; SignatureError, EncodingError."""
    return cose.open1(envelope, key, BLOCK_TYPE, BLOCK_AAD)


def _bounded(chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
    """The chunks of a block; ChainError as soon as they are too many."""
    read, tracks = list[Chunk](), 0
    for chunk in chunks:
        read.append(chunk)
        tracks += len(chunk.tracks)
        if tracks > MOST_TRACKS:
            raise ChainError(f"found more than {MOST_TRACKS} tracks, expected at most that many in a block")
    return tuple(read)


def check_together(header: Header, chunks: Sequence[Chunk]) -> None:
    """Check a header and some of its chunks together: order, times within the block, gaps declared; ChainError."""
    span = header.mono[1] - header.mono[0]
    declared = any(_explains(event, header.utc) for event in header.events)
    last = -1
    for chunk in chunks:
        if chunk.device <= last:
            raise ChainError(f"found device {chunk.device} after {last}, expected each device once, in rising order")
        last = chunk.device
        counts = chunk.counters
        if not declared and counts.due != counts.asked and (missing := undeclared(chunk)):
            raise ChainError(
                f"device {last}: found {missing} questions due and unaccounted for, expected an event of a gap"
            )
        for track in chunk.tracks:
            first, latest = min(track.times), max(track.times)
            if first < EARLIEST_MS or latest > span:
                _check_time(first, latest, span, last)
        for fault in chunk.faults:
            _check_time(fault.at, fault.at, span, last)


def _explains(event: Event, utc: tuple[int, int]) -> bool:
    """Whether an event is a gap that touches this block. A shutdown or a power loss may last longer than the block."""
    return event.kind in GAPS and event.start <= max(utc) and event.end >= min(utc)


def _check_time(first: int, last: int, span: int, device: int) -> None:
    if first < EARLIEST_MS or last > span:
        raise ChainError(f"device {device}: found an exchange at {first} to {last} ms, expected within 0 to {span}")


def _written(header: Header) -> dict[int, Any]:
    clock = header.clock
    return {
        0: 1,
        1: header.gateway,
        2: header.epoch,
        3: header.seq,
        4: header.previous,
        5: header.boot,
        6: header.mono,
        7: header.utc,
        8: [clock.source, clock.state, clock.error_ms, clock.last_sync_s],
        9: header.configuration,
        10: header.software,
        11: header.chunks,
        12: [[int(event.kind), event.start, event.end, event.detail] for event in header.events],
        13: header.custody,
        14: header.counter,
        15: header.checkpoint,
    }


def read_header(payload: bytes) -> Header:
    """The header in a signed payload; EncodingError, ChainError."""
    version, *values = shape.fields(cbor.decode_to_shape(payload), 16, "header")
    shape.version(version, "header")
    gateway, epoch, seq, previous, boot, mono, utc, clock, site, software, chunks, events, custody, counter, tree = (
        values
    )
    header = Header(
        shape.octets(gateway, "header gateway", 16),
        shape.unsigned(epoch, "header epoch"),
        shape.unsigned(seq, "header seq"),
        shape.octets(previous, "header previous", 32),
        shape.unsigned(boot, "header boot"),
        _range(mono),
        _instants(utc),
        _clock(clock),
        _numbered(site, "header configuration"),
        _software(software),
        _events(events),
        shape.unsigned(custody, "header custody", 3),
        None if counter is None else _counter(counter),
        None if tree is None else _checkpoint(tree),
        _numbered(chunks, "header chunks"),
    )
    if header.mono[1] < header.mono[0]:
        raise ChainError(f"found monotonic time from {mono[0]} to {mono[1]}, expected an end not before its start")
    return header


def _range(value: Any) -> tuple[int, int]:
    start, end = shape.array(value, "header monotonic", 2)
    return shape.unsigned(start, "header monotonic"), shape.unsigned(end, "header monotonic")


def _instants(value: Any) -> tuple[int, int]:
    start, end = shape.array(value, "header utc", 2)
    return shape.instant(start, "header utc"), shape.instant(end, "header utc")


def _clock(value: Any) -> ClockState:
    source, state, error, last = shape.array(value, "header clock", 4)
    return ClockState(
        shape.unsigned(source, "clock source", 5),
        shape.unsigned(state, "clock state", 2),
        shape.unsigned(error, "clock error"),
        shape.unsigned(last, "clock last sync"),
    )


def _numbered(value: Any, what: str) -> tuple[int, bytes]:
    number, digest = shape.array(value, what, 2)
    return shape.unsigned(number, what), shape.octets(digest, what, 32)


def _software(value: Any) -> tuple[str, bytes]:
    name, digest = shape.array(value, "header software", 2)
    return shape.text(name, "header software"), shape.octets(digest, "header software", 32)


def _events(value: Any) -> tuple[Event, ...]:
    if len(shape.array(value, "header events")) > MOST_EVENTS:
        raise EncodingError(f"header events: found {len(value)}, expected at most {MOST_EVENTS}")
    return tuple([_event(event) for event in value])


def _event(value: Any) -> Event:
    kind, start, end, detail = shape.array(value, "event", 4)
    if shape.unsigned(kind, "event kind", max(EventKind)) == 0:
        raise ChainError("event kind: found 0, expected 1 to 11")
    return Event(kind, shape.instant(start, "event"), shape.instant(end, "event"), shape.text(detail, "event detail"))


def _counter(value: Any) -> tuple[int, int]:
    kind, count = shape.array(value, "header counter", 2)
    return shape.unsigned(kind, "header counter"), shape.unsigned(count, "header counter")


def _checkpoint(value: Any) -> tuple[bytes, int, bytes]:
    origin, size, root = shape.array(value, "header checkpoint", 3)
    return (
        shape.octets(origin, "checkpoint origin", 8),
        shape.unsigned(size, "checkpoint size"),
        shape.octets(root, "checkpoint root", 32),
    )
