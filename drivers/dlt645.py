"""The DL/T 645-2007 driver: identifiers of a profile, one by one or in blocks. It reads, and can do nothing else."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from drivers import plan
from drivers.profile import Point, Profile
from drivers.quantity import scaled
from drivers.query import Query, Values
from drivers.site import Device
from protocols import dlt645
from protocols.errors import ConfigError, Impossible, Mismatched
from protocols.recogniser import Recogniser

Part = tuple[Point, int]
"""A point and the byte where it begins in the data of a reply."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an identifier brings: one item, or a block of items of one format."""

    identifier: str
    single: bool
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, identifier: str, points: tuple[Point, ...]) -> "Asked":
        """The point of a single identifier, or else the points of a block; no parts when it is neither."""
        single = tuple((point, 0) for point in points if point.di == identifier)
        block = tuple((point, point.index * plan.width(point)) for point in points if point.block == identifier)
        return cls(identifier, bool(single), single or block)

    def fits(self, length: int) -> bool:
        """Whether this many bytes are whole items, exactly one when asked singly."""
        item = plan.width(self.parts[0][0])
        return length == item if self.single else length > 0 and length % item == 0

    def check(self, length: int) -> None:
        """Impossible unless this many bytes are whole items, exactly one when asked singly.

        A block may be shorter than the profile's: the meter has fewer phases, and the points beyond are absent.
        """
        if not self.fits(length):
            point, _ = self.parts[0]
            item = plan.width(point)
            expected = f"{item} bytes" if self.single else f"items of {item} bytes"
            raise Impossible(f"{self.identifier}: found {length} bytes of data, expected {expected} ({point.digits})")


@dataclass(frozen=True, slots=True, eq=False)
class Dlt645Driver:
    """One meter at one address; its plan is made once."""

    profile: Profile
    address: str
    points: tuple[Point, ...]
    plan: tuple[Query, ...]
    planned: Mapping[bytes, Asked]

    @classmethod
    def of(cls, device: Device, profile: Profile, where: str) -> "Dlt645Driver":
        """The driver of a meter; ConfigError for an address that is not 1 to 12 digits, or the broadcast one."""
        address = _address(device.address, where)
        points = plan.selected(device, profile, where)
        queries: list[Query] = []
        riding: set[str] = set()
        for period_ms, due in plan.periods(points, device, profile).items():
            for identifier in plan.dlt645_identifiers([point for point in due if point.id not in riding], profile):
                held = tuple(point.id for point, _ in Asked.of(identifier, points).parts)
                queries.append(Query(dlt645.read_request(address, identifier), held, period_ms))
                riding.update(held)
        planned = {query.request: Asked.of(dlt645.parse_request(query.request)[1], points) for query in queries}
        return cls(profile, address, points, tuple(queries), planned)

    def queries(self) -> tuple[Query, ...]:
        """The plan: fastest period first, then in the profile's order."""
        return self.plan

    def asked(self, request: bytes) -> Asked:
        """What a request brings; Damaged unless it is a read, Mismatched unless it asks this meter for a point."""
        if (known := self.planned.get(request)) is not None:
            return known
        address, identifier = dlt645.parse_request(request)
        if address != self.address:
            raise Mismatched(f"found a request to meter {address}, expected meter {self.address}")
        asked = Asked.of(identifier, self.points)
        if not asked.parts:
            raise Mismatched(f"found a request for {identifier}, expected an identifier of {self.profile.id}")
        return asked

    def read(self, request: bytes) -> Generator[bytes, bytes, Values]:
        """Ask once and return the values of the points the request holds; ProtocolError."""
        asked = self.asked(request)
        reply = yield request
        data = dlt645.payload(request, reply)
        asked.check(len(data))
        return {point.id: _value(point, data[at : at + plan.width(point)]) for point, at in asked.parts}

    def follow_up(self, request: bytes, reply: bytes) -> None:
        """One answer is one frame."""

    def stamp(self, request: bytes, reply: bytes) -> None:
        """The values are of when they were read."""

    def recogniser(self, request: bytes) -> Recogniser:
        """What finds the reply among the bytes of the bus."""
        return dlt645.Recogniser(request)


def _value(point: Point, field: bytes) -> Decimal | None:
    if not field:
        return None
    value = dlt645.value(field, str(point.digits), point.signed)
    return None if value is None else scaled(value, point.scale)


def _address(text: str, where: str) -> str:
    address = text.rjust(12, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 12) or address == "9" * 12:
        raise ConfigError(f"{where}.address", repr(text), "a meter address of 1 to 12 digits, not broadcast")
    return address
