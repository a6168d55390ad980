"""What the city's page shows: everybody's newest account of a period, ranked, on a map, and by the tree of Table 2."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from cloud import accounts, subjects
from cloud.accounting import boundary as boundaries
from cloud.accounting import indicators
from cloud.accounting import membership as members
from cloud.accounting import method as methods
from cloud.accounting.boundary import Bridge
from cloud.accounting.inventory import Version
from cloud.accounting.membership import Membership
from cloud.accounting.quality import Quality, quality
from cloud.accounting.subject import Subject
from cloud.collector import health
from cloud.pages import account as account_pages
from cloud.store import Store
from protocols.errors import UnknownNameError
from protocols.messages import Language

MOST_PERIODS = 6
MONTH = len("2026-10")


@dataclass(frozen=True, slots=True)
class Ranked:
    """One subject in the ranking; ``change`` relative to the period before, None where nothing is comparable."""

    rank: int
    subject: str
    name: str
    industry: str
    method: str
    reference: str
    total: Decimal
    change: Decimal | None
    intensity: Decimal | None
    unit: str
    letter: str
    measured: Decimal | None
    lon: str
    lat: str


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A node of Table 2 and what it comes to, tCO2e."""

    level: int
    name: str
    value: Decimal
    in_standard: bool
    id: str


@dataclass(frozen=True, slots=True)
class Boundary:
    """A boundary to choose."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What is looked at: None for the city, None for the newest period."""

    boundary: str | None
    period: str | None
    by: str


@dataclass(frozen=True, slots=True)
class CityView:
    """The page of a boundary. ``bridge``: from gross to net over its members' lines; ``tree``: Table 2 over the net."""

    boundary: str
    boundaries: tuple[Boundary, ...]
    name: str
    period: str
    periods: tuple[str, ...]
    by: str
    subjects: int
    gateways: int
    live: int
    rows: tuple[Ranked, ...]
    bridge: Bridge | None
    tree: tuple[TreeRow, ...]
    locked: Decimal | None
    quality: Quality | None


def view(store: Store, now: int, ask: Ask, lang: Language) -> CityView:
    """The page of a boundary and a period, the city and the newest period that has an account where none is asked for.

    UnknownNameError for a boundary that is no subject.
    """
    known = {held.subject.id: held.subject for held in subjects.listing(store)}
    boundary = _boundary(known, ask.boundary)
    periods = sorted({row.period for row in store.entries("account")}, reverse=True)
    months = tuple(one for one in periods if len(one) == MONTH)[:MOST_PERIODS] or tuple(periods[:MOST_PERIODS])
    chosen = ask.period or (months[0] if months else "")
    held = members.of(known.values())
    found = _inside(accounts.listing(store, period=chosen) if chosen else [], boundary, held)
    before = {one.content.subject: one for one in accounts.listing(store, period=_before(chosen, months))}
    gateways = store.gateways()
    lines = [line for version in found for line in version.content.lines]
    bridge = boundaries.bridge(boundary, held, lines) if boundary else None
    return CityView(
        boundary=boundary,
        boundaries=tuple(_boundaries(known, lang)),
        name=_called(known[boundary], lang) if boundary else "",
        period=chosen,
        periods=months,
        by=ask.by,
        subjects=len(found),
        gateways=len(gateways),
        live=sum(health(one, now) == "live" for one in gateways),
        rows=ranking(found, before, known, ask.by, lang),
        bridge=bridge,
        tree=tuple(tree_rows(bridge, lang)) if bridge else (),
        locked=_share(sum(version.state == "locked" for version in found), len(found)),
        quality=quality(lines),
    )


def tree_rows(bridge: Bridge, lang: Language) -> Iterator[TreeRow]:
    """Table 2 in the order of the print, as far as anything stands in it; reductions from the ledger of their own."""
    tree = indicators.tree()
    for name, rolled in indicators.spread(bridge.by_leaf).items():
        node = tree.nodes[name]
        value = rolled.reduction if name.startswith("reduction") else rolled.tco2e
        yield TreeRow(node.level, node.zh if lang == "zh" else node.en, value, node.in_standard, name)


def _inside(found: Sequence[Version], boundary: str, held: Membership) -> list[Version]:
    """Whose accounts have a share in the boundary over the period; everybody's where there is no boundary at all."""
    if not boundary:
        return list(found)
    return [
        one
        for one in found
        if held.weight(
            one.content.subject,
            boundary,
            date.fromisoformat(one.content.period.start[:10]),
            date.fromisoformat(one.content.period.end[:10]),
        )
    ]


def _boundary(known: Mapping[str, Subject], asked: str | None) -> str:
    """The one asked for, else the city, else nothing."""
    if asked is not None and asked not in known:
        raise UnknownNameError(f"boundary: found {asked!r}, expected one of: {', '.join(known) or 'none yet'}")
    return asked or next((one.id for one in known.values() if one.kind == "city"), "")


def _boundaries(known: Mapping[str, Subject], lang: Language) -> Iterator[Boundary]:
    """What may be looked at: the city, its districts, parks."""
    for kind in ("city", "district", "park"):
        yield from (Boundary(one.id, _called(one, lang)) for one in known.values() if one.kind == kind)


def ranking(
    found: Sequence[Version], before: Mapping[str, Version], known: Mapping[str, Subject], by: str, lang: Language
) -> tuple[Ranked, ...]:
    """Everybody in order; grade D and whoever has no intensity come last in the ranking by it."""
    rows = [_ranked(version, before.get(version.content.subject), known, lang) for version in found]
    nothing = Decimal("-Infinity")
    if by == "intensity":
        rows.sort(
            key=lambda one: nothing if one.intensity is None or one.letter == "D" else one.intensity, reverse=True
        )
    elif by == "change":
        rows.sort(key=lambda one: nothing if one.change is None else one.change, reverse=True)
    elif by == "quality":
        rows.sort(key=lambda one: Decimal(2) if one.measured is None else one.measured)
    else:
        rows.sort(key=lambda one: one.total, reverse=True)
    return tuple(replace(one, rank=number) for number, one in enumerate(rows, 1))


def _ranked(version: Version, before: Version | None, known: Mapping[str, Subject], lang: Language) -> Ranked:
    content = version.content
    subject = known.get(content.subject)
    method = methods.builtin().get(content.method)
    graded = quality(content.lines)
    intensities = [] if subject is None else list(account_pages.intensities(version, subject, lang))
    place = None if subject is None else subject.place
    return Ranked(
        rank=0,
        subject=content.subject,
        name=content.name_zh if lang == "zh" else content.name_en,
        industry=content.method if method is None else method.zh if lang == "zh" else method.en,
        method=content.method,
        reference=version.reference,
        total=content.totals.total,
        change=None if before is None else account_pages.change(before.content.totals.total, content.totals.total),
        intensity=intensities[0].value if intensities else None,
        unit=intensities[0].unit if intensities else "",
        letter=graded.letter if graded else "–",
        measured=graded.measured if graded else None,
        lon=place.lon if place else "",
        lat=place.lat if place else "",
    )


def _before(period: str, months: Sequence[str]) -> str:
    """The period before this one, "" for none that is known."""
    earlier = [one for one in months if one < period and len(one) == len(period)]
    return max(earlier, default="")


def _called(subject: Subject, lang: Language) -> str:
    return subject.zh if lang == "zh" else subject.en


def _share(part: int, whole: int) -> Decimal | None:
    return Decimal(part) / whole if whole else None
