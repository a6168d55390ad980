"""An account for a person's eyes: what was emitted, how each line was worked, how well each number is known."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cloud.accounting import days, worked
from cloud.accounting import method as methods
from cloud.accounting.calculate import UNDOCUMENTED
from cloud.accounting.inventory import Difference, Filled, Inventory, Totals, Version
from cloud.accounting.line import Activity, Line, Used
from cloud.subjects import Held
from protocols import messages
from protocols.errors import MethodError
from protocols.messages import Language

SHOWN = 4
"""Statements of a line that are named; the JSON has all of them."""
Increments = Mapping[str, Sequence[Mapping[str, Any]]]
"""By the digest of a line: registers, blocks and statements of each metered activity, as `account_proof` finds them."""

TONNES = Decimal("0.000001")
PARTS = ("direct", "fixed", "indirect", "offset", "total", "memo", "reduction")


def summary(version: Version) -> dict[str, Any]:
    """One version as a line for a machine."""
    content = version.content
    return {
        "account": version.reference,
        "id": version.id,
        "version": version.version,
        "state": version.state,
        "closure": version.closure,
        "locked_by": list(version.locked_by),
        "subject": content.subject,
        "period": content.period.id,
        "through": content.period.through,
        "method": content.method,
        "edition": content.edition,
        "tco2e": f"{content.totals.total:f}",
        "lines": len(content.lines),
        "reasons": list(content.reasons),
        "estimated": f"{content.estimated:f}",
        "coverage_percent": f"{content.coverage.percent:f}",
        "minted_at": version.minted_at,
        "digest": version.digest,
    }


def plain_totals(totals: Totals) -> dict[str, Any]:
    """The totals for a machine, tCO2e as text."""
    found: dict[str, Any] = {name: f"{getattr(totals, name):f}" for name in PARTS}
    found["by_gas"] = {name: f"{value:f}" for name, value in totals.by_gas.items()}
    found["by_leaf"] = {name: f"{value:f}" for name, value in totals.by_leaf.items()}
    return found


def explained(content: Inventory) -> dict[str, Any]:
    """An inventory for a machine: lines with their formulas worked, totals, and why it is provisional."""
    return {
        "schema": content.schema,
        "subject": content.subject,
        "name": {"zh": content.name_zh, "en": content.name_en},
        "period": {
            "id": content.period.id,
            "start": content.period.start,
            "end": content.period.end,
            "through": content.period.through,
            "timezone": content.period.timezone,
        },
        "method": {
            "id": content.method,
            "edition": content.edition,
            "programme": content.programme,
            "sha256": content.method_sha256,
        },
        "basis": content.basis,
        "region": content.region,
        "gwp_set": content.gwp_set,
        "factor_set": content.factor_set,
        "parameter_sets": content.parameter_sets,
        "result": {"value": f"{content.totals.total:f}", "unit": "tCO2e"},
        "totals": plain_totals(content.totals),
        "lines": [explained_line(one, content) for one in content.lines],
        "provisional": bool(content.reasons),
        "reasons": [{"id": name, **both(name)} for name in content.reasons],
        "coverage": {"readings": content.coverage.readings, "expected": content.coverage.expected},
        "estimated": f"{content.estimated:f}",
        "left_out": [{"line": one.line, "start": one.start, "end": one.end} for one in content.left_out or ()],
        "gaps": [_gap(gap) for gap in content.filled],
        "subject_sha256": content.subject_sha256,
        "engine": content.engine,
        "digest": content.digest,
    }


def _gap(gap: Filled) -> dict[str, Any]:
    return {
        "line": gap.line,
        "symbol": gap.symbol,
        "meter": gap.meter,
        "start": gap.start,
        "end": gap.end,
        "rule": gap.rule,
        "value": None if gap.value is None else f"{gap.value:f}",
        "unit": gap.unit,
    }


def explained_line(one: Line, content: Inventory) -> dict[str, Any]:
    """A line of an inventory for a machine; ``covers``: the days of the period that its activity is of, and
    whether any of the others is owed.
    """
    found = days.covered(one, content)
    return {**worked.line(one), "covers": {"days": f"{found.days:f}", "of": found.of, "owing": found.owing}}


def differing(found: Difference) -> dict[str, Any]:
    """A difference for a machine, tCO2e as text."""
    parts = ("total", "activity", "factor", "vintage", "method", "boundary")
    effects = [
        {"id": one.id, **{name: f"{getattr(one, name):f}" for name in ("activity", "factor", "method", "boundary")}}
        for one in found.effects
    ]
    return {**{name: f"{getattr(found, name):f}" for name in parts}, "effects": effects}


def both(message: str) -> dict[str, str]:
    """A message in both languages."""
    return {"zh": messages.text(message, "zh"), "en": messages.text(message, "en")}


def listing(versions: Iterable[Version], language: Language) -> Table:
    """Accounts as a list."""
    table = Table()
    for name in ("account", "tco2e", "estimated", "state"):
        table.add_column(
            messages.text(f"account.column.{name}", language), justify="left" if name == "account" else "right"
        )
    for version in versions:
        estimated = f"{version.content.estimated * 100:f} %"
        table.add_row(version.reference, tonnes(version.content.totals.total), estimated, stands(version, language))
    return table


def subjects(held: Iterable[Held], language: Language) -> Table:
    """Subjects as a list."""
    table = Table()
    for name in ("subject", "name", "kind", "method", "version"):
        table.add_column(messages.text(f"account.column.{name}", language))
    for one in held:
        subject = one.subject
        kind = messages.text(f"account.kind.{subject.kind}", language)
        name = subject.zh if language == "zh" else subject.en
        table.add_row(subject.id, name, kind, subject.method or "-", str(one.version))
    return table


def tree(version: Version, language: Language, only: str = "", found: Increments | None = None) -> Tree:
    """A version: how it stands, what changed, its totals and its lines (``only``: those whose id begins so).

    ``found``: what metered activity rests on, by the digest of its line.
    """
    title = version.reference
    root = inventory(version.content, language, only, title=title, found=found)
    head = root.add(Text(f"{messages.text('account.show.state', language)}: {stands(version, language)}"))
    for exception in version.exceptions:
        head.add(Text(exception))
    if version.difference is not None:
        root.add(changes(version.difference, language))
    return root


def inventory(
    content: Inventory, language: Language, only: str = "", *, title: str = "", found: Increments | None = None
) -> Tree:
    """An inventory: totals, then each line with its formula worked and the standing of its factors."""
    name = content.name_zh if language == "zh" else content.name_en
    period = content.period.id
    named = dict.fromkeys((title or content.subject, name, period, f"{content.method} ({content.edition})"))
    root = Tree(Text("  ".join(named), style="bold"))
    root.add(_totals(content.totals, language))
    for reason in content.reasons:
        root.add(Text(f"! {messages.text(reason, language)}", style="yellow"))
    for name in days.named(content):
        root.add(Text(f"  {name}", style="yellow"))
    for one in content.lines:
        if one.id.startswith(only):
            root.add(_line(one, content, language, (found or {}).get(one.digest, ())))
    for gap in content.filled:
        amount = "?" if gap.value is None else f"{gap.value:f} {gap.unit}"
        rule = messages.text(f"account.rule.{gap.rule}", language)
        root.add(Text(f"{gap.meter} {gap.start} … {gap.end}: {rule} {amount}", style="yellow"))
    root.add(Text(f"SHA-256 {content.digest}", style="dim"))
    return root


def changes(found: Difference, language: Language) -> Tree:
    """What changed: the effects and their greatest sources."""
    root = Tree(Text(f"{messages.text('account.show.difference', language)}: {_signed(found.total)} tCO2e"))
    table = Table(box=SIMPLE_HEAD)
    for name in ("source", "activity", "factor", "method", "boundary"):
        table.add_column(
            messages.text(f"account.effect.{name}", language), justify="left" if name == "source" else "right"
        )
    for one in found.effects:
        table.add_row(one.id, *map(_signed, (one.activity, one.factor, one.method, one.boundary)))
    whole = map(_signed, (found.activity, found.factor, found.method, found.boundary))
    table.add_row(messages.text("account.total.total", language), *whole, style="bold")
    root.add(table)
    if found.vintage:
        root.add(Text(f"{messages.text('account.effect.vintage', language)}: {_signed(found.vintage)}"))
    return root


def tonnes(value: Decimal) -> str:
    """Tonnes for the eye: six places."""
    return f"{value.quantize(TONNES):f}"


def stands(version: Version, language: Language) -> str:
    """How a version stands, in words."""
    state = messages.text(f"account.state.{version.state}", language)
    if version.closure:
        state += f" ({messages.text(f'account.closure.{version.closure}', language)})"
    return f"{state} {', '.join(version.locked_by)}".strip()


def _totals(totals: Totals, language: Language) -> Table:
    table = Table(box=SIMPLE_HEAD, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name in PARTS:
        value = getattr(totals, name)
        if value or name == "total":
            style = "bold" if name == "total" else ""
            table.add_row(messages.text(f"account.total.{name}", language), f"{tonnes(value)} tCO2e", style=style)
    return table


def _line(line: Line, content: Inventory, language: Language, increments: Sequence[Mapping[str, Any]]) -> Tree:
    branch = Tree(Text(f"{line.id}  {_row(line, language)}  {tonnes(line.tco2e)} tCO2e", style="bold"))
    sign = "" if line.sign == 1 else "−"
    branch.add(Text(f"E = {sign}{line.formula} = {sign}{worked.formula(line)} = {line.mass:f} t{line.gas}"))
    if line.gas != "CO2":
        branch.add(Text(f"GWP {line.gwp:f} ({line.gwp_set})"))
    for activity in line.activities:
        branch.add(Text(_activity(activity, language)))
    if UNDOCUMENTED in line.reasons:
        branch.add(Text(messages.text(UNDOCUMENTED, language), style="yellow"))
    if not (found := days.covered(line, content)).whole:
        part = messages.text(
            "account.show.covers", language, start=line.start, end=line.end, days=found.days, of=found.of
        )
        branch.add(Text(part, style="yellow" if found.owing else ""))
    for used in line.parameters:
        if used.tier != "formula":
            branch.add(Text(_used(used, language), style="" if used.status != "DRAFT" else "yellow"))
    for text in (text for one in increments for text in _registers(one, language)):
        branch.add(Text(text))
    return branch


def _activity(one: Activity, language: Language) -> str:
    rests = " · ".join(part for part in (one.reference, one.by, one.sha256[:16]) if part)
    return f"{one.symbol} = {_number(one)}  {messages.text(f'account.grade.{one.grade}', language)}  {rests}"


def _registers(one: Mapping[str, Any], language: Language) -> Iterator[str]:
    """The registers a metered amount lies between, with their blocks; what came since; which statements prove it."""
    first, last = one["first"], one["last"]
    if first is None or last is None:
        return
    yield messages.text(
        "account.show.registers",
        language,
        meter=f"{one['device']}.{one['point']}",
        times=" × ".join(("", *one["multipliers"])),
        readings=f"{one['readings']}/{one['expected']}",
        **{f"{name}_{key}": end[key] for name, end in (("first", first), ("last", last)) for key in ("value", "at")},
        first_block=f"{first['epoch']}/{first['seq']}",
        last_block=f"{last['epoch']}/{last['seq']}",
    )
    if one["later"]:
        yield messages.text("page.line.later", language, n=one["later"])
    if one["statements"]:
        names = ", ".join(each["statement"] for each in one["statements"][:SHOWN])
        names += f" … ({len(one['statements'])})" if len(one["statements"]) > SHOWN else ""
        yield messages.text("account.show.statements", language, names=names)


def _used(one: Used, language: Language) -> str:
    tier = messages.text(f"account.tier.{one.tier}", language)
    chosen = [messages.text("factor.over", language, over=one.over)] if one.over else []
    chosen += [f"SHA-256 {one.set_sha256[:16]}"] if one.set_sha256 else []
    chosen += [messages.text("factor.adopted", language, adoption=one.adoption)] if one.adoption else []
    return "  ".join(
        part for part in (f"{one.symbol} = {_number(one)}", tier, one.status, one.id, one.document, *chosen) if part
    )


def _number(one: Activity | Used) -> str:
    return f"{one.value:f} {one.unit}".removesuffix(" 1")


def _row(line: Line, language: Language) -> str:
    try:
        row = methods.get(line.method).row(line.row)
    except MethodError:
        return line.report
    return row.zh if language == "zh" else row.en


def _signed(value: Decimal) -> str:
    return f"{value.quantize(TONNES):+f}" if value else "0"


COLUMNS = (
    *("subject", "period", "line", "start", "end", "row", "item", "class", "leaf", "gas"),
    *("mass_t", "gwp", "tco2e", "worked", "grades", "reasons", "digest"),
)
"""Of a table of lines."""


def rows(contents: Iterable[Inventory]) -> Iterator[dict[str, str]]:
    """Lines for a table: one mapping of texts by COLUMNS each."""
    for content in contents:
        for line in content.lines:
            yield {
                "subject": content.subject,
                "period": content.period.id,
                "line": line.id,
                "start": line.start,
                "end": line.end,
                "row": line.row,
                "item": line.item,
                "class": line.class_,
                "leaf": line.leaf,
                "gas": line.gas,
                "mass_t": f"{line.mass:f}",
                "gwp": f"{line.gwp:f}",
                "tco2e": f"{line.tco2e:f}",
                "worked": worked.formula(line),
                "grades": " ".join(dict.fromkeys(one.grade for one in line.activities)),
                "reasons": " ".join(line.reasons),
                "digest": line.digest,
            }
