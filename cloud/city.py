"""Statistics of the city in real time: every boundary from the newest versions, at the cost of what has changed.

A version never changes, so what a roll-up needs of it is kept by its digest; a look at the city reads the heads of the
journal and opens only versions that it has not seen. A subject whose file has rotted stands as its brief has it: its
accounts are summed as ever, and it is named.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from threading import Lock

from cloud import accounts, subjects
from cloud.accounting import boundary as boundaries
from cloud.accounting import headline
from cloud.accounting.boundary import Bridge, Condensed
from cloud.accounting.headline import Extent, Total, tiled
from cloud.accounting.inventory import Inventory, Totals
from cloud.accounting.membership import Membership
from cloud.accounting.period import Period
from cloud.accounting.quality import Quality, quality
from cloud.accounting.statement import Coverage, plain
from cloud.accounting.subject import Subject
from cloud.accounting.units import ARITHMETIC
from cloud.rows import JournalRow
from cloud.store import Store
from drivers.quantity import EXACT
from protocols.errors import AccountError, ConfigError, PeriodError, RottenError, UnknownNameError

MOST = 50_000
"""Versions kept in mind; two kilobytes each."""
MOST_LOOKS = 64
SOURCES = ("subject", "account", "mark")
"""What in the journal a look rests on."""
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a roll-up and a ranking need of a version."""

    subject: str
    period: str
    method: str
    digest: str
    totals: Totals
    extent: Extent
    lines: tuple[Condensed, ...]
    count: int
    coverage: Coverage
    estimated: Decimal
    quality: Quality | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """A tally with the name of its version and whether that is locked."""

    tally: Tally
    reference: str
    locked: bool


