"""A device model as data (仪表型号): its points, the limits of its link, and proof frames."""

import hashlib
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from drivers import toml
from protocols.errors import ConfigError

Kind = Literal["counter", "gauge", "config", "status"]
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
    status word. ``period`` is how often it is asked by default (``10s``, ``15m``, ``1d``).
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
    bad: tuple[int, ...] = ()
    period: str | None = None
    snapshot: str | None = None
    affects: tuple[Name, ...] = ()
    title: Text | None = None


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What this model's link can bear: rates tried first to last, times in ms, registers in one read."""

    baud: tuple[int, ...] = (9600,)
    parity: Literal["N", "E", "O"] = "E"
    stopbits: Literal[1, 2] = 1
    turnaround_ms: int = 100
    guard_ms: int = 20
    timeout_ms: int = 800
    max_registers: Annotated[int, msgspec.Meta(ge=1, le=125)] = 50
    readable_gaps: bool = False
    forbidden: tuple[tuple[int, int], ...] = ()


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A golden exchange: hex of request and response, and what must be read out of it (null: absent)."""

    request: str
    response: str
    expect: dict[str, str | None]
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
    points: Annotated[tuple[Point, ...], msgspec.Meta(min_length=1)]
    proof: Annotated[tuple[Proof, ...], msgspec.Meta(min_length=1)]
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
    seen: set[str] = set()
    for index, point in enumerate(profile.points):
        where = f"{name}: points[{index}]"
        if point.id in seen:
            raise ConfigError(f"{where}.id", f"{point.id!r} a second time", "each id once")
        seen.add(point.id)
        if profile.protocol == "modbus" and (point.fc is None or point.address is None or point.type is None):
            raise ConfigError(where, "a point without fc, address and type", "fc, address and type (protocol modbus)")
        if profile.protocol == "modbus" and (point.type == "bit") != (point.fc in (1, 2)):
            raise ConfigError(
                f"{where}.type", f"{point.type!r} with fc {point.fc}", "bit with fc 1 or 2, a number with 3 or 4"
            )
        if profile.protocol == "dlt645" and (point.di is None or point.digits is None):
            raise ConfigError(where, "a point without di and digits", "di and digits (protocol dlt645)")
        if point.kind == "counter" and point.modulus is None and point.type not in ("f32", "f64"):
            raise ConfigError(f"{where}.modulus", "a counter without modulus", "the value at which it rolls over")
    for index, proof in enumerate(profile.proof):
        for point_id in proof.expect:
            if point_id not in seen:
                raise ConfigError(f"{name}: proof[{index}].expect", repr(point_id), "the id of a point")
