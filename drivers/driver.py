"""What every driver is, and which one an installed device gets."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

import msgspec

from drivers.cjt188 import Cjt188Driver
from drivers.dlt645 import Dlt645Driver
from drivers.dlt645_1997 import Dlt645Driver1997
from drivers.hj212 import Hj212Driver
from drivers.mbus import MbusDriver
from drivers.modbus import ModbusDriver
from drivers.profile import Profile
from drivers.query import Query, Values
from drivers.site import Device
from protocols.errors import ConfigError
from protocols.recogniser import Recogniser

__all__ = ["Driver", "Framing", "Query", "Values", "driver"]

Framing = Literal["modbus-tcp", "modbus-tls", "rtu"]
ZONE = ZoneInfo("Asia/Shanghai")


class Driver(Protocol):
    """One device's questions and the meaning of its answers. Pure: it yields bytes, is sent bytes, returns values."""

    @property
    def profile(self) -> Profile:
        """The device's model, with what the site file says of this device's link."""

    def queries(self) -> tuple[Query, ...]:
        """The plan, from profile and device entry alone; the order is the index that faults are recorded under."""

    def read(self, request: bytes) -> Generator[bytes, bytes, Values]:
        """Yield the request, be sent its reply, return what it says; ProtocolError. Only reads are yielded.

        A reply of several frames is all of them, one after another.
        """

    def follow_up(self, request: bytes, reply: bytes) -> bytes | None:
        """What must still be asked, given the frames that came so far; None when the answer is whole."""

    def stamp(self, request: bytes, reply: bytes) -> int | None:
        """When the values of a whole answer are of (UTC ms), where the device says so itself; None: when read."""

    def recogniser(self, request: bytes) -> Recogniser:
        """What finds the answer to this request, or follow-up, among the bytes of a bus."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device hangs: how its port frames, its site's time zone, and what to call it in an error."""

    framing: Framing
    zone: tzinfo
    where: str


def driver(
    device: Device, profile: Profile, framing: Framing = "rtu", where: str = "device", zone: tzinfo = ZONE
) -> Driver:
    """The driver of an installed device; ConfigError (below ``where``): an address or point it cannot have."""
    made = _DRIVERS.get(profile.protocol)
    if made is None:
        raise ConfigError(f"{where}.profile", f"protocol {profile.protocol!r}", "one of " + ", ".join(_DRIVERS))
    return made(device, _measured(device, profile), Place(framing, zone, where))


def _measured(device: Device, profile: Profile) -> Profile:
    """The profile with what is known of this device's link put in its place: what was measured, and its mode."""
    names = ("turnaround_ms", "max_registers", "readable", "forbidden")
    found = {name: value for name in names if (value := getattr(device, name)) is not None}
    if device.mode is not None:
        rate, _, frame = device.mode.partition("-")
        found |= {"baud": (int(rate),), "parity": frame[1], "stopbits": int(frame[2])}
    return msgspec.structs.replace(profile, link=msgspec.structs.replace(profile.link, **found)) if found else profile


def _modbus(device: Device, profile: Profile, place: Place) -> Driver:
    framing: Literal["modbus-tcp", "rtu"] = "rtu" if place.framing == "rtu" else "modbus-tcp"
    return ModbusDriver.of(device, profile, framing, place.where)


def _dlt645(device: Device, profile: Profile, place: Place) -> Driver:
    return Dlt645Driver.of(device, profile, place.where, place.zone)


def _dlt645_1997(device: Device, profile: Profile, place: Place) -> Driver:
    return Dlt645Driver1997.of(device, profile, place.where)


def _cjt188(device: Device, profile: Profile, place: Place) -> Driver:
    return Cjt188Driver.of(device, profile, place.where)


def _hj212(device: Device, profile: Profile, place: Place) -> Driver:
    return Hj212Driver.of(device, profile, place.zone, place.where)


def _mbus(device: Device, profile: Profile, place: Place) -> Driver:
    return MbusDriver.of(device, profile, place.where)


_DRIVERS: dict[str, Callable[[Device, Profile, Place], Driver]] = {
    "modbus": _modbus,
    "dlt645": _dlt645,
    "dlt645-1997": _dlt645_1997,
    "cjt188": _cjt188,
    "mbus": _mbus,
    "hj212": _hj212,
}
