"""The supplementary data table (补充数据表): by product or process instead of by legal person, over the same lines.

A line belongs to the product that its label names (``水泥`` or ``水泥/2号窑``); where a subject makes one product and
labels nothing, all of them do. What belongs to no product is shown as such, so that the table adds up to the account.
The columns after the practice of the ETS tables, of which no printed form was seen (unverified).
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from cloud.accounting import energy
from cloud.accounting.inventory import Version, part
from cloud.accounting.line import Line
from cloud.accounting.statement import plain
from cloud.accounting.subject import Denominator, Subject
from cloud.accounting.units import ARITHMETIC
from cloud.report.document import Align, Cell, Document, Paragraph, Seal, Table, amount, text
from protocols import messages
from protocols.messages import Language

COLUMNS = ("fuel", "process", "power", "heat")


def compose(version: Version, subject: Subject, lang: Language, address: str) -> Document:
    """The table of one version of an account; ``address``: where the collector's pages are."""
    content = version.content
    name = content.name_zh if lang == "zh" else content.name_en
    page = f"{address}/accounts/{version.reference}"
    return Document(
        title=messages.text("report.table.products", lang),
        subtitle=f"{name} · {content.period.id}",
        language=lang,
        cover=(
            (messages.text("report.cover.subject", lang), f"{name} ({content.subject})"),
            (messages.text("report.cover.version", lang), version.reference),
            (messages.text("report.cover.digest", lang), version.digest),
        ),
        parts=(
            Paragraph(messages.text("report.products.note", lang), "note"),
            _table(content.lines, _made(subject, content.period.id), lang),
            Seal(page, version.digest, messages.text("report.seal", lang)),
        ),
        footer=f"tanmeter · {version.reference}",
        draft="" if version.state == "locked" else messages.text(f"report.state.{version.state}", lang),
        issued=version.minted_at,
    )


def _made(subject: Subject, period: str) -> list[Denominator]:
    return [one for one in subject.denominator if one.kind == "output" and one.period == period]


def _table(lines: Sequence[Line], made: Sequence[Denominator], lang: Language) -> Table:
    counted = [line for line in lines if part(line.class_) not in ("memo", "reduction")]
    rows: list[tuple[Cell, ...]] = []
    taken: set[str] = set()
    for one in made:
        own = counted if len(made) == 1 and not one.product else [line for line in counted if _of(line, one.product)]
        taken |= {line.digest for line in own}
        rows.append(_row(one.product or "—", one.value, own, one.quantity.value, one.quantity.unit.text))
    rest = [line for line in counted if line.digest not in taken]
    if rest:
        rows.append(_row(messages.text("report.products.rest", lang), "", rest, None, ""))
    rows.append(_row(messages.text("report.class.total", lang), "", counted, None, ""))
    head = [messages.text(f"report.column.{name}", lang) for name in ("product", "output")]
    head += [messages.text(f"report.products.{name}", lang) for name in (*COLUMNS, "energy")]
    head += [messages.text(f"report.column.{name}", lang) for name in ("tco2e", "intensity")]
    right: Align = "right"
    align: tuple[Align, ...] = ("left", *[right for _ in head[1:]])
    caption = messages.text("report.table.products", lang)
    return Table(caption, tuple(head), tuple(rows), align, (3, 2, 2, 2, 2, 2, 2, 2, 2), totals=1)


def _row(name: str, output: str, own: Sequence[Line], made: Decimal | None, unit: str) -> tuple[Cell, ...]:
    sums = {column: _sum(line.tco2e for line in own if _column(line) == column) for column in COLUMNS}
    total = _sum(line.tco2e for line in own)
    intensity = None if made is None else ARITHMETIC.divide(total, made)
    shown = text("—") if intensity is None else Cell(f"{amount(intensity, 4).text} tCO2e/{unit}", intensity)
    used = energy.consumption(own)
    coal = text("—") if used.unknown else amount(used.tce)
    return text(name), text(output), *(amount(sums[column]) for column in COLUMNS), coal, amount(total), shown


def _column(line: Line) -> str:
    if line.class_.startswith("indirect_electricity"):
        return "power"
    if line.class_ in ("indirect_heat", "indirect_cooling"):
        return "heat"
    return "fuel" if line.class_ in ("direct_combustion", "direct_mobile") else "process"


def _of(line: Line, product: str) -> bool:
    return bool(product) and (line.label == product or line.label.startswith(f"{product}/"))


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for value in values:
        total = ARITHMETIC.add(total, value)
    return plain(total)
