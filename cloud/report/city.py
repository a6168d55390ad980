"""The summary of a boundary (city, district, park): Table 1, Table 2, from gross to net, and everybody in it.

After section 7 of T/CI 231-2023: the tree of Table 2 over the lines of all members by their share, never over the
totals of children. Who has no account, and what is provisional, declared or not verified, is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from cloud.accounting import indicators
from cloud.accounting.boundary import Bridge
from cloud.accounting.headline import Change, Intensity, Reduction, Total
from cloud.accounting.inventory import Part as Group
from cloud.accounting.subject import Subject
from cloud.report.document import Align, Cell, Document, Heading, Paragraph, Part, Table, amount, moment, text
from protocols import messages
from protocols.messages import Language

GROUPS: tuple[Group, ...] = ("direct", "fixed", "indirect", "offset")
BOTH: tuple[Align, Align] = ("left", "right")
NAMED = 50
"""How many that have no account are named; they are counted all."""
MOVERS = 5
"""How many of those that changed most are named."""


@dataclass(frozen=True, slots=True)
class Member:
    """An account inside: whose (zh, en), which version, and what of it enters the total, tCO2e gross and by share."""

    zh: str
    en: str
    reference: str
    digest: str
    locked: bool
    measured: Decimal | None
    tco2e: Decimal


@dataclass(frozen=True, slots=True)
class Mover:
    """Who changed against the period before, in percent and tCO2e as it stands now."""

    zh: str
    en: str
    percent: Decimal
    tco2e: Decimal


@dataclass(frozen=True, slots=True)
class Headlines:
    """The four indicators of Table 1."""

    total: Total
    intensities: tuple[Intensity, ...]
    changes: tuple[Change, ...]
    reduction: Reduction


@dataclass(frozen=True, slots=True)
class Boundary:
    """What is summed up. ``missing``: who is inside and has no account of all the period, by id and name (zh, en);
    ``unread``: of whom a file or an account in the store has rotted.

    ``locked``, ``measured``, ``estimated``: shares of the emissions. ``reasons``: message id -> in how many accounts it
    keeps a figure provisional. ``warnings``: whose, and their texts in the language of the report.
    """

    subject: Subject
    period: str
    bridge: Bridge
    headlines: Headlines
    members: tuple[Member, ...]
    missing: tuple[tuple[str, str, str], ...]
    unread: tuple[tuple[str, str, str], ...]
    movers: tuple[Mover, ...]
    warnings: tuple[tuple[str, str], ...]
    locked: Decimal | None
    measured: Decimal | None
    estimated: Decimal | None
    reasons: Mapping[str, int]


def compose(found: Boundary, lang: Language, address: str, issued: str) -> Document:
    """The summary; ``address``: where the collector's pages are; ``issued``: RFC 3339."""
    name = _called(lang, found.subject.zh, found.subject.en)
    final = not found.missing and not found.unread and all(one.locked for one in found.members)
    return Document(
        title=messages.text("report.city.title", lang, name=name),
        subtitle=found.period,
        language=lang,
        cover=(
            (messages.text("report.cover.subject", lang), f"{name} ({found.subject.id})"),
            (messages.text("report.cover.minted", lang), moment(issued)),
        ),
        parts=tuple(_parts(found, lang, address)),
        footer=f"tanmeter · {found.subject.id} · {found.period}",
        draft="" if final else messages.text("report.state.provisional", lang),
        issued=issued,
    )


def _parts(found: Boundary, lang: Language, address: str) -> Iterator[Part]:
    say = messages.text
    yield Heading(1, say("report.city.one", lang))
    yield Paragraph(_summary(found, lang))
    if found.missing:
        names = _named(found.missing, lang)
        yield Paragraph(say("report.city.missing", lang, count=len(found.missing), names=names))
    if found.unread:
        names = _named(found.unread, lang)
        yield Paragraph(say("report.city.unread", lang, count=len(found.unread), names=names))
    yield _headlines(found.headlines, lang)
    yield _bridge(found.bridge, lang)
    yield Heading(1, say("report.city.two", lang))
    yield _tree(found.bridge, lang)
    yield Heading(1, say("report.city.three", lang))
    yield _members(found.members, lang, address)
    yield Paragraph(say("report.city.note", lang), "note")
    yield from _beside(found, lang)


def _named(subjects: Sequence[tuple[str, str, str]], lang: Language) -> str:
    names = "、".join(f"{id_} {_called(lang, zh, en)}" for id_, zh, en in subjects[:NAMED])
    return names + ("" if len(subjects) <= NAMED else " …")


