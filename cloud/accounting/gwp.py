"""Global warming potentials over a hundred years, by IPCC assessment report; a method names the set it takes."""

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files

import msgspec

from drivers import toml
from protocols.errors import FactorError


class _Set(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    report: str
    confidence: str
    gas: dict[str, str]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    set: dict[str, _Set]


def potential(gwp_set: str, gas: str) -> Decimal:
    """tCO2e of a tonne of the gas; FactorError where the set does not list it (it is never 0 or 1)."""
    known = _sets()
    if gwp_set not in known or gas not in known[gwp_set]:
        listed = ", ".join(known.get(gwp_set, known))
        raise FactorError(f"GWP of {gas} in {gwp_set}: found none, expected one of {listed}")
    return known[gwp_set][gas]


@cache
def _sets() -> Mapping[str, Mapping[str, Decimal]]:
    source = files("cloud.accounting").joinpath("gwp.toml").read_bytes()
    document = toml.load(source, _File, "gwp.toml")
    return {name: {gas: Decimal(value) for gas, value in held.gas.items()} for name, held in document.set.items()}
