"""Roll-up of a boundary: its members' lines by their share, what is traded inside taken out, gross to net.

Always over lines, never over the totals of children, so that nothing is counted at two levels.

    gross       every line of the boundary itself and of its members, times the share that is within it
    eliminated  heat, cooling and power whose supplier is within it: direct there already. What the supplier took off
                for selling them comes back by as much as was bought inside
    net         gross less eliminated

Where a whole has a main meter of its own, ``metering`` of its subject file says how its lines of a class stand to its
members': INDEPENDENT both count; MAIN_TOTAL only its own; SUB_SUM only the members'; MAIN_WITH_BREAKDOWN the members'
and what is left of its own, so that 1000 over 300 and 400 is 1000 with a residual of 300, and never 1700.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Protocol

from cloud.accounting.indicators import Rolled
from cloud.accounting.inventory import Part, part
from cloud.accounting.line import PLACES, Line
from cloud.accounting.membership import Membership
from cloud.accounting.method import Class
from cloud.accounting.statement import plain
from cloud.accounting.units import ARITHMETIC
from drivers.quantity import EXACT
from protocols.errors import SharedMeterError

TRADED: tuple[Class, ...] = ("indirect_electricity", "indirect_heat", "indirect_cooling")
"""What is a supplier's direct emission and a buyer's indirect one at once."""
OFFSET: Class = "indirect_electricity_offset"
_ZERO, _ONE = Decimal(0), Decimal(1)


class Countable(Protocol):
    """What a roll-up asks of a line."""

    @property
    def id(self) -> str:
        """Its name within its subject."""

    @property
    def subject(self) -> str:
        """Whose it is."""

    @property
    def start(self) -> str:
        """Its first day."""

    @property
    def end(self) -> str:
        """The day after its last."""

    @property
    def class_(self) -> Class:
        """What it adds to."""

    @property
    def leaf(self) -> str:
        """Where it is shown."""

    @property
    def supplier(self) -> str:
        """Who sold it."""

    @property
    def tco2e(self) -> Decimal:
        """How much, signed."""

    @property
    def meters(self) -> tuple[str, ...]:
        """Which meters it rests on."""


@dataclass(frozen=True, slots=True)
class Condensed:
    """Lines of one subject that a boundary cannot tell apart, as one; ``count`` of them."""

    id: str
    subject: str
    start: str
    end: str
    class_: Class
    leaf: str
    supplier: str
    tco2e: Decimal
    meters: tuple[str, ...]
    count: int = 1


def condense(lines: Iterable[Line]) -> tuple[Condensed, ...]:
    """Lines as few as a roll-up needs: a bridge over these says what one over the lines says."""
    found: dict[tuple[object, ...], Condensed] = {}
    for line in lines:
        supplier = line.supplier if line.class_ in (*TRADED, OFFSET) else ""
        key = (line.subject, line.start, line.end, line.class_, line.leaf, supplier, line.tco2e < 0)
        held = found.get(key)
        if held is None:
            own = (line.subject, line.start, line.end, line.class_, line.leaf, supplier)
            found[key] = Condensed(line.id, *own, line.tco2e, line.meters)
        else:
            tco2e, meters = EXACT.add(held.tco2e, line.tco2e), (*held.meters, *line.meters)
            found[key] = replace(held, tco2e=tco2e, meters=meters, count=held.count + 1)
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Elimination:
    """What of a line is taken out, tCO2e; negative where a sale is brought back."""

    line: str
    subject: str
    supplier: str
    class_: Class
    leaf: str
    tco2e: Decimal


@dataclass(frozen=True, slots=True)
class Residual:
    """What is left of a main meter's emissions over those of its members; below 0 where they come to more than it."""

    subject: str
    class_: Class
    leaf: str
    main: Decimal
    members: Decimal

    @property
    def tco2e(self) -> Decimal:
        """Main less members."""
        return EXACT.subtract(self.main, self.members)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A boundary from gross to net, tCO2e. ``by_leaf`` and ``by_subject`` are of the net: each adds up to it.

    ``parts``: gross by direct, fixed, indirect, offset, and memo and reduction beside them. ``aside``: what main and
    sub meters count twice, left out of the gross.
    """

    boundary: str
    gross: Decimal
    eliminated: Decimal
    net: Decimal
    parts: Mapping[Part, Decimal]
    by_leaf: Mapping[str, Rolled]
    by_subject: Mapping[str, Decimal]
    eliminations: tuple[Elimination, ...]
    residuals: tuple[Residual, ...]
    aside: Decimal
    lines: int

    @property
    def direct_only(self) -> Decimal:
        """What is emitted inside the boundary itself."""
        return EXACT.add(self.parts["direct"], self.parts["fixed"])


@dataclass(slots=True)
class _Item:
    """A line and how much of it counts; ``instead``: tCO2e that stands for it (the residual of a main meter)."""

    line: Countable
    start: date
    end: date
    weight: Decimal
    instead: Decimal | None = None

    @property
    def tco2e(self) -> Decimal:
        return weighted(self.line.tco2e, self.weight) if self.instead is None else self.instead


def weighted(tco2e: Decimal, weight: Decimal) -> Decimal:
    """A share of an amount, rounded once as a line is; the whole of it stays as it is."""
    if weight == _ONE:
        return tco2e
    return ARITHMETIC.multiply(tco2e, weight).quantize(PLACES, context=ARITHMETIC)


def bridge(boundary: str, membership: Membership, lines: Iterable[Countable]) -> Bridge:
    """The boundary's account over these lines, of anybody: who is outside has no share.

    AccountError for bad shares, SharedMeterError for a meter that two subjects within it count on the same day.
    """
    items = list(_inside(boundary, membership, lines))
    before = _sum(item.tco2e for item in items)
    residuals = tuple(_meter(boundary, membership, items))
    aside = EXACT.subtract(before, _sum(item.tco2e for item in items))
    _each_meter_once(boundary, items)
    eliminations = tuple(_eliminations(boundary, membership, items))
    parts, by_leaf, by_subject = _sums(items)
    for out in eliminations:
        by_leaf[out.leaf] += Rolled(-out.tco2e)
        by_subject[out.subject] = EXACT.subtract(by_subject[out.subject], out.tco2e)
    gross = _sum(parts[name] for name in ("direct", "fixed", "indirect", "offset"))
    eliminated = _sum(out.tco2e for out in eliminations)
    return Bridge(
        boundary=boundary,
        gross=plain(gross),
        eliminated=plain(eliminated),
        net=plain(EXACT.subtract(gross, eliminated)),
        parts={name: plain(value) for name, value in parts.items()},
        by_leaf=by_leaf,
        by_subject={name: plain(value) for name, value in by_subject.items()},
        eliminations=eliminations,
        residuals=residuals,
        aside=plain(aside),
        lines=len(items),
    )


def _sums(items: Iterable[_Item]) -> tuple[dict[Part, Decimal], dict[str, Rolled], dict[str, Decimal]]:
    """What items come to by part of the total, by leaf and, of what enters the total, by subject."""
    parts: dict[Part, Decimal] = dict.fromkeys(("direct", "indirect", "offset", "fixed", "memo", "reduction"), _ZERO)
    by_leaf: dict[str, Rolled] = {}
    by_subject: dict[str, Decimal] = {}
    for item in items:
        own, tco2e, line = part(item.line.class_), item.tco2e, item.line
        parts[own] = EXACT.add(parts[own], tco2e)
        if own != "memo":
            one = Rolled(_ZERO, tco2e, 1) if own == "reduction" else Rolled(tco2e, _ZERO, 1)
            by_leaf[line.leaf] = by_leaf.get(line.leaf, Rolled()) + one
        if own not in ("memo", "reduction"):
            by_subject[line.subject] = EXACT.add(by_subject.get(line.subject, _ZERO), tco2e)
    return parts, by_leaf, by_subject


def _inside(boundary: str, membership: Membership, lines: Iterable[Countable]) -> Iterator[_Item]:
    for line in lines:
        start, end = date.fromisoformat(line.start), date.fromisoformat(line.end)
        weight = membership.weight(line.subject, boundary, start, end)
        if weight:
            yield _Item(line, start, end, weight)


def _meter(boundary: str, membership: Membership, items: list[_Item]) -> Iterator[Residual]:
    """Put right, deepest whole first, what a main meter and its members both count; the residuals on the way."""
    known = membership.subjects
    wholes = {item.line.subject for item in items if item.line.subject in known and known[item.line.subject].metering}
    first = min((item.start for item in items), default=date.min)
    for whole in sorted(wholes, key=lambda one: (-membership.depth(one, first), one)):
        for metering in known[whole].metering:
            own = [item for item in items if item.line.subject == whole and item.line.class_ == metering.class_]
            below = [item for item in items if item.line.subject != whole and item.line.class_ == metering.class_]
            if metering.mode == "MAIN_TOTAL" and own:
                for item in below:
                    _leave_out(item, whole, boundary, membership)
            elif metering.mode == "SUB_SUM" and any(_within(item, whole, membership) for item in below):
                for item in own:
                    item.weight, item.instead = _ZERO, None
            elif metering.mode == "MAIN_WITH_BREAKDOWN" and own:
                yield _residual(own, _sum(_part(item, whole, membership) for item in below), membership, boundary)


def _each_meter_once(boundary: str, items: Iterable[_Item]) -> None:
    """Two subjects that read one meter count it twice, unless ``metering`` says how a whole stands to its members.

    What one sells and the other buys over it is not twice: the two take each other off.
    """
    held: dict[str, list[_Item]] = {}
    for item in items:
        if not item.weight or item.instead is not None or part(item.line.class_) in ("memo", "reduction"):
            continue
        for meter in item.line.meters:
            for other in held.setdefault(meter, []):
                if other.line.subject == item.line.subject or _sold(item.line, other.line):
                    continue
                if other.start < item.end and item.start < other.end:
                    both = f"{other.line.subject} and {item.line.subject}"
                    raise SharedMeterError(
                        f"{boundary}: found {meter} in the accounts of {both}, expected it in one of them"
                    )
            held[meter].append(item)


def _sold(one: Countable, other: Countable) -> bool:
    """Whether one line is a sale and the other a purchase of the same energy."""
    return one.class_ == other.class_ and one.class_ in TRADED and (one.tco2e < 0) != (other.tco2e < 0)


def _residual(own: list[_Item], members: Decimal, membership: Membership, boundary: str) -> Residual:
    """What the main meter's lines come to over its members'; it stands in the first of them, the others are spent."""
    head = own[0]
    main = _sum(item.line.tco2e for item in own)
    found = Residual(head.line.subject, head.line.class_, head.line.leaf, plain(main), plain(members))
    head.instead = weighted(found.tco2e, membership.weight(head.line.subject, boundary, head.start, head.end))
    for item in own[1:]:
        item.weight = _ZERO
    return found


def _within(item: _Item, whole: str, membership: Membership) -> Decimal:
    return membership.weight(item.line.subject, whole, item.start, item.end)


def _part(item: _Item, whole: str, membership: Membership) -> Decimal:
    """What of an item lies behind the main meter of a whole."""
    share = _within(item, whole, membership)
    if not share or not item.weight:
        return _ZERO
    return weighted(item.line.tco2e if item.instead is None else item.instead, share)


def _leave_out(item: _Item, whole: str, boundary: str, membership: Membership) -> None:
    through = ARITHMETIC.multiply(
        _within(item, whole, membership), membership.weight(whole, boundary, item.start, item.end)
    )
    if through:
        item.weight = max(_ZERO, EXACT.subtract(item.weight, through))
        item.instead = None


def _eliminations(boundary: str, membership: Membership, items: list[_Item]) -> Iterator[Elimination]:
    bought: dict[tuple[str, Class], Decimal] = {}
    for item in items:
        line = item.line
        buys = (line.class_ in TRADED and line.tco2e > 0) or line.class_ == OFFSET
        if not (buys and line.supplier and item.weight) or line.supplier == line.subject:
            continue
        inside = membership.weight(line.supplier, boundary, item.start, item.end)
        if item.instead is None:
            tco2e = weighted(line.tco2e, min(item.weight, inside))
        else:
            tco2e = weighted(item.instead, inside)
        if tco2e:
            key = (line.supplier, line.class_)
            bought[key] = EXACT.add(bought.get(key, _ZERO), tco2e)
            yield Elimination(line.id, line.subject, line.supplier, line.class_, line.leaf, tco2e)
    for item in items:
        line, key = item.line, (item.line.subject, item.line.class_)
        if line.class_ in TRADED and line.tco2e < 0 and bought.get(key, _ZERO) > 0:
            back = min(bought[key], -item.tco2e)
            bought[key] = EXACT.subtract(bought[key], back)
            yield Elimination(line.id, line.subject, line.subject, line.class_, line.leaf, -back)


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = _ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total
