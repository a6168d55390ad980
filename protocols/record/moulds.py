"""Headers and chunks read by the form of ones read before: the same bytes again, but for what changes every minute.

A gateway says the same things minute after minute. Where bytes have a form that has been seen, only what stands between
its fixed parts is read, in the one way to write it; what comes out is what ``cbor`` and the rules of the record come to
(``tests/record/test_moulds.py``). All else is read by them, which also say what is wrong with it.
"""

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from protocols.record import block, cbor, shape, transport
from protocols.record.block import ClockState, Header
from protocols.record.chunk import Chunk, Track

KEPT = 8192
"""Forms of chunks kept before all are dropped: enough for two thousand meters."""
FORMS = 4
"""Kept of one device: it may answer five times in one minute and six times in the next."""
_KEY = 22
"""So many bytes of a chunk tell the device: its number and the digest of its entry."""
_GATEWAY = slice(5, 21)
"""Where a header names its gateway."""
_TWO = 0x19
"""The head of an integer of two bytes."""
_UTC = struct.Struct(">BQBQ")
_EIGHT = 0x1B
_STRAY = (IndexError, struct.error, ValueError)
"""What comes of reading beyond the end, or of what is no such integer: the form does not fit."""


class Moulds:
    """The forms seen so far; hold one for a thread."""

    def __init__(self) -> None:
        self._headers: dict[bytes, _HeaderForm] = {}
        self._chunks: dict[bytes, list[_ChunkForm]] = {}

    def header(self, payload: bytes) -> Header:
        """As ``block.read_header``."""
        key = payload[_GATEWAY]
        if (form := self._headers.get(key)) is not None and (found := form.read(payload)) is not None:
            return found
        header = block.read_header(payload)
        if not header.events:
            if len(self._headers) >= KEPT:
                self._headers.clear()
            self._headers[key] = _HeaderForm(header)
        return header

    def chunks(self, header: Header, leaves: bytes) -> tuple[Chunk, ...]:
        """The chunks behind an envelope, once they are known to be under the root of its header; EncodingError,
        ChainError.
        """
        if (found := self._read(leaves, header.chunks[0])) is not None:
            return block.open_read(header, *found)
        items = transport.cut(leaves, header.chunks[0])
        block.check_root(header, [leaf for leaf, _ in items])
        chunks = block.open_items(header, items)
        for chunk, (leaf, _) in zip(chunks, items, strict=True):
            self._learn(chunk, leaf)
        return chunks

    def _read(self, data: bytes, count: int) -> tuple[list[bytes], list[Chunk]] | None:
        """Just so many chunks, each with its bytes; None unless all of them have a form that has been seen."""
        leaves, chunks, start = list[bytes](), list[Chunk](), 0
        for _ in range(count):
            for form in self._chunks.get(data[start : start + _KEY], ()):
                if (found := form.read(data, start)) is not None:
                    break
            else:
                return None
            chunk, end = found
            leaves.append(data[start:end])
            chunks.append(chunk)
            start = end
        return (leaves, chunks) if start == len(data) else None

    def _learn(self, chunk: Chunk, leaf: bytes) -> None:
        """Remember the form of a chunk in which every question was answered."""
        it, answered = chunk.counters, sum([len(track.times) for track in chunk.tracks])
        if chunk.faults or chunk.clock is not None or not chunk.tracks or (it.due, it.asked) != (answered, answered):
            return
        key = leaf[:_KEY]
        if key not in self._chunks and len(self._chunks) >= KEPT:
            self._chunks.clear()
        held = self._chunks.get(key, [])
        form = _ChunkForm(chunk)
        if all(form != other for other in held):
            self._chunks[key] = [form, *held[: FORMS - 1]]


class _TrackForm:
    """A track: ``lead`` stands before its times, ``middle`` between them and the columns."""

    __slots__ = ("lead", "length", "middle", "request", "rest", "size", "twos")

    def __init__(self, before: bytes, track: Track) -> None:
        count, self.request, self.length = len(track.times), track.request, track.reply_length
        written = (cbor.encode(self.request), cbor.encode(self.length), _head_of([0] * count, count))
        self.lead = b"".join((before, b"\xa4\x00", written[0], b"\x01", written[1], b"\x02", written[2]))
        self.size = len(track.columns)
        self.middle = b"\x03" + _head_of(bytes(self.size), self.size)
        self.rest, self.twos = struct.Struct(">" + "BH" * (count - 1)), (_TWO,) * (count - 1)

    def read(self, data: bytes, at: int) -> tuple[Track, int] | None:
        """The track that begins at ``at``, and where it ends; None, or one of _STRAY, when it is another one."""
        if not data.startswith(self.lead, at):
            return None
        at += len(self.lead)
        if data[at] == _TWO and data[at + 1]:
            first, at = data[at + 1] << 8 | data[at + 2], at + 3
        else:
            first, at = _unsigned(data, at)
        later = self.rest.unpack_from(data, at)
        differences: Sequence[int] = later[1::2]
        if later[::2] == self.twos and (not differences or min(differences) > 0xFF):
            at += self.rest.size
        else:
            differences, at = _several(data, at, len(self.twos))
        if not data.startswith(self.middle, at):
            return None
        start = at + len(self.middle)
        end = start + self.size
        return Track(self.request, self.length, tuple(accumulate((first, *differences))), data[start:end]), end


