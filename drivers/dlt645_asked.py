"""What a DL/T 645 request brings, in either edition: one item, a block of items, a dated freeze."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal

from drivers import plan
from drivers.profile import Point, Profile
from drivers.quantity import scaled
from drivers.query import Query, Values
from drivers.site import Device
from protocols.dlt645_freezes import TIME
from protocols.dlt645_value import value
from protocols.errors import ConfigError, Impossible, Mismatched
from protocols.recogniser import quote

Part = tuple[Point, int]
"""A point and the byte where it begins in the data of an answer."""


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

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The questions that make up the exchange."""
        return (self.identifier,)

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

    def values(self, answers: Sequence[bytes | None]) -> Values:
        """The values of the points in the data of the answer; None where it holds none."""
        (data,) = answers
        if data is None:
            return {point.id: None for point, _ in self.parts}
        self.check(len(data))
        return {point.id: _value(point, data[at : at + plan.width(point)]) for point, at in self.parts}

    def stamp(self, answers: Sequence[bytes | None], zone: tzinfo) -> None:
        """The values are of when they were read."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a meter froze the ``back``-th last time (1: the last) for a cause (06 a day, 04 an hour): its time is asked
    for, then each block, then the time again: had it frozen anew in between, the times would differ.
    """

    cause: str
    back: int
    blocks: tuple[Asked, ...]

    @classmethod
    def of(cls, identifier: str, points: tuple[Point, ...]) -> "Frozen":
        """The freeze that ``identifier``, which asks for its time, belongs to; no blocks when no point is in it."""
        held = {
            block_of(point): None
            for point in points
            if point.of is not None and block_of(point)[2:4] == identifier[2:4]
        }
        blocks = (Asked.of(block, points) for block in held)
        back = identifier[6:]
        return cls(
            identifier[2:4], int(back, 16), tuple(Asked(one.identifier[:6] + back, False, one.parts) for one in blocks)
        )

    @property
    def single(self) -> bool:
        """It cannot be had in pieces: its time and its values belong together."""
        return True

    @property
    def parts(self) -> tuple[Part, ...]:
        """The points of all blocks."""
        return tuple(part for block in self.blocks for part in block.parts)

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The questions that make up the exchange."""
        time = frozen_time(self.cause, self.back)
        return (time, *(block.identifier for block in self.blocks), time)

    def fits(self, length: int) -> bool:
        """Such an answer is never one plain frame."""
        return False

    def values(self, answers: Sequence[bytes | None]) -> Values:
        """The values of all blocks; a block that the meter refused holds none. Mismatched when it froze in between."""
        before, *blocks, after = answers
        if before != after:
            times = " and ".join(quote(time or b"") for time in (before, after))
            raise Mismatched(f"{self.identifiers[0]}: found the times {times} around the values, expected one time")
        _moment(before)
        return {
            point: value
            for block, data in zip(self.blocks, blocks, strict=True)
            for point, value in block.values([data]).items()
        }

    def stamp(self, answers: Sequence[bytes | None], zone: tzinfo) -> int:
        """When it froze (UTC ms): the meter's clock shows the time of the site's zone."""
        return round(_moment(answers[0]).replace(tzinfo=zone).timestamp()) * 1000


def frozen_time(cause: str, back: int) -> str:
    """The identifier of the time of a freeze."""
    return f"05{cause}00{back:02X}"


def block_of(point: Point) -> str:
    """The block a point is read in; empty when it is read singly only."""
    return point.block or ""


def planned(
    points: tuple[Point, ...], device: Device, profile: Profile, wordings: Callable[[str], tuple[bytes, ...]]
) -> Iterator[tuple[Query, Asked | Frozen]]:
    """The questions of a plan and what each brings: fastest period first, then in the profile's order.

    ``wordings``: the ways to ask for an identifier, the usual one first.
    """
    riding: set[str] = set()
    for period_ms, due in plan.periods(points, device, profile).items():
        for asked in _chosen([point for point in due if point.id not in riding], points, profile):
            held = tuple(point.id for point, _ in asked.parts)
            request, *also = wordings(asked.identifiers[0])
            yield Query(request, held, period_ms, tuple(also)), asked
            riding.update(held)


def meter_number(text: str, where: str) -> str:
    """The digits of a meter's address as the site file has them; ConfigError unless 1 to 12, or the broadcast one."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12) or text == "9" * 12:
        raise ConfigError(f"{where}.address", repr(text), "a meter address of 1 to 12 digits, not broadcast")
    return text


def _chosen(due: Sequence[Point], points: tuple[Point, ...], profile: Profile) -> Iterator[Asked | Frozen]:
    """What to ask for to get the points that are due."""
    for identifier in plan.dlt645_identifiers([point for point in due if point.of is None], profile):
        yield Asked.of(identifier, points)
    frozen = [block_of(point) for point in due if point.of is not None]
    for time in dict.fromkeys(frozen_time(block[2:4], int(block[6:], 16)) for block in frozen):
        yield Frozen.of(time, points)


def _value(point: Point, field: bytes) -> Decimal | None:
    if not field:
        return None
    found = value(field, str(point.digits), point.signed)
    return None if found is None else scaled(found, point.scale)


def _moment(data: bytes | None) -> datetime:
    """The time in a freeze's answer, YYMMDDhhmm; Impossible when it is none: nothing was frozen yet."""
    text = (data or b"")[::-1].hex()
    try:
        if len(text) != len(TIME):
            raise ValueError(f"{len(text) // 2} bytes")
        year, month, day, hour, minute = (int(text[at : at + 2]) for at in range(0, len(TIME), 2))
        return datetime(2000 + year, month, day, hour, minute)
    except ValueError as error:
        raise Impossible(f"{quote(data or b'')} for the time of a freeze, expected {TIME}: {error}") from error
