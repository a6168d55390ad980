"""Whether a meter is the one that was signed for: the number it gives against the ``serial`` of its entry (pure).

Asked anew whenever the port was opened, for then something else may hang on it. Meters that have no number to give, or
entries without a serial number, cannot be told and are taken as they are.
"""

from collections.abc import Iterable

from drivers.driver import Driver
from drivers.query import Values
from drivers.site import Device

NUMBER = "meter_number"
"""The point that holds a meter's number."""


class Identities:
    """The meters of one port."""

    def __init__(self, devices: Iterable[tuple[int, Device, Driver]]) -> None:
        self._serials: dict[int, int] = {}
        self._queries: dict[int, int] = {}
        for number, device, driver in devices:
            query = next((index for index, held in enumerate(driver.queries()) if NUMBER in held.points), None)
            if query is not None and device.serial.isascii() and device.serial.isdigit():
                self._serials[number], self._queries[number] = int(device.serial), query
        self._right: set[int] = set()

    def doubt(self) -> None:
        """The port was opened: nothing is known of who is there."""
        self._right.clear()

    def first(self, device: int) -> int | None:
        """The question that tells who it is and must be asked first; None when it is known or cannot be told."""
        return None if device in self._right else self._queries.get(device)

    def told(self, device: int, values: Values) -> str | None:
        """Take a number that a meter gave: None when it is the right one, else what was found and expected."""
        if NUMBER not in values or device not in self._serials:
            return None
        found = values[NUMBER]
        if found is not None and int(found) == self._serials[device]:
            self._right.add(device)
            return None
        self._right.discard(device)
        return f"found meter number {found}, expected {self._serials[device]} (serial of its signed entry)"

    def untold(self, device: int) -> None:
        """The meter will not give its number: it is taken as it is."""
        self._right.add(device)