@dataclass(frozen=True, slots=True)
class Sums:
    """tCO2e of several accounts, gross."""

    subjects: int = 0
    direct: Decimal = _ZERO
    indirect: Decimal = _ZERO
    total: Decimal = _ZERO
    reduction: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class Brief:
    """What a ranking needs of a subject or a boundary over a period: ``net`` and ``reduction`` (signed), tCO2e.

    ``incomplete``: who is inside and has a method, and no accounts that cover all of the period that can be read; and
    who may be inside, for nothing can be read of it. ``unread``: who of those inside and these cannot be read.
    """

    boundary: str
    net: Decimal
    reduction: Decimal
    standings: tuple[Standing, ...]
    incomplete: tuple[str, ...]
    unread: frozenset[str] = frozenset()

    @property
    def total(self) -> Total:
        """The net as a total, with the reason where a source leaves days out; none where accounts are missing."""
        periods = tuple(one.reference for one in self.standings)
        if self.incomplete or not self.standings:
            return Total(None, periods, (headline.INCOMPLETE,))
        return Total(self.net, periods, self.left_out)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The reason, where a source of any account leaves days out."""
        return (headline.LEFT_OUT,) if any(one.tally.extent.left_out for one in self.standings) else ()

    @property
    def own(self) -> tuple[Standing, ...]:
        """The accounts of the subject itself."""
        return tuple(one for one in self.standings if one.tally.subject == self.boundary)

    @property
    def members(self) -> frozenset[str]:
        """Whose accounts it rests on."""
        return frozenset(one.tally.subject for one in self.standings)


@dataclass(frozen=True, slots=True)
class Look:
    """A boundary over a period as the newest versions say it.

    ``incomplete``, ``unread`` as in a brief. ``locked``: share of the gross, by size, that rests on locked versions;
    ``measured``: share of the emissions of all lines, by size, that was measured; None of nothing. ``by_kind``,
    ``by_category``: gross.
    """

    boundary: str
    period: str
    bridge: Bridge
    standings: tuple[Standing, ...]
    incomplete: tuple[str, ...]
    unread: frozenset[str]
    locked: Decimal | None
    measured: Decimal | None
    estimated: Decimal | None
    coverage: Coverage
    by_kind: Mapping[str, Sums]
    by_category: Mapping[str, Sums]

    @property
    def brief(self) -> Brief:
        """It without its roll-up."""
        net, reduction = self.bridge.net, self.bridge.parts["reduction"]
        return Brief(self.boundary, net, reduction, self.standings, self.incomplete, self.unread)


@dataclass(frozen=True, slots=True)
class _Absent:
    """``incomplete`` and ``unread`` of a look."""

    incomplete: tuple[str, ...]
    unread: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Index:
    """The journal up to one end of it: subjects, who belongs to whom, newest accounts by subject, locked versions.

    ``periods``: of which there are accounts, with their days. ``unread``: whose file cannot be read, and why.
    """

    end: int
    known: Mapping[str, Subject]
    unread: Mapping[str, str]
    shares: Membership
    heads: Mapping[str, Sequence[tuple[tuple[date, date], JournalRow]]]
    locked: frozenset[str]
    periods: Mapping[str, tuple[date, date]]


class City:
    """A store as a city; any thread may ask. What it said at the same end of the journal it says again."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = Lock()
        self._index: _Index | None = None
        self._seen = 0
        self._tallies: OrderedDict[str, Tally] = OrderedDict()
        self._looks: OrderedDict[tuple[str, str], tuple[int, Look]] = OrderedDict()

    def subject(self, name: str) -> Subject:
        """A subject as it stands; UnknownNameError, RottenError where its file cannot be read."""
        index = self._indexed()
        found = None if name in index.unread else index.known.get(name)
        return subjects.get(self.store, name).subject if found is None else found

    def subjects(self) -> Mapping[str, Subject]:
        """Every subject as it stands, by id; of one whose file cannot be read its brief, where it has one."""
        return self._indexed().known

    def unread(self) -> Mapping[str, str]:
        """The subjects (ids) whose file cannot be read, and why."""
        return self._indexed().unread

    def membership(self) -> Membership:
        """Who belongs to whom as it stands."""
        return self._indexed().shares

    def look(self, boundary: str, period: Period) -> Look:
        """A boundary, which may be a single subject, over a period; UnknownNameError, AccountError."""
        return self._look_at(self._indexed(), boundary, period)

    def briefs(self, names: Iterable[str], period: Period) -> dict[str, Brief]:
        """Known subjects over a period, each as ``look`` says it, all at one end of the journal."""
        index = self._indexed()
        return {name: self._brief(index, name, period) for name in names}

    def reporting(self, period: Period) -> list[str]:
        """Who has accounts that lie in a period, by id."""
        index, (first, last) = self._indexed(), period.days()
        return sorted(
            name
            for name, heads in index.heads.items()
            if name in index.known and any(first <= start and end <= last for (start, end), _ in heads)
        )

    def periods(self) -> list[str]:
        """Every period that somebody has an account of, by id."""
        return sorted(self._indexed().periods)

    def _look_at(self, index: _Index, boundary: str, period: Period) -> Look:
        key = (boundary, period.id)
        with self._lock:
            held = self._looks.get(key)
        if held is not None and held[0] == index.end:
            return held[1]
        found = self._looked(index, boundary, period)
        if found.unread:
            return found
        with self._lock:
            self._looks[key] = (index.end, found)
            self._looks.move_to_end(key)
            while len(self._looks) > MOST_LOOKS:
                self._looks.popitem(last=False)
        return found

    def months(self, subject: str) -> list[Standing]:
        """The accounts of a subject that are of one calendar month, oldest first."""
        index = self._indexed()
        heads = [row for _, row in index.heads.get(subject, ()) if len(row.period) == len("2026-06")]
        return sorted(self._read(index, heads), key=lambda one: one.tally.extent.days)

    def _brief(self, index: _Index, name: str, period: Period) -> Brief:
        """Where nobody is inside nothing is traded inside or metered twice: the net is the accounts' own total."""
        if _is_whole(index, name, index.shares.members(name, *period.days())):
            return self._look_at(index, name, period).brief
        own, lacks, unread = self._own(index, name, period)
        net = plain(_sum(one.tally.totals.total for one in own))
        reduction = plain(_sum(one.tally.totals.reduction for one in own))
        one = frozenset([name] if unread else [])
        return Brief(name, net, reduction, tuple(own), (name,) if lacks else (), one)

    def _own(self, index: _Index, name: str, period: Period) -> tuple[list[Standing], bool, bool]:
        """A subject's accounts that lie in a period, whether it should have some of the rest of it, and whether its
        file or one of these accounts cannot be read.
        """
        first, last = period.days()
        heads = [row for (start, end), row in index.heads.get(name, ()) if first <= start and end <= last]
        read, unread = list[Standing](), name in index.unread
        for head in heads:
            try:
                read += self._read(index, [head])
            except (RottenError, AccountError):
                unread = True
        own, whole = tiled(read, lambda one: one.tally.extent.days, period)
        return own, bool(index.known[name].method) and not whole, unread

    def _looked(self, index: _Index, boundary: str, period: Period) -> Look:
        if boundary not in index.known:
            self.subject(boundary)
        first, last = period.days()
        members = index.shares.members(boundary, first, last)
        lost = index.unread.keys() - index.known.keys() if _is_whole(index, boundary, members) else set[str]()
        standings: list[Standing] = []
        lacking, unread = list(lost), set(lost)
        for name in sorted({boundary, *members}):
            own, lacks, rotten = self._own(index, name, period)
            standings += own
            lacking += [name] if lacks else []
            unread |= {name} if rotten else set()
        bridge = boundaries.bridge(boundary, index.shares, [line for one in standings for line in one.tally.lines])
        return _look(bridge, period, standings, _Absent(tuple(sorted(lacking)), frozenset(unread)), index.known)

    def _indexed(self) -> _Index:
        end = self.store.journal_end()
        index = self._index
        if index is not None and self._seen != end and not self.store.journal(self._seen, 1, SOURCES):
            self._seen = end
        if index is None or self._seen != end or self._mended(index):
            roll = subjects.roll(self.store)
            known = {**{name: held.subject for name, held in roll.held.items()}, **roll.briefs}
            heads: dict[str, list[tuple[tuple[date, date], JournalRow]]] = {}
            periods: dict[str, tuple[date, date]] = {}
            for row in self.store.entries("account"):
                with suppress(PeriodError):  # one that has rotted: the account is lacking where it was
                    if row.period not in periods:
                        periods[row.period] = accounts.period_of(row.period).days()
                    heads.setdefault(row.subject, []).append((periods[row.period], row))
            marks = self.store.entries("mark")
            locked = frozenset(row.id for row in marks if _is_locked(row))
            index = self._index = _Index(end, known, roll.unread, Membership(known), heads, locked, periods)
            self._seen = end
        return index

    def _mended(self, index: _Index) -> bool:
        """Whether a file that could not be read has been put back: the journal does not move with that. Of those who
        cannot be read for one reason one is tried: they are in one file.
        """
        for name in {why: name for name, why in index.unread.items()}.values():
            with suppress(RottenError, ConfigError, UnknownNameError):
                return bool(subjects.get(self.store, name))
        return False

    def _read(self, index: _Index, heads: Iterable[JournalRow]) -> Iterator[Standing]:
        for head in heads:
            reference = f"{head.id}@{head.version}"
            yield Standing(self._tally(head), reference, reference in index.locked)

    def _tally(self, head: JournalRow) -> Tally:
        with self._lock:
            if head.digest in self._tallies:
                self._tallies.move_to_end(head.digest)
                return self._tallies[head.digest]
        found = tally(accounts.issued(self.store, head.id, head.version).content)
        with self._lock:
            self._tallies[head.digest] = found
            while len(self._tallies) > MOST:
                self._tallies.popitem(last=False)
        return found


