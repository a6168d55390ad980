"""Proof frames: a profile must read its own golden exchanges."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from drivers import replay, toml
from drivers.driver import Driver, driver
from drivers.profile import Profile, Proof, octets
from drivers.site import Device
from protocols import cjt188, dlt645, dlt645_1997, hj212, mbus, modbus
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
    address = _ADDRESSED[profile.protocol](octets(proof.request) or octets(proof.response))
    entry = {"id": "proof", "profile": profile.id, "port": "proof", "address": address}
    return driver(toml.convert(entry | proof.device, Device, "proof.device"), profile)


def _mbus_address(asked: mbus.Request) -> str:
    return asked.identification or str(asked.address)


_ADDRESSED: dict[str, Callable[[bytes], str]] = {
    "modbus": lambda request: str(modbus.parse_rtu(request).unit),
    "dlt645": lambda request: dlt645.parse_request(request)[0],
    "dlt645-1997": lambda request: dlt645_1997.parse_request(request)[0].lstrip("A"),
    "cjt188": lambda request: cjt188.parse_request(request).address,
    "mbus": lambda request: _mbus_address(mbus.parse_request(request)),
    "hj212": hj212.sender,
}
"""Whom a request is addressed to; who spoke, where nothing is asked."""


def _decimal(text: str, where: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ConfigError(where, repr(text), "a decimal number") from error


def _shown(values: dict[str, Decimal]) -> str:
    return ", ".join(f"{point} = {value}" for point, value in values.items()) or "nothing"
