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

from cloud.accounting import standing as words
from cloud.accounting.standing import Quality, Standing, Status
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

    ``status``: as in ``standing``, DRAFT with the ``reason``. ``row``: table or page. ``file`` names the factor file
    that holds it, ``sha256`` is over that file. ``uncertainty``: half width of the 95 % range in percent, None where
    no source gives one. ``imported``: it came in a bundle. ``over``: the id of the factor it stands in for,
    ``adoption``: what raised its status.
    """

    id: str
    value: Decimal
    unit: str
    basis: Basis
    region: str
    data_year: int
    status: Status
    reason: str
    publisher: str
    notice: str
    published: date
    url: str | None
    attachment_sha256: str | None
    zh: str
    en: str
    file: str
    sha256: str = ""
    standing: Standing = "confirmed"
    row: str = ""
    uncertainty: Decimal | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    replaced_by: str = ""
    imported: bool = False
    over: str = ""
    adoption: str = ""

    @property
    def set(self) -> str:
        """The id of the file that holds it, as an override and an adoption name it."""
        return self.file.removesuffix(".toml")

    @property
    def tier(self) -> Quality:
        """A factor of the whole country, or of a part of it."""
        return "national" if self.region == NATIONAL else "regional"

    @property
    def place(self) -> tuple[Basis, str, int]:
        """What exactly one factor is chosen by: basis, region and year."""
        return self.basis, self.region, self.data_year


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

    Where the year's own is not published, the newest earlier one, provisionally. One that is retired is refused with
    what stands in its place, and never gives way to an earlier year.
    """
    fitting = [entry for entry in known.factors if (entry.basis, entry.region) == (basis, region)]
    newest = max((entry.data_year for entry in fitting if entry.data_year <= year), default=None)
    if newest is None:
        raise FactorError(f"{basis} factor of {region} for {year}: found none of {year} or before, expected one")
    of_year = [entry for entry in fitting if entry.data_year == newest]
    found = [entry for entry in of_year if entry.status != "RETIRED"]
    if not found:
        words.in_force(f"factor {of_year[0].id}", of_year[0].status, of_year[0].replaced_by)
    if len(found) > 1:
        names = " and ".join(entry.id for entry in found)
        raise FactorError(f"{basis} factor of {region} for {year}: found {names}, expected exactly one")
    reasons = (EARLIER_YEAR,) * (newest < year) + (DRAFT,) * words.provisional(found[0].status)
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


def over(name: str, source: bytes) -> str:
    """The file that a file of grid factors stands in for where a subject says so, "" for one that stands for itself."""
    return toml.load(source, _File, name).over or ""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9.-]+@[0-9]{4}$")]
    basis: Basis
    region: Annotated[str, msgspec.Meta(pattern=r"^[a-z-]+$")]
    zh: str
    en: str
    value: str
    status: Status
    reason: str = ""
    standing: Standing | None = None
    row: str = ""
    uncertainty: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,4}(\.[0-9]{1,6})?$")] | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    replaced_by: str = ""


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
    over: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")] | None = None


def _read(name: str, source: bytes) -> Iterable[Factor]:
    document = toml.load(source, _File, name)
    digest = hashlib.sha256(source).hexdigest()
    for index, entry in enumerate(document.factor):
        where = f"{name}: factor[{index}]"
        if not entry.id.endswith(f"@{document.data_year}"):
            raise ConfigError(f"{where}.id", repr(entry.id), f"an id that ends in @{document.data_year}")
        if (entry.status == "DRAFT") != bool(entry.reason):
            raise ConfigError(f"{where}.reason", repr(entry.reason), "a reason exactly when the status is DRAFT")
        if entry.region in document.absent:
            raise ConfigError(f"{where}.region", repr(entry.region), "a region that is not listed as absent")
        standing: Standing = entry.standing or ("transcribed" if entry.status == "DRAFT" else "confirmed")
        words.check(entry.status, standing, entry.replaced_by, where)
        words.check_days(entry.valid_from, entry.valid_until, where)
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
            sha256=digest,
            standing=standing,
            row=entry.row,
            uncertainty=None if entry.uncertainty is None else Decimal(entry.uncertainty),
            valid_from=entry.valid_from,
            valid_until=entry.valid_until,
            replaced_by=entry.replaced_by,
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
