"""Proof frames for a Modbus profile that has none: plausible values, encoded as its point table says.

They prove that the table can be read and fix what it means; they are no evidence of a device, and say so.
"""

import msgspec

from drivers import specimen
from drivers.driver import driver
from drivers.modbus import ModbusDriver
from drivers.profile import Profile, Proof
from drivers.site import Device
from protocols import modbus
from protocols.errors import ConfigError

COMPOSED = "composed from the document"
UNIT = 1


def proofs(profile: Profile, name: str = "profile") -> tuple[Proof, ...]:
    """One exchange for each question of the profile's plan; ConfigError where no proof can be composed."""
    device = Device(id="proof", profile=profile.id, port="proof", address=str(UNIT))
    asker = driver(device, profile)
    if not isinstance(asker, ModbusDriver):
        raise ConfigError(f"{name}: proof", "no proof frames", f"some: they are not composed for {profile.protocol}")
    return tuple(_proof(profile, query.request) for query in asker.queries())


def proved(profile: Profile, name: str = "profile") -> Profile:
    """The profile with composed proofs, unless it has some of its own."""
    return profile if profile.proof else msgspec.structs.replace(profile, proof=proofs(profile, name))


def answer(profile: Profile, request: modbus.Request) -> tuple[bytes, dict[str, str]]:
    """The data of a reply with every point inside this read at its usual value, zeros elsewhere; and the values."""
    bits = request.function in (1, 2)
    data = bytearray(request.count if bits else 2 * request.count)
    expect: dict[str, str] = {}
    held = specimen.held(profile)
    for point in profile.points:
        raw, value = held[point.id]
        field = specimen.field(point, raw)
        at = ((point.address or 0) - request.address) * (1 if bits else 2)
        if point.fc == request.function and at >= 0 and at + len(field) <= len(data):
            data[at : at + len(field)] = bytes(a | b for a, b in zip(data[at:], field, strict=False))
            expect[point.id] = f"{value:f}"
    return (_packed(data) if bits else bytes(data)), expect


def _proof(profile: Profile, frame: bytes) -> Proof:
    request = modbus.parse_rtu(frame)
    data, expect = answer(profile, request)
    reply = modbus.frame_rtu(request.unit, bytes([request.function, len(data)]) + data)
    return Proof(_hex(frame), _hex(reply), expect, COMPOSED)


def _packed(bits: bytes | bytearray) -> bytes:
    """Eight bits a byte, the first lowest."""
    return bytes(_byte(bits[at : at + 8]) for at in range(0, len(bits), 8))


def _byte(bits: bytes | bytearray) -> int:
    return sum(bit << place for place, bit in enumerate(bits))


def _hex(frame: bytes) -> str:
    return frame.hex(" ").upper()
