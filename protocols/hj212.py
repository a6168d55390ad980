"""HJ 212-2017 and HJ/T 212-2005: packets of text that a data logger sends, found, checked and taken apart.

``##``, four digits: the bytes of the data segment, the segment, four hex digits of CRC, CR LF. The segment is
``QN=..;ST=..;CN=..;PW=..;MN=..;Flag=..;CP=&&..&&``: in CP items are parted by ``;``, the fields of an item by ``,``.
Length and CRC are taken strictly, all else leniently: what a version not known here adds is kept as it is.

The CRC of annex A is weaker than it looks: only the upper half of its register is carried on, so that it has 256
outcomes, and after eight bytes that half is turned back onto itself, so that it sees no more than the exclusive or of
all groups of eight. One changed byte is always found; of several changed ones a 256th is not, nor are bytes that trade
places with others eight further on.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import xor
from struct import unpack

from protocols import crc16, modbus
from protocols.errors import Damaged, ProtocolError
from protocols.recogniser import verdict

MARK = b"##"
HEAD = 6
"""Bytes of ## and length."""
FRAME = 10
"""Bytes of a packet around its data segment, CR LF not counted."""
MOST = 9999
"""Bytes of data segment that the length can say; the standard allows 1024, loggers exist that send more in one."""
ACKNOWLEDGE, PARTED = 1, 2
"""Bits of Flag: A, an answer is wanted; D, packet number and count are given."""
V2005, V2017 = 0, 1
"""Upper bits of Flag. Others are later editions: 2 is met in surface water and with HJ 212-2025."""


@dataclass(frozen=True, slots=True)
class Field:
    """``a21026-Rtd=9.93`` is item ``a21026``, name ``Rtd``; ``DataTime=..`` has no item."""

    item: str
    name: str
    text: str

    @property
    def key(self) -> str:
        """As it was sent, before the ``=``."""
        return f"{self.item}-{self.name}" if self.item else self.name


Said = Mapping[str, Mapping[str, tuple[str, ...]]]
"""What a packet says, by item and field: each differing text once."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: the header fields as sent, and every field of CP in order."""

    header: tuple[tuple[str, str], ...]
    fields: tuple[Field, ...]
    modbus_crc: bool = False

    def head(self, name: str) -> str:
        """A header field by its name in upper case (``Flag`` is met as ``FLAG``); empty when it was not sent."""
        return next((text for key, text in self.header if key.upper() == name), "")

    @property
    def qn(self) -> str:
        """The request's number, a time to the millisecond; empty in packets of 2005."""
        return self.head("QN")

    @property
    def cn(self) -> str:
        """The command."""
        return self.head("CN")

    @property
    def mn(self) -> str:
        """Which device: whatever was sent, of any length."""
        return self.head("MN")

    @property
    def flag(self) -> int:
        """Flag as a number; 0 when it was not sent or is none."""
        text = self.head("FLAG")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else 0

    @property
    def version(self) -> int:
        """The edition by Flag: V2005, V2017 or a later one."""
        return self.flag >> 2

    @property
    def wants_answer(self) -> bool:
        """Whether the logger waits for 9014 and sends again without it."""
        return bool(self.flag & ACKNOWLEDGE)

    @property
    def part(self) -> tuple[int, int] | None:
        """(number from 1, count) of a packet that is one of several; each stands alone. None when it is whole."""
        number, count = self.head("PNO"), self.head("PNUM")
        if not (number.isdecimal() and count.isdecimal()) or len(number + count) > 8:
            return None
        return int(number), int(count)

    def texts(self, item: str, name: str) -> tuple[str, ...]:
        """What the packet says of a field, each differing text once; several when it contradicts itself."""
        return tuple(dict.fromkeys(field.text for field in self.fields if (field.item, field.name) == (item, name)))

    def said(self) -> Said:
        """By item and name what ``texts`` says, for all of the packet at once."""
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for field in self.fields:
            names = found.setdefault(field.item, {})
            if field.text not in (texts := names.get(field.name, ())):
                names[field.name] = (*texts, field.text)
        return found

    @property
    def data_time(self) -> str:
        """DataTime, digits only: the start of the interval, the instant for real-time data; empty when not sent."""
        return next(iter(self.texts("", "DataTime")), "")


@dataclass(frozen=True, slots=True)
class Found:
    """A whole packet in a stream, without its CR LF, and how many bytes of the stream came before it."""

    packet: Packet
    raw: bytes
    begin: int


@dataclass(frozen=True, slots=True)
class Broken:
    """What began like a packet and is none."""

    raw: bytes
    error: Damaged


