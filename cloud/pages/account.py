"""What the pages of an account show: an enterprise's month, its sources and what changed; one line and its proof."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cloud.accounting import days, feeds, headline, replayed, worked
from cloud.accounting import method as methods
from cloud.accounting.checks import Finding
from cloud.accounting.days import Covered
from cloud.accounting.draw import concerned
from cloud.accounting.energy import Consumption, consumption
from cloud.accounting.inventory import Version, account_id, by_reason, part
from cloud.accounting.line import Line
from cloud.accounting.quality import Quality, quality
from cloud.accounting.statement import plain
from cloud.accounting.subject import Subject
from cloud.accounting.uncertainty import GAP, Uncertainty, uncertainty
from cloud.accounting.units import ARITHMETIC
from cloud.accounting.warning import Alarm
from cloud.pages import render
from cloud.report.enterprise import leaf_name
from protocols import messages
from protocols.messages import Language

MOST_BARS = 24
MOST_SERIES = 6
"""Sources that a chart tells apart; the smaller ones are drawn together."""
GROUPS = ("direct", "fixed", "indirect", "offset")


@dataclass(frozen=True, slots=True)
class Source:
    """One source of the guideline in this account: what it emitted, and of which part of the total it is."""

    row: str
    name: str
    group: str
    tco2e: Decimal
    lines: int


@dataclass(frozen=True, slots=True)
class Bar:
    """One period in the chart by source. ``values`` in the order of the series; None where it has no such source."""

    period: str
    reference: str
    values: tuple[Decimal | None, ...]
    locked: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the waterfall: from ``base`` it rises by ``change`` (below 0: falls)."""

    name: str
    base: Decimal
    change: Decimal
    whole: bool


@dataclass(frozen=True, slots=True)
class Intensity:
    """Emissions per unit of a denominator of the same period; ``name`` says of what."""

    value: Decimal
    unit: str
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a cross-check found, and what to do about it."""

    about: str
    text: str
    todo: str
    severity: str
    blocks: bool


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning that is not over. ``name``: of its subject, in the reader's language; ``since``: by the clock there."""

    id: str
    subject: str
    name: str
    text: str
    state: str
    critical: bool
    since: str


def findings(found: Iterable[Finding], lang: Language) -> tuple[Found, ...]:
    """What cross-checks found, in the reader's words."""
    return tuple(
        Found(
            about=one.about,
            text=render.finding(f"check.{one.id}", lang, one.figures),
            todo=messages.text(f"check.{one.id}.do", lang),
            severity=messages.text(f"check.severity.{one.severity}", lang),
            blocks=one.severity == "block",
        )
        for one in found
    )


def warned(found: Iterable[Alarm], known: Mapping[str, Subject], lang: Language) -> tuple[Warned, ...]:
    """Warnings in the reader's words; ``known``: the subjects they may be of, by id."""
    return tuple(
        Warned(
            id=one.id,
            subject=one.subject,
            text=render.finding(one.message, lang, one.figures),
            name=_name(known, one.subject, lang),
            state=" · ".join(messages.text(f"warning.state.{state}", lang) for state in _states(one)),
            critical=one.critical,
            since=one.since[:16].replace("T", " "),
        )
        for one in found
    )


def _states(one: Alarm) -> Iterator[str]:
    """How it stands: a critical one that somebody has acknowledged is both."""
    if one.critical:
        yield "critical"
    if not one.critical or one.state == "acknowledged":
        yield one.state


