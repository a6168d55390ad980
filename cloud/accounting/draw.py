"""Draws an inventory up: a subject, a method, a period and all activity of it in, one content out. Pure."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from msgspec import UNSET, UnsetType

from cloud.accounting import beside, calculate, days, factors, inventory, offsets, overrides, standing
from cloud.accounting.calculate import Known
from cloud.accounting.factors import FactorSet
from cloud.accounting.given import Entry, Programme
from cloud.accounting.inventory import Filled, Inventory
from cloud.accounting.library import Library
from cloud.accounting.line import ENGINE, Line
from cloud.accounting.method import Method
from cloud.accounting.period import Period, stamp
from cloud.accounting.statement import Coverage, Span
from cloud.accounting.subject import Subject
from protocols.errors import AccountError, ActivityError, MethodError

PLAIN = Coverage(0, 0)
"""Of an account without a meter."""
BEFORE = "account/2"
"""The engine that did not tell what is left out."""
LINES = {BEFORE: "lines/1", inventory.ENGINE: ENGINE}
"""Which engine of lines belongs to which of accounts."""
TOLD_BY_LINE = (calculate.ESTIMATED, calculate.UNDOCUMENTED)
"""Reasons that are named by the line they are of and its first day."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is known of the activity: entries in any order, and how whole the metered part is.

    ``through`` (UTC ms): how far the figures go. ``reasons``: why it is provisional beyond what the lines say.
    """

    entries: tuple[Entry, ...]
    through: int
    coverage: Coverage = PLAIN
    filled: tuple[Filled, ...] = ()
    reasons: tuple[str, ...] = ()


def draw(
    subject: Subject,
    method: Method,
    period: Period,
    library: Library,
    drawn: Drawn,
    *,
    subject_sha256: str = "",
    shared: Known | None = None,
    engine: str = inventory.ENGINE,
) -> Inventory:
    """The inventory, with what the subject chose from the library; MethodError for a method that is not in force,
    AccountError without any activity.

    ActivityError, UnitError and FactorError say what does not fit in it. ``shared``: as in ``calculate.lines``.
    ``engine``: an older one draws up what it drew up; AccountError for one that is not known here.
    """
    _check(f"{subject.id}, {period.id}", drawn.entries, engine)
    _within(drawn.entries, method, period)
    used = overrides.in_use(library, subject, method, *period.days())
    programme = Programme(subject.id, used.factors, subject.region, subject.basis, subject.gwp or "", LINES[engine])
    found = tuple(calculate.lines(used.method, sorted(drawn.entries, key=_order(method)), programme, shared))
    left_out = () if engine == BEFORE else days.left_out(found, period, drawn.through, subject.in_use)
    return Inventory(
        schema="tanmeter-account/2",
        subject=subject.id,
        name_zh=subject.zh,
        name_en=subject.en,
        kind=subject.kind,
        period=_span(period, drawn.through),
        programme=method.programme,
        method=method.id,
        edition=method.edition,
        method_sha256=method.sha256,
        factor_set=used.factors.sha256,
        parameter_sets=dict(used.sets),
        basis=subject.basis,
        region=subject.region,
        gwp_set=subject.gwp or method.gwp,
        lines=found,
        totals=inventory.totals(found),
        coverage=drawn.coverage,
        estimated=inventory.estimated(found),
        reasons=_reasons(drawn, found, left_out=bool(left_out)),
        filled=drawn.filled,
        subject_sha256=subject_sha256,
        engine=engine,
        factor_files=_files(used.factors),
        adoptions=_adoptions(found, library),
        left_out=left_out or UNSET,
    )


def _reasons(drawn: Drawn, found: Sequence[Line], *, left_out: bool) -> tuple[str, ...]:
    """Why it is provisional: what the lines say, and what only all of them together do; each once, in order."""
    of_lines = (reason for line in found for reason in line.reasons)
    whole = (
        (beside.BESIDE, beside.untold(drawn.entries)),
        (offsets.BEYOND, offsets.beyond(found)),
        (days.LEFT_OUT, left_out),
    )
    return tuple(dict.fromkeys((*drawn.reasons, *of_lines, *(reason for reason, holds in whole if holds))))


def unconfirmed(content: Inventory) -> tuple[str, ...]:
    """Everything that keeps it from being locked as complete, by name: drafts, estimates, gaps, earlier years.

    ``factor.draft: ndrc-24-2015-fuels:NCV.natural_gas`` and the like, each once, in order.
    """
    return tuple(dict.fromkeys((*_of_lines(content.lines), *_of_the_whole(content))))


def concerned(content: Inventory) -> dict[str, list[str]]:
    """What each reason concerns that whoever keeps the documents can put right: words alone, and days left out."""
    told = inventory.by_reason(unconfirmed(content))
    return {reason: told[reason] for reason in (calculate.UNDOCUMENTED, days.LEFT_OUT) if reason in told}


def _files(known: FactorSet) -> dict[str, str] | UnsetType:
    if known.sha256 == factors.builtin().sha256:
        return UNSET
    return {name: _sha256(source) for name, source in known.files.items()}


@lru_cache(maxsize=64)
def _sha256(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()


def _adoptions(lines: Iterable[Line], library: Library) -> dict[str, str] | UnsetType:
    """The adoptions that a line names, with their digests."""
    named = {one.adoption for line in lines for one in line.parameters} | {
        name for line in lines for name in line.adoptions or ()
    }
    return {one.id: one.sha256 for one in library.adoptions if one.id in named} or UNSET


def _of_lines(lines: Iterable[Line]) -> Iterator[str]:
    for line in lines:
        for reason in line.reasons:
            if reason == calculate.DRAFT_METHOD:
                yield f"{reason}: {line.method} {line.row}"
            elif reason in TOLD_BY_LINE:
                yield f"{reason}: {line.id} {line.start}"
        for used in line.parameters:
            if used.status == "DRAFT" and used.tier == "measured":
                yield f"{calculate.UNPROVED}: {line.id}.{used.symbol} ({used.document})"
            elif standing.provisional(used.status):
                yield f"{calculate.DRAFT_FACTOR}: {used.id}"


def _of_the_whole(content: Inventory) -> Iterator[str]:
    told = {*TOLD_BY_LINE, calculate.DRAFT_FACTOR, calculate.UNPROVED, calculate.DRAFT_METHOD}
    for reason in content.reasons:
        if reason == beside.BESIDE:
            yield from (f"{reason}: {pair}" for pair in beside.pairs(content.lines))
        elif reason == days.LEFT_OUT:
            yield from (f"{reason}: {name}" for name in days.named(content))
        elif reason not in told:
            yield reason


def _check(name: str, entries: Sequence[Entry], engine: str) -> None:
    """There is activity, and the engine is one of ours."""
    if not entries:
        raise AccountError(f"{name}: found no activity, expected a meter that was read or a document")
    if engine not in LINES:
        raise AccountError(f"{name}: found the engine {engine}, expected {' or '.join(LINES)}")


def _within(entries: Iterable[Entry], method: Method, period: Period) -> None:
    """Entries lie in the period, and the method is in force over it."""
    first, last = period.days()
    if not method.in_force(first, last):
        until = "" if method.effective_until is None else f" until {method.effective_until}"
        force = f"from {method.effective_from}{until}"
        raise MethodError(f"method {method.id}: found the period {period.id}, expected one it is in force for: {force}")
    for entry in entries:
        if entry.start < first or entry.end > last:
            raise ActivityError(
                f"{entry.name}: found {entry.start} to {entry.end}, expected it within {first} to {last}:"
                " cut what lies across two periods at the end of the first"
            )


def _order(method: Method) -> Callable[[Entry], tuple[int, str, str, date]]:
    rows = {row: index for index, row in enumerate(method.rows)}
    return lambda entry: (rows.get(entry.row, len(rows)), entry.item, entry.label, entry.start)


def _span(period: Period, through: int) -> Span:
    return Span(
        id=period.id,
        start=stamp(period.start, period.zone),
        end=stamp(period.end, period.zone),
        timezone=period.zone.key,
        through=stamp(through, period.zone),
    )
