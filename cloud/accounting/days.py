"""Which part of a period the activity of a source is of, and which days its lines leave out. Pure.

A source is a row, item and label: what one line id names. It owes every day of the period but

- those on which the subject file says that it, or all of the subject, was not in use;
- those before its first line or after its last one where that line is metered: there the subject file begins or ends
  the meter. Days between its lines are owed whatever they rest on.

Only what adds to a figure owes days: leaving days of a deduction out never lowers one. A source without any line has no
days to name: the accounts before tell that it is absent.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_FLOOR, Decimal

from cloud.accounting import period as periods
from cloud.accounting.inventory import Inventory, LeftOut
from cloud.accounting.line import Line
from cloud.accounting.period import Period
from cloud.accounting.statement import plain
from cloud.accounting.subject import ZONE, InUse, Subject
from cloud.accounting.units import ARITHMETIC

LEFT_OUT = "activity.left-out"
"""Why an inventory stays provisional: a source has no activity for some days of the period."""
DAY_MS = 86_400_000
PLACES = Decimal("0.01")
Span = tuple[int, int]
"""Half open; days or milliseconds."""


@dataclass(frozen=True, slots=True)
class Covered:
    """Days of the period that a line's activity is of, rounded down to hundredths, and how many the period has.

    ``owing``: the rest is owed, in part at least; else the source was not there.
    """

    days: Decimal
    of: int
    owing: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is the whole period."""
        return self.days == self.of


def left_out(lines: Iterable[Line], period: Period, through: int, in_use: Sequence[InUse]) -> tuple[LeftOut, ...]:
    """The days that each source leaves out, in the order of the lines; of a period that runs up to ``through``'s."""
    first, last = period.days()[0].toordinal(), periods.day(min(through, period.end), ZONE).toordinal()
    edges = period.days()[0].isoformat(), period.days()[1].isoformat()
    sources: dict[str, list[Line]] = {}
    for line in lines:
        if line.sign == 1 and (line.start, line.end) != edges:
            sources.setdefault(line.id, []).append(line)
    return tuple(
        LeftOut(name, date.fromordinal(start).isoformat(), date.fromordinal(end).isoformat())
        for name, own in sources.items()
        for start, end in _without((first, last), [*map(_days, own), *_excused(own, (first, last), in_use)])
    )


def absent(account: Inventory, earlier: Iterable[Inventory], subject: Subject) -> Iterator[tuple[str, str]]:
    """The sources of a subject's earlier accounts that this one has no line of, each with the period that has it.

    Not those that were in use on none of its days, and not those whose meter the subject file ends before it.
    """
    first, last = (date.fromisoformat(text[:10]) for text in (account.period.start, account.period.end))
    period, told = (first.toordinal(), last.toordinal()), {line.id for line in account.lines}
    for other in earlier:
        for line in other.lines:
            if line.sign != 1 or line.tco2e <= 0 or line.subject != account.subject or line.id in told:
                continue
            told.add(line.id)
            unused = [day for spans in _used(line, subject.in_use).values() for day in _without(period, spans)]
            if not _is_taken_out(line, subject, first) and any(_without(period, unused)):
                yield line.id, other.period.id


def _is_taken_out(line: Line, subject: Subject, first: date) -> bool:
    """Whether the subject file says that the meters of a line had been taken out by then."""
    own = [one for one in subject.meter if (one.row, one.item, one.label) == (line.row, line.item, line.label)]
    return bool(own) and all(one.until is not None and one.until <= first for one in own)


def covered(line: Line, content: Inventory) -> Covered:
    """How much of the period a line is of: its days less the time of its meters that no rule fills."""
    start, end = (periods.midnight(date.fromisoformat(day), ZONE) for day in (line.start, line.end))
    gaps = [
        (periods.instant(gap.start), periods.instant(gap.end))
        for gap in content.filled
        if gap.line == line.id and gap.value is None
    ]
    known = sum(last - first for first, last in _without((start, end), gaps))
    days = ARITHMETIC.divide(Decimal(known), Decimal(DAY_MS)).quantize(PLACES, rounding=ROUND_FLOOR)
    first, last = (date.fromisoformat(text[:10]) for text in (content.period.start, content.period.end))
    owing = bool(gaps) or any(one.line == line.id for one in content.left_out or ())
    return Covered(plain(days), (last - first).days, owing)


def named(content: Inventory) -> Iterator[str]:
    """What is left out, each source with its days: ``24-01/natural_gas 2026-10-21--2026-11-01``."""
    for one in content.left_out or ():
        yield f"{one.line} {one.start}--{one.end}"


def _excused(own: Sequence[Line], period: Span, in_use: Sequence[InUse]) -> Iterator[Span]:
    """The days that a source does not owe."""
    earliest, latest = min(own, key=_days), max(own, key=lambda line: _days(line)[1])
    if earliest.meters:
        yield period[0], _days(earliest)[0]
    if latest.meters:
        yield _days(latest)[1], period[1]
    for spans in _used(own[0], in_use).values():
        yield from _without(period, spans)


def _used(line: Line, in_use: Sequence[InUse]) -> Mapping[tuple[str, str, str], list[Span]]:
    """The days on which a source was in use as far as it is said: of it, of its kind, and of all of the subject."""
    found: dict[tuple[str, str, str], list[Span]] = {}
    for one in in_use:
        pairs = ((one.row, line.row), (one.item, line.item), (one.label, line.label))
        if all(said in ("", own) for said, own in pairs):
            since, until = one.since or date.min, one.until or date.max
            found.setdefault((one.row, one.item, one.label), []).append((since.toordinal(), until.toordinal()))
    return found


def _without(whole: Span, taken: Iterable[Span]) -> Iterator[Span]:
    """What of a span is in none of these."""
    at, end = whole
    for start, until in sorted(taken):
        if at < min(start, end):
            yield at, min(start, end)
        at = max(at, until)
    if at < end:
        yield at, end


def _days(line: Line) -> Span:
    return date.fromisoformat(line.start).toordinal(), date.fromisoformat(line.end).toordinal()