def _beside(found: Boundary, lang: Language) -> Iterator[Part]:
    """What moved, what warns, and why figures are provisional."""
    say = messages.text
    yield Heading(1, say("report.city.four", lang))
    if found.movers:
        rows = [(text(_called(lang, one.zh, one.en)), amount(one.percent), amount(one.tco2e)) for one in found.movers]
        yield _table("movers", ("subject", "percent", "tco2e"), rows, (4, 1, 1), lang)
    if found.warnings:
        told = [(text(who), text(what)) for who, what in found.warnings]
        yield _table("warnings", ("subject", "warning"), told, (1, 5), lang, numbers=False)
    else:
        yield Paragraph(say("warning.none", lang))
    if found.reasons:
        counted = [(text(say(name, lang)), text(str(count))) for name, count in found.reasons.items()]
        yield _table("reasons", ("cause", "accounts"), counted, (5, 1), lang)


def _summary(found: Boundary, lang: Language) -> str:
    shares = {"locked": found.locked, "measured": found.measured, "estimated": found.estimated}
    return messages.text(
        "report.city.summary",
        lang,
        count=len({one.reference.rpartition("@")[0] for one in found.members}),
        net=amount(found.bridge.net).text,
        **{name: "—" if share is None else amount(share * 100, 1).text for name, share in shares.items()},
    )


def _headlines(found: Headlines, lang: Language) -> Table:
    """Table 1: each indicator, or why there is none."""
    say = messages.text
    rows = [_headline(say("indicator.total", lang), found.total.tco2e, "tCO2e", found.total.reasons, lang)]
    for one in found.intensities:
        label = f"{say('indicator.intensity', lang)} {one.product or say(f'page.denominator.{one.kind}', lang)}"
        rows.append(_headline(label, one.value, one.unit, one.reasons, lang, places=4))
    for change in found.changes:
        label = say(f"indicator.change.{change.against}", lang)
        rows.append(_headline(label, change.percent, "%", change.reasons, lang))
    reduction = found.reduction
    rows.append(_headline(say("indicator.reduction", lang), reduction.tco2e, "tCO2e", reduction.reasons, lang))
    rows.append(_headline(say("report.city.ledger", lang), reduction.ledger, "tCO2e", (), lang))
    head = tuple(say(f"report.column.{name}", lang) for name in ("leaf", "value", "unit", "cause"))
    align: tuple[Align, ...] = ("left", "right", "left", "left")
    return Table(say("report.table.headlines", lang), head, tuple(rows), align, (4, 2, 2, 6))


def _headline(
    label: str, value: Decimal | None, unit: str, reasons: Sequence[str], lang: Language, *, places: int = 2
) -> tuple[Cell, ...]:
    why = "; ".join(messages.text(reason, lang) for reason in reasons)
    return text(label), amount(value, places), text(unit), text(why)


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
        mark = "" if node.in_standard or not node.leaf else f"（{messages.text('page.city.extension', lang)}）"
        rows.append((text("\u3000" * (node.level - 1) + _called(lang, node.zh, node.en) + mark), amount(value)))
    return _table("tree", ("leaf", "tco2e"), rows, (4, 1), lang)


def _members(found: Sequence[Member], lang: Language, address: str) -> Table:
    ordered = sorted(found, key=lambda one: one.tco2e, reverse=True)
    rows = [_member(one, lang, f"{address}/accounts/{one.reference}") for one in ordered]
    names = ("subject", "account", "status", "quality", "digest", "tco2e")
    head = tuple(messages.text(f"report.column.{name}", lang) for name in names)
    align: tuple[Align, ...] = ("left", "left", "left", "right", "left", "right")
    return Table(messages.text("report.table.members", lang), head, tuple(rows), align, (4, 3, 2, 2, 3, 2))


def _member(one: Member, lang: Language, page: str) -> tuple[Cell, ...]:
    return (
        text(_called(lang, one.zh, one.en), page),
        text(one.reference, page),
        text(messages.text(f"report.state.{'locked' if one.locked else 'provisional'}", lang)),
        amount(None if one.measured is None else one.measured * 100, 1),
        text(one.digest[:16], page),
        amount(one.tco2e),
    )


def _table(
    name: str, head: Sequence[str], rows: Sequence[tuple[Cell, ...]], widths: tuple[int, ...], lang: Language, *,
    numbers: bool = True,
) -> Table:  # fmt: skip
    """A table whose first column is words, and the others numbers."""
    align: tuple[Align, ...] = ("left", *("right" if numbers else "left" for _ in head[1:]))
    shown = tuple(messages.text(f"report.column.{one}", lang) for one in head)
    return Table(messages.text(f"report.table.{name}", lang), shown, tuple(rows), align, widths)


def _called(lang: Language, zh: str, en: str) -> str:
    return zh if lang == "zh" else en
