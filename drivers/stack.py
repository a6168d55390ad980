"""What follows for a stack from the values of one packet: dry standard flow and CO2 mass, or why they do not. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Literal

from drivers import fluegas
from drivers.fluegas import CONSTANTS, Constants
from drivers.reading import Quality
from drivers.site import Stack

Heard = tuple[Decimal | None, Quality]
"""A value in the unit of ``UNITS``, and whether it counts."""
UNITS = {
    "co2": "mg/m3",
    "flow": "m3/h",
    "velocity": "m/s",
    "temperature": "°C",
    "pressure": "Pa",
    "moisture": "%",
}
"""What a derived point can be fed with, in which unit. ``co2`` is at standard state; ``flow`` is dry and standard."""
FLOW, MASS, STATE, SET = "flow-standard-dry", "co2-mass", "derivation", "constants"
DERIVED = {FLOW: "m3/h", MASS: "kg/h", STATE: "1", SET: "1"}
"""What can be derived (the ``field`` of such a point), and its unit.

``derivation``: 0, or why there is no result: the states below. ``constants``: the number of the set that was used.
"""
DONE, NO_INPUT, SUSPECT_INPUT, IMPOSSIBLE, NO_STACK = range(5)


@dataclass(frozen=True, slots=True)
class StackGas:
    """How a site's stack is reckoned. ``flow_from``: velocity and section, or the flow that the logger sends."""

    stack: Stack | None
    flow_from: Literal["velocity", "packet"]

    @property
    def constants(self) -> Constants:
        """The set in force: the standard's where the site names none."""
        return CONSTANTS[self.stack.constants if self.stack is not None else "hj212"]

    def derive(self, field: str, heard: Mapping[str, Heard]) -> tuple[Decimal | None, int]:
        """The result of FLOW or MASS, or None, and the state; ``heard``: what feeds it. What is missing is never 0."""
        if self.stack is None and self.flow_from == "velocity":
            return None, NO_STACK
        values: dict[str, Decimal] = {}
        for role in self._needed(field):
            value, quality = heard.get(role, (None, "absent"))
            if value is None:
                return None, NO_INPUT
            if quality != "measured":
                return None, SUSPECT_INPUT
            values[role] = value
        try:
            return self._result(field, values), DONE
        except DecimalException:
            return None, IMPOSSIBLE

    def _needed(self, field: str) -> list[str]:
        roles = ["flow"] if self.flow_from == "packet" else ["velocity", "temperature", "pressure", "moisture"]
        if field == MASS:
            roles += ["co2", "moisture"] if self._wet else ["co2"]
        return roles

    @property
    def _wet(self) -> bool:
        """Whether CO2 is measured in wet gas."""
        return self.stack is not None and self.stack.basis == "wet"

    def _result(self, field: str, values: Mapping[str, Decimal]) -> Decimal:
        """DecimalException where there can be no such gas."""
        flow = values["flow"] if self.flow_from == "packet" else self._flow(values)
        if field == FLOW:
            return flow
        co2 = fluegas.dry(values["co2"], values["moisture"]) if self._wet else values["co2"]
        return fluegas.mass_rate(co2, flow)

    def _flow(self, values: Mapping[str, Decimal]) -> Decimal:
        assert self.stack is not None, "a flow by velocity needs a section"
        pressure = fluegas.CONTEXT.add(self.stack.air_pressure_pa, values["pressure"])
        if pressure <= 0 or values["temperature"] <= -self.constants.zero or not 0 <= values["moisture"] < 100:
            raise DecimalException(f"no gas has {values}")
        wet = fluegas.flow(self.stack.area_m2, fluegas.velocity(self.stack.kv, values["velocity"]))
        return fluegas.standard_dry_flow(wet, values["temperature"], pressure, values["moisture"], self.constants)
