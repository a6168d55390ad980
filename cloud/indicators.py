"""Indicators of a subject or a boundary out of the store: Table 1's four, Table 2's tree, rankings, targets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from random import Random
from typing import Literal

from cloud import accounts
from cloud.accounting import headline, membership, uncertainty
from cloud.accounting import indicators as table2
from cloud.accounting import method as methods
from cloud.accounting.headline import Against, Change, Extent, Intensity, Reduction, Total
from cloud.accounting.indicators import Node, Rolled
from cloud.accounting.inventory import Inventory
from cloud.accounting.period import Period
from cloud.accounting.signals import Burn, burn_down
from cloud.accounting.statement import plain
from cloud.accounting.subject import Subject, Target
from cloud.accounting.uncertainty import Uncertainty
from cloud.accounting.units import ARITHMETIC
from cloud.city import Brief, City, Look
from drivers.quantity import EXACT

By = Literal["total", "intensity", "change", "reduction", "quality"]
OTHER_MEMBERS = "indicator.members"
UNREAD = "indicator.unread"
SEED = 231
"""Of the draws of an uncertainty: who asks again is told the same."""
_ZERO = Decimal(0)
_Value = tuple[Decimal | None, str, tuple[str, ...]]
"""What somebody is ranked by, its unit, and why there is none."""


@dataclass(frozen=True, slots=True)
class Card:
    """Table 1 of a subject over a period. ``changes``: against the year and the months before; ``uncertainty`` is of a
    subject that has a method of its own and accounts of all the period, else None.
    """

    subject: Subject
    look: Look
    intensities: tuple[Intensity, ...]
    changes: tuple[Change, ...]
    reduction: Reduction
    uncertainty: Uncertainty | None


@dataclass(frozen=True, slots=True)
class Branch:
    """A node of Table 2 with what it comes to (net), and of an intensity what it is."""

    node: Node
    rolled: Rolled
    intensities: tuple[Intensity, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranked:
    """A subject's place; None for one that takes no part, which ``reasons`` tell, message ids.

    ``method``, ``reference``: of its own account, "" where it has none, and several have no one reference.
    """

    place: int | None
    subject: Subject
    method: str
    reference: str
    total: Decimal
    value: Decimal | None
    unit: str
    letter: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Aim:
    """A target of a subject, and how it burns down. ``reasons``: what keeps the figure from being whole."""

    subject: Subject
    burn: Burn
    reasons: tuple[str, ...] = ()

    @property
    def telling(self) -> bool:
        """Whether it may warn: what is missing would only add to it, but nothing at all says nothing."""
        return self.burn.emitted != 0 or not self.reasons


def card(city: City, subject: str, period: Period, random: Random | None = None) -> Card:
    """Table 1 of a subject; with ``random`` a wide uncertainty is drawn. UnknownNameError, AccountError.

    Of one whose file cannot be read, what its accounts tell; RottenError where nothing at all is known of it.
    """
    held = _known(city, subject)
    look = city.look(subject, period)
    tiles = _accounts(city, held, look)
    changes = [_change(city, look, tiles, period, against) for against in _against(period)]
    return Card(
        subject=held,
        look=look,
        intensities=tuple(_intensities(held, look.brief.total, period)),
        changes=tuple(changes),
        reduction=_reduction(held, look, tiles, period, readable=subject not in city.unread()),
        uncertainty=uncertainty.uncertainty((line for one in tiles for line in one.lines), random) if tiles else None,
    )


def saved(city: City, look: Look, period: Period) -> list[Reduction]:
    """What members of a boundary emitted less than their own frozen baselines, of those that have one that holds."""
    found = (_saved(city, name, period) for name in sorted(look.brief.members))
    return [one for one in found if one is not None and one.tco2e is not None]


def _saved(city: City, name: str, period: Period) -> Reduction | None:
    """Accounts are read only of whom a baseline was set for, as far as its file can be read."""
    held = city.subjects()[name]
    return (
        headline.reduction(_accounts(city, held, city.look(name, period)), held.baseline, period)
        if held.baseline
        else None
    )


def branches(found: Card) -> Iterator[Branch]:
    """Table 2 of a boundary, every node of it in the order of the print; intensities at the subject's own category."""
    tree = table2.tree()
    rolled = table2.spread(found.look.bridge.by_leaf)
    for node in tree.nodes.values():
        own: tuple[Intensity, ...] = ()
        if node.metric not in (None, "total"):
            if node.id.partition(".")[0] == found.subject.category:
                products = node.metric == "product-intensity"
                own = tuple(one for one in found.intensities if (one.kind == "output") == products)
            yield Branch(node, rolled.get(node.derived_from, Rolled()), own)
        else:
            yield Branch(node, rolled.get(node.id, Rolled()))


