"""The site file (site.toml): ports, devices, ratios with dates, the balance tree. What the technician signs."""

import hashlib
import json
import re
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from drivers import toml
from protocols.errors import ConfigError

SHORTEST_BLOCK_MS, LONGEST_BLOCK_MS = 1_000, 86_400_000
"""A day is what a block may last (RECORD.md, Course). Nobody sees a reading before its block is sealed, and its time is
known as well as that of the whole block (43 s over a day): a day is for water and heat, which are read once a day.
"""
HIGHEST_PORT = HIGHEST_REGISTER = 65_535

Range = tuple[int, int]
"""First and last register."""

ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Id = Annotated[str, msgspec.Meta(pattern=ID)]


class SiteInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which site, and how its record is cut. ``region`` is the grid region or province, for information."""

    id: Id
    name: str
    timezone: str = "Asia/Shanghai"
    language: Literal["zh", "en"] = "zh"
    region: str = ""
    block: str = "60s"


class Port(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wire: a serial port by its stable path with its mode (``9600-8E1``), a TCP endpoint (``tcp = "host:port"``), or
    an address that devices connect to and speak unasked (``listen = "host:port"``).

    ``framing`` of a TCP endpoint: Modbus TCP, the same in TLS (port 802), or what a serial line carries, behind a
    serial server. TLS needs ``tls_ca``, the file of who vouches for the meter, where it asks for it ``tls_cert`` and
    ``tls_key`` of ours, and ``tls_name`` where its certificate is not made out to the host.
    """

    name: Id
    device: str | None = None
    mode: str = "9600-8E1"
    tcp: str | None = None
    listen: str | None = None
    framing: Literal["modbus-tcp", "modbus-tls", "rtu"] = "modbus-tcp"
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_name: str | None = None


class Ratio(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """The CT and PT ratio from an instant on: ``"400/5"`` or ``"80"``."""

    since: datetime
    ct: str = "1"
    pt: str = "1"

    @property
    def multiplier(self) -> Decimal:
        """CT x PT: what a secondary-side energy or power is multiplied by."""
        return ratio(self.ct) * ratio(self.pt)


class Stack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The duct a flue-gas monitor looks into: ``area_m2``, velocity factor ``kv`` (HJ 212-2017 annex D, 29 and 30), and
    the air pressure where it stands, which the static pressure is added to. ``basis``: of the gas in which CO2 is
    measured. ``constants``: the standard's (273 K, 22.4 l, 44 g), or exact ones (273.15, 22.414, 44.01).
    """

    area_m2: Decimal
    kv: Decimal = Decimal(1)
    air_pressure_pa: Decimal = Decimal(101325)
    basis: Literal["dry", "wet"] = "dry"
    constants: Literal["hj212", "exact"] = "hj212"


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An installed meter. ``role`` says what it counts for; ``parent`` is the meter upstream of it.

    ``mode``: its line settings, where they are not its port's. ``turnaround_ms``, ``max_registers``, ``readable`` and
    ``forbidden``: measured here, instead of what its profile says of the link. ``options``: of its maker, by protocol.
    """

    id: Id
    profile: str
    port: Id
    address: str
    name: str = ""
    serial: str = ""
    role: Literal["purchased", "sub", "flue-gas"] = "sub"
    parent: Id | None = None
    period: str | None = None
    points: tuple[str, ...] = ()
    mode: str | None = None
    turnaround_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] | None = None
    max_registers: Annotated[int, msgspec.Meta(ge=1, le=125)] | None = None
    readable: tuple[Range, ...] | None = None
    forbidden: tuple[Range, ...] | None = None
    options: dict[str, Any] = {}
    stack: Stack | None = None
    ratios: Annotated[tuple[Ratio, ...], msgspec.Meta(max_length=256)] = ()


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A site file. A device's number is its position in ``device``."""

    schema: Literal[1]
    site: SiteInfo
    port: Annotated[tuple[Port, ...], msgspec.Meta(min_length=1, max_length=64)]
    device: Annotated[tuple[Device, ...], msgspec.Meta(min_length=1, max_length=256)]

    @property
    def zone(self) -> ZoneInfo:
        """Where its business days begin."""
        return ZoneInfo(self.site.timezone)

    @property
    def block_ms(self) -> int:
        """How long a block lasts, in ms."""
        return duration_ms(self.site.block)


