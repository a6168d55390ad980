"""The Modbus driver: registers and bits of a profile, over RTU or TCP. It reads, and can do nothing else."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from struct import unpack
from typing import Literal

from drivers import plan
from drivers.profile import REGISTERS, Point, Profile
from drivers.quantity import scaled
from drivers.query import Query, Values
from drivers.site import Device
from protocols import modbus
from protocols.errors import ConfigError, Mismatched
from protocols.recogniser import Recogniser

Part = tuple[Point, int]
"""A point and where it begins in the payload: a byte, or a bit for coils and inputs."""


@dataclass(frozen=True, slots=True, eq=False)
class ModbusDriver:
    """One device at one unit address; its plan is made once."""

    profile: Profile
    unit: int
    framing: Literal["modbus-tcp", "rtu"]
    points: tuple[Point, ...]
    plan: tuple[Query, ...]
    planned: Mapping[bytes, tuple[Part, ...]]

    @classmethod
    def of(cls, device: Device, profile: Profile, framing: Literal["modbus-tcp", "rtu"], where: str) -> "ModbusDriver":
        """The driver of a device; ConfigError for an address that is not 1..247 (over TCP also 0 and 255)."""
        unit = _unit(device.address, framing, where)
        points = plan.selected(device, profile, where)
        queries: list[Query] = []
        riding: set[str] = set()
        for period_ms, due in plan.periods(points, device, profile).items():
            for span in plan.modbus_spans([point for point in due if point.id not in riding], profile):
                held = tuple(point.id for point in points if span.holds(point))
                queries.append(Query(_frame(span, unit, framing), held, period_ms))
                riding.update(held)
        planned = {query.request: _parts(_parse(query.request, framing), points) for query in queries}
        return cls(profile, unit, framing, points, tuple(queries), planned)

    def queries(self) -> tuple[Query, ...]:
        """The plan: fastest period first, then by function and address."""
        return self.plan

    def parts(self, request: bytes) -> tuple[Part, ...]:
        """What a request brings; Damaged unless it is a read, Mismatched unless it asks this device for a point."""
        if (known := self.planned.get(request)) is not None:
            return known
        asked = _parse(request, self.framing)
        if asked.unit != self.unit:
            raise Mismatched(f"found a request to unit {asked.unit}, expected unit {self.unit}")
        parts = _parts(asked, self.points)
        if not parts:
            found = f"function {asked.function} from {asked.address}, {asked.count} long"
            raise Mismatched(f"found a request that holds no point ({found}), expected a point of {self.profile.id}")
        return parts

    def read(self, request: bytes) -> Generator[bytes, bytes, Values]:
        """Ask once and return the values of the points the request holds; ProtocolError."""
        parts = self.parts(request)
        reply = yield request
        payload = self.payload(request, reply)
        return {point.id: _value(point, payload, at) for point, at in parts}

    def payload(self, request: bytes, reply: bytes) -> bytes:
        """The register or bit bytes of a reply; Refused, Mismatched, Damaged."""
        if self.framing == "modbus-tcp":
            return modbus.payload_tcp(request, reply)
        return modbus.payload_rtu(request, reply)

    def follow_up(self, request: bytes, reply: bytes) -> None:
        """One answer is one frame."""

    def stamp(self, request: bytes, reply: bytes) -> None:
        """The values are of when they were read."""

    def recogniser(self, request: bytes) -> Recogniser:
        """What finds the reply among the bytes of this framing."""
        if self.framing == "modbus-tcp":
            return modbus.TcpRecogniser(request)
        return modbus.RtuRecogniser(request)


def ordered(field: bytes, order: str) -> bytes:
    """A field's bytes, most significant first. CDAB: low word first; BADC: bytes swapped in each word; DCBA: both."""
    if order == "ABCD":
        return field
    words = [field[at : at + 2] for at in range(0, len(field), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return b"".join(words)


def number(field: bytes, kind: str) -> int | Decimal | None:
    """The number in bytes most significant first: int, or the IEEE number exactly; None for NaN and infinity."""
    if kind[0] != "f":
        return int.from_bytes(field, signed=kind[0] == "i")
    (real,) = unpack(">f" if kind == "f32" else ">d", field)
    return Decimal(real) if isfinite(real) else None


def _value(point: Point, payload: bytes, at: int) -> Decimal | None:
    if point.type == "bit":
        return scaled(payload[at // 8] >> at % 8 & 1, point.scale)
    kind = point.type or "u16"
    field = ordered(payload[at : at + 2 * REGISTERS[kind]], point.order)
    raw = number(field, kind)
    if raw is None or (point.bad and int.from_bytes(field) in point.bad):
        return None
    if point.bit is not None:
        raw = int(raw) >> point.bit & 1
    return scaled(raw, point.scale)


def _parts(asked: modbus.Request, points: tuple[Point, ...]) -> tuple[Part, ...]:
    span = plan.Span(asked.function, asked.address, asked.count)
    step = 1 if asked.function <= 2 else 2
    return tuple((point, step * ((point.address or 0) - asked.address)) for point in points if span.holds(point))


def _parse(request: bytes, framing: str) -> modbus.Request:
    return modbus.parse_tcp(request) if framing == "modbus-tcp" else modbus.parse_rtu(request)


def _frame(span: plan.Span, unit: int, framing: str) -> bytes:
    request = modbus.Request(unit, span.function, span.address, span.count)
    return request.tcp() if framing == "modbus-tcp" else request.rtu()


def _unit(address: str, framing: str, where: str) -> int:
    tcp = framing == "modbus-tcp"
    unit = int(address) if address.isascii() and address.isdigit() and len(address) <= 3 else -1
    if str(unit) != address or not (1 <= unit <= 247 or (tcp and unit in (0, 255))):
        raise ConfigError(f"{where}.address", repr(address), "a unit 1..247" + (", 0 or 255" if tcp else ""))
    return unit
