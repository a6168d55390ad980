"""What the types of a profile cannot say; one function a protocol. ConfigError with the path of the point."""

import re
from collections.abc import Callable

from drivers import cjt188_options
from drivers.profile import Identify, Point, Profile, octets
from drivers.registers import REGISTERS, coding
from drivers.site import duration_ms
from drivers.stack import DERIVED
from drivers.stack import UNITS as INPUT_UNITS
from protocols.errors import ConfigError
from protocols.hj212_codes import FOLDED

HIGHEST_POWER = 9
"""The exponents that a register may hold, either way: the widest range fits 63 bits."""

_FREEZE, _ENERGY = re.compile("05(0[0-46])(0[1-8])01"), "XXXXXX.XX"
"""The blocks of annex A that hold the energies a meter froze the last time, and their form; further back the driver
asks by itself.
"""


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
        _PROTOCOLS[profile.protocol](point, where)
    if profile.protocol == "cjt188":
        cjt188_options.check(profile.points, cjt188_options.options(profile.options, {}, name), name)
    _check_factors(profile, name)
    _check_groups(profile, name)
    _check_inputs(profile, name)
    if profile.identify is not None:
        _check_identify(profile.identify, profile, f"{name}: identify")
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
    if point.min is not None and point.max is not None and point.min > point.max:
        raise ConfigError(f"{where}.max", str(point.max), f"min ({point.min}) or more")
    named = [("affects", other) for other in point.affects]
    named += [("inputs", other) for other in point.inputs.values()]
    named += [(key, other) for key, other in (("flag", point.flag), ("of", point.of)) if other is not None]
    for key, other in named:
        if other not in ids or other == point.id:
            raise ConfigError(f"{where}.{key}", repr(other), "the id of another point")


def _check_modbus(point: Point, where: str) -> None:
    if point.fc is None or point.address is None or point.type is None:
        raise ConfigError(where, "a point without fc, address and type", "fc, address and type (protocol modbus)")
    if (point.type == "bit") != (point.fc in (1, 2)):
        raise ConfigError(f"{where}.type", f"{point.type!r} with fc {point.fc}", "bit with fc 1 or 2, else 3 or 4")
    if point.bit is not None and point.type != "u16":
        raise ConfigError(f"{where}.bit", f"a bit of type {point.type!r}", "a bit of a u16 status word")
    if point.address + REGISTERS[point.type] > 0x10000:
        raise ConfigError(f"{where}.address", f"{point.address} for {point.type}", "a point that ends by address 65535")


def _check_factors(profile: Profile, name: str) -> None:
    """A factor is an integer of the same snapshot; a power of ten is one whose exponents are bounded."""
    known = {point.id: point for point in profile.points}
    for index, point in enumerate(profile.points):
        where = f"{name}: points[{index}]"
        if point.scale_by is None:
            continue
        factor = known.get(point.scale_by)
        if factor is None or factor is point or factor.scale_by is not None:
            raise ConfigError(f"{where}.scale_by", repr(point.scale_by), "the id of another point, itself not scaled")
        if point.snapshot is None or point.snapshot != factor.snapshot:
            raise ConfigError(f"{where}.snapshot", repr(point.snapshot), f"one snapshot with {factor.id}")
        for other, key in ((point, "type"), (factor, "scale_by")):
            if coding(str(other.type)) in ("f", "bit") or other.bit is not None:
                raise ConfigError(f"{where}.{key}", repr(other.type), "an integer, where numbers are multiplied")
        if point.scale_mode == "exponent":
            _check_exponent(factor, where)


def _check_exponent(factor: Point, where: str) -> None:
    bounds = (factor.min, factor.max)
    whole = [int(bound) for bound in bounds if bound is not None and bound == bound.to_integral_value()]
    if factor.scale != 1 or len(whole) != len(bounds) or not -HIGHEST_POWER <= whole[0] <= whole[1] <= HIGHEST_POWER:
        expected = f"an exponent of scale 1 whose min and max are whole, -{HIGHEST_POWER} to {HIGHEST_POWER}"
        raise ConfigError(f"{where}.scale_by", f"{factor.id!r}, scale {factor.scale}, {bounds}", expected)


def _check_dlt645(point: Point, where: str) -> None:
    if point.of is None:
        _check_identified(point, where, 8)
    elif point.di is not None or point.digits != _ENERGY or not _FREEZE.fullmatch(point.block or ""):
        found = f"di {point.di!r}, block {point.block!r}, digits {point.digits!r}"
        expected = f"of a freeze: no di, a block 05 (cause) (01 to 08) 01, digits {_ENERGY}: it is read whole and dated"
        raise ConfigError(where, found, expected)


def _check_dlt645_1997(point: Point, where: str) -> None:
    if point.of is not None:
        raise ConfigError(f"{where}.of", repr(point.of), "none: a meter of 1997 dates no freeze")
    _check_identified(point, where, 4)