def _name(known: Mapping[str, Subject], subject: str, lang: Language) -> str:
    held = known.get(subject)
    return subject if held is None else held.zh if lang == "zh" else held.en


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account's page. ``before``: the account of the period before, where there is one.

    ``reasons``: why it is provisional, or what it was locked with.
    """

    version: Version
    name: str
    quality: Quality | None
    change: Decimal | None
    incomparable: tuple[str, ...]
    uncertainty: Uncertainty
    improve: str
    energy: Consumption
    before: Version | None
    sources: tuple[Source, ...]
    series: tuple[str, ...]
    bars: tuple[Bar, ...]
    steps: tuple[Step, ...]
    intensities: tuple[Intensity, ...]
    reasons: tuple[str, ...]
    versions: tuple[Version, ...]


def view(
    version: Version, subject: Subject, history: Sequence[Version], versions: Sequence[Version], lang: Language
) -> AccountView:
    """The page of a version. ``history``: the subject's newest versions of periods of its kind, oldest first."""
    content = version.content
    earlier = [one for one in history if one.content.period.end <= content.period.start]
    before = earlier[-1] if earlier else None
    moved = None if before is None else headline.change([content], [before.content], "mom")
    spread = uncertainty(content.lines)
    names = _series(history or [version], lang)
    other = messages.text("page.account.other", lang)
    return AccountView(
        version=version,
        name=content.name_zh if lang == "zh" else content.name_en,
        quality=quality(content.lines),
        change=None if moved is None or moved.percent is None else moved.percent.scaleb(-2),
        incomparable=() if moved is None else tuple(_said(reason, lang) for reason in moved.reasons),
        uncertainty=spread,
        improve=_improve(spread),
        energy=consumption(content.lines),
        before=before,
        sources=sources(content.lines, lang),
        series=(*names, other) if len(_all_sources(history, lang)) > len(names) else names,
        bars=tuple(_bar(one, names, len(_all_sources(history, lang)) > len(names), lang) for one in history),
        steps=() if before is None else steps(before, version, lang),
        intensities=tuple(intensities(version, subject, lang)),
        reasons=tuple(_why(version, lang)),
        versions=tuple(versions),
    )


def intensities(version: Version, subject: Subject, lang: Language) -> Iterator[Intensity]:
    """The total per unit of each denominator that is known for just this period."""
    for one in subject.denominator:
        if one.period == version.content.period.id:
            value = ARITHMETIC.divide(version.content.totals.total, one.quantity.value)
            name = one.product or messages.text(f"page.denominator.{one.kind}", lang)
            yield Intensity(value, f"tCO₂e/{one.quantity.unit.text}", name)


def sources(lines: Sequence[Line], lang: Language) -> tuple[Source, ...]:
    """By source, greatest first; memo and reduction lines last."""
    found: dict[str, Source] = {}
    for line in lines:
        held = found.get(line.row)
        tco2e = line.tco2e if held is None else ARITHMETIC.add(held.tco2e, line.tco2e)
        found[line.row] = Source(
            line.row, name_of(line, lang), part(line.class_), tco2e, 1 if held is None else held.lines + 1
        )
    return tuple(sorted(found.values(), key=lambda one: (one.group not in GROUPS, -abs(one.tco2e))))


def name_of(line: Line, lang: Language) -> str:
    """What the method calls a line's source; its report cell where the method is not known here."""
    known = methods.builtin().get(line.method)
    found = known.rows.get(line.row) if known else None
    return line.report if found is None else found.zh if lang == "zh" else found.en


def item_of(line: Line, lang: Language) -> str:
    """What the method calls a line's item, else its label."""
    known = methods.builtin().get(line.method)
    found = known.rows.get(line.row) if known else None
    if known is None or found is None or not line.item:
        return line.item or line.label
    named = known.items(found).get(line.item)
    return line.item if named is None else named.zh if lang == "zh" else named.en


def steps(before: Version, after: Version, lang: Language) -> tuple[Step, ...]:
    """From one total to the other, source by source, the greatest changes first and the small ones together."""
    old, new = ({one.name: one.tco2e for one in _counted(version, lang)} for version in (before, after))
    moved = [(name, new.get(name, Decimal(0)) - old.get(name, Decimal(0))) for name in {**old, **new}]
    ordered = sorted((one for one in moved if one[1]), key=lambda one: -abs(one[1]))
    kept, rest = ordered[:MOST_SERIES], sum((change for _, change in ordered[MOST_SERIES:]), Decimal(0))
    if rest:
        kept.append((messages.text("page.account.other", lang), rest))
    at = before.content.totals.total
    found = [Step(before.content.period.id, Decimal(0), at, whole=True)]
    for name, moves in kept:
        found.append(Step(name, at, moves, whole=False))
        at = ARITHMETIC.add(at, moves)
    return (*found, Step(after.content.period.id, Decimal(0), after.content.totals.total, whole=True))


