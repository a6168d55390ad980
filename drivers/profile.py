"""A device model as data (仪表型号): its points, the limits of its link, and proof frames."""

import hashlib
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from drivers import toml
from drivers.site import duration_ms
from protocols.errors import ConfigError

Baud = Annotated[int, msgspec.Meta(ge=300, le=1_000_000)]
Kind = Literal["counter", "gauge", "config", "status"]
REGISTERS = {"bit": 1, "u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2, "u64": 4, "i64": 4, "f64": 4}
"""How many addresses a Modbus type takes."""
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$")]


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name a person reads."""

    zh: str
    en: str


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the register map was read, and how far it has been checked."""

    doc: str
    verified: Literal["doc-only", "simulator", "bench", "field"]
    note: str = ""


class Product(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A product the profile fits."""

    brand: str
    model: str
    note: str = ""


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One quantity of a device (测点).

    Modbus: ``fc``, ``address`` (0-based), ``type``, ``order``. DL/T 645: ``di`` (8 hex digits, DI3 first), ``digits``
    (as in XXXXXX.XX) and, when it is read in a block, ``block`` and ``index`` (position in the block).
    The value is raw x ``scale`` in ``unit``. ``primary`` false: the number is before CT and PT. ``modulus`` is where a
    counter rolls over, ``max_rate_per_h`` the most it can grow in an hour, both in ``unit``. ``bit`` picks one bit of a
    status word. ``bad`` are the raw bit patterns, as unsigned numbers, that say "no value". ``min`` and ``max`` are in
    ``unit``; beyond them a reading is suspect. Points of one ``snapshot`` come in one read. ``affects`` are the points
    that this puts in doubt. ``period`` (``10s``, ``15m``, ``1d``) is how often it is asked, whatever the device says.
    """

    id: Name
    unit: str
    kind: Kind
    fc: Literal[1, 2, 3, 4] | None = None
    address: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] | None = None
    type: Literal["bit", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"] | None = None
    order: Literal["ABCD", "CDAB", "BADC", "DCBA"] = "ABCD"
    bit: Annotated[int, msgspec.Meta(ge=0, le=15)] | None = None
    di: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-F]{8}$")] | None = None
    digits: Annotated[str, msgspec.Meta(pattern=r"^X+(\.X+)?$")] | None = None
    signed: bool = False
    block: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-F]{8}$")] | None = None
    index: Annotated[int, msgspec.Meta(ge=0)] = 0
    scale: Decimal = Decimal(1)
    primary: bool = True
    modulus: Decimal | None = None
    max_rate_per_h: Decimal | None = None
    min: Decimal | None = None
    max: Decimal | None = None
    bad: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] = ()
    period: str | None = None
    snapshot: str | None = None
    affects: tuple[Name, ...] = ()
    title: Text | None = None


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What this model's link can bear: rates tried first to last, times in ms, registers in one read.

    A read may run over registers between points only where ``readable_gaps`` is true or a range of ``readable`` says
    so, and never over a range of ``forbidden``. Ranges hold their first and last address.
    """

    baud: Annotated[tuple[Baud, ...], msgspec.Meta(min_length=1)] = (9600,)
    parity: Literal["N", "E", "O"] = "E"
    stopbits: Literal[1, 2] = 1
    turnaround_ms: int = 100
    guard_ms: int = 20
    timeout_ms: int = 800
    max_registers: Annotated[int, msgspec.Meta(ge=1, le=125)] = 50
    readable_gaps: bool = False
    readable: tuple[tuple[int, int], ...] = ()
    forbidden: tuple[tuple[int, int], ...] = ()


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A golden exchange: hex of request and response, and what must be read out of it, each value as a decimal.

    A point that the request asks for and ``expect`` does not name must be absent.
    """

    request: str
    response: str
    expect: dict[str, str]
    source: str = ""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device model. ``period`` is the default of every point that names none."""

    schema: Literal[1]
    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    title: Text
    protocol: Literal["modbus", "dlt645"]
    medium: Literal["electricity", "flue-gas"]
    source: Source
    products: tuple[Product, ...]
    points: Annotated[tuple[Point, ...], msgspec.Meta(min_length=1, max_length=1000)]
    proof: Annotated[tuple[Proof, ...], msgspec.Meta(min_length=1, max_length=1000)]
    link: Link = Link()
    period: str = "60s"

    def point(self, point_id: str) -> Point:
        """The point of this name; KeyError when the model has none."""
        for point in self.points:
            if point.id == point_id:
                return point
        raise KeyError(point_id)


def load(source: bytes, name: str = "profile") -> Profile:
    """The profile in a TOML document; ConfigError names the place that is wrong."""
    profile = toml.load(source, Profile, name)
    check(profile, name)
    return profile


def digest(source: bytes) -> bytes:
    """SHA-256 of the profile file as it is: what the site configuration names."""
    return hashlib.sha256(source).digest()


def check(profile: Profile, name: str) -> None:
    """What the types cannot say; ConfigError with the path of the point."""
    _duration(profile.period, f"{name}: period")
    for key, ranges in (("readable", profile.link.readable), ("forbidden", profile.link.forbidden)):
        for index, (first, last) in enumerate(ranges):
            if not 0 <= first <= last <= 0xFFFF:
                raise ConfigError(f"{name}: link.{key}[{index}]", f"[{first}, {last}]", "first <= last, both 0..65535")
    ids = [point.id for point in profile.points]
    for index, point in enumerate(profile.points):
        where = f"{name}: points[{index}]"
        if ids.index(point.id) != index:
            raise ConfigError(f"{where}.id", f"{point.id!r} a second time", "each id once")
        _check_point(point, ids, where)
        if profile.protocol == "modbus":
            _check_modbus(point, where)
        else:
            _check_dlt645(point, where)
    _check_groups(profile, name)
    _check_proofs(profile, ids, name)


def _check_point(point: Point, ids: list[str], where: str) -> None:
    if point.period is not None:
        _duration(point.period, f"{where}.period")
    if point.kind == "counter" and point.modulus is None and point.type not in ("f32", "f64"):
        raise ConfigError(f"{where}.modulus", "a counter without modulus", "the value at which it rolls over")
    if not point.scale.is_finite() or point.scale <= 0:
        raise ConfigError(f"{where}.scale", str(point.scale), "a number above 0")
    for key, value in (("modulus", point.modulus), ("max_rate_per_h", point.max_rate_per_h)):
        if value is not None and not (value.is_finite() and value > 0):
            raise ConfigError(f"{where}.{key}", str(value), "a number above 0")
    for key, value in (("min", point.min), ("max", point.max)):
        if value is not None and not value.is_finite():
            raise ConfigError(f"{where}.{key}", str(value), "a finite number")
    for other in point.affects:
        if other not in ids or other == point.id:
            raise ConfigError(f"{where}.affects", repr(other), "the id of another point")


def _check_modbus(point: Point, where: str) -> None:
    if point.fc is None or point.address is None or point.type is None:
        raise ConfigError(where, "a point without fc, address and type", "fc, address and type (protocol modbus)")
    if (point.type == "bit") != (point.fc in (1, 2)):
        raise ConfigError(f"{where}.type", f"{point.type!r} with fc {point.fc}", "bit with fc 1 or 2, else 3 or 4")
    if point.bit is not None and point.type != "u16":
        raise ConfigError(f"{where}.bit", f"a bit of type {point.type!r}", "a bit of a u16 status word")
    if point.address + REGISTERS[point.type] > 0x10000:
        raise ConfigError(f"{where}.address", f"{point.address} for {point.type}", "a point that ends by address 65535")


def _check_dlt645(point: Point, where: str) -> None:
    if point.di is None or point.digits is None:
        raise ConfigError(where, "a point without di and digits", "di and digits (protocol dlt645)")
    if point.digits.count("X") % 2 or point.digits.count("X") > 16:
        raise ConfigError(f"{where}.digits", repr(point.digits), "an even number of digits, at most 16")


def _check_groups(profile: Profile, name: str) -> None:
    """Points that come in one reply must agree: a block in its format, a snapshot in function and period."""
    blocks: dict[str, Point] = {}
    snapshots: dict[str, Point] = {}
    singles = [point.di for point in profile.points if point.di is not None]
    for index, point in enumerate(profile.points):
        where = f"{name}: points[{index}]"
        if singles.count(point.di or "") > 1:
            raise ConfigError(f"{where}.di", f"{point.di!r} a second time", "each identifier once")
        if point.block is not None:
            first = blocks.setdefault(point.block, point)
            if (first.digits, first.signed) != (point.digits, point.signed) or point.block in singles:
                raise ConfigError(f"{where}.block", repr(point.block), f"the format of {first.id}, no point's di")
        if point.snapshot is not None:
            first = snapshots.setdefault(point.snapshot, point)
            if (first.fc, first.period) != (point.fc, point.period):
                raise ConfigError(f"{where}.snapshot", repr(point.snapshot), f"the fc and period of {first.id}")


def _check_proofs(profile: Profile, ids: list[str], name: str) -> None:
    for index, proof in enumerate(profile.proof):
        where = f"{name}: proof[{index}]"
        for point_id in proof.expect:
            if point_id not in ids:
                raise ConfigError(f"{where}.expect", repr(point_id), "the id of a point")
        for key, text in (("request", proof.request), ("response", proof.response)):
            try:
                bytes.fromhex(text)
            except ValueError as error:
                raise ConfigError(f"{where}.{key}", repr(text), "bytes in hex") from error


def _duration(text: str, where: str) -> None:
    try:
        duration_ms(text)
    except ValueError as error:
        raise ConfigError(where, repr(text), "a duration like 10s, 15m, 1d") from error
