"""What is known of each device since the agent started: its latest values and how its questions went (in memory)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from drivers.installation import Installation
from drivers.quantity import quality
from edge.recorder import Entry
from protocols.record.chunk import BACK_OFF, DAMAGED, IMPOSSIBLE, OVERRUN, PORT_GONE, REFUSED, SILENT

FAULTS = {
    SILENT: "silent",
    DAMAGED: "damaged",
    REFUSED: "refused",
    IMPOSSIBLE: "impossible",
    OVERRUN: "overrun",
    BACK_OFF: "back_off",
    PORT_GONE: "port_gone",
}


@dataclass(slots=True)
class Known:
    """One device: what was committed of it."""

    answered: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    last_answer: int | None = None
    last_fault: str = ""
    values: dict[str, tuple[Decimal | None, int]] = field(default_factory=dict)
    readings: dict[str, int] = field(default_factory=dict)
    """How many there were of each quality."""


class Ledger:
    """Fed with what was committed, so that nothing is shown that could still be lost."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.devices = [Known() for _ in installation.drivers]
        self._points = [{point.id: point for point in driver.profile.points} for driver in installation.drivers]
        self.committed = 0

    def book(self, entries: Sequence[Entry], offset: int) -> None:
        """``offset``: UTC minus CLOCK_BOOTTIME in ms."""
        self.committed += len(entries)
        for record, held in entries:
            exchange = record.exchange
            known = self.devices[exchange.device]
            if exchange.fault:
                known.last_fault = name = FAULTS[exchange.fault]
                known.faults[name] = known.faults.get(name, 0) + 1
                continue
            known.answered += 1
            known.last_answer = at = exchange.at_ms + offset
            points = self._points[exchange.device]
            for point, value in held.items():
                known.values[point] = (value, at)
                name = quality(points[point], held)
                known.readings[name] = known.readings.get(name, 0) + 1

    def status(self, number: int) -> Mapping[str, object]:
        """A device as JSON: values as decimal strings with their units."""
        known, device = self.devices[number], self._installation.site.device[number]
        profile = self._installation.drivers[number].profile
        held = {point: value for point, (value, _) in known.values.items()}
        return {
            "id": device.id,
            "name": device.name,
            "profile": device.profile,
            "port": device.port,
            "answered": known.answered,
            "faults": dict(known.faults),
            "last_answer": known.last_answer,
            "last_fault": known.last_fault,
            "readings": dict(known.readings),
            "values": [
                {
                    "point": point.id,
                    "value": None if value is None else str(value),
                    "unit": point.unit,
                    "at": at,
                    "quality": quality(point, held),
                }
                for point in profile.points
                if point.id in known.values
                for value, at in [known.values[point.id]]
            ],
        }
