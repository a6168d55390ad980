"""Methods as data: a guideline in one edition is a TOML file of source rows over the blocks, checked when it is loaded.

A method is (id, edition, in force from, until, programme) and is chosen by these, never by being the latest. Each row
is one source of the guideline: its block, what its parameters are bound to, its gas, sign, class, indicator leaf and
place in the report. Loading refuses a row whose units do not come out as a mass of its gas.
"""

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec

from cloud.accounting import blocks, parameters
from cloud.accounting.block import ITEM, Block
from cloud.accounting.leaves import LEAVES
from cloud.accounting.parameters import Item, ParameterSet
from cloud.accounting.standing import Status
from cloud.accounting.units import Dimension, unit
from drivers import toml
from protocols.errors import ConfigError, FactorError, MethodError, UnitError

GRID = "grid"
"""What a parameter is bound to that is the electricity factor of the place, the year and the basis."""

Class = Literal[
    "direct_combustion",
    "direct_mobile",
    "direct_process",
    "direct_fugitive",
    "direct_waste",
    "direct_fixed",
    "indirect_electricity",
    "indirect_electricity_offset",
    "indirect_heat",
    "indirect_cooling",
    "indirect_water",
    "indirect_waste",
    "indirect_other",
    "reduction",
    "memo",
]
"""Decides the arithmetic, whatever the place that Table 2 prints a leaf at. ``reduction`` and ``memo`` never enter a
total; ``direct_fixed`` is carbon that leaves in a product, a negative line of the inventory."""

GwpSet = Literal["SAR", "AR4", "AR5", "AR6"]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A source of the guideline. ``bind``: parameter -> ``NCV.{item}`` of the method's sets, ``set:symbol``, or grid.

    ``leaf``: an indicator leaf, or one for each phase of the item. ``gas``: of the mass; ``item`` when the item is it.
    ``instead_of``: rows that reckon the same thing in another way; one thing (label) has one of them at a time.
    ``baseline_zh``, ``_en``: what a reduction is reckoned against (GB/T 33760): no reduction without a name for it.
    """

    row: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]+$")]
    zh: str
    en: str
    block: str
    class_: Class = msgspec.field(name="class")
    leaf: str | dict[str, str]
    report: str
    gas: str = "CO2"
    sign: Literal[1, -1] = 1
    items: tuple[str, ...] = ()
    bind: dict[str, str] = {}
    given: tuple[str, ...] = ()
    instead_of: tuple[str, ...] = ()
    proof: bool = False
    status: Status = "DRAFT"
    source: str = ""
    note: str = ""
    source_zh: str = ""
    note_zh: str = ""
    baseline_zh: str = ""
    baseline_en: str = ""

    def said(self, language: str) -> tuple[str, ...]:
        """What to mind of the row and where it comes from, in a language where it is said in it, else in English."""
        zh = language == "zh"
        both = ((zh and self.note_zh) or self.note, (zh and self.source_zh) or self.source)
        return tuple(text for text in both if text)

    def needs_item(self) -> bool:
        """Whether an entry must say which item it is of."""
        return bool(self.items) or self.gas == ITEM or any("{item}" in reference for reference in self.bind.values())


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: Literal[1]
    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    edition: str
    programme: str
    zh: str
    en: str
    document: str
    published: date
    effective_from: date
    gwp: GwpSet
    category: Literal["energy", "industry", "building", "transport", "park", "community", "reduction"]
    parameters: tuple[str, ...]
    status: Status
    reason: str
    row: tuple[Row, ...]
    effective_until: date | None = None
    industry: int | None = None
    reason_zh: str = ""


@dataclass(frozen=True, slots=True)
class Method:
    """A guideline in one edition. ``sha256`` is over its file; ``status`` is DRAFT unless its print was read.

    What an account uses of it may differ from the file: ``adopted`` names the adoption that confirmed a row, or its
    head under its own id, ``retired`` what stands in place of a row; ``under``: what it was put together under.
    """

    id: str
    edition: str
    programme: str
    zh: str
    en: str
    document: str
    published: date
    effective_from: date
    effective_until: date | None
    gwp: GwpSet
    category: str
    industry: int | None
    status: Status
    reason: str
    reason_zh: str
    sets: tuple[ParameterSet, ...]
    rows: Mapping[str, Row]
    sha256: str
    adopted: Mapping[str, str] = field(default_factory=dict)
    retired: Mapping[str, str] = field(default_factory=dict)
    under: str = ""

    def why(self, language: str) -> str:
        """Why it stands as it stands, in a language where it is said in it, else in English."""
        return (language == "zh" and self.reason_zh) or self.reason

    def row(self, name: str) -> Row:
        """The source row of this number; MethodError lists them where there is none."""
        if name not in self.rows:
            raise MethodError(f"method {self.id}: found the row {name!r}, expected one of {', '.join(self.rows)}")
        return self.rows[name]

    def items(self, row: Row) -> Mapping[str, Item]:
        """What this row may be of: its own list, else every item for which the sets have all that is bound."""
        names = row.items or tuple(name for name in self._candidates(row) if self._bound(row, name))
        return {name: self._item(row, name) for name in names}

    def parameter(self, reference: str, item: str | None) -> parameters.Parameter:
        """What a binding names, for an item; FactorError when no set, or more than one, has it."""
        name, _, symbol = reference.rpartition(":")
        symbol = symbol.replace("{item}", item or "")
        held = [one for one in self.sets if one.id == name or not name]
        found = [one for one in held if symbol in one.values]
        if len(found) != 1:
            among = ", ".join(one.id for one in found) or "none of " + ", ".join(one.id for one in held)
            raise FactorError(f"parameter {symbol}: found it in {among}, expected it in exactly one set of {self.id}")
        return found[0].get(symbol)

    def in_force(self, start: date, end: date) -> bool:
        """Whether the edition covers the days from ``start`` up to ``end``."""
        return self.effective_from <= start and (self.effective_until is None or end <= self.effective_until)

    def _candidates(self, row: Row) -> list[str]:
        """The items that some set has a value of the row's first item binding for, in the order of the sets."""
        head = next((symbol for symbol in map(_symbol, row.bind.values()) if "{item}" in symbol), None)
        if head is None:
            return []
        before, _, after = head.partition("{item}")
        symbols = (symbol for held in self.sets for symbol in held.values)
        found = (symbol for symbol in symbols if symbol.startswith(before) and symbol.endswith(after))
        return list(dict.fromkeys(symbol[len(before) : len(symbol) - len(after)] for symbol in found))

    def _bound(self, row: Row, item: str) -> bool:
        symbols = [symbol for symbol in map(_symbol, row.bind.values()) if "{item}" in symbol]
        return all(any(symbol.replace("{item}", item) in held.values for held in self.sets) for symbol in symbols)

    def _item(self, row: Row, name: str) -> Item:
        """The item as a set names it, else as its first value is called."""
        for held in self.sets:
            if name in held.items:
                return held.items[name]
        for symbol in map(_symbol, row.bind.values()):
            for held in self.sets:
                if "{item}" in symbol and (value := held.values.get(symbol.replace("{item}", name))):
                    return Item(name, value.zh, value.en, None)
        return Item(name, name, name, None)


