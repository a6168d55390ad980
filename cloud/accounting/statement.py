"""A statement: one version of what a site emitted in a period, with all that made the figure. Never rewritten."""

import hashlib
import re
from decimal import Decimal
from typing import Literal

import msgspec

from cloud.accounting.factors import Basis, Factor
from drivers.quantity import EXACT
from protocols.errors import AccountError, UnknownNameError

ENGINE = "account/1"
Quality = Literal["measured", "estimated", "suspect"]
GapKind = Literal["estimated", "suspect", "missing"]
PERCENT = Decimal("0.01")
VERSION = re.compile(r"[1-9][0-9]{0,8}")


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Decimals are JSON strings without trailing zeros; instants RFC 3339 with the offset of the site's zone."""


class Span(_Record, frozen=True):
    """The period, and ``through``: how far the figures go (its end, unless it was still open)."""

    id: str
    start: str
    end: str
    timezone: str
    through: str


class Method(_Record, frozen=True):
    """Which rule made the figure, in which edition, on which kind of factor."""

    id: str
    edition: str
    formula: str
    basis: Basis
    region: str
    engine: str


class FactorUsed(_Record, frozen=True):
    """The factor as it was: a snapshot, not a reference."""

    id: str
    value: Decimal
    unit: str
    data_year: int
    status: str
    publisher: str
    notice: str
    published: str
    url: str | None
    attachment_sha256: str | None
    file: str


class Register(_Record, frozen=True):
    """What the meter's register stood at: the value, when it was read, and the block that holds the frame."""

    value: Decimal
    at: str
    epoch: int
    seq: int


class Coverage(_Record, frozen=True):
    """Readings held of those due."""

    readings: int
    expected: int

    @property
    def percent(self) -> Decimal:
        """For display: two decimals, rounded down, so that 100 means all of them."""
        return _percent(self.readings, self.expected)


class Shares(_Record, frozen=True):
    """Meter time (ms) by what is known of it; together the whole period up to ``through``, times the meters."""

    measured_ms: int
    estimated_ms: int
    suspect_ms: int
    missing_ms: int

    def percent(self, name: str) -> Decimal:
        """Share of ``measured``, ``estimated``, ``suspect`` or ``missing`` for display: two decimals."""
        whole = self.measured_ms + self.estimated_ms + self.suspect_ms + self.missing_ms
        return _percent(int(getattr(self, f"{name}_ms")), whole)


class Run(_Record, frozen=True):
    """The longest stretch of one quality and one ratio: kWh = (closing - opening + rolled) x multiplier.

    ``rolled`` is what the register lost by passing its highest value; ``kwh`` is None where this is not plausible.
    """

    start: str
    end: str
    quality: Quality
    multiplier: Decimal
    opening: Register
    closing: Register
    rolled: Decimal
    kwh: Decimal | None
    intervals: int
    readings: int
    expected: int


class Meter(_Record, frozen=True):
    """One meter's part. ``kwh`` is None when nothing is known of it: unknown is not zero."""

    gateway: str
    device: str
    point: str
    role: str
    kwh: Decimal | None
    coverage: Coverage
    runs: tuple[Run, ...]


class Gap(_Record, frozen=True):
    """A stretch that was not simply measured. ``kwh`` where the register bridges it."""

    gateway: str
    device: str
    start: str
    end: str
    kind: GapKind
    kwh: Decimal | None


class Line(_Record, frozen=True):
    """Purchased electricity of one year of factors: tco2 = kwh x factor / 1000, not rounded."""

    year: int
    kwh: Decimal
    factor: FactorUsed
    tco2: Decimal
    reasons: tuple[str, ...]
    meters: tuple[Meter, ...]


class Inputs(_Record, frozen=True):
    """Every interval that went in: how many, and SHA-256 over their canonical lines."""

    count: int
    sha256: str


class Content(_Record, frozen=True):
    """What a figure says and rests on. Equal inputs give equal bytes; the digest is over them."""

    schema: Literal["tanmeter-statement/1"]
    site: str
    period: Span
    method: Method
    factor_set: str
    kwh: Decimal
    tco2: Decimal
    provisional: bool
    reasons: tuple[str, ...]
    coverage: Coverage
    shares: Shares
    lines: tuple[Line, ...]
    breakdown: tuple[Meter, ...]
    gaps: tuple[Gap, ...]
    inputs: Inputs


class Difference(_Record, frozen=True):
    """What changed against the version before. tco2 = tco2_by_activity + tco2_by_factor, exactly."""

    kwh: Decimal
    tco2: Decimal
    tco2_by_activity: Decimal
    tco2_by_factor: Decimal
    factors_before: tuple[str, ...]
    factors_after: tuple[str, ...]
    changed: tuple[str, ...]


