"""The conventional names of points: one quantity, one name, whoever made the meter.

Their titles are the messages ``quantity.NAME``. A name is a quantity, and behind it what part of it:
``energy_import``, ``energy_import_t1``, ``voltage_a``.
"""

import re
from collections.abc import Mapping

ENERGY = ("kWh", "MWh", "Wh", "GJ", "MJ", "kJ")
REACTIVE_ENERGY = ("kvarh", "varh")
APPARENT_ENERGY = ("kVAh", "VAh")
POWER = ("kW", "W", "MW", "GJ/h", "MJ/h")
VOLUME = ("m3", "L", "Nm3")
FLOW = ("m3/h", "L/h", "Nm3/h", "L/min", "m3/s", "m3/d")
MASS = ("kg", "t", "g")
MASS_FLOW = ("kg/h", "t/h", "kg/d", "t/d", "g/h")
PRESSURE = ("kPa", "Pa", "bar", "MPa")
GAS = ("ppm", "ppb", "%", "mg/m3", "g/m3", "ug/m3", "mg/Nm3")
NUMBER = ("1",)

UNITS: Mapping[str, tuple[str, ...]] = {
    "energy_import": ENERGY,
    "energy_export": ENERGY,
    "energy_total": ENERGY,
    "energy_net": ENERGY,
    "reactive_energy_import": REACTIVE_ENERGY,
    "reactive_energy_export": REACTIVE_ENERGY,
    "reactive_energy_total": REACTIVE_ENERGY,
    "reactive_energy_q1": REACTIVE_ENERGY,
    "reactive_energy_q2": REACTIVE_ENERGY,
    "reactive_energy_q3": REACTIVE_ENERGY,
    "reactive_energy_q4": REACTIVE_ENERGY,
    "apparent_energy": APPARENT_ENERGY,
    "apparent_energy_import": APPARENT_ENERGY,
    "apparent_energy_export": APPARENT_ENERGY,
    "power": POWER,
    "power_import": POWER,
    "power_export": POWER,
    "reactive_power": ("kvar", "var", "Mvar"),
    "apparent_power": ("kVA", "VA", "MVA"),
    "power_factor": NUMBER,
    "voltage": ("V", "kV"),
    "current": ("A", "mA"),
    "frequency": ("Hz",),
    "phase_angle": ("°",),
    "demand": POWER,
    "demand_max": POWER,
    "energy_heat": ENERGY,
    "energy_cold": ENERGY,
    "energy_settlement": ENERGY,
    "power_heat": POWER,
    "power_cold": POWER,
    "settlement_volume": VOLUME,
    "volume": VOLUME,
    "volume_total": VOLUME,
    "volume_reverse": VOLUME,
    "volume_standard": VOLUME,
    "volume_disturbed": VOLUME,
    "flow": FLOW,
    "flow_standard": FLOW,
    "flow_standard_dry": FLOW,
    "flow_total": VOLUME,
    "mass": MASS,
    "mass_flow": MASS_FLOW,
    "load": ("kg/m",),
    "speed": ("m/s",),
    "velocity": ("m/s",),
    "density": ("kg/m3", "g/cm3"),
    "temperature": ("°C",),
    "temp_supply": ("°C",),
    "temp_return": ("°C",),
    "temp_difference": ("K",),
    "pressure": PRESSURE,
    "pressure_difference": PRESSURE,
    "compressibility": NUMBER,
    "so2": GAS,
    "co2": GAS,
    "co2_mass": MASS_FLOW,
    "co2_mass_rate": MASS_FLOW,
    "dust": GAS,
    "moisture": ("%",),
    "h2o": ("%",),
    "no": GAS,
    "no2": GAS,
    "nox": GAS,
    "nh3": GAS,
    "co": GAS,
    "ch4": GAS,
    "o2": ("%",),
    "ct_ratio": NUMBER,
    "pt_ratio": NUMBER,
    "ct_primary": ("A",),
    "ct_secondary": ("A",),
    "pt_primary": ("V", "kV"),
    "pt_secondary": ("V",),
    "meter_number": NUMBER,
    "model_code": NUMBER,
    "firmware": NUMBER,
    "status": NUMBER,
    "error": NUMBER,
    "error_flags": NUMBER,
    "constants": NUMBER,
    "tariff": NUMBER,
    "signal_quality": ("%", "1"),
    "hours": ("h",),
    "hours_error": ("h",),
}
"""Every quantity, and the units that a point of it may have."""

PARTS = re.compile(
    r"_(?:a|b|c|n|ab|bc|ca|t[1-9][0-9]?|[1-9][0-9]?|current_month|last_month|today|yesterday"
    r"|now|minute|hour|day|hourly|daily|max|unit|resolution|raw|mark|state)$"
)
"""What part of it: a phase, between two, a tariff, a channel, a period; its unit or resolution; a logger's mark."""
NUMBERED = re.compile(r"_(?:unit|resolution|(?:mark|state)(?:_(?:now|minute|hour|day))?)$")
"""Parts that are a number, whatever the quantity's unit."""

STATES = (
    "malfunction", "maintenance_request", "maintenance", "out_of_spec", "live", "invalid", "zero_calibration",
    "span_calibration", "calibration", "system_ok", "o2_calibration", "co2_calibration",
    "valve", "battery_low", "integrator_fault", "supply_sensor_fault", "return_sensor_fault", "flow_sensor_fault",
    "temporary_error",
)  # fmt: skip
"""Names of status points."""


def quantity(name: str) -> str | None:
    """The quantity that a point of this name is of, a state included; None when the name is not conventional."""
    while name not in UNITS and name not in STATES:
        shorter = PARTS.sub("", name)
        if shorter == name:
            return None
        name = shorter
    return name


def units(name: str) -> tuple[str, ...]:
    """The units that a point of this conventional name may have; none when it is not conventional."""
    found = quantity(name)
    if found is None:
        return ()
    if NUMBERED.search(name) or found in STATES:
        return NUMBER
    return UNITS[found]