def _is_locked(mark: JournalRow) -> bool:
    """Whether two names stand on a version; of one whose mark has rotted nobody can say so."""
    with suppress(RottenError):
        return len(accounts.decision(mark)["by"]) > 1
    return False


def _is_whole(index: _Index, name: str, members: Collection[str]) -> bool:
    """Whether others are inside, or may be: who has no method of its own is there for others."""
    return bool(members) or not index.known[name].method


def tally(content: Inventory) -> Tally:
    """What is kept of a version."""
    return Tally(
        subject=content.subject,
        period=content.period.id,
        method=content.method,
        digest=content.digest,
        totals=content.totals,
        extent=headline.extent(content),
        lines=boundaries.condense(content.lines),
        count=len(content.lines),
        coverage=content.coverage,
        estimated=content.estimated,
        quality=quality(content.lines),
        reasons=tuple(content.reasons),
    )


def _look(
    bridge: Bridge, period: Period, standings: Sequence[Standing], absent: _Absent, known: Mapping[str, Subject]
) -> Look:  # fmt: skip
    sizes = [(abs(one.tally.totals.total), one) for one in standings]
    whole = _sum(size for size, _ in sizes)
    locked = _sum(size for size, one in sizes if one.locked)
    filled = _sum(EXACT.multiply(size, one.tally.estimated) for size, one in sizes)
    return Look(
        boundary=bridge.boundary,
        period=period.id,
        bridge=bridge,
        standings=tuple(standings),
        incomplete=absent.incomplete,
        unread=absent.unread,
        locked=ARITHMETIC.divide(locked, whole) if whole else None,
        measured=_measured(standings),
        estimated=ARITHMETIC.divide(filled, whole) if whole else None,
        coverage=Coverage(
            sum(one.tally.coverage.readings for one in standings), sum(one.tally.coverage.expected for one in standings)
        ),
        by_kind=_grouped(standings, {name: one.kind for name, one in known.items()}),
        by_category=_grouped(standings, {name: one.category for name, one in known.items()}),
    )


def _measured(standings: Iterable[Standing]) -> Decimal | None:
    whole = measured = _ZERO
    for tally in (one.tally for one in standings):
        size = _sum(abs(line.tco2e) for line in tally.lines)
        whole = EXACT.add(whole, size)
        measured = EXACT.add(measured, EXACT.multiply(size, tally.quality.measured if tally.quality else _ZERO))
    return ARITHMETIC.divide(measured, whole) if whole else None


def _grouped(standings: Sequence[Standing], groups: Mapping[str, str]) -> dict[str, Sums]:
    found: dict[str, Sums] = {}
    seen: set[str] = set()
    for one in standings:
        group, totals = groups[one.tally.subject], one.tally.totals
        held = found.get(group, Sums())
        found[group] = Sums(
            held.subjects + (one.tally.subject not in seen),
            plain(EXACT.add(held.direct, EXACT.add(totals.direct, totals.fixed))),
            plain(EXACT.add(held.indirect, EXACT.add(totals.indirect, totals.offset))),
            plain(EXACT.add(held.total, totals.total)),
            plain(EXACT.add(held.reduction, totals.reduction)),
        )
        seen.add(one.tally.subject)
    return dict(sorted(found.items()))


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = _ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total
