"""Emission factors: read from versioned files and chosen by rule; never changed, never guessed."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec

from drivers import toml
from protocols.errors import ConfigError, FactorError

Basis = Literal["average", "residual", "fossil"]
"""average: all generation of the grid. residual: without market-traded non-fossil. fossil: fossil generation only."""
NATIONAL = "national"
EARLIER_YEAR = "factor.earlier-year"
DRAFT = "factor.draft"


@dataclass(frozen=True, slots=True)
class Factor:
    """One emission factor with the document it comes from. ``value`` is in ``unit`` (kgCO2/kWh, equal to tCO2/MWh).

    ``status`` is TRANSCRIBED when public transcriptions of the notice agree, else DRAFT with the ``reason``.
    ``file`` names the factor file that holds it.
    """

    id: str
    value: Decimal
    unit: str
    basis: Basis
    region: str
    data_year: int
    status: Literal["TRANSCRIBED", "DRAFT"]
    reason: str
    publisher: str
    notice: str
    published: date
    url: str | None
    attachment_sha256: str | None
    zh: str
    en: str
    file: str


@dataclass(frozen=True, slots=True)
class FactorSet:
    """An immutable bundle of factors. ``sha256`` is over the lines ``<sha256 of file>  <name>\\n``, names in order."""

    factors: tuple[Factor, ...]
    sha256: str
    files: Mapping[str, bytes]

    def get(self, factor_id: str) -> Factor:
        """The factor of this id; FactorError when the set has none."""
        for factor in self.factors:
            if factor.id == factor_id:
                return factor
        raise FactorError(f"factor {factor_id}: found none in set {self.sha256[:16]}, expected one")


@dataclass(frozen=True, slots=True)
class Choice:
    """The one factor that fits. ``reasons`` are message ids; with any of them the figure is provisional."""

    factor: Factor
    year: int
    reasons: tuple[str, ...]

    @property
    def provisional(self) -> bool:
        """Whether a better factor is to be expected: the year's own, or the same one once it is reviewed."""
        return bool(self.reasons)


def resolve(known: FactorSet, basis: Basis, region: str, year: int) -> Choice:
    """The factor of this basis and region for a year of activity: exactly one, or FactorError.

    Where the year's own is not published, the newest earlier one, provisionally.
    """
    fitting = [entry for entry in known.factors if (entry.basis, entry.region) == (basis, region)]
    newest = max((entry.data_year for entry in fitting if entry.data_year <= year), default=None)
    if newest is None:
        raise FactorError(f"{basis} factor of {region} for {year}: found none of {year} or before, expected one")
    found = [entry for entry in fitting if entry.data_year == newest]
    if len(found) > 1:
        names = " and ".join(entry.id for entry in found)
        raise FactorError(f"{basis} factor of {region} for {year}: found {names}, expected exactly one")
    reasons = (EARLIER_YEAR,) * (newest < year) + (DRAFT,) * (found[0].status == "DRAFT")
    return Choice(found[0], year, reasons)


@cache
def builtin() -> FactorSet:
    """The factors this edition of the software comes with."""
    folder = files("cloud.accounting").joinpath("factors")
    return load({entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(".toml")})


def load(sources: Mapping[str, bytes]) -> FactorSet:
    """The set in these files (name -> bytes); ConfigError names the place that is wrong, FactorError a doubled id."""
    ordered = dict(sorted(sources.items()))
    factors = tuple(factor for name, source in ordered.items() for factor in _read(name, source))
    _each_once(factors)
    lines = "".join(f"{hashlib.sha256(source).hexdigest()}  {name}\n" for name, source in ordered.items())
    return FactorSet(factors, hashlib.sha256(lines.encode()).hexdigest(), ordered)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9.-]+@[0-9]{4}$")]
    basis: Basis
    region: Annotated[str, msgspec.Meta(pattern=r"^[a-z-]+$")]
    zh: str
    en: str
    value: str
    status: Literal["TRANSCRIBED", "DRAFT"]
    reason: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    data_year: Annotated[int, msgspec.Meta(ge=1990, le=2100)]
    unit: Literal["kgCO2/kWh"]
    publisher: str
    notice: str
    published: date
    factor: tuple[_Entry, ...]
    url: str | None = None
    attachment_sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    absent: tuple[str, ...] = ()


def _read(name: str, source: bytes) -> Iterable[Factor]:
    document = toml.load(source, _File, name)
    for index, entry in enumerate(document.factor):
        where = f"{name}: factor[{index}]"
        if not entry.id.endswith(f"@{document.data_year}"):
            raise ConfigError(f"{where}.id", repr(entry.id), f"an id that ends in @{document.data_year}")
        if (entry.status == "DRAFT") != bool(entry.reason):
            raise ConfigError(f"{where}.reason", repr(entry.reason), "a reason exactly when the status is DRAFT")
        if entry.region in document.absent:
            raise ConfigError(f"{where}.region", repr(entry.region), "a region that is not listed as absent")
        yield Factor(
            id=entry.id,
            value=_value(entry.value, f"{where}.value"),
            unit=document.unit,
            basis=entry.basis,
            region=entry.region,
            data_year=document.data_year,
            status=entry.status,
            reason=entry.reason,
            publisher=document.publisher,
            notice=document.notice,
            published=document.published,
            url=document.url,
            attachment_sha256=document.attachment_sha256,
            zh=entry.zh,
            en=entry.en,
            file=name,
        )


def _value(text: str, where: str) -> Decimal:
    """A positive decimal that can be kgCO2/kWh of a grid: a slip of tCO2/kWh or gCO2/kWh does not pass."""
    if re.fullmatch(r"[0-9]\.[0-9]{1,8}", text) is None or not Decimal("0.001") <= Decimal(text) <= Decimal(2):
        raise ConfigError(where, repr(text), "a decimal string from 0.001 to 2, like 0.5306")
    return Decimal(text)


def _each_once(factors: Iterable[Factor]) -> None:
    seen: dict[str, str] = {}
    for factor in factors:
        if factor.id in seen:
            raise FactorError(f"{factor.file}: found {factor.id}, already in {seen[factor.id]}; expected each once")
        seen[factor.id] = factor.file
