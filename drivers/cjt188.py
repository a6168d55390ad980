"""The CJ/T 188 driver: one question, 901F, to a water, gas, heat or cold meter. It reads, and can do nothing else."""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from drivers import plan
from drivers.cjt188_options import PLAIN_UNITS, Options, check, options
from drivers.profile import Point, Profile
from drivers.quantity import LARGEST, stepped
from drivers.query import Query, Values
from drivers.site import Device
from protocols import cjt188
from protocols.cjt188 import Order
from protocols.cjt188_answer import Answer, Number, Quantity, battery_low, valve
from protocols.cjt188_units import Unit, factor
from protocols.errors import ConfigError, Impossible, Mismatched
from protocols.recogniser import Recogniser

DIGITS = 10**8
"""What no number reaches."""
ORDERS: tuple[Order, Order] = ("901F", "1F90")


@dataclass(frozen=True, slots=True, eq=False)
class Cjt188Driver:
    """One meter at one address; all its points come in one answer."""

    profile: Profile
    address: str
    options: Options
    points: tuple[Point, ...]
    plan: tuple[Query, ...]

    @classmethod
    def of(cls, device: Device, profile: Profile, where: str) -> "Cjt188Driver":
        """The driver of a meter; ConfigError for an address, an option or a point it cannot have."""
        address = _address(device.address, where)
        made = options(profile.options, device.options, where)
        points = plan.selected(device, profile, where)
        check(points, made, where)
        first, *others = ORDERS if made.identifier == "auto" else (made.identifier,)
        query = Query(
            cjt188.read_request(made.type_code, address, first),
            tuple(point.id for point in points),
            min(plan.periods(points, device, profile)),
            tuple(cjt188.read_request(made.type_code, address, order) for order in others),
        )
        return cls(profile, address, made, points, (query,))

    def queries(self) -> tuple[Query, ...]:
        """The one question, in both identifier orders unless the options name one; as often as any point wants it."""
        return self.plan

    def read(self, request: bytes) -> Generator[bytes, bytes, Values]:
        """Ask once and return the values of all points; ProtocolError."""
        asked = cjt188.parse_request(request)
        own = cjt188.Asked(self.options.type_code, self.address, cjt188.READ, cjt188.READING)
        if asked != own:
            raise Mismatched(f"found a request for {asked.wanted}, expected one for {own.wanted}")
        reply = yield request
        answer = Answer.of(cjt188.payload(request, reply), self.options.units)
        return {point.id: _value(point, answer, self.options) for point in self.points}

    def follow_up(self, request: bytes, reply: bytes) -> None:
        """One answer is one frame."""

    def stamp(self, request: bytes, reply: bytes) -> None:
        """The values are of when they were read: a meter's own clock is too often not set."""

    def recogniser(self, request: bytes) -> Recogniser:
        """What finds the reply among the bytes of the bus."""
        return cjt188.recogniser(request)


def _value(point: Point, answer: Answer, made: Options) -> Decimal | None:
    """A point's value out of the answer; None where the meter filled the field, Impossible where it is no value."""
    mirrored, source = made.status == "mirrored", made.source(str(point.field))
    if point.field == "valve":
        return Decimal(valve(answer.status, mirrored))
    if point.field == "battery_low":
        return Decimal(battery_low(answer.status, mirrored))
    if source is None:
        return Decimal(answer.word if point.bit is None else answer.word >> point.bit & 1)
    number = answer.numbers.get(source)
    if number is None:
        raise Impossible(f"found an answer with {', '.join(answer.numbers)}, expected one with {source}")
    raw = number.value
    return None if raw is None else stepped(raw * _steps(point, number, made.layout[source], made), point)


def _steps(point: Point, number: Number, quantity: Quantity, made: Options) -> int:
    """How many of the point's ``scale`` the last digit of a number is worth; Impossible unless that is whole.

    What one digit is worth, not this one value: a unit that does not fit is found at the first answer.
    """
    unit = _unit(point.unit, quantity, made, number.code)
    if unit is None:
        raise Impossible(f"{number.name}: unit code {number.code or 0:02X}, expected one of a {quantity}")
    steps = _worth(made.decimals(quantity), unit, point.unit, point.scale)
    if steps.denominator != 1:
        worth = steps * Fraction(point.scale)
        raise Impossible(
            f"{number.name}: found {worth} {point.unit} for one digit in {unit.name}, expected whole steps of "
            f"{point.scale}: compare with the dial, set {quantity}_decimals or {quantity}_unit, or take a model in "
            f"another unit"
        )
    return steps.numerator


def steps_by_code(wanted: str, scale: Decimal, quantity: Quantity, made: Options) -> tuple[int, ...]:
    """By unit code, how many steps of ``scale`` of the wanted unit the last digit of a number is worth; 0 where the
    driver alone can tell what to make of it.
    """
    found = []
    for code in range(256):
        worth = Fraction(0)
        if (unit := _unit(wanted, quantity, made, code)) is not None:
            with suppress(Impossible):
                worth = _worth(made.decimals(quantity), unit, wanted, scale)
        found.append(worth.numerator if worth.denominator == 1 and worth * DIGITS < LARGEST else 0)
    return tuple(found)


def _unit(wanted: str, quantity: Quantity, made: Options, code: int | None) -> Unit | None:
    """The unit of a number that is sent with this code; None for a code that is none."""
    return Unit(wanted, 1) if quantity in PLAIN_UNITS else made.unit(quantity, code)


@lru_cache(4096)
def _worth(decimals: int, unit: Unit, wanted: str, scale: Decimal) -> Fraction:
    """The last of so many decimals of a unit, in steps of ``scale`` of the wanted one."""
    times = Fraction(1) if unit.symbol == wanted else factor(unit.symbol, wanted)
    return Fraction(unit.times, 10**decimals) * times / Fraction(scale)


def _address(text: str, where: str) -> str:
    pairs = [text[at : at + 2] for at in range(0, len(text), 2)]
    whole = len(text) == 14 and text.isascii() and text == text.upper() and all(c in "0123456789ABCDEF" for c in text)
    if not whole or "AA" in pairs or text in (cjt188.EVERYONE, "F" * 14):
        expected = "14 digits, maker and number, highest first; not a wildcard"
        raise ConfigError(f"{where}.address", repr(text), expected)
    return text
