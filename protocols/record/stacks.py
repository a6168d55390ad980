"""Like chunks of many blocks read at once, as rows of one matrix of bytes: with numpy, for whoever reads in bulk.

A gateway says the same things minute after minute: a chunk of a device that answered all it was asked differs from the
one before in its times, its replies and its salt, and in nothing else. A ``Form`` is all the rest, byte for byte;
``Forms`` finds chunks that may have one, and ``stack`` holds them to it: what then stands in them is what ``cbor`` and
the rules of the record come to (``tests/record/test_stacks.py``). All else is read by these, which also say what is
wrong with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.record import cbor
from protocols.record.chunk import Chunk, Counters, Track, differences

Bytes: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]

FORMS = 4
"""Kept of one device: it may answer five times in one minute and six times in the next."""
KEPT_BYTES = 16 << 20
"""Of forms, before all are dropped: enough for some thousand meters."""
FORM_BYTES = 2048
"""What a form counts for beside its arrays."""
MOST_FIXED, MOST_EXCHANGES = 4096, 1024
"""In a form: bytes that stand still, and exchanges. What is larger is read fast enough by itself."""
NEW = 8
"""So many times what it takes to know a form again takes one that is like none before."""
SALT_BYTES = 16
_KEY = 22
"""So many bytes of a chunk tell the device: its number and the digest of its entry."""
_TRACK = 7
"""So many bytes at least stand still in a track, beside its request."""
_LEAST = {1: 0, 2: 0x18, 3: 0x100, 5: 0x1_0000}
_MOST = {1: 0x17, 2: 0xFF, 3: 0xFFFF, 5: 0xFFFF_FFFF}
"""Of an unsigned integer that is written in so many bytes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a track lies: which of the times are its own, and where its replies begin."""

    first: int
    count: int
    reply_length: int
    start: int

    @property
    def end(self) -> int:
        """Behind its replies."""
        return self.start + self.count * self.reply_length


@dataclass(frozen=True, slots=True, eq=False)
class Skeleton:
    """What is where in a chunk of ``size`` bytes; it may be that of many devices.

    ``fixed``: the bytes that stand still. ``numbers``: four bytes for each difference between times, high byte first,
    of which those that are not there are the zero byte behind the chunk; each is at least ``least``, and at most
    ``reach`` more. ``lead``: the bytes before the first time; ``tail``: those between the last reply and the salt.
    """

    size: int
    fixed: NDArray[np.intp]
    numbers: NDArray[np.intp]
    least: NDArray[np.uint32]
    reach: NDArray[np.uint32]
    places: tuple[Place, ...]
    counters: Counters
    lead: int
    tail: int

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return self.fixed.nbytes + self.numbers.nbytes + self.least.nbytes + self.reach.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What chunks of a device have in common. ``expected``: the bytes that stand still; ``lead``: those before the
    first time; ``tail``: those before the salt.
    """

    device: int
    digest: bytes
    requests: tuple[bytes, ...]
    skeleton: Skeleton
    expected: bytes
    lead: bytes
    tail: bytes

    def may_begin(self, data: bytes, at: int) -> bool:
        """Whether a chunk that begins at ``at`` can have this form; ``stack`` finds out whether it has."""
        salt = at + self.skeleton.size - SALT_BYTES
        return (
            data.startswith(self.lead, at)
            and data.startswith(self.tail, salt - len(self.tail))
            and salt + SALT_BYTES <= len(data)
        )

    def chunk(self, leaf: bytes, times: Sequence[Sequence[int]]) -> Chunk:
        """The chunk in a leaf of this form, with the times of its tracks."""
        laid = zip(self.requests, times, self.skeleton.places, strict=True)
        tracks = tuple(
            [
                Track(request, place.reply_length, tuple(own), leaf[place.start : place.end])
                for request, own, place in laid
            ]
        )
        return Chunk(self.device, self.digest, tracks, (), self.skeleton.counters, None, leaf[-SALT_BYTES:])


