"""tanmeter method: list, show. An auditor reads the formula, its symbols, what they are bound to and its source."""

from collections.abc import Iterator
from typing import Annotated, Any, get_args

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cloud import terminal
from cloud.accounting import blocks
from cloud.accounting import method as methods
from cloud.accounting.block import ITEM, Block, Slot
from cloud.accounting.method import GRID, Method, Row
from cloud.accounting.parameters import Parameter
from cloud.accounting.standing import Standing
from cloud.report.enterprise import leaf_name
from protocols import messages

method = typer.Typer(no_args_is_help=True, add_completion=False)

Json = Annotated[bool, typer.Option("--json")]
STANDINGS = get_args(Standing)
"""Best known first."""


@method.callback()
def about() -> None:
    """How emissions are reckoned: the guidelines, in their editions, as formulas with sources."""


@method.command("list")
def list_methods(as_json: Json = False) -> None:
    """Every method: id, edition, since when in force, and whether its print was read."""
    known = methods.builtin().values()
    if as_json:
        for one in known:
            terminal.tell(summary(one))
        return
    language = terminal.language()
    table = Table()
    for column in ("id", "edition", "name", "force", "gwp", "rows", "status"):
        table.add_column(messages.text(f"method.column.{column}", language))
    for one in known:
        name = one.zh if language == "zh" else one.en
        table.add_row(one.id, one.edition, name, _force(one), one.gwp, str(len(one.rows)), one.status)
    terminal.show(table)


@method.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ID")],
    as_json: Json = False,
) -> None:
    """One method: each row with its formula, the symbols and their units, the parameters with standing and source."""
    found = methods.get(name)
    if as_json:
        rows = [_row(found, row) for row in found.rows.values()]
        terminal.tell({**summary(found), "rows": rows})
        return
    terminal.show(_tree(found))


def summary(one: Method) -> dict[str, Any]:
    """A method's head for a machine."""
    return {
        "id": one.id,
        "edition": one.edition,
        "programme": one.programme,
        "industry": one.industry,
        "category": one.category,
        "zh": one.zh,
        "en": one.en,
        "document": one.document,
        "published": one.published.isoformat(),
        "effective_from": one.effective_from.isoformat(),
        "effective_until": None if one.effective_until is None else one.effective_until.isoformat(),
        "gwp": one.gwp,
        "status": one.status,
        "reason": one.reason,
        "reason_zh": one.reason_zh,
        "parameter_sets": {held.id: held.sha256 for held in one.sets},
        "sha256": one.sha256,
    }


def _row(one: Method, row: Row) -> dict[str, Any]:
    block = blocks.block(row.block)
    return {
        "row": row.row,
        "zh": row.zh,
        "en": row.en,
        "block": block.id,
        "formula": block.formula.text(),
        "gas": row.gas,
        "sign": row.sign,
        "class": row.class_,
        "leaf": row.leaf,
        "report": row.report,
        "proof": row.proof,
        "instead_of": list(row.instead_of),
        "baseline": {"zh": row.baseline_zh, "en": row.baseline_en} if row.baseline_en else None,
        "status": row.status,
        "note": row.note,
        "source": row.source,
        "note_zh": row.note_zh,
        "source_zh": row.source_zh,
        "symbols": [_symbol(one, row, block, slot) for slot in block.slots],
        "items": {item: [_value(found) for found in _values(one, row, item)] for item in one.items(row)},
        "parameters": [_value(found) for found in _values(one, row, "")],
    }


def _symbol(one: Method, row: Row, block: Block, slot: Slot) -> dict[str, Any]:
    return {
        "symbol": slot.name,
        "kind": slot.kind,
        "units": _units(one, row, block, slot),
        "zh": slot.zh,
        "en": slot.en,
        "bound": row.bind.get(slot.name),
        "default": None if slot.default is None else str(slot.default),
    }


def _values(one: Method, row: Row, item: str) -> Iterator[Parameter]:
    """What is bound for this item; for item "" what is bound for all of them alike."""
    for reference in row.bind.values():
        if reference != GRID and bool(item) == ("{item}" in reference):
            yield one.parameter(reference, item or None)


def _value(found: Parameter) -> dict[str, Any]:
    return {
        "id": found.id,
        "value": str(found.quantity.value),
        "unit": found.quantity.unit.text,
        "status": found.status,
        "standing": found.standing,
        "condition": found.condition,
    }