def ranking(city: City, boundary: str, period: Period, by: By, *, kind: str = "", category: str = "") -> list[Ranked]:
    """Everybody inside a boundary that has an account in a period, the greatest first (quality: the worst).

    Who has no figure, or is of grade D in a ranking by intensity, stands at the end without a place. Intensities are
    compared within an industry and a unit only: there each has its own first place, the greatest industry before the
    others.
    """
    chosen = _like(city, city.look(boundary, period).brief.members, kind, category)
    return rankings(city, chosen, period, (by,))[by]


def absent(city: City, boundary: str, period: Period, *, kind: str = "", category: str = "") -> list[str]:
    """Who is inside a boundary and has no account in a period at all: no ranking of it has a place for them. With them
    whoever may be, for nothing can be read of it.
    """
    look, known = city.look(boundary, period), city.subjects()
    lacking = [name for name in look.incomplete if name not in look.brief.members]
    alike = {one.id for one in _like(city, known.keys() & lacking, kind, category)}
    return [name for name in lacking if name in alike or name not in known]


def rankings(city: City, chosen: Iterable[Subject], period: Period, wanted: Iterable[By]) -> dict[By, list[Ranked]]:
    """These subjects in order, by each thing that is wanted: as ``ranking`` puts them."""
    asked, order = {one.id: one for one in chosen}, tuple(wanted)
    now, against = city.briefs(asked, period), _against(period)[-1:]
    then = city.briefs(asked, headline.earlier(period, against[0])) if against and "change" in order else {}
    found: dict[By, list[Ranked]] = {}
    for by in order:
        if by == "change":
            values = {name: _moved(brief, then.get(name), against) for name, brief in now.items()}
        else:
            values = {name: _value(asked[name], brief, period, by) for name, brief in now.items()}
        rows = (_ranked(asked[name], brief, by, values[name]) for name, brief in now.items())
        found[by] = by_industry(rows) if by == "intensity" else _placed(rows)
    return found


def by_industry(rows: Iterable[Ranked]) -> list[Ranked]:
    """As ``_placed``, but within an industry and a unit, those that emit most first."""
    groups: dict[tuple[str, str], list[Ranked]] = {}
    rest: list[Ranked] = []
    for row in rows:
        (rest if row.value is None else groups.setdefault((_industry(row.method), row.unit), [])).append(row)
    size = {name: sum((row.total for row in own), _ZERO) for name, own in groups.items()}
    ordered = sorted(groups, key=lambda name: (-size[name], name))
    return [row for own in (*(groups[name] for name in ordered), rest) for row in _placed(own)]


def aims(city: City, year: int, only: Iterable[str] | None = None) -> Iterator[Aim]:
    """Every target of a year, of everybody or of some, as the newest accounts of that year say it."""
    wanted = None if only is None else set(only)
    for name, subject in city.subjects().items():
        if wanted is None or name in wanted:
            for target in subject.target:
                if target.year == year:
                    yield aim(city, subject, target)


