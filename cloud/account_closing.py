"""Closing accounts: last month of every subject gets its version once it is delivered, and a newer one when it must.

What is known of the subjects outlives a restart in the file.
"""

import hashlib
from collections.abc import Iterator, Set
from dataclasses import dataclass, field

from cloud import accounts, factor_shelf, metering, subjects
from cloud.accounting import contents, line, restated
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting.electricity import OPEN
from cloud.accounting.inventory import ENGINE, Version, account_id
from cloud.accounting.library import Library
from cloud.accounting.period import Period
from cloud.accounting.subject import ZONE, Meter, Monitor, Subject
from cloud.changes import Seen
from cloud.due import LATE_MS, REOPEN_MS
from cloud.rows import JournalRow
from cloud.settled import Subjects
from cloud.store import Store
from protocols.errors import StoreError, TanmeterError

SOURCES = ("subject", "activity")
"""What in the journal a subject's account rests on."""
OWN = (*SOURCES, "account")
BESIDE = ("mark", "check", "warning", "file", "signer", "former", "receipt")
"""What the content of no account rests on: names on a version, what is held against it when it is locked, and what
happened to warnings come after it; of a subject file the subjects that it changed are told of, each by itself. Who may
sign activity counts for what comes, not for what was taken in; what gateways bring of former collectors is proof only.
"""
PAGE = 10_000

KEEP_MS = 60_000
"""How often what is known is written down. Whoever starts reads what has come since."""
RULES = "accounts/2"
"""Which accounts are due, and how that is kept in mind: what was settled by other rules is looked at again."""

LOOKED = 65_536
"""Accounts of which it is kept in mind under which bundles they were found to stand."""


@dataclass(slots=True)
class Looked:
    """What is kept in mind of accounts. ``under``: the version and the bundles under which one was drawn up again, and
    nothing new came of it; ``held``: its version, and up to which ingest number and which entry of the journal it was
    drawn up again and said the same.
    """

    under: dict[str, str] = field(default_factory=dict)
    held: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def bound(self) -> None:
        """Forget all when it is too much: what is forgotten is looked at once more."""
        for kept in (self.under, self.held):
            if len(kept) > LOOKED:
                kept.clear()


class AccountCloser:
    """What is due of every subject, with what it remembers of them: a new one looks at everybody once.

    A subject is looked at when its file, its activity or an account of it has come, or with a meter when intervals of a
    period that is over have come of a site where one of its meters may be, or a gateway was set up anew there; all are
    when a period has ended, or something else came that accounts rest on, such as factors. Whose account could not be
    drawn up is tried again when anything at all has come; who could not be read waits on. A ``durable`` one goes on
    from what the last durable one wrote down.
    """

    def __init__(self, store: Store, *, durable: bool = False) -> None:
        self._store, self._durable, self._kept = store, durable, 0
        self._seen: Seen | None = None
        self._entry, self._until, self._before = 0, 0, 0
        self._looked = Looked()
        self._library: Library | None = None
        self._opened = subjects.Opened()
        self._waiting, self._failing = set[str](), set[str]()
        self._metered: dict[str, frozenset[str]] = {}

    def waiting(self, now: int) -> list[str]:
        """The subjects (ids) of which something may be due at ``now`` (UTC ms); those that ``close`` has not done since
        they were named are among them.
        """
        seen = self._recall() if self._seen is None else self._seen
        changes, rows = self._store.changes(seen, self._before), self._came()
        late, told = {one.site for one in changes.late} | changes.rotten, changes.seen.fact != seen.fact
        everybody = now >= self._until or any(row.kind not in (*OWN, *BESIDE) for row in rows)
        among = {row.subject for row in rows if row.kind in OWN} | self._waiting
        if not everybody:
            among |= self._near(self._of_sites(late) | self._set_up(seen.fact))
        among |= self._failing if late or told else set()
        if everybody or among:
            known = {row.id for row in self._store.entries("subject")}
            among = known if everybody else among & known
            self._library, self._opened = factor_shelf.library(self._store), {}
        self._until = _next_end(now) if everybody else self._until
        self._seen, self._entry = changes.seen, rows[-1].number if rows else self._entry
        self._waiting = among
        self._keep(now)
        return sorted(among)

    def close(self, name: str, now: int) -> list[Version]:
        """The new versions of a subject that waits. What cannot be drawn up is left for whoever asks to be told why.

        StoreError, ConfigError where it cannot be read, or what it rests on cannot be booked: it waits on.
        """
        assert self._library is not None, "something waits"
        subject = subjects.get(self._store, name, opened=self._opened).subject
        if places := metering.places(subject):
            self._metered[name] = places
        else:
            self._metered.pop(name, None)
        found = list[Version]()
        if subject.method:
            found = self._look(self._library, subject, now)
            self._until = min([self._until, *_coming(self._store, subject, now)])
        self._waiting.discard(name)
        self._keep(now)
        return found

    def _near(self, near: Set[str]) -> set[str]:
        """The subjects of which a meter may be at one of these places."""
        return {name for name, places in self._metered.items() if not near.isdisjoint(places)}

    def _of_sites(self, sites: Set[str]) -> set[str]:
        """These sites and their gateways, as places."""
        return {gateway.id.hex() for site in sites for gateway in self._store.gateways_of(site)} | sites

    def _set_up(self, after: int) -> set[str]:
        """Where a gateway was enrolled or set up anew behind this fact, as places; a gateway stays with its site."""
        found = [self._store.gateway(one) for one in self._store.set_up(after)[1]]
        return {place for one in found if one is not None for place in (one.id.hex(), one.site)}

    def _recall(self) -> Seen:
        """How far was looked; with it comes what was known then."""
        memory = self._store.settled(Subjects, _rules()) if self._durable else None
        if memory is None:
            return Seen()
        self._entry, self._until, self._before = memory.entry, memory.until, memory.before
        self._metered, self._failing = dict(memory.metered), set(memory.failing)
        self._waiting = set(memory.waiting)
        return memory.seen

    def _keep(self, now: int) -> None:
        """Write down what is known, now and then."""
        if self._durable and self._seen is not None and not 0 <= now - self._kept < KEEP_MS:
            known = (self._metered, frozenset(self._failing), frozenset(self._waiting))
            memory = Subjects(_rules(), self._seen, self._entry, self._until, self._before, *known)
            self._store.keep_settled(memory)
            self._kept = now

    def _came(self) -> list[JournalRow]:
        rows = list[JournalRow]()
        while more := self._store.journal(rows[-1].number if rows else self._entry, PAGE):
            rows += more
        return rows

    def _look(self, library: Library, subject: Subject, now: int) -> list[Version]:
        self._looked.bound()
        found, failed = _close(self._store, library, subject, now, self._looked)
        (self._failing.add if failed else self._failing.discard)(subject.id)
        self._before = max([self._before, *[period.end for period in _due(self._store, subject, now)]])
        return found


