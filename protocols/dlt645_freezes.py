"""DL/T 645-2007 annex A, group 05: what a meter froze, and when. ``05 cause item back``; back 01 is the last time.

Daily freezes (06) are kept for 62 days and hourly ones (04) for 254 hours, in meters that have them (public
descriptions agree; how deep a given meter goes is unverified).
"""

import re
from collections.abc import Iterator

from protocols.dlt645_forms import SEPARATOR, Format, Shown, fields
from protocols.dlt645_quantities import ENERGIES, ENERGY, by_phase, demand, energy

TIME = "YYMMDDhhmm"
DEEPEST = {"04": 254, "06": 62}
"""How far back hourly and daily freezes can be asked for."""

CAUSES = {
    "00": "timed_freeze",
    "01": "instant_freeze",
    "02": "zone_switch_freeze",
    "03": "day_table_switch_freeze",
    "04": "hourly_freeze",
    "06": "daily_freeze",
}
_HOURLY = "04"
_ITEMS = ("00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "0A", "10")
"""The items of a block (FF) in their order; an hourly one has the first three."""
_PATTERN = re.compile("05(0[0-46])(..)(..)")


def freezes(identifier: str) -> tuple[Format, ...]:
    """The fields of an identifier of group 05 in wire order; empty when it is not in the table, or a block.

    The energies of a freeze list all 63 tariffs: a meter sends as many as it has. The block of an hourly freeze has no
    tariffs and is told.
    """
    if not (match := _PATTERN.fullmatch(identifier)) or match[3] == "00":
        return ()
    cause, item, back = match.groups()
    items = _ITEMS[:3] if item == "FF" and cause == _HOURLY else (item,)
    prefix = f"{CAUSES[cause]}_{int(back, 16)}_"
    return tuple(
        Format(form.digits, form.unit, form.signed, prefix + form.name) for part in items for form in _item(cause, part)
    )


def block(identifier: str, data: bytes) -> list[Shown] | None:
    """The fields of a whole freeze (item FF) with tariffs, whose items separators part; None when it is none of those.

    Without separators nobody can tell where one item's tariffs end.
    """
    match = _PATTERN.fullmatch(identifier)
    if not match or match[2] != "FF" or match[1] == _HOURLY:
        return None
    pieces = data.split(bytes([SEPARATOR]))
    if pieces[-1:] == [b""]:
        pieces.pop()
    if len(pieces) != len(_ITEMS):
        return None
    named = [f"05{match[1]}{item}{match[3]}" for item in _ITEMS]
    return [shown for name, piece in zip(named, pieces, strict=True) for shown in fields(piece, freezes(name))[0]]


def _item(cause: str, item: str) -> Iterator[Format]:
    if item == "00":
        yield Format(TIME, "", False, "time")
    elif cause == _HOURLY:
        if item in ("01", "02"):
            yield Format(ENERGY, "kWh", False, ENERGIES[int(item)][0])
    elif item in _ITEMS[1:9]:
        yield from energy(item, "FF", "00")
    elif item in _ITEMS[9:11]:
        yield from demand(f"{int(item, 16) - 8:02X}", "FF", "00")
    elif item == _ITEMS[11]:
        yield from (*by_phase("03", "FF"), *by_phase("04", "FF"))
