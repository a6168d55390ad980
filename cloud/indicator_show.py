"""Indicators, rankings, targets and warnings: for a machine as JSON has them, for a person as a tree and tables."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cloud import indicators
from cloud.accounting.boundary import Bridge
from cloud.accounting.checks import Finding
from cloud.accounting.headline import Change, Intensity, Reduction
from cloud.accounting.uncertainty import Uncertainty
from cloud.accounting.warning import Alarm
from cloud.city import Look, Sums
from cloud.indicators import Aim, Branch, Card, Ranked
from protocols import messages
from protocols.messages import Language

SHOWN = Decimal("0.001")
NAMED = 10
"""How many that have no account are named."""
DIGITS = 9
"""Significant ones of a quotient."""


def card(found: Card) -> dict[str, Any]:
    """Table 1 and Table 2 of a boundary for a machine."""
    total = found.look.brief.total
    return {
        "subject": found.subject.id,
        "zh": found.subject.zh,
        "en": found.subject.en,
        "kind": found.subject.kind,
        "category": found.subject.category,
        "period": found.look.period,
        "total": {"tco2e": _text(total.tco2e), "reasons": list(total.reasons)},
        "intensity": [_intensity(one) for one in found.intensities],
        "change": [_change(one) for one in found.changes],
        "reduction": _reduction(found.reduction),
        "uncertainty": None if found.uncertainty is None else _uncertainty(found.uncertainty),
        **look(found.look),
        "tree": [_branch(one) for one in indicators.branches(found)],
    }


def look(found: Look) -> dict[str, Any]:
    """A boundary's bridge and how well it is known, for a machine."""
    return {
        "bridge": _bridge(found.bridge),
        "accounts": [one.reference for one in found.standings],
        "incomplete": list(found.incomplete),
        "unreadable": sorted(found.unread),
        "locked_share": _quotient(found.locked),
        "estimated_share": _quotient(found.estimated),
        "coverage_percent": f"{found.coverage.percent:f}",
        "by_kind": {name: _sums(one) for name, one in found.by_kind.items()},
        "by_category": {name: _sums(one) for name, one in found.by_category.items()},
    }


def ranked(row: Ranked) -> dict[str, Any]:
    """A place of a ranking for a machine."""
    return {
        "place": row.place,
        "subject": row.subject.id,
        "zh": row.subject.zh,
        "en": row.subject.en,
        "kind": row.subject.kind,
        "category": row.subject.category,
        "account": row.reference or None,
        "tco2e": f"{row.total:f}",
        "value": _quotient(row.value),
        "unit": row.unit,
        "grade": row.letter,
        "reasons": list(row.reasons),
    }


def aim(found: Aim) -> dict[str, Any]:
    """A target for a machine."""
    burn = found.burn
    ratio = burn.ratio
    return {
        "subject": found.subject.id,
        "zh": found.subject.zh,
        "en": found.subject.en,
        "kind": burn.target.kind,
        "year": burn.target.year,
        "tco2e": burn.target.tco2e,
        "document": burn.target.document,
        "through": burn.day.isoformat(),
        "emitted": f"{burn.emitted:f}",
        "expected": _quotient(burn.expected) if burn.expected != burn.emitted else f"{burn.emitted:f}",
        "path": _quotient(burn.path),
        "ratio": None if ratio is None or ratio.is_infinite() else _quotient(ratio),
        "days_left": burn.days_left,
        "year_left": burn.year_left,
        "reasons": list(found.reasons),
    }


def alarm(found: Alarm) -> dict[str, Any]:
    """A warning for a machine, with its text in both languages."""
    told = {one.name: getattr(found, one.name) for one in fields(found)}
    return {**told, "zh": text(found, "zh"), "en": text(found, "en")}


def finding(found: Finding) -> dict[str, Any]:
    """A finding of a cross-check for a machine, with its texts and what to do."""
    told = {"id": found.id, "severity": found.severity, "about": found.about, "figures": dict(found.figures)}
    return {
        **told,
        "zh": messages.text(f"check.{found.id}", "zh", **found.figures),
        "en": messages.text(f"check.{found.id}", "en", **found.figures),
        "zh_do": messages.text(f"check.{found.id}.do", "zh"),
        "en_do": messages.text(f"check.{found.id}.do", "en"),
    }


def findings(found: Iterable[Finding], language: Language) -> Table:
    """Findings for a person."""
    table = Table(box=SIMPLE_HEAD)
    for column in ("about", "state", "text", "do"):
        table.add_column(messages.text(f"indicator.column.{column}", language), overflow="fold")
    for one in found:
        severity = messages.text(f"check.severity.{one.severity}", language)
        said, do = f"check.{one.id}", f"check.{one.id}.do"
        table.add_row(one.about, severity, messages.text(said, language, **one.figures), messages.text(do, language))
    return table


