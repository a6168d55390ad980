"""How a question is asked in smaller pieces, when a meter refuses the whole: cut at what lies between the points."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from drivers import plan
from drivers.cover import Interval, merged
from drivers.dlt645 import Dlt645Driver
from drivers.dlt645_1997 import Dlt645Driver1997
from drivers.driver import Driver
from drivers.modbus import ModbusDriver
from protocols import dlt645, dlt645_1997, modbus
from protocols.dlt645_edition import Edition

NO_SUCH_DATA = 0x02
"""The bit of a DL/T 645 error word that a meter sets for an identifier it does not have."""
ILLEGAL = (1, 2, 3)
"""Modbus exceptions about the question itself: function, address, count. The others are about the moment."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The requests to ask instead, and the registers (first, last) that lay between them and were left out, if any."""

    pieces: tuple[bytes, ...]
    gap: tuple[int, int] | None = None


def cut(driver: Driver, request: bytes) -> Cut | None:
    """The middlemost cut: at a gap of registers no point needs, else between points; None where nothing can be cut.

    A DL/T 645 block falls apart into its items.
    """
    if isinstance(driver, ModbusDriver):
        return _cut_modbus(driver, request)
    if isinstance(driver, Dlt645Driver):
        return _items(driver, request, dlt645.EDITION)
    if isinstance(driver, Dlt645Driver1997):
        return _items(driver, request, dlt645_1997.EDITION)
    return None


def gaps(driver: Driver, request: bytes) -> tuple[tuple[int, int], ...]:
    """The registers (first, last) that this request reads and no point of ours needs."""
    if not isinstance(driver, ModbusDriver):
        return ()
    runs = merged(_fields(driver, request))
    return tuple((end, first - 1) for (_, end), (first, _) in pairwise(runs))


def plain(driver: Driver, request: bytes) -> tuple[bytes, ...]:
    """The request cut at every gap."""
    if not isinstance(driver, ModbusDriver):
        return (request,)
    return tuple(_frame(driver, request, run) for run in merged(_fields(driver, request)))


def points(driver: Driver, request: bytes) -> tuple[str, ...]:
    """The points that a request brings."""
    if isinstance(driver, ModbusDriver):
        return tuple(point.id for point, _ in driver.parts(request))
    if isinstance(driver, Dlt645Driver | Dlt645Driver1997):
        return tuple(point.id for point, _ in driver.asked(request).parts)
    return ()


def registers(driver: Driver, request: bytes) -> int:
    """How many registers or bits a Modbus read asks; 0 for other protocols."""
    return _parse(driver, request).count if isinstance(driver, ModbusDriver) else 0


def lasting(driver: Driver, reason: int) -> bool:
    """Whether a refusal for this reason is about what was asked, and not about the moment."""
    if isinstance(driver, ModbusDriver):
        return reason in ILLEGAL
    return bool(reason & NO_SUCH_DATA)


def _items(driver: Dlt645Driver | Dlt645Driver1997, request: bytes, edition: Edition) -> Cut | None:
    asked = driver.asked(request)
    items = dict.fromkeys(point.di for point, _ in asked.parts if point.di is not None)
    if asked.single or not items:
        return None
    address, _ = edition.parse_request(request)
    return Cut(tuple(edition.read_request(address, item) for item in items))


def _cut_modbus(driver: ModbusDriver, request: bytes) -> Cut | None:
    fields = _fields(driver, request)
    runs = merged(fields)
    if len(runs) > 1:
        at = len(runs) // 2
        return _halves(driver, request, runs, at, (runs[at - 1][1], runs[at][0] - 1))
    steps = [at for at in range(1, len(fields)) if max(end for _, end in fields[:at]) <= fields[at][0]]
    if not steps:
        return None
    return _halves(driver, request, fields, steps[len(steps) // 2], None)


def _halves(
    driver: ModbusDriver, request: bytes, runs: Sequence[Interval], at: int, gap: tuple[int, int] | None
) -> Cut:
    hulls = [(part[0][0], max(end for _, end in part)) for part in (runs[:at], runs[at:])]
    return Cut(tuple(_frame(driver, request, hull) for hull in hulls), gap)


def _fields(driver: ModbusDriver, request: bytes) -> list[Interval]:
    """What must stay together in a request: points, and snapshot groups as a whole."""
    return sorted(set(plan.fields([point for point, _ in driver.parts(request)])))


def _frame(driver: ModbusDriver, request: bytes, run: Interval) -> bytes:
    piece = replace(_parse(driver, request), address=run[0], count=run[1] - run[0])
    return piece.tcp() if driver.framing == "modbus-tcp" else piece.rtu()


def _parse(driver: ModbusDriver, request: bytes) -> modbus.Request:
    return modbus.parse_tcp(request) if driver.framing == "modbus-tcp" else modbus.parse_rtu(request)
