"""From a line of an account to the increments and blocks it rests on; and an account made again from its inputs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cloud import account_show, accounts, activities, metering, subjects
from cloud.accounting import feeds, inventory, overrides, replayed
from cloud.accounting import method as methods
from cloud.accounting.factors import FactorSet
from cloud.accounting.feeds import Place
from cloud.accounting.interval_text import digest
from cloud.accounting.inventory import Version
from cloud.accounting.library import Library
from cloud.accounting.line import Activity, Line
from cloud.accounting.period import stamp
from cloud.accounting.subject import ZONE, Subject
from cloud.intervals import Interval, Register
from cloud.rows import Gateway
from cloud.store import Store
from protocols.errors import AccountError, FactorError, MethodError, TanmeterError, UnknownNameError

MOST = 1_000_000
"""Intervals counted at most: those of a point in 28 years."""

Outcome = Literal["held", "later", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was made again. ``later``: what it rests on has changed since, and a newer version says so."""

    name: str
    outcome: Outcome
    detail: str = ""


def verify(store: Store, library: Library, reference: str, now: int) -> list[Check]:
    """Make a version again: from its own symbols, from the inputs it names, and from the store. UnknownNameError."""
    version = accounts.get(store, reference)
    found = [_content(version), *_inputs(store, library, version)]
    return [*found, _redrawn(store, library, version, now)]


def increments(store: Store, line: Line, as_of: int) -> list[dict[str, Any]]:
    """What each metered activity of a line rests on: registers, the blocks that hold them, statements of the site.

    They are as the store has them now; ``later``: how many of the intervals came or grew after the version, which was
    made ``as_of`` this place of the record.
    """
    return [
        _increments(store, activity, place, as_of)
        for activity in line.activities
        if (place := feeds.place(activity.reference)) is not None
    ]


def _content(version: Version) -> Check:
    found = list(replayed.faults(version.content))
    return Check("lines", "failed" if found else "held", "; ".join(found[:3]))


def _inputs(store: Store, library: Library, version: Version) -> Iterator[Check]:
    content = version.content
    try:
        subject = subjects.file_subject(store, content.subject_sha256, content.subject)
    except TanmeterError as error:
        yield Check("subject", "failed", str(error))
        return
    yield from _chosen(library, subject, version)
    yield Check("subject", "held")
    for line in content.lines:
        for activity in line.activities:
            yield _activity(store, subject, version, line, activity)


def _chosen(library: Library, subject: Subject, version: Version) -> Iterator[Check]:
    """Method, parameter sets and grid factors as they are chosen now; another set beside them changes nothing."""
    content = version.content
    days = accounts.period_of(content.period.id).days()
    try:
        used = overrides.in_use(library, subject, methods.get(content.method), *days)
    except (MethodError, FactorError) as error:
        yield Check("method", "later", str(error))
        return
    same = (used.method.sha256, dict(used.sets)) == (content.method_sha256, content.parameter_sets)
    found = "" if same else f"found {used.method.sha256} and its sets now"
    yield Check("method", "held" if same else "later", found)
    yield _factors(used.factors, version)


def _factors(known: FactorSet, version: Version) -> Check:
    for line in version.content.lines:
        for used in line.parameters:
            if used.grid:
                try:
                    value = known.get(used.id).value
                except FactorError as error:
                    return Check("factors", "failed", str(error))
                if value != used.value:
                    return Check("factors", "failed", f"{used.id}: found {used.value}, expected {value}")
    return Check("factors", "held")


def _activity(store: Store, subject: Subject, version: Version, line: Line, one: Activity) -> Check:
    name = f"activity {line.id}.{one.symbol}"
    place = feeds.place(one.reference)
    if place is None:
        return _document(store, name, one)
    try:
        own = rests_on(store, subject, line, one, place)
    except AccountError as error:
        return Check(name, "failed", str(error))
    if digest(own) == one.sha256:
        return Check(name, "held", f"{len(own)}")
    if changed := late(store, version.as_of, place):
        return Check(name, "later", f"{changed} intervals have come or changed since")
    return Check(name, "failed", f"found {digest(own)}, expected {one.sha256}")


def _document(store: Store, name: str, one: Activity) -> Check:
    """The file that gives it; a document that only its digest is known of is nobody's to check here."""
    try:
        activities.content(store, one.sha256)
    except UnknownNameError:
        return Check(name, "held", f"{one.reference or '-'} {one.sha256[:16]}")
    except TanmeterError as error:
        return Check(name, "failed", str(error))
    return Check(name, "held", one.sha256[:16])


