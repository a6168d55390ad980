"""The DL/T 645-2007 driver: identifiers of a profile, singly, in blocks, frozen. It reads, and can do no more."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from drivers import plan
from drivers.dlt645_asked import Asked, Frozen, frozen_time, meter_number, planned
from drivers.profile import Point, Profile
from drivers.query import Query, Values
from drivers.site import Device
from protocols import dlt645
from protocols.dlt645_freezes import DEEPEST
from protocols.errors import Mismatched
from protocols.recogniser import Recogniser

DAILY, HOURLY = "06", "04"


@dataclass(frozen=True, slots=True, eq=False)
class Dlt645Driver:
    """One meter at one address; its plan is made once. What it dates itself is in the time of ``zone``."""

    profile: Profile
    address: str
    points: tuple[Point, ...]
    plan: tuple[Query, ...]
    planned: Mapping[bytes, Asked | Frozen]
    zone: tzinfo

    @classmethod
    def of(cls, device: Device, profile: Profile, where: str, zone: tzinfo) -> "Dlt645Driver":
        """The driver of a meter; ConfigError for an address that is not 1 to 12 digits, or the broadcast one."""
        address = meter_number(device.address, where).rjust(12, "0")
        points = plan.selected(device, profile, where)

        def request(identifier: str) -> tuple[bytes, ...]:
            return (dlt645.read_request(address, identifier),)

        made = tuple(planned(points, device, profile, request))
        brings = {query.request: asked for query, asked in made}
        return cls(profile, address, points, tuple(query for query, _ in made), brings, zone)

    def queries(self) -> tuple[Query, ...]:
        """The plan: fastest period first, then in the profile's order."""
        return self.plan

    def history(self, days: int, hours: int, hour: int) -> tuple[tuple[str, bytes], ...]:
        """What the meter froze at the last midnights and full hours, oldest first, as far as it keeps them: the series
        and the request of each; none of a series that the profile, or this device's choice of points, does not have.
        ``hour``: the full hours since midnight.
        """
        causes = {str(point.block)[2:4] for point in self.points if point.of is not None}
        ages = {DAILY: [24 * back + hour for back in range(min(days, DEEPEST[DAILY]))]}
        ages[HOURLY] = [*range(min(hours, DEEPEST[HOURLY]))]
        found = [(-age, cause, back) for cause in causes & ages.keys() for back, age in enumerate(ages[cause], 1)]
        return tuple(
            (cause, dlt645.read_request(self.address, frozen_time(cause, back))) for _, cause, back in sorted(found)
        )

    def asked(self, request: bytes) -> Asked | Frozen:
        """What a request brings; Damaged unless it is a read, Mismatched unless it asks this meter for a point."""
        if (known := self.planned.get(request)) is not None:
            return known
        address, identifier = dlt645.parse_request(request)
        if address != self.address:
            raise Mismatched(f"found a request to meter {address}, expected meter {self.address}")
        frozen = identifier[:2] == "05" and identifier[4:6] == "00" and identifier[6:] != "00"
        plain = tuple(point for point in self.points if point.of is None)
        asked = Frozen.of(identifier, self.points) if frozen else Asked.of(identifier, plain)
        if not asked.parts:
            raise Mismatched(f"found a request for {identifier}, expected an identifier of {self.profile.id}")
        return asked

    def read(self, request: bytes) -> Generator[bytes, bytes, Values]:
        """Ask once and return the values of the points the request holds; ProtocolError."""
        asked = self.asked(request)
        reply = yield request
        return asked.values(dlt645.EDITION.answers(self._questions(asked, request), reply))

    def follow_up(self, request: bytes, reply: bytes) -> bytes | None:
        """The next frame of an answer that goes on, or the next question of a freeze; None when all is answered."""
        return dlt645.EDITION.pending(self._questions(self.asked(request), request), reply)

    def stamp(self, request: bytes, reply: bytes) -> int | None:
        """When the meter froze the values (UTC ms); None when they are of when they were read."""
        asked = self.asked(request)
        if isinstance(asked, Asked):
            return None
        return asked.stamp(dlt645.EDITION.answers(self._questions(asked, request), reply), self.zone)

    def recogniser(self, request: bytes) -> Recogniser:
        """What finds the reply among the bytes of the bus."""
        return dlt645.recogniser(request)

    def _questions(self, asked: Asked | Frozen, request: bytes) -> tuple[bytes, ...]:
        return (request, *(dlt645.read_request(self.address, name) for name in asked.identifiers[1:]))