def aim(city: City, subject: Subject, target: Target) -> Aim:
    """Emitted in the year up to the last day that accounts reach, against the even path to there."""
    year = accounts.period_of(str(target.year))
    look = city.look(subject.id, year)
    days = [one.tally.extent.days for one in look.standings]
    reached = max((end for _, end in days), default=year.days()[0])
    reasons = () if _reaching(look, reached, year) else (headline.INCOMPLETE,)
    expected = _expected(city, look, reached, year) if reasons else None
    burn = burn_down(target, look.bridge.net, reached, expected)
    return Aim(subject, burn, (*reasons, *look.brief.left_out))


def _expected(city: City, look: Look, reached: date, year: Period) -> Decimal:
    """The net up to a day, where of each subject the days without an account emit as its days with one do.

    Days count as far as the subject is within the boundary. Of whom there is no account at all nothing is known.
    """
    first = year.days()[0]
    alone = look.brief.members <= {look.boundary}
    shares = None if alone else membership.of(city.subjects().values())

    def days(name: str, start: date, end: date) -> Decimal:
        share = Decimal(1) if shares is None else shares.weight(name, look.boundary, start, end)
        return share * (end - start).days

    covered: dict[str, Decimal] = {}
    for one in look.standings:
        name = one.tally.subject
        covered[name] = covered.get(name, _ZERO) + days(name, *one.tally.extent.days)
    whole = _ZERO
    for name, net in look.bridge.by_subject.items():
        held = covered.get(name, _ZERO)
        part = ARITHMETIC.divide(ARITHMETIC.multiply(net, days(name, first, reached)), held) if held else net
        whole = ARITHMETIC.add(whole, part)
    return max(whole, look.bridge.net)


def _reaching(look: Look, reached: date, year: Period) -> bool:
    """Whether everybody with accounts has them of all days up to the last one reached."""
    first = year.days()[0]
    covered: dict[str, int] = {}
    for one in look.standings:
        start, end = one.tally.extent.days
        covered[one.tally.subject] = covered.get(one.tally.subject, 0) + (end - start).days
    named = set(covered) | set(look.incomplete)
    return bool(covered) and all(covered.get(name, 0) == (reached - first).days for name in named)


def _like(city: City, names: Iterable[str], kind: str, category: str) -> list[Subject]:
    """Those of a kind and a category; "" takes every one."""
    known = city.subjects()
    found = (known[name] for name in names)
    return [one for one in found if kind in ("", one.kind) and category in ("", one.category)]


def _accounts(city: City, subject: Subject, look: Look) -> list[Inventory]:
    """The whole accounts of a subject that its own look rests on; none where they do not cover the period."""
    if subject.id in look.incomplete:
        return []
    own = [one for one in look.standings if one.tally.subject == subject.id]
    return [accounts.get(city.store, one.reference).content for one in own]


def _against(period: Period) -> tuple[Against, ...]:
    first, last = period.days()
    if first.day != 1 or last.day != 1:
        return ()
    return ("yoy", "mom") if headline.earlier(period, "yoy").id != headline.earlier(period, "mom").id else ("yoy",)


def _change(city: City, look: Look, tiles: list[Inventory], period: Period, against: Against) -> Change:
    before, subject = city.look(look.boundary, headline.earlier(period, against)), _known(city, look.boundary)
    if tiles and len(look.standings) == len(tiles):
        return headline.change(tiles, _accounts(city, subject, before), against)
    return _of_boundary(look.brief, before.brief, against)


def _of_boundary(brief: Brief, before: Brief, against: Against) -> Change:
    """Of a whole: net against net, where the same members have accounts of all of both."""
    now, then = brief.total, before.total
    reasons = list(now.reasons)
    if then.tco2e is None:
        reasons.append(headline.NO_PREVIOUS)
    if not reasons and brief.members != before.members:
        reasons.append(OTHER_MEMBERS)
    if reasons or now.tco2e is None or then.tco2e is None:
        apart = tuple(sorted(brief.members ^ before.members))
        return Change(against, then.tco2e, now.tco2e, None, None, None, apart, tuple(reasons))
    moved = EXACT.subtract(now.tco2e, then.tco2e)
    percent = ARITHMETIC.divide(moved * 100, then.tco2e) if then.tco2e > 0 else None
    zero = () if then.tco2e > 0 else (headline.NOTHING_BEFORE,)
    return Change(against, then.tco2e, now.tco2e, plain(moved), percent, None, (), zero)


