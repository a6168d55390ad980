"""An inventory: everything a subject emitted in a period, line by line; and a version of it as it was issued.

An account ``A-<subject>-<period>`` is a row of versions. What a version says (its content) is never rewritten; where it
stands (provisional, locked, superseded) is told of it. Accounting classes decide the arithmetic of the totals:

    direct    all that is burnt, leaks or reacts at the subject (class direct_*, but for direct_fixed)
    fixed     carbon that leaves in a product or is recovered: negative
    indirect  electricity, heat, cooling, water, waste that others made (class indirect_*, but for the offset)
    offset    green power with proof: negative
    total     direct + fixed + indirect + offset
    memo and reduction stand beside it and never enter it
"""

import hashlib
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

import msgspec

from cloud.accounting import contents
from cloud.accounting.factors import Basis
from cloud.accounting.line import Line, State
from cloud.accounting.method import Class
from cloud.accounting.statement import VERSION, Coverage, Span, plain
from cloud.accounting.units import ARITHMETIC
from drivers.quantity import EXACT
from protocols.errors import AccountError, UnknownNameError

SCHEMA = "tanmeter-account/2"
ENGINE = "account/3"
"""Changes whenever equal inputs would give another inventory; account/2 told neither words nor days left out."""

Kind = Literal["enterprise", "building", "park", "community", "district", "city"]
Part = Literal["direct", "indirect", "offset", "fixed", "memo", "reduction"]
Closure = Literal["", "complete", "exceptions", "partial"]
"""How a version was locked: with nothing open, with named exceptions, or over a part of what is due."""

SHARE = Decimal("1e-6")
NAME = re.compile(r"A-([A-Za-z0-9][A-Za-z0-9._-]{0,63}?)-([0-9]{4}(?:-[0-9]{2}){0,2}(?:--[0-9]{4}-[0-9]{2}-[0-9]{2})?)")


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Decimals are JSON strings without trailing zeros; instants RFC 3339 with the offset of the subject's zone."""


class Totals(_Record, frozen=True):
    """tCO2e, exact sums of the lines. ``by_gas``: of what enters the total. ``by_leaf``: of all but memo lines."""

    direct: Decimal
    indirect: Decimal
    offset: Decimal
    fixed: Decimal
    total: Decimal
    memo: Decimal
    reduction: Decimal
    by_gas: dict[str, Decimal]
    by_leaf: dict[str, Decimal]


class Filled(_Record, frozen=True):
    """A stretch that was not measured, and the rule by which it was filled; ``value`` is None where nothing could.

    ``meter``: gateway/device/point; ``kept``: what was measured of the same stretch and is within ``value``.
    """

    line: str
    symbol: str
    meter: str
    start: str
    end: str
    rule: str
    value: Decimal | None
    unit: str


class LeftOut(_Record, frozen=True):
    """Days of the period, half open, that no line of a source is of. ``line``: the id that its lines have."""

    line: str
    start: str
    end: str


