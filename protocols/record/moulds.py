"""Headers read by the form of ones read before: the same bytes again, but for what changes every minute.

A gateway says the same things minute after minute. Where bytes have a form that has been seen, only what stands between
its fixed parts is read, in the one way to write it; what comes out is what ``cbor`` and the rules of the record come to
(``tests/record/test_moulds.py``). All else is read by them, which also say what is wrong with it. (Of chunks, see
``stacks``.)
"""

import struct

from protocols.record import block, cbor, shape
from protocols.record.block import ClockState, Header

KEPT = 8192
"""Forms kept before all are dropped: of so many gateways."""
_GATEWAY = slice(5, 21)
"""Where a header names its gateway."""
_UTC = struct.Struct(">BQBQ")
_EIGHT = 0x1B
_STRAY = (IndexError, struct.error, ValueError)
"""What comes of reading beyond the end, or of what is no such integer: the form does not fit."""


class Moulds:
    """The forms seen so far; hold one for a thread."""

    def __init__(self) -> None:
        self._headers: dict[bytes, _HeaderForm] = {}

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


class _HeaderForm:
    """A header without events: what stands before seq, before the clocks, before the root, and behind it."""

    __slots__ = ("_before", "_behind", "_clock", "_clocks", "_like", "_site")

    def __init__(self, header: Header) -> None:
        self._like = header
        place = cbor.encode(header.gateway) + b"\x02" + cbor.encode(header.epoch) + b"\x03"
        self._before = b"\xb0\x00\x01\x01" + place
        self._clocks = b"\x05" + cbor.encode(header.boot) + b"\x06\x82"
        clock = header.clock
        self._clock = b"\x08" + cbor.encode([clock.source, clock.state, clock.error_ms, clock.last_sync_s])
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
        at += 2 + _UTC.size
        same = data.startswith(self._clock, at)
        clock, at = (like.clock, at + len(self._clock)) if same else _clock(data, at)
        root = at + len(self._site)
        if clock is None or not data.startswith(self._site, at) or data[root + 32 :] != self._behind:
            return None
        return Header(
            *(like.gateway, like.epoch, seq, previous, like.boot, (begin, end), (start, stop), clock),
            *(like.configuration, like.software, (), like.custody, like.counter, like.checkpoint),
            (like.chunks[0], data[root : root + 32]),
        )


def _clock(data: bytes, at: int) -> tuple[ClockState | None, int]:
    """The state of the clock, where it has a permitted one, and where it ends."""
    if not data.startswith(b"\x08\x84", at):
        return None, at
    source, at = _unsigned(data, at + 2)
    state, at = _unsigned(data, at)
    error, at = _unsigned(data, at)
    last, at = _unsigned(data, at)
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
