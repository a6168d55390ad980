"""A line as an auditor works it: the formula with its numbers, every symbol with what it rests on."""

import re
from typing import Any

from cloud.accounting import replayed
from cloud.accounting.line import Activity, Line, Used

_SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def formula(line: Line) -> str:
    """The formula with the numbers as they were given, with their units: ``10 1e4Nm3 · 389.31 GJ/1e4Nm3 · …``."""
    named = {one.symbol: one for one in replayed.named(line)}

    def number(match: re.Match[str]) -> str:
        one = named.get(match[0])
        return match[0] if one is None else f"{one.value:f} {one.unit}".removesuffix(" 1")

    return _SYMBOL.sub(number, line.formula).replace("·", " · ")


def line(one: Line) -> dict[str, Any]:
    """The line for a machine that explains: result, formula as printed and worked, inputs with source and standing."""
    sign = "" if one.sign == 1 else "−"
    return {
        "id": one.id,
        "row": one.row,
        "item": one.item,
        "label": one.label,
        "start": one.start,
        "end": one.end,
        "class": one.class_,
        "leaf": one.leaf,
        "result": {"value": f"{one.tco2e:f}", "unit": "tCO2e"},
        "mass": {"value": f"{one.mass:f}", "unit": f"t{one.gas}"},
        "gwp": {"value": f"{one.gwp:f}", "set": one.gwp_set},
        "formula": f"{sign}{one.formula}",
        "worked": f"{sign}{formula(one)}",
        "inputs": [*map(_activity, one.activities), *map(_used, one.parameters)],
        "reasons": list(one.reasons),
        "proof": one.proof,
        "supplier": one.supplier,
        "digest": one.digest,
    }


def _activity(one: Activity) -> dict[str, Any]:
    return {
        "name": one.symbol,
        "kind": "activity",
        "value": f"{one.value:f}",
        "unit": one.unit,
        "grade": one.grade,
        "reference": one.reference,
        "sha256": one.sha256,
        "by": one.by,
        "uncertainty_percent": None if one.uncertainty is None else f"{one.uncertainty:f}",
        "estimated": f"{one.estimated:f}",
    }


def _used(one: Used) -> dict[str, Any]:
    return {
        "name": one.symbol,
        "kind": "parameter",
        "value": f"{one.value:f}",
        "unit": one.unit,
        "tier": one.tier,
        "factor": one.id,
        "status": one.status,
        "document": one.document,
        "uncertainty_percent": None if one.uncertainty is None else f"{one.uncertainty:f}",
        "set_sha256": one.set_sha256 or None,
        "over": one.over or None,
        "adoption": one.adoption or None,
    }
