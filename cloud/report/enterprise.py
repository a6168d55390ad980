"""The enterprise's emission report after its guideline: statement, four chapters, annex tables 1 to 3, every line.

The chapters are those all NDRC guidelines share (the text of 公共建筑, 附件, was seen): 企业基本情况, 温室气体排放,
活动水平数据及来源说明, 排放因子数据及来源说明, with 附表 1 to 3. Every number names the line it comes from.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import groupby

from cloud.accounting import blocks, days, indicators
from cloud.accounting.draw import concerned
from cloud.accounting.inventory import Version, by_reason, part
from cloud.accounting.line import Activity, Line, Used
from cloud.accounting.method import Method
from cloud.accounting.statement import plain
from cloud.accounting.units import ARITHMETIC
from cloud.report.document import (
    Align,
    Cell,
    Document,
    Heading,
    Paragraph,
    Part,
    Seal,
    Table,
    amount,
    exact,
    moment,
    text,
)
from protocols import messages
from protocols.messages import Language

GROUPS = ("direct", "fixed", "indirect", "offset")
"""What adds up to the total, in the order of 附表 1."""


def compose(version: Version, method: Method, about: Mapping[str, str], lang: Language, address: str) -> Document:
    """The report of one version of an account. ``about``: what the enterprise says of itself, label -> text.

    ``address``: where the collector's pages are, without a slash at the end.
    """
    say = partial(_say, lang)
    sheets = _Sheets(version, method, lang, f"{address}/accounts/{version.reference}")
    content = version.content
    name = content.name_zh if lang == "zh" else content.name_en
    return Document(
        title=say("title", name=name),
        subtitle=say("subtitle", start=content.period.start[:10], end=content.period.end[:10]),
        language=lang,
        cover=tuple(_cover(version, method, about, lang)),
        parts=tuple(_parts(sheets, method, about, lang)),
        footer=f"tanmeter · {version.reference} · {version.digest[:16]}",
        draft="" if version.state == "locked" else say(f"state.{version.state}"),
        issued=version.minted_at,
    )


def _cover(version: Version, method: Method, about: Mapping[str, str], lang: Language) -> Iterator[tuple[str, str]]:
    say = partial(_say, lang)
    content = version.content
    yield say("cover.subject"), f"{content.name_zh} {content.name_en}（{content.subject}）"
    yield from about.items()
    yield say("cover.method"), f"{method.document}（{method.edition}，{method.id}）"
    yield say("cover.version"), f"{version.reference}（{_state(version, lang)}）"
    if version.locked_by:
        yield say("cover.locked_by"), "、".join(version.locked_by)
    yield say("cover.minted"), moment(version.minted_at)
    yield say("cover.digest"), version.digest


def _parts(sheets: "_Sheets", method: Method, about: Mapping[str, str], lang: Language) -> Iterator[Part]:
    say, content = partial(_say, lang), sheets.version.content
    yield Heading(1, say("statement.head"))
    yield Paragraph(say("statement.text", document=method.document))
    yield Paragraph(say("statement.sign"))
    yield Heading(1, say("chapter.basics"))
    yield from (Paragraph(f"{name}: {value}") for name, value in about.items())
    if not about:
        yield Paragraph(say("nothing.about"), "note")
    yield Paragraph(say("basics.boundary", subject=content.subject, count=len(content.lines)))
    yield Heading(1, say("chapter.emissions"))
    yield Paragraph(_summary(sheets, lang))
    yield sheets.by_class()
    if (beside := sheets.beside()) is not None:
        yield beside
    yield sheets.by_gas()
    yield sheets.by_leaf()
    yield Heading(1, say("chapter.activity"))
    yield sheets.activity()
    yield Heading(1, say("chapter.factors"))
    yield sheets.factors()
    yield Heading(1, say("chapter.quality"))
    yield from _quality(sheets, method, lang)
    yield Heading(1, say("chapter.annex"))
    yield sheets.annex_one()
    yield sheets.lines()
    if sheets.version.difference is not None:
        yield sheets.difference()
    yield Seal(sheets.page, sheets.version.digest, say("seal"))


def _summary(sheets: "_Sheets", lang: Language) -> str:
    totals = sheets.version.content.totals
    shown = {name: amount(getattr(totals, name)).text for name in ("total", "direct", "indirect", "offset", "fixed")}
    return _say(lang, "summary", **shown)


def _quality(sheets: "_Sheets", method: Method, lang: Language) -> Iterator[Part]:
    say, content = partial(_say, lang), sheets.version.content
    coverage = content.coverage
    yield Paragraph(
        say(
            "quality.coverage",
            readings=coverage.readings,
            expected=coverage.expected,
            percent=coverage.percent,
            estimated=amount(content.estimated * 100).text,
        )
    )
    if method.reason:
        yield Paragraph(say("quality.method", reason=method.why(lang)), "note")
    if sheets.version.exceptions:
        for reason, names in by_reason(sheets.version.exceptions).items():
            yield Paragraph(say("quality.exception", reason=_reason(reason, lang, names)), "note")
    else:
        told = concerned(content)
        for reason in content.reasons:
            yield Paragraph(say("quality.reason", reason=_reason(reason, lang, told.get(reason, ()))), "note")
    if (covers := sheets.covers()) is not None:
        yield covers
    if content.filled:
        yield sheets.filled()


class _Sheets:
    """The tables of one version."""

    def __init__(self, version: Version, method: Method, lang: Language, page: str) -> None:
        self.version, self.lang, self.page = version, lang, page
        self._items = {
            (row.row, name): item.zh if lang == "zh" else item.en
            for row in method.rows.values()
            for name, item in method.items(row).items()
        }
        self._rows = {row.row: f"{row.row} {row.zh if lang == 'zh' else row.en}" for row in method.rows.values()}
        self._lines: Sequence[Line] = version.content.lines
        self._say = partial(_say, lang)

    def by_class(self) -> Table:
        """Direct, fixed, indirect and offset, and what they add up to."""
        totals = self.version.content.totals
        names = (*GROUPS, "total")
        rows = tuple((text(self._say(f"class.{name}")), amount(getattr(totals, name))) for name in names)
        caption = self._say("table.class")
        return Table(caption, self._head("source", "tco2e"), rows, ("left", "right"), (3, 1), caption, 1)

    def beside(self) -> Table | None:
        """What stands beside the total: memo lines and the ledger of reductions; None where there is nothing."""
        totals = self.version.content.totals
        held = {name: getattr(totals, name) for name in ("memo", "reduction") if getattr(totals, name)}
        rows = [(text(self._say(f"class.{name}")), amount(value)) for name, value in held.items()]
        return self._table("beside", ("source", "tco2e"), rows, (3, 1)) if rows else None

    def by_gas(self) -> Table:
        """What each gas has of the total."""
        rows = [(text(gas), amount(value)) for gas, value in self.version.content.totals.by_gas.items()]
        return self._table("gas", ("gas", "tco2e"), rows, (3, 1))

    def by_leaf(self) -> Table:
        """By the leaves of Table 2 of T/CI 231-2023."""
        by_leaf = self.version.content.totals.by_leaf.items()
        rows = [(text(leaf_name(leaf, self.lang)), amount(value)) for leaf, value in by_leaf]
        return self._table("leaf", ("leaf", "tco2e"), rows, (3, 1))

    def annex_one(self) -> Table:
        """附表 1: each cell of the guideline's summary table, what adds up to the total last."""
        counted = [line for line in self._lines if part(line.class_) in GROUPS]
        ordered = sorted(counted, key=lambda line: GROUPS.index(part(line.class_)))
        rows: list[tuple[Cell, ...]] = []
        for (group, cell, gas), own in groupby(ordered, key=lambda line: (part(line.class_), line.report, line.gas)):
            of_it = list(own)
            mass = _sum(line.mass if line.sign == 1 else -line.mass for line in of_it)
            tco2e = _sum(line.tco2e for line in of_it)
            rows.append((text(self._say(f"class.{group}")), text(cell), text(gas), amount(mass, 4), amount(tco2e)))
        total = text(""), text(self._say("class.total")), text(""), text(""), amount(self.version.content.totals.total)
        head = self._head("group", "source", "gas", "mass", "tco2e")
        align: tuple[Align, ...] = ("left", "left", "left", "right", "right")
        return Table(self._say("table.annex1"), head, (*rows, total), align, (2, 5, 1, 2, 2), "附表1", 1)

    def activity(self) -> Table:
        """附表 2: every activity with its grade and what it rests on."""
        rows = [self._activity(line, one) for line in self._lines for one in line.activities]
        head = ("source", "item", "symbol", "value", "unit", "grade", "reference")
        return self._table("annex2", head, rows, (4, 2, 3, 2, 1, 1, 4), {3})

    def _activity(self, line: Line, one: Activity) -> tuple[Cell, ...]:
        grade = self._say(f"grade.{one.grade}")
        rests = " · ".join(part for part in (one.reference, one.by, one.sha256[:12]) if part)
        link = self._at(line)
        name, item = text(self._source(line), link), text(self._item(line))
        return (
            name,
            item,
            text(self._symbol(line, one.symbol)),
            exact(one.value),
            text(one.unit),
            text(grade),
            text(rests),
        )

    def factors(self) -> Table:
        """附表 3: every parameter that was used, once for each value, with tier, standing and document."""
        seen: dict[tuple[str, str, str], tuple[Cell, ...]] = {}
        for line in self._lines:
            for used in line.parameters:
                row = (
                    text(self._source(line), self._at(line)),
                    text(self._item(line)),
                    text(self._symbol(line, used.symbol)),
                    exact(used.value),
                    text(used.unit),
                    text(self._say(f"tier.{used.tier}")),
                    text(used.status),
                    text(self._document(used)),
                )
                seen.setdefault((used.id, used.symbol, str(used.value)), row)
        head = ("source", "item", "symbol", "value", "unit", "tier", "status", "document")
        return self._table("annex3", head, list(seen.values()), (4, 2, 3, 2, 2, 1, 2, 5), {3})

    def lines(self) -> Table:
        """Every line: its formula, mass, potential, tonnes and digest, which opens it."""
        rows = [
            (
                text(line.id, self._at(line)),
                text(f"{'−' if line.sign == -1 else ''}{line.formula}"),
                amount(line.mass, 6),
                text(line.gas),
                exact(line.gwp),
                amount(line.tco2e, 4),
                text(line.digest[:16], self._at(line)),
            )
            for line in self._lines
        ]
        head = ("line", "formula", "mass", "gas", "gwp", "tco2e", "digest")
        return self._table("lines", head, rows, (3, 4, 2, 1, 1, 2, 3), {2, 4, 5})

    def filled(self) -> Table:
        """Where a named rule filled what was not measured."""
        rows = [
            (text(one.meter), text(one.start), text(one.end), text(one.rule), exact(one.value), text(one.unit))
            for one in self.version.content.filled
        ]
        return self._table("filled", ("meter", "start", "end", "rule", "value", "unit"), rows, (4, 3, 3, 3, 2, 1), {4})

    def covers(self) -> Table | None:
        """The lines that are not of the whole period, with the days that they are of; None where all are."""
        content = self.version.content
        found = [(line, days.covered(line, content)) for line in self._lines]
        rows = [
            (text(line.id, self._at(line)), text(line.start), text(line.end), text(f"{one.days:f} / {one.of}"))
            for line, one in found
            if not one.whole
        ]
        return self._table("covers", ("line", "start", "end", "days"), rows, (4, 2, 2, 2)) if rows else None

    def difference(self) -> Table:
        """What changed against the version before, by cause."""
        assert self.version.difference is not None
        found = self.version.difference
        names = ("activity", "factor", "method", "boundary")
        rows = [(text(self._say(f"effect.{name}")), amount(getattr(found, name), 4)) for name in names]
        rows.append((text(self._say("class.total")), amount(found.total, 4)))
        caption = self._say("table.difference", before=self.version.supersedes or "—")
        return Table(caption, self._head("cause", "tco2e"), tuple(rows), ("left", "right"), (3, 1), caption[:20], 1)

    def _table(
        self,
        name: str,
        head: Sequence[str],
        rows: Sequence[tuple[Cell, ...]],
        widths: tuple[int, ...],
        right: set[int] | None = None,
    ) -> Table:
        numbers = {len(head) - 1} if right is None else right
        align: tuple[Align, ...] = tuple("right" if index in numbers else "left" for index in range(len(head)))
        return Table(self._say(f"table.{name}"), self._head(*head), tuple(rows), align, widths)

    def _head(self, *names: str) -> tuple[str, ...]:
        return tuple(self._say(f"column.{name}") for name in names)

    def _source(self, line: Line) -> str:
        """The row as the method calls it: one cell of the summary may hold several."""
        return self._rows.get(line.row, line.report)

    def _symbol(self, line: Line, name: str) -> str:
        slot = blocks.block(line.block).slot(name)
        return f"{name} {slot.zh if self.lang == 'zh' else slot.en}"

    def _document(self, used: Used) -> str:
        if used.tier == "formula":
            return self._say("formula")
        return " · ".join(part for part in (used.id, used.document, used.over, used.adoption) if part)

    def _item(self, line: Line) -> str:
        """What the method calls the line's item, else its label."""
        return self._items.get((line.row, line.item), line.item) or line.label

    def _at(self, line: Line) -> str:
        return f"{self.page}#{line.digest[:16]}"


