"""The HJ 212 driver: what the packets of a data logger say. It asks nothing; the logger speaks unasked.

A device is told by its MN. Every command (CN) with a point has a question with an empty request: such a packet is due
once in each period. The values of a packet are of its DataTime.

Options of a device (``options`` in the site file; those of the profile where it says nothing):

- ``crc = "modbus"``: the logger sends the Modbus CRC, low byte first, instead of that of annex A.
- ``units = { a05001 = "%", a01013 = "Pa", a00000-Cou = "km3" }``: what it sends, where that is not the standard's.
- ``periods = { "2011" = "30s", "2051" = "5m" }``: how often it sends, where the profile says otherwise.
- ``unmarked = "N"``: a value that comes without a mark counts (loggers of 2005 may send none).
- ``flow = "packet"``: the flow sent is dry and standard and taken as it is; else it follows from velocity and section.

A mark is told as a number: 0 is N, the only one that counts; 1 to 7 are F M S D C T B, 8 another or two, 9 none came,
10 N, but the total of the interval contradicts its mean.
"""

import re
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Literal

import msgspec

from drivers import plan, toml, units
from drivers.fluegas import CONTEXT, Constants
from drivers.profile import Point, Profile
from drivers.quantity import quality, stepped
from drivers.query import Query, Values
from drivers.site import Device, Stack, duration_ms
from drivers.stack import FLOW as FLOW_RATE
from drivers.stack import MASS, SET, STATE, Heard, StackGas
from drivers.stack import UNITS as INPUT_UNITS
from protocols import hj212
from protocols.errors import ConfigError, Mismatched
from protocols.hj212 import Packet, Said
from protocols.hj212_codes import TOTAL, UNMARKED, factor, mark
from protocols.recogniser import Recogniser

