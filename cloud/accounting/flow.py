"""Where the carbon comes from and where it goes: the lines of an account as flows between named nodes. Pure.

Left to right: what is used (its item, where the source has several), at which source of the method, through which
meters, in which accounting class, and the total. What leaves the account (carbon fixed in a product, recovered, green
power) flows out beside the total, never into it.

A line that one meter counted goes through it, and from there on through those below it, in the share that they counted
of it. What none of them counted is a flow of its own, ``rest``, never spread over the others; what they counted more
than the meter above stands beside the total, ``over``, for the account is by the meter above. Where the main meter of a
whole is broken down by its members (``MAIN_WITH_BREAKDOWN``), they stand below it in the same way, each with its part.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from cloud.accounting.branch import Branch
from cloud.accounting.energy import ELECTRICITY, HEAT, Carrier, consumption
from cloud.accounting.inventory import part
from cloud.accounting.line import PLACES, Line
from cloud.accounting.method import Class
from cloud.accounting.units import ARITHMETIC

Column = Literal["item", "source", "meter", "whole", "member", "rest", "class", "end"]
Trees = Mapping[str, Branch]
"""Digest of a line -> the meter that counted it, with those below it."""
Standing = Literal["measured", "default", "estimated"]
"""default: measured, by a factor that the method gives where none was measured. estimated: something of it was
declared, filled or left out."""
WORST: tuple[Standing, ...] = ("measured", "default", "estimated")


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the whole, by its account of the period: its part of a class, tCO2e above 0."""

    id: str
    zh: str
    en: str
    reference: str
    tco2e: Decimal
    standing: Standing


