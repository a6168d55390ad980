"""Whom accounts are drawn up for, what belongs to whom, and which meter feeds which row of a method: typed values.

As a subject file says them (``subject_file``). Every value of a quantity is a text with its unit.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

from cloud.accounting.factors import NATIONAL, Basis
from cloud.accounting.inventory import Kind
from cloud.accounting.method import Class, GwpSet
from cloud.accounting.units import Quantity, quantity

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Hex = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{32})?$")]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$")]
Category = Literal["energy", "industry", "building", "transport", "park", "community", "reduction"]
Role = Literal["main", "sub"]
Semantics = Literal["cumulative", "instantaneous"]
Mode = Literal["MAIN_TOTAL", "SUB_SUM", "INDEPENDENT", "MAIN_WITH_BREAKDOWN"]
DenominatorKind = Literal["output", "added-value", "gdp", "area", "population", "km", "t-km"]
DENOMINATORS: Mapping[DenominatorKind, tuple[str, ...]] = {
    "output": ("t", "each", "MWh", "m2", "m3", "1e4Nm3"),
    "added-value": ("CNY",),
    "gdp": ("CNY",),
    "area": ("m2",),
    "population": ("person",),
    "km": ("km",),
    "t-km": ("t·km",),
}
"""Units whose dimension a denominator of this kind may have."""
ZONE = ZoneInfo("Asia/Shanghai")
"""Whose midnights begin a subject's days."""


class _Part(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from", "class_": "class", "set_": "set"}
):
    """Every value of a quantity is a text with its unit."""


class Place(_Part, frozen=True):
    """Where on the map, degrees (WGS 84)."""

    lon: str
    lat: str


class Membership(_Part, frozen=True):
    """Belongs to ``of`` with this share over these days; without ``until`` it still does."""

    of: Id
    since: date
    share: str = "1"
    until: date | None = None


class Fixed(_Part, frozen=True):
    """A symbol that is not metered but known: an enthalpy, a calorific value, with the document it rests on."""

    value: str
    document: str
    sha256: Sha256 = ""
    uncertainty: str | None = None


class Meter(_Part, frozen=True):
    """A point of an installed device that feeds a symbol of a row.

    ``role`` sub: shown beside its main meter ``of``, never added. ``semantics``: cumulative is a register,
    instantaneous a flow, whose hours without a sample are gaps. Totals that somebody else took over a period come as
    an activity file. ``normal``: a gas meter in m3 is brought to Nm3 by the ``pressure`` (absolute, or with
    ``atmosphere_kpa`` above the air's) and ``temperature`` points of the same device, or by this declared factor with
    its document. ``ceiling``: the greatest amount in an hour, as it counts, which fills gaps; a flow must have one.
    ``class_``: accuracy, percent.
    """

    device: Id
    point: str
    row: str
    symbol: str
    gateway: Hex = ""
    item: str = ""
    label: str = ""
    role: Role = "main"
    of: str = ""
    semantics: Semantics = "cumulative"
    class_: str = ""
    pressure: str = ""
    temperature: str = ""
    atmosphere_kpa: str = "0"
    normal: Fixed | None = None
    ceiling: str = ""
    given: dict[str, Fixed] = {}
    supplier: str = ""
    since: date | None = None
    until: date | None = None

    @property
    def name(self) -> str:
        """What ``of`` calls it."""
        return f"{self.device}.{self.point}"

    def covers(self, day: date) -> bool:
        """Whether it feeds its row on this day."""
        return (self.since is None or self.since <= day) and (self.until is None or day < self.until)


class Monitor(_Part, frozen=True):
    """A flue-gas monitor: the mass of CO2 that it measured in a stack is the control of the lines that burn into it.

    It is never added to them. ``point`` gives CO2 as a flow (kg/h) or counts it; ``lines`` are named by their id or the
    beginning of it; ``uncertainty`` is U95 of the mass in percent, as ``document`` says (calibration, comparison).
    """

    stack: Id
    device: Id
    lines: tuple[str, ...]
    uncertainty: str
    document: str
    point: str = "co2_mass_rate"
    gateway: Hex = ""
    sha256: Sha256 = ""
    since: date | None = None
    until: date | None = None


