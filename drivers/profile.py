"""A device model as data (仪表型号): its points, the limits of its link, and proof frames. Read by profile_file."""

import hashlib
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from drivers.registers import Order, Type

Baud = Annotated[int, msgspec.Meta(ge=300, le=1_000_000)]
Kind = Literal["counter", "gauge", "rate", "config", "status"]
Protocol = Literal["modbus", "dlt645", "dlt645-1997", "cjt188", "hj212", "mbus"]
Medium = Literal["electricity", "water", "gas", "heat", "cold", "oil", "coal", "material", "flue-gas"]
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

    A ``counter`` counts up, a ``gauge`` is a state, a ``rate`` is an amount per hour (``kg/h``) that is booked by its
    integral over time, a ``config`` changes only when somebody changes it, a ``status`` is a word of bits or a code.
    Modbus: ``fc``, ``address`` (0-based), ``type``, ``order``. DL/T 645: ``di`` (8 hex digits, DI3 first), ``digits``
    (as in XXXXXX.XX) and, when it is read in a block, ``block`` and ``index`` (position in the block); the 1997 edition
    alike with 4 hex digits. CJ/T 188: ``field`` of the answer. HJ 212: ``cn``, ``factor`` and ``field``, or, for what
    follows from other points of the packet, ``cn``, ``field`` and ``inputs`` (drivers/stack.py). M-Bus: ``record``,
    the hex of its DIF and VIF bytes, or ``field``, a quantity (with ``function``, ``storage``, ``tariff``, ``subunit``)
    or a part of the header.
    The value is raw x ``scale`` in ``unit``; ``scale_by`` is a point of the same snapshot: it is multiplied by that
    point's value as well, or by ten to its power (``scale_mode`` "exponent", within that point's ``min`` and ``max``).
    ``primary`` false: the number is before CT and PT. ``modulus`` is where a
    counter rolls over, ``max_rate_per_h`` the most it can grow in an hour, both in ``unit``. ``bit`` picks one bit of a
    status word. ``bad`` are the raw bit patterns, as unsigned numbers, that say "no value". ``min`` and ``max`` are in
    ``unit``; beyond them a reading is suspect. Points of one ``snapshot`` come in one read. ``affects`` are the points
    that this puts in doubt. ``flag`` is a status point of the same answer that must be 0 for the value to count. ``of``
    is the counter whose registers this is, at the instants that the device itself dates them with (freeze values).
    ``period`` (``10s``, ``15m``, ``1d``) is how often it is asked, whatever the device says.
    """

    id: Name
    unit: str
    kind: Kind
    fc: Literal[1, 2, 3, 4] | None = None
    address: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] | None = None
    type: Type | None = None
    order: Order = "ABCD"
    bit: Annotated[int, msgspec.Meta(ge=0, le=15)] | None = None
    di: Annotated[str, msgspec.Meta(pattern=r"^([0-9A-F]{4}){1,2}$")] | None = None
    digits: Annotated[str, msgspec.Meta(pattern=r"^X+(\.X+)?$")] | None = None
    signed: bool = False
    block: Annotated[str, msgspec.Meta(pattern=r"^([0-9A-F]{4}){1,2}$")] | None = None
    index: Annotated[int, msgspec.Meta(ge=0)] = 0
    field: str | None = None
    cn: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}$")] | None = None
    factor: str | None = None
    inputs: dict[str, Name] = {}
    record: Annotated[str, msgspec.Meta(pattern=r"^([0-9A-F]{2})+$")] | None = None
    function: Literal["instantaneous", "maximum", "minimum", "error"] = "instantaneous"
    storage: Annotated[int, msgspec.Meta(ge=0)] = 0
    tariff: Annotated[int, msgspec.Meta(ge=0)] = 0
    subunit: Annotated[int, msgspec.Meta(ge=0)] = 0
    scale: Decimal = Decimal(1)
    scale_by: Name | None = None
    scale_mode: Literal["factor", "exponent"] = "factor"
    primary: bool = True
    modulus: Decimal | None = None
    max_rate_per_h: Decimal | None = None
    min: Decimal | None = None
    max: Decimal | None = None
    bad: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] = ()
    period: str | None = None
    snapshot: str | None = None
    affects: tuple[Name, ...] = ()
    flag: Name | None = None
    of: Name | None = None
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


class Read(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One read of Modbus registers."""

    fc: Literal[3, 4]
    address: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
    count: Annotated[int, msgspec.Meta(ge=1, le=125)] = 1


class Identify(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to tell that what answered is this model.

    Modbus: ``read`` must be answered with exactly the words ``expect`` (a type code, letters of the name). ``ranges``
    hold, for points of any protocol, the lowest and the highest value they can have on a meter that is in use: what is
    read by a wrong map seldom lies inside all of them. Where both are given, both must hold.
    """

    read: Read | None = None
    expect: tuple[Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)], ...] = ()
    ranges: dict[Name, tuple[Decimal, Decimal]] = {}


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A golden exchange: hex of request and response, and what must be read out of it, each value as a decimal.

    A point that the request asks for and ``expect`` does not name must be absent. ``device``: what the site file says
    of the device beside (``options``, ``stack``).
    """

    request: str
    response: str
    expect: dict[str, str]
    source: str = ""
    device: dict[str, Any] = {}


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device model. ``period`` is the default of every point that names none, ``options`` are of its maker and differ
    by protocol: CJ/T 188, drivers/cjt188_options.py; M-Bus, drivers/mbus.py; HJ 212, drivers/hj212.py.
    """

    schema: Literal[1]
    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    title: Text
    protocol: Protocol
    medium: Medium
    source: Source
    products: tuple[Product, ...]
    points: Annotated[tuple[Point, ...], msgspec.Meta(min_length=1, max_length=1000)]
    proof: Annotated[tuple[Proof, ...], msgspec.Meta(min_length=1, max_length=1000)]
    link: Link = Link()
    identify: Identify | None = None
    options: dict[str, Any] = {}
    period: str = "60s"

    def point(self, point_id: str) -> Point:
        """The point of this name; KeyError when the model has none."""
        for point in self.points:
            if point.id == point_id:
                return point
        raise KeyError(point_id)


def digest(source: bytes) -> bytes:
    """SHA-256 of the profile file as it is: what the site configuration names."""
    return hashlib.sha256(source).digest()


def octets(text: str) -> bytes:
    """The bytes of a proof: hex, or the text of a packet that begins with ``##`` (HJ 212); ValueError."""
    return text.encode() if text.startswith("##") else bytes.fromhex(text)
