"""Which meter is whose: what two subjects count as their own main meter on one day would be in the city twice.

Beside each version of a subject the journal keeps what others are held against, so that a file of one among ten
thousand is taken in without opening the files of the rest. What only an enrolment or a configuration that came later
tells cannot be refused any more, and stands until somebody settles it: ``doubles``.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations, product, takewhile
from typing import Any

import msgspec

from cloud import metering, statements
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting.boundary import TRADED
from cloud.accounting.membership import Membership
from cloud.accounting.method import Class
from cloud.accounting.subject import ZONE, Meter, Subject
from cloud.rows import Gateway
from cloud.store import Store
from protocols.errors import RottenError, SharedMeterError

_OUTSIDE = ("memo", "reduction")
"""Classes that no total holds: a meter of the ledger of reductions may be somebody's own as well."""
_Bound = tuple[Subject, Meter]
_Parents = Mapping[str, str | None]
"""The devices of a configuration, each with the one it hangs below."""


@dataclass(frozen=True, slots=True)
class Double:
    """What a main meter of a subject counts at a gateway (hex), one of another subject there counts again.

    ``days``: from the first on, up to the last, which is out: by the two meters and by the configurations that say so.
    """

    gateway: str
    subject: Subject
    meter: Meter
    other: Subject
    counts: Meter
    days: tuple[date, date]


@dataclass(frozen=True, slots=True)
class Places:
    """Gateways by id (hex) and by site; main meters by the gateway they name, else by their subject's site."""

    gateways: Mapping[str, Sequence[Gateway]]
    meters: Mapping[str, Sequence[_Bound]]

    @classmethod
    def of(cls, gateways: Iterable[Gateway], subjects: Iterable[Subject]) -> "Places":
        """Where these are."""
        here: dict[str, list[Gateway]] = {}
        for gateway in gateways:
            here.setdefault(gateway.id.hex(), []).append(gateway)
            here.setdefault(gateway.site, []).append(gateway)
        meters: dict[str, list[_Bound]] = {}
        for subject in subjects:
            for meter in _mains(subject):
                meters.setdefault(meter.gateway or subject.site, []).append((subject, meter))
        return cls(here, meters)

    def around(self, subject: Subject) -> Iterator[tuple[Gateway, list[_Bound]]]:
        """The gateways that may hold its main meters, each with all that may be there; none where only its own are."""
        near = {meter.gateway or subject.site for meter in _mains(subject)}
        found = {gateway.id: gateway for place in near for gateway in self.gateways.get(place, ())}
        for gateway in found.values():
            bound = [*self.meters.get(gateway.id.hex(), ()), *self.meters.get(gateway.site, ())]
            if any(held.id != subject.id for held, _ in bound):
                yield gateway, bound


def brief(subject: Subject) -> str:
    """What others are held against, as JSON: whose it is, what it belongs to, its main meters and how it is metered."""
    mains = (
        Meter(one.device, one.point, one.row, one.symbol, gateway=one.gateway, since=one.since, until=one.until)
        for one in _mains(subject)
    )
    own = Subject(
        *(subject.id, subject.zh, subject.en, subject.kind, subject.category),
        method=subject.method,
        site=subject.site,
        membership=subject.membership,
        meter=tuple(mains),
        metering=subject.metering,
    )
    return msgspec.json.encode(_lean(own)).decode()


def of_brief(detail: str) -> Subject | None:
    """A subject by its brief; None where a version was kept without one. RottenError when it cannot be read."""
    try:
        return None if detail == "{}" else msgspec.json.decode(detail, type=Subject)
    except (msgspec.DecodeError, TypeError) as error:
        raise RottenError(f"subject: found a brief that cannot be read ({error}), expected what was kept") from error


def check(
    store: Store, name: str, membership: Membership, touched: Collection[str], before: Mapping[str, Subject]
) -> None:
    """SharedMeterError where one of ``touched`` (ids) and another subject count one main meter on the same day.

    A sub meter is not counted; a sale and its purchase are no sum; and where ``metering`` of a whole says how its lines
    stand to those of its members, the roll-up puts it right. ``before``: the subjects as they are held: what two of
    them count already is told by ``doubles``, and is no fault of a file that leaves it as it is.
    """
    was = Membership(before)
    own = [(subject, meter) for one in touched for subject in (membership.subjects[one],) for meter in _mains(subject)]
    if not own:
        return
    sites = {one.id.hex(): one.site for one in store.gateways()}
    near: dict[tuple[str, str, str], list[_Bound]] = {}
    for subject, meter in own:
        for place in _places(sites, subject, meter):
            near.setdefault((place, meter.device, meter.point), []).append((subject, meter))
    for subject in membership.subjects.values():
        for meter in _mains(subject):
            for place in _places(sites, subject, meter):
                for other in near.get((place, meter.device, meter.point), ()):
                    new = (subject, meter)
                    if other[0].id == subject.id or not _twice(store, membership, new, other):
                        continue
                    if not any(_twice(store, was, *pair) for pair in _as_held(before, new, other)):
                        raise SharedMeterError(f"{name}: {_told(sites, (subject, meter), other)}")
    for low, high, passed in _stacked(store, membership, own, sites):
        if any(_again(was, *pair, passed) for pair in _as_held(before, low, high)):
            continue
        raise SharedMeterError(
            f"{name}: subject {low[0].id}: found {low[1].name} as a main meter below {high[1].device}, which is one of"
            f" {high[0].id} ({high[0].zh}, {high[0].en}); expected {high[0].id} to sell over {low[1].device}, or its"
            " metering to say how they stand"
        )


