"""DL/T 645-2007 annex B: load records, which a meter keeps at regular intervals (负荷记录).

    A0 A0 | n | time (mm hh DD MM YY) | class 1 AA class 2 AA … class 6 AA | sum | E5

``n`` counts the bytes between itself and the sum; the sum is mod 256 from the first A0 to the last byte before it;
E0 E0 in place of A0 A0 says that the record is no good. A class that is not kept is empty, its AA stays; asked for one
class alone, some meters leave out the AA in front of it. The layout, agreed on by several public descriptions, has not
been checked against the standard's text or a capture.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from protocols.dlt645 import READ
from protocols.dlt645_edition import Question
from protocols.dlt645_forms import SEPARATOR, Format, Shown, fields, told
from protocols.dlt645_freezes import TIME
from protocols.dlt645_quantities import quantities
from protocols.errors import Damaged, Impossible
from protocols.recogniser import quote

GOOD, BAD, LAST = b"\xa0\xa0", b"\xe0\xe0", 0xE5
MOST = 9
"""Records asked for at once: up to here binary and BCD agree on the byte (which of them is meant is unverified)."""

_IDENTIFIER = re.compile("060[0-6]000[0-2]")
_CLASSES = (
    ("0201FF00", "0202FF00", "02800002"),
    ("0203FF00", "0204FF00"),
    ("0206FF00",),
    ("00010000", "00020000", "00030000", "00040000"),
    ("00050000", "00060000", "00070000", "00080000"),
    ("02800004", "02800005"),
)
CLASSES = tuple(tuple(form for name in names for form in quantities(name)) for names in _CLASSES)
"""What the classes 1 to 6 hold, in wire order."""


@dataclass(frozen=True, slots=True)
class Record:
    """One load record. ``classes``: the bytes of classes 1 to 6, empty where one is not kept; ``good`` false: E0 E0."""

    time: bytes
    classes: tuple[bytes, ...]
    good: bool = True

    def shown(self, number: int) -> list[Shown]:
        """Its fields under names that begin with ``load_record_<number>``."""
        prefix = f"load_record_{number}_"
        held = [told(self.time, Format(TIME, "", False, f"{prefix}time"))]
        for forms, data in zip(CLASSES, self.classes, strict=True):
            named = [Format(form.digits, form.unit, form.signed, prefix + form.name) for form in forms]
            held += fields(data, named)[0] if data else []
        if not self.good:
            held = [one | {"value": None, "note": "the meter says that this record is no good (E0 E0)"} for one in held]
        return held


def load_request(address: str, identifier: str, count: int, since: datetime | None = None) -> bytes:
    """The request for ``count`` load records, from a time on (as the meter's clock shows it) where the identifier is
    06 cc 00 01; cc: 00 all classes, 01 to 06 one; 06cc0000 the earliest records, 06cc0002 the latest.
    """
    if (
        not _IDENTIFIER.fullmatch(identifier)
        or not 1 <= count <= MOST
        or (identifier[-1] == "1") != (since is not None)
    ):
        raise Damaged(
            f"{count} load records of {identifier!r} from {since}, "
            f"expected 1 to {MOST} of 060c0000 to 060c0002, the time with 060c0001 alone"
        )
    start = b"" if since is None else bytes.fromhex(f"{since:%M%H%d%m%y}")
    return Question(address, READ, identifier, bytes([count]) + start).to_bytes()


def records(identifier: str, data: bytes) -> Iterator[Record]:
    """The load records in the data of an answer, in order; Impossible when they are not what annex B says."""
    at = 0
    while at < len(data):
        mark = data[at : at + 2]
        end = at + 3 + data[at + 2] + 2 if at + 2 < len(data) else len(data) + 1
        if mark not in (GOOD, BAD) or end > len(data) or data[end - 1] != LAST:
            raise Impossible(f"{quote(data[at:])} is no load record, expected A0 A0, its length, and E5 at its end")
        if sum(data[at : end - 2]) & 0xFF != data[end - 2]:
            found, right = data[end - 2], sum(data[at : end - 2]) & 0xFF
            raise Impossible(f"sum {found:02X} of a load record, expected {right:02X}")
        yield _record(int(identifier[2:4], 16), mark == GOOD, data[at + 3 : end - 2])
        at = end


def _record(kind: int, good: bool, body: bytes) -> Record:
    """One record out of its time and classes; ``kind``: the one class asked for, 0 for all."""
    pieces = body[5:].split(bytes([SEPARATOR]))
    if pieces[-1] == b"":
        pieces.pop()
    if kind and len(list(filter(None, pieces))) == 1:
        pieces = [b""] * (kind - 1) + list(filter(None, pieces))
    pieces += [b""] * (len(CLASSES) - len(pieces))
    widths = [sum(form.width for form in forms) for forms in CLASSES]
    if (
        len(body) < 5
        or len(pieces) != len(CLASSES)
        or any(piece and len(piece) != width for piece, width in zip(pieces, widths, strict=True))
    ):
        raise Impossible(f"load record of {quote(body)}, expected classes of {widths} bytes parted by AA")
    return Record(body[:5], tuple(pieces), good)
