"""The M-Bus driver: records of a heat, water, gas or electricity meter. It reads, and can do nothing else.

A meter is asked for its data (REQ_UD2). One that minds the frame count bit answers the bit of last time with the
telegram of last time, so the question is put with both bits, and the later telegram counts; the option
``frame_count_bit = "ignored"`` leaves it at one. A meter that says that more follows is asked until it does not.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from drivers import plan, toml
from drivers.profile import Point, Profile
from drivers.quantity import stepped
from drivers.query import Query, Values
from drivers.site import Device
from protocols import mbus
from protocols.errors import ConfigError, Impossible, Mismatched, ProtocolError
from protocols.mbus import Request
from protocols.mbus_units import factor
from protocols.recogniser import Recogniser

if TYPE_CHECKING:
    from protocols.mbus_records import Record, Telegram

MOST_TELEGRAMS = 16
"""An answer in more telegrams than this is not asked to its end."""
LONGEST = 1 + MOST_TELEGRAMS * (mbus.OVERHEAD + 0xFF)
"""Bytes of an answer of so many, with the acknowledgement before them."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``frame_count_bit``: whether the meter minds it; ``ignored`` halves the bus time of a meter of one telegram."""

    frame_count_bit: Literal["minded", "ignored"] = "minded"


@dataclass(frozen=True, slots=True, eq=False)
class MbusDriver:
    """One meter at one primary address, or by its identification number; all its points come in one answer."""

    profile: Profile
    asked: Request
    options: Options
    points: tuple[Point, ...]
    plan: tuple[Query, ...]

    @classmethod
    def of(cls, device: Device, profile: Profile, where: str) -> "MbusDriver":
        """The driver of a meter; ConfigError for an address, an option or a point it cannot have."""
        _check_library(where)
        asked = _address(device.address, where)
        made = options(profile.options, device.options, where)
        points = plan.selected(device, profile, where)
        period_ms = min(plan.periods(points, device, profile))
        query = Query(asked.to_bytes(), tuple(point.id for point in points), period_ms)
        return cls(profile, asked, made, points, (query,))

    def queries(self) -> tuple[Query, ...]:
        """The one question, as often as any point wants it."""
        return self.plan

    def read(self, request: bytes) -> Generator[bytes, bytes, Values]:
        """Ask and return the values of all points, those of the later telegram where two hold one; ProtocolError."""
        self._check(request)
        reply = yield request
        found: dict[str, Decimal | None] = {}
        for telegram in self._telegrams(reply):
            found |= _values(self.points, telegram)
        if not found:
            raise Impossible(f"found none of the records that {self.profile.id} names, expected at least one")
        return {point.id: found.get(point.id) for point in self.points}

    def follow_up(self, request: bytes, reply: bytes) -> bytes | None:
        """The question with the other frame count bit, until a telegram that surely is of now says that none follows;
        after a selection, the first question. None also for an answer that ``read`` will refuse.
        """
        try:
            telegrams = self._telegrams(reply)
        except ProtocolError:
            return None
        if not telegrams and self.asked.identification:
            return Request(self.asked.address).to_bytes()
        sure = len(telegrams) > 1 or self.options.frame_count_bit == "ignored"
        if (sure and not telegrams[-1].more) or len(telegrams) >= MOST_TELEGRAMS:
            return None
        return Request(self.asked.address, second=len(telegrams) % 2 == 1).to_bytes()

    def stamp(self, request: bytes, reply: bytes) -> None:
        """The values are of when they were read."""

    def recogniser(self, request: bytes) -> Recogniser:
        """What finds the reply among the bytes of the bus."""
        return mbus.recogniser(request)

    def _check(self, request: bytes) -> None:
        """Mismatched unless this is the question to this meter."""
        found = mbus.parse_request(request)
        if found != self.asked:
            raise Mismatched(f"found {_said(found)}, expected {_said(self.asked)}")

    def _telegrams(self, reply: bytes) -> "tuple[Telegram, ...]":
        """The telegrams of an answer, all from this meter; ProtocolError."""
        from protocols import mbus_records  # here, because the library behind it costs a box without M-Bus 7 MB

        if reply[:1] == bytes([mbus.ACK]) and not self.asked.identification:
            raise Mismatched("found E5, expected a telegram: no selection was asked")
        if len(reply) > LONGEST:
            raise Impossible(f"found an answer of {len(reply)} bytes, expected at most {LONGEST}")
        frames = mbus.replies(reply)
        for frame in frames:
            mbus.check(self.asked, frame)
        telegrams = tuple(mbus_records.telegram(frame) for frame in frames)
        for telegram in telegrams:
            if self.asked.identification not in ("", telegram.identification):
                found = telegram.identification
                raise Mismatched(f"found meter {found}, expected meter {self.asked.identification}")
        return telegrams


