"""Proof frames: a profile must read its own golden exchanges."""

from decimal import Decimal, InvalidOperation

from drivers import replay
from drivers.driver import Driver, driver
from drivers.profile import Profile, Proof, octets
from drivers.site import Device
from protocols import dlt645, modbus
from protocols.errors import ConfigError, ProtocolError


def prove(profile: Profile, name: str = "profile") -> None:
    """Read every proof of the profile; ConfigError with the path of the one that does not come out as it says."""
    for index, proof in enumerate(profile.proof):
        where = f"{name}: proof[{index}]"
        try:
            held = replay.values(asker(profile, proof), octets(proof.request), octets(proof.response))
        except ProtocolError as error:
            raise ConfigError(where, str(error), "an exchange that the driver reads") from error
        found = {point: value for point, value in held.items() if value is not None}
        expected = {point: _decimal(text, f"{where}.expect.{point}") for point, text in proof.expect.items()}
        if found != expected:
            raise ConfigError(f"{where}.expect", _shown(expected), f"what the frame says: {_shown(found)}")


def asker(profile: Profile, proof: Proof) -> Driver:
    """The driver of the device that a proof's request is addressed to; ProtocolError when it is no read."""
    request = octets(proof.request)
    modbus_rtu = profile.protocol == "modbus"
    address = str(modbus.parse_rtu(request).unit) if modbus_rtu else dlt645.parse_request(request)[0]
    return driver(Device(id="proof", profile=profile.id, port="proof", address=address), profile)


def _decimal(text: str, where: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ConfigError(where, repr(text), "a decimal number") from error


def _shown(values: dict[str, Decimal]) -> str:
    return ", ".join(f"{point} = {value}" for point, value in values.items()) or "nothing"
