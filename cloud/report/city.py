"""The summary of a boundary (city, district, park): Table 2 with totals, from gross to net, and everybody in it.

After section 7 of T/CI 231-2023: the tree of Table 2 over the lines of all members by their share, never over the
totals of children. What is provisional, declared or not verified is said.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloud.accounting import indicators
from cloud.accounting.boundary import Bridge
from cloud.accounting.inventory import Part as Group
from cloud.accounting.inventory import Version
from cloud.accounting.quality import quality
from cloud.accounting.subject import Subject
from cloud.report.document import Align, Cell, Document, Heading, Paragraph, Part, Table, amount, text
from protocols import messages
from protocols.messages import Language

GROUPS: tuple[Group, ...] = ("direct", "fixed", "indirect", "offset")
BOTH: tuple[Align, Align] = ("left", "right")


@dataclass(frozen=True, slots=True)
class Boundary:
    """What is summed up: the boundary, its bridge over a period, and its members' newest accounts."""

    subject: Subject
    period: str
    bridge: Bridge
    members: tuple[Version, ...]


def compose(found: Boundary, lang: Language, address: str, issued: str) -> Document:
    """The summary; ``address``: where the collector's pages are; ``issued``: RFC 3339."""
    name = found.subject.zh if lang == "zh" else found.subject.en
    locked = sum(one.state == "locked" for one in found.members)
    return Document(
        title=messages.text("report.city.title", lang, name=name),
        subtitle=found.period,
        language=lang,
        cover=(
            (messages.text("report.cover.subject", lang), f"{name} ({found.subject.id})"),
            (messages.text("report.cover.minted", lang), issued),
        ),
        parts=tuple(_parts(found, lang, address)),
        footer=f"tanmeter · {found.subject.id} · {found.period}",
        draft="" if found.members and locked == len(found.members) else messages.text("report.state.provisional", lang),
        issued=issued,
    )


def _parts(found: Boundary, lang: Language, address: str) -> Iterator[Part]:
    say = messages.text
    yield Heading(1, say("report.city.one", lang))
    yield Paragraph(_summary(found, lang))
    yield _bridge(found.bridge, lang)
    yield Heading(1, say("report.city.two", lang))
    yield _tree(found.bridge, lang)
    yield Heading(1, say("report.city.three", lang))
    yield _members(found.members, lang, address)
    yield Paragraph(say("report.city.note", lang), "note")


def _summary(found: Boundary, lang: Language) -> str:
    graded = quality(line for one in found.members for line in one.content.lines)
    return messages.text(
        "report.city.summary",
        lang,
        count=len(found.members),
        net=amount(found.bridge.net).text,
        locked=sum(one.state == "locked" for one in found.members),
        measured="—" if graded is None else amount(graded.measured * 100, 1).text,
    )


def _bridge(found: Bridge, lang: Language) -> Table:
    rows = [(text(messages.text(f"report.class.{name}", lang)), amount(found.parts[name])) for name in GROUPS]
    rows.append((text(messages.text("report.city.gross", lang)), amount(found.gross)))
    rows.append((text(messages.text("report.city.eliminated", lang)), amount(-found.eliminated)))
    rows.append((text(messages.text("report.city.net", lang)), amount(found.net)))
    head = (messages.text("report.column.group", lang), messages.text("report.column.tco2e", lang))
    return Table(messages.text("report.table.bridge", lang), head, tuple(rows), BOTH, (3, 1), totals=1)


def _tree(found: Bridge, lang: Language) -> Table:
    tree, rows = indicators.tree(), list[tuple[Cell, ...]]()
    for name, rolled in indicators.spread(found.by_leaf).items():
        node = tree.nodes[name]
        value = rolled.reduction if name.startswith("reduction") else rolled.tco2e
        called = node.zh if lang == "zh" else node.en
        mark = "" if node.in_standard or not node.leaf else f"（{messages.text('page.city.extension', lang)}）"
        rows.append((text("\u3000" * (node.level - 1) + called + mark), amount(value)))
    head = (messages.text("report.column.leaf", lang), messages.text("report.column.tco2e", lang))
    return Table(messages.text("report.table.tree", lang), head, tuple(rows), BOTH, (4, 1))


def _members(found: Sequence[Version], lang: Language, address: str) -> Table:
    ordered = sorted(found, key=lambda one: one.content.totals.total, reverse=True)
    rows = [_member(one, lang, f"{address}/accounts/{one.reference}") for one in ordered]
    names = ("subject", "status", "quality", "digest", "tco2e")
    head = tuple(messages.text(f"report.column.{name}", lang) for name in names)
    align: tuple[Align, ...] = ("left", "left", "right", "left", "right")
    return Table(messages.text("report.table.members", lang), head, tuple(rows), align, (4, 2, 1, 3, 2))


def _member(one: Version, lang: Language, page: str) -> tuple[Cell, ...]:
    graded = quality(one.content.lines)
    return (
        text(one.content.name_zh if lang == "zh" else one.content.name_en, page),
        text(messages.text(f"report.state.{one.state}", lang)),
        amount(None if graded is None else graded.measured * 100, 1),
        text(one.digest[:16], page),
        amount(one.content.totals.total),
    )