def doubles(store: Store, membership: Membership, places: Places, subject: Subject) -> Iterator[Double]:
    """What of a subject another one counts again, as the gateways that are enrolled are set up now."""
    for gateway, bound in places.around(subject):
        told = _told_parents(store, gateway)
        held: dict[str, list[_Bound]] = {}
        for one in bound:
            if one[1].gateway or any(one[1].device in parents for _, parents in told):
                held.setdefault(one[1].device, []).append(one)
        for first, second, since in _at(membership, told, held):
            days = _days(first[1], second[1])
            for (own, meter), (other, counts) in ((first, second), (second, first)):
                if own.id == subject.id and max(days[0], since) < days[1]:
                    yield Double(gateway.id.hex(), own, meter, other, counts, (max(days[0], since), days[1]))


_Told = Sequence[tuple[date, _Parents]]
"""What the configurations of a gateway say, newest first, each with the day from which on."""


def _told_parents(store: Store, gateway: Gateway) -> _Told:
    return [
        (
            periods.day(held.valid_from, ZONE),
            {one.id: one.parent for one in statements.installation(store, gateway.id, held.number).site.device},
        )
        for held in reversed(store.configurations(gateway.id))
    ]


def _at(
    membership: Membership, told: _Told, held: Mapping[str, Sequence[_Bound]]
) -> Iterator[tuple[_Bound, _Bound, date]]:
    """The pairs at one gateway that a sum would hold twice, and since when: of one meter, or one above another."""
    for device, bound in held.items():
        since = min((day for day, parents in told if device in parents), default=date.min)
        for first, second in combinations(bound, 2):
            if first[0].id != second[0].id and first[1].point == second[1].point and _sums(membership, first, second):
                yield first, second, since
    for low, high, _ in _stacks(membership, told[0][1] if told else {}, held):
        said = takewhile(lambda one: high[1].device in _upstream(one[1], low[1].device), told)  # noqa: B023
        yield low, high, min(day for day, _ in said)


def _as_held(before: Mapping[str, Subject], one: _Bound, other: _Bound) -> Iterator[tuple[_Bound, _Bound]]:
    """The same two bindings in the subjects as they are held, where both of them are."""
    alike = [
        [(held, meter) for meter in _mains(held) if _key(meter) == _key(own)]
        if (held := before.get(subject.id))
        else []
        for subject, own in (one, other)
    ]
    yield from product(*alike)


def _key(meter: Meter) -> tuple[object, ...]:
    return meter.device, meter.point, meter.row, meter.symbol, meter.gateway, meter.since, meter.until


def _mains(subject: Subject) -> Iterator[Meter]:
    return (meter for meter in subject.meter if meter.role == "main")


def _places(sites: Mapping[str, str], subject: Subject, meter: Meter) -> Iterator[str]:
    """Where a meter may be: at the gateway that it names, and its site: its subject's until it is enrolled."""
    if meter.gateway:
        yield meter.gateway
    if site := sites.get(meter.gateway, subject.site):
        yield site


def _twice(store: Store, membership: Membership, one: _Bound, other: _Bound) -> bool:
    """Whether two bindings near each other are of one meter and a sum would hold it twice, some day."""
    return _sums(membership, one, other) and not _apart(store, one, other)


def _sums(membership: Membership, one: _Bound, other: _Bound) -> bool:
    """Whether a sum would hold what two bindings count twice, some day, where they are of one meter."""
    (left, first), (right, second) = one, other
    days = _days(first, second)
    if days[0] >= days[1]:
        return False
    mine, others = _counted(left, first), _counted(right, second)
    classes = {class_ for class_, _ in mine | others}
    if not mine or not others or (classes <= {*TRADED} and mine.isdisjoint(others) and len(classes) == 1):
        return False
    return not (_settled(membership, left, right, classes, days) or _settled(membership, right, left, classes, days))


def _days(*meters: Meter) -> tuple[date, date]:
    """The first day on which all of them feed their rows, and the one after the last; none where that is not later."""
    return max(one.since or date.min for one in meters), min(one.until or date.max for one in meters)