def _symbol(reference: str) -> str:
    """The symbol of a binding, without the set it may name."""
    return reference.rpartition(":")[2]


def load(name: str, source: bytes, sets: Mapping[str, ParameterSet]) -> Method:
    """The method in this file, every row checked; ConfigError names the place that is wrong."""
    document = toml.load(source, _File, name)
    if name != f"{document.id}.toml":
        raise ConfigError(f"{name}: id", repr(document.id), f"the name of the file, {name.removesuffix('.toml')!r}")
    missing = [one for one in document.parameters if one not in sets]
    if missing:
        raise ConfigError(f"{name}: parameters", repr(missing[0]), toml.one_of(list(sets), missing[0]))
    rows: dict[str, Row] = {}
    for index, row in enumerate(document.row):
        if row.row in rows:
            raise ConfigError(f"{name}: row[{index}].row", repr(row.row), "each row once")
        rows[row.row] = row
    held = tuple(sets[one] for one in document.parameters)
    method = _method(document, held, rows, hashlib.sha256(source).hexdigest())
    check(method, name)
    return method


def check(method: Method, name: str) -> None:
    """ConfigError unless every row holds with the method's sets as they are; ``name``: of what is checked."""
    for index, row in enumerate(method.rows.values()):
        _check(method, row, f"{name}: row[{index}]")


