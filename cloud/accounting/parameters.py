"""Parameters of the methods: calorific values, carbon contents, process factors; sets by guideline and edition.

There is no set for all: a tonne of anthracite is 1.92 to 2.52 tCO2 by the table of the guideline, so a method names
its sets. Each entry carries its document, where in it, and how well it is known; what no second source confirms is
DRAFT. A set is a TOML file that is never changed: a correction is a new file beside it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec

from cloud.accounting import standing as words
from cloud.accounting.standing import Quality, Standing, Status
from cloud.accounting.units import Quantity, unit
from drivers import toml
from protocols.errors import ConfigError, FactorError, UnitError

Phase = Literal["solid", "liquid", "gas"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value of a set. ``id`` is ``<set>:<symbol>``; ``uncertainty`` is the half width of its 95 % range in percent,
    None where no source gives one.

    ``row``: table or page of the document. ``imported``: it came in a bundle. ``sha256``: over the file of its set.
    ``over``: the id of the value it stands in for, ``adoption``: what raised its status; both "" as a rule.
    """

    id: str
    quantity: Quantity
    status: Status
    standing: Standing
    row: str
    zh: str
    en: str
    condition: str
    sources: tuple[str, ...]
    uncertainty: Decimal | None
    document: str
    edition: str
    sha256: str = ""
    publisher: str = ""
    published: date | None = None
    url: str | None = None
    attachment_sha256: str | None = None
    tier: Quality = "default"
    basis: str = ""
    region: str = ""
    data_year: int | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    reason: str = ""
    replaced_by: str = ""
    imported: bool = False
    over: str = ""
    adoption: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """What a symbol may be of: a fuel, a carbonate, a product. ``phase`` where it decides the indicator leaf."""

    id: str
    zh: str
    en: str
    phase: Phase | None


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """One file: its items and its values by symbol. ``sha256`` is over its bytes."""

    id: str
    edition: str
    document: str
    items: Mapping[str, Item]
    values: Mapping[str, Parameter]
    sha256: str

    def get(self, symbol: str) -> Parameter:
        """The value of this symbol; FactorError where there is none (it is never 0) or where it is retired."""
        found = self.values.get(symbol)
        if found is None:
            raise FactorError(f"parameter {symbol}: found none in set {self.id}, expected one")
        words.in_force(f"parameter {found.id}", found.status, found.replaced_by)
        return found


class _Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(pattern=r"^\S+$")]
    zh: str
    en: str
    phase: Phase | None = None


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    symbol: Annotated[str, msgspec.Meta(pattern=r"^\S+$")]
    value: Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?$")]
    unit: str
    status: Status
    standing: Standing
    row: str
    zh: str
    en: str
    condition: str = ""
    sources: tuple[str, ...] = ()
    uncertainty: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,4}(\.[0-9]{1,6})?$")] | None = None
    tier: Quality = "default"
    basis: str = ""
    region: str = ""
    data_year: Annotated[int, msgspec.Meta(ge=1990, le=2100)] | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    reason: str = ""
    replaced_by: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    edition: str
    document: str
    parameter: tuple[_Value, ...]
    item: tuple[_Item, ...] = ()
    publisher: str = ""
    published: date | None = None
    url: str | None = None
    attachment_sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    data_year: Annotated[int, msgspec.Meta(ge=1990, le=2100)] | None = None
    valid_from: date | None = None
    valid_until: date | None = None


def load(name: str, source: bytes) -> ParameterSet:
    """The set in this file; ConfigError names the place that is wrong."""
    document = toml.load(source, _File, name)
    if name != f"{document.id}.toml":
        raise ConfigError(f"{name}: id", repr(document.id), f"the name of the file, {name.removesuffix('.toml')!r}")
    digest = hashlib.sha256(source).hexdigest()
    values: dict[str, Parameter] = {}
    for index, entry in enumerate(document.parameter):
        where = f"{name}: parameter[{index}]"
        if entry.symbol in values:
            raise ConfigError(f"{where}.symbol", repr(entry.symbol), "each symbol once")
        words.check(entry.status, entry.standing, entry.replaced_by, where)
        values[entry.symbol] = _parameter(document, entry, digest, where)
    _no_copies(values, name)
    items = {entry.id: Item(entry.id, entry.zh, entry.en, entry.phase) for entry in document.item}
    return ParameterSet(document.id, document.edition, document.document, items, values, digest)


@cache
def builtin() -> Mapping[str, ParameterSet]:
    """The sets this edition of the software comes with, by id."""
    folder = files("cloud.accounting").joinpath("parameters")
    found = [load(entry.name, entry.read_bytes()) for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return {entry.id: entry for entry in sorted(found, key=lambda one: one.id)}


def _parameter(document: _File, entry: _Value, digest: str, where: str) -> Parameter:
    try:
        quantity = Quantity(Decimal(entry.value), unit(entry.unit))
    except UnitError as error:
        raise ConfigError(f"{where}.unit", repr(entry.unit), str(error)) from error
    _plausible(entry, quantity, where)
    first, until = entry.valid_from or document.valid_from, entry.valid_until or document.valid_until
    words.check_days(first, until, where)
    return Parameter(
        id=f"{document.id}:{entry.symbol}",
        quantity=quantity,
        status=entry.status,
        standing=entry.standing,
        row=entry.row,
        zh=entry.zh,
        en=entry.en,
        condition=entry.condition,
        sources=entry.sources,
        uncertainty=None if entry.uncertainty is None else Decimal(entry.uncertainty),
        document=document.document,
        edition=document.edition,
        sha256=digest,
        publisher=document.publisher,
        published=document.published,
        url=document.url,
        attachment_sha256=document.attachment_sha256,
        tier=entry.tier,
        basis=entry.basis,
        region=entry.region,
        data_year=entry.data_year or document.data_year,
        valid_from=first,
        valid_until=until,
        reason=entry.reason,
        replaced_by=entry.replaced_by,
    )


_BOUNDS = {
    "NCV": (("GJ/t", "2", "125"), ("GJ/1e4Nm3", "10", "1500")),
    "CC": (("tC/GJ", "0.010", "0.080"),),
    "OF": (("1", "0.5", "1"),),
}
"""Outside these a value is a slip of its unit: kJ for GJ, MWh for GJ, kg for t, a percentage for a fraction."""

_ALIKE = Decimal("0.002")


def _plausible(entry: _Value, quantity: Quantity, where: str) -> None:
    for text, low, high in _BOUNDS.get(entry.symbol.partition(".")[0], ()):
        if quantity.unit.dimension == unit(text).dimension and not Decimal(low) <= quantity.to(unit(text)) <= Decimal(
            high
        ):
            raise ConfigError(f"{where}.value", f"{entry.value} {entry.unit}", f"from {low} to {high} {text}")


def copied(heat: Decimal, carbon: Decimal) -> bool:
    """Whether a carbon content (tC/GJ) is the calorific value (GJ/t) by a thousand: copied, not measured."""
    return abs(carbon * 1000 - heat) <= heat * _ALIKE


def _no_copies(values: Mapping[str, Parameter], name: str) -> None:
    for symbol, heat in values.items():
        carbon = values.get(f"CC.{symbol.removeprefix('NCV.')}") if symbol.startswith("NCV.") else None
        if carbon is None or heat.quantity.unit.text != "GJ/t":
            continue
        if copied(heat.quantity.value, carbon.quantity.value):
            found = f"{carbon.quantity.value}, a thousandth of NCV {heat.quantity.value}"
            raise ConfigError(f"{name}: {carbon.id}", found, "the carbon content, not the calorific value copied")
