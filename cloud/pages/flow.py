"""What the page of flows shows: where an account's carbon comes from and where it goes, as rows of a table."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal
from urllib.parse import quote

from cloud.accounting import flow
from cloud.accounting import method as methods
from cloud.accounting.energy import ELECTRICITY, HEAT
from cloud.accounting.flow import Diagram, Node
from cloud.accounting.inventory import Version
from protocols import messages
from protocols.messages import Language

Kind = Literal["carbon", "energy"]


@dataclass(frozen=True, slots=True)
class FlowRow:
    """One flow, its nodes by name; ``links`` open the lines it is made of."""

    source: str
    target: str
    value: Decimal
    measured: bool
    links: tuple[str, ...]


def rows(version: Version, kind: Kind, lang: Language) -> tuple[FlowRow, ...]:
    """The flows of a version, names told apart where two nodes would be called alike."""
    drawn = (flow.energy if kind == "energy" else flow.diagram)(version.content.lines)
    names = _names(drawn, version, lang)
    page = f"/accounts/{quote(version.reference)}/lines/"
    return tuple(
        FlowRow(
            source=names[one.source],
            target=names[one.target],
            value=one.amount,
            measured=one.measured,
            links=tuple(page + digest[:16] for digest in one.lines),
        )
        for one in drawn.flows
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
    if node.column == "class" or node.id == "total":
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