def _check_library(where: str) -> None:
    """ConfigError unless the library that takes telegrams apart is installed."""
    try:
        from protocols import mbus_records  # noqa: F401
    except ModuleNotFoundError as error:
        expected = f"the package {error.name}: pip install 'tanmeter[mbus]'"
        raise ConfigError(f"{where}.profile", "an M-Bus meter", expected) from error


def options(profile: Mapping[str, Any], device: Mapping[str, Any], where: str) -> Options:
    """A profile's options with a device's own put over them; ConfigError (``where``.options) names what is wrong."""
    return toml.convert({**profile, **device}, Options, f"{where}.options")


HEADER = ("identification", "status", "version", "medium", "access")
"""The fields of a telegram's header that a point can name; any other name is a quantity of a record."""


def _values(points: tuple[Point, ...], telegram: "Telegram") -> dict[str, Decimal | None]:
    """The points that a telegram holds; Impossible for one whose unit or step does not fit."""
    found: dict[str, Decimal | None] = {}
    for point in points:
        if point.field in HEADER:
            found[point.id] = _header(point, telegram)
        elif (record := _record(point, telegram)) is not None:
            found[point.id] = _value(point, record)
    return found if any(point.field not in HEADER and point.id in found for point in points) else {}


def _header(point: Point, telegram: "Telegram") -> Decimal | None:
    if point.field == "identification":
        return Decimal(telegram.identification) if telegram.identification.isdecimal() else None
    raw: int = getattr(telegram, str(point.field))
    return Decimal(raw if point.bit is None else raw >> point.bit & 1)


def _record(point: Point, telegram: "Telegram") -> "Record | None":
    """The first record that is meant; a quantity means one without any extension that changes it."""
    for record in telegram.records:
        if point.record is not None:
            if record.key == point.record:
                return record
        elif record.plain and record.name == point.field and _place(record) == _wanted(point):
            return record
    return None


def _place(record: "Record") -> tuple[str, int, int, int]:
    return record.function, record.storage, record.tariff, record.subunit


def _wanted(point: Point) -> tuple[str, int, int, int]:
    return point.function, point.storage, point.tariff, point.subunit


def _value(point: Point, record: "Record") -> Decimal | None:
    """A record's number in the point's unit, whole steps of its scale; of an IEEE number the nearest step."""
    if not record.numeric:
        raise Impossible(f"{point.id}: found {record.text()!r} in record {record.key}, expected a number")
    if (raw := record.mantissa()) is None:
        return None
    if point.bit is not None:
        return Decimal(int(raw) >> point.bit & 1)
    worth = _worth(record.multiplier, record.unit, point.unit, point.scale)
    if record.real:
        return stepped(round(Fraction(raw) * worth), point)
    if worth.denominator != 1:
        told = f"one digit of record {record.key} is {Fraction(record.multiplier)} {record.unit}"
        raise Impossible(f"{point.id}: {told}, expected whole steps of {point.scale} {point.unit}")
    return stepped(int(raw) * int(worth), point)


@lru_cache(4096)
def _worth(multiplier: Decimal, unit: str, wanted: str, scale: Decimal) -> Fraction:
    """So many times a unit, in steps of ``scale`` of the wanted one; Impossible between two quantities."""
    return Fraction(multiplier) * factor(unit, wanted) / Fraction(scale)


def _said(asked: Request) -> str:
    return f"meter {asked.identification or asked.address}"


def _address(text: str, where: str) -> Request:
    if text.isascii() and text.isdigit():
        if len(text) == 8:
            return Request(mbus.SELECTED, identification=text)
        if len(text) <= 3 and int(text) <= mbus.HIGHEST and str(int(text)) == text:
            return Request(int(text))
    raise ConfigError(f"{where}.address", repr(text), "a primary address 0..250, or an identification of 8 digits")