def crc(data: bytes) -> int:
    """Annex A: as Modbus, but that each byte is laid over the upper half of the register alone."""
    if not data:
        return 0xFFFF
    lead = len(data) % 8
    groups = unpack(f"<{len(data) // 8}Q", data[lead:])
    return _WHOLE[_mixed(data[:lead], 0xFF) ^ _mixed(reduce(xor, groups, 0).to_bytes(8, "little"), 0)]


def _mixed(data: bytes, register: int) -> int:
    """The upper half of the register after these bytes."""
    for byte in data:
        register = _UPPER[register ^ byte]
    return register


def checksum(data: bytes, modbus_crc: bool = False) -> bytes:
    """Four hex digits: of annex A, high byte first, or as some loggers do: CRC-16/MODBUS, low byte first."""
    value = modbus.crc(data).to_bytes(2, "little") if modbus_crc else crc(data).to_bytes(2)
    return value.hex().upper().encode()


def frame(segment: str) -> bytes:
    """A data segment as it travels, CR LF included; Damaged when it is longer than the length can say."""
    data = segment.encode()
    if len(data) > MOST:
        raise Damaged(f"{len(data)} bytes of data segment, expected at most {MOST}")
    return MARK + b"%04d" % len(data) + data + checksum(data) + b"\r\n"


def decode(raw: bytes, modbus_crc: bool = False) -> Packet:
    """The packet that these bytes are, CR LF or not; Damaged says what is wrong, where, and what was expected."""
    body = raw.rstrip(b"\r\n \t")
    if body[:2] != MARK:
        raise _damaged("a packet begins with ##", 0, body[:2], MARK, "start")
    if _length(body, 0) is None:
        raise _damaged("the length is four digits", 2, body[2:HEAD], b"0000 to 9999", "length")
    data = _segment(body)
    if body[-4:].upper() != (own := checksum(data, modbus_crc)):
        raise _wrong_crc(body, data, own)
    return _packet(data, modbus_crc)


def sender(raw: bytes) -> str:
    """The MN of a packet under either CRC; Damaged."""
    try:
        return decode(raw).mn
    except Damaged:
        return decode(raw, modbus_crc=True).mn


def _segment(body: bytes) -> bytes:
    there = len(body) - FRAME
    if there != int(body[2:HEAD]):
        raise _wrong_length(body, max(there, 0))
    return body[HEAD:-4]


def _wrong_length(body: bytes, there: int) -> Damaged:
    cause = "short" if there < int(body[2:HEAD]) else "long"
    if len(body) >= FRAME and body[-4:].upper() == checksum(body[HEAD:-4]):
        cause = "miscounted"
    return _damaged("bytes of data segment", 2, b"%d" % there, body[2:HEAD], cause)


def _wrong_crc(body: bytes, data: bytes, own: bytes) -> Damaged:
    """Says which CRC it is when it is another one that loggers are known to send."""
    found, other = body[-4:].upper(), modbus.crc(data)
    known = {b"%04X" % crc(data): "annex_crc", b"%04X" % other: "modbus_crc_swapped"}
    known[other.to_bytes(2, "little").hex().upper().encode()] = "modbus_crc"
    return _damaged("CRC", len(body) - 4, found, own, known.get(found, "changed"))


def _packet(data: bytes, modbus_crc: bool) -> Packet:
    head, mark, content = data.partition(b"CP=&&")
    if not mark or not content.endswith(b"&&"):
        at = HEAD + (data.find(b"CP=") if b"CP=" in data else len(data))
        raise _damaged("the content stands between CP=&& and &&", at, data[-8:], b"CP=&&..&&", "content")
    return Packet(tuple(_head(_text(head))), tuple(_fields(_text(content[:-2]))), modbus_crc)