@dataclass(frozen=True, slots=True)
class Row:
    """A subject in the list, by its newest account. ``running``: that of the month that runs, if any."""

    subject: str
    name: str
    kind: str
    method: str
    period: str
    reference: str
    total: Decimal
    state: str
    letter: str
    running: str


def row(version: Version, month: str, lang: Language) -> Row:
    """A version as a row of the list; ``month``: the one that runs, where meters tell of it."""
    content, graded = version.content, quality(version.content.lines)
    return Row(
        subject=content.subject,
        name=content.name_zh if lang == "zh" else content.name_en,
        kind=content.kind,
        method=content.method,
        period=content.period.id,
        reference=version.reference,
        total=content.totals.total,
        state=version.state,
        letter=graded.letter if graded else "–",
        running=account_id(content.subject, month) if month else "",
    )


@dataclass(frozen=True, slots=True)
class LineView:
    """One line's page. ``repeats``: worked out again from its own record it comes out the same; ``worked``: how.

    ``increments``: of each metered activity its registers, the blocks that hold them, the statements that prove them.
    ``covers``: the days of the period that it is of.
    """

    line: Line
    covers: Covered
    name: str
    item: str
    reference: str
    repeats: bool
    worked: str
    increments: tuple[Mapping[str, Any], ...]
    reasons: tuple[str, ...]
    document: str
    leaf: str


def line_view(version: Version, line: Line, increments: Sequence[Mapping[str, Any]], lang: Language) -> LineView:
    """Where a line comes from: its formula, values, registers and method."""
    known = methods.builtin().get(line.method)
    return LineView(
        line=line,
        covers=days.covered(line, version.content),
        name=name_of(line, lang),
        item=item_of(line, lang),
        reference=version.reference,
        repeats=plain(replayed.tonnes(line, replayed.values(line))) == line.tco2e,
        worked=worked.formula(line),
        increments=tuple(increments),
        reasons=tuple(_said(reason, lang) for reason in line.reasons),
        document=known.document if known else "",
        leaf=leaf_name(line.leaf, lang),
    )


def _counted(version: Version, lang: Language) -> list[Source]:
    return [one for one in sources(version.content.lines, lang) if one.group in GROUPS]


def _all_sources(history: Sequence[Version], lang: Language) -> set[str]:
    return {one.name for version in history for one in _counted(version, lang)}


def _series(history: Sequence[Version], lang: Language) -> tuple[str, ...]:
    """The names of the greatest sources over the whole chart."""
    sums: dict[str, Decimal] = {}
    for version in history:
        for one in _counted(version, lang):
            sums[one.name] = sums.get(one.name, Decimal(0)) + abs(one.tco2e)
    return tuple(sorted(sums, key=lambda name: -sums[name])[:MOST_SERIES])


def _bar(version: Version, names: Sequence[str], more: bool, lang: Language) -> Bar:
    found: dict[str, Decimal] = {}
    for one in _counted(version, lang):
        found[one.name] = found.get(one.name, Decimal(0)) + one.tco2e
    values = [found.pop(name, None) for name in names]
    if more:
        values.append(sum(found.values(), Decimal(0)) if found else None)
    return Bar(version.content.period.id, version.reference, tuple(values), version.state == "locked")


def _improve(spread: Uncertainty) -> str:
    """The meter that adds most to what is unsure, as device.point; "" where no meter does."""
    found = spread.improve
    place = None if found is None else feeds.place(found.key.removeprefix(GAP).partition(" + ")[0])
    return "" if place is None else f"{place.device}.{place.point}"


def _why(version: Version, lang: Language) -> Iterator[str]:
    """Why a version is provisional; of one that was locked with exceptions each of them with what it concerns."""
    if not version.exceptions:
        told = concerned(version.content)
        yield from (_said(reason, lang, told.get(reason, ())) for reason in version.content.reasons)
    for reason, names in by_reason(version.exceptions).items():
        yield _said(reason, lang, names)


def _said(reason: str, lang: Language, names: Sequence[str] = ()) -> str:
    known = messages.catalogue().get(reason)
    said = known[lang] if known and "{" not in known[lang] else reason
    return f"{said}: {' · '.join(names)}" if names else said
