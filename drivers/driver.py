"""What every driver is, and which one an installed device gets."""

from collections.abc import Generator
from typing import Literal, Protocol

from drivers.dlt645 import Dlt645Driver
from drivers.modbus import ModbusDriver
from drivers.profile import Profile
from drivers.query import Query, Values
from drivers.site import Device
from protocols.recogniser import Recogniser

__all__ = ["Driver", "Framing", "Query", "Values", "driver"]

Framing = Literal["modbus-tcp", "rtu"]


class Driver(Protocol):
    """One device's questions and the meaning of its answers. Pure: it yields bytes, is sent bytes, returns values."""

    @property
    def profile(self) -> Profile:
        """The device's model."""

    def queries(self) -> tuple[Query, ...]:
        """The plan, from profile and device entry alone; the order is the index that faults are recorded under."""

    def read(self, request: bytes) -> Generator[bytes, bytes, Values]:
        """Yield the request, be sent its reply, return what it says; ProtocolError. Only reads are yielded."""

    def recogniser(self, request: bytes) -> Recogniser:
        """What finds the answer to this request among the bytes of a bus."""


def driver(device: Device, profile: Profile, framing: Framing = "rtu", where: str = "device") -> Driver:
    """The driver of an installed device; ConfigError (below ``where``): an address or point it cannot have."""
    if profile.protocol == "dlt645":
        return Dlt645Driver.of(device, profile, where)
    return ModbusDriver.of(device, profile, framing, where)
