"""Gauges beside a counter, replayed from the signed blocks: the pressure and temperature at which a volume flowed."""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from cloud.accounting.conditions import Conditions, kelvin, kilopascals
from cloud.accounting.subject import Meter
from cloud.accounting.units import ARITHMETIC
from cloud.frames import Opened, point_of
from cloud.intervals import INTERVAL_MS
from cloud.opening import open_stored
from cloud.rows import Gateway
from cloud.store import Store
from drivers.quantity import EXACT


class _Mean(NamedTuple):
    total: Decimal = Decimal(0)
    readings: int = 0

    def with_(self, value: Decimal) -> "_Mean":
        return _Mean(EXACT.add(self.total, value), self.readings + 1)

    @property
    def value(self) -> Decimal:
        return ARITHMETIC.divide(self.total, Decimal(self.readings))


def conditions(store: Store, gateway: Gateway, meter: Meter, start: int, end: int) -> dict[int, Conditions]:
    """Mean pressure and temperature of each quarter of an hour in [start, end) (UTC ms), by its start.

    A quarter without a sound reading of both is not there. ActivityError for points in other units.
    """
    pressures: dict[int, _Mean] = {}
    temperatures: dict[int, _Mean] = {}
    for block in store.blocks_between(gateway.id, start, end):
        found = open_stored(store, gateway, block.epoch, block.seq)
        if found is None or found.opened is None or block.fault is not None:
            continue
        for at, point, unit, value in _readings(found.opened, meter):
            into, converted = (
                (pressures, EXACT.add(kilopascals(value, unit), Decimal(meter.atmosphere_kpa)))
                if point == meter.pressure
                else (temperatures, kelvin(value, unit))
            )
            quarter = at - at % INTERVAL_MS
            into[quarter] = into.get(quarter, _Mean()).with_(converted)
    return {
        quarter: Conditions(pressures[quarter].value, temperatures[quarter].value)
        for quarter in pressures.keys() & temperatures.keys()
    }


def _readings(opened: Opened, meter: Meter) -> Iterator[tuple[int, str, str, Decimal]]:
    """(at, point, unit, value) of the meter's sound readings of both."""
    for frame in opened.frames():
        if opened.installation.site.device[frame.device].id == meter.device:
            for reading in frame.readings:
                if reading.point in (meter.pressure, meter.temperature) and reading.quality == "measured":
                    assert reading.value is not None, "what is measured has a value"
                    yield reading.at, reading.point, point_of(opened, frame, reading.point).unit, reading.value
