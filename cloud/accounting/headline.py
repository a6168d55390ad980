"""Table 1's four indicators of a subject over a period: total, intensity, change, reduction; or why there is none.

Figures are sums of whole accounts that tile the period. An intensity is one ratio of sums, never a mean of ratios. A
change is between equal stretches over the same meters, split into activity, factor (with its vintage), method and
boundary; where they are not equal it is not comparable and says why. A reduction is against a frozen baseline that a
document proves, beside the ledger's own, and neither enters a total. ``reasons`` are message ids.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Literal, TypeVar

import msgspec

from cloud.accounting import effects, feeds
from cloud.accounting import period as periods
from cloud.accounting.inventory import Difference, Inventory
from cloud.accounting.line import Line
from cloud.accounting.period import Period
from cloud.accounting.statement import plain
from cloud.accounting.subject import ZONE, Baseline, Denominator, DenominatorKind
from cloud.accounting.units import ARITHMETIC
from drivers.quantity import EXACT
from protocols.errors import AccountError

STANDING: tuple[DenominatorKind, ...] = ("area", "population")
"""What stands all the time: a mean over the days, where an output is a sum."""
Against = Literal["yoy", "mom"]

INCOMPLETE = "indicator.incomplete"
NO_DENOMINATOR = "indicator.no-denominator"
NO_PREVIOUS = "indicator.no-previous"
STILL_OPEN = "indicator.open"
OTHER_MONTHS = "indicator.months"
OTHER_METERS = "indicator.meters"
LEFT_OUT = "indicator.days"
OTHER_BASIS = "indicator.basis"
NOTHING_BEFORE = "indicator.zero"
NO_BASELINE = "indicator.no-baseline"
UNPROVED = "indicator.unproved-baseline"
OTHER_METHOD = "indicator.other-method"
_ZERO = Decimal(0)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Total:
    """tCO2e over a period; None with the reason where accounts are missing. ``accounts`` by their period.

    A figure with a reason is the sum of what there is, and nothing is divided or compared with it.
    """

    tco2e: Decimal | None
    accounts: tuple[str, ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Extent:
    """What of an account says how it compares. ``days``: half open; ``unfinished``: it does not reach its end yet;
    ``left_out``: a source has no activity for some of its days.
    """

    days: tuple[date, date]
    tco2e: Decimal
    meters: frozenset[str]
    basis: str
    unfinished: bool
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class Intensity:
    """tCO2e for each ``unit`` of ``kind`` (and ``product``). ``documents``: what the denominator rests on."""

    kind: DenominatorKind
    product: str
    value: Decimal | None
    unit: str
    denominator: Decimal | None
    uncertainty: Decimal | None
    documents: tuple[str, ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """After less before, tCO2e, and in percent of before; both None where it is not comparable, as ``reasons`` say.

    ``percent`` alone is None where nothing was before. ``difference``: how it splits, where that was asked for.
    ``meters``: which are in one of them only.
    """

    against: Against
    before: Decimal | None
    after: Decimal | None
    tco2e: Decimal | None
    percent: Decimal | None
    difference: Difference | None
    meters: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reduction:
    """Baseline less actual, tCO2e, and what the ledger of reductions says itself; above 0 is less emitted."""

    baseline: str
    method: str
    frozen: Decimal | None
    tco2e: Decimal | None
    ledger: Decimal
    reasons: tuple[str, ...] = ()


def over(accounts: Iterable[Inventory], period: Period) -> list[Inventory]:
    """The accounts that tile a period, in order; empty where they do not. The period's own goes before its parts."""
    found, whole = tiled(accounts, span, period)
    return found if whole else []


def tiled(items: Iterable[T], days: Callable[[T], tuple[date, date]], period: Period) -> tuple[list[T], bool]:
    """What lies in a period without overlap, longest first from each day on, and whether that is all of it."""
    first, last = period.days()
    found: list[T] = []
    at, whole = first, True
    for one in sorted(items, key=lambda one: (days(one)[0], -days(one)[1].toordinal())):
        start, end = days(one)
        if start >= at and end <= last:
            whole = whole and start == at
            found.append(one)
            at = end
    return found, whole and at == last


def total(accounts: Sequence[Inventory], period: Period) -> Total:
    """What was emitted over a period."""
    tiles = over(accounts, period)
    if not tiles:
        return Total(None, (), (INCOMPLETE,))
    reasons = (LEFT_OUT,) if any(one.left_out for one in tiles) else ()
    return Total(_sum(one.totals.total for one in tiles), tuple(one.period.id for one in tiles), reasons)


def intensity(
    accounts: Sequence[Inventory], denominators: Iterable[Denominator], period: Period, kind: DenominatorKind, *,
    product: str = "",
) -> Intensity:  # fmt: skip
    """Total over what was made, earned, inhabited or driven in the same days."""
    return ratio(total(accounts, period), denominators, period, kind, product)


