"""Bounds of the cross-checks as data: read once, refused where they are out of order."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Literal

import msgspec

from cloud.accounting.units import ARITHMETIC, Unit, unit
from drivers import toml
from protocols.errors import ConfigError, UnknownNameError


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers are decimal strings."""


class Limit(_Part, frozen=True):
    """Beyond ``warn`` somebody looks, beyond ``block`` nothing is locked. ``air``: oxygen in it, percent."""

    warn: Decimal
    block: Decimal
    air: Decimal = Decimal(0)


class HeatRate(_Part, frozen=True):
    """GJ for a MWh: below ``least`` is impossible, outside ``low`` to ``high`` unusual."""

    least: Decimal
    low: Decimal
    high: Decimal
    unverified: bool = False


class _Flue(_Part, frozen=True):
    fuel: str
    co2: Decimal
    unverified: bool = False


class _Saturated(_Part, frozen=True):
    mpa: Decimal
    kj: Decimal


class _Superheated(_Part, frozen=True):
    celsius: Decimal
    kj: Decimal


class Published(_Part, frozen=True):
    """tCO2 for a unit of a fuel, as published."""

    item: str
    unit: str
    value: Decimal


class Band(_Part, frozen=True):
    """What a unit of a product may take."""

    id: str
    zh: str
    en: str
    unit: str
    low: Decimal
    high: Decimal
    unverified: bool = False

    @property
    def known(self) -> Unit:
        """Its unit."""
        return unit(self.unit)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"heat_rate": "heat-rate"}):
    schema: Literal[1]
    en: Limit
    bill: Limit
    stock: Limit
    carbon: Limit
    composite: Limit
    heat_rate: HeatRate
    steam: Limit
    oxygen: Limit
    flue: tuple[_Flue, ...]
    saturated: tuple[_Saturated, ...]
    superheated: tuple[_Superheated, ...]
    published: tuple[Published, ...]
    band: tuple[Band, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """All of them. ``saturated``: kJ/kg by MPa; ``superheated``: the most by Celsius, both rising."""

    en: Limit
    bill: Limit
    stock: Limit
    carbon: Limit
    composite: Limit
    heat_rate: HeatRate
    steam: Limit
    oxygen: Limit
    flue: Mapping[str, Decimal]
    saturated: tuple[tuple[Decimal, Decimal], ...]
    superheated: tuple[tuple[Decimal, Decimal], ...]
    published: Mapping[str, Published]
    bands: Mapping[str, Band]

    def band(self, name: str) -> Band:
        """The band of this id; UnknownNameError."""
        if name not in self.bands:
            raise UnknownNameError("band", name, f"one of {', '.join(self.bands)}")
        return self.bands[name]


@cache
def builtin() -> Bounds:
    """The bounds as shipped."""
    return load("bounds.toml", files("cloud.accounting").joinpath("bounds.toml").read_bytes())


def load(name: str, source: bytes) -> Bounds:
    """Bounds out of a file; ConfigError for a limit that blocks before it warns, or a curve that does not rise."""
    held = toml.load(source, _File, name)
    for key in ("en", "bill", "stock", "carbon", "composite", "steam", "oxygen"):
        limit: Limit = getattr(held, key)
        if not 0 < limit.warn < limit.block:
            raise ConfigError(f"{name}: {key}", f"warn {limit.warn}, block {limit.block}", "0 < warn < block")
    for band in held.band:
        if not 0 <= band.low < band.high:
            raise ConfigError(f"{name}: band {band.id}", f"{band.low} to {band.high}", "low below high")
    saturated = tuple((one.mpa, one.kj) for one in held.saturated)
    superheated = tuple((one.celsius, one.kj) for one in held.superheated)
    for key, curve in (("saturated", saturated), ("superheated", superheated)):
        if len(curve) < 2 or list(curve) != sorted(set(curve)) or len({at for at, _ in curve}) < len(curve):
            raise ConfigError(f"{name}: {key}", "points out of order", "two or more, each further than the one before")
    return Bounds(
        held.en, held.bill, held.stock, held.carbon, held.composite, held.heat_rate, held.steam, held.oxygen,
        {one.fuel: one.co2 for one in held.flue}, saturated, superheated,
        {one.item: one for one in held.published}, {one.id: one for one in held.band},
    )  # fmt: skip


def along(curve: tuple[tuple[Decimal, Decimal], ...], at: Decimal) -> Decimal | None:
    """A curve between its points, straight; None outside of them."""
    for (low, first), (high, last) in pairwise(curve):
        if low <= at <= high:
            share = ARITHMETIC.divide(at - low, high - low)
            return ARITHMETIC.add(first, ARITHMETIC.multiply(share, last - first))
    return None
