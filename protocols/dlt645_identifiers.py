"""DL/T 645-2007 annex A: what each data identifier holds, for the decoder; names in English, fields in wire order."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal

from protocols.dlt645 import value
from protocols.errors import Impossible
from protocols.recogniser import quote

ENERGY, POWER, TARIFFS = "XXXXXX.XX", "XX.XXXX", 63


@dataclass(frozen=True, slots=True)
class Format:
    """One field. ``digits`` is its picture, highest byte first, two characters a byte: ``X`` number, ``N`` digits that
    are no number, ``C`` ASCII, ``B`` bits, ``YYMMDD`` and the like a date or time.
    """

    digits: str
    unit: str
    signed: bool
    name: str

    @property
    def width(self) -> int:
        """Bytes on the wire."""
        return len(self.digits.replace(".", "")) // 2


def describe(identifier: str) -> tuple[Format, ...]:
    """The fields of an identifier (8 hex digits, DI3 first) in wire order; empty when it is not in the table.

    A block of tariffs lists all 63: a meter sends as many as it has, and the length of its reply says how many.
    """
    if identifier in _SINGLE:
        return _SINGLE[identifier]
    for pattern, rule in _RULES:
        if match := pattern.fullmatch(identifier):
            return tuple(rule(*match.groups()))
    return ()


def show(field: bytes, form: Format) -> str | None:
    """A field's content as text: numbers as decimals, dates and times as ISO 8601; None when it is filled with FF.

    Impossible when the bytes do not fit the picture.
    """
    if len(field) != form.width:
        raise Impossible(f"{len(field)} bytes {quote(field)}, expected {form.width} for {form.digits}")
    if field == b"\xff" * form.width:
        return None
    kind = form.digits[0]
    if kind == "X":
        number = value(field, form.digits, form.signed)
        return None if number is None else _plain(number)
    if kind == "C":
        return field[::-1].decode("ascii", "backslashreplace").strip("\0 ")
    text = field[::-1].hex().upper()
    if kind != "B" and not text.isdecimal():
        raise Impossible(f"{quote(field)} is not BCD, expected {form.digits}")
    return _moment(text, form.digits) if kind in "YMDh" else text


def _plain(number: Decimal) -> str:
    return format(number, "f")


def _moment(text: str, picture: str) -> str | None:
    """ISO 8601 of what the picture holds; None for all zeros, which meters send where nothing has happened yet."""
    part = {letter: int(text[picture.index(letter * 2) :][:2]) for letter in "YMDhms" if letter * 2 in picture}
    if "M" in part and not any(part.values()):
        return None
    try:
        day = date(2000 + part.get("Y", 0), part["M"], part["D"]).isoformat() if "M" in part else ""
        clock = time(part["h"], part["m"], part.get("s", 0)) if "h" in part else None
    except ValueError as error:
        raise Impossible(f"{text} as {picture}: {error}") from None
    hour = "" if clock is None else clock.isoformat("seconds" if "s" in part else "minutes")
    return "T".join(filter(None, (day, hour)))


_ENERGIES = {
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
_PHASE_ENERGIES = {0x15 + order: _ENERGIES[order + 1] for order in range(10)}
_OTHER_ENERGIES = {
    0x80: "associated_energy",
    0x81: "forward_fundamental_energy",
    0x82: "reverse_fundamental_energy",
    0x83: "forward_harmonic_energy",
    0x84: "reverse_harmonic_energy",
    0x85: "copper_loss_energy",
    0x86: "iron_loss_energy",
}
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

_FREEZES = {
    "00": "timed_freeze",
    "01": "instant_freeze",
    "02": "zone_switch_freeze",
    "03": "day_table_switch_freeze",
    "04": "hourly_freeze",
    "06": "daily_freeze",
}


def _energy(kind: str, tariff: str, day: str) -> Iterator[Format]:
    """00 kind tariff day: energies, in total and by tariff, now or at the end of a settlement period."""
    order = int(kind, 16)
    phase, plain = divmod(order - 0x15, 0x14)
    if order in _ENERGIES:
        name, unit, signed = _ENERGIES[order]
        for suffix in _tariffs(tariff):
            yield Format(ENERGY, unit, signed, name + suffix + _settled(day))
    elif order in _OTHER_ENERGIES and tariff == "00":
        yield Format(ENERGY, "kWh", False, _OTHER_ENERGIES[order] + _settled(day))
    elif 0 <= phase < 3 and plain + 0x15 in _PHASE_ENERGIES and tariff == "00":
        name, unit, signed = _PHASE_ENERGIES[plain + 0x15]
        yield Format(ENERGY, unit, signed, f"{name}_{_PHASES[phase]}{_settled(day)}")


def _demand(kind: str, tariff: str, day: str) -> Iterator[Format]:
    """01 kind tariff day: maximum demand, each with the time it occurred."""
    if (order := int(kind, 16)) not in range(1, 0x0B):
        return
    energy, unit, signed = _ENERGIES[order]
    for suffix in _tariffs(tariff):
        name = energy.removesuffix("energy") + "max_demand" + suffix + _settled(day)
        yield Format(POWER, _DEMAND_UNIT[unit], signed, name)
        yield Format("YYMMDDhhmm", "", False, f"{name}_time")


def _by_phase(kind: str, phase: str) -> Iterator[Format]:
    """02 kind phase 00: present values."""
    name, digits, unit, signed = _BY_PHASE[kind]
    has_total = kind in ("03", "04", "05", "06")
    for index, suffix in enumerate(("", "_a", "_b", "_c")):
        if phase in ("FF", f"{index:02X}") and (index or has_total):
            yield Format(digits, unit, signed, name + suffix)


def _harmonic(kind: str, phase: str, order: str) -> Iterator[Format]:
    """020A and 020B phase order: harmonic content, orders 1 to 21."""
    name = {"A": "voltage_harmonic", "B": "current_harmonic"}[kind]
    for number in range(1, 22) if order == "FF" else [int(order, 16)]:
        if 1 <= number <= 21:
            yield Format("XX.XX", "%", False, f"{name}_{number}_{_PHASES[int(phase) - 1]}")


def _freeze(cause: str, item: str, back: str) -> Iterator[Format]:
    """05 cause item back: what the meter froze; ``back`` 01 is the last time."""
    if cause not in _FREEZES:
        return
    prefix, order = f"{_FREEZES[cause]}_{int(back, 16)}_", int(item, 16)
    if order == 0:
        yield Format("YYMMDDhhmm", "", False, f"{prefix}time")
    elif cause == "04" and order in (1, 2):
        yield Format(ENERGY, "kWh", False, prefix + _ENERGIES[order][0])
    elif order in range(1, 9):
        for form in _energy(item, "FF", "00"):
            yield Format(form.digits, form.unit, form.signed, prefix + form.name)
    elif order in (9, 10):
        for form in _demand(f"{order - 8:02X}", "FF", "00"):
            yield Format(form.digits, form.unit, form.signed, prefix + form.name)
    elif order == 0x10:
        for form in (*_by_phase("03", "FF"), *_by_phase("04", "FF")):
            yield Format(form.digits, form.unit, form.signed, prefix + form.name)


def _status(word: str) -> Iterator[Format]:
    """04 00 05 word: running status words 1 to 7."""
    for number in range(1, 8) if word == "FF" else [int(word)]:
        yield Format("BBBB", "", False, f"status_word_{number}")


def _tariffs(tariff: str) -> Iterator[str]:
    if tariff == "FF":
        yield from ("", *(f"_t{number}" for number in range(1, TARIFFS + 1)))
    elif int(tariff, 16) <= TARIFFS:
        yield f"_t{int(tariff, 16)}" if tariff != "00" else ""


def _settled(day: str) -> str:
    return "" if day == "00" else f"_settled_{int(day, 16)}"


_RULES: tuple[tuple[re.Pattern[str], Callable[..., Iterator[Format]]], ...] = (
    (re.compile("00(?!90)(..)(..)(0[0-9A-C])"), _energy),
    (re.compile("01(..)(..)(0[0-9A-C])"), _demand),
    (re.compile("02(0[1-9])(0[0-3]|FF)00"), _by_phase),
    (re.compile("020([AB])(0[1-3])(..)"), _harmonic),
    (re.compile("05(..)(..)(..)"), _freeze),
    (re.compile("040005(0[1-7]|FF)"), _status),
)

_WEEKDAY = Format("NN", "", False, "weekday")
_DATE = Format("YYMMDD", "", False, "date")
_TIME = Format("hhmmss", "", False, "time")

_SINGLE: dict[str, tuple[Format, ...]] = {
    identifier: (Format(digits, unit, signed, name),)
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
        ("03300D00", "XXXXXX", "", False, "cover_open_count"),
        ("04000204", "XX", "", False, "tariffs"),
        ("04000306", "XXXXXX", "", False, "ct_ratio"),  # unverified: absent from several public tables
        ("04000307", "XXXXXX", "", False, "pt_ratio"),  # unverified: absent from several public tables
        ("04000401", "N" * 12, "", False, "communication_address"),
        ("04000402", "N" * 12, "", False, "meter_number"),
        ("04000403", "C" * 64, "", False, "asset_number"),
        ("04000404", "C" * 12, "", False, "rated_voltage"),
        ("04000405", "C" * 12, "", False, "rated_current"),
        ("04000406", "C" * 12, "", False, "maximum_current"),
        ("04000409", "XXXXXX", "imp/kWh", False, "active_constant"),
        ("0400040A", "XXXXXX", "imp/kvarh", False, "reactive_constant"),
        ("0400040B", "C" * 20, "", False, "model"),
        ("0400040C", "C" * 20, "", False, "production_date"),
        ("0400040D", "C" * 32, "", False, "protocol_version"),
        ("04000601", "BB", "", False, "active_combination_word"),
        ("04000703", "BB", "", False, "baud_word_port_1"),
        ("04000704", "BB", "", False, "baud_word_port_2"),
        ("04000705", "BB", "", False, "baud_word_port_3"),
        ("04000B01", "NNNN", "", False, "settlement_day_1"),
        ("04000B02", "NNNN", "", False, "settlement_day_2"),
        ("04000B03", "NNNN", "", False, "settlement_day_3"),
    )
} | {
    "04000101": (_WEEKDAY, _DATE),
    "04000102": (_TIME,),
    "0400010C": (_TIME, _WEEKDAY, _DATE),
}
