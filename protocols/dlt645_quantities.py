"""DL/T 645-2007 annex A, groups 00, 01 and 02: energies, maximum demands, present values."""

import re
from collections.abc import Callable, Iterator

from protocols.dlt645_forms import Format

ENERGY, POWER, TARIFFS, SETTLEMENTS, HARMONICS = "XXXXXX.XX", "XX.XXXX", 63, 12, 21

ENERGIES = {
    0x00: ("combined_active_energy", "kWh", True),
    0x01: ("forward_active_energy", "kWh", False),
    0x02: ("reverse_active_energy", "kWh", False),
    0x03: ("combined_reactive_1_energy", "kvarh", True),
    0x04: ("combined_reactive_2_energy", "kvarh", True),
    0x05: ("quadrant_1_reactive_energy", "kvarh", False),
    0x06: ("quadrant_2_reactive_energy", "kvarh", False),
    0x07: ("quadrant_3_reactive_energy", "kvarh", False),
    0x08: ("quadrant_4_reactive_energy", "kvarh", False),
    0x09: ("forward_apparent_energy", "kVAh", False),
    0x0A: ("reverse_apparent_energy", "kVAh", False),
}
_OTHER_ENERGIES = {
    0x80: "associated_energy",
    0x81: "forward_fundamental_energy",
    0x82: "reverse_fundamental_energy",
    0x83: "forward_harmonic_energy",
    0x84: "reverse_harmonic_energy",
    0x85: "copper_loss_energy",
    0x86: "iron_loss_energy",
}
_FIRST_PHASE, _PHASE_STEP = 0x15, 0x14
"""DI2 of phase A's forward active energy, and from one phase to the next."""
_PHASES = ("a", "b", "c")
_DEMAND_UNIT = {"kWh": "kW", "kvarh": "kvar", "kVAh": "kVA"}

_BY_PHASE = {
    "01": ("voltage", "XXX.X", "V", False),
    "02": ("current", "XXX.XXX", "A", True),
    "03": ("active_power", POWER, "kW", True),
    "04": ("reactive_power", POWER, "kvar", True),
    "05": ("apparent_power", POWER, "kVA", False),
    "06": ("power_factor", "X.XXX", "", True),
    "07": ("phase_angle", "XXX.X", "°", False),
    "08": ("voltage_distortion", "XX.XX", "%", False),
    "09": ("current_distortion", "XX.XX", "%", False),
}
"""0201 to 0209: phases A, B, C; 03 to 06 have the total in front."""

_SINGLE: dict[str, Format] = {
    identifier: Format(digits, unit, signed, name)
    for identifier, digits, unit, signed, name in (
        ("00900100", ENERGY, "kWh", False, "remaining_energy"),
        ("00900101", ENERGY, "kWh", False, "overdraft_energy"),
        ("00900200", ENERGY, "yuan", False, "remaining_money"),
        ("00900201", ENERGY, "yuan", False, "overdraft_money"),
        ("02800001", "XXX.XXX", "A", True, "neutral_current"),
        ("02800002", "XX.XX", "Hz", False, "frequency"),
        ("02800003", POWER, "kW", True, "mean_active_power_1min"),
        ("02800004", POWER, "kW", True, "active_demand"),
        ("02800005", POWER, "kvar", True, "reactive_demand"),
        ("02800006", POWER, "kVA", False, "apparent_demand"),
        ("02800007", "XXX.X", "°C", True, "temperature"),
        ("02800008", "XX.XX", "V", False, "clock_battery_voltage"),
        ("02800009", "XX.XX", "V", False, "reading_battery_voltage"),
        ("0280000A", "XXXXXXXX", "min", False, "battery_run_time"),
    )
}


def quantities(identifier: str) -> tuple[Format, ...]:
    """The fields of an identifier of groups 00 to 02 in wire order; empty when it is not in the table.

    A block of tariffs (DI1 = FF) lists all 63: a meter sends as many as it has. A block of settlement periods
    (DI0 = FF: now and the last twelve) follows the general rule for blocks (unverified).
    """
    if identifier in _SINGLE:
        return (_SINGLE[identifier],)
    for pattern, rule in _RULES:
        if match := pattern.fullmatch(identifier):
            return tuple(rule(*match.groups()))
    return ()