def text(found: Alarm, language: Language) -> str:
    """What a warning says."""
    return messages.text(found.message, language, **found.figures)


def tree(found: Card, language: Language) -> Tree:
    """Table 1 above Table 2, for a person: what has lines, and what should have."""
    name = found.subject.zh if language == "zh" else found.subject.en
    root = Tree(Text(f"{found.subject.id} {name} {found.look.period}"))
    for line in _headlines(found, language):
        root.add(Text(line))
    nodes: dict[str, Tree] = {}
    for branch in indicators.branches(found):
        node, rolled = branch.node, branch.rolled
        if not rolled.lines or node.metric not in (None, "total"):
            continue
        above = nodes.get(node.parent, root)
        nodes[node.id] = above.add(Text(_told(branch, language)))
    return root


def ranking(rows: Sequence[Ranked], language: Language) -> Table:
    """A ranking for a person."""
    table = Table(box=SIMPLE_HEAD)
    for column in ("place", "subject", "total", "value", "grade", "note"):
        table.add_column(messages.text(f"indicator.column.{column}", language), overflow="fold")
    for row in rows:
        value = "–" if row.value is None else f"{_short(row.value)} {row.unit}"
        note = "; ".join(messages.text(reason, language) for reason in row.reasons)
        name = f"{row.subject.id} {row.subject.zh if language == 'zh' else row.subject.en}"
        table.add_row(str(row.place or "–"), name, _short(row.total), value, row.letter, note)
    return table


def aims(found: Iterable[Aim], language: Language) -> Table:
    """Targets for a person: whose and which, what is emitted of it, how far along its path, how long it lasts."""
    table = Table(box=SIMPLE_HEAD)
    for column in ("subject", "target", "emitted", "expected", "path", "left", "note"):
        justify: Literal["left", "right"] = "right" if column in ("emitted", "expected", "path") else "left"
        table.add_column(messages.text(f"indicator.column.{column}", language), overflow="fold", justify=justify)
    for one in found:
        burn = one.burn
        kind = messages.text(f"indicator.target.{burn.target.kind}", language)
        path = "–" if burn.ratio is None or burn.ratio.is_infinite() else f"{burn.ratio * 100:.1f} %"
        days = "–" if burn.days_left is None else burn.days_left
        left = messages.text("indicator.left", language, days=days, year=burn.year_left)
        table.add_row(
            f"{one.subject.id} {one.subject.zh if language == 'zh' else one.subject.en}",
            f"{kind} {_short(Decimal(burn.target.tco2e))}",
            _short(burn.emitted),
            _short(burn.expected),
            path,
            left,
            "; ".join(messages.text(reason, language) for reason in one.reasons),
        )
    return table


def missing(names: Sequence[str], language: Language) -> str:
    """Who should have an account and has none, or none of all the time."""
    named = ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
    return messages.text("indicator.missing", language, count=len(names), names=named)


def unread(names: Sequence[str], language: Language) -> str:
    """Of whom the file or an account in the store has rotted, and what is lacking therefore."""
    named = ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
    return messages.text("indicator.unread-names", language, count=len(names), names=named)


def alarms(found: Iterable[Alarm], language: Language) -> Table:
    """Warnings for a person."""
    table = Table(box=SIMPLE_HEAD)
    for column in ("warning", "state", "since", "text", "by"):
        table.add_column(messages.text(f"indicator.column.{column}", language), overflow="fold")
    for one in found:
        state = messages.text(f"warning.state.{'critical' if one.critical and one.standing else one.state}", language)
        table.add_row(one.id, state, one.since[:16], text(one, language), f"{one.by} {one.why}".strip())
    return table


def _headlines(found: Card, language: Language) -> Iterable[str]:
    total = found.look.brief.total
    reasons = "; ".join(messages.text(reason, language) for reason in total.reasons)
    shown = f"– {reasons}" if total.tco2e is None else f"{_short(total.tco2e)} tCO2e {reasons}".rstrip()
    if found.look.incomplete:
        shown += f": {missing(found.look.incomplete, language)}"
    yield f"{messages.text('indicator.total', language)}: {shown}"
    if found.look.unread:
        yield unread(sorted(found.look.unread), language)
    for one in found.intensities:
        label = one.product or messages.text(f"page.denominator.{one.kind}", language)
        value = _or(one.value, one.unit, one.reasons, language)
        yield f"{messages.text('indicator.intensity', language)} {label}: {value}"
    for change in found.changes:
        value = _or(change.percent, "%", change.reasons, language)
        yield f"{messages.text(f'indicator.change.{change.against}', language)}: {value}"
    reduction = found.reduction
    value = _or(reduction.tco2e, "tCO2e", reduction.reasons, language)
    yield f"{messages.text('indicator.reduction', language)}: {value}"
    if reduction.ledger:
        yield f"{messages.text('report.city.ledger', language)}: {_or(reduction.ledger, 'tCO2e', (), language)}"
    if found.uncertainty is not None and found.uncertainty.percent is not None:
        key = "indicator.uncertainty.whole" if found.uncertainty.whole else "indicator.uncertainty.part"
        unknown = len(found.uncertainty.unknown)
        yield messages.text(key, language, percent=f"{found.uncertainty.percent:f}", unknown=unknown)


