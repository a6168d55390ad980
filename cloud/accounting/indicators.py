"""Table 1 and Table 2 of T/CI 231-2023 as data, and the roll-up of lines to Table 2's tree: exact, every line once.

The printed place of a leaf decides where a line is shown; its accounting class decides what it adds to. A node has two
sums: what enters the inventory, and what stands in the ledger of reductions, which never takes anything off the former.
Nodes of an intensity have no lines: they are derived from the total beside them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec

from cloud.accounting.method import Class
from cloud.accounting.statement import plain
from drivers import toml
from drivers.quantity import EXACT
from protocols.errors import ConfigError, UnknownNameError

Metric = Literal["total", "intensity", "product-intensity"]
Position = Literal["printed", "printed-row-shift", "inferred"]
"""Where the print has a group: there; a row off, in merged cells; nowhere, so that we placed it."""

_ZERO = Decimal(0)


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"class_": "class"}):
    """Names in both languages; ``notes`` are the ambiguities of the print (A1 to A13) that bear on it."""


class Node(_Part, frozen=True):
    """A node of Table 2. ``class_``, ``kind``, ``units`` and ``sign`` are a leaf's; ``metric`` an indicator's."""

    id: str
    level: Annotated[int, msgspec.Meta(ge=1, le=6)]
    zh: str
    en: str
    parent: str = ""
    metric: Metric | None = None
    derived_from: str = ""
    unit: str = ""
    leaf: bool = False
    class_: Class | None = None
    kind: str = ""
    units: tuple[str, ...] = ()
    sign: Literal[1, -1] = 1
    position: Position = "printed"
    inferred: bool = False
    in_standard: bool = True
    notes: tuple[str, ...] = ()
    note: str = ""


class Ambiguity(_Part, frozen=True):
    """What the print leaves open, and how it is read."""

    id: str
    found: str
    read_as: str


class _Table2(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    standard: str
    table: str
    note: tuple[Ambiguity, ...]
    node: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """Table 2: its nodes by id in the order of the print, parents before their children."""

    nodes: Mapping[str, Node]
    children: Mapping[str, tuple[str, ...]]
    ambiguities: Mapping[str, Ambiguity]

    @property
    def leaves(self) -> tuple[Node, ...]:
        """Where lines go."""
        return tuple(node for node in self.nodes.values() if node.leaf)

    def leaf(self, name: str) -> Node:
        """The leaf of this id; UnknownNameError."""
        node = self.nodes.get(name)
        if node is None or not node.leaf:
            raise UnknownNameError("indicator", name, "a leaf of Table 2")
        return node

    def path(self, name: str) -> Iterator[str]:
        """A node and all above it, upwards."""
        while name:
            yield name
            name = self.nodes[name].parent


@dataclass(frozen=True, slots=True)
class Rolled:
    """What a node comes to, tCO2e: ``tco2e`` of the inventory, ``reduction`` of the ledger (negative where it is one).

    ``lines``: how many went in.
    """

    tco2e: Decimal = _ZERO
    reduction: Decimal = _ZERO
    lines: int = 0

    def __add__(self, other: "Rolled") -> "Rolled":
        tco2e, reduction = EXACT.add(self.tco2e, other.tco2e), EXACT.add(self.reduction, other.reduction)
        return Rolled(tco2e, reduction, self.lines + other.lines)


@cache
def tree() -> Tree:
    """Table 2 as shipped; ConfigError when the file does not hang together."""
    return load("indicators.toml", files("cloud.accounting").joinpath("indicators.toml").read_bytes())


def load(name: str, source: bytes) -> Tree:
    """Table 2 out of a file; ConfigError names the node that hangs nowhere, or says what it is not."""
    held = toml.load(source, _Table2, name)
    known = {note.id: note for note in held.note}
    nodes: dict[str, Node] = {}
    for node in held.node:
        _check(node, nodes, known, f"{name}: node {node.id}")
        nodes[node.id] = node
    children: dict[str, tuple[str, ...]] = {}
    for node in held.node:
        children[node.parent] = (*children.get(node.parent, ()), node.id)
    for node in held.node:
        if node.leaf == (node.id in children) and node.metric in (None, "total"):
            raise ConfigError(f"{name}: node {node.id}", "a leaf with children, or none and no leaf", "either of them")
        if node.derived_from and node.derived_from not in nodes:
            raise ConfigError(f"{name}: node {node.id}.derived_from", repr(node.derived_from), "the id of a total")
    return Tree(nodes, children, known)


def _check(node: Node, nodes: Mapping[str, Node], known: Mapping[str, Ambiguity], where: str) -> None:
    if node.id in nodes:
        raise ConfigError(where, "it twice", "each node once")
    above = nodes.get(node.parent)
    if (above.level if above else 0) >= node.level or bool(node.parent) != bool(above):
        raise ConfigError(f"{where}.parent", repr(node.parent), "a node of a higher level, before it")
    if node.leaf != (node.class_ is not None):
        raise ConfigError(f"{where}.class", repr(node.class_), "a class at every leaf and nowhere else")
    for note in node.notes:
        if note not in known:
            raise ConfigError(f"{where}.notes", repr(note), f"one of {', '.join(known)}")


def spread(leaves: Mapping[str, Rolled]) -> dict[str, Rolled]:
    """Leaves with every node above them, in the order of the print; UnknownNameError for a strange leaf."""
    known = tree()
    sums: dict[str, Rolled] = {}
    for name, rolled in leaves.items():
        known.leaf(name)
        for node in known.path(name):
            sums[node] = sums.get(node, _NOTHING) + rolled
    return {
        node: Rolled(plain(sums[node].tco2e), plain(sums[node].reduction), sums[node].lines)
        for node in known.nodes
        if node in sums
    }


class Monitoring(_Part, frozen=True):
    """A row of Table 1: technology, method, whose, of what, in which scope. ``accounted``: it makes emission lines."""

    technology_zh: str
    technology_en: str
    method_zh: str
    method_en: str
    subjects_zh: tuple[str, ...]
    subjects: tuple[str, ...]
    targets: tuple[str, ...]
    scope: tuple[str, ...]
    indicators: tuple[str, ...]
    accounted: bool


class Named(_Part, frozen=True):
    """A thing that Table 1 asks for."""

    zh: str
    id: str = ""
    en: str = ""


class _Note(_Part, frozen=True):
    id: str
    text: str


class Table1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table 1 as shipped."""

    schema: Literal[1]
    standard: str
    table: str
    note: tuple[_Note, ...]
    monitoring: tuple[Monitoring, ...]
    indicator: tuple[Named, ...]
    function: tuple[Named, ...]
    terminal: tuple[Named, ...]

    def due(self, category: str) -> tuple[str, ...]:
        """Which indicators a subject of this category must have."""
        for row in self.monitoring:
            if row.accounted and category in row.subjects:
                return row.indicators
        raise UnknownNameError("subject category", category, "one of Table 1")


@cache
def table1() -> Table1:
    """Table 1 as shipped."""
    source = files("cloud.accounting").joinpath("table1.toml").read_bytes()
    found = toml.load(source, Table1, "table1.toml")
    known = {one.id for one in found.indicator}
    for row in found.monitoring:
        if strange := set(row.indicators) - known:
            raise ConfigError("table1.toml: monitoring.indicators", ", ".join(strange), "one that [[indicator]] names")
    return found


_NOTHING = Rolled()
