"""DL/T 645-2007 annex A: what each data identifier holds, for the decoder; names in English, fields in wire order."""

from protocols.dlt645_forms import Format, Shown, fields, show
from protocols.dlt645_freezes import block, freezes
from protocols.dlt645_load import records
from protocols.dlt645_parameters import parameters
from protocols.dlt645_quantities import quantities
from protocols.errors import Impossible

__all__ = ["Format", "content", "describe", "show"]

_GROUPS = {"00": quantities, "01": quantities, "02": quantities, "05": freezes}


def describe(identifier: str) -> tuple[Format, ...]:
    """The fields of an identifier (8 hex digits, DI3 first) in wire order; empty when it is not in the table.

    A block of tariffs lists all 63: a meter sends as many as it has, and the length of its reply says how many.
    """
    return _GROUPS.get(identifier[:2], parameters)(identifier)


def content(identifier: str, data: bytes) -> tuple[list[Shown], bytes]:
    """Every field of an answer to an identifier, and the bytes that nobody described."""
    if identifier.startswith("06"):
        return _load(identifier, data)
    if (whole := block(identifier, data)) is not None:
        return whole, b""
    forms = describe(identifier)
    return fields(data, forms) if forms else ([], data)


def _load(identifier: str, data: bytes) -> tuple[list[Shown], bytes]:
    try:
        held = list(records(identifier, data))
    except Impossible:
        return [], data
    return [shown for number, record in enumerate(held, 1) for shown in record.shown(number)], b""
