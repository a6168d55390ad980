"""The meters below those that an account counts: as the signed site configurations and the subject file name them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import msgspec

from cloud import metering, statements, subjects
from cloud.accounting import feeds
from cloud.accounting import period as periods
from cloud.accounting.branch import Branch
from cloud.accounting.feeds import Place
from cloud.accounting.inventory import Version, part
from cloud.accounting.line import Activity, Line
from cloud.accounting.period import Period
from cloud.accounting.subject import ZONE, Meter, Subject
from cloud.accounting.units import Quantity, unit
from cloud.intervals import rules
from cloud.rows import Gateway
from cloud.store import Store
from protocols.errors import AccountError, ConfigError, RottenError, UnitError


@dataclass(frozen=True, slots=True)
class _Installed:
    """A device as the newest configuration that has it: what it is called, what it hangs below, which points it has."""

    name: str
    parent: str | None
    points: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A meter over a part of a period, as the account takes it; ``unit`` is that of the amount above it."""

    store: Store
    subject: Subject
    start: int
    end: int
    through: int
    unit: str


def trees(store: Store, version: Version) -> Mapping[str, Branch]:
    """By the digest of each line that one meter counted: that meter with those below it, as the record holds them now.

    A meter hangs below another one by the signed configurations that were in force, where it has the same point; or by
    ``of`` of the subject file that the version was drawn up with. What it did not measure is not filled.
    """
    content = version.content
    try:
        subject = subjects.file_subject(store, content.subject_sha256, content.subject)
    except (RottenError, ConfigError):
        return {}
    through, found = periods.instant(content.period.through), {}
    open_ = {(one.line, one.meter) for one in content.filled if one.value is None}
    for line in content.lines:
        tree = _tree(store, subject, line, through)
        if tree is not None:
            found[line.digest] = replace(tree, measured=tree.measured and (line.id, tree.id) not in open_)
    return found


def _tree(store: Store, subject: Subject, line: Line, through: int) -> Branch | None:
    metered = [one for one in line.activities if one.grade == "metered"]
    place = feeds.place(metered[0].reference) if len(metered) == 1 else None
    if place is None or line.tco2e <= 0 or part(line.class_) in ("memo", "reduction"):
        return None
    gateway = store.gateway(bytes.fromhex(place.gateway)) if place.gateway else None
    main = _main(subject, line, metered[0], place)
    if gateway is None or main is None:
        return None
    asked = _Asked(store, subject, place.start, place.end, min(place.end, through), metered[0].unit)
    installed = _installed(asked, gateway)
    below = [*_below(asked, gateway, main, place.device, installed), *_declared(asked, gateway, main, installed)]
    name = installed[place.device].name if place.device in installed else ""
    measured = not metered[0].estimated
    here = (place.gateway, place.device, place.point, name)
    return Branch(*here, metered[0].value, metered[0].unit, measured, tuple(below))


def _main(subject: Subject, line: Line, activity: Activity, place: Place) -> Meter | None:
    named = (line.row, line.item, activity.symbol, place.device, place.point)
    for meter in subject.meter:
        if named == (meter.row, meter.item, meter.symbol, meter.device, meter.point):
            return meter
    return None


def _installed(asked: _Asked, gateway: Gateway) -> dict[str, _Installed]:
    """The devices of every configuration in force meanwhile; what the newest says of one counts."""
    over = Period("", asked.start, asked.end, ZONE)
    found: dict[str, _Installed] = {}
    for number in sorted(statements.configured(asked.store, gateway, over).numbers):
        installation = statements.installation(asked.store, gateway.id, number)
        for index, device in enumerate(installation.site.device):
            found[device.id] = _Installed(device.name, device.parent, frozenset(rules(installation, index)))
    return found


def _below(
    asked: _Asked, gateway: Gateway, above: Meter, device: str, installed: Mapping[str, _Installed]
) -> Iterator[Branch]:
    """What hangs below a device in the signed tree; a device that has no such point is passed through."""
    for name, found in installed.items():
        if found.parent != device:
            continue
        own = _named(asked.subject, above, name) or msgspec.structs.replace(
            above, device=name, role="sub", of=above.name, normal=None, since=None, until=None
        )
        below = _below(asked, gateway, above, name, installed)
        if own.point in found.points:
            yield _branch(asked, gateway, own, found.name, tuple(below))
        else:
            yield from below


def _declared(asked: _Asked, gateway: Gateway, main: Meter, installed: Mapping[str, _Installed]) -> Iterator[Branch]:
    """The sub meters that only the subject file names: in another part of the signed tree, at another gateway, or at
    none that is known.
    """
    for meter in asked.subject.meter:
        if meter.role != "sub" or meter.of != main.name:
            continue
        gateways = metering.gateways(asked.store, asked.subject, meter)
        if not gateways:
            yield Branch(meter.gateway, meter.device, meter.point, "", None, asked.unit, measured=False)
        for held in gateways:
            known = installed if held.id == gateway.id else _installed(asked, held)
            if held.id == gateway.id and _hangs(meter.device, main.device, known):
                continue
            yield _branch(asked, held, meter, known[meter.device].name if meter.device in known else "", ())


def _named(subject: Subject, above: Meter, device: str) -> Meter | None:
    """What the subject file says of a device below this main meter."""
    for meter in subject.meter:
        if (meter.role, meter.of, meter.device) == ("sub", above.name, device):
            return meter
    return None


def _hangs(device: str, above: str, installed: Mapping[str, _Installed]) -> bool:
    at = installed[device].parent if device in installed else None
    while at is not None and at != above:
        at = installed[at].parent if at in installed else None
    return at is not None


def _branch(asked: _Asked, gateway: Gateway, meter: Meter, name: str, below: tuple[Branch, ...]) -> Branch:
    """A meter below another one; its amount in the unit above, None where it does not count the same."""
    amount, measured = _amount(asked, gateway, meter)
    return Branch(gateway.id.hex(), meter.device, meter.point, name, amount, asked.unit, measured, below)


def _amount(asked: _Asked, gateway: Gateway, meter: Meter) -> tuple[Decimal | None, bool]:
    start = max(asked.start, periods.midnight(meter.since, ZONE) if meter.since else asked.start)
    end = min(asked.end, periods.midnight(meter.until, ZONE) if meter.until else asked.end)
    if start >= end:
        return None, False
    try:
        bare = msgspec.structs.replace(meter, ceiling="")
        found = metering.of(asked.store, gateway, bare, start, end, through=min(end, asked.through))
        if found.amount is None:
            return None, False
        return Quantity(found.amount, unit(found.unit)).to(unit(asked.unit)), found.whole and not found.estimated
    except (AccountError, UnitError):
        return None, False
