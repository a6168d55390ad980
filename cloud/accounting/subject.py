"""A subject file: whom accounts are drawn up for, what belongs to whom, and which meter feeds which row of a method.

    schema = 1

    [[subject]]
    id = "S-0012"
    zh = "示例水泥厂"
    en = "Example cement works"
    kind = "enterprise"
    category = "industry"
    method = "ndrc-24-2015"          # or "mee-ets/8": programme and industry, the edition in force over the period
    region = "national"
    site = "S-0012"

    [[subject.meter]]
    gateway = "0f…"                  # 32 hex digits, or "" for any gateway of the site
    device = "M-01"
    point = "energy_import"
    row = "24-08"
    symbol = "AD"
    class = "0.5"

    [[subject.monitor]]              # a flue-gas monitor: the control of what burns into its stack
    stack = "DA001"
    device = "K-01"
    lines = ["24-01"]
    uncertainty = "6"
    document = "comparison 2025-03"

    [[subject.capacity]]             # the most in an hour: of a boiler, a line, a connection
    row = "24-01"
    item = "natural_gas"
    symbol = "FC"
    most = "0.2 1e4Nm3"
    document = "nameplate of boilers 1 and 2"

    [[subject.membership]]
    of = "P-01"
    from = 2025-01-01

    [[subject.factors]]              # or [[factors]] at the head of the file, for everybody in it
    set = "city-lab-2026"            # imported and signed: its values stand in place of
    over = "ndrc-24-2015-fuels"      # those of this set; left out: beside those of the method
    programme = ""                   # of a method; "" for any
    from = 2026-01-01

A file is kept as it was written and named by its digest; a later file with the same subject is a later version of it.
Numbers are decimal strings, days are half open: ``from`` is in, ``until`` is out. ConfigError names the place.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

from cloud.accounting import blocks
from cloud.accounting import period as periods
from cloud.accounting.block import ITEM
from cloud.accounting.factors import NATIONAL, Basis
from cloud.accounting.inventory import Kind
from cloud.accounting.method import Class, GwpSet, Method
from cloud.accounting.units import Quantity, quantity, unit
from drivers import toml
from protocols.errors import AccountError, ConfigError, MethodError, UnitError

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

    def members_of(self, day: date) -> Mapping[str, Decimal]:
        """What it belongs to on a day, with its share."""
        return {
            one.of: Decimal(one.share)
            for one in self.membership
            if one.since <= day and (one.until is None or day < one.until)
        }


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    subject: tuple[Subject, ...]
    factors: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class SubjectFile:
    """The subjects of a file by id, and the digest that names it."""

    subjects: Mapping[str, Subject]
    sha256: str


@lru_cache(maxsize=16)
def read(name: str, source: bytes) -> SubjectFile:
    """The subjects in a file, each checked by itself; ConfigError names the place that is wrong.

    Kept in mind: a file of a city holds thousands, and each account asks for one of them.
    """
    document = toml.load(source, _File, name)
    found: dict[str, Subject] = {}
    for index, own in enumerate(document.subject):
        where = f"{name}: subject[{index}]"
        one = msgspec.structs.replace(own, factors=(*document.factors, *own.factors)) if document.factors else own
        if one.id in found:
            raise ConfigError(f"{where}.id", repr(one.id), "each subject once")
        found[one.id] = one
        _check(one, where)
    if not found:
        raise ConfigError(f"{name}: subject", "none", "at least one")
    return SubjectFile(found, hashlib.sha256(source).hexdigest())


def bind(subject: Subject, method: Method) -> None:
    """ConfigError unless every meter feeds a symbol that the method's row has, and every capacity bounds one."""
    for index, meter in enumerate(subject.meter):
        where = f"subject {subject.id}: meter[{index}]"
        try:
            row = method.row(meter.row)
            block = blocks.block(row.block)
            block.slot(meter.symbol)
            for name in meter.given:
                block.slot(name)
            items = method.items(row) if row.needs_item() and row.gas != ITEM else {}
        except MethodError as error:
            raise ConfigError(where, str(error), f"a symbol of a row of {method.id}") from error
        if items and meter.item not in items:
            raise ConfigError(f"{where}.item", repr(meter.item), toml.one_of(list(items), meter.item))
    for index, held in enumerate(subject.capacity):
        _bind_capacity(held, method, f"subject {subject.id}: capacity[{index}]")