def energy(kind: str, tariff: str, day: str) -> Iterator[Format]:
    """00 kind tariff day: energies, in total and by tariff, now or at the end of a settlement period."""
    name, unit, signed, by_tariff = _energy_of(int(kind, 16))
    if name and (by_tariff or tariff == "00"):
        for suffix in _suffixes(tariff, day):
            yield Format(ENERGY, unit, signed, name + suffix)


def demand(kind: str, tariff: str, day: str) -> Iterator[Format]:
    """01 kind tariff day: maximum demand, each with the time it occurred."""
    if (order := int(kind, 16)) not in range(1, 0x0B):
        return
    of, unit, signed = ENERGIES[order]
    for suffix in _suffixes(tariff, day):
        name = of.removesuffix("energy") + "max_demand" + suffix
        yield Format(POWER, _DEMAND_UNIT[unit], signed, name)
        yield Format("YYMMDDhhmm", "", False, f"{name}_time")


def by_phase(kind: str, phase: str) -> Iterator[Format]:
    """02 kind phase 00: present values."""
    name, digits, unit, signed = _BY_PHASE[kind]
    has_total = kind in ("03", "04", "05", "06")
    for index, suffix in enumerate(("", "_a", "_b", "_c")):
        if phase in ("FF", f"{index:02X}") and (index or has_total):
            yield Format(digits, unit, signed, name + suffix)


def _energy_of(order: int) -> tuple[str, str, bool, bool]:
    """Name, unit, sign and whether there are tariffs, of a kind of energy; no name when there is no such kind."""
    if order in ENERGIES:
        return (*ENERGIES[order], True)
    if order in _OTHER_ENERGIES:
        return _OTHER_ENERGIES[order], "kWh", False, False
    phase, plain = divmod(order - _FIRST_PHASE, _PHASE_STEP)
    if 0 <= phase < len(_PHASES) and plain + 1 in ENERGIES:
        name, unit, signed = ENERGIES[plain + 1]
        return f"{name}_{_PHASES[phase]}", unit, signed, False
    return "", "", False, False


def _harmonic(kind: str, phase: str, order: str) -> Iterator[Format]:
    """020A and 020B phase order: harmonic content, orders 1 to 21."""
    name = {"A": "voltage_harmonic", "B": "current_harmonic"}[kind]
    for number in range(1, HARMONICS + 1) if order == "FF" else [int(order, 16)]:
        if 1 <= number <= HARMONICS:
            yield Format("XX.XX", "%", False, f"{name}_{number}_{_PHASES[int(phase) - 1]}")


def _suffixes(tariff: str, day: str) -> Iterator[str]:
    """What tariff and settlement period add to a name; nothing when both are blocks: their order is not known."""
    if tariff == "FF" and day == "FF":
        return
    for settled in (
        ("", *(f"_settled_{back}" for back in range(1, SETTLEMENTS + 1))) if day == "FF" else (_settled(day),)
    ):
        for part in _tariffs(tariff):
            yield part + settled


def _tariffs(tariff: str) -> Iterator[str]:
    if tariff == "FF":
        yield from ("", *(f"_t{number}" for number in range(1, TARIFFS + 1)))
    elif int(tariff, 16) <= TARIFFS:
        yield f"_t{int(tariff, 16)}" if tariff != "00" else ""


def _settled(day: str) -> str:
    return "" if day == "00" else f"_settled_{int(day, 16)}"


_RULES: tuple[tuple[re.Pattern[str], Callable[..., Iterator[Format]]], ...] = (
    (re.compile("00(?!90)(..)(..)(0[0-9A-C]|FF)"), energy),
    (re.compile("01(..)(..)(0[0-9A-C]|FF)"), demand),
    (re.compile("02(0[1-9])(0[0-3]|FF)00"), by_phase),
    (re.compile("020([AB])(0[1-3])(..)"), _harmonic),
)