def ratio(
    tco2e: Total, denominators: Iterable[Denominator], period: Period, kind: DenominatorKind, product: str = ""
) -> Intensity:
    """A total over a denominator of the same days."""
    own = [one for one in denominators if (one.kind, one.product) == (kind, product)]
    found = _denominator(own, period)
    unit = f"tCO2e/{own[0].quantity.unit.text}" if own else ""
    if found is None or tco2e.tco2e is None or tco2e.reasons:
        reasons = (*(() if found else (NO_DENOMINATOR,)), *tco2e.reasons)
        return Intensity(kind, product, None, unit, None, None, (), reasons)
    amount, percent, documents = found
    return Intensity(kind, product, ARITHMETIC.divide(tco2e.tco2e, amount), unit, plain(amount), percent, documents)


def change(after: Sequence[Inventory], before: Sequence[Inventory], against: Against) -> Change:
    """From one period's accounts to another's (each as ``over`` gives them), over equal coverage or not at all."""
    found = compared([extent(one) for one in after], [extent(one) for one in before], against)
    if found.tco2e is None:
        return found
    split = _together([effects.difference(_moved(old, new), new) for old, new in zip(before, after, strict=True)])
    return replace(found, difference=split)


def between(before: Inventory, after: Inventory) -> Difference:
    """What one account of a subject says beyond another, of the same days or of as many months before or after.

    AccountError for accounts of two subjects, or of stretches that are not alike.
    """
    if before.subject != after.subject:
        raise AccountError(f"accounts: found {before.subject} and {after.subject}, expected two of one subject")
    (first, last), (start, end) = span(before), span(after)
    months = _months(first, start)
    if (_shifted(first, months), _shifted(last, months)) != (start, end):
        found = f"{before.period.id} and {after.period.id}"
        raise AccountError(f"accounts: found {found}, expected the same days, or as many whole months")
    return effects.difference(_moved(before, after) if months else before, after)


def compared(after: Sequence[Extent], before: Sequence[Extent], against: Against) -> Change:
    """The same change without its split, which alone needs the lines of the accounts."""
    now = _sum(one.tco2e for one in after) if after else None
    then = _sum(one.tco2e for one in before) if before else None
    known = [frozenset[str]().union(*(one.meters for one in each)) for each in (after, before)]
    meters = tuple(sorted(known[0] ^ known[1]))
    reasons = tuple(_unequal(after, before, against, meters))
    if reasons or now is None or then is None:
        return Change(against, then, now, None, None, None, meters, reasons)
    moved = EXACT.subtract(now, then)
    percent = ARITHMETIC.divide(moved * 100, then) if then > 0 else None
    return Change(against, then, now, plain(moved), percent, None, (), () if then > 0 else (NOTHING_BEFORE,))


def reduction(accounts: Sequence[Inventory], baselines: Iterable[Baseline], period: Period) -> Reduction:
    """Against the baseline of the same days of a year; only by the same method, with its document's digest, and where
    no source leaves days out: what was not reckoned was not saved.
    """
    tiles = over(accounts, period)
    ledger = -_sum(one.totals.reduction for one in tiles)
    own = next((one for one in baselines if _same_days(periods.parse(one.period, ZONE), period)), None)
    if own is None:
        return Reduction("", "", None, None, plain(ledger), (NO_BASELINE,))
    frozen = Decimal(own.tco2e)
    reasons: list[str] = []
    if not own.sha256:
        reasons.append(UNPROVED)
    if not tiles:
        reasons.append(INCOMPLETE)
    elif {one.method for one in tiles} != {own.method}:
        reasons.append(OTHER_METHOD)
    if any(one.left_out for one in tiles):
        reasons.append(LEFT_OUT)
    if reasons:
        return Reduction(own.id, own.method, frozen, None, plain(ledger), tuple(reasons))
    saved = EXACT.subtract(frozen, _sum(one.totals.total for one in tiles))
    return Reduction(own.id, own.method, frozen, plain(saved), plain(ledger))


def check_frozen(before: Iterable[Baseline], after: Iterable[Baseline]) -> None:
    """AccountError where a baseline that was set says something else now: another one needs another id."""
    held = {one.id: one for one in before}
    for one in after:
        if one.id in held and held[one.id] != one:
            raise AccountError(f"baseline {one.id}: found {one.tco2e} tCO2e of {one.period}, expected it as it was set")


def span(account: Inventory) -> tuple[date, date]:
    """The days of an account, half open."""
    return date.fromisoformat(account.period.start[:10]), date.fromisoformat(account.period.end[:10])


def extent(account: Inventory) -> Extent:
    """How an account compares with another."""
    open_ = account.period.through < account.period.end
    meters = frozenset(_meters(account))
    return Extent(span(account), account.totals.total, meters, account.basis, open_, bool(account.left_out))


def earlier(period: Period, against: Against) -> Period:
    """The same months a year before (yoy), or as many just before (mom); AccountError for anything but whole months."""
    first, last = period.days()
    months = (last.year - first.year) * 12 + last.month - first.month
    if first.day != 1 or last.day != 1:
        raise AccountError(f"period: found {period.id}, expected whole months to compare")
    back = 12 if against == "yoy" else months
    start, end = _shifted(first, -back), _shifted(last, -back)
    for text in (f"{start:%Y-%m}", f"{start:%Y}"):
        if (found := periods.parse(text, period.zone)).days() == (start, end):
            return found
    return periods.parse(f"{start}--{end}", period.zone)


