"""A list of register fields as JSON, and the requests that bring them in the least bus time."""

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from drivers import toml
from drivers.bustime import Pace
from drivers.cover import Interval, cover, merged, without
from drivers.plan import SPACE
from protocols.errors import ConfigError

FUNCTION = 3
"""Read holding registers; input registers (4) take the same time."""


class Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``fields`` are [address, length]; ``forbidden`` and ``readable`` [first, last]. A request may run over the
    registers between fields, unless ``readable_gaps`` is false: then only over those that ``readable`` names.
    """

    fields: tuple[tuple[int, int], ...]
    forbidden: tuple[tuple[int, int], ...] = ()
    readable: tuple[tuple[int, int], ...] = ()
    readable_gaps: bool = True

    @property
    def wanted(self) -> list[Interval]:
        """The registers of each field."""
        return [(address, address + length) for address, length in self.fields]

    @property
    def allowed(self) -> list[Interval]:
        """Where a request may run."""
        known = [(0, SPACE)] if self.readable_gaps else [*self.wanted, *_ends(self.readable)]
        return list(without(merged(known), _ends(self.forbidden)))


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """The requests, (address, count) each, by address, and the bus time of each in ms."""

    requests: tuple[tuple[int, int], ...]
    times_ms: tuple[float, ...]
    bus_ms: float


def load(source: bytes, name: str) -> Fields:
    """The fields in a JSON document; ConfigError names the place that is wrong."""
    try:
        document = json.loads(source.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            name, str(error) or type(error).__name__, '{"fields": [[address, length], ...]} as JSON'
        ) from error
    found = toml.convert(document, Fields, name)
    for index, (address, length) in enumerate(found.fields):
        if not (address >= 0 and length >= 1 and address + length <= SPACE):
            expected = f"[address, length] from 0 on, of 1 register or more, that end by {SPACE - 1}"
            raise ConfigError(f"{name}: fields[{index}]", f"[{address}, {length}]", expected)
    for key, ranges in (("forbidden", found.forbidden), ("readable", found.readable)):
        for index, (first, last) in enumerate(ranges):
            if not 0 <= first <= last < SPACE:
                expected = f"first <= last, both 0..{SPACE - 1}"
                raise ConfigError(f"{name}: {key}[{index}]", f"[{first}, {last}]", expected)
    return found


def plan(found: Fields, pace: Pace, most: int, name: str) -> FieldPlan:
    """The requests of least bus time, ``most`` registers each at most; ConfigError for a field that fits in none."""

    def ticks(count: int) -> int:
        return pace.modbus(FUNCTION, count)

    try:
        runs = cover(found.wanted, ticks, most, found.allowed)
    except ValueError as error:
        first, end = error.args[0]
        index = found.fields.index((first, end - first))
        expected = f"at most {most} registers in one request, none of them forbidden"
        raise ConfigError(f"{name}: fields[{index}]", f"[{first}, {end - first}]", expected) from error
    times = [ticks(end - first) for first, end in runs]
    line = pace.line
    requests = tuple((first, end - first) for first, end in runs)
    return FieldPlan(requests, tuple(map(line.ms, times)), line.ms(sum(times)))


def _ends(ranges: tuple[tuple[int, int], ...]) -> list[Interval]:
    return [(first, last + 1) for first, last in ranges]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key a second time among {', '.join(key for key, _ in pairs)}")
    return found