def _check_identified(point: Point, where: str, size: int) -> None:
    if point.di is None or point.digits is None:
        raise ConfigError(where, "a point without di and digits", "di and digits (protocol dlt645)")
    for key, identifier in (("di", point.di), ("block", point.block)):
        if identifier is not None and len(identifier) != size:
            raise ConfigError(f"{where}.{key}", repr(identifier), f"{size} hex digits")
    if point.digits.count("X") % 2 or point.digits.count("X") > 16:
        raise ConfigError(f"{where}.digits", repr(point.digits), "an even number of digits, at most 16")


def _check_cjt188(point: Point, where: str) -> None:
    if point.field is None:
        raise ConfigError(where, "a point without field", "field (protocol cjt188)")
    if point.bit is not None and point.field != "status":
        raise ConfigError(f"{where}.bit", f"a bit of {point.field}", "a bit of the status word")


def _check_hj212(point: Point, where: str) -> None:
    if point.cn is None:
        raise ConfigError(where, "a point without cn", "cn (protocol hj212)")
    if point.field is None:
        raise ConfigError(where, "a point without field", "field (protocol hj212)")
    if point.factor is None:
        _check_derived(point, where)


def _check_inputs(profile: Profile, name: str) -> None:
    """What follows from a packet follows from points of that packet; nothing follows from a folded concentration."""
    for index, point in enumerate(profile.points):
        for role, other in point.inputs.items():
            fed = profile.point(other)
            if fed.cn != point.cn or fed.field in FOLDED:
                found = f"{other!r}, field {fed.field} of {fed.cn}"
                raise ConfigError(f"{name}: points[{index}].inputs.{role}", found, f"a measured point of {point.cn}")


def _check_derived(point: Point, where: str) -> None:
    """A point that follows from others of its packet."""
    if DERIVED.get(str(point.field)) != point.unit:
        known = ", ".join(f"{field} in {unit}" for field, unit in DERIVED.items())
        raise ConfigError(f"{where}.field", f"{point.field!r} in {point.unit!r}", f"a factor, or one of {known}")
    for role in point.inputs:
        if role not in INPUT_UNITS:
            raise ConfigError(f"{where}.inputs", repr(role), "one of " + ", ".join(INPUT_UNITS))


def _check_mbus(point: Point, where: str) -> None:
    if (point.record is None) == (point.field is None):
        expected = "record: its DIF and VIF bytes, or field: a quantity or part of the header (protocol mbus)"
        raise ConfigError(where, "a point with both or neither of record and field", expected)


_PROTOCOLS: dict[str, Callable[[Point, str], None]] = {
    "modbus": _check_modbus,
    "dlt645": _check_dlt645,
    "dlt645-1997": _check_dlt645_1997,
    "cjt188": _check_cjt188,
    "hj212": _check_hj212,
    "mbus": _check_mbus,
}


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


def _check_identify(identify: Identify, profile: Profile, where: str) -> None:
    """A read with all its words, or ranges of known points; the read only over Modbus."""
    read, ids = identify.read, [point.id for point in profile.points]
    if read is None and not identify.ranges:
        raise ConfigError(where, "neither read nor ranges", "read and expect, or ranges of points")
    if read is not None and profile.protocol != "modbus":
        raise ConfigError(f"{where}.read", f"a read over {profile.protocol}", "ranges (read is for modbus)")
    if len(identify.expect) != (read.count if read is not None else 0):
        expected = f"{read.count} words" if read is not None else "none without read"
        raise ConfigError(f"{where}.expect", f"{len(identify.expect)} words", expected)
    if read is not None and read.address + read.count > 0x10000:
        raise ConfigError(f"{where}.read", f"{read.count} from {read.address}", "a read that ends by address 65535")
    for point, (low, high) in identify.ranges.items():
        if point not in ids:
            raise ConfigError(f"{where}.ranges", repr(point), "the id of a point")
        if not low <= high:
            raise ConfigError(f"{where}.ranges", f"{point}: {low} to {high}", "the lowest value first")


def _check_proofs(profile: Profile, ids: list[str], name: str) -> None:
    for index, proof in enumerate(profile.proof):
        where = f"{name}: proof[{index}]"
        for point_id in proof.expect:
            if point_id not in ids:
                raise ConfigError(f"{where}.expect", repr(point_id), "the id of a point")
        for key, text in (("request", proof.request), ("response", proof.response)):
            try:
                octets(text)
            except ValueError as error:
                raise ConfigError(
                    f"{where}.{key}", repr(text), "bytes in hex, or a packet that begins with ##"
                ) from error


def _duration(text: str, where: str) -> None:
    try:
        duration_ms(text)
    except ValueError as error:
        raise ConfigError(where, repr(text), "a duration like 10s, 15m, 1d") from error