def _rules() -> str:
    """By what accounts are drawn up, but for what the journal tells of."""
    built_in = hashlib.sha256(repr(contents.installed()).encode()).hexdigest()
    return f"{RULES} {ENGINE} {line.ENGINE} {built_in}"


def _close(store: Store, library: Library, subject: Subject, now: int, looked: Looked) -> tuple[list[Version], bool]:
    """The new versions of a subject, and whether one could not be drawn up."""
    found, failed = [], False
    for period in _due(store, subject, now):
        row = store.entry_head("account", account_id(subject.id, period.id))
        if row is not None and not _stale(store, library, subject, period, row, looked=looked):
            continue
        as_of, entry = store.as_of(), store.journal_end()
        try:
            version = accounts.close(store, library, subject.id, period, now)
        except StoreError:
            raise
        except TanmeterError:
            failed = True
            continue
        if row is None or version.version != row.version:
            found.append(version)
        else:
            looked.held[row.id] = row.version, as_of, entry
    return found, failed


def _due(store: Store, subject: Subject, now: int) -> Iterator[Period]:
    """Last month, and every period that has a version and is not too old to change."""
    month = periods.month_of(now, ZONE)
    last = periods.month_of(month.start - 1, ZONE)
    known = [accounts.period_of(row.period) for row in store.entries("account", subject=subject.id)]
    again = [period for period in known if period.end <= now < period.end + REOPEN_MS]
    for period in {period.id: period for period in (last, *again)}.values():
        if now >= period.end + LATE_MS:
            yield period


def _next_end(now: int) -> int:
    """When the next month comes to be due, or the last one, if that is not yet (UTC ms)."""
    month = periods.month_of(now, ZONE)
    return min(at for at in (month.start + LATE_MS, month.end + LATE_MS) if at > now)


def _coming(store: Store, subject: Subject, now: int) -> Iterator[int]:
    """When periods that have a version already come to be due."""
    for row in store.entries("account", subject=subject.id):
        if (at := accounts.period_of(row.period).end + LATE_MS) > now:
            yield at


def _stale(
    store: Store, library: Library, subject: Subject, period: Period, row: JournalRow, *, looked: Looked
) -> bool:
    """Whether something that went into the newest version, or should have, has changed since."""
    known = accounts.issued(store, row.id, row.version)
    if OPEN in known.content.reasons or _chosen_anew(store, library, known, looked.under):
        return True
    version, as_of, entry = looked.held.get(row.id, (0, 0, 0))
    if version != row.version:
        as_of, entry = known.as_of, row.number
    if any(one.number > entry for kind in SOURCES for one in store.entries(kind, subject=subject.id)):
        return True
    read: tuple[Meter | Monitor, ...] = (*subject.meter, *subject.monitor)
    gateways = {gateway.id for meter in read for gateway in metering.gateways(store, subject, meter)}
    return any(store.interval_starts(gateway, period.start, period.end, as_of) for gateway in gateways)


def _chosen_anew(store: Store, library: Library, known: Version, looked: dict[str, str]) -> bool:
    """Whether sets, grid factors or adoptions of today would make another version of the same activity."""
    under = f"{known.digest} {library.factors.sha256} {library.digest}"
    if looked.get(known.id) == under:
        return False
    if known.content.factor_set == library.factors.sha256 and not library.bundles:
        return False
    try:
        held = subjects.file_subject(store, known.content.subject_sha256, known.content.subject)
        again = restated.redrawn(known.content, held, methods.get(known.content.method), library).digest
    except StoreError:
        raise
    except TanmeterError:
        again = known.digest
    if again == known.digest:
        looked[known.id] = under
    return again != known.digest
