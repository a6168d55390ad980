"""Meters that two subjects count though nothing settles it: an enrolment or a configuration after the import says so.

Nobody at the cabinet is stopped by it. It is a warning of both subjects and stands against a complete lock of their
accounts; it is looked for whenever somebody asks, so it is over once a file or a configuration settles it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from cloud import bindings, subjects
from cloud.accounting import signals
from cloud.accounting.checks import Finding
from cloud.accounting.inventory import Inventory
from cloud.accounting.membership import Membership
from cloud.accounting.period import parse
from cloud.accounting.signals import Signal
from cloud.accounting.subject import ZONE, Subject
from cloud.bindings import Double, Places
from cloud.store import Store

SHARED = "shared"


def of_subject(store: Store, name: str) -> list[Double]:
    """What of a subject's main meters another one counts now; looks at those only who may be at the same gateways."""
    known = subjects.briefs(store, [name])
    if name not in known:
        return []
    named = {meter.gateway for meter in known[name].meter if meter.gateway}
    gateways = [one for text in named if (one := store.gateway(bytes.fromhex(text))) is not None]
    gateways += store.gateways_of(known[name].site) if known[name].site else []
    known |= subjects.briefs_about(store, {place for one in gateways for place in (one.id.hex(), one.site)})
    places = Places.of(gateways, known.values())
    if not any(True for _ in places.around(known[name])):
        return []
    known |= subjects.briefs(store, list(known))
    return list(bindings.doubles(store, Membership(known), places, known[name]))


def findings(store: Store, account: Inventory) -> Iterator[Finding]:
    """What of an account's period another subject counts as well."""
    first, last = parse(account.period.id, ZONE).days()
    for one in of_subject(store, account.subject):
        if one.days[0] < last and first < one.days[1]:
            about = f"{one.meter.name} ({one.other.id}: {one.counts.name})"
            yield Finding(SHARED, "open", about, _figures([one]))


def judged(store: Store, places: Places, known: Mapping[str, Subject], subject: Subject) -> Iterator[Signal]:
    """A signal for each meter of a subject that others count too: how many subjects count it."""
    found: dict[str, list[Double]] = {}
    for one in bindings.doubles(store, Membership(known), places, subject):
        found.setdefault(f"{one.gateway[:12]}-{one.meter.name}", []).append(one)
    for about, doubles in found.items():
        counting = 1 + len({one.other.id for one in doubles})
        yield signals.shared(subject.id, about, counting, _figures(doubles))


def _figures(found: Sequence[Double]) -> dict[str, str]:
    first, last = min(one.days[0] for one in found), max(one.days[1] for one in found)
    others = dict.fromkeys(f"{one.other.id} ({one.counts.name})" for one in found)
    return {
        "meter": found[0].meter.name,
        "gateway": found[0].gateway,
        "others": ", ".join(others),
        "since": _day(first, date.min),
        "until": _day(last, date.max),
    }


def _day(day: date, none: date) -> str:
    return "–" if day == none else day.isoformat()