def _intensities(subject: Subject, total: Total, period: Period) -> Iterator[Intensity]:
    for kind, product in dict.fromkeys((one.kind, one.product) for one in subject.denominator):
        yield headline.ratio(total, subject.denominator, period, kind, product)


def _known(city: City, name: str) -> Subject:
    """A subject, or what others are held against where its file cannot be read; UnknownNameError, RottenError."""
    return city.subjects().get(name) or city.subject(name)


def _reduction(subject: Subject, look: Look, tiles: list[Inventory], period: Period, *, readable: bool) -> Reduction:
    """A subject's own; of a whole without a method the ledger of its members, which has no one baseline."""
    found = headline.reduction(tiles, subject.baseline, period)
    if not readable:
        found = replace(found, reasons=(UNREAD,))
    return found if tiles else replace(found, ledger=plain(-look.bridge.parts["reduction"]))


def _placed(rows: Iterable[Ranked]) -> list[Ranked]:
    """The greatest first, then by id; who has no figure at the end."""
    ordered = sorted(rows, key=lambda row: (row.value is None, -(row.value or _ZERO), row.subject.id))
    return [row if row.value is None else replace(row, place=place) for place, row in enumerate(ordered, 1)]


def _industry(method: str) -> str:
    """What editions of one guideline have in common; the method itself where it is of no industry's list."""
    known = methods.builtin().get(method)
    return method if known is None or known.industry is None else str(known.industry)


def _ranked(subject: Subject, brief: Brief, by: By, found: _Value) -> Ranked:
    own = brief.own
    letter = max((one.tally.quality.letter if one.tally.quality else "D" for one in own), default="D")
    value, unit, reasons = found
    if by == "intensity" and letter == "D" and reasons != (UNREAD,):
        value, reasons = None, ("indicator.grade",)
    method, reference = own[0].tally.method if own else "", own[0].reference if len(own) == 1 else ""
    return Ranked(None, subject, method, reference, brief.net, value, unit, letter, reasons)


def _value(subject: Subject, brief: Brief, period: Period, by: By) -> _Value:
    if by == "total":
        return brief.total.tco2e, "tCO2e", brief.total.reasons
    if by == "reduction":
        return plain(-brief.reduction), "tCO2e", ()
    if by == "quality":
        measured = [one.tally.quality.measured for one in brief.standings if one.tally.quality]
        return (100 - min(measured) * 100, "%", ()) if measured else (None, "%", (headline.INCOMPLETE,))
    first = next(_intensities(subject, brief.total, period), None)
    if first is None and subject.id in brief.unread:
        return None, "", (UNREAD,)
    return (None, "", (headline.NO_DENOMINATOR,)) if first is None else (first.value, first.unit, first.reasons)


def _moved(brief: Brief, before: Brief | None, against: tuple[Against, ...]) -> _Value:
    """The change as a card tells it, in percent, from what is kept of the accounts."""
    if before is None:
        return None, "%", (headline.OTHER_MONTHS,)
    after = _extents(brief)
    if after and len(after) == len(brief.standings):
        found = headline.compared(after, _extents(before), against[0])
    else:
        found = _of_boundary(brief, before, against[0])
    return found.percent, "%", found.reasons


def _extents(brief: Brief) -> list[Extent]:
    """Of a subject's own accounts; none where they do not cover the period, as ``_accounts`` has it."""
    return [] if brief.boundary in brief.incomplete else [one.tally.extent for one in brief.own]
