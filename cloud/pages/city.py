"""What the city's page shows: everybody's newest account of a period, ranked, on a map, and by the tree of Table 2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from cloud import accounts, subjects
from cloud.accounting import method as methods
from cloud.accounting.inventory import Version
from cloud.accounting.line import Line
from cloud.accounting.quality import Quality, quality
from cloud.accounting.subject import Subject
from cloud.collector import health
from cloud.pages import account as account_pages
from cloud.store import Store
from protocols.messages import Language

MOST_PERIODS = 6


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
class CityView:
    """The page. ``gross``: all lines of everybody; ``eliminated``: heat and power that one of them sold to another."""

    name: str
    period: str
    periods: tuple[str, ...]
    by: str
    subjects: int
    gateways: int
    live: int
    rows: tuple[Ranked, ...]
    gross: Decimal
    eliminated: Decimal
    net: Decimal
    reduction: Decimal
    locked: Decimal | None
    quality: Quality | None


def view(store: Store, now: int, period: str | None, by: str, lang: Language) -> CityView:
    """The page of a period, the newest that has an account where none is asked for."""
    known = {held.subject.id: held.subject for held in subjects.listing(store)}
    periods = sorted({row.period for row in store.entries("account")}, reverse=True)
    months = tuple(one for one in periods if len(one) == 7)[:MOST_PERIODS] or tuple(periods[:MOST_PERIODS])
    chosen = period or (months[0] if months else "")
    found = accounts.listing(store, period=chosen) if chosen else []
    before = {one.content.subject: one for one in accounts.listing(store, period=_before(chosen, months))}
    gateways = store.gateways()
    lines = [line for version in found for line in version.content.lines]
    gross = sum((version.content.totals.total for version in found), Decimal(0))
    sold = eliminated(lines, {version.content.subject for version in found})
    return CityView(
        name=_name(known, lang),
        period=chosen,
        periods=months,
        by=by,
        subjects=len(found),
        gateways=len(gateways),
        live=sum(health(one, now) == "live" for one in gateways),
        rows=ranking(found, before, known, by, lang),
        gross=gross,
        eliminated=sold,
        net=gross - sold,
        reduction=sum((version.content.totals.reduction for version in found), Decimal(0)),
        locked=_share(sum(version.state == "locked" for version in found), len(found)),
        quality=quality(lines),
    )


def eliminated(lines: Sequence[Line], inside: set[str]) -> Decimal:
    """What indirect lines count of heat and power whose supplier is inside the boundary: it is direct there already."""
    return sum(
        (line.tco2e for line in lines if line.supplier in inside and line.class_.startswith("indirect")), Decimal(0)
    )


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


def _name(known: Mapping[str, Subject], lang: Language) -> str:
    cities = [one for one in known.values() if one.kind == "city"]
    return "" if not cities else cities[0].zh if lang == "zh" else cities[0].en


def _share(part: int, whole: int) -> Decimal | None:
    return Decimal(part) / whole if whole else None
