"""What the page of flows shows: where an account's carbon comes from and where it goes, as rows of a table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import quote

from cloud.accounting import flow
from cloud.accounting import method as methods
from cloud.accounting.branch import Branch
from cloud.accounting.energy import ELECTRICITY, HEAT
from cloud.accounting.flow import Column, Diagram, Flow, Middle, Node, Standing
from cloud.accounting.inventory import Version
from cloud.accounting.statement import plain
from cloud.accounting.units import ARITHMETIC
from drivers.quantity import EXACT
from protocols import messages
from protocols.messages import Language

Kind = Literal["carbon", "energy", "electricity"]
MIDDLE = ("meter", "whole", "member", "rest")
"""Columns between the sources and the classes."""
UNITS: dict[Kind, str] = {"carbon": "tCO2e", "energy": "tce", "electricity": "kWh"}
DIAGRAMS = {"carbon": flow.diagram, "energy": flow.energy, "electricity": flow.electricity}


@dataclass(frozen=True, slots=True)
class FlowRow:
    """One flow, its nodes by name; ``links`` open the lines it is made of, ``href`` the line or the meter it is by.

    ``source_href`` and ``target_href`` open the meter or the member that a node is, "" where it is none; ``column`` is
    the target's.
    """

    source: str
    target: str
    value: Decimal
    standing: Standing
    links: tuple[str, ...]
    href: str
    source_href: str
    target_href: str
    column: Column


@dataclass(frozen=True, slots=True)
class Shared:
    """A meter with others below it, in ``unit``: what it counted, what they did, and what is left.

    ``share``: of what it counted, None where that is nothing; ``unknown``: those below of which nothing is known.
    """

    name: str
    href: str
    unit: str
    counted: Decimal
    below: Decimal
    rest: Decimal
    share: Decimal | None
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FlowView:
    """The flows of a version and how what flows through its meters adds up.

    ``rest`` and ``over``: what no sub meter counted, and what they counted beyond their main meter, in the unit of the
    flows; ``through``: all that flows through a meter with others below it.
    """

    rows: tuple[FlowRow, ...]
    shared: tuple[Shared, ...]
    through: Decimal
    rest: Decimal
    over: Decimal


def drawn(version: Version, kind: Kind, middle: Middle) -> Diagram:
    """The flows of a version, in tCO2e, tce or kWh."""
    return DIAGRAMS[kind](version.content.lines, middle)


def view(version: Version, kind: Kind, middle: Middle, lang: Language) -> FlowView:
    """The page of the flows, names told apart where two nodes would be called alike."""
    found = drawn(version, kind, middle)
    names, nodes = _names(found, version, lang), {node.id: node for node in found.nodes}
    roots = {f"meter:{tree.id}" for tree in middle.trees.values() if tree.known}
    roots |= {f"whole:{class_}" for class_ in middle.members}
    return FlowView(
        rows=tuple(_row(one, names, nodes, version) for one in found.flows),
        shared=tuple(_shared(found.shared)),
        through=_sum(
            one.amount
            for one in found.flows
            if one.target in roots and (nodes[one.source].column != "meter" or nodes[one.target].column == "whole")
        ),
        rest=_sum(one.amount for one in found.flows if nodes[one.target].column == "rest"),
        over=_sum(one.amount for one in found.flows if one.target == flow.OVER.id),
    )


def told(version: Version, kind: Kind, middle: Middle) -> dict[str, Any]:
    """The flows for a machine: nodes in both languages, flows between them, the balance of every meter with others."""
    found = drawn(version, kind, middle)
    zh, en = _names(found, version, "zh"), _names(found, version, "en")
    return {
        "account": version.reference,
        "of": kind,
        "unit": UNITS[kind],
        "nodes": [
            {"id": node.id, "column": node.column, "name": {"zh": zh[node.id].strip(), "en": en[node.id].strip()}}
            | ({} if node.meter is None else {"meter": node.meter.id})
            | ({} if node.member is None else {"subject": node.member.id, "account": node.member.reference})
            for node in found.nodes
        ],
        "flows": [
            {"source": one.source, "target": one.target, "value": _text(one.amount), "standing": one.standing,
             "lines": list(one.lines)}
            for one in found.flows
        ],
        "meters": [
            {"meter": one.id, "unit": one.unit, "counted": _text(one.amount), "below": _text(one.metered),
             "rest": _text(one.rest), "unknown": [each.id for each in one.below if each.amount is None]}
            for one in dict.fromkeys(found.shared)
        ],
    }  # fmt: skip


def _row(one: Flow, names: dict[str, str], nodes: dict[str, Node], version: Version) -> FlowRow:
    account = f"/accounts/{quote(version.reference)}"
    source, target = nodes[one.source], nodes[one.target]
    links = tuple(f"{account}/lines/{digest[:16]}" for digest in one.lines)
    by_line = links[0] if len(links) == 1 else f"{account}#lines"
    below = source.column in MIDDLE
    return FlowRow(
        names[one.source],
        names[one.target],
        one.amount,
        one.standing,
        links,
        (below and (_opens(target) or _opens(source))) or by_line,
        _opens(source),
        _opens(target),
        target.column,
    )


def _opens(node: Node) -> str:
    """The page of what a node is: a meter, or the account of a member; "" for anything else."""
    if node.member is not None:
        return f"/accounts/{quote(node.member.reference)}"
    return "" if node.meter is None else _page(node.meter)


def _shared(found: Iterable[Branch]) -> Iterator[Shared]:
    """Each meter once, over all the days that its lines are of."""
    meters: dict[str, list[Branch]] = {}
    for one in dict.fromkeys(found):
        meters.setdefault(one.id, []).append(one)
    for parts in meters.values():
        counted, below = _sum(one.amount or Decimal(0) for one in parts), _sum(one.metered for one in parts)
        rest = EXACT.subtract(counted, below)
        yield Shared(
            name=_called(parts[0]),
            href=_page(parts[0]),
            unit=parts[0].unit,
            counted=counted,
            below=below,
            rest=rest,
            share=ARITHMETIC.divide(rest, counted) if counted else None,
            unknown=tuple(dict.fromkeys(_called(each) for one in parts for each in one.below if each.amount is None)),
        )


def _names(drawn: Diagram, version: Version, lang: Language) -> dict[str, str]:
    """A name for each node; one that is taken already gets a thin space more."""
    found: dict[str, str] = {}
    for node in drawn.nodes:
        name = _name(node, version, lang)
        while name in found.values():
            name += "\u2009"
        found[node.id] = name
    return found


def _name(node: Node, version: Version, lang: Language) -> str:
    if node.column in MIDDLE:
        return _middle_name(node, version, lang)
    if node.column == "class" or node.id in (flow.TOTAL.id, flow.OVER.id):
        return messages.text(f"page.flow.node.{node.name}", lang)
    known = methods.builtin().get(version.content.method)
    if known is None:
        return node.name
    if node.column == "source" or node.id.startswith("out:"):
        row = known.rows.get(node.id.partition(":")[2])
        return node.name if row is None else row.zh if lang == "zh" else row.en
    _, number, item = node.id.split(":", 2)
    if item in (ELECTRICITY, HEAT):
        return messages.text(f"page.flow.node.{item}", lang)
    row = known.rows.get(number)
    named = known.items(row).get(item) if row is not None and row.needs_item() and item else None
    return node.name if named is None else named.zh if lang == "zh" else named.en


def _middle_name(node: Node, version: Version, lang: Language) -> str:
    """A meter, a member, the whole that the account is of, or what is left of one of them."""
    if node.member is not None:
        return node.member.zh if lang == "zh" else node.member.en
    if node.column == "meter" and node.meter is not None:
        return _called(node.meter)
    whole = version.content.name_zh if lang == "zh" else version.content.name_en
    return messages.text(f"page.flow.node.{node.column}", lang, meter=node.meter.device if node.meter else whole)


def _called(meter: Branch) -> str:
    """A meter as its site file calls it; never by another name."""
    return f"{meter.device} {meter.name}" if meter.name else meter.device


def _page(meter: Branch) -> str:
    return f"/meters/{meter.gateway}/{quote(meter.device)}" if meter.gateway else ""


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for value in values:
        total = EXACT.add(total, value)
    return total


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{plain(value):f}"
