"""Indicators of a subject or a boundary out of the store: Table 1's four, Table 2's tree, rankings, targets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from random import Random
from typing import Literal

from cloud import accounts
from cloud.accounting import headline, uncertainty
from cloud.accounting import indicators as table2
from cloud.accounting.headline import Against, Change, Intensity, Reduction
from cloud.accounting.indicators import Node, Rolled
from cloud.accounting.inventory import Inventory
from cloud.accounting.period import Period
from cloud.accounting.signals import Burn, burn_down
from cloud.accounting.statement import plain
from cloud.accounting.subject import Subject, Target
from cloud.accounting.uncertainty import Uncertainty
from cloud.accounting.units import ARITHMETIC
from cloud.city import City, Look
from drivers.quantity import EXACT

By = Literal["total", "intensity", "change", "reduction", "quality"]
OTHER_MEMBERS = "indicator.members"
SEED = 231
"""Of the draws of an uncertainty: who asks again is told the same."""
_ZERO = Decimal(0)


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
    """A subject's place; None for one that takes no part, which ``reasons`` tell, message ids."""

    place: int | None
    subject: Subject
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
    """Table 1 of a subject; with ``random`` a wide uncertainty is drawn. UnknownNameError, AccountError."""
    held = city.subject(subject)
    look = city.look(subject, period)
    tiles = _accounts(city, held, look)
    changes = [_change(city, look, tiles, period, against) for against in _against(period)]
    return Card(
        subject=held,
        look=look,
        intensities=tuple(_intensities(held, look, period)),
        changes=tuple(changes),
        reduction=_reduction(held, look, tiles, period),
        uncertainty=uncertainty.uncertainty((line for one in tiles for line in one.lines), random) if tiles else None,
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
    """Everybody inside a boundary that has accounts of all of a period, the greatest first (quality: the worst).

    Who has no figure, or is of grade D in a ranking by intensity, stands at the end without a place.
    """
    known = city.subjects()
    look = city.look(boundary, period)
    names = dict.fromkeys(one.tally.subject for one in look.standings)
    chosen = [known[name] for name in names if known[name].kind in (kind or known[name].kind,)]
    rows = [_ranked(city, one, period, by) for one in chosen if category in ("", one.category)]
    placed = sorted(
        (row for row in rows if row.value is not None), key=lambda row: (-(row.value or _ZERO), row.subject.id)
    )
    rest = sorted((row for row in rows if row.value is None), key=lambda row: row.subject.id)
    return [replace(row, place=place) for place, row in enumerate(placed, 1)] + rest


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
    days = [one.tally.days for one in look.standings]
    reached = max((end for _, end in days), default=year.days()[0])
    reasons = () if _reaching(look, reached, year) else (headline.INCOMPLETE,)
    return Aim(subject, burn_down(target, look.bridge.net, reached), reasons)


def _reaching(look: Look, reached: date, year: Period) -> bool:
    """Whether everybody with accounts has them of all days up to the last one reached."""
    first = year.days()[0]
    covered: dict[str, int] = {}
    for one in look.standings:
        start, end = one.tally.days
        covered[one.tally.subject] = covered.get(one.tally.subject, 0) + (end - start).days
    named = set(covered) | set(look.incomplete)
    return bool(covered) and all(covered.get(name, 0) == (reached - first).days for name in named)


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
    before, subject = city.look(look.boundary, headline.earlier(period, against)), city.subject(look.boundary)
    if tiles and len(look.standings) == len(tiles):
        return headline.change(tiles, _accounts(city, subject, before), against)
    return _of_boundary(look, before, against)


def _of_boundary(look: Look, before: Look, against: Against) -> Change:
    """Of a whole: net against net, where the same members have accounts of all of both."""
    now, then = look.total, before.total
    reasons = list(now.reasons)
    if then.tco2e is None:
        reasons.append(headline.NO_PREVIOUS)
    members = [{one.tally.subject for one in each.standings} for each in (look, before)]
    if not reasons and members[0] != members[1]:
        reasons.append(OTHER_MEMBERS)
    if reasons or now.tco2e is None or then.tco2e is None:
        apart = tuple(sorted(members[0] ^ members[1]))
        return Change(against, then.tco2e, now.tco2e, None, None, None, apart, tuple(reasons))
    moved = EXACT.subtract(now.tco2e, then.tco2e)
    percent = ARITHMETIC.divide(moved * 100, then.tco2e) if then.tco2e > 0 else None
    zero = () if then.tco2e > 0 else (headline.NOTHING_BEFORE,)
    return Change(against, then.tco2e, now.tco2e, plain(moved), percent, None, (), zero)


def _intensities(subject: Subject, look: Look, period: Period) -> Iterator[Intensity]:
    for kind, product in dict.fromkeys((one.kind, one.product) for one in subject.denominator):
        yield headline.ratio(look.total, subject.denominator, period, kind, product)


def _reduction(subject: Subject, look: Look, tiles: list[Inventory], period: Period) -> Reduction:
    """A subject's own; of a whole without a method the ledger of its members, which has no one baseline."""
    if tiles:
        return headline.reduction(tiles, subject.baseline, period)
    found = headline.reduction((), subject.baseline, period)
    return replace(found, ledger=plain(-look.bridge.parts["reduction"]))


def _ranked(city: City, subject: Subject, period: Period, by: By) -> Ranked:
    look = city.look(subject.id, period)
    own = [one for one in look.standings if one.tally.subject == subject.id]
    letter = max((one.tally.quality.letter if one.tally.quality else "D" for one in own), default="D")
    value, unit, reasons = _value(city, look, period, by)
    if by == "intensity" and letter == "D":
        value, reasons = None, ("indicator.grade",)
    reference = own[0].reference if len(own) == 1 else ""
    return Ranked(None, subject, reference, look.bridge.net, value, unit, letter, reasons)


def _value(city: City, look: Look, period: Period, by: By) -> tuple[Decimal | None, str, tuple[str, ...]]:
    """What somebody is ranked by, its unit, and why there is none."""
    if by == "total":
        return look.total.tco2e, "tCO2e", look.total.reasons
    if by == "reduction":
        return plain(-look.bridge.parts["reduction"]), "tCO2e", ()
    if by == "quality":
        measured = [one.tally.quality.measured for one in look.standings if one.tally.quality]
        return (100 - min(measured) * 100, "%", ()) if measured else (None, "%", (headline.INCOMPLETE,))
    if by == "intensity":
        first = next(_intensities(city.subject(look.boundary), look, period), None)
        return (None, "", (headline.NO_DENOMINATOR,)) if first is None else (first.value, first.unit, first.reasons)
    against = _against(period)
    if not against:
        return None, "%", (headline.OTHER_MONTHS,)
    found = _change(city, look, _accounts(city, city.subject(look.boundary), look), period, against[-1])
    return found.percent, "%", found.reasons
