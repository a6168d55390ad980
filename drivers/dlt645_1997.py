"""The DL/T 645-1997 driver: two-byte identifiers of a profile, singly or in blocks. It reads, and can do no more."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass

from drivers import plan
from drivers.dlt645_asked import Asked, Frozen, meter_number, planned
from drivers.profile import Point, Profile
from drivers.query import Query, Values
from drivers.site import Device
from protocols import dlt645_1997
from protocols.dlt645_frame import split
from protocols.errors import Mismatched
from protocols.recogniser import Recogniser


@dataclass(frozen=True, slots=True, eq=False)
class Dlt645Driver1997:
    """One meter under one number, which it may fill up with AA or with 00; its plan is made once."""

    profile: Profile
    addresses: tuple[str, ...]
    points: tuple[Point, ...]
    plan: tuple[Query, ...]
    planned: Mapping[bytes, Asked | Frozen]

    @classmethod
    def of(cls, device: Device, profile: Profile, where: str) -> "Dlt645Driver1997":
        """The driver of a meter; ConfigError for an address that is not 1 to 12 digits, or the broadcast one."""
        addresses = dlt645_1997.wordings(meter_number(device.address, where))
        points = plan.selected(device, profile, where)

        def requests(identifier: str) -> tuple[bytes, ...]:
            return tuple(dlt645_1997.read_request(address, identifier) for address in addresses)

        made = tuple(planned(points, device, profile, requests))
        brings = {wording: asked for query, asked in made for wording in query.wordings}
        return cls(profile, addresses, points, tuple(query for query, _ in made), brings)

    def queries(self) -> tuple[Query, ...]:
        """The plan: fastest period first, then in the profile's order; a short number is asked for in two wordings."""
        return self.plan

    def asked(self, request: bytes) -> Asked | Frozen:
        """What a request brings; Damaged unless it is a read, Mismatched unless it asks this meter for a point."""
        if (known := self.planned.get(request)) is not None:
            return known
        address, identifier = dlt645_1997.parse_request(request)
        if address not in self.addresses:
            raise Mismatched(f"found a request to meter {address}, expected meter {' or '.join(self.addresses)}")
        asked = Asked.of(identifier, self.points)
        if not asked.parts:
            raise Mismatched(f"found a request for {identifier}, expected an identifier of {self.profile.id}")
        return asked

    def read(self, request: bytes) -> Generator[bytes, bytes, Values]:
        """Ask once and return the values of the points the request holds; ProtocolError.

        To a number filled up with AA a longer number that ends alike answers too: that is another meter.
        """
        asked = self.asked(request)
        reply = yield request
        data = dlt645_1997.payload(request, reply)
        if (who := next(split(reply)).address) not in self.addresses:
            raise Mismatched(f"found an answer of meter {who}, expected meter {' or '.join(self.addresses)}")
        return asked.values([dlt645_1997.unseparated(data)])

    def follow_up(self, request: bytes, reply: bytes) -> bytes | None:
        """The request for the next frame of an answer that goes on; None when it is whole."""
        return dlt645_1997.EDITION.pending((request,), reply)

    def stamp(self, request: bytes, reply: bytes) -> None:
        """The values are of when they were read: this edition dates no freeze."""

    def recogniser(self, request: bytes) -> Recogniser:
        """What finds the reply among the bytes of the bus."""
        return dlt645_1997.recogniser(request)