def load(source: bytes, name: str = "site.toml") -> Site:
    """The site in a TOML document; ConfigError names the place that is wrong."""
    return load_with_digests(source, name)[0]


def load_with_digests(source: bytes, name: str = "site.toml") -> tuple[Site, tuple[bytes, ...]]:
    """The site, and key 1 of a chunk, per device: SHA-256 of its entry as sorted compact JSON, dates in RFC 3339; first
    16 bytes. ConfigError names the place that is wrong.
    """
    tables = toml.parse(source, name)
    site = toml.convert(tables, Site, name)
    _check(site, name)
    return site, tuple([hashlib.sha256(_compact(entry)).digest()[:16] for entry in tables["device"]])


@lru_cache(maxsize=1024)
def duration_ms(text: str) -> int:
    """``500ms``, ``10s``, ``15m``, ``1h`` or ``1d`` in ms; ValueError otherwise."""
    match = re.fullmatch(r"([1-9][0-9]*)(ms|s|m|h|d)", text)
    if match is None:
        raise ValueError(f"found {text!r}, expected a duration like 10s, 15m, 1d")
    return int(match[1]) * {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[match[2]]


@lru_cache(maxsize=1024)
def ratio(text: str) -> Decimal:
    """``"400/5"`` is 80; ValueError when it is not a positive number that ends within 28 digits."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/(\d+(?:\.\d+)?))?", text)
    if match is None or Decimal(match[1]) == 0 or (match[2] and Decimal(match[2]) == 0):
        raise ValueError(f"found {text!r}, expected a ratio like 400/5 or 80")
    value = Decimal(match[1]) / Decimal(match[2] or 1)
    if Fraction(value) != Fraction(match[1]) / Fraction(match[2] or 1):
        raise ValueError(f"found {text!r}, expected a ratio that ends, like 400/5")
    return value


def multiplier(device: Device, at_ms: int) -> Decimal:
    """CT x PT in force at an instant (UTC ms); 1 when the device has no ratio before it."""
    current = Decimal(1)
    for entry in device.ratios:
        if entry.since.timestamp() * 1000 <= at_ms:
            current = entry.multiplier
    return current


def _compact(entry: dict[str, Any]) -> bytes:
    def plain(value: Any) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=plain).encode()


def _check(site: Site, name: str) -> None:
    try:
        ZoneInfo(site.site.timezone)
    except (ValueError, KeyError, OSError) as error:
        raise ConfigError(
            f"{name}: site.timezone", repr(site.site.timezone), "a time zone like Asia/Shanghai"
        ) from error
    _duration(site.site.block, f"{name}: site.block")
    if not SHORTEST_BLOCK_MS <= site.block_ms <= LONGEST_BLOCK_MS:
        raise ConfigError(f"{name}: site.block", repr(site.site.block), "1s to 1d")
    ports: dict[str, Port] = {}
    for index, port in enumerate(site.port):
        where = f"{name}: port[{index}]"
        if port.name in ports:
            raise ConfigError(f"{where}.name", f"{port.name!r} a second time", "each name once")
        _check_port(port, where)
        if _wire(port) in [_wire(other) for other in ports.values()]:
            raise ConfigError(where, f"{_wire(port)!r} a second time", "one port a wire: it has one owner")
        ports[port.name] = port
    _check_devices(site, name, ports)


def _wire(port: Port) -> str | None:
    return port.device or port.tcp or port.listen


def _check_port(port: Port, where: str) -> None:
    if sum([place is not None for place in (port.device, port.tcp, port.listen)]) != 1:
        raise ConfigError(where, "none or more than one of device, tcp and listen", "one of device, tcp and listen")
    _check_mode(port.mode, f"{where}.mode")
    for key, place in (("tcp", port.tcp), ("listen", port.listen)):
        match = re.fullmatch(r"[^:\s]+:([0-9]{1,5})", place or "any:1")
        if match is None or not 1 <= int(match[1]) <= HIGHEST_PORT:
            raise ConfigError(f"{where}.{key}", repr(place), "host:port, the port 1 to 65535")
    _check_tls(port, where)


def _check_tls(port: Port, where: str) -> None:
    """The files of TLS where it is used, and only there, by paths that do not depend on where a program is started."""
    files = {"tls_ca": port.tls_ca, "tls_cert": port.tls_cert, "tls_key": port.tls_key}
    if port.framing != "modbus-tls":
        given = [key for key, value in {**files, "tls_name": port.tls_name}.items() if value is not None]
        if given:
            raise ConfigError(f"{where}.{given[0]}", f"framing {port.framing!r}", 'framing = "modbus-tls" with it')
        return
    if port.tcp is None:
        raise ConfigError(f"{where}.framing", "modbus-tls without tcp", "tcp = host:802")
    if port.tls_ca is None:
        raise ConfigError(
            f"{where}.tls_ca", "none", "the file of who vouches for the meter's certificate, or that itself"
        )
    if (port.tls_cert is None) != (port.tls_key is None):
        raise ConfigError(f"{where}.tls_cert", "one of tls_cert and tls_key", "both or neither")
    for key, path in files.items():
        if path is not None and not path.startswith("/"):
            raise ConfigError(f"{where}.{key}", repr(path), "an absolute path")


def _check_mode(mode: str, where: str) -> None:
    if re.fullmatch(r"[1-9][0-9]{2,6}-[78][NEO][12]", mode) is None:
        raise ConfigError(where, repr(mode), "a mode like 9600-8E1")


def _check_devices(site: Site, name: str, ports: dict[str, Port]) -> None:
    ids = [device.id for device in site.device]
    places: set[tuple[str, str]] = set()
    for index, device in enumerate(site.device):
        where = f"{name}: device[{index}]"
        if ids.index(device.id) != index:
            raise ConfigError(f"{where}.id", f"{device.id!r} a second time", "each id once")
        if device.port not in ports:
            raise ConfigError(f"{where}.port", repr(device.port), "the name of a port: " + ", ".join(ports))
        if (device.port, device.address) in places:
            raise ConfigError(
                f"{where}.address", f"{device.address!r} a second time on {device.port}", "one meter an address"
            )
        places.add((device.port, device.address))
        if device.parent is not None and (device.parent not in ids or device.parent == device.id):
            raise ConfigError(f"{where}.parent", repr(device.parent), "the id of another device")
        if device.period is not None:
            _duration(device.period, f"{where}.period")
        if device.mode is not None:
            _check_mode(device.mode, f"{where}.mode")
        for key, ranges in (("readable", device.readable), ("forbidden", device.forbidden)):
            _check_ranges(ranges or (), f"{where}.{key}")
        for number, entry in enumerate(device.ratios):
            _check_ratio(entry, f"{where}.ratios[{number}]")
        if list(device.ratios) != sorted(device.ratios, key=lambda entry: entry.since):
            raise ConfigError(f"{where}.ratios", "ratios out of order", "rising dates")
        if len({entry.since for entry in device.ratios}) != len(device.ratios):
            raise ConfigError(f"{where}.ratios", "two ratios from the same instant", "one ratio from an instant on")
        if len(set(device.points)) != len(device.points):
            raise ConfigError(f"{where}.points", "a point a second time", "each point once")
    _check_tree(site, name)


def _check_ranges(ranges: tuple[Range, ...], where: str) -> None:
    for index, (first, last) in enumerate(ranges):
        if not 0 <= first <= last <= HIGHEST_REGISTER:
            raise ConfigError(f"{where}[{index}]", f"[{first}, {last}]", "first <= last, both 0..65535")


def _check_ratio(entry: Ratio, where: str) -> None:
    if entry.since.tzinfo is None:
        raise ConfigError(
            f"{where}.from", entry.since.isoformat(), "a date with its offset, like 2026-10-01T00:00:00+08:00"
        )
    for key, text in (("ct", entry.ct), ("pt", entry.pt)):
        try:
            ratio(text)
        except ValueError as error:
            raise ConfigError(f"{where}.{key}", repr(text), "a ratio like 400/5 or 80") from error


def _check_tree(site: Site, name: str) -> None:
    parents = {device.id: device.parent for device in site.device}
    for index, device in enumerate(site.device):
        seen, at = {device.id}, device.parent
        while at is not None:
            if at in seen:
                raise ConfigError(f"{name}: device[{index}].parent", f"a circle through {at!r}", "a tree")
            seen.add(at)
            at = parents[at]


def _duration(text: str, where: str) -> None:
    try:
        duration_ms(text)
    except ValueError as error:
        raise ConfigError(where, repr(text), "a duration like 10s, 15m, 1d") from error