MARK, MEAN = "Flag", "Avg"
REAL_TIME = "2011"
CO2, FLOW = "a05001", "a00000"
IMPLAUSIBLE = UNMARKED + 1
APART_PER_CENT = 25
"""How far the total of an interval may be from its mean times its length: a wrong unit is a thousandfold off."""
NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{0,15})?")
ASK_NOTHING = b""
HOUR_MS = 3_600_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a site says of its logger."""

    crc: Literal["annex-a", "modbus"] = "annex-a"
    units: dict[str, str] = {}
    periods: dict[str, str] = {}
    unmarked: Literal["N", "suspect"] = "suspect"
    flow: Literal["velocity", "packet"] = "velocity"


@dataclass(frozen=True, slots=True, eq=False)
class Hj212Driver:
    """One monitor behind a data logger."""

    profile: Profile
    mn: str
    points: tuple[Point, ...]
    """What is told: the points asked for, and the marks by which they count."""
    heard: tuple[Point, ...]
    """What is read: those and whatever feeds them, in the profile's order."""
    plan: tuple[Query, ...]
    options: Options
    stack: StackGas
    zone: tzinfo
    ratios: Mapping[str, Decimal]
    """By point: what the number sent is multiplied by."""

    @classmethod
    def of(cls, device: Device, profile: Profile, zone: tzinfo, where: str) -> "Hj212Driver":
        """The driver of a monitor; ConfigError for options that cannot be and units that do not fit."""
        if not device.address or not device.address.isprintable() or set(device.address) & set(";=&# "):
            raise ConfigError(f"{where}.address", repr(device.address), "the MN that the logger sends")
        _check_stack(device.stack, where)
        options = toml.convert(profile.options | device.options, Options, f"{where}.options")
        stack = StackGas(device.stack, options.flow)
        points = _with(plan.selected(device, profile, where), profile, _marks)
        heard = _with(_with(points, profile, _inputs), profile, _marks)
        _check_units(options, profile.points, where)
        ratios = {point.id: _ratio(point, options, stack.constants, where) for point in heard}
        queries = _queries(device, profile, points, options, where)
        return cls(profile, device.address, points, heard, queries, options, stack, zone, ratios)

    def queries(self) -> tuple[Query, ...]:
        """A question a command, fastest first."""
        return self.plan

    def command(self, query: Query) -> str:
        """The command (CN) whose packets answer a question."""
        return str(self.profile.point(query.points[0]).cn)

    def query(self, packet: Packet) -> int | None:
        """Which question a packet answers; None when it is none of the plan."""
        found = [index for index, query in enumerate(self.plan) if self.command(query) == packet.cn]
        return found[0] if found else None

    def span_ms(self, query: int) -> int:
        """How long the intervals are whose start a question's packets are dated with; 0 where it is an instant."""
        held = self.plan[query]
        return 0 if self.command(held) == REAL_TIME else held.period_ms

    def packet(self, reply: bytes) -> Packet:
        """The packet that was recorded; Damaged, Mismatched when it is another device's."""
        packet = _decoded(reply, self.options.crc == "modbus")
        if packet.mn != self.mn:
            raise Mismatched(f"found a packet of MN {packet.mn!r}, expected {self.mn!r}")
        return packet

    def read(self, request: bytes) -> Generator[bytes, bytes, Values]:
        """Yield nothing, be sent a packet, return its values; none when its command has no points. ProtocolError."""
        if request != ASK_NOTHING:
            raise Mismatched(f"found a request of {len(request)} bytes, expected none: the logger speaks unasked")
        packet = self.packet((yield request))
        cn, said = packet.cn, packet.said()
        heard, told = ([point for point in points if point.cn == cn] for points in (self.heard, self.points))
        held: dict[str, Decimal | None] = {}
        for point in heard:
            if point.factor is not None and (packet.part is None or _sends(said, point)):
                held[point.id] = self._sent(said, point)
        for point in heard:
            if point.factor is None and set(point.inputs.values()) <= set(held):
                held[point.id] = self._derived(point, held)
        return {point.id: held[point.id] for point in told if point.id in held}

    def follow_up(self, request: bytes, reply: bytes) -> bytes | None:
        """Never anything: each packet stands alone."""
        return None

    def stamp(self, request: bytes, reply: bytes) -> int | None:
        """DataTime as UTC ms: the start of the interval, the instant of real-time data; None when it is none."""
        return instant(self.packet(reply).data_time, self.zone)

    def recogniser(self, request: bytes) -> Recogniser:
        """What finds a packet of this monitor in a stream."""
        return hj212.Recogniser(self.mn, self.options.crc == "modbus")

    def _sent(self, said: Said, point: Point) -> Decimal | None:
        if point.field == MARK:
            return Decimal(self._mark(said, point))
        value = _number(_texts(said, point, point.field or ""))
        return None if value is None else _stepped(CONTEXT.multiply(value, self.ratios[point.id]), point)

    def _mark(self, said: Said, point: Point) -> int:
        found = mark(_texts(said, point, MARK))
        if found == UNMARKED and self.options.unmarked == "N" and _sends(said, point):
            found = 0
        return IMPLAUSIBLE if found == 0 and self._contradicted(said, point) else found

    def _contradicted(self, said: Said, point: Point) -> bool:
        """Whether the total flow of an interval is not its mean times its length, within APART_PER_CENT."""
        if point.factor not in _codes(FLOW):
            return False
        mean, total = (_number(_texts(said, point, name)) for name in (MEAN, TOTAL))
        if mean is None or total is None:
            return False
        hourly = CONTEXT.multiply(mean, self._to(MEAN, "m3/h"))
        hours = CONTEXT.divide(Decimal(self._period_ms(str(point.cn))), Decimal(HOUR_MS))
        expected = CONTEXT.multiply(hourly, hours)
        apart = CONTEXT.subtract(CONTEXT.multiply(total, self._to(TOTAL, "m3")), expected)
        return abs(apart) * 100 > abs(expected) * APART_PER_CENT

    def _period_ms(self, cn: str) -> int:
        return next(query.period_ms for query in self.plan if self.command(query) == cn)

    def _to(self, field: str, wanted: str) -> Decimal:
        """What turns the flow as sent, or its total, into ``wanted``."""
        found = units.ratio(_sent_unit(FLOW, field, self.options) or wanted, wanted, self.stack.constants)
        return Decimal(1) if found is None else found

    def _derived(self, point: Point, held: Values) -> Decimal | None:
        """What follows from other points of the packet; a point with ``co2`` among its inputs is of the mass."""
        if point.field == SET:
            return Decimal(self.stack.constants.number)
        heard = {role: self._heard(role, self.profile.point(name), held) for role, name in point.inputs.items()}
        value, state = self.stack.derive(MASS if "co2" in point.inputs else FLOW_RATE, heard)
        if point.field == STATE:
            return Decimal(state)
        return None if value is None else _stepped(value, point)

    def _heard(self, role: str, point: Point, held: Values) -> Heard:
        value = held[point.id]
        to = units.ratio(point.unit, INPUT_UNITS[role], self.stack.constants, _mole(point, self.stack.constants))
        if value is None or to is None:
            return None, "absent"
        return CONTEXT.multiply(value, to), quality(point, held)


@lru_cache(1)
def _decoded(reply: bytes, modbus_crc: bool) -> Packet:
    """As ``hj212.decode``: once for the values of a packet and for their time."""
    return hj212.decode(reply, modbus_crc)


def instant(text: str, zone: tzinfo) -> int | None:
    """14 or 17 digits in a zone as UTC ms; None when they are no time."""
    if len(text) not in (14, 17) or not (text.isascii() and text.isdigit()):
        return None
    try:
        local = datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=zone)
    except ValueError:
        return None
    return (local - EPOCH) // timedelta(milliseconds=1) + int(text[14:] or 0)


def local(utc_ms: int, zone: tzinfo, digits: int = 14) -> str:
    """UTC ms as 14 or 17 digits in a zone."""
    text = f"{(EPOCH + timedelta(milliseconds=utc_ms)).astimezone(zone):%Y%m%d%H%M%S}"
    return text if digits == 14 else f"{text}{utc_ms % 1000:03d}"


