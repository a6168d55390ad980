"""What the overview shows of one site: today's figures, power, days, meters, gateways, incidents."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce
from zoneinfo import ZoneInfo

from cloud import statements
from cloud.accounting import period as periods
from cloud.accounting.meters import ENERGY
from cloud.accounting.statement import Statement, statement_id
from cloud.collector import Collector, health
from cloud.pages import amounts, render
from cloud.pages.amounts import Amount
from cloud.pages.incidents import Shown, incidents
from cloud.rows import Gateway, Latest, Sum
from drivers import site as sites
from drivers.installation import Installation
from drivers.profile import Point
from drivers.quantity import EXACT
from protocols.errors import AccountError, FactorError, RottenError

SPAN_MS = 86_400_000
STEP_MS = 900_000
DAYS = 31
POWER = "power"
"""The point that says a meter's whole active power; every profile of an electricity meter calls it so."""


@dataclass(frozen=True, slots=True)
class SiteName:
    """A site to choose."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Meter:
    """One device now. ``power`` (kW), ``flow`` and ``today`` have CT x PT applied; ``register`` is what it shows."""

    id: str
    name: str
    role: str
    medium: str
    power: Decimal | None
    flow: Amount | None
    register: Decimal | None
    unit: str
    multiplier: Decimal
    today: Amount | None
    at: int | None
    page: str
    block: str | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class GatewayLine:
    """One gateway in the list. ``coverage``: answered of due."""

    id: str
    health: str
    blocks: int
    coverage: Decimal | None
    received_at: int | None


@dataclass(frozen=True, slots=True)
class Quarter:
    """Mean power (kW) of each series over 15 minutes."""

    start: int
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """One day's figure: a version, or the open day as it stands. ``rotten``: the version cannot be read."""

    id: str
    day: str
    kwh: Decimal | None
    tco2: Decimal | None
    version: int
    open: bool
    rotten: bool = False