def _text(data: bytes) -> str:
    """UTF-8 as the standard says, else GBK (unverified: that loggers send it); none of its bytes is a separator."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("gb18030", "replace")


def _head(text: str) -> Iterator[tuple[str, str]]:
    """Names as sent; commas astray before a name are passed over."""
    for part in text.split(";"):
        name, mark, value = part.strip(" ,\t").partition("=")
        if mark:
            yield name, value.strip()


def _fields(text: str) -> Iterator[Field]:
    for part in re.split("[;,]", text):
        key, mark, value = part.strip().partition("=")
        if mark:
            item, parted, name = key.rpartition("-")
            yield Field(item if parted else "", name, value.strip())


class Parser:
    """Finds packets in a stream in whatever pieces it comes. What never completes hides no packet behind it."""

    def __init__(self, modbus_crc: bool = False) -> None:
        self._modbus_crc = modbus_crc
        self._buffer = bytearray()
        self._open: list[tuple[int, int]] = []
        self._cursor = self._looked = self._dropped = 0
        self._found: list[Found] = []
        self._broken: list[Broken] = []
        self.noise = 0
        """Bytes so far that belonged to no packet, line ends and blanks not counted."""

    def feed(self, data: bytes) -> list[Found]:
        """The packets that these bytes complete."""
        self._buffer += data
        for start in self._begun():
            self._complete(start + HEAD)
            if start >= self._cursor:
                self._open = [*self._open, (start, self._end(start))][-MOST_OPEN:]
        self._complete(len(self._buffer))
        self._trim()
        found, self._found = self._found, []
        return found

    def broken(self) -> list[Broken]:
        """What began like a packet and was none, since this was last asked."""
        broken, self._broken = self._broken, []
        return broken

    def _begun(self) -> list[int]:
        """Where in what is new a packet may begin."""
        starts, at = [], self._buffer.find(MARK, self._looked)
        while 0 <= at <= len(self._buffer) - HEAD:
            if _length(self._buffer, at) is not None:
                starts.append(at)
            at = self._buffer.find(MARK, at + 1)
        self._looked = max(self._looked, len(self._buffer) - HEAD + 1)
        return starts

    def _end(self, start: int) -> int:
        return start + FRAME + int(self._buffer[start + 2 : start + HEAD])

    def _complete(self, until: int) -> None:
        """Judge what ends by here, in the order in which it ends."""
        for start, end in sorted((one for one in self._open if one[1] <= until), key=lambda one: (one[1], one[0])):
            if start >= self._cursor:
                self._judge(start, end)
        self._open = [one for one in self._open if one[0] >= self._cursor and one[1] > until]

    def _judge(self, start: int, end: int) -> None:
        raw = bytes(self._buffer[start:end])
        try:
            packet = decode(raw, self._modbus_crc)
        except Damaged as error:
            self._note(Broken(raw, error))
            return
        self._overtaken(start, end)
        self._count(self._cursor, start)
        self._found.append(Found(packet, raw, self._dropped + start))
        self._cursor = end

    def _overtaken(self, begin: int, until: int) -> None:
        """A packet that was still open when a whole one came behind its beginning had lost its end."""
        for start, end in self._open:
            if start < begin and end > until:
                raw = bytes(self._buffer[start:begin])
                self._note(Broken(raw, _wrong_length(raw, len(raw) - HEAD)))

    def _note(self, broken: Broken) -> None:
        self._broken = [*self._broken, broken][-MOST_BROKEN:]

    def _count(self, start: int, end: int) -> None:
        self.noise += len(bytes(self._buffer[start:end]).translate(None, b"\r\n \t\0"))

    def _trim(self) -> None:
        """Let go of what no packet can begin in any more."""
        keep = min([max(self._cursor, len(self._buffer) - HEAD + 1), *(start for start, _ in self._open)])
        self._count(self._cursor, keep)
        del self._buffer[:keep]
        self._dropped += keep
        self._looked, self._cursor = max(0, self._looked - keep), max(0, self._cursor - keep)
        self._open = [(start - keep, end - keep) for start, end in self._open]


MOST_OPEN = 16
"""Beginnings kept in mind at a time: more are met only in what is made to cost us time."""


class Recogniser:
    """The next packet of one device among the bytes of a port."""

    def __init__(self, mn: str, modbus_crc: bool = False) -> None:
        self._mn, self._parser = mn, Parser(modbus_crc)
        self._received = b""
        self._strangers: list[str] = []

    def feed(self, data: bytes) -> bytes | None:
        """The bytes of its packet; None = more is needed."""
        self._received = (self._received + data)[-MOST:]
        for found in self._parser.feed(data):
            if found.packet.mn == self._mn:
                return found.raw
            self._strangers.append(f"a packet of MN {found.packet.mn}")
        return None

    def failure(self) -> ProtocolError:
        """Silent, Damaged or Mismatched, by what has come so far."""
        return verdict(self._received, self._strangers, f"a packet of MN {self._mn}")


MOST_BROKEN = 16
"""Broken packets remembered until they are asked for."""


def _length(data: bytes | bytearray, start: int) -> int | None:
    digits = bytes(data[start + 2 : start + HEAD])
    return int(digits) if len(digits) == 4 and digits.isdigit() else None


def _damaged(what: str, at: int, found: bytes, expected: bytes, cause: str) -> Damaged:
    came, wanted = (part.decode("ascii", "backslashreplace") for part in (found, expected))
    message = f"{what}: found {came or 'nothing'}, expected {wanted}"
    return Damaged(message, at=at, found=came, expected=wanted, cause=f"cause.hj212.{cause}")


_UPPER = bytes(entry >> 8 for entry in crc16.TABLE)
_WHOLE = {entry >> 8: entry for entry in crc16.TABLE}
"""The register by its upper half, which tells the lower one."""