def rests_on(store: Store, subject: Subject, line: Line, one: Activity, place: Place) -> list[Interval]:
    """The intervals that a metered activity names, as they count; AccountError for a meter that is none.

    A meter that no gateway held has none.
    """
    if not place.gateway:
        return []
    gateway = store.gateway(bytes.fromhex(place.gateway))
    named = (line.row, line.item, one.symbol, place.device, place.point)
    for meter in subject.meter:
        if gateway is not None and named == (meter.row, meter.item, meter.symbol, meter.device, meter.point):
            own = store.series(gateway.id, place.device, place.point, place.start, place.end)
            return metering.normal(store, gateway, meter, own)
    raise AccountError(f"{one.reference}: found no such meter in the subject file or the store, expected it")


def late(store: Store, as_of: int, place: Place, most: int = MOST) -> int:
    """How many intervals of these, ``most`` at most, have come or changed since the account was drawn up."""
    if not place.gateway:
        return 0
    gateway, device, point = bytes.fromhex(place.gateway), place.device, place.point
    found = store.intervals(as_of, most, gateway=gateway, device=device, point=point, start=place.start, end=place.end)
    return len(found)


def _redrawn(store: Store, library: Library, version: Version, now: int) -> Check:
    """The account drawn up again from all that is held now."""
    period = accounts.period_of(version.content.period.id)
    try:
        content, _ = accounts.content(store, library, version.content.subject, period, now)
    except TanmeterError as error:
        return Check("account", "later", str(error))
    if inventory.same(content, version.content):
        return Check("account", "held", version.digest)
    return Check("account", "later", f"found {content.digest} now, {version.digest} then")


def _increments(store: Store, activity: Activity, place: Place, as_of: int) -> dict[str, Any]:
    gateway = store.gateway(bytes.fromhex(place.gateway)) if place.gateway else None
    own = [] if gateway is None else store.series(gateway.id, place.device, place.point, place.start, place.end)
    return {
        "name": activity.symbol,
        "gateway": place.gateway,
        "device": place.device,
        "point": place.point,
        "start": stamp(place.start, ZONE),
        "end": stamp(place.end, ZONE),
        "sha256": activity.sha256,
        "intervals": len(own),
        "later": late(store, as_of, place) if own else 0,
        "readings": sum(one.readings for one in own),
        "expected": sum(one.expected for one in own),
        "first": _register(place, own[0].register_start) if own else None,
        "last": _register(place, own[-1].register_end) if own else None,
        "multipliers": list(dict.fromkeys(f"{one.multiplier:f}" for one in own)),
        "statements": [] if gateway is None else _statements(store, gateway, own),
    }


def _register(place: Place, found: Register) -> dict[str, Any]:
    """A register with the block that holds its frame."""
    block = f"/v1/blocks/{place.gateway}/{found.epoch}/{found.seq}"
    at = stamp(found.at, ZONE)
    return {"value": f"{found.value:f}", "at": at, "epoch": found.epoch, "seq": found.seq, "block": block}


def _statements(store: Store, gateway: Gateway, own: list[Interval]) -> list[dict[str, str]]:
    """The statements of the site over these days: each has an evidence pack that proves its figure without us."""
    days = {stamp(one.start, ZONE)[:10] for one in own}
    periods = days | {day[:7] for day in days}
    names = [f"{row.id}@{row.version}" for row in store.statements(gateway.site) if row.period in periods]
    return [{"statement": name, "evidence": f"/v1/evidence/{name}"} for name in names]


def told(version: Version, found: Mapping[str, list[dict[str, Any]]], only: str = "") -> dict[str, Any]:
    """A version explained for a machine; ``found``: increments by the digest of a line; ``only``: as in the command."""
    explained = account_show.explained(version.content)
    lines = [
        {**line, "increments": found.get(line["digest"], [])}
        for line in explained["lines"]
        if line["id"].startswith(only)
    ]
    return {
        **{key: value for key, value in account_show.summary(version).items() if key not in ("lines", "reasons")},
        **explained,
        "lines": lines,
        "supersedes": version.supersedes,
        "exceptions": list(version.exceptions),
        "difference": None if version.difference is None else account_show.differing(version.difference),
        "as_of_seq": version.as_of,
    }