def _or(value: Decimal | None, unit: str, reasons: Sequence[str], language: Language) -> str:
    if value is not None:
        return f"{_short(value)} {unit}"
    return "– " + "; ".join(messages.text(reason, language) for reason in reasons)


def _told(branch: Branch, language: Language) -> str:
    node, rolled = branch.node, branch.rolled
    name = node.zh if language == "zh" else node.en
    extension = "" if node.in_standard else f" ({messages.text('indicator.extension', language)})"
    figure = rolled.tco2e if rolled.tco2e or not rolled.reduction else rolled.reduction
    return f"{name}{extension}  {_short(figure)} tCO2e"


def _branch(branch: Branch) -> dict[str, Any]:
    node = branch.node
    return {
        "id": node.id,
        "parent": node.parent or None,
        "level": node.level,
        "zh": node.zh,
        "en": node.en,
        "metric": node.metric,
        "class": node.class_,
        "in_standard": node.in_standard,
        "notes": list(node.notes),
        "tco2e": f"{branch.rolled.tco2e:f}",
        "reduction": f"{branch.rolled.reduction:f}",
        "lines": branch.rolled.lines,
        "intensity": [_intensity(one) for one in branch.intensities],
    }


def _bridge(found: Bridge) -> dict[str, Any]:
    return {
        "gross": f"{found.gross:f}",
        "eliminated": f"{found.eliminated:f}",
        "net": f"{found.net:f}",
        "direct_only": f"{found.direct_only:f}",
        "aside": f"{found.aside:f}",
        "parts": {name: f"{value:f}" for name, value in found.parts.items()},
        "by_subject": {name: f"{value:f}" for name, value in found.by_subject.items()},
        "eliminations": [
            {"line": one.line, "subject": one.subject, "supplier": one.supplier, "tco2e": f"{one.tco2e:f}"}
            for one in found.eliminations
        ],
        "residuals": [
            {"subject": one.subject, "class": one.class_, "main": f"{one.main:f}", "members": f"{one.members:f}"}
            for one in found.residuals
        ],
    }


def _intensity(one: Intensity) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "product": one.product or None,
        "value": _quotient(one.value),
        "unit": one.unit,
        "denominator": _text(one.denominator),
        "denominator_uncertainty_percent": _quotient(one.uncertainty),
        "documents": list(one.documents),
        "reasons": list(one.reasons),
    }


def _change(one: Change) -> dict[str, Any]:
    split = one.difference
    names = ("activity", "factor", "vintage", "method", "boundary")
    return {
        "against": one.against,
        "before": _text(one.before),
        "after": _text(one.after),
        "tco2e": _text(one.tco2e),
        "percent": _quotient(one.percent),
        "effects": None if split is None else {name: f"{getattr(split, name):f}" for name in names},
        "apart": list(one.meters),
        "reasons": list(one.reasons),
    }


def _reduction(one: Reduction) -> dict[str, Any]:
    return {
        "baseline": one.baseline or None,
        "method": one.method or None,
        "baseline_tco2e": _text(one.frozen),
        "tco2e": _text(one.tco2e),
        "ledger_tco2e": f"{one.ledger:f}",
        "reasons": list(one.reasons),
    }


def _uncertainty(found: Uncertainty) -> dict[str, Any]:
    improve = found.improve
    return {
        "percent": _text(found.percent),
        "low_percent": _text(found.low),
        "high_percent": _text(found.high),
        "lower_bound": not found.whole,
        "approach": found.approach,
        "contributions": [
            {"key": one.key, "share": f"{one.share:f}", "lines": list(one.lines)} for one in found.contributions[:10]
        ],
        "unknown": [{"key": one.key, "lines": list(one.lines), "tco2e": _quotient(one.reach)} for one in found.unknown],
        "improve": None if improve is None else improve.key,
    }


def _sums(one: Sums) -> dict[str, Any]:
    return {
        "subjects": one.subjects,
        "direct": f"{one.direct:f}",
        "indirect": f"{one.indirect:f}",
        "total": f"{one.total:f}",
        "reduction": f"{one.reduction:f}",
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _quotient(value: Decimal | None) -> str | None:
    """A quotient is written with nine significant digits."""
    if value is None:
        return None
    return f"{Decimal(f'{value:.{DIGITS}g}').normalize():f}" if value else "0"


def _short(value: Decimal) -> str:
    return f"{value.quantize(SHOWN):,f}" if abs(value) >= 1 else f"{Decimal(f'{value:.4g}').normalize():f}"
