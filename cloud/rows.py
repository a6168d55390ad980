"""What the store hands out: one frozen row a thing. Gateways are 16 bytes, instants UTC ms, amounts Decimal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Self

import msgspec

from cloud import typed
from cloud.intervals import Interval
from drivers.profile import Kind
from drivers.reading import Quality
from protocols.errors import RottenError
from protocols.record.cose import PublicKey

HEALTH = (
    *("site", "custody", "reason", "block_start", "block_end", "received_at", "blocks", "refused_blocks", "readings"),
    *("due", "asked", "answered", "silent", "damaged", "refused", "gaps"),
)
"""Columns of a gateway by which no block is taken and nothing is booked."""


class Gateway(msgspec.Struct, frozen=True, gc=False):
    """An enrolled gateway: its keys, where its chain stands, and its health. Counts are of booked blocks.

    ``rotten``: the columns that cannot be read, and are empty here.
    """

    id: bytes
    algorithm: int
    spki: bytes
    technician_algorithm: int
    technician_spki: bytes
    site: str
    custody: int
    enrolment: bytes
    enrolled_at: int
    revoked_at: int | None
    reason: str
    epoch: int
    next_seq: int
    head: bytes
    boot: int | None
    mono: int | None
    config_number: int
    block_start: int | None
    block_end: int | None
    received_at: int | None
    blocks: int
    refused_blocks: int
    readings: int
    due: int
    asked: int
    answered: int
    silent: int
    damaged: int
    refused: int
    gaps: int
    rotten: tuple[str, ...] = ()

    @classmethod
    def read(cls, row: Sequence[Any]) -> Self:
        """A row of these columns, but for ``rotten``."""
        found, rotten = typed.near(cls, row)
        return msgspec.structs.replace(found, rotten=rotten) if rotten else found

    def check(self) -> None:
        """RottenError where something cannot be read that more than its health goes by."""
        if wrong := [name for name in self.rotten if name not in HEALTH]:
            raise RottenError(
                f"gateway {self.id.hex()}: found {', '.join(wrong)} that cannot be read, expected numbers"
            )

    @property
    def key(self) -> PublicKey:
        """What its blocks are signed with."""
        return PublicKey(self.algorithm, self.spki)

    @property
    def kid(self) -> bytes:
        """How its blocks name its key."""
        return self.id[:8]

    @property
    def technician(self) -> PublicKey:
        """What its site configurations are signed with."""
        return PublicKey(self.technician_algorithm, self.technician_spki)

    @property
    def revoked(self) -> bool:
        """Whether nothing more is taken from it: nor where it cannot be read since when."""
        return self.revoked_at is not None or "revoked_at" in self.rotten

    @property
    def lag_ms(self) -> int | None:
        """How long after its end the newest block came."""
        if self.received_at is None or self.block_end is None:
            return None
        return self.received_at - self.block_end


@dataclass(frozen=True, slots=True)
class Block:
    """A block in the chain. ``fault``: why its content was refused; then it is held and linked, but not booked."""

    ingest_seq: int
    gateway: bytes
    epoch: int
    seq: int
    hash: bytes
    utc_start: int
    utc_end: int
    received_at: int
    config_number: int
    readings: int
    fault: str | None
    size: int


class IntervalRow(msgspec.Struct, frozen=True, gc=False):
    """An interval as it stands; ``ingest_seq`` rises every time the row changes."""

    gateway: bytes
    ingest_seq: int
    interval: Interval


class Unread(msgspec.Struct, frozen=True, gc=False):
    """An interval that has rotted, or all the open ones of a gateway, in its place; and what was found."""

    gateway: bytes
    ingest_seq: int
    why: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """A signed site configuration; ``digest`` is what blocks name."""

    gateway: bytes
    number: int
    digest: bytes
    envelope: bytes
    valid_from: int
    received_at: int


@dataclass(frozen=True, slots=True)
class Sum:
    """What one counter or rate came to over the intervals that begin in a stretch of time; suspect ones add nothing."""

    gateway: bytes
    device: str
    point: str
    unit: str
    start: int
    consumption: Decimal
    intervals: int
    estimated: int
    suspect: int
    absent: int
    readings: int
    expected: int


class Latest(msgspec.Struct, frozen=True, gc=False):
    """The newest value of a point. ``primary_value`` has CT x PT applied where the meter reads before them.

    ``dated``: False when the box did not know the time, which nothing has told since: ``at`` is then what it believed.
    """

    gateway: bytes
    device: str
    point: str
    unit: str
    kind: Kind
    value: Decimal | None
    primary_value: Decimal | None
    quality: Quality
    at: int
    epoch: int
    seq: int
    dated: bool = True


@dataclass(frozen=True, slots=True)
class Power:
    """Mean and peak power in kW, CT x PT applied, over 15 minutes from ``start``. For the eye, not an account."""

    gateway: bytes
    device: str
    point: str
    start: int
    mean: float
    peak: float
    samples: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event a block tells of; ``kind`` is a number of protocols.record.block.EventKind."""

    gateway: bytes
    epoch: int
    seq: int
    kind: int
    start: int
    end: int
    detail: str


@dataclass(frozen=True, slots=True)
class Incident:
    """Something a person must look into. ``kind``: conflict, fork or config."""

    id: int
    gateway: bytes
    at: int
    kind: str
    epoch: int | None
    seq: int | None
    detail: str

    @classmethod
    def read(cls, row: Sequence[Any]) -> Self:
        """A row of these columns; its detail says what of it has rotted."""
        found, rotten = typed.near(cls, row)
        return replace(found, detail=_told(found.detail, rotten)) if rotten else found


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Bytes that were refused, kept with the reason. ``signed``: whether they are the gateway's own word."""

    id: int
    gateway: bytes | None
    at: int
    code: str
    reason: str
    signed: bool
    epoch: int | None
    seq: int | None
    hash: bytes

    @classmethod
    def read(cls, row: Sequence[Any]) -> Self:
        """A row of these columns; its reason says what of it has rotted."""
        found, rotten = typed.near(cls, row)
        return replace(found, reason=_told(found.reason, rotten), signed=bool(found.signed))


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One version of a statement; ``content`` is its JSON, ``digest`` the hex SHA-256 of what decides a new version."""

    id: str
    version: int
    digest: str
    site: str
    period: str
    created: int
    content: bytes


@dataclass(frozen=True, slots=True)
class JournalRow:
    """An entry of the journal of accounts. ``number`` only rises, 0 before it is kept; ``body`` is compressed.

    ``kind`` and ``id``: ``file`` (a subject file, by digest), ``subject``, ``signer`` (a key, by kid), ``activity`` (a
    file, by digest), ``account`` (A-...), ``mark`` (a decision on a version: its reference), ``check`` (a file
    of cross-checks: SUBJECT-PERIOD), ``warning`` (what happened to W-...), ``bundle`` (of factors, by digest),
    ``contents`` (what the collector signed of its built-in files), ``former`` (the key of a collector that a gateway
    had before) and ``receipt`` (one under such a key). ``detail`` is JSON.
    """

    number: int
    kind: str
    id: str
    version: int
    subject: str
    period: str
    digest: str
    at: int
    by: str
    detail: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the collector holds."""

    gateways: int
    blocks: int
    refused_blocks: int
    readings: int
    intervals: int
    quarantined: int
    incidents: int
    gaps: int
    received_at: int | None


def _told(detail: str, rotten: Sequence[str]) -> str:
    return f"{detail} (cannot be read: {', '.join(rotten)})" if rotten else detail
