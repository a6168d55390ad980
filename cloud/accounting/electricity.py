"""Purchased electricity: increments of registers in, emission lines out. tCO2 = kWh x factor / 1000, unrounded."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby, pairwise

from cloud.accounting import statement as made
from cloud.accounting.factors import NATIONAL, Basis, Choice, FactorSet, resolve
from cloud.accounting.period import Period, stamp
from cloud.accounting.statement import (
    Content,
    Coverage,
    Gap,
    GapKind,
    Inputs,
    Line,
    Meter,
    Quality,
    Run,
    Shares,
    Span,
    plain,
)
from drivers.quantity import EXACT
from protocols.errors import AccountError

METHOD = "electricity.purchased"
EDITION = "T/CI 231-2023"
FORMULA = "tCO2 = kWh × kgCO2/kWh ÷ 1000"
PURCHASED = "purchased"
OPEN = "account.open"
MISSING = "account.missing"
SUSPECT = "account.suspect"
ESTIMATED_EDGE = "account.estimated-edge"


@dataclass(frozen=True, slots=True)
class Mark:
    """A register at an instant (UTC ms), and the block that holds the reading."""

    value: Decimal
    at: int
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class MeterRole:
    """A meter of the site and what it counts for: ``purchased`` is the account, all else is shown beside it."""

    gateway: str
    device: str
    point: str
    role: str


@dataclass(frozen=True, slots=True)
class Increment:
    """What one register moved from ``start`` up to ``end`` (UTC ms): (closing - opening + rolled) x multiplier.

    ``kwh`` is None when that is not plausible. ``until`` comes before ``end`` where the newest reading leaves a tail
    that nothing is known of yet.
    """

    meter: MeterRole
    start: int
    end: int
    until: int
    opening: Mark
    closing: Mark
    rolled: Decimal
    multiplier: Decimal
    kwh: Decimal | None
    quality: Quality
    readings: int
    expected: int


def account(
    site: str,
    period: Period,
    meters: Sequence[MeterRole],
    increments: Iterable[Increment],
    factors: FactorSet,
    *,
    closed: bool,
    basis: Basis = "average",
    region: str = NATIONAL,
) -> Content:
    """What the site's purchased electricity emitted in the period: a pure function of what is held.

    ``closed`` says that the period is over; an open one goes as far as the newest increment of a purchased meter.
    AccountError without a purchased meter, without any known consumption, or for increments that overlap or straddle
    the period's edges; FactorError when no single factor fits.
    """
    books = _books(site, period, meters, increments, closed=closed)
    lines = tuple(books.lines(factors, basis, region))
    reasons = (*books.reasons(), *dict.fromkeys(reason for line in lines for reason in line.reasons))
    return Content(
        schema="tanmeter-statement/1",
        site=site,
        period=_span(period, books.through),
        method=made.Method(METHOD, EDITION, FORMULA, basis, region, made.ENGINE),
        factor_set=factors.sha256,
        kwh=plain(_sum(line.kwh for line in lines)),
        tco2=plain(_sum(line.tco2 for line in lines)),
        provisional=bool(reasons),
        reasons=reasons,
        coverage=_coverage(books.counted()),
        shares=books.shares(),
        lines=lines,
        breakdown=tuple(_meter(meter, books.known[meter], period) for meter in meters if meter.role != PURCHASED),
        gaps=tuple(gap for meter in books.purchased for gap in books.gaps(meter)),
        inputs=_inputs(increment for meter in meters for increment in books.known[meter]),
    )


Known = dict[MeterRole, tuple[Increment, ...]]


@dataclass(frozen=True, slots=True)
class _Books:
    """The purchased meters' increments over a period that is over, or still open."""

    period: Period
    closed: bool
    purchased: tuple[MeterRole, ...]
    known: Known

    def counted(self) -> Iterator[Increment]:
        """Every increment that counts."""
        return (increment for meter in self.purchased for increment in self.known[meter])

    @property
    def through(self) -> int:
        """How far the figures go: the period's end, or the newest reading while it is open."""
        return self.period.end if self.closed else max(increment.until for increment in self.counted())

    def lines(self, factors: FactorSet, basis: Basis, region: str) -> Iterator[Line]:
        """One line for each year of factors that the period touches."""
        for year, start, end in self.period.years():
            if start < self.through:
                yield self._line(resolve(factors, basis, region, year), start, end)

    def _line(self, choice: Choice, start: int, end: int) -> Line:
        parts = {meter: tuple(one for one in self.known[meter] if start <= one.start < end) for meter in self.purchased}
        kwh = _sum(one.kwh for own in parts.values() for one in own if one.kwh is not None)
        return Line(
            year=choice.year,
            kwh=plain(kwh),
            factor=made.snapshot(choice.factor),
            tco2=plain(made.tonnes(kwh, choice.factor.value)),
            reasons=choice.reasons,
            meters=tuple(_meter(meter, own, self.period) for meter, own in parts.items()),
        )

    def holes(self, meter: MeterRole) -> Iterator[tuple[int, int]]:
        """The stretches up to ``through`` of which nothing is known of this meter.

        While the period is open, the quarter of an hour that has just begun is nobody's hole.
        """
        own, through = self.known[meter], self.through
        at = self.period.start
        for increment in own:
            if increment.start > at:
                yield at, increment.start
            at = increment.until
        running = not self.closed and bool(own) and own[-1].end >= through
        if at < through and not running:
            yield at, through

    def shares(self) -> Shares:
        """Meter time by what is known of it."""
        time = {"measured": 0, "estimated": 0, "suspect": 0}
        for increment in self.counted():
            time[increment.quality] += increment.until - increment.start
        missing = sum(end - start for meter in self.purchased for start, end in self.holes(meter))
        return Shares(time["measured"], time["estimated"], time["suspect"], missing)

    def gaps(self, meter: MeterRole) -> list[Gap]:
        """What was not simply measured, in order of time."""
        stretches: list[tuple[int, int, GapKind, Decimal | None]] = [
            (start, end, "missing", None) for start, end in self.holes(meter)
        ]
        for quality, group in groupby(self.known[meter], key=lambda one: one.quality):
            if quality != "measured":
                own = list(group)
                amounts = [one.kwh for one in own if one.kwh is not None]
                kwh = plain(_sum(amounts)) if len(amounts) == len(own) else None
                stretches.append((own[0].start, own[-1].until, quality, kwh))
        zone = self.period.zone
        return [
            Gap(meter.gateway, meter.device, stamp(start, zone), stamp(end, zone), kind, kwh)
            for start, end, kind, kwh in sorted(stretches, key=lambda stretch: stretch[0])
        ]

    def reasons(self) -> Iterator[str]:
        """Why the activity is provisional, as message ids."""
        edges = (self.period.start, self.period.end)
        if not self.closed:
            yield OPEN
        if any(True for meter in self.purchased for _ in self.holes(meter)):
            yield MISSING
        if any(one.quality == "suspect" for one in self.counted()):
            yield SUSPECT
        if any(one.quality == "estimated" and (one.start == edges[0] or one.end == edges[1]) for one in self.counted()):
            yield ESTIMATED_EDGE


