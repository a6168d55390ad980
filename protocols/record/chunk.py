"""A chunk: what one device was asked and answered in one block; a leaf of the block's Merkle tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Self

from protocols.errors import ChainError, EncodingError
from protocols.record import cbor, shape

SILENT, DAMAGED, REFUSED, IMPOSSIBLE, OVERRUN, BACK_OFF, PORT_GONE = range(1, 8)
"""Fault codes. The last three mean that the device was not asked."""
MOST_TRACKS = 1024
"""Of all chunks of a block together."""
MOST_REPLIES = 1 << 16
"""Of a track."""


@dataclass(frozen=True, slots=True)
class Track:
    """All exchanges of a device with the same request and the same reply length.

    ``times``: of the first reply byte, ms since block start. ``columns``: the first byte of every reply, then the
    second of every reply, and so on.
    """

    request: bytes
    reply_length: int
    times: tuple[int, ...]
    columns: bytes

    @classmethod
    def of(cls, request: bytes, times: Sequence[int], replies: Sequence[bytes]) -> Self:
        """The track of these replies, all of one length; EncodingError when they are not, or there is none."""
        lengths = {len(reply) for reply in replies}
        if len(lengths) != 1 or len(times) != len(replies):
            found = f"{len(times)} times and {len(replies)} replies of the lengths {sorted(lengths)}"
            raise EncodingError(f"track: found {found}, expected one time a reply and one length")
        joined, length = b"".join(replies), lengths.pop()
        return cls(request, length, tuple(times), b"".join([joined[i::length] for i in range(length)]))

    def replies(self) -> list[bytes]:
        """Each reply as it came."""
        count = len(self.times)
        return [self.columns[i::count] for i in range(count)]


@dataclass(frozen=True, slots=True)
class Fault:
    """A question without an answer: ms since block start, index of the request in the plan, fault code 1..7."""

    at: int
    query: int
    code: int


@dataclass(frozen=True, slots=True)
class Counters:
    """How many questions the plan held in this block, and what became of them; impossible values count as damaged."""

    due: int
    asked: int
    answered: int
    silent: int
    damaged: int
    refused: int

    @classmethod
    def of(cls, tracks: Sequence[Track], faults: Sequence[Fault], undeclared: int = 0) -> Self:
        """Count these exchanges and faults. ``undeclared``: questions lost in a gap that only an event tells of."""
        codes = [0] * (PORT_GONE + 1)
        for fault in faults:
            codes[fault.code] += 1
        answered = sum(len(track.times) for track in tracks)
        damaged = codes[DAMAGED] + codes[IMPOSSIBLE]
        asked = answered + codes[SILENT] + damaged + codes[REFUSED]
        not_asked = codes[OVERRUN] + codes[BACK_OFF] + codes[PORT_GONE]
        due = asked + not_asked + undeclared
        return cls(due, asked, answered, codes[SILENT], damaged, codes[REFUSED])


@dataclass(frozen=True, slots=True)
class Chunk:
    """One device in one block. ``clock``: the meter's own clock (UTC ms) and its difference from ours, when read."""

    device: int
    device_digest: bytes
    tracks: tuple[Track, ...]
    faults: tuple[Fault, ...]
    counters: Counters
    clock: tuple[int, int] | None
    salt: bytes

    def to_bytes(self) -> bytes:
        """The leaf, in the one way to write it; EncodingError."""
        return cbor.encode(_written(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The chunk in a leaf; EncodingError on its form, ChainError when its counts do not add up."""
        return cls._of(cbor.decode_to_shape(data))

    @classmethod
    def of_item(cls, data: bytes, value: Any) -> Self:
        """The chunk in a leaf that ``cbor.cut`` has found to say ``value``; EncodingError, ChainError."""
        cbor.check_written(value, data)
        return cls._of(value)

    @classmethod
    def _of(cls, value: Any) -> Self:
        device, digest, tracks, faults, counters, clock, salt = shape.fields(value, 7, "chunk")
        if len(shape.array(tracks, "chunk tracks")) > MOST_TRACKS:
            raise EncodingError(f"chunk tracks: found {len(tracks)}, expected at most {MOST_TRACKS}")
        chunk = cls(
            shape.unsigned(device, "chunk device"),
            shape.octets(digest, "chunk device digest", 16),
            tuple([_track(track) for track in tracks]),
            tuple([_fault(fault) for fault in shape.array(faults, "chunk faults")]),
            _counters(counters),
            None if clock is None else _clock(clock),
            shape.octets(salt, "chunk salt", 16),
        )
        check(chunk)
        return chunk


def check(chunk: Chunk) -> None:
    """Check that the counters say what the tracks and faults say, and that no two tracks belong in one; ChainError."""
    if len({(track.request, track.reply_length) for track in chunk.tracks}) != len(chunk.tracks):
        raise ChainError(f"device {chunk.device}: found a request and reply length in two tracks, expected them in one")
    found, counted = chunk.counters, Counters.of(chunk.tracks, chunk.faults)
    if found == counted:
        return
    if found.asked != found.answered + found.silent + found.damaged + found.refused:
        raise ChainError(
            f"device {chunk.device}: found {found}, expected asked = answered + silent + damaged + refused"
        )
    if _outcomes(found) != _outcomes(counted):
        raise ChainError(f"device {chunk.device}: found {found}, expected {counted} from its tracks and faults")
    if found.due < counted.due:
        raise ChainError(
            f"device {chunk.device}: found {found.due} due, expected at least {counted.due}: asked and not asked"
        )


def undeclared(chunk: Chunk) -> int:
    """How many questions were due that no track and no fault tells of: only a declared gap may explain them."""
    not_asked = sum([fault.code >= OVERRUN for fault in chunk.faults])
    return chunk.counters.due - chunk.counters.asked - not_asked


def differences(times: Sequence[int]) -> list[int]:
    """The first time, and how much later each of the others is than the one before."""
    return [*times[:1], *(later - earlier for earlier, later in pairwise(times))]


def _outcomes(counters: Counters) -> tuple[int, int, int, int]:
    return counters.answered, counters.silent, counters.damaged, counters.refused


def _written(chunk: Chunk) -> dict[int, Any]:
    counters = chunk.counters
    return {
        0: chunk.device,
        1: chunk.device_digest,
        2: [
            {0: track.request, 1: track.reply_length, 2: differences(track.times), 3: track.columns}
            for track in chunk.tracks
        ],
        3: [[fault.at, fault.query, fault.code] for fault in chunk.faults],
        4: [counters.due, counters.asked, counters.answered, counters.silent, counters.damaged, counters.refused],
        5: None if chunk.clock is None else list(chunk.clock),
        6: chunk.salt,
    }


def _track(value: Any) -> Track:
    request, length, times, columns = shape.fields(value, 4, "track")
    shape.unsigned(length, "track reply length")
    shape.array(times, "track times")
    shape.octets(columns, "track columns")
    if len(times) > MOST_REPLIES:
        raise EncodingError(f"track: found {len(times)} replies, expected at most {MOST_REPLIES}")
    if not times or not length:
        raise EncodingError(
            f"track: found {len(times)} times of replies of {length} bytes, expected at least one of each"
        )
    shape.integers(times, "track times")
    if len(columns) != length * len(times):
        raise EncodingError(f"track: found {len(columns)} bytes, expected {len(times)} replies of {length}")
    return Track(shape.octets(request, "track request"), length, tuple(accumulate(times)), columns)


def _counters(value: Any) -> Counters:
    return Counters(*[shape.unsigned(count, "chunk counters") for count in shape.array(value, "chunk counters", 6)])


def _fault(value: Any) -> Fault:
    at, query, code = shape.array(value, "fault", 3)
    if shape.unsigned(code, "fault code", PORT_GONE) == 0:
        raise EncodingError("fault code: found 0, expected 1 to 7")
    return Fault(shape.unsigned(at, "fault time"), shape.unsigned(query, "fault query"), code)


def _clock(value: Any) -> tuple[int, int]:
    meter, difference = shape.array(value, "meter clock", 2)
    return shape.integer(meter, "meter clock"), shape.integer(difference, "meter clock")