def _denominator(own: Sequence[Denominator], period: Period) -> tuple[Decimal, Decimal | None, tuple[str, ...]] | None:
    """Amount in the first one's unit, U95 in percent (None: unknown), documents; None unless every day is covered."""
    first, last = period.days()
    found: list[tuple[date, date, Denominator]] = []
    for one in own:
        start, end = periods.parse(one.period, ZONE).days()
        inside = first <= start and end <= last
        if inside or (one.kind in STANDING and start < last and end > first):
            found.append((max(start, first), min(end, last), one))
    found.sort(key=lambda one: one[:2])
    if [start for start, _, _ in found] != [first, *(end for _, end, _ in found[:-1])] or found[-1][1] != last:
        return None
    unit = found[0][2].quantity.unit
    amounts = [one.quantity.to(unit) for _, _, one in found]
    if found[0][2].kind in STANDING:
        days = [Decimal((end - start).days) for start, end, _ in found]
        amounts = [ARITHMETIC.divide(amount * share, sum(days)) for amount, share in zip(amounts, days, strict=True)]
    whole = _sum(amounts)
    return whole, _spread(found, amounts, whole), tuple(one.document for _, _, one in found)


def _spread(
    found: Sequence[tuple[date, date, Denominator]], amounts: Sequence[Decimal], whole: Decimal
) -> Decimal | None:
    """Of one source of figures, so it adds up linearly; None where nothing is said of one of them."""
    half = _ZERO
    for (_, _, one), amount in zip(found, amounts, strict=True):
        if one.uncertainty is None:
            return None
        half = ARITHMETIC.add(half, ARITHMETIC.multiply(amount, Decimal(one.uncertainty)))
    return ARITHMETIC.divide(half, whole)


def _unequal(
    after: Sequence[Extent], before: Sequence[Extent], against: Against, meters: Sequence[str]
) -> Iterable[str]:
    """Why two periods are not comparable."""
    if not after:
        yield INCOMPLETE
    if not before:
        yield NO_PREVIOUS
    if not (after and before):
        return
    if any(one.unfinished for one in (*after, *before)):
        yield STILL_OPEN
    months = 12 if against == "yoy" else _months(before[0].days[0], after[0].days[0])
    if [tuple(_shifted(day, months) for day in one.days) for one in before] != [one.days for one in after]:
        yield OTHER_MONTHS
    if any(one.left_out for one in (*after, *before)):
        yield LEFT_OUT
    if meters:
        yield OTHER_METERS
    if len({one.basis for one in (*after, *before)}) > 1:
        yield OTHER_BASIS


def _meters(account: Inventory) -> Iterator[str]:
    """Every meter that an account rests on: device and point, whichever gateway asks it."""
    for activity in (activity for line in account.lines for activity in line.activities):
        place = feeds.place(activity.reference) if activity.grade == "metered" else None
        if place is not None:
            yield f"{place.device}.{place.point}"


def _moved(old: Inventory, new: Inventory) -> Inventory:
    """The older account with its lines dated as their like in the newer one, so that sources meet."""
    months = _months(span(old)[0], span(new)[0])
    return msgspec.structs.replace(old, lines=tuple(_dated(line, months) for line in old.lines))


def _dated(line: Line, months: int) -> Line:
    start = _shifted(date.fromisoformat(line.start), months)
    return msgspec.structs.replace(line, start=start.isoformat())


def _together(found: Sequence[Difference]) -> Difference:
    """Differences of several periods as one."""
    return Difference(
        total=plain(_sum(one.total for one in found)),
        activity=plain(_sum(one.activity for one in found)),
        factor=plain(_sum(one.factor for one in found)),
        vintage=plain(_sum(one.vintage for one in found)),
        method=plain(_sum(one.method for one in found)),
        boundary=plain(_sum(one.boundary for one in found)),
        effects=tuple(effect for one in found for effect in one.effects),
    )


def _same_days(one: Period, other: Period) -> bool:
    """Whether two periods are the same days of a year, or of two."""
    months = _months(one.days()[0], other.days()[0])
    return months % 12 == 0 and tuple(_shifted(day, months) for day in one.days()) == other.days()


def _months(start: date, end: date) -> int:
    return (end.year - start.year) * 12 + end.month - start.month


def _shifted(day: date, months: int) -> date:
    """The same day of another month; its last one where that month is shorter."""
    at = day.year * 12 + day.month - 1 + months
    first = date(at // 12, at % 12 + 1, 1)
    after = date((at + 1) // 12, (at + 1) % 12 + 1, 1)
    return first.replace(day=min(day.day, (after - first).days))


def _sum(values: Iterable[Decimal]) -> Decimal:
    found = _ZERO
    for value in values:
        found = EXACT.add(found, value)
    return found
