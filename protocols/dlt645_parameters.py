"""DL/T 645-2007 annex A, groups 03 and 04, and 1D, 1E: counts of events, parameters, status words.

Status bits and the parameters beside those of the project's reference come from public descriptions of the standard
that agree; event records are not told (their layout was not seen in a source).
"""

import re

from protocols.dlt645_forms import Format

_CLOCK = (Format("hhmmss", "", False, "time"), Format("NN", "", False, "weekday"), Format("YYMMDD", "", False, "date"))

_DIRECTIONS = tuple(f"{kind}_power_reverse_{phase}" for kind in ("active", "reactive") for phase in "abc")
_PHASE_FAULTS = (
    "voltage_loss",
    "undervoltage",
    "overvoltage",
    "current_loss",
    "overcurrent",
    "overload",
    "power_flow_reversed",
    "phase_open",
    "current_open",
)
STATUS_BITS: dict[int, tuple[str, ...]] = {
    1: (
        "",
        "demand_by_block",
        "clock_battery_low",
        "reading_battery_low",
        "active_power_reverse",
        "reactive_power_reverse",
    ),
    2: (*_DIRECTIONS[:3], "", *_DIRECTIONS[3:]),
    3: ("second_day_table", "supply_bit_0", "supply_bit_1", "programming_allowed", "relay_open"),
    4: tuple(f"{fault}_a" for fault in _PHASE_FAULTS),
    5: tuple(f"{fault}_b" for fault in _PHASE_FAULTS),
    6: tuple(f"{fault}_c" for fault in _PHASE_FAULTS),
    7: (
        "voltage_sequence_reversed",
        "current_sequence_reversed",
        "voltage_unbalanced",
        "current_unbalanced",
        "auxiliary_supply_lost",
        "power_lost",
        "demand_exceeded",
        "power_factor_low",
        "current_severely_unbalanced",
    ),
}
"""Names of the bits of status words 1 to 7 from bit 0 on; supply bits: 00 main, 01 auxiliary, 10 battery."""

COMBINATION_BITS = ("plus_forward", "minus_forward", "plus_reverse", "minus_reverse")
"""Bits 0 to 3 of the word that says how the combined active energy is made."""

_PHASE_EVENTS = {
    "01": "voltage_loss",
    "02": "undervoltage",
    "03": "overvoltage",
    "04": "phase_open",
    "0B": "current_loss",
    "0C": "overcurrent",
    "0D": "current_open",
    "0E": "power_flow_reversed",
    "0F": "overload",
}
_EVENTS = {
    "05": "all_voltage_loss",
    "06": "auxiliary_supply_loss",
    "07": "voltage_sequence",
    "08": "current_sequence",
} | {
    "09": "voltage_unbalance",
    "0A": "current_unbalance",
}
_LOGS = (
    "programming",
    "meter_clear",
    "demand_clear",
    "event_clear",
    "clock_set",
    "day_table_programming",
    "zone_table_programming",
    "rest_day_programming",
    "holiday_programming",
    "active_combination_programming",
    "reactive_combination_1_programming",
    "reactive_combination_2_programming",
    "settlement_day_programming",
    "cover_open",
    "terminal_cover_open",
)