def _books(
    site: str, period: Period, meters: Sequence[MeterRole], increments: Iterable[Increment], *, closed: bool
) -> _Books:
    """The books of a site that has something to account for; AccountError for one that has not."""
    purchased = tuple(meter for meter in meters if meter.role == PURCHASED)
    if not purchased:
        raise AccountError(f"site {site}: found no meter with role purchased, expected at least one")
    books = _Books(period, closed, purchased, _by_meter(meters, increments, period))
    if all(increment.kwh is None for increment in books.counted()):
        raise AccountError(f"site {site}, {period.id}: found no consumption of a purchased meter, expected some")
    return books


def _by_meter(meters: Sequence[MeterRole], increments: Iterable[Increment], period: Period) -> Known:
    """Each meter's increments in order of time; what lies outside the period is left out."""
    found: dict[MeterRole, list[Increment]] = {meter: [] for meter in meters}
    for increment in increments:
        if increment.start < period.end and increment.end > period.start:
            found[increment.meter].append(increment)
    known = {meter: tuple(sorted(own, key=lambda one: one.start)) for meter, own in found.items()}
    for own in known.values():
        _check(own, period)
    return known


def _check(own: tuple[Increment, ...], period: Period) -> None:
    edges = {start for _, start, _ in period.years()} | {period.end}
    for increment in own:
        if any(increment.start < edge < increment.end for edge in edges):
            raise AccountError(f"{_name(increment)}: found it across the edge of {period.id}, expected it cut there")
    for first, second in pairwise(own):
        if second.start < first.end:
            raise AccountError(f"{_name(second)}: found it overlapping the one before, expected each instant once")


