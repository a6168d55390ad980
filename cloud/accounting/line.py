"""An emission line: one source row, one thing, one period; all that made its mass, and a digest that replay repeats."""

import hashlib
from decimal import Decimal
from typing import Literal

import msgspec

from cloud.accounting.method import Class
from cloud.accounting.standing import Status

ENGINE = "lines/2"
"""Changes whenever equal inputs would give another line. lines/1 did not tell a declared amount without a document."""

PLACES = Decimal("1e-12")
"""A line's tonnes are rounded once, to a microgram; every sum above it is exact, so a roll-up equals its lines."""

Grade = Literal["metered", "imported", "declared"]
"""metered: sealed intervals. imported: a signed file. declared: typed by somebody, with the document's digest."""

Tier = Literal["measured", "supplier", "regional", "national", "default", "formula"]
"""Quality of a parameter, best first; ``formula``: what the formula itself takes where nothing is said."""

State = Literal["provisional", "locked", "superseded"]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Decimals are JSON strings; a unit stands beside each.

    Like all values of an account, a tree: the search for cycles leaves it out (``gc=False``), which took half the time.
    """


class Activity(_Record, frozen=True):
    """A symbol's activity. ``reference``: what it rests on (increments, file, document), with its digest; ``by``: who
    declared it. ``uncertainty``: half width of the 95 % range in percent. ``estimated``: share that fills gaps.
    """

    symbol: str
    value: Decimal
    unit: str
    grade: Grade
    reference: str
    sha256: str = ""
    by: str = ""
    uncertainty: Decimal | None = None
    estimated: Decimal = Decimal(0)


class Used(_Record, frozen=True):
    """A parameter as it was used: a snapshot, not a reference. ``id`` names the set and symbol, or the document of a
    measured one; ``key`` is equal for lines whose parameter is the same thing (fully correlated).

    Only where it is so, and else not written at all: ``set_sha256``, of an imported set the digest of its file;
    ``over``, the id of the value that stepped back for it; ``adoption``, the one that raised its status.
    """

    symbol: str
    value: Decimal
    unit: str
    tier: Tier
    id: str
    key: str
    status: Status
    document: str
    uncertainty: Decimal | None = None
    set_sha256: str | msgspec.UnsetType = msgspec.UNSET
    over: str | msgspec.UnsetType = msgspec.UNSET
    adoption: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def grid(self) -> bool:
        """Whether it is the electricity factor of a grid: chosen by basis, region and year."""
        return self.tier in ("regional", "national") and ":" not in self.id

    @property
    def given(self) -> bool:
        """Whether it came with the activity; every other one is looked up anew."""
        return self.tier in ("measured", "supplier") and self.set_sha256 is msgspec.UNSET


class Line(_Record, frozen=True):
    """``mass`` (t of ``gas``, unsigned) by the block; ``tco2e`` = sign x mass x gwp. The mass is rounded once (PLACES).

    ``start`` and ``end`` are days, half open, in the subject's zone. ``reasons``: message ids of what keeps it
    provisional. ``supplier``: who sold this heat or power, for elimination inside a boundary. ``proof``: the
    certificate of green power, hydrogen or a reduction, used once in the whole city; several of them sorted and parted
    by "; ". ``adoptions``: those that
    confirmed the method or its row, not written where there is none.
    """

    id: str
    subject: str
    start: str
    end: str
    method: str
    edition: str
    method_sha256: str
    row: str
    item: str
    label: str
    block: str
    formula: str
    sign: int
    gas: str
    class_: Class = msgspec.field(name="class")
    leaf: str
    report: str
    activities: tuple[Activity, ...]
    parameters: tuple[Used, ...]
    mass: Decimal
    gwp_set: str
    gwp: Decimal
    tco2e: Decimal
    reasons: tuple[str, ...]
    engine: str = ENGINE
    supplier: str = ""
    proof: str = ""
    adoptions: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def meters(self) -> tuple[str, ...]:
        """What it rests on of meters: ``meter:<gateway>/<device>/<point>``, whatever the hours."""
        return tuple("/".join(one.reference.split("/")[:3]) for one in self.activities if one.grade == "metered")

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the line's one JSON form."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()