def _bind_capacity(held: Capacity, method: Method, where: str) -> None:
    try:
        row = method.row(held.row)
        slot = blocks.block(row.block).slot(held.symbol)
        items = method.items(row) if row.needs_item() and row.gas != ITEM else {}
    except MethodError as error:
        raise ConfigError(where, str(error), f"a symbol of a row of {method.id}") from error
    if items and held.item not in items:
        raise ConfigError(f"{where}.item", repr(held.item), toml.one_of(list(items), held.item))
    units = [text for text in slot.units if "{" not in text]
    if units and quantity(held.most).unit.dimension not in {unit(text).dimension for text in units}:
        raise ConfigError(f"{where}.most", repr(held.most), f"so much in an hour, in {' or '.join(units)}")


def _check(one: Subject, where: str) -> None:
    for path, text, low, high in _numbers(one, where):
        number(text, path, low, high)
    if 0 < len(one.outline) < 3:
        raise ConfigError(f"{where}.outline", f"{len(one.outline)} corners", "three or more")
    _check_days(one, where)
    _check_meters(one, where)
    _check_monitors(one, where)
    for index, held in enumerate(one.capacity):
        if _quantity(held.most, f"{where}.capacity[{index}].most").value <= 0:
            raise ConfigError(f"{where}.capacity[{index}].most", repr(held.most), "more than 0 in an hour")
    for index, metering in enumerate(one.metering):
        if metering.class_ in {other.class_ for other in one.metering[:index]}:
            raise ConfigError(f"{where}.metering[{index}].class", repr(metering.class_), "each class once")
    for index, denominator in enumerate(one.denominator):
        _check_denominator(denominator, f"{where}.denominator[{index}]")
    for path, text in _periods(one, where):
        try:
            periods.parse(text, ZONE)
        except AccountError as error:
            raise ConfigError(path, repr(text), "a year, a month, a day or a span FROM--UNTIL") from error


def _numbers(one: Subject, where: str) -> Iterator[tuple[str, str, str, str | None]]:
    """Every bare number with its path and bounds."""
    if one.place is not None:
        yield f"{where}.place.lon", one.place.lon, "-180", "180"
        yield f"{where}.place.lat", one.place.lat, "-90", "90"
    for index, (lon, lat) in enumerate(one.outline):
        yield f"{where}.outline[{index}][0]", lon, "-180", "180"
        yield f"{where}.outline[{index}][1]", lat, "-90", "90"
    for index, membership in enumerate(one.membership):
        yield f"{where}.membership[{index}].share", membership.share, "0", "1"
    for index, target in enumerate(one.target):
        yield f"{where}.target[{index}].tco2e", target.tco2e, "0", None
    for index, baseline in enumerate(one.baseline):
        yield f"{where}.baseline[{index}].tco2e", baseline.tco2e, "0", None
    for index, denominator in enumerate(one.denominator):
        if denominator.uncertainty is not None:
            yield f"{where}.denominator[{index}].uncertainty", denominator.uncertainty, "0", None
    for index, monitor in enumerate(one.monitor):
        yield f"{where}.monitor[{index}].uncertainty", monitor.uncertainty, "0", "100"
    for index, meter in enumerate(one.meter):
        yield f"{where}.meter[{index}].atmosphere_kpa", meter.atmosphere_kpa, "0", "120"
        if meter.class_:
            yield f"{where}.meter[{index}].class", meter.class_, "0", "20"
        for name, fixed in meter.given.items():
            if fixed.uncertainty is not None:
                yield f"{where}.meter[{index}].given.{name}.uncertainty", fixed.uncertainty, "0", None


def _periods(one: Subject, where: str) -> Iterator[tuple[str, str]]:
    for index, denominator in enumerate(one.denominator):
        yield f"{where}.denominator[{index}].period", denominator.period
    for index, baseline in enumerate(one.baseline):
        yield f"{where}.baseline[{index}].period", baseline.period


