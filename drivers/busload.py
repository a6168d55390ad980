"""How much of a port's time its devices are asked for, and whether it is admitted: from the signed files alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from drivers import plan
from drivers.bustime import Line, Pace
from drivers.dlt645 import Dlt645Driver
from drivers.dlt645_1997 import Dlt645Driver1997
from drivers.dlt645_asked import Frozen
from drivers.driver import Driver, Framing, driver
from drivers.mbus import MbusDriver
from drivers.modbus import ModbusDriver
from drivers.profile import Profile, octets
from drivers.query import Query
from drivers.site import Device, Port, Site, duration_ms
from protocols import modbus
from protocols.errors import OverloadError

MOST = 0.70
"""The share of its time a port may be asked for: the rest is for silences, repeats and commands."""
FREEZE_TIME = 5
"""Bytes of the time of a DL/T 645 freeze."""
MBUS_QUESTION, MBUS_LONGEST = 5, 261
"""Bytes of REQ_UD2, and of the longest telegram that answers one."""
PERIODS = ("1s", "2s", "5s", "10s", "15s", "20s", "30s", "1m", "2m", "5m", "10m", "15m", "30m", "1h")
"""What is proposed where a port is asked for too much."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one device is asked in one period: how many requests, and their bus time in ms."""

    device: int
    period_ms: int
    requests: int
    bus_ms: float

    @property
    def share(self) -> float:
        """The part of the bus it takes, 1 = all."""
        return self.bus_ms / self.period_ms


@dataclass(frozen=True, slots=True)
class PortLoad:
    """A port with what its devices take of it."""

    port: str
    shares: tuple[Share, ...]

    @property
    def share(self) -> float:
        """The part of its time that is asked for; above 1 it cannot be done at all."""
        return sum(share.share for share in self.shares)


def loads(site: Site, drivers: Sequence[Driver]) -> tuple[PortLoad, ...]:
    """Every port in the site's order. Where devices connect to us and speak unasked, nothing is asked."""
    return tuple(_load(port, site, dict(enumerate(drivers))) for port in site.port)


def admit(site: Site, drivers: Sequence[Driver], profiles: Mapping[str, Profile], name: str) -> None:
    """OverloadError for a port that is asked for more than ``MOST``: by how much, and which period would fit."""
    for index, load in enumerate(loads(site, drivers)):
        if load.share > MOST:
            raise OverloadError(
                f"{name}: port[{index}] {load.port!r}",
                f"{load.share:.1%} of its time asked for",
                f"at most {MOST:.0%}: {_remedy(site, site.port[index], profiles)}",
            )


def query_ms(held: Driver, query: Query, port: Port, mode: str) -> float:
    """Bus time in ms of one question with its answer, at these line settings; Modbus TCP has no characters."""
    link = held.profile.link
    if not query.request:
        return 0.0
    if isinstance(held, ModbusDriver) and held.framing == "modbus-tcp":
        return link.turnaround_ms
    pace = Pace(Line.of(mode), link.turnaround_ms, link.guard_ms)
    if isinstance(held, ModbusDriver):
        asked = modbus.parse_rtu(query.request)
        return pace.line.ms(pace.modbus(asked.function, asked.count))
    return pace.line.ms(sum(pace.exchange(asked, answered) for asked, answered in _rounds(held, query.request)))


def fitting(site: Site, port: Port, profiles: Mapping[str, Profile]) -> tuple[str, float] | None:
    """The shortest period at which the devices of a port fit, those that are slower left as they are, and the share it
    would be then; None where points with periods of their own ask too much.
    """
    for period in PERIODS:
        slowed = {
            number: driver(_slowed(device, profiles[device.profile], period), profiles[device.profile], _framing(port))
            for number, device in enumerate(site.device)
            if device.port == port.name
        }
        share = _load(port, site, slowed).share
        if share <= MOST:
            return period, share
    return None


def _load(port: Port, site: Site, drivers: Mapping[int, Driver]) -> PortLoad:
    shares: list[Share] = []
    for number, device in enumerate(site.device):
        if device.port != port.name or port.listen is not None:
            continue
        held, mode = drivers[number], device.mode or port.mode
        times: dict[int, list[float]] = {}
        for query in held.queries():
            times.setdefault(query.period_ms, []).append(query_ms(held, query, port, mode))
        shares += [Share(number, period, len(took), sum(took)) for period, took in sorted(times.items())]
    return PortLoad(port.name, tuple(shares))


def _remedy(site: Site, port: Port, profiles: Mapping[str, Profile]) -> str:
    found = fitting(site, port, profiles)
    if found is None:
        return "fewer points with periods of their own, a faster line or another port"
    period, share = found
    return f'with period = "{period}" its devices take {share:.1%}; or a faster line, fewer points, another port'


def _slowed(device: Device, profile: Profile, period: str) -> Device:
    now = device.period or profile.period
    return msgspec.structs.replace(device, period=max(now, period, key=duration_ms))


def _framing(port: Port) -> Framing:
    return port.framing if port.tcp else "rtu"


def _rounds(held: Driver, request: bytes) -> Iterator[tuple[int, int]]:
    """How many bytes are asked and answered, question by question of one exchange."""
    if isinstance(held, Dlt645Driver | Dlt645Driver1997):
        yield from ((len(request), len(request) + data) for data in _dlt645_data(held, request))
        return
    longest = max(len(octets(proof.response)) for proof in held.profile.proof)
    if isinstance(held, MbusDriver):
        if held.asked.identification:
            yield len(request), 1
        for _ in range(1 if held.options.frame_count_bit == "ignored" else 2):
            yield MBUS_QUESTION, min(longest, MBUS_LONGEST)
        return
    yield len(request), longest


def _dlt645_data(held: Dlt645Driver | Dlt645Driver1997, request: bytes) -> Iterator[int]:
    """The bytes of data that answer each question: of an item, a block as the profile knows it, or a freeze."""
    asked = held.asked(request)
    if isinstance(asked, Frozen):
        yield FREEZE_TIME
        for block in asked.blocks:
            yield sum(plan.width(point) for point, _ in block.parts)
        yield FREEZE_TIME
    elif asked.single:
        yield plan.width(asked.parts[0][0])
    else:
        yield sum(plan.width(point) for point in held.profile.points if point.block == asked.identifier)