def leaf_name(leaf: str, lang: Language) -> str:
    """A leaf of Table 2 with what it hangs under; its id where the tree does not know it."""
    tree = indicators.tree()
    if leaf not in tree.nodes:
        return leaf
    nodes = [tree.nodes[name] for name in reversed(list(tree.path(leaf)))]
    shown = [node for node in nodes if node.level in (2, 5) or node.leaf]
    return " · ".join(node.zh if lang == "zh" else node.en for node in shown)


def _state(version: Version, lang: Language) -> str:
    """How the version stands; of a lock that took exceptions or a part, that too."""
    state = _say(lang, f"state.{version.state}")
    if version.closure in ("", "complete"):
        return state
    return f"{state}，{messages.text(f'account.closure.{version.closure}', lang)}"


def _reason(reason: str, lang: Language, concerned: Sequence[str] = ()) -> str:
    """A reason in words with what it concerns; one that the catalogue does not know is shown as it is."""
    known = messages.catalogue().get(reason)
    said = known[lang] if known and "{" not in known[lang] else reason
    return f"{said}{'：' if lang == 'zh' else ': '}{'、'.join(concerned)}" if concerned else said


def _sum(values: Iterator[Decimal]) -> Decimal:
    total = Decimal(0)
    for value in values:
        total = ARITHMETIC.add(total, value)
    return plain(total)


def _say(lang: Language, message: str, /, **values: object) -> str:
    return messages.text(f"report.{message}", lang, **values)
