"""The meters of a subject in the store: which gateways hold them, what their points came to over a period."""

from collections.abc import Iterator
from dataclasses import replace

from cloud import gauges, statements
from cloud.accounting import conditions, feeds
from cloud.accounting import period as periods
from cloud.accounting.feeds import Fed
from cloud.accounting.interval_text import known_until
from cloud.accounting.metered import Metered, metered
from cloud.accounting.monitored import Measured
from cloud.accounting.period import Period
from cloud.accounting.subject import ZONE, Meter, Monitor, Subject
from cloud.accounting.units import quantity, unit
from cloud.intervals import Interval
from cloud.rows import Gateway
from cloud.store import Store
from protocols.errors import ActivityError

DAY_MS = 86_400_000
KINDS = {"cumulative": "counter", "instantaneous": "rate"}


def through(store: Store, subject: Subject, period: Period, now: int) -> int:
    """How far the figures of a period go (UTC ms): its end, or while it runs up to the newest reading of a meter.

    Without a meter it goes up to the midnight before ``now``.
    """
    if now >= period.end:
        return period.end
    held = [(gateway, meter) for meter in _mains(subject) for gateway in gateways(store, subject, meter)]
    newest = max((_newest(store, gateway, meter, period, now) for gateway, meter in held), default=0)
    today = periods.midnight(periods.day(now, ZONE), ZONE)
    return newest or min(max(today, period.start), period.end)


def book(store: Store, subject: Subject) -> None:
    """Book what waits of every gateway that holds a meter of a subject, however long that takes; StoreError."""
    meters: tuple[Meter | Monitor, ...] = (*subject.meter, *subject.monitor)
    for held in {gateway.id for meter in meters for gateway in gateways(store, subject, meter)}:
        store.book(held)


def fed(store: Store, subject: Subject, period: Period, until: int) -> Iterator[Fed]:
    """What every main meter of a subject came to in each part of a period, up to ``until`` (UTC ms).

    A meter that no gateway holds is there with nothing known of it: a missing meter is not a zero. ActivityError for
    a main meter that hangs below another one of its row in the signed balance tree: what it counts is counted already.
    """
    _counted_once(store, subject)
    for meter in _mains(subject):
        for start, end in feeds.parts(meter, period):
            if start >= until:
                continue
            held = gateways(store, subject, meter)
            for gateway in held:
                yield Fed(meter, gateway.id.hex(), start, end, of(store, gateway, meter, start, end, through=until))
            if not held:
                yield Fed(meter, meter.gateway, start, end, _nothing(meter, start, end, until))


def of(store: Store, gateway: Gateway, meter: Meter, start: int, end: int, *, through: int) -> Metered:
    """What a meter's point came to over [start, end) (UTC ms), in normal cubic metres where the subject says how."""
    own = normal(store, gateway, meter, _series(store, gateway, meter, start, end))
    wanted = None if meter.pressure else KINDS.get(meter.semantics)
    for one in own if wanted else ():
        if one.kind != wanted:
            raise ActivityError(f"{meter.name}: found a {one.kind}, expected what is {meter.semantics}")
    found = own[0].unit if own else (quantity(meter.ceiling).unit.text if meter.ceiling else "")
    ceiling = quantity(meter.ceiling).to(unit(found)) if meter.ceiling else None
    return replace(metered(meter.name, own, start, end, through=through, ceiling=ceiling), unit=found)


def monitored(store: Store, subject: Subject, period: Period) -> dict[str, list[Measured]]:
    """What the flue-gas monitors of each stack measured over a period that is over; nothing filled in.

    A monitor that no gateway holds has measured nothing; ActivityError for one that two hold.
    """
    found: dict[str, list[Measured]] = {}
    for one in subject.monitor:
        start = max(period.start, periods.midnight(one.since, ZONE) if one.since else period.start)
        end = min(period.end, periods.midnight(one.until, ZONE) if one.until else period.end)
        if start >= end:
            continue
        held = gateways(store, subject, one)
        if len(held) > 1:
            raise ActivityError(
                f"{one.stack}: found {one.device} at {len(held)} gateways, expected `gateway` to say which"
            )
        own = _series(store, held[0], one, start, end) if held else []
        measured = metered(f"{one.device}.{one.point}", own, start, end, through=end)
        found.setdefault(one.stack, []).append(Measured(one, start, end, measured))
    return found


def normal(store: Store, gateway: Gateway, meter: Meter, own: list[Interval]) -> list[Interval]:
    """The intervals as they count: a gas in m3 at 0 ℃ and 101.325 kPa, where the subject says by what."""
    if meter.normal is not None:
        return conditions.by_factor(own, quantity(meter.normal.value).value)
    if meter.pressure and own:
        known = gauges.conditions(store, gateway, meter, own[0].start, own[-1].end)
        return conditions.normalised(own, known)
    return own


def gateways(store: Store, subject: Subject, meter: Meter | Monitor) -> list[Gateway]:
    """The gateways that hold a meter: the one it names, or those of the subject's site that are set up with it."""
    if meter.gateway:
        found = store.gateway(bytes.fromhex(meter.gateway))
        return [] if found is None else [found]
    return [one for one in store.gateways_of(subject.site) if _has(store, one, meter.device)]


def places(subject: Subject) -> frozenset[str]:
    """Where ``gateways`` looks for the meters of a subject: gateways (hex) that they name, its site for those that do
    not; nothing for one without a meter.
    """
    meters: tuple[Meter | Monitor, ...] = (*subject.meter, *subject.monitor)
    return frozenset([meter.gateway or subject.site for meter in meters])


def _has(store: Store, gateway: Gateway, device: str) -> bool:
    return any(
        entry.id == device
        for held in store.configurations(gateway.id)
        for entry in statements.installation(store, gateway.id, held.number).site.device
    )


def _counted_once(store: Store, subject: Subject) -> None:
    rows: dict[tuple[bytes, str, str], set[str]] = {}
    for meter in _mains(subject):
        for gateway in gateways(store, subject, meter):
            rows.setdefault((gateway.id, meter.row, meter.item), set()).add(meter.device)
    for (gateway_id, row, _), devices in rows.items():
        installation = store.installation(gateway_id)
        parents = {} if installation is None else {one.id: one.parent for one in installation.site.device}
        for device in sorted(devices):
            above = parents.get(device)
            while above is not None and above not in devices:
                above = parents.get(above)
            if above is not None:
                raise ActivityError(
                    f"{subject.id}, row {row}: found {device} as a main meter below {above}, which is one too; expected"
                    f" it as a sub meter of {above}"
                )


def _mains(subject: Subject) -> Iterator[Meter]:
    return (meter for meter in subject.meter if meter.role == "main")


def _series(store: Store, gateway: Gateway, meter: Meter | Monitor, start: int, end: int) -> list[Interval]:
    return store.series(gateway.id, meter.device, meter.point, start, end)


def _newest(store: Store, gateway: Gateway, meter: Meter, period: Period, now: int) -> int:
    """Up to when a meter is known within a period (UTC ms), 0 for nothing: its last day is looked at first."""
    for start in (max(period.start, now - DAY_MS), period.start):
        for one in _series(store, gateway, meter, start, period.end)[-1:]:
            return known_until(one)
    return 0


def _nothing(meter: Meter, start: int, end: int, until: int) -> Metered:
    ceiling = None if not meter.ceiling else quantity(meter.ceiling)
    found = metered(meter.name, (), start, end, through=until, ceiling=None if ceiling is None else ceiling.value)
    return replace(found, unit="" if ceiling is None else ceiling.unit.text)