@cache
def builtin() -> Mapping[str, Method]:
    """The methods this edition of the software comes with, by id."""
    folder = files("cloud.accounting").joinpath("methods")
    sets = parameters.builtin()
    found = [load(entry.name, entry.read_bytes(), sets) for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return {method.id: method for method in sorted(found, key=lambda one: (one.industry or 99, one.id))}


def get(name: str) -> Method:
    """The built-in method of this id; MethodError with the nearest one where there is none."""
    known = builtin()
    if name not in known:
        near = " or ".join(difflib.get_close_matches(name, known))
        raise MethodError(f"method: found {name!r}, expected {near or 'an id of `tanmeter method list`'}")
    return known[name]


def editions(name: str) -> tuple[Method, ...]:
    """The method of an id, or every edition of ``programme/industry`` (``mee-ets/8``); MethodError for none."""
    programme, slash, industry = name.partition("/")
    if not slash:
        return (get(name),)
    found = tuple(one for one in builtin().values() if one.programme == programme and str(one.industry) == industry)
    if not found:
        known = sorted({f"{one.programme}/{one.industry}" for one in builtin().values() if one.industry is not None})
        raise MethodError(f"method: found {name!r}, expected {toml.one_of(known, name)}")
    return found


def choose(name: str, start: date, end: date) -> Method:
    """The method of an id, or the one edition of ``programme/industry`` in force over these days, never the latest.

    MethodError where none is, or more than one.
    """
    found = editions(name)
    fitting = found if "/" not in name else tuple(one for one in found if one.in_force(start, end))
    if len(fitting) != 1:
        listed = ", ".join(f"{one.id} from {one.effective_from}" for one in fitting or found)
        count = "more than one" if fitting else "none"
        raise MethodError(f"method {name} from {start} to {end}: found {count} in force, of {listed}; expected one")
    return fitting[0]


def _method(document: _File, held: tuple[ParameterSet, ...], rows: Mapping[str, Row], digest: str) -> Method:
    return Method(
        id=document.id,
        edition=document.edition,
        programme=document.programme,
        zh=document.zh,
        en=document.en,
        document=document.document,
        published=document.published,
        effective_from=document.effective_from,
        effective_until=document.effective_until,
        gwp=document.gwp,
        category=document.category,
        industry=document.industry,
        status=document.status,
        reason=document.reason,
        reason_zh=document.reason_zh,
        sets=held,
        rows=rows,
        sha256=digest,
    )


def _check(method: Method, row: Row, where: str) -> None:
    """ConfigError unless the row's block, bindings and units hold for every item it may be of."""
    try:
        block = blocks.block(row.block)
        if block.gas not in (None, row.gas):
            raise MethodError(f"block {block.id} gives {block.gas}, found gas {row.gas!r}")
        block.check(row.gas)
        _check_bindings(block, row)
        _check_reduction(row)
        _check_alternatives(method, row)
        _check_leaves(row)
        items: list[str | None] = list(method.items(row)) if row.needs_item() else [None]
        if not items:
            raise MethodError(f"row {row.row}: found no item for which all of {', '.join(row.bind.values())} exist")
        for item in items:
            variant(method, row, block, item)
    except (MethodError, UnitError, FactorError) as error:
        raise ConfigError(where, str(error), "a row that its block can carry") from error


def _check_bindings(block: Block, row: Row) -> None:
    for name in (*row.bind, *row.given):
        if block.slot(name).kind != "parameter":
            raise MethodError(f"row {row.row}: found activity {name} bound, expected it from whoever uses the method")
    for slot in block.slots:
        if slot.kind == "parameter" and slot.default is None and slot.name not in (*row.bind, *row.given):
            raise MethodError(f"row {row.row}: found parameter {slot.name} neither bound nor given")


def _check_alternatives(method: Method, row: Row) -> None:
    """MethodError unless the rows it stands in place of name it in turn."""
    for other in row.instead_of:
        if row.row not in method.row(other).instead_of:
            raise MethodError(f"row {row.row}: found it instead of {other}, expected {other} to say the same of it")


def _check_reduction(row: Row) -> None:
    """MethodError for a reduction without a proof or a named baseline, and for a baseline of what is none."""
    if row.class_ != "reduction":
        if row.baseline_zh or row.baseline_en:
            raise MethodError(f"row {row.row}: found a baseline for class {row.class_}, expected class reduction")
        return
    for name, held in (("proof", row.proof), ("baseline_zh", row.baseline_zh), ("baseline_en", row.baseline_en)):
        if not held:
            raise MethodError(f"row {row.row}: found a reduction without {name}, expected it (GB/T 33760)")


def _check_leaves(row: Row) -> None:
    for leaf in [row.leaf] if isinstance(row.leaf, str) else row.leaf.values():
        if leaf not in LEAVES:
            raise MethodError(f"row {row.row}: found the leaf {leaf!r}, expected {toml.one_of(sorted(LEAVES), leaf)}")


def variant(method: Method, row: Row, block: Block, item: str | None) -> int:
    """Which variant of the block what is bound for this item is of; UnitError where it fits none."""
    return block.variant(_bound(method, row, item), row.gas)


def variants(method: Method, row: Row, block: Block) -> tuple[int, ...]:
    """The variants of the block that are open to whoever gives the row's activity, of one item or another."""
    items: list[str | None] = list(method.items(row)) if row.needs_item() else [None]
    bound = [_bound(method, row, item) for item in items]
    return tuple(one for one in range(block.variants) if any(block.fits(one, held, row.gas) for held in bound))


def _bound(method: Method, row: Row, item: str | None) -> dict[str, Dimension]:
    """The dimension of each symbol that something is bound to."""
    return {
        name: (unit("tCO2/MWh") if reference == GRID else method.parameter(reference, item).quantity.unit).dimension
        for name, reference in row.bind.items()
    }