def interval_start(utc_ms: int, period_ms: int, zone: tzinfo) -> int:
    """The start of the interval that holds an instant, as a site's logger cuts them: days begin at its midnight."""
    offset = (EPOCH + timedelta(milliseconds=utc_ms)).astimezone(zone).utcoffset() or timedelta()
    shift = offset // timedelta(milliseconds=1)
    return (utc_ms + shift) // period_ms * period_ms - shift


def _with(points: tuple[Point, ...], profile: Profile, others: Callable[[Point], Iterable[str]]) -> tuple[Point, ...]:
    """The points and the others that they name, in the profile's order."""
    wanted = {point.id for point in points} | {name for point in points for name in others(point)}
    return tuple(point for point in profile.points if point.id in wanted)


def _marks(point: Point) -> tuple[str, ...]:
    return (point.flag,) if point.flag is not None else ()


def _inputs(point: Point) -> Iterable[str]:
    return point.inputs.values()


def _check_stack(stack: Stack | None, where: str) -> None:
    for name in ("area_m2", "kv", "air_pressure_pa"):
        value = getattr(stack, name, Decimal(1))
        if not (value.is_finite() and value > 0):
            raise ConfigError(f"{where}.stack.{name}", str(value), "a number above 0")


def _check_units(options: Options, points: tuple[Point, ...], where: str) -> None:
    """Every unit is one of a factor of the model, or of its total."""
    known = {code for point in points if point.factor is not None for code in _codes(point.factor)}
    for name in options.units:
        if name.removesuffix(f"-{TOTAL}") not in known:
            expected = "a factor of its model: " + ", ".join(sorted(known))
            raise ConfigError(f"{where}.options.units", repr(name), expected)


def _queries(
    device: Device, profile: Profile, points: tuple[Point, ...], options: Options, where: str
) -> tuple[Query, ...]:
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(str(point.cn), []).append(point)
    for cn in options.periods:
        if cn not in found:
            raise ConfigError(f"{where}.options.periods", repr(cn), "a command of its points: " + ", ".join(found))
    queries = []
    for cn, told in found.items():
        texts = [options.periods[cn]] if cn in options.periods else []
        texts = texts or [point.period or device.period or profile.period for point in told]
        queries.append(
            Query(ASK_NOTHING, tuple(point.id for point in told), min(_period(text, where) for text in texts))
        )
    return tuple(sorted(queries, key=lambda query: query.period_ms))


def _period(text: str, where: str) -> int:
    try:
        return duration_ms(text)
    except ValueError as error:
        raise ConfigError(f"{where}.options.periods", repr(text), "a duration like 30s, 10m, 1h") from error


def _ratio(point: Point, options: Options, constants: Constants, where: str) -> Decimal:
    """What a number as sent is multiplied by to be in the unit of its point; ConfigError when the two do not fit."""
    if point.factor is None or point.field == MARK:
        return Decimal(1)
    sent = _sent_unit(point.factor, point.field or "", options) or point.unit
    found = units.ratio(sent, point.unit, constants, _mole(point, constants))
    if found is None:
        raise ConfigError(f"{where}.options.units", repr(sent), f"a unit of {point.id}, which is in {point.unit}")
    return found


def _sent_unit(code: str, field: str, options: Options) -> str:
    """In what the logger sends a field: as the site says, else as the standard does; empty where nobody says."""
    known = factor(code)
    for name in _codes(code):
        if (unit := options.units.get(f"{name}-{field}" if field == TOTAL else name)) is not None:
            return unit
    if known is None:
        return ""
    return known.total if field == TOTAL else known.unit


@lru_cache(maxsize=1024)
def _codes(code: str) -> tuple[str, ...]:
    """The codes that mean one factor: loggers mix those of 2005 with the new ones."""
    known = factor(code)
    return (code,) if known is None else tuple(name for name in (known.code, known.old) if name)


def _mole(point: Point, constants: Constants) -> Decimal | None:
    moles = {CO2: constants.co2, "a21026": constants.so2, "a21003": constants.no, "a21004": constants.no2}
    known = factor(point.factor or "")
    return moles.get(known.code) if known is not None else None


def _texts(said: Said, point: Point, name: str) -> tuple[str, ...]:
    """What the packet says of a field of the point's factor, under either code."""
    found = [text for code in _codes(point.factor or "") if code in said for text in said[code].get(name, ())]
    return tuple(dict.fromkeys(found))


def _sends(said: Said, point: Point) -> bool:
    return any(code in said for code in _codes(point.factor or ""))


def _number(texts: tuple[str, ...]) -> Decimal | None:
    """The number a field holds; None when there is none, or the packet contradicts itself."""
    if len(texts) != 1 or NUMBER.fullmatch(texts[0]) is None:
        return None
    return Decimal(texts[0])


def _stepped(value: Decimal, point: Point) -> Decimal:
    """The nearest whole number of steps, half to even; Impossible."""
    return stepped(int(CONTEXT.divide(value, point.scale).to_integral_value(ROUND_HALF_EVEN)), point)
