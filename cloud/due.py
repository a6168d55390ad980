"""One look at a site: which of its periods are due for a version, their versions, and when to look again."""

from collections.abc import Iterator, Mapping, Sequence, Set

from cloud import statements
from cloud.accounting import period as periods
from cloud.accounting import statement as made
from cloud.accounting.electricity import OPEN
from cloud.accounting.factors import builtin
from cloud.accounting.period import Period
from cloud.accounting.statement import Statement
from cloud.intervals import INTERVAL_MS
from cloud.settled import Settled
from cloud.store import Store
from protocols.errors import AccountError, FactorError

LATE_MS = 3_600_000
"""How long a period that is over waits for the last blocks of its gateways before it is closed without them."""
REOPEN_MS = 62 * 86_400_000
"""How far back a version is looked at again when data came late."""
BACK_MS = 62 * 86_400_000
"""How far back a day without a version is still closed."""
NEVER = 1 << 62

Tried = dict[Period, int]
"""Periods that could not be accounted, and the ingest seq up to which the record went in."""
Starts = Mapping[int, int]
"""Where intervals that changed begin (UTC ms), and the newest ingest seq of each."""


class Look:
    """A site as it is at ``now`` (UTC ms). ``tried`` moves with it."""

    def __init__(self, store: Store, site: str, now: int, tried: Tried) -> None:
        self._store, self._site, self._now, self._tried = store, site, now, tried
        self._gateways = store.gateways_of(site)
        self._zone = statements.zone_of(store, site)
        self._ends = [gateway.block_end for gateway in self._gateways if gateway.block_end is not None]
        self._expected = min([one.block_end or 0 for one in self._gateways if not one.revoked], default=0)
        self._held = {name: periods.parse(name, self._zone) for name in store.statement_periods(site)}
        wanted = self._wanted()
        self._due = [period for period in wanted if self._is_delivered(period)]
        self._undelivered = [period for period in wanted if not self._is_delivered(period)]
        self._days: list[Period] = []
        self._next: Period | None = None

    def close(self, settled: Settled | None, late: Starts, issued: Set[str]) -> list[Statement]:
        """The new versions: of what is due, and of the days that a back-filled history brought.

        ``late``: what has come since it was settled; ``issued``: the periods of which others have issued a version.
        """
        stale = self._stale([period for period in self._due if period.id in self._held], settled, late, issued)
        found = []
        for period in self._due:
            if period.id not in self._held or period in stale:
                statement = self._attempt(period)
                if statement is not None and statement.version != stale.get(period):
                    found.append(statement)
        closed = {*self._held, *(statement.content.period.id for statement in found)}
        for day in self._delivered_days():
            if day.id not in closed:
                self._days.append(day)
                statement = self._attempt(day)
                found += [] if statement is None else [statement]
        return found

    def settled(self, settled: Settled | None) -> Settled:
        """When to look again; ``settled`` as it was before."""
        revoked = sum([gateway.revoked for gateway in self._gateways])
        numbers = sum([gateway.config_number for gateway in self._gateways])
        late = [period.end + LATE_MS for period in self._undelivered]
        open_ends = [period.end for period in self._held.values() if period.end > self._now]
        coming = self._next is not None and self._next.end <= self._now
        ends = [period.end for period in self._due]
        return Settled(
            (len(self._gateways), revoked, len(self._ends), numbers),
            min([periods.day_of(self._now, self._zone).end, *late, *open_ends]),
            self._next.end if self._next is not None and coming else NEVER,
            min([period.end + INTERVAL_MS for period in self._undelivered], default=NEVER),
            max([0 if settled is None else settled.before, *ends, *[day.end for day in self._days]]),
            max(ends, default=0),
        )

    def _wanted(self) -> list[Period]:
        """What should have a version by now: yesterday, last month, and whatever has one and is not too old."""
        today, month = periods.day_of(self._now, self._zone), periods.month_of(self._now, self._zone)
        ended = [periods.day_of(today.start - 1, self._zone), periods.month_of(month.start - 1, self._zone)]
        again = [period for period in self._held.values() if period.end <= self._now < period.end + REOPEN_MS]
        return list({period.id: period for period in (*ended, *again)}.values())

    def _is_delivered(self, period: Period) -> bool:
        """Whether every gateway has delivered what may stand for the register at its end, or had its time to."""
        return self._now >= period.end + LATE_MS or self._expected >= period.end + INTERVAL_MS

    def _delivered_days(self) -> Iterator[Period]:
        """The days that every gateway which has delivered anything has delivered past, oldest first."""
        firsts = [self._store.first_start(gateway.id) for gateway in self._gateways if gateway.block_end is not None]
        if not firsts:
            return
        day = periods.day_of(max(min(firsts), self._now - BACK_MS), self._zone)
        while day.end <= min(*self._ends, self._now):
            yield day
            day = periods.day_of(day.end, self._zone)
        self._next = day

    def _stale(
        self, held: Sequence[Period], settled: Settled | None, late: Starts, issued: Set[str]
    ) -> dict[Period, int]:
        """Of which periods the newest version does not say any more what it should, and the number of that version."""
        stale: dict[Period, int] = {}
        unsure: list[tuple[Period, Statement]] = []
        for period in held:
            sure = settled is not None and period.end <= settled.examined and period.id not in issued
            if sure and not came(late, period, 0):
                continue
            known = statements.newest(self._store, made.statement_id(self._site, period.id))
            assert known is not None, "it is among those that are held"
            content = known.content
            if content.factor_set != builtin().sha256 or OPEN in content.reasons or came(late, period, known.as_of):
                stale[period] = known.version
            elif not sure:
                unsure.append((period, known))
        changed = self._changed(unsure)
        return stale | {period: known.version for period, known in unsure if came(changed, period, known.as_of)}

    def _changed(self, known: Sequence[tuple[Period, Statement]]) -> Starts:
        """What has changed in the intervals of these periods behind the oldest of these versions."""
        found: dict[int, int] = {}
        if known:
            span = (min(period.start for period, _ in known), max(period.end for period, _ in known))
            after = min(statement.as_of for _, statement in known)
            for gateway in self._gateways:
                for start, ingest_seq in self._store.interval_starts(gateway.id, *span, after).items():
                    found[start] = max(ingest_seq, found.get(start, 0))
        return found

    def _attempt(self, period: Period) -> Statement | None:
        """The version of a period that says what is held; None where it cannot be accounted: as it could not before, or
        none of the gateways has sent a block that is dated.
        """
        if not self._ends or period in self._tried:
            return None
        as_of = self._store.as_of()
        try:
            return statements.close(self._store, self._site, period, self._now)
        except (AccountError, FactorError):
            self._tried[period] = as_of
            return None


def came(starts: Starts, period: Period, after: int) -> bool:
    """Whether anything of a period changed behind this ingest seq."""
    return any(period.start <= start < period.end and ingest_seq > after for start, ingest_seq in starts.items())