def _check_days(one: Subject, where: str) -> None:
    """Days in order; in one whole at a time never more than all of it."""
    parts = [(f"membership[{index}]", part.since, part.until) for index, part in enumerate(one.membership)]
    parts += [(f"factors[{index}]", part.since, part.until) for index, part in enumerate(one.factors)]
    parts += [(f"meter[{index}]", meter.since or date.min, meter.until) for index, meter in enumerate(one.meter)]
    parts += [(f"monitor[{index}]", held.since or date.min, held.until) for index, held in enumerate(one.monitor)]
    for name, since, until in parts:
        if until is not None and since >= until:
            raise ConfigError(f"{where}.{name}.until", str(until), f"a day after {since}")
    for index, membership in enumerate(one.membership):
        if membership.of == one.id:
            raise ConfigError(f"{where}.membership[{index}].of", repr(one.id), "another subject")
        for other in one.membership[:index]:
            if other.of == membership.of and _overlap(other, membership):
                raise ConfigError(f"{where}.membership[{index}]", f"{other.of} twice at a time", "each day once")


def _overlap(left: Membership | Monitor, right: Membership | Monitor) -> bool:
    since = max(left.since or date.min, right.since or date.min)
    return since < min(left.until or date.max, right.until or date.max)


def _check_meters(one: Subject, where: str) -> None:
    mains = {meter.name for meter in one.meter if meter.role == "main"}
    for index, meter in enumerate(one.meter):
        place = f"{where}.meter[{index}]"
        if (meter.role == "sub") != bool(meter.of):
            raise ConfigError(f"{place}.of", repr(meter.of), "the main meter of a sub meter, and of no other")
        if meter.of and meter.of not in mains:
            raise ConfigError(f"{place}.of", repr(meter.of), f"a main meter: one of {', '.join(sorted(mains))}")
        if bool(meter.pressure) != bool(meter.temperature):
            raise ConfigError(f"{place}.pressure", "one of pressure and temperature", "both points, or neither")
        if meter.pressure and meter.normal is not None:
            raise ConfigError(f"{place}.normal", "a factor beside pressure and temperature", "one of the two")
        for name, fixed in {**meter.given, **({"normal": meter.normal} if meter.normal else {})}.items():
            _quantity(fixed.value, f"{place}.{name}.value")
        if meter.normal and _quantity(meter.normal.value, place).unit.dimension != unit("Nm3/m3").dimension:
            raise ConfigError(f"{place}.normal.value", repr(meter.normal.value), "a factor in Nm3/m3")
        if not meter.ceiling and (meter.semantics == "instantaneous" or meter.pressure):
            raise ConfigError(f"{place}.ceiling", "none", "the greatest amount in an hour, to fill gaps with")
        if meter.ceiling:
            _quantity(meter.ceiling, f"{place}.ceiling")


def _check_monitors(one: Subject, where: str) -> None:
    """Each stack has one monitor at a time, and burns something."""
    for index, monitor in enumerate(one.monitor):
        place = f"{where}.monitor[{index}]"
        if not monitor.lines:
            raise ConfigError(f"{place}.lines", "none", "the lines that burn into this stack")
        for other in one.monitor[:index]:
            if other.stack == monitor.stack and _overlap(other, monitor):
                raise ConfigError(f"{place}.stack", f"{monitor.stack} twice at a time", "one monitor of a stack a day")


def _check_denominator(one: Denominator, where: str) -> None:
    found = _quantity(one.value, f"{where}.value")
    if found.value <= 0 or found.unit.dimension not in {unit(text).dimension for text in DENOMINATORS[one.kind]}:
        raise ConfigError(f"{where}.value", repr(one.value), f"more than 0 in {' or '.join(DENOMINATORS[one.kind])}")


def _quantity(text: str, where: str) -> Quantity:
    try:
        return quantity(text)
    except UnitError as error:
        raise ConfigError(where, repr(text), str(error)) from error


def number(text: str, where: str, low: str, high: str | None) -> Decimal:
    """The number in a text, within its bounds; ConfigError."""
    expected = f"a number from {low}" + (f" to {high}" if high is not None else "")
    try:
        found = Decimal(text)
    except InvalidOperation as error:
        raise ConfigError(where, repr(text), expected) from error
    if not found.is_finite() or found < Decimal(low) or (high is not None and found > Decimal(high)):
        raise ConfigError(where, repr(text), expected)
    return found
