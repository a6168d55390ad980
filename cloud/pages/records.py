"""What the pages of a gateway and of a block show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from cloud.collector import Collector, algorithm
from cloud.frames import Check, Frame, Miss, Part
from cloud.opening import Found
from cloud.pages.titles import title
from cloud.rows import Block, Gateway, Latest
from drivers.installation import Installation
from drivers.profile import Point
from drivers.site import Device
from protocols import messages
from protocols.record import merkle
from protocols.record.block import Header
from protocols.record.chunk import Counters

FLAGGED = "flagged"
UNDATED = "undated"
"""Shown for a value that is kept, but does not count as its meter says."""
ROWS = 12
"""Exchanges of a device shown before one asks for all."""


@dataclass(frozen=True, slots=True)
class Value:
    """One decoded value, with the point's title in the reader's language."""

    title: str
    value: Decimal | None
    unit: str
    quality: str


@dataclass(frozen=True, slots=True)
class Row:
    """One exchange; without a ``reply`` its fault code. ``mark``: the one the reader came for."""

    at: int
    request: bytes
    reply: bytes
    readings: tuple[Value, ...]
    error: str | None
    code: int
    mark: bool


@dataclass(frozen=True, slots=True)
class DevicePart:
    """One device's chunk; ``more`` exchanges are not shown."""

    entry: Device
    counters: Counters
    leaf: bytes
    rows: tuple[Row, ...]
    more: int


@dataclass(frozen=True, slots=True)
class BlockView:
    """The page of a block. ``header`` is None when the stored bytes do not open."""

    gateway: str
    epoch: int
    seq: int
    hash: bytes
    size: int
    received_at: int
    lag: int
    fault: str | None
    ok: bool
    checks: tuple[Check, ...]
    header: Header | None
    algorithm: str
    kid: bytes
    before: str | None
    after: str | None
    parts: tuple[DevicePart, ...]


@dataclass(frozen=True, slots=True)
class ValueLine:
    """The newest value of a point."""

    device: str
    title: str
    value: Decimal | None
    unit: str
    quality: str
    at: int
    block: str
    seq: int


def block_view(
    held: Collector,
    gateway: Gateway,
    found: Found,
    *,
    at: int | None,
    device: str | None,
    everything: bool,
    lang: messages.Language,
) -> BlockView:
    """The page of a block. ``at`` and ``device`` mark the exchange the reader came for."""
    row = found.row
    base = f"/blocks/{gateway.id.hex()}/{row.epoch}"
    opened = found.opened
    return BlockView(
        gateway=gateway.id.hex(),
        epoch=row.epoch,
        seq=row.seq,
        hash=found.sealed.hash,
        size=row.size,
        received_at=row.received_at,
        lag=max(row.received_at - row.utc_end, 0),
        fault=row.fault,
        ok=found.ok,
        checks=found.checks,
        header=opened.header if opened else None,
        algorithm=algorithm(gateway.algorithm),
        kid=gateway.kid,
        before=f"{base}/{row.seq - 1}" if _is_held(held, row, row.seq - 1) else None,
        after=f"{base}/{row.seq + 1}" if _is_held(held, row, row.seq + 1) else None,
        parts=tuple(
            _part(opened.installation, part, at=at, device=device, everything=everything, lang=lang)
            for part in opened.parts
        )
        if opened
        else (),
    )


def values(
    installation: Installation | None, gateway: Gateway, latest: Sequence[Latest], lang: messages.Language
) -> list[ValueLine]:
    """The newest value of every point, device by device."""
    points = _points(installation) if installation else {}
    said: dict[str, dict[str, Decimal | None]] = {}
    for row in latest:
        said.setdefault(row.device, {})[row.point] = row.value
    return [
        ValueLine(
            row.device,
            title(point, lang) if (point := points.get(row.device, {}).get(row.point)) else row.point,
            row.value,
            row.unit,
            row.quality if point is None else _quality(point, row.quality, said[row.device], row.dated),
            row.at,
            f"/blocks/{gateway.id.hex()}/{row.epoch}/{row.seq}?at={row.at}&device={row.device}#d-{row.device}",
            row.seq,
        )
        for row in latest
    ]


def coverage(gateway: Gateway) -> Decimal | None:
    """Answered of due, over everything held; None before anything was due."""
    return Decimal(gateway.answered) / gateway.due if gateway.due else None


def _points(installation: Installation) -> dict[str, dict[str, Point]]:
    """The points of each device's model."""
    return {
        device.id: {point.id: point for point in installation.profiles[device.profile].points}
        for device in installation.site.device
    }


def _quality(point: Point, quality: str, said: Mapping[str, Decimal | None], dated: bool = True) -> str:
    """The quality, or that the point's flag says that the value does not count, or that nobody knows when it was read.

    ``said``: the values beside it.
    """
    if quality == "measured" and not dated:
        return UNDATED
    return FLAGGED if point.flag is not None and quality == "suspect" and said.get(point.flag) != 0 else quality


def _is_held(held: Collector, row: Block, seq: int) -> bool:
    return seq >= 0 and held.store.block_row(row.gateway, row.epoch, seq) is not None


def _part(
    installation: Installation,
    part: Part,
    *,
    at: int | None,
    device: str | None,
    everything: bool,
    lang: messages.Language,
) -> DevicePart:
    points = _points(installation)[part.entry.id]
    here = at if device == part.entry.id else None
    rows = sorted(
        [_answered(points, frame, here, lang) for frame in part.frames] + [_missed(miss) for miss in part.misses],
        key=lambda row: row.at,
    )
    shown = rows if everything or len(rows) <= ROWS else _around(rows)
    return DevicePart(part.entry, part.chunk.counters, merkle.root([part.leaf]), tuple(shown), len(rows) - len(shown))


def _around(rows: list[Row]) -> list[Row]:
    """The first rows, or those around the marked one."""
    marked = next((index for index, row in enumerate(rows) if row.mark), 0)
    start = min(max(0, marked - ROWS // 2), len(rows) - ROWS)
    return rows[start : start + ROWS]


def _answered(points: Mapping[str, Point], frame: Frame, here: int | None, lang: messages.Language) -> Row:
    said = {each.point: each.value for each in frame.readings}
    shown = tuple(
        Value(title(points[each.point], lang), each.value, each.unit, _quality(points[each.point], each.quality, said))
        for each in frame.readings
    )
    mark = here in (frame.at, *(each.at for each in frame.readings))
    return Row(frame.at, frame.request, frame.reply, shown, frame.error, 0, mark)


def _missed(miss: Miss) -> Row:
    return Row(miss.at, miss.request, b"", (), None, miss.code, False)