def _tree(one: Method) -> Tree:
    language = terminal.language()
    tree = Tree(Text(f"{one.id}  {one.zh} · {one.en}  {one.edition}  {one.status}", style="bold"))
    for name, value in (
        ("document", one.document),
        ("published", f"{one.published} ({_force(one)})"),
        ("sets", ", ".join(held.id for held in one.sets)),
        ("reason", one.why(language)),
    ):
        if value:
            tree.add(Text(f"{messages.text(f'method.show.{name}', language)}: {value}"))
    for row in one.rows.values():
        _add_row(tree, one, row, language)
    return tree


def _add_row(tree: Tree, one: Method, row: Row, language: messages.Language) -> None:
    block = blocks.block(row.block)
    name = row.zh if language == "zh" else row.en
    sign = "−" if row.sign == -1 else ""
    gas = "" if row.gas == ITEM else row.gas
    branch = tree.add(Text(f"{row.row}  {name}   E({gas or 'gas'}) = {sign}{block.formula.text()}", style="bold"))
    leaves = [row.leaf] if isinstance(row.leaf, str) else dict.fromkeys(row.leaf.values())
    leaf = ", ".join(leaf_name(leaf, language) for leaf in leaves)
    about = f"{messages.text('method.show.leaf', language)}: {leaf} · {row.class_}"
    branch.add(Text(f"{about} · {messages.text('method.show.report', language)}: {row.report}"))
    for slot in block.slots:
        branch.add(Text(_spoken(one, row, block, slot, language)))
    baseline = row.baseline_zh if language == "zh" else row.baseline_en
    for note in (
        *row.said(language),
        messages.text("method.show.proof", language) if row.proof else "",
        messages.text("method.show.baseline", language, baseline=baseline) if baseline else "",
    ):
        if note:
            branch.add(Text(note))
    for found in _values(one, row, ""):
        branch.add(Text(_told(found, language)))
    if row.needs_item():
        branch.add(_items(one, row, language))


def _items(one: Method, row: Row, language: messages.Language) -> Table:
    """What the row may be of: each with its values and how well the least known of them is."""
    bound = [name for name, reference in row.bind.items() if "{item}" in reference]
    table = Table(box=SIMPLE_HEAD)
    for name in (
        messages.text("method.show.items", language),
        "",
        *bound,
        messages.text("method.column.status", language),
    ):
        table.add_column(name)
    for item, named in one.items(row).items():
        values = list(_values(one, row, item))
        worst = max((found.standing for found in values), key=STANDINGS.index, default=None)
        standing = "" if worst is None else messages.text(f"factor.standing.{worst}", language)
        shown = [f"{found.quantity.value} {found.quantity.unit.text}".removesuffix(" 1") for found in values]
        table.add_row(item, named.zh if language == "zh" else named.en, *shown, standing)
    return table


def _units(one: Method, row: Row, block: Block, slot: Slot) -> list[str]:
    """What a symbol may be given in, beside what is bound in this row: of electricity MWh, and no tonnes."""
    gas = "" if row.gas == ITEM else row.gas
    return list(dict.fromkeys(slot.unit(variant, gas).text for variant in methods.variants(one, row, block)))


def _spoken(one: Method, row: Row, block: Block, slot: Slot, language: messages.Language) -> str:
    units = " | ".join(_units(one, row, block, slot))
    kind = messages.text(f"method.show.{slot.kind}", language)
    said = f"{slot.name}  {slot.zh if language == 'zh' else slot.en} [{units}]  {kind}"
    if slot.name in row.bind:
        reference = row.bind[slot.name]
        return f"{said} ← {messages.text('method.show.grid', language) if reference == GRID else reference}"
    if slot.name in row.given:
        return f"{said} ← {messages.text('method.show.given', language)}"
    if slot.default is not None:
        return f"{said} ← {messages.text('method.show.default', language, value=slot.default)}"
    return said


def _told(found: Parameter, language: messages.Language) -> str:
    standing = messages.text(f"factor.standing.{found.standing}", language)
    condition = f" · {found.condition}" if found.condition else ""
    return f"{found.id} = {found.quantity.value} {found.quantity.unit.text}  {found.status} ({standing}){condition}"


def _force(one: Method) -> str:
    start, end = one.effective_from.isoformat(), one.effective_until
    if end is None:
        return messages.text("method.show.since", terminal.language(), start=start)
    return messages.text("method.show.until", terminal.language(), start=start, end=end.isoformat())
