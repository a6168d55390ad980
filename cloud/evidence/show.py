"""A statement and its proof for a person's eyes: a tree from the tonne down to the bytes that were on the wire."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cloud.accounting.statement import Line, Meter, Register, Run, Statement
from cloud.evidence.verify import Report
from protocols import messages
from protocols.messages import Language

MOST_RUNS = 8
MOST_GAPS = 12
TONNES = Decimal("0.000001")
KWH = Decimal("0.01")


def summary(statement: Statement) -> dict[str, Any]:
    """One statement as a line for a machine."""
    content = statement.content
    return {
        "statement": statement.reference,
        "site": content.site,
        "period": content.period.id,
        "through": content.period.through,
        "kwh": str(content.kwh),
        "tco2": str(content.tco2),
        "provisional": content.provisional,
        "reasons": list(content.reasons),
        "coverage_percent": str(content.coverage.percent),
        "minted_at": statement.minted_at,
        "digest": statement.digest,
    }


def table(statements: list[Statement], language: Language) -> Table:
    """Statements as a list."""
    shown = Table()
    for name in ("statement", "kwh", "tco2", "coverage", "state"):
        shown.add_column(_text(f"evidence.column.{name}", language), justify="left" if name == "statement" else "right")
    for statement in statements:
        content = statement.content
        state = _state(statement, language)
        shown.add_row(
            statement.reference,
            _amount(content.kwh, KWH),
            _amount(content.tco2, TONNES),
            f"{content.coverage.percent} %",
            state,
        )
    return shown


def tree(statement: Statement, language: Language, report: Report | None = None) -> Tree:
    """tonne -> factor -> registers -> block; with a report also the very frames."""
    content = statement.content
    head = f"{statement.reference}   {_amount(content.tco2, TONNES)} tCO2   {_state(statement, language)}"
    root = Tree(Text(head, style="bold"))
    root.add(_span(statement, language))
    for reason in content.reasons:
        root.add(Text("! " + _text(reason, language), style="yellow"))
    for line in content.lines:
        _add_line(root, line, language, report)
    if content.breakdown:
        branch = root.add(_text("evidence.breakdown", language))
        for meter in content.breakdown:
            branch.add(f"{meter.device}   {_kwh(meter.kwh, language)}")
    _add_quality(root, statement, language)
    return root


def report(found: Report, language: Language) -> Tree:
    """The tree of a pack that holds, with what was checked and by whose keys."""
    root = tree(found.statement, language, found)
    checks = root.add(_text("evidence.checks", language))
    for check in found.checks:
        name = _text(f"evidence.check.{check.name}", language)
        checks.add(Text(f"{_text('evidence.holds', language)}  {name}  {check.count}", style="green"))
    for walked in found.gateways:
        first, last = (f"{place[0]}/{place[1]}" if place else "-" for place in (walked.first, walked.last))
        values = {"id": walked.identity.id, "blocks": walked.blocks, "first": first, "last": last}
        branch = root.add(_text("evidence.gateway", language, **values, readings=walked.readings))
        technician = walked.identity.enrolment.technician.kid.hex()
        numbers = ", ".join(str(number) for number in sorted(walked.identity.configurations))
        branch.add(_text("evidence.configured", language, numbers=numbers, technician=technician))
        for one in walked.began:
            name = "began" if one.key == found.manifest.key else "began_before"
            place = f"{one.receipt.epoch}/{one.receipt.next_seq}"
            branch.add(_text(f"evidence.{name}", language, epoch=one.epoch, place=place, id=one.key.id.hex()))
        for (epoch, seq), why in walked.refused.items():
            branch.add(Text(_text("evidence.unbooked", language, block=f"{epoch}/{seq}", why=why), style="yellow"))
    for factor in found.better:
        values = {"id": factor.id, "value": factor.value, "unit": factor.unit}
        root.add(Text("! " + _text("evidence.better", language, **values), style="yellow"))
    root.add(_text("evidence.collector", language, id=found.manifest.key.id.hex()))
    return root


def _add_line(root: Tree, line: Line, language: Language, report: Report | None) -> None:
    factor = line.factor
    formula = f"{_amount(line.kwh)} kWh × {factor.value} {factor.unit} ÷ 1000 = {_amount(line.tco2)} tCO2"
    branch = root.add(f"{line.year}   {formula}")
    source = branch.add(f"{factor.id}   {factor.value} {factor.unit}   {factor.status}")
    source.add(f"{factor.publisher} {factor.notice} ({factor.published})")
    if factor.attachment_sha256:
        source.add(f"SHA-256 {factor.attachment_sha256}")
    for meter in line.meters:
        part = branch.add(f"{meter.device}.{meter.point}   {_kwh(meter.kwh, language)}")
        for run in meter.runs[:MOST_RUNS]:
            _add_run(part, meter, run, language, report)
        if len(meter.runs) > MOST_RUNS:
            part.add(_text("evidence.more", language, count=len(meter.runs) - MOST_RUNS))


def _add_run(part: Tree, meter: Meter, run: Run, language: Language, report: Report | None) -> None:
    rolled = f" + {run.rolled}" if run.rolled else ""
    formula = f"({run.closing.value} - {run.opening.value}{rolled}) × {run.multiplier} = {_kwh(run.kwh, language)}"
    quality = _text(f"evidence.quality.{run.quality}", language)
    branch = part.add(f"{_short(run.start)} → {_short(run.end)}   {quality}   {formula}")
    for name, register in (("opening", run.opening), ("closing", run.closing)):
        leaf = branch.add(_register(name, register, language))
        for line in _frame_lines(meter, register, language, report):
            leaf.add(line)


def _register(name: str, register: Register, language: Language) -> str:
    label = _text(f"evidence.{name}", language)
    block = _text("evidence.block", language, block=f"{register.epoch}/{register.seq}")
    return f"{label} {register.value}   {register.at}   {block}"


def _frame_lines(meter: Meter, register: Register, language: Language, report: Report | None) -> Iterator[str]:
    frame = report.frame(meter.gateway, meter.device, meter.point, register) if report else None
    if frame is None:
        return
    yield f"→ {frame.request.hex(' ').upper()}"
    yield f"← {frame.reply.hex(' ').upper()}   = {frame.value} {frame.unit}"
    if frame.value != str(register.value):
        yield _text("evidence.interpolated", language)


def _add_quality(root: Tree, statement: Statement, language: Language) -> None:
    content = statement.content
    names = ("measured", "estimated", "suspect", "missing")
    shares = "   ".join(
        f"{_text(f'evidence.quality.{name}', language)} {content.shares.percent(name)} %" for name in names
    )
    coverage = content.coverage
    values = {"readings": coverage.readings, "expected": coverage.expected, "percent": coverage.percent}
    branch = root.add(f"{_text('evidence.coverage', language, **values)}   {shares}")
    for gap in content.gaps[:MOST_GAPS]:
        kind = _text(f"evidence.quality.{gap.kind}", language)
        branch.add(f"{gap.device}   {_short(gap.start)} → {_short(gap.end)}   {kind}   {_kwh(gap.kwh, language)}")
    if len(content.gaps) > MOST_GAPS:
        branch.add(_text("evidence.more", language, count=len(content.gaps) - MOST_GAPS))
    change = statement.difference
    if change is not None:
        values = {"version": statement.supersedes, "kwh": _signed(change.kwh), "tco2": _signed(change.tco2)}
        parts = {"activity": _signed(change.tco2_by_activity), "factor": _signed(change.tco2_by_factor)}
        root.add(_text("evidence.difference", language, **values, **parts))


def _span(statement: Statement, language: Language) -> str:
    period = statement.content.period
    return _text(
        "evidence.span",
        language,
        start=period.start,
        end=period.end,
        through=period.through,
        minted=statement.minted_at,
    )


def _state(statement: Statement, language: Language) -> str:
    return _text("evidence.provisional" if statement.content.provisional else "evidence.final", language)


def _kwh(value: Decimal | None, language: Language) -> str:
    return _text("evidence.unknown", language) if value is None else f"{_amount(value)} kWh"


def _amount(value: Decimal, digits: Decimal | None = None) -> str:
    """For display: all digits, or rounded to these."""
    return format(value if digits is None else round(value, -int(digits.as_tuple().exponent)), "f")


def _signed(value: Decimal) -> str:
    return format(value, "+f")


def _short(instant: str) -> str:
    return instant[:16].replace("T", " ")


def _text(message: str, language: Language, **values: object) -> str:
    return messages.text(message, language, **values)
