"""The Modbus driver: registers and bits of a profile, over RTU or TCP. It reads, and can do nothing else."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from drivers import plan
from drivers.profile import Point, Profile
from drivers.quantity import EXACT, LARGEST, scaled
from drivers.query import Query, Values
from drivers.registers import REGISTERS, number, ordered
from drivers.site import Device
from protocols import modbus, modbus_identification
from protocols.errors import ConfigError, Impossible, Mismatched
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
    steps: Mapping[str, Decimal]
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
                request = _frame(span, unit, framing)
                held = tuple(point.id for point, _ in _parts(_parse(request, framing), points))
                queries.append(Query(request, held, period_ms))
                riding.update(held)
        planned = {query.request: _parts(_parse(query.request, framing), points) for query in queries}
        steps = {point.id: step(point, profile) for point in points}
        return cls(profile, unit, framing, points, steps, tuple(queries), planned)

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
        raws = {point.id: _raw(point, payload, at) for point, at in parts}
        return {point.id: self._value(point, raws) for point, _ in parts}

    def _value(self, point: Point, raws: Mapping[str, int | Decimal | None]) -> Decimal | None:
        raw = raws[point.id]
        if point.scale_by is None or raw is None:
            return None if raw is None else scaled(raw, point.scale)
        if (by := raws[point.scale_by]) is None:
            return None
        factor = self.profile.point(point.scale_by)
        return scaled(_product(point, int(raw), factor, int(by)), self.steps[point.id])

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
        """What finds the reply among the bytes of this framing; also that to the question what a device is (2B/0E)."""
        if request not in self.planned and modbus_identification.asks(request, self.framing):
            return modbus_identification.recogniser(request, self.framing)
        if self.framing == "modbus-tcp":
            return modbus.TcpRecogniser(request)
        return modbus.RtuRecogniser(request)


def step(point: Point, profile: Profile) -> Decimal:
    """What a point's value is a whole number of, where it is no IEEE number: its scale, that of its factor with it."""
    if point.scale_by is None:
        return point.scale
    factor = profile.point(point.scale_by)
    if point.scale_mode == "factor":
        return EXACT.multiply(point.scale, factor.scale)
    return point.scale.scaleb(int(factor.min or 0))


def _product(point: Point, raw: int, factor: Point, by: int) -> int:
    """How many steps a number is with its factor; Impossible beyond the exponents the profile allows, and 63 bits."""
    if point.scale_mode == "exponent":
        low, high = int(factor.min or 0), int(factor.max or 0)
        if not low <= by <= high:
            raise Impossible(f"{point.id}: found the exponent {by} in {factor.id}, expected {low} to {high}")
        by = 10 ** (by - low)
    if not -LARGEST <= raw * by < LARGEST:
        raise Impossible(f"{point.id}: found {raw} with the factor {by} of {factor.id}, expected less than 2^63 steps")
    return raw * by


def _raw(point: Point, payload: bytes, at: int) -> int | Decimal | None:
    """The number in a reply as it stands there; None when it says that there is none; Impossible."""
    if point.type == "bit":
        return payload[at // 8] >> at % 8 & 1
    kind = point.type or "u16"
    field = ordered(payload[at : at + 2 * REGISTERS[kind]], point.order)
    if point.bad and int.from_bytes(field) in point.bad:
        return None
    raw = number(field, kind)
    return raw if raw is None or point.bit is None else int(raw) >> point.bit & 1


def _parts(asked: modbus.Request, points: tuple[Point, ...]) -> tuple[Part, ...]:
    """The points that a read brings whole, with what they are multiplied by."""
    span = plan.Span(asked.function, asked.address, asked.count)
    width = 1 if asked.function <= 2 else 2
    held = [point for point in points if span.holds(point)]
    known = {None, *(point.id for point in held)}
    return tuple((point, width * ((point.address or 0) - asked.address)) for point in held if point.scale_by in known)


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