_ONE: tuple[tuple[str, str, str, str], ...] = (
    ("04000103", "NN", "min", "demand_period"),
    ("04000104", "NN", "min", "demand_slide"),
    ("04000105", "XXXX", "ms", "pulse_width"),
    ("04000106", "YYMMDDhhmm", "", "zone_table_switch_time"),
    ("04000107", "YYMMDDhhmm", "", "day_table_switch_time"),
    ("04000201", "XX", "", "zones"),
    ("04000202", "XX", "", "day_tables"),
    ("04000203", "XX", "", "day_periods"),
    ("04000204", "XX", "", "tariffs"),
    ("04000205", "XXXX", "", "holidays"),
    ("04000206", "XX", "", "harmonics_analysed"),
    ("04000303", "XX", "", "displayed_energy_decimals"),
    ("04000304", "XX", "", "displayed_power_decimals"),
    ("04000306", "XXXXXX", "", "ct_ratio"),  # unverified: absent from several public tables
    ("04000307", "XXXXXX", "", "pt_ratio"),  # unverified: absent from several public tables
    ("04000401", "N" * 12, "", "communication_address"),
    ("04000402", "N" * 12, "", "meter_number"),
    ("04000403", "C" * 64, "", "asset_number"),
    ("04000404", "C" * 12, "", "rated_voltage"),
    ("04000405", "C" * 12, "", "rated_current"),
    ("04000406", "C" * 12, "", "maximum_current"),
    ("04000407", "C" * 8, "", "active_accuracy"),
    ("04000408", "C" * 8, "", "reactive_accuracy"),
    ("04000409", "XXXXXX", "imp/kWh", "active_constant"),
    ("0400040A", "XXXXXX", "imp/kvarh", "reactive_constant"),
    ("0400040B", "C" * 20, "", "model"),
    ("0400040C", "C" * 20, "", "production_date"),
    ("0400040D", "C" * 32, "", "protocol_version"),
    ("04000602", "BB", "", "reactive_combination_1_word"),
    ("04000603", "BB", "", "reactive_combination_2_word"),
    ("04000701", "BB", "", "baud_word_infrared"),
    ("04000702", "BB", "", "baud_word_contact_infrared"),
    ("04000703", "BB", "", "baud_word_port_1"),
    ("04000704", "BB", "", "baud_word_port_2"),
    ("04000705", "BB", "", "baud_word_port_3"),
    ("04000901", "BB", "", "load_record_mode_word"),
    ("04000A01", "MMDDhhmm", "", "load_record_start"),
    *((f"04000A{kind + 1:02X}", "XXXX", "min", f"load_record_{kind}_interval") for kind in range(1, 7)),
    *((f"04000B{day:02X}", "NNNN", "", f"settlement_day_{day}") for day in (1, 2, 3)),
    ("04000E01", "XX.XXXX", "kW", "forward_power_limit"),
    ("04000E02", "XX.XXXX", "kW", "reverse_power_limit"),
    ("04000E03", "XXX.X", "V", "voltage_upper_limit"),
    ("04000E04", "XXX.X", "V", "voltage_lower_limit"),
    *((f"0330{order:02X}00", "XXXXXX", "", f"{name}_count") for order, name in enumerate(_LOGS)),
    ("1D000001", "XXXXXX", "", "trip_count"),  # unverified
    ("1D000101", "YYMMDDhhmmss", "", "trip_1_time"),
    ("1E000001", "XXXXXX", "", "close_count"),  # unverified
    ("1E000101", "YYMMDDhhmmss", "", "close_1_time"),
)

_TABLE: dict[str, tuple[Format, ...]] = {
    identifier: (Format(digits, unit, False, name),) for identifier, digits, unit, name in _ONE
} | {
    "04000101": _CLOCK[1:],
    "04000102": _CLOCK[:1],
    "0400010C": _CLOCK,
    "04000601": (Format("BB", "", False, "active_combination_word", COMBINATION_BITS),),
}


def parameters(identifier: str) -> tuple[Format, ...]:
    """The fields of an identifier of groups 03, 04, 1D and 1E in wire order; empty when it is not in the table."""
    if identifier in _TABLE:
        return _TABLE[identifier]
    if match := re.fullmatch("040005(0[1-7]|FF)", identifier):
        words = range(1, 8) if match[1] == "FF" else [int(match[1])]
        return tuple(Format("BBBB", "", False, f"status_word_{word}", STATUS_BITS[word]) for word in words)
    if match := re.fullmatch("03(..)0000", identifier):
        return _counts(match[1])
    return ()


def _counts(kind: str) -> tuple[Format, ...]:
    """03 kind 00 00: how often, and for how long in all; by phase where a phase can suffer it alone."""
    names = [f"{_PHASE_EVENTS[kind]}_{phase}" for phase in "abc"] if kind in _PHASE_EVENTS else []
    names += [_EVENTS[kind]] if kind in _EVENTS else []
    pairs = ((f"{name}_count", "") for name in names), ((f"{name}_minutes", "min") for name in names)
    return tuple(Format("XXXXXX", unit, False, name) for pair in zip(*pairs, strict=True) for name, unit in pair)
