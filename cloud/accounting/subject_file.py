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

    [[subject.in_use]]               # a source that was there only from or until a day; row left out: all
    row = "24-01"
    item = "natural_gas"
    label = "boiler 2"
    from = 2025-06-12
    document = "commissioning report"

    [[subject.membership]]
    of = "P-01"
    from = 2025-01-01

    [[subject.factors]]              # or [[factors]] at the head of the file, for everybody in it
    set = "city-lab-2026"            # imported and signed: its values stand in place of
    over = "ndrc-24-2015-fuels"      # those of this set; left out: beside those of the method
    programme = ""                   # of a method; "" for any
    from = 2026-01-01

    [[subject.filing]]               # or [[filing]] at the head of the file, for everybody in it with a method
    zh = "省重点用能单位平台"         # where it is filed
    en = "provincial platform"
    every = "month"                  # day, month or year
    due = "10d"                      # days after the period's last; of a year also a day of the next: "03-31"
    by = "report"                    # somebody hands it in; "feed": it is fetched from here
    document = "notice 2026-7"
    from = 2026-01-01

A file is kept as it was written and named by its digest; a later file with the same subject is a later version of it.
Numbers are decimal strings, days are half open: ``from`` is in, ``until`` is out. ConfigError names the place.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Literal

import msgspec

from cloud.accounting import blocks, filing
from cloud.accounting import period as periods
from cloud.accounting.block import ITEM, Slot
from cloud.accounting.method import Method
from cloud.accounting.subject import (
    DENOMINATORS,
    ZONE,
    Capacity,
    Denominator,
    Filing,
    Membership,
    Meter,
    Monitor,
    Override,
    Subject,
)
from cloud.accounting.units import Quantity, quantity, unit
from drivers import toml
from protocols.errors import AccountError, ConfigError, MethodError, UnitError


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    subject: tuple[Subject, ...]
    factors: tuple[Override, ...] = ()
    filing: tuple[Filing, ...] = ()


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
        one = _with_heads(own, document)
        if one.id in found:
            raise ConfigError(f"{where}.id", repr(one.id), "each subject once")
        found[one.id] = one
        _check(one, where)
    if not found:
        raise ConfigError(f"{name}: subject", "none", "at least one")
    return SubjectFile(found, hashlib.sha256(source).hexdigest())


def _with_heads(own: Subject, document: _File) -> Subject:
    """A subject with what the head of the file says for everybody in it."""
    filing = document.filing if own.method else ()
    if not document.factors and not filing:
        return own
    return msgspec.structs.replace(own, factors=(*document.factors, *own.factors), filing=(*filing, *own.filing))


def bind(subject: Subject, method: Method) -> None:
    """ConfigError unless every meter feeds a symbol that the method's row has, every capacity bounds one, and what is
    said to be in use is of a row.
    """
    for index, meter in enumerate(subject.meter):
        where = f"subject {subject.id}: meter[{index}]"
        _slots(meter, (meter.symbol, *meter.given), method, where)
    for index, held in enumerate(subject.capacity):
        where = f"subject {subject.id}: capacity[{index}]"
        (slot,) = _slots(held, (held.symbol,), method, where)
        units = [text for text in slot.units if "{" not in text]
        if units and quantity(held.most).unit.dimension not in {unit(text).dimension for text in units}:
            raise ConfigError(f"{where}.most", repr(held.most), f"so much in an hour, in {' or '.join(units)}")
    for index, used in enumerate(subject.in_use):
        if used.row not in ("", *method.rows):
            known = toml.one_of(list(method.rows), used.row)
            raise ConfigError(f"subject {subject.id}: in_use[{index}].row", repr(used.row), known)


def _slots(one: Meter | Capacity, symbols: Iterable[str], method: Method, where: str) -> list[Slot]:
    """The symbols of the row that something is bound to, which its item must be of; ConfigError."""
    try:
        row = method.row(one.row)
        block = blocks.block(row.block)
        found = [block.slot(symbol) for symbol in symbols]
        items = method.items(row) if row.needs_item() and row.gas != ITEM else {}
    except MethodError as error:
        raise ConfigError(where, str(error), f"a symbol of a row of {method.id}") from error
    if items and one.item not in items:
        raise ConfigError(f"{where}.item", repr(one.item), toml.one_of(list(items), one.item))
    return found


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
    _check_filings(one, where)
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
    parts += [(f"in_use[{index}]", used.since or date.min, used.until) for index, used in enumerate(one.in_use)]
    parts += [(f"filing[{index}]", part.since, part.until) for index, part in enumerate(one.filing)]
    for name, since, until in parts:
        if until is not None and since >= until:
            raise ConfigError(f"{where}.{name}.until", str(until), f"a day after {since}")
    for index, used in enumerate(one.in_use):
        if used.since is None and used.until is None:
            raise ConfigError(
                f"{where}.in_use[{index}]", "neither from nor until", "the day it began or ended, or both"
            )
        if not used.row and (used.item or used.label):
            raise ConfigError(f"{where}.in_use[{index}].row", repr(used.row), "the row of its item or label")
    for index, membership in enumerate(one.membership):
        if membership.of == one.id:
            raise ConfigError(f"{where}.membership[{index}].of", repr(one.id), "another subject")
        for other in one.membership[:index]:
            if other.of == membership.of and _overlap(other, membership):
                raise ConfigError(f"{where}.membership[{index}]", f"{other.of} twice at a time", "each day once")


def _overlap(left: Membership | Monitor | Filing, right: Membership | Monitor | Filing) -> bool:
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


def _check_filings(one: Subject, where: str) -> None:
    """Each destination has a name and a day that there is, and is told once at a time for each kind of period."""
    for index, entry in enumerate(one.filing):
        place = f"{where}.filing[{index}]"
        if not one.method:
            raise ConfigError(place, "a filing of a subject without a method", "a subject that has accounts of its own")
        for key, name in (("zh", entry.zh), ("en", entry.en)):
            if not name.strip():
                raise ConfigError(f"{place}.{key}", repr(name), "where it is filed")
        filing.check(entry, f"{place}.due")
        for other in one.filing[:index]:
            if (other.zh, other.every) == (entry.zh, entry.every) and _overlap(other, entry):
                raise ConfigError(f"{place}.zh", f"{entry.zh} twice at a time", "each destination once a day")


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