class Statement(_Record, frozen=True):
    """One version: the content, its digest, when it was made and from how much of the record (``as_of`` ingest seq)."""

    id: str
    version: int
    minted_at: str
    as_of: int
    digest: str
    supersedes: int | None
    difference: Difference | None
    content: Content

    @property
    def reference(self) -> str:
        """How this version is named: ``E-S-0012-2026-11@2``."""
        return f"{self.id}@{self.version}"


def statement_id(site: str, period_id: str) -> str:
    """``E-<site>-<period>``."""
    return f"E-{site}-{period_id}"


def parse_reference(text: str) -> tuple[str, int | None]:
    """Id and version of ``E-S-0012-2026-11@2`` or ``E-S-0012-2026-11``; AccountError."""
    name, at, version = text.partition("@")
    if not name.startswith("E-") or (at and VERSION.fullmatch(version) is None):
        raise UnknownNameError("statement", text, "a name like E-S-0012-2026-11@2")
    return name, int(version) if at else None


def digest(content: Content) -> str:
    """SHA-256 (hex) of the content's one JSON form."""
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def mint(content: Content, previous: Statement | None, minted_at: str, as_of: int) -> Statement:
    """The version after ``previous``: numbered, and with what changed."""
    return Statement(
        id=statement_id(content.site, content.period.id),
        version=1 if previous is None else previous.version + 1,
        minted_at=minted_at,
        as_of=as_of,
        digest=digest(content),
        supersedes=None if previous is None else previous.version,
        difference=None if previous is None else difference(previous.content, content),
        content=content,
    )


def difference(before: Content, after: Content) -> Difference:
    """What a newer content changes: activity at the old factor, then the factor at the new activity."""
    by_activity = by_factor = Decimal(0)
    old, new = ({line.year: line for line in content.lines} for content in (before, after))
    for year in old.keys() | new.keys():
        first, second = old.get(year), new.get(year)
        kwh_before = first.kwh if first else Decimal(0)
        kwh_after = second.kwh if second else Decimal(0)
        factor_after = (second or first).factor.value  # type: ignore[union-attr]  # one of them is there
        factor_before = first.factor.value if first else factor_after
        by_activity = EXACT.add(by_activity, tonnes(EXACT.subtract(kwh_after, kwh_before), factor_before))
        by_factor = EXACT.add(by_factor, tonnes(kwh_after, EXACT.subtract(factor_after, factor_before)))
    return Difference(
        kwh=plain(EXACT.subtract(after.kwh, before.kwh)),
        tco2=plain(EXACT.subtract(after.tco2, before.tco2)),
        tco2_by_activity=plain(by_activity),
        tco2_by_factor=plain(by_factor),
        factors_before=tuple(line.factor.id for line in before.lines),
        factors_after=tuple(line.factor.id for line in after.lines),
        changed=tuple(name for name in Content.__struct_fields__ if getattr(before, name) != getattr(after, name)),
    )


def tonnes(kwh: Decimal, factor: Decimal) -> Decimal:
    """tCO2 of kWh at kgCO2/kWh: kWh x factor / 1000, every digit kept."""
    return EXACT.scaleb(EXACT.multiply(kwh, factor), -3)


def plain(value: Decimal) -> Decimal:
    """The same number in the one way it is written: no exponent, no trailing zeros, no negative zero."""
    if not value:
        return Decimal(0)
    found = EXACT.normalize(value)
    return Decimal(format(found, "f")) if "E+" in str(found) else found


def snapshot(factor: Factor) -> FactorUsed:
    """A factor as a statement keeps it."""
    return FactorUsed(
        id=factor.id,
        value=factor.value,
        unit=factor.unit,
        data_year=factor.data_year,
        status=factor.status,
        publisher=factor.publisher,
        notice=factor.notice,
        published=factor.published.isoformat(),
        url=factor.url,
        attachment_sha256=factor.attachment_sha256,
        file=factor.file,
    )


def to_json(statement: Statement) -> bytes:
    """The one JSON form of a statement: indented for a reader, ends with a newline."""
    return msgspec.json.format(msgspec.json.encode(statement), indent=1) + b"\n"


def from_json(source: bytes) -> Statement:
    """The statement in its one JSON form; AccountError for any other bytes or a digest that is not its content's."""
    try:
        statement = msgspec.json.decode(source, type=Statement)
    except msgspec.DecodeError as error:
        raise AccountError(f"statement: {error}, expected the form of tanmeter-statement/1") from error
    if to_json(statement) != source:
        raise AccountError("statement: found another way to write it, expected the one JSON form")
    if digest(statement.content) != statement.digest:
        raise AccountError(f"statement: found digest {statement.digest}, expected {digest(statement.content)}")
    return statement


def _percent(part: int, whole: int) -> Decimal:
    return plain(Decimal(part * 10_000 // whole) * PERCENT) if whole else Decimal(0)
