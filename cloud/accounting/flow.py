"""Where the carbon comes from and where it goes: the lines of an account as flows between named nodes. Pure.

Left to right: what is used (its item, where the source has several), at which source of the method, in which
accounting class, and the total. What leaves the account (carbon fixed in a product, recovered, green power) flows out
beside the total, never into it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from cloud.accounting.energy import consumption
from cloud.accounting.inventory import part
from cloud.accounting.line import Line
from cloud.accounting.units import ARITHMETIC

Column = Literal["item", "source", "class", "end"]


@dataclass(frozen=True, slots=True)
class Node:
    """A bar of the diagram. ``id`` is unique in it; ``name``: an item, a row, or the message id of a class."""

    id: str
    column: Column
    name: str


@dataclass(frozen=True, slots=True)
class Flow:
    """tCO2e (or tce) from one node to another, above 0. ``measured``: none of it was declared or filled."""

    source: str
    target: str
    amount: Decimal
    measured: bool
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagram:
    """All of it: what flows into the total is the total, where no outflow exceeds its class."""

    nodes: tuple[Node, ...]
    flows: tuple[Flow, ...]


def diagram(lines: Sequence[Line]) -> Diagram:
    """The flows of what enters the total: positive lines from item to class, negative ones out of their class."""
    nodes: dict[str, Node] = {}
    sums: dict[tuple[str, str], tuple[Decimal, bool, tuple[str, ...]]] = {}

    def add(source: Node, target: Node, line: Line) -> None:
        nodes.setdefault(source.id, source)
        nodes.setdefault(target.id, target)
        tco2e, measured, held = sums.get((source.id, target.id), (Decimal(0), True, ()))
        grown = ARITHMETIC.add(tco2e, abs(line.tco2e))
        sums[source.id, target.id] = grown, measured and _measured(line), (*held, line.digest)

    for line in lines:
        own = part(line.class_)
        if own in ("memo", "reduction") or not line.tco2e:
            continue
        side = "indirect" if own in ("indirect", "offset") else "direct"
        row = Node(f"row:{line.row}", "source", line.report)
        group = Node(f"class:{side}", "class", side)
        if line.tco2e > 0:
            used = line.item or line.label
            if used:
                add(Node(f"item:{line.row}:{used}", "item", used), row, line)
            add(row, group, line)
        else:
            add(group, Node(f"out:{line.row}", "end", line.report), line)
    _close(nodes, sums)
    flows = [Flow(source, target, *found) for (source, target), found in sums.items()]
    return Diagram(tuple(nodes.values()), tuple(flow for flow in flows if flow.amount > 0))


def energy(lines: Sequence[Line]) -> Diagram:
    """The same in tonnes of standard coal (GB/T 2589): what is burnt and bought, by source, into what was consumed.

    Sold energy flows out of it. Lines whose standard coal is not known are not in it.
    """
    nodes: dict[str, Node] = {}
    sums: dict[tuple[str, str], tuple[Decimal, bool, tuple[str, ...]]] = {}
    for carrier in consumption(lines).carriers:
        line = carrier.line
        used = Node(f"item:{line.row}:{carrier.item}", "item", carrier.item)
        whole = Node("total", "end", "total")
        pair = (used, whole) if carrier.tce > 0 else (whole, Node(f"out:{line.row}", "end", line.report))
        for node in pair:
            nodes.setdefault(node.id, node)
        key = (pair[0].id, pair[1].id)
        tce, measured, held = sums.get(key, (Decimal(0), True, ()))
        grown = ARITHMETIC.add(tce, abs(carrier.tce))
        sums[key] = grown, measured and _measured(line), (*held, line.digest)
    return Diagram(
        tuple(nodes.values()),
        tuple(Flow(source, target, *found) for (source, target), found in sums.items() if found[0] > 0),
    )


def _close(nodes: dict[str, Node], sums: dict[tuple[str, str], tuple[Decimal, bool, tuple[str, ...]]]) -> None:
    """What each class has left over flows into the total."""
    for group in [node for node in nodes.values() if node.column == "class"]:
        into = [value for (_, target), value in sums.items() if target == group.id]
        out = [value[0] for (source, _), value in sums.items() if source == group.id]
        rest = ARITHMETIC.subtract(sum((value[0] for value in into), Decimal(0)), sum(out, Decimal(0)))
        total = Node("total", "end", "total")
        if rest > 0:
            nodes.setdefault(total.id, total)
            sums[group.id, total.id] = rest, all(value[1] for value in into), ()


def _measured(line: Line) -> bool:
    return all(one.grade != "declared" and not one.estimated for one in line.activities)