@dataclass(frozen=True, slots=True)
class Middle:
    """The meters of lines, and the members that break a class of the account down."""

    trees: Trees = field(default_factory=dict)
    members: Mapping[Class, tuple[Member, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    """A bar of the diagram. ``id`` is unique in it; ``name``: an item, a row, a meter, or the message id of a class.

    ``meter``: the one that it is, or whose rest it is; ``member``: who it is.
    """

    id: str
    column: Column
    name: str
    meter: Branch | None = None
    member: Member | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """tCO2e (or tce) from one node to another, above 0, and the lines (digests) it is of."""

    source: str
    target: str
    amount: Decimal
    standing: Standing
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagram:
    """All of it: what flows into the total is the total, where no outflow exceeds its class.

    ``shared``: the meters that have others below them, one for each line.
    """

    nodes: tuple[Node, ...]
    flows: tuple[Flow, ...]
    shared: tuple[Branch, ...]


TOTAL = Node("total", "end", "total")
OVER = Node("over", "end", "over")


@dataclass(frozen=True, slots=True)
class _Way:
    """Where a line (its digest) goes to in the end, and how well it is known."""

    target: Node
    standing: Standing
    line: str

    @property
    def factor(self) -> Standing:
        """What is said of its factor: that its own meter has gaps is no word on the meters below."""
        return "default" if self.standing == "default" else "measured"


class _Sums:
    """Flows being added up, in the order in which they were met."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.flows: dict[tuple[str, str], Flow] = {}

    def add(self, source: Node, target: Node, amount: Decimal, standing: Standing, *lines: str) -> None:
        """So much more from one to the other; nothing for nothing."""
        if amount <= 0:
            return
        self.nodes.setdefault(source.id, source)
        self.nodes.setdefault(target.id, target)
        held = self.flows.get((source.id, target.id))
        if held is not None:
            amount, standing = ARITHMETIC.add(held.amount, amount), worst(held.standing, standing)
            lines = (*held.lines, *(one for one in lines if one not in held.lines))
        self.flows[source.id, target.id] = Flow(source.id, target.id, amount, standing, lines)

    def through(self, source: Node, amount: Decimal, tree: Branch, way: _Way) -> Decimal:
        """A line by its meter and those below it; how much more than it those counted."""
        self.add(source, _meter(tree), amount, way.standing, way.line)
        each = ARITHMETIC.divide(amount, tree.amount) if tree.amount else Decimal(0)
        return self._spread(amount, each, tree, way)

    def _spread(self, amount: Decimal, each: Decimal, tree: Branch, way: _Way) -> Decimal:
        """What a meter counted onwards: to those below it and what is left by itself; of one without any, to the end.

        ``each``: tonnes for one of what is counted.
        """
        meter, more, left = _meter(tree), Decimal(0), amount
        if tree.rest is None or not each:
            self.add(meter, way.target, amount, way.standing, way.line)
            return more
        for one in tree.known:
            of_it = ARITHMETIC.multiply(each, one.amount or Decimal(0)).quantize(PLACES, context=ARITHMETIC)
            own = replace(way, standing=worst(way.factor, "measured" if one.measured else "estimated"))
            self.add(meter, _meter(one), of_it, own.standing, own.line)
            more = ARITHMETIC.add(more, self._spread(of_it, each, one, own))
            left = ARITHMETIC.subtract(left, of_it)
        if left < 0:
            return ARITHMETIC.subtract(more, left)
        unmetered = Node(f"rest:{tree.id}", "rest", tree.device, tree)
        known = way.standing if all(one.measured for one in tree.known) else "estimated"
        self.add(meter, unmetered, left, known, way.line)
        self.add(unmetered, way.target, left, known, way.line)
        return more

    def divide(self, whole: Node, members: Sequence[Member], target: Node) -> Decimal:
        """What flows into a whole to its members, what is left by itself; how much more than it they have."""
        into = list(self.into(whole.id))
        left = sum((one.amount for one in into), Decimal(0))
        lines = tuple(line for one in into for line in one.lines)
        for one in members:
            member = Node(f"member:{one.id}", "member", one.id, member=one)
            self.add(whole, member, one.tco2e, one.standing, *lines)
            self.add(member, target, one.tco2e, one.standing, *lines)
            left = ARITHMETIC.subtract(left, one.tco2e)
        unmetered = Node(f"rest:{whole.id}", "rest", whole.name)
        known = worst(*(one.standing for one in into), *(one.standing for one in members))
        self.add(whole, unmetered, left, known, *lines)
        self.add(unmetered, target, left, known, *lines)
        return max(Decimal(0), -left)

    def into(self, target: str) -> Iterator[Flow]:
        """What flows into a node."""
        return (one for one in self.flows.values() if one.target == target)

    def diagram(self, shared: Sequence[Branch]) -> Diagram:
        """What came of it."""
        return Diagram(tuple(self.nodes.values()), tuple(self.flows.values()), tuple(shared))


def diagram(lines: Sequence[Line], middle: Middle) -> Diagram:
    """The flows of what enters the total: positive lines from item to class, negative ones out of their class."""
    sums, over = _Sums(), dict[str, Decimal]()
    for line in lines:
        if part(line.class_) in ("memo", "reduction") or not line.tco2e:
            continue
        group, tree = _group(line.class_), middle.trees.get(line.digest)
        found = standing(line) if tree is None or tree.measured else "estimated"
        if line.tco2e < 0:
            sums.add(group, Node(f"out:{line.row}", "end", line.report), -line.tco2e, found, line.digest)
            continue
        row = Node(f"row:{line.row}", "source", line.report)
        target = _whole(line.class_) if line.class_ in middle.members else group
        used = line.item or ("" if tree else line.label)
        if used:
            sums.add(Node(f"item:{line.row}:{used}", "item", used), row, line.tco2e, found, line.digest)
        if tree is None:
            sums.add(row, target, line.tco2e, found, line.digest)
        else:
            more = sums.through(row, line.tco2e, tree, _Way(target, found, line.digest))
            over[group.id] = ARITHMETIC.add(over.get(group.id, Decimal(0)), more)
    for class_, members in middle.members.items():
        group = _group(class_)
        more = sums.divide(_whole(class_), members, group)
        over[group.id] = ARITHMETIC.add(over.get(group.id, Decimal(0)), more)
    _close(sums, over)
    return sums.diagram(_shared(lines, middle.trees))


def energy(lines: Sequence[Line], middle: Middle) -> Diagram:
    """The same in tonnes of standard coal (GB/T 2589): what is burnt and bought, through its meters, into the total.

    Sold energy flows out of it. Lines whose standard coal is not known are not in it, nor is who of the members had it.
    """
    return _carried([(one, one.tce) for one in consumption(lines).carriers], middle.trees)


def electricity(lines: Sequence[Line], middle: Middle) -> Diagram:
    """The electricity alone, kWh."""
    return _carried([(one, one.kwh) for one in consumption(lines).carriers if one.item == ELECTRICITY], middle.trees)


def _carried(carriers: Sequence[tuple[Carrier, Decimal]], trees: Trees) -> Diagram:
    sums, over = _Sums(), Decimal(0)
    for carrier, amount in carriers:
        line, tree = carrier.line, trees.get(carrier.line.digest)
        found = _standing(carrier) if tree is None or tree.measured else "estimated"
        if amount < 0:
            sums.add(TOTAL, Node(f"out:{line.row}", "end", line.report), -amount, found, line.digest)
            continue
        used = Node(f"item:{line.row}:{carrier.item}", "item", carrier.item)
        if tree is None:
            sums.add(used, TOTAL, amount, found, line.digest)
        else:
            over = ARITHMETIC.add(over, sums.through(used, amount, tree, _Way(TOTAL, found, line.digest)))
    sums.add(TOTAL, OVER, over, "estimated")
    return sums.diagram(_shared([carrier.line for carrier, amount in carriers if amount > 0], trees))


def standing(line: Line) -> Standing:
    """How well a line's emission is known."""
    if not _measured(line):
        return "estimated"
    return "default" if any(one.tier in ("default", "formula") for one in line.parameters) else "measured"


def worst(*found: Standing) -> Standing:
    """The least known of them."""
    return max(found, key=WORST.index)


def _close(sums: _Sums, over: Mapping[str, Decimal]) -> None:
    """What each class has left over flows into the total."""
    for group in [node for node in sums.nodes.values() if node.column == "class"]:
        sums.add(group, OVER, over.get(group.id, Decimal(0)), "estimated")
        into = list(sums.into(group.id))
        out = sum((one.amount for one in sums.flows.values() if one.source == group.id), Decimal(0))
        rest = ARITHMETIC.subtract(sum((one.amount for one in into), Decimal(0)), out)
        sums.add(group, TOTAL, rest, worst("measured", *(one.standing for one in into)))


def _shared(lines: Sequence[Line], trees: Trees) -> list[Branch]:
    found: list[Branch] = []
    waiting = [trees[line.digest] for line in lines if line.digest in trees and line.tco2e > 0]
    while waiting:
        tree = waiting.pop(0)
        if tree.below:
            found.append(tree)
            waiting += tree.below
    return found


def _group(class_: Class) -> Node:
    side = "indirect" if part(class_) in ("indirect", "offset") else "direct"
    return Node(f"class:{side}", "class", side)


def _whole(class_: Class) -> Node:
    return Node(f"whole:{class_}", "whole", class_)


def _meter(tree: Branch) -> Node:
    return Node(f"meter:{tree.id}", "meter", tree.device, tree)


def _standing(carrier: Carrier) -> Standing:
    if not _measured(carrier.line):
        return "estimated"
    known = carrier.item in (ELECTRICITY, HEAT) or carrier.basis == "measured"
    return "measured" if known else "default"


def _measured(line: Line) -> bool:
    return all(one.grade != "declared" and not one.estimated for one in line.activities)