class Capacity(_Part, frozen=True):
    """The most that a symbol of each line of a row can come to in an hour, as installed; ``label`` "" is any of them.

    More than that is a slip, which no other period is needed for to tell.
    """

    row: str
    symbol: str
    most: str
    document: str
    item: str = ""
    label: str = ""


class InUse(_Part, frozen=True):
    """Over which days a source was there at all, as ``document`` says: without ``since`` ever, without ``until`` still.

    ``row`` "": all of the subject; ``item`` and ``label`` "": any of them. What several of one kind say goes together:
    a boiler of two winters has two. Outside of these days a source owes no activity.
    """

    document: str
    row: str = ""
    item: str = ""
    label: str = ""
    sha256: Sha256 = ""
    since: date | None = None
    until: date | None = None


class Metering(_Part, frozen=True):
    """How a whole's own lines of a class stand to its members' of the same class, where both are metered."""

    class_: Class
    mode: Mode


class Override(_Part, frozen=True):
    """An imported set that counts for a subject from a day on, ``over`` another one or beside those of the method."""

    set_: Id
    since: date
    over: str = ""
    programme: str = ""
    until: date | None = None


class Denominator(_Part, frozen=True):
    """What an intensity is per: so much over a period, as a document says; ``uncertainty`` is U95 in percent."""

    kind: DenominatorKind
    value: str
    period: str
    document: str
    product: str = ""
    sha256: Sha256 = ""
    uncertainty: str | None = None

    @property
    def quantity(self) -> Quantity:
        """The value with its unit."""
        return quantity(self.value)


class Target(_Part, frozen=True):
    """What may be emitted in a year, tCO2e: a quota that is allotted, or a target that is set."""

    year: Annotated[int, msgspec.Meta(ge=2000, le=2100)]
    tco2e: str
    kind: Literal["quota", "target"]
    document: str = ""


class Baseline(_Part, frozen=True):
    """What a reduction is counted against, frozen: emissions of a period, by a method and a document."""

    id: Id
    period: str
    tco2e: str
    method: str
    document: str
    sha256: Sha256 = ""


class Filing(_Part, frozen=True):
    """Where a subject files its accounts, how often and by when; ``document`` says so.

    ``due``: ``"40d"``, so many days after the period's last, or ``"03-31"``, a day of the year after (of a year's);
    "" where there is no day. ``by`` report: somebody hands a locked account in. feed: whoever is there fetches what is
    issued, locked or not.
    """

    zh: str
    en: str
    every: Literal["day", "month", "year"]
    since: date
    due: str = ""
    by: Literal["report", "feed"] = "report"
    document: str = ""
    until: date | None = None


class Subject(_Part, frozen=True):
    """Whom an account is drawn up for. ``method`` "" where only its members have one (a park that only sums).

    ``outline``: the corners of a district or a park on the map, longitude and latitude in degrees (WGS 84), in order.
    """

    id: Id
    zh: str
    en: str
    kind: Kind
    category: Category
    method: str = ""
    region: str = NATIONAL
    basis: Basis = "average"
    gwp: GwpSet | None = None
    site: str = ""
    place: Place | None = None
    outline: tuple[tuple[str, str], ...] = ()
    membership: tuple[Membership, ...] = ()
    meter: tuple[Meter, ...] = ()
    monitor: tuple[Monitor, ...] = ()
    metering: tuple[Metering, ...] = ()
    denominator: tuple[Denominator, ...] = ()
    target: tuple[Target, ...] = ()
    baseline: tuple[Baseline, ...] = ()
    factors: tuple[Override, ...] = ()
    capacity: tuple[Capacity, ...] = ()
    in_use: tuple[InUse, ...] = ()
    filing: tuple[Filing, ...] = ()

    def members_of(self, day: date) -> Mapping[str, Decimal]:
        """What it belongs to on a day, with its share."""
        return {
            one.of: Decimal(one.share)
            for one in self.membership
            if one.since <= day and (one.until is None or day < one.until)
        }