def _counted(subject: Subject, meter: Meter) -> set[tuple[Class, int]]:
    """Class and sign of the row that a meter feeds, by any edition; nothing where no total holds it."""
    known = methods.editions(subject.method) if subject.method else ()
    rows = [method.rows[meter.row] for method in known if meter.row in method.rows]
    return {(row.class_, row.sign) for row in rows if row.class_ not in _OUTSIDE}


def _settled(
    membership: Membership, whole: Subject, member: Subject, classes: set[Class], days: tuple[date, date]
) -> bool:
    """Whether a whole says how its own lines stand to this member's, which is all in it from when it is in anything."""
    said = {one.class_ for one in whole.metering if one.mode != "INDEPENDENT"}
    entered = max(days[0], min((one.since for one in member.membership), default=days[0]))
    if len(classes) > 1 or not classes <= said or entered >= days[1]:
        return False
    return membership.weight(member.id, whole.id, entered, days[1]) == 1


def _apart(store: Store, one: _Bound, other: _Bound) -> bool:
    """Whether two bindings are known to be of meters behind different gateways."""
    left, right = (
        {meter.gateway} if meter.gateway else {held.id.hex() for held in metering.gateways(store, subject, meter)}
        for subject, meter in (one, other)
    )
    return bool(left and right) and left.isdisjoint(right)


def _stacked(
    store: Store, membership: Membership, own: Collection[_Bound], sites: Mapping[str, str]
) -> Iterator[tuple[_Bound, _Bound, Sequence[str]]]:
    """As ``_stacks``, of what is near the bindings that are asked about, by the newest configurations."""
    places = {place for bound in own for place in _places(sites, *bound)}
    touched = {subject.id for subject, _ in own}
    held: dict[bytes, dict[str, list[_Bound]]] = {}
    for subject in membership.subjects.values():
        for meter in _mains(subject):
            if not places.isdisjoint(_places(sites, subject, meter)):
                for gateway in metering.gateways(store, subject, meter):
                    held.setdefault(gateway.id, {}).setdefault(meter.device, []).append((subject, meter))
    for gateway_id, bound in held.items():
        installation = store.installation(gateway_id)
        parents = {} if installation is None else {one.id: one.parent for one in installation.site.device}
        for low, high, passed in _stacks(membership, parents, bound):
            if not touched.isdisjoint({low[0].id, high[0].id}):
                yield low, high, passed


def _stacks(
    membership: Membership, parents: _Parents, held: Mapping[str, Sequence[_Bound]]
) -> Iterator[tuple[_Bound, _Bound, Sequence[str]]]:
    """A meter, one of another subject above it in the balance tree that counts the same again, and the devices from
    the lower one up to the upper one, which is out."""
    for device, lower in held.items():
        passed = [device]
        for above in _upstream(parents, device):
            for low, high in product(lower, held.get(above, ())):
                if _again(membership, low, high, passed):
                    yield low, high, tuple(passed)
            passed.append(above)


def _upstream(parents: _Parents, device: str) -> Iterator[str]:
    """The meters upstream of a device, nearest first."""
    above = parents.get(device)
    while above is not None:
        yield above
        above = parents.get(above)


def _again(membership: Membership, low: _Bound, high: _Bound, passed: Collection[str]) -> bool:
    """Whether what a meter of one subject counts is in that of another above it too, and nothing takes it off again.

    ``passed``: the devices from the lower one up to the upper one; what the upper subject sells over them is taken off.
    """
    (buyer, first), (whole, second) = low, high
    days = _days(first, second)
    counted = _counted(*low)
    if buyer.id == whole.id or days[0] >= days[1] or counted != _counted(*high):
        return False
    if len(counted) != 1 or any(sign != 1 for _, sign in counted):
        return False
    for meter in _mains(whole):
        sold = {class_ for class_, sign in _counted(whole, meter) if sign == -1} == {one for one, _ in counted}
        if sold and meter.device in passed and _days(meter, first, second) == days:
            return False
    classes = {class_ for class_, _ in counted}
    return not (_settled(membership, whole, buyer, classes, days) or _settled(membership, buyer, whole, classes, days))


def _told(sites: Mapping[str, str], held: _Bound, new: _Bound) -> str:
    (has, first), (subject, meter) = held, new
    site = sites.get(meter.gateway, subject.site)
    where = " of ".join(filter(None, (meter.gateway and f"gateway {meter.gateway}", site and f"site {site}")))
    days = f"{f' from {first.since}' if first.since else ''}{f' until {first.until}' if first.until else ''}"
    return (
        f"subject {subject.id}: found {meter.name} of {where} as a main meter, which {has.id} ({has.zh}, {has.en}) has"
        f" as one for its row {first.row}{days}; expected it in one of the two on a day"
    )


def _lean(part: msgspec.Struct) -> dict[str, Any]:
    """A part of a subject without what is as by default."""
    found = {}
    for field in msgspec.structs.fields(part):
        value = getattr(part, field.name)
        if isinstance(value, tuple):
            value = [_lean(one) for one in value]
        if value not in (field.default, [], {}):
            found[field.encode_name] = value
    return found