class Inventory(_Record, frozen=True):
    """What an account says and rests on. Equal inputs give equal bytes; the digest of a version is over them.

    ``factor_set``: digest of the grid factors; ``parameter_sets``: of the method's sets and those in their place, by
    id; ``subject_sha256``: of the subject file. Only where it is so, and else not written: ``factor_files``, digest
    of each file of grid factors by name, where they are not the built-in ones; ``adoptions``, of each that confirmed
    something; ``left_out``, days that a source's activity is not of. ``coverage``: readings held of those due at the
    meters that count. ``estimated``: share of the emissions (by size, whatever their sign) that rests on filled gaps.
    ``reasons``: why it is provisional.
    """

    schema: Literal["tanmeter-account/2"]
    subject: str
    name_zh: str
    name_en: str
    kind: Kind
    period: Span
    programme: str
    method: str
    edition: str
    method_sha256: str
    factor_set: str
    parameter_sets: dict[str, str]
    basis: Basis
    region: str
    gwp_set: str
    lines: tuple[Line, ...]
    totals: Totals
    coverage: Coverage
    estimated: Decimal
    reasons: tuple[str, ...]
    filled: tuple[Filled, ...] = ()
    subject_sha256: str = ""
    engine: str = ENGINE
    factor_files: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    adoptions: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    left_out: tuple[LeftOut, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the one JSON form."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


class Effect(_Record, frozen=True):
    """What one source did to the difference, tCO2e. ``id`` is the line's."""

    id: str
    activity: Decimal
    factor: Decimal
    method: Decimal
    boundary: Decimal


class Difference(_Record, frozen=True):
    """What changed, tCO2e: total = activity + factor + method + boundary, exactly.

    ``vintage`` is the part of ``factor`` that comes from grid factors of another year. ``effects``: each source that
    moved, greatest first; their columns sum to the figures above.
    """

    total: Decimal
    activity: Decimal
    factor: Decimal
    vintage: Decimal
    method: Decimal
    boundary: Decimal
    effects: tuple[Effect, ...]


class Version(_Record, frozen=True):
    """A version of an account. ``as_of``: how far the record went into it (ingest seq); ``locked_by``: four eyes.

    ``closure`` says how it was locked, ``exceptions`` what was accepted with it, by name.
    """

    id: str
    version: int
    state: State
    minted_at: str
    locked_by: tuple[str, ...]
    as_of: int
    digest: str
    supersedes: int | None
    difference: Difference | None
    content: Inventory
    closure: Closure = ""
    exceptions: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """How this version is named: ``A-S-0012-2026-11@2``; without a number when it was never issued."""
        return f"{self.id}@{self.version}" if self.version else self.id


def account_id(subject: str, period: str) -> str:
    """``A-<subject>-<period>``."""
    return f"A-{subject}-{period}"


def parse_reference(text: str) -> tuple[str, int | None]:
    """Id and version of ``A-S-0012-2026-11@2`` or ``A-S-0012-2026-11``; UnknownNameError."""
    name, at, version = text.partition("@")
    if NAME.fullmatch(name) is None or (at and VERSION.fullmatch(version) is None):
        raise UnknownNameError("account", text, "a name like A-S-0012-2026-11@2")
    return name, int(version) if at else None


def by_reason(exceptions: Iterable[str]) -> dict[str, list[str]]:
    """Exceptions of a lock (``factor.draft: ndrc-24-2015:EF_heat``) as reason -> what it concerns."""
    found: dict[str, list[str]] = {}
    for exception in exceptions:
        reason, _, concerned = exception.partition(": ")
        found.setdefault(reason, []).extend([concerned] if concerned else [])
    return found


def part(accounting: Class) -> Part:
    """Which of the totals a line of this class belongs to."""
    match accounting:
        case "memo" | "reduction":
            return accounting
        case "direct_fixed":
            return "fixed"
        case "indirect_electricity_offset":
            return "offset"
        case _:
            return "direct" if accounting.startswith("direct") else "indirect"


def totals(lines: Iterable[Line]) -> Totals:
    """The sums of lines, exact: whatever is grouped in whatever order comes out the same."""
    parts: dict[Part, Decimal] = dict.fromkeys(("direct", "indirect", "offset", "fixed", "memo", "reduction"), _ZERO)
    by_gas: dict[str, Decimal] = {}
    by_leaf: dict[str, Decimal] = {}
    for line in lines:
        own = part(line.class_)
        parts[own] = EXACT.add(parts[own], line.tco2e)
        if own not in ("memo", "reduction"):
            by_gas[line.gas] = EXACT.add(by_gas.get(line.gas, _ZERO), line.tco2e)
        if own != "memo":
            by_leaf[line.leaf] = EXACT.add(by_leaf.get(line.leaf, _ZERO), line.tco2e)
    total = _ZERO
    for name in ("direct", "indirect", "offset", "fixed"):
        total = EXACT.add(total, parts[name])
    return Totals(
        direct=plain(parts["direct"]),
        indirect=plain(parts["indirect"]),
        offset=plain(parts["offset"]),
        fixed=plain(parts["fixed"]),
        total=plain(total),
        memo=plain(parts["memo"]),
        reduction=plain(parts["reduction"]),
        by_gas={name: plain(by_gas[name]) for name in sorted(by_gas)},
        by_leaf={name: plain(by_leaf[name]) for name in sorted(by_leaf)},
    )


def estimated(lines: Iterable[Line]) -> Decimal:
    """Share of the emissions, by size, that rests on filled gaps: 0 to 1, to a millionth, rounded up."""
    held = tuple(lines)
    if not any(one.estimated for line in held for one in line.activities):
        return _ZERO
    whole = filled = _ZERO
    for line in held:
        size = line.tco2e.copy_abs()
        share = max((one.estimated for one in line.activities), default=_ZERO)
        whole, filled = EXACT.add(whole, size), EXACT.add(filled, EXACT.multiply(size, share))
    if not whole:
        return _ZERO
    return plain(min(Decimal(1), ARITHMETIC.divide(filled, whole).quantize(SHARE, rounding="ROUND_CEILING")))


def files_of(found: Inventory) -> set[str]:
    """The digests of the files that an account rests on: method, parameter sets, grid factors."""
    built_in = {name: sha256 for name, sha256 in contents.installed().items() if name.startswith("factors/")}
    grid = found.factor_files or built_in
    return {found.method_sha256, *found.parameter_sets.values(), *grid.values()}


def same(found: Inventory, held: Inventory) -> bool:
    """Whether two inventories say the same, whichever engine drew them up: its name alone makes no newer version."""
    if found.engine == held.engine:
        return found.digest == held.digest
    lines = (
        tuple(msgspec.structs.replace(line, engine="") for line in found.lines),
        tuple(msgspec.structs.replace(line, engine="") for line in held.lines),
    )
    old, new = (
        msgspec.structs.replace(one, engine="", lines=own) for one, own in zip((found, held), lines, strict=True)
    )
    return old == new


def to_json(version: Version) -> bytes:
    """The one JSON form of a version: indented for a reader, ends with a newline."""
    return msgspec.json.format(msgspec.json.encode(version), indent=1) + b"\n"


def inventory_from(source: bytes) -> Inventory:
    """The inventory in its one JSON form; AccountError for any other bytes."""
    try:
        found = msgspec.json.decode(source, type=Inventory)
    except msgspec.DecodeError as error:
        raise AccountError(f"account: {error}, expected the form of {SCHEMA}") from error
    if msgspec.json.encode(found) != source:
        raise AccountError("account: found another way to write it, expected the one JSON form")
    return found


_ZERO = Decimal(0)