class _ChunkForm:
    """A chunk: its tracks, and ``tail`` between the last of them and the salt."""

    __slots__ = ("_counters", "_device", "_tail", "_tracks")

    def __init__(self, chunk: Chunk) -> None:
        it, count = chunk.counters, len(chunk.tracks)
        head = b"\xa7\x00" + cbor.encode(chunk.device) + b"\x01" + cbor.encode(chunk.device_digest) + b"\x02"
        leads = [head + _head_of([0] * count, count), *[b""] * (count - 1)]
        self._tracks = [_TrackForm(*pair) for pair in zip(leads, chunk.tracks, strict=True)]
        counts = cbor.encode([it.due, it.asked, it.answered, 0, 0, 0])
        self._tail = b"\x03\x80\x04" + counts + b"\x05\xf6\x06\x50"
        self._device, self._counters = (chunk.device, chunk.device_digest), it

    def __eq__(self, other: object) -> bool:
        """Whether it fits the same chunks."""
        return isinstance(other, _ChunkForm) and self._fixed() == other._fixed()

    __hash__ = None  # type: ignore[assignment]

    def _fixed(self) -> tuple[Any, ...]:
        return self._tail, [(track.lead, track.middle) for track in self._tracks]

    def read(self, data: bytes, at: int) -> tuple[Chunk, int] | None:
        """The chunk that begins at ``at``, and where it ends; None when it is another one."""
        tracks = []
        try:
            for form in self._tracks:
                if (found := form.read(data, at)) is None:
                    return None
                track, at = found
                tracks.append(track)
        except _STRAY:
            return None
        salt = at + len(self._tail)
        end = salt + 16
        if not data.startswith(self._tail, at) or end > len(data):
            return None
        return Chunk(*self._device, tuple(tracks), (), self._counters, None, data[salt:end]), end


class _HeaderForm:
    """A header without events: what stands before seq, before the clocks, before the root, and behind it."""

    __slots__ = ("_before", "_behind", "_clocks", "_like", "_site")

    def __init__(self, header: Header) -> None:
        self._like = header
        place = cbor.encode(header.gateway) + b"\x02" + cbor.encode(header.epoch) + b"\x03"
        self._before = b"\xb0\x00\x01\x01" + place
        self._clocks = b"\x05" + cbor.encode(header.boot) + b"\x06\x82"
        site = cbor.encode(header.configuration) + b"\x0a" + cbor.encode(header.software)
        self._site = b"\x09" + site + b"\x0b\x82" + cbor.encode(header.chunks[0]) + b"\x58\x20"
        last = (header.custody, header.counter, header.checkpoint)
        self._behind = b"\x0c\x80" + b"".join([bytes([key]) + cbor.encode(value) for key, value in enumerate(last, 13)])

    def read(self, payload: bytes) -> Header | None:
        """The header of a payload; None when it is another one."""
        try:
            return self._read(payload)
        except _STRAY:
            return None

    def _read(self, data: bytes) -> Header | None:
        like = self._like
        seq, at = _unsigned(data, len(self._before))
        previous = data[at + 3 : at + 35]
        fixed = data.startswith(self._before) and data.startswith(b"\x04\x58\x20", at)
        if not fixed or not data.startswith(self._clocks, at + 35):
            return None
        begin, at = _unsigned(data, at + 35 + len(self._clocks))
        end, at = _unsigned(data, at)
        if begin > end or not data.startswith(b"\x07\x82", at):
            return None
        one, start, other, stop = _UTC.unpack_from(data, at + 2)
        if one != _EIGHT or other != _EIGHT or not 1 << 32 <= min(start, stop) <= max(start, stop) <= shape.LAST_UTC_MS:
            return None
        clock, at = _clock(data, at + 2 + _UTC.size, like.clock)
        root = at + len(self._site)
        if clock is None or not data.startswith(self._site, at) or data[root + 32 :] != self._behind:
            return None
        return Header(
            *(like.gateway, like.epoch, seq, previous, like.boot, (begin, end), (start, stop), clock),
            *(like.configuration, like.software, (), like.custody, like.counter, like.checkpoint),
            (like.chunks[0], data[root : root + 32]),
        )


def _clock(data: bytes, at: int, like: ClockState) -> tuple[ClockState | None, int]:
    """The state of the clock, where it has a permitted one, and where it ends."""
    if not data.startswith(b"\x08\x84", at):
        return None, at
    source, at = _unsigned(data, at + 2)
    state, at = _unsigned(data, at)
    error, at = _unsigned(data, at)
    last, at = _unsigned(data, at)
    if (source, state, error, last) == (like.source, like.state, like.error_ms, like.last_sync_s):
        return like, at
    return (ClockState(source, state, error, last) if source <= 5 and state <= 2 else None), at


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned integer of at most 63 bits at ``at``, and where it ends; one of _STRAY unless it is there, written
    in the shortest way.
    """
    head = data[at]
    if head < 0x18:
        return head, at + 1
    if head > _EIGHT:
        raise ValueError("no unsigned integer")
    width = 1 << (head - 0x18)
    end = at + 1 + width
    value = int.from_bytes(data[at + 1 : end])
    if end > len(data) or value < (0x18 if width == 1 else 1 << 4 * width) or value > shape.HIGHEST:
        raise ValueError("not the shortest way, or beyond 63 bits")
    return value, end


def _several(data: bytes, at: int, count: int) -> tuple[Sequence[int], int]:
    """So many unsigned integers, as ``_unsigned``."""
    found = []
    for _ in range(count):
        value, at = _unsigned(data, at)
        found.append(value)
    return found, at


def _head_of(value: list[int] | bytes, size: int) -> bytes:
    """What stands before so many zeros, of one byte each."""
    return cbor.encode(value)[:-size]