@dataclass(frozen=True, slots=True)
class Month:
    """The sum of the days shown of a month, and the statement of the month."""

    id: str
    month: str
    tco2: Decimal


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything on the page of one site; ``site`` is empty while no gateway is enrolled."""

    site: str
    name: str
    zone: str
    day: str
    sites: tuple[SiteName, ...]
    as_of: int | None
    age: int
    through: int | None
    today: Statement | None
    reason: str
    month: Month | None
    power: Decimal | None
    series: tuple[str, ...]
    hours: tuple[Quarter, ...]
    days: tuple[Day, ...]
    meters: tuple[Meter, ...]
    gateways: tuple[GatewayLine, ...]
    incidents: tuple[Shown, ...]


def overview(held: Collector, site: str | None, lang: str) -> Overview:
    """The page of a site, the first one that can be read when none is asked for; RottenError."""
    known, now = _by_site(held.store.gateways()), held.now()
    chosen = site if site in known else _first(held, known)
    gateways = known.get(chosen, [])
    zone = _zone(held, gateways)
    today, reason = _today(held, chosen, zone, now) if gateways else (None, "")
    days = _days(held, chosen, today)
    hours = now // STEP_MS * STEP_MS - SPAN_MS
    series, quarters = _power(held, gateways, hours, now)
    midnight = periods.day_of(now, zone).start
    meters = tuple(meter for row in gateways for meter in _meters(held, row, today, midnight))
    bought = [meter for meter in meters if (meter.role, meter.medium) == ("purchased", amounts.ELECTRICITY)]
    live = [meter.power for meter in bought if meter.power is not None]
    ends = [row.block_end for row in gateways if row.block_end is not None]
    return Overview(
        site=chosen,
        name=_name(held, gateways),
        zone=str(zone),
        day=render.clock(now, "%Y-%m-%d", zone),
        sites=tuple(SiteName(each, _name(held, rows)) for each, rows in known.items()),
        as_of=max(ends, default=None),
        age=now - max(ends, default=now),
        through=None if today is None else min(now, periods.instant(today.content.period.through)),
        today=today,
        reason=reason,
        month=_month(chosen, render.clock(now, "%Y-%m", zone), days),
        power=sum(live, Decimal(0)) if live else None,
        series=series,
        hours=quarters,
        days=days,
        meters=meters,
        gateways=tuple(_gateway(row, now) for row in gateways),
        incidents=incidents(held, None, lang, 8),
    )


def power_rows(held: Collector, site: str) -> tuple[tuple[str, ...], tuple[Quarter, ...]]:
    """The chart of power as rows, for its CSV."""
    now = held.now()
    return _power(held, held.store.gateways_of(site), now // STEP_MS * STEP_MS - SPAN_MS, now)


def day_rows(held: Collector, site: str) -> tuple[Day, ...]:
    """The chart of days as rows, for its CSV."""
    today, _ = _today(held, site, _zone(held, held.store.gateways_of(site)), held.now())
    return _days(held, site, today)


def _by_site(gateways: Sequence[Gateway]) -> dict[str, list[Gateway]]:
    found: dict[str, list[Gateway]] = {}
    for row in gateways:
        found.setdefault(row.site, []).append(row)
    return found


def _first(held: Collector, known: Mapping[str, Sequence[Gateway]]) -> str:
    """The first site whose configuration has not rotted, or the first of all; "" where there is none."""
    for site, gateways in known.items():
        with suppress(RottenError):
            _installation(held, gateways)
            return site
    return next(iter(known), "")


def _zone(held: Collector, gateways: Sequence[Gateway]) -> ZoneInfo:
    found = _installation(held, gateways)
    return found.site.zone if found else ZoneInfo(render.ZONE)


def _name(held: Collector, gateways: Sequence[Gateway]) -> str:
    try:
        found = _installation(held, gateways)
    except RottenError:
        return gateways[0].site
    return found.site.site.name if found else "tanmeter"


def _installation(held: Collector, gateways: Sequence[Gateway]) -> Installation | None:
    return next((found for row in gateways if (found := held.store.installation(row.id)) is not None), None)


def _today(held: Collector, site: str, zone: ZoneInfo, now: int) -> tuple[Statement | None, str]:
    """The open day as it stands, or why there is none."""
    try:
        found = statements.live(held.store, site, periods.day_of(now, zone), now)
    except (AccountError, FactorError, RottenError) as error:
        return None, str(error)
    return (found, "") if found.content.inputs.count else (None, "")


def _days(held: Collector, site: str, today: Statement | None) -> tuple[Day, ...]:
    """The newest versions of the last days, oldest first, then the open day."""
    closed = sorted([name for name in held.store.statement_periods(site) if len(name) == len("2026-11-22")])[-DAYS:]
    rows = [row for name in closed if (row := _closed(held, site, name)) is not None]
    if today is not None and all(row.day != today.content.period.id for row in rows):
        rows.append(_day(today, True))
    return tuple(rows)


def _closed(held: Collector, site: str, day: str) -> Day | None:
    """The newest version of a day that is over; without its figures where it has rotted."""
    try:
        found = statements.newest(held.store, statement_id(site, day))
        return None if found is None else _day(found, False)
    except RottenError:
        row = held.store.statement(statement_id(site, day))
        return None if row is None else Day(row.id, day, None, None, row.version, False, rotten=True)


def _month(site: str, month: str, days: Sequence[Day]) -> Month | None:
    """This month as the sum of the days shown; its statement has the figure of its own. None where a day has rotted."""
    if any(row.rotten and row.day.startswith(month) for row in days):
        return None
    parts = [row.tco2 for row in days if row.day.startswith(month) and row.tco2 is not None]
    return Month(f"E-{site}-{month}", month, reduce(EXACT.add, parts)) if parts else None


def _day(row: Statement, still_open: bool) -> Day:
    content = row.content
    return Day(row.id, content.period.id, content.kwh, content.tco2, row.version, still_open)


def _power(
    held: Collector, gateways: Sequence[Gateway], start: int, end: int
) -> tuple[tuple[str, ...], tuple[Quarter, ...]]:
    """Each electricity meter and its quarters of an hour, gaps as None: what was not measured is not drawn."""
    found: dict[str, dict[int, float]] = {}
    for row in gateways:
        electric = _electric(held.store.installation(row.id))
        for entry in held.store.power_series(start, end, row.id):
            if entry.point == POWER and entry.device in electric:
                found.setdefault(entry.device, {})[entry.start] = entry.mean
    series = tuple(found)
    newest = max((at for means in found.values() for at in means), default=start - STEP_MS)
    starts = range(start, min(end, newest + STEP_MS), STEP_MS)
    return series, tuple(Quarter(at, tuple(_rounded(found[name].get(at)) for name in series)) for at in starts)


def _electric(installation: Installation | None) -> set[str]:
    devices = installation.site.device if installation else ()
    return {
        device.id
        for device in devices
        if installation and installation.profiles[device.profile].medium == amounts.ELECTRICITY
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _meters(held: Collector, row: Gateway, today: Statement | None, midnight: int) -> list[Meter]:
    """Every device of a gateway, in the order of its configuration."""
    installation = held.store.installation(row.id)
    if installation is None:
        return []
    latest: dict[str, dict[str, Latest]] = {}
    for entry in held.store.latest(row.id):
        latest.setdefault(entry.device, {})[entry.point] = entry
    devices = installation.site.device
    mains = [next(iter(amounts.counted(installation, number)), None) for number in range(len(devices))]
    counted = [(device.id, main.id) for device, main in zip(devices, mains, strict=True) if main]
    sums = dict[str, Sum]()
    with suppress(RottenError):  # the day says why
        sums = {found.device: found for found in held.store.sums(row.id, counted, midnight, held.now() + 1)}
    accounted = _booked(row, today)
    meters = []
    for number, (device, main) in enumerate(zip(devices, mains, strict=True)):
        own = latest.get(device.id, {})
        meter = _meter(row, installation, number, main=main, values=own, found=sums.get(device.id))
        if meter.medium == amounts.ELECTRICITY and accounted.get(device.id) is not None:
            meter = replace(meter, today=Amount(ENERGY, accounted[device.id], "kWh"))
        meters.append(meter)
    return meters


def _meter(
    row: Gateway,
    installation: Installation,
    number: int,
    *,
    main: Point | None,
    values: dict[str, Latest],
    found: Sum | None,
) -> Meter:
    """A device (its number) now; ``main``: the point that stands for it, ``found``: what that came to today."""
    device, profile = installation.site.device[number], installation.drivers[number].profile
    shown = values.get(main.id) if main is not None and main.kind == "counter" else None
    flow = amounts.flow(values)
    newest = flow or shown or max(values.values(), key=lambda entry: entry.at, default=None)
    at = newest.at if newest else None
    secondary = shown is not None and shown.primary_value != shown.value
    return Meter(
        id=device.id,
        name=device.name,
        role=device.role,
        medium=profile.medium,
        power=_kilowatts(values.get(POWER)),
        flow=None if flow is None else Amount(flow.point, flow.primary_value, flow.unit),
        register=shown.value if shown else None,
        unit=shown.unit if shown else "",
        multiplier=sites.multiplier(device, at) if secondary and at is not None else Decimal(1),
        today=None if main is None else amounts.amount(main, found),
        at=at,
        page=f"/meters/{row.id.hex()}/{device.id}",
        block=f"/blocks/{row.id.hex()}/{newest.epoch}/{newest.seq}#d-{device.id}" if newest else None,
        seq=newest.seq if newest else None,
    )


def _booked(row: Gateway, today: Statement | None) -> dict[str, Decimal | None]:
    """kWh of today by device, as the open statement has them."""
    if today is None:
        return {}
    meters = [meter for line in today.content.lines for meter in line.meters] + list(today.content.breakdown)
    return {meter.device: meter.kwh for meter in meters if meter.gateway == row.id.hex()}


def _kilowatts(entry: Latest | None) -> Decimal | None:
    """Primary power in kW, None when there is none or the unit is not of power."""
    if entry is None or entry.primary_value is None:
        return None
    exponent = {"W": -3, "kW": 0, "MW": 3}.get(entry.unit)
    return None if exponent is None else entry.primary_value.scaleb(exponent)


def _gateway(row: Gateway, now: int) -> GatewayLine:
    coverage = Decimal(row.answered) / row.due if row.due else None
    return GatewayLine(row.id.hex(), health(row, now), row.blocks, coverage, row.received_at)
