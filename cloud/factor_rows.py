"""Grid factors and parameters as rows of one form: the same fields for both, for commands and the interface."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from cloud.accounting import factors
from cloud.accounting.factors import Factor
from cloud.accounting.library import Library
from cloud.accounting.parameters import Parameter, ParameterSet
from protocols.errors import FactorError

GRID = "grid"
"""The set of every grid factor, whatever file it is in."""
_GAS = re.compile(r"(?:k|1e4)?[tg](CO2|CH4|N2O|C|SF6|NF3|CF4|C2F6)?(?:$|/)")


def every(library: Library) -> Iterator[dict[str, Any]]:
    """Every value: grid factors, those kept aside for whoever names them, parameters set by set."""
    yield from (_grid(one, "") for one in library.factors.factors)
    for name in library.aside:
        over = factors.over(f"{name}.toml", library.aside[name])
        yield from (_grid(one, over) for one in library.grid(name).factors)
    for held in library.sets.values():
        yield from (_parameter(held, one) for one in held.values.values())


def select(library: Library, set_: str | None, status: str | None) -> list[dict[str, Any]]:
    """The values of a set (``grid``, a file of grid factors, a parameter set) and of a status, with who signed for the
    file of each; FactorError.
    """
    found = [row for row in every(library) if set_ in (None, row["set"], row["file"])]
    if set_ is not None and not found:
        raise FactorError(f"set: found {set_!r}, expected {GRID} or one of {', '.join(library.sets)}")
    names: dict[str, list[str]] = {}
    for row in found:
        sha256 = row["set_sha256"]
        if sha256 not in names:
            names[sha256] = list(dict.fromkeys(one.by for one in library.signed(sha256)))
        row["signed_by"] = names[sha256]
    return [row for row in found if status in (None, row["status"])]


def one(library: Library, name: str) -> dict[str, Any]:
    """One value with all that is known of it, and who signed for the file it is in; FactorError."""
    for row in every(library):
        if row["id"] == name:
            return {**row, "signed": [asdict(signed) for signed in library.signed(row["set_sha256"])]}
    near = " or ".join(difflib.get_close_matches(name, [row["id"] for row in every(library)]))
    raise FactorError(f"factor {name}: found none, expected {near or 'an id of `tanmeter factor list`'}")


def gas(unit: str) -> str:
    """The gas, or the carbon, that a unit is of; "" for what is of none, like a calorific value."""
    found = _GAS.match(unit)
    return (found and found[1]) or ""


def _grid(entry: Factor, over: str) -> dict[str, Any]:
    return {
        "id": entry.id,
        "set": GRID,
        "file": entry.set,
        "value": f"{entry.value:f}",
        "unit": entry.unit,
        **_known(entry),
        "published": entry.published.isoformat(),
        "document": f"{entry.publisher} {entry.notice}",
        "condition": "",
        "edition": "",
        "sources": [],
        "over": over,
    }


def _parameter(held: ParameterSet, entry: Parameter) -> dict[str, Any]:
    return {
        "id": entry.id,
        "set": held.id,
        "file": held.id,
        "value": str(entry.quantity.value),
        "unit": entry.quantity.unit.text,
        **_known(entry),
        "published": entry.published and entry.published.isoformat(),
        "document": entry.document,
        "condition": entry.condition,
        "edition": entry.edition,
        "sources": list(entry.sources),
        "over": "",
    }


def _known(entry: Factor | Parameter) -> dict[str, Any]:
    """What is said of every value in the same words."""
    return {
        "zh": entry.zh,
        "en": entry.en,
        "gas": gas(entry.unit if isinstance(entry, Factor) else entry.quantity.unit.text),
        "basis": entry.basis,
        "region": entry.region,
        "data_year": entry.data_year,
        "valid_from": entry.valid_from and entry.valid_from.isoformat(),
        "valid_until": entry.valid_until and entry.valid_until.isoformat(),
        "uncertainty": None if entry.uncertainty is None else f"{entry.uncertainty:f}",
        "tier": entry.tier,
        "status": entry.status,
        "standing": entry.standing,
        "reason": entry.reason,
        "replaced_by": entry.replaced_by,
        "adoption": entry.adoption,
        "imported": entry.imported,
        "publisher": entry.publisher,
        "row": entry.row,
        "url": entry.url,
        "attachment_sha256": entry.attachment_sha256,
        "set_sha256": entry.sha256,
    }