class Forms:
    """The forms seen so far; hold one for a thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, list[Form]] = {}
        self._skeletons: dict[tuple[object, ...], Skeleton] = {}
        self._bytes = 0

    def of(self, data: bytes, at: int) -> Form | None:
        """The form that the chunk which begins at ``at`` may have; None: none that is known."""
        for form in self._known.get(data[at : at + _KEY], ()):
            if form.may_begin(data, at):
                return form
        return None

    def learn(self, chunk: Chunk, leaf: bytes) -> int:
        """Remember the form of a chunk, read by the rules, in which every question was answered; what that took, in
        times of what an exchange takes.
        """
        if (steps := _steps(chunk)) is None:
            return 0
        if self._bytes > KEPT_BYTES:
            self._known, self._skeletons, self._bytes = {}, {}, 0
        labour, shape = chunk.counters.answered + len(chunk.tracks), _shape(chunk, leaf, steps)
        if (skeleton := self._skeletons.get(shape)) is None:
            labour *= NEW
            if (skeleton := _skeleton(chunk, steps)) is None:
                return labour
            self._skeletons[shape] = skeleton
            self._bytes += FORM_BYTES + 2 * skeleton.nbytes
        self._remember(chunk, leaf, skeleton)
        return labour

    def _remember(self, chunk: Chunk, leaf: bytes, skeleton: Skeleton) -> None:
        """Put the form of a chunk before the others of its device, unless it is one of them."""
        key, held = leaf[:_KEY], self._known.get(leaf[:_KEY], [])
        expected = np.frombuffer(leaf, np.uint8).take(skeleton.fixed).tobytes()
        if any(form.skeleton is skeleton and form.expected == expected for form in held):
            return
        requests = tuple([track.request for track in chunk.tracks])
        ends = leaf[: skeleton.lead], leaf[-SALT_BYTES - skeleton.tail : -SALT_BYTES]
        self._known[key] = [
            Form(chunk.device, chunk.device_digest, requests, skeleton, expected, *ends),
            *held[: FORMS - 1],
        ]
        self._bytes += FORM_BYTES + len(expected)


@dataclass(frozen=True, slots=True)
class Stack:
    """Chunks of one skeleton, one a row. ``times``: of each track, rows by replies. ``misfits``: which are not what
    they look like, or have a reply outside their block; of them nothing is known.
    """

    skeleton: Skeleton
    matrix: Bytes
    times: tuple[NDArray[np.int64], ...]
    misfits: Mask

    def columns(self, track: int) -> Bytes:
        """The replies of a track: rows by bytes of a reply by replies."""
        place = self.skeleton.places[track]
        laid = self.matrix[:, place.start : place.end]
        return laid.reshape(len(laid), place.reply_length, place.count)


def stack(skeleton: Skeleton, forms: Sequence[Form], leaves: Sequence[bytes], spans: Sequence[int]) -> Stack:
    """The chunks in these leaves, each of the form that it may have by ``Forms.of``; ``spans``: how long the block of
    each lasts (ms).
    """
    matrix = np.frombuffer(b"\0".join([*leaves, b""]), np.uint8).reshape(len(leaves), skeleton.size + 1)
    expected, fixed = b"".join([form.expected for form in forms]), matrix.take(skeleton.fixed, axis=1)
    misfits = np.zeros(len(leaves), np.bool_)
    if fixed.tobytes() != expected:
        misfits |= (fixed != np.frombuffer(expected, np.uint8).reshape(fixed.shape)).any(axis=1)
    numbers = matrix.take(skeleton.numbers, axis=1).view(">u4").astype(np.uint32)
    outside = numbers - skeleton.least > skeleton.reach  # below the least it wraps around, far beyond
    if outside.any():
        misfits |= outside.any(axis=1)
    ends, times = np.array(spans, np.int64), []
    for place in skeleton.places:
        own = numbers[:, place.first : place.first + place.count].cumsum(axis=1, dtype=np.int64)
        misfits |= own[:, -1] > ends
        times.append(own)
    return Stack(skeleton, matrix, tuple(times), misfits)


class _Mould:
    """A skeleton in the making: the bytes of a chunk one part after another."""

    def __init__(self) -> None:
        self.size = 0
        self.fixed: list[int] = []
        self.numbers: list[list[int]] = []
        self.widths = b""
        self.places: list[Place] = []

    def put(self, data: bytes) -> None:
        """Bytes that stand still."""
        self.fixed += range(self.size, self.size + len(data))
        self.size += len(data)

    def track(self, track: Track, widths: bytes) -> None:
        """A track with differences of these widths between its times."""
        self.put(b"\xa4\x00" + cbor.encode(track.request) + b"\x01" + cbor.encode(track.reply_length))
        self.put(b"\x02" + _head([0] * len(widths), len(widths)))
        first = len(self.numbers)
        for width in widths:
            begin = self.size + (width > 1)
            self.fixed += range(self.size, begin)
            self.size += width
            self.numbers.append([*range(begin, self.size)])
        self.widths += widths
        self.put(b"\x03" + _head(bytes(len(track.columns)), len(track.columns)))
        self.places.append(Place(first, len(widths), track.reply_length, self.size))
        self.size += len(track.columns)


def _steps(chunk: Chunk) -> list[list[int]] | None:
    """The differences between the times of each track; None for a chunk that has no form: where a question was not
    answered, where the device said its clock, where time goes back or far, or what is too large.
    """
    it, answered = chunk.counters, sum([len(track.times) for track in chunk.tracks])
    if chunk.faults or chunk.clock is not None or not 0 < answered <= MOST_EXCHANGES or it.due != answered:
        return None
    if sum([len(track.request) + _TRACK for track in chunk.tracks]) > MOST_FIXED:
        return None
    steps = [differences(track.times) for track in chunk.tracks]
    if min(map(min, steps)) < 0 or max(map(max, steps)) > _MOST[5]:
        return None
    return steps


def _shape(chunk: Chunk, leaf: bytes, steps: Sequence[Sequence[int]]) -> tuple[object, ...]:
    """All that tells where in a chunk what is: its skeleton is that of every other of this shape."""
    tracks = zip(chunk.tracks, steps, strict=True)
    return (len(leaf), *[(len(track.request), track.reply_length, _widths(own)) for track, own in tracks])


def _widths(steps: Sequence[int]) -> bytes:
    """In how many bytes each is written."""
    return bytes([1 if step <= _MOST[1] else 2 if step <= _MOST[2] else 3 if step <= _MOST[3] else 5 for step in steps])


def _skeleton(chunk: Chunk, steps: Sequence[Sequence[int]]) -> Skeleton | None:
    """What is where in a chunk with these differences between its times; None where too much of it stands still."""
    mould, count, it = _Mould(), len(chunk.tracks), chunk.counters
    head = b"\xa7\x00" + cbor.encode(chunk.device) + b"\x01" + cbor.encode(chunk.device_digest)
    mould.put(head + b"\x02" + _head([0] * count, count))
    for track, own in zip(chunk.tracks, steps, strict=True):
        mould.track(track, _widths(own))
    tail = b"\x03\x80\x04" + cbor.encode([it.due, it.asked, it.answered, 0, 0, 0]) + b"\x05\xf6\x06\x50"
    mould.put(tail)
    size = mould.size + SALT_BYTES
    padded = [[size] * (4 - len(held)) + held for held in mould.numbers]
    if len(mould.fixed) > MOST_FIXED:
        return None
    return Skeleton(
        size,
        np.array(mould.fixed, np.intp),
        np.array(padded, np.intp).ravel(),
        np.array([_LEAST[width] for width in mould.widths], np.uint32),
        np.array([_MOST[width] - _LEAST[width] for width in mould.widths], np.uint32),
        tuple(mould.places),
        it,
        mould.numbers[0][0] - (mould.widths[0] > 1),
        len(tail),
    )


def _head(value: list[int] | bytes, size: int) -> bytes:
    """What stands before so many zeros, of one byte each."""
    return cbor.encode(value)[:-size]