def _name(increment: Increment) -> str:
    return f"interval {increment.meter.device}.{increment.meter.point} {increment.start}..{increment.end}"


def _meter(meter: MeterRole, own: tuple[Increment, ...], period: Period) -> Meter:
    amounts = [increment.kwh for increment in own if increment.kwh is not None]
    return Meter(
        gateway=meter.gateway,
        device=meter.device,
        point=meter.point,
        role=meter.role,
        kwh=plain(_sum(amounts)) if amounts else None,
        coverage=_coverage(own),
        runs=tuple(_run(stretch, period) for stretch in _stretches(own)),
    )


def _stretches(own: tuple[Increment, ...]) -> Iterator[list[Increment]]:
    """Neighbours of one quality and ratio whose registers meet."""
    stretch: list[Increment] = []
    for increment in own:
        if stretch and not _continues(stretch[-1], increment):
            yield stretch
            stretch = []
        stretch.append(increment)
    if stretch:
        yield stretch


def _continues(before: Increment, after: Increment) -> bool:
    return (
        before.until == after.start
        and (before.quality, before.multiplier) == (after.quality, after.multiplier)
        and (before.kwh is None) == (after.kwh is None)
        and before.closing.value == after.opening.value
    )


def _run(stretch: Sequence[Increment], period: Period) -> Run:
    first, last = stretch[0], stretch[-1]
    return Run(
        start=stamp(first.start, period.zone),
        end=stamp(last.until, period.zone),
        quality=first.quality,
        multiplier=plain(first.multiplier),
        opening=_register(first.opening, period),
        closing=_register(last.closing, period),
        rolled=plain(_sum(one.rolled for one in stretch)),
        kwh=None if first.kwh is None else plain(_sum(one.kwh for one in stretch if one.kwh is not None)),
        intervals=len(stretch),
        readings=sum(one.readings for one in stretch),
        expected=sum(one.expected for one in stretch),
    )


def _register(mark: Mark, period: Period) -> made.Register:
    return made.Register(plain(mark.value), stamp(mark.at, period.zone), mark.epoch, mark.seq)


def _coverage(increments: Iterable[Increment]) -> Coverage:
    counts = [(increment.readings, increment.expected) for increment in increments]
    return Coverage(sum(readings for readings, _ in counts), sum(expected for _, expected in counts))


def _inputs(increments: Iterable[Increment]) -> Inputs:
    """Count and SHA-256 of the increments, one canonical line each."""
    hasher, count = hashlib.sha256(), 0
    for one in increments:
        hasher.update(_canonical(one).encode())
        count += 1
    return Inputs(count, hasher.hexdigest())


def _canonical(one: Increment) -> str:
    def mark(register: Mark) -> str:
        return f"{plain(register.value)}@{register.at}#{register.epoch}.{register.seq}"

    kwh = "-" if one.kwh is None else str(plain(one.kwh))
    place = (
        f"{one.meter.gateway} {one.meter.device} {one.meter.point} {one.meter.role} {one.start} {one.until} {one.end}"
    )
    amount = f"{mark(one.opening)} {mark(one.closing)} {plain(one.rolled)} {plain(one.multiplier)} {kwh}"
    return f"{place} {amount} {one.quality} {one.readings}/{one.expected}\n"


def _span(period: Period, through: int) -> Span:
    zone = period.zone
    return Span(
        id=period.id,
        start=stamp(period.start, zone),
        end=stamp(period.end, zone),
        timezone=zone.key,
        through=stamp(through, zone),
    )


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for value in values:
        total = EXACT.add(total, value)
    return total
