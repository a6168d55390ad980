"""DL/T 645-1997: what each data identifier (two bytes, DI1 first) holds; names in English, fields in wire order.

DI1: 9 energy, A maximum demand, B its time and the present values, C parameters. A block (DI0 low digit F) may end with
AA separators (unverified). Blocks of several kinds of data (DI1 or DI0 high digit F) are not told.
"""

import re
from collections.abc import Iterator

from protocols.dlt645_forms import Format, Shown, fields
from protocols.dlt645_quantities import ENERGY, POWER

TARIFFS = 14

_WHEN = ("", "_last_month", "_month_before_last")
"""The upper two bits of DI1's low digit."""
_ACTIVE = {1: ("forward_active", "kWh"), 2: ("reverse_active", "kWh")}
_REACTIVE = {
    1: ("forward_reactive", "kvarh"),
    2: ("reverse_reactive", "kvarh"),
    3: ("quadrant_1_reactive", "kvarh"),
    4: ("quadrant_4_reactive", "kvarh"),
    5: ("quadrant_2_reactive", "kvarh"),
    6: ("quadrant_3_reactive", "kvarh"),
}
_DEMAND_UNIT = {"kWh": "kW", "kvarh": "kvar"}
_BY_PHASE = {
    "1": ("voltage", "XXXX", "V"),
    "2": ("current", "XX.XX", "A"),
    "3": ("active_power", POWER, "kW"),
    "4": ("reactive_power", "XX.XX", "kvar"),
    "5": ("power_factor", "X.XXX", ""),
    "6": ("apparent_power", "XX.XX", "kVA"),
}
"""B61x to B66x; 3 to 6 have the total in front. 6 is a maker's addition, its form unverified. A voltage is whole volts
in three digits: the fourth is 0.
"""
_SINGLE = {
    "9000": (Format(ENERGY, "kWh", False, "combined_active_energy"),),  # a maker's addition, seen in a capture
    "C010": (Format("NN", "", False, "weekday"), Format("YYMMDD", "", False, "date")),
    "C011": (Format("hhmmss", "", False, "time"),),
    "C030": (Format("XXXXXX", "imp/kWh", False, "active_constant"),),
    "C031": (Format("XXXXXX", "imp/kvarh", False, "reactive_constant"),),
    "C032": (Format("N" * 12, "", False, "meter_number"),),
    "C033": (Format("N" * 12, "", False, "user_number"),),
    "C034": (Format("N" * 12, "", False, "device_code"),),
}


def describe(identifier: str) -> tuple[Format, ...]:
    """The fields of an identifier (4 hex digits) in wire order; empty when it is not in the table.

    A block of tariffs lists all 14: a meter sends as many as it has.
    """
    if identifier in _SINGLE:
        return _SINGLE[identifier]
    if match := re.fullmatch("B6([1-6])([0-3F])", identifier):
        return tuple(_present(match[1], match[2]))
    if match := re.fullmatch("([9AB])([0-9])([1-6])([0-9A-F])", identifier):
        return tuple(_counted(match[1], int(match[2]), int(match[3]), match[4]))
    return ()


def content(identifier: str, data: bytes) -> tuple[list[Shown], bytes]:
    """Every field of an answer to an identifier, and the bytes that nobody described."""
    forms = describe(identifier)
    return fields(data, forms) if forms else ([], data)


def _counted(group: str, place: int, kind: int, tariff: str) -> Iterator[Format]:
    """9 energies, A maximum demands, B their times: by month, kind and tariff."""
    month, reactive = place >> 2, place & 3
    kinds = {0: _ACTIVE, 1: _REACTIVE}.get(reactive, {})
    name, unit = kinds.get(kind, ("", ""))
    for suffix in _tariffs(tariff) if name else ():
        full = f"{name}_{'energy' if group == '9' else 'max_demand'}{suffix}{_WHEN[month]}"
        if group == "9":
            yield Format(ENERGY, unit, False, full)
        elif group == "A":
            yield Format(POWER, _DEMAND_UNIT[unit], False, full)
        else:
            yield Format("MMDDhhmm", "", False, f"{full}_time")


def _present(kind: str, phase: str) -> Iterator[Format]:
    name, digits, unit = _BY_PHASE[kind]
    for index, suffix in enumerate(("", "_a", "_b", "_c")):
        if phase in ("F", str(index)) and (index or kind in "3456"):
            yield Format(digits, unit, False, name + suffix)


def _tariffs(tariff: str) -> Iterator[str]:
    if tariff == "F":
        yield from ("", *(f"_t{number}" for number in range(1, TARIFFS + 1)))
    else:
        yield f"_t{int(tariff, 16)}" if tariff != "0" else ""
