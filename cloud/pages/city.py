"""What the city's page shows: a boundary's newest accounts of a period, ranked, on a map, and by Table 2's tree."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from cloud import accounts, indicators, subjects
from cloud.accounting import indicators as table2
from cloud.accounting import method as methods
from cloud.accounting.boundary import Bridge
from cloud.accounting.headline import Intensity
from cloud.accounting.period import Period
from cloud.accounting.quality import letter
from cloud.accounting.subject import Subject
from cloud.city import City, Look
from cloud.collector import health
from cloud.indicators import Ranked
from protocols import messages
from protocols.errors import UnknownNameError
from protocols.messages import Language

By = Literal["total", "intensity", "change", "quality"]
COLUMNS: tuple[By, ...] = ("total", "intensity", "change", "quality")
MOST_PERIODS = 6
MONTH = len("2026-10")


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of the ranking; where there is none, ``why``, in the reader's words."""

    value: Decimal | None
    unit: str
    why: str


@dataclass(frozen=True, slots=True)
class Row:
    """One subject in the ranking, ``place`` None where it takes no part.

    ``change``: in parts of the period before; ``measured``: share of what it emits, of its weakest account.
    ``reference``: "" where no one account is all of it.
    """

    place: int | None
    subject: str
    name: str
    industry: str
    method: str
    reference: str
    total: Decimal
    change: Cell
    intensity: Cell
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
class Per:
    """An intensity: tCO2e for one of ``name``; ``why`` there is none."""

    value: Decimal | None
    unit: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A change against the year or the period before, in parts of what was before, and tCO2e; ``why`` there is none."""

    against: str
    share: Decimal | None
    tco2e: Decimal | None
    why: str


@dataclass(frozen=True, slots=True)
class Table1:
    """Intensity, change and reduction beside the total. ``saved``: below the frozen baselines of ``frozen`` members.

    ``unread``: that the boundary's own file, which has its denominators, cannot be read; else "".
    """

    intensities: tuple[Per, ...]
    changes: tuple[Moved, ...]
    ledger: Decimal
    saved: Decimal | None
    frozen: int
    unread: str


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
    by: By


@dataclass(frozen=True, slots=True)
class CityView:
    """The page of a boundary. ``bridge``: from gross to net over its members' lines; ``tree``: Table 2 over the net.

    ``missing``: the names of those inside that have no account of all the period, so that the net is a lower bound;
    ``unread``: of those of whom a file or an account in the store has rotted.
    ``locked``, ``measured``: shares of the emissions, by size. ``table1``: the standard's other three indicators.
    """

    boundary: str
    boundaries: tuple[Boundary, ...]
    name: str
    period: str
    periods: tuple[str, ...]
    by: By
    gateways: int
    live: int
    rows: tuple[Row, ...]
    bridge: Bridge | None
    table1: Table1 | None
    missing: tuple[str, ...]
    unread: tuple[str, ...]
    tree: tuple[TreeRow, ...]
    locked: Decimal | None
    measured: Decimal | None
    letter: str


def view(city: City, now: int, ask: Ask, lang: Language) -> CityView:
    """The page of a boundary and a period; where none is asked for the city, and the newest period with an account that
    is over (else the newest): a month that runs has few of them.

    UnknownNameError for a boundary that is no subject, AccountError for a period that is none.
    """
    known = city.subjects()
    boundary = _boundary(known, ask.boundary)
    periods = city.periods()[::-1]
    months = tuple(one for one in periods if len(one) == MONTH)[:MOST_PERIODS] or tuple(periods[:MOST_PERIODS])
    over = (one for one in months if accounts.period_of(one).end <= now)
    chosen = ask.period or next(over, months[0] if months else "")
    period = accounts.period_of(chosen) if chosen else None
    look = city.look(boundary, period) if boundary and period else None
    gateways = city.store.gateways()
    measured = look.measured if look else None
    return CityView(
        boundary=boundary,
        boundaries=tuple(_boundaries(known, lang)),
        name=_called(known[boundary], lang) if boundary else "",
        period=chosen,
        periods=months,
        by=ask.by,
        gateways=len(gateways),
        live=sum(health(one, now) == "live" for one in gateways),
        rows=tuple(_rows(city, look, period, ask.by, lang)) if period else (),
        bridge=look.bridge if look else None,
        table1=_table1(city, look, period, lang) if look and period else None,
        missing=tuple(_name(known, name, lang) for name in look.incomplete) if look else (),
        unread=tuple(_name(known, name, lang) for name in sorted(look.unread if look else city.unread())),
        tree=tuple(tree_rows(look.bridge, lang)) if look else (),
        locked=look.locked if look else None,
        measured=measured,
        letter="–" if measured is None else letter(measured),
    )


def _table1(city: City, look: Look, period: Period, lang: Language) -> Table1:
    card = indicators.card(city, look.boundary, period)
    saved = indicators.saved(city, look, period)
    return Table1(
        tuple(Per(one.value, one.unit, _per(one, lang), _said(one.reasons, lang)) for one in card.intensities),
        tuple(
            Moved(one.against, one.percent and one.percent.scaleb(-2), one.tco2e, _said(one.reasons, lang))
            for one in card.changes
        ),
        card.reduction.ledger,
        sum((one.tco2e for one in saved if one.tco2e is not None), Decimal(0)) if saved else None,
        len(saved),
        messages.text(indicators.UNREAD, lang) if look.boundary in city.unread() else "",
    )


def _per(one: Intensity, lang: Language) -> str:
    return one.product or messages.text(f"page.denominator.{one.kind}", lang)


def _said(reasons: Iterable[str], lang: Language) -> str:
    return "; ".join(messages.text(reason, lang) for reason in reasons)


def tree_rows(bridge: Bridge, lang: Language) -> Iterator[TreeRow]:
    """Table 2 in the order of the print, as far as anything stands in it; reductions from the ledger of their own."""
    tree = table2.tree()
    for name, rolled in table2.spread(bridge.by_leaf).items():
        node = tree.nodes[name]
        value = rolled.reduction if name.startswith("reduction") else rolled.tco2e
        yield TreeRow(node.level, node.zh if lang == "zh" else node.en, value, node.in_standard, name)


def _boundary(known: Mapping[str, Subject], asked: str | None) -> str:
    """The one asked for, else the city, else nothing."""
    if asked is not None and asked not in known:
        raise UnknownNameError("boundary", asked, subjects.some(list(known), asked), subjects.near(list(known), asked))
    return asked or next((one.id for one in known.values() if one.kind == "city"), "")


def _boundaries(known: Mapping[str, Subject], lang: Language) -> Iterator[Boundary]:
    """What may be looked at: the city, its districts, parks."""
    for kind in ("city", "district", "park"):
        yield from (Boundary(one.id, _called(one, lang)) for one in known.values() if one.kind == kind)


def _rows(city: City, look: Look | None, period: Period, by: By, lang: Language) -> Iterator[Row]:
    """The boundary's ranking with its columns; over everybody with an account where there is no boundary at all."""
    known = city.subjects()
    names = city.reporting(period) if look is None else look.brief.members
    ranked = indicators.rankings(city, [known[name] for name in names], period, COLUMNS)
    columns = {column: {one.subject.id: one for one in ranked[column]} for column in COLUMNS}
    for one in ranked[by]:
        yield _row(one, {column: rows[one.subject.id] for column, rows in columns.items()}, lang)


def _row(one: Ranked, columns: Mapping[By, Ranked], lang: Language) -> Row:
    subject, method = one.subject, methods.builtin().get(one.method)
    change, quality = columns["change"].value, columns["quality"].value
    return Row(
        place=one.place,
        subject=subject.id,
        name=_called(subject, lang),
        industry=one.method if method is None else method.zh if lang == "zh" else method.en,
        method=one.method,
        reference=one.reference,
        total=one.total,
        change=_cell(columns["change"], None if change is None else change.scaleb(-2), lang),
        intensity=_cell(columns["intensity"], columns["intensity"].value, lang),
        letter=one.letter,
        measured=None if quality is None else 1 - quality.scaleb(-2),
        lon=subject.place.lon if subject.place else "",
        lat=subject.place.lat if subject.place else "",
    )


def _cell(found: Ranked, value: Decimal | None, lang: Language) -> Cell:
    return Cell(value, found.unit, _said(found.reasons, lang))


def _name(known: Mapping[str, Subject], name: str, lang: Language) -> str:
    return _called(known[name], lang) if name in known else name


def _called(subject: Subject, lang: Language) -> str:
    return subject.zh if lang == "zh" else subject.en
