"""Closing periods: each day that is over and delivered gets its version, whether or not anybody looked at it.

Yesterday, last month, the days that a back-filled history brought, and again whatever has a version, is not too old and
changed. A site is looked at when something of it has come, or when an instant has, from which on more may be due: of
all others nothing but where their gateways stand is read. What is known of the sites outlives a restart in the file.
"""

from cloud.accounting.factors import builtin
from cloud.accounting.statement import ENGINE, Statement
from cloud.changes import Issued, Seen, Standing
from cloud.due import Look, Tried, came
from cloud.settled import Memory, Settled
from cloud.store import Store

KEEP_MS = 60_000
"""How often what is known is written down. Whoever starts reads what has come since."""
RULES = "closer/1"
"""Which periods are due, and how that is kept in mind: what was settled by other rules is looked at again."""


class Closer:
    """What is due of every site, with what it remembers of them: a new one looks at everything once.

    A ``durable`` one goes on from what the last durable one wrote down.
    """

    def __init__(self, store: Store, *, durable: bool = False) -> None:
        self._store, self._durable = store, durable
        self._seen: Seen | None = None
        self._kept = 0
        self._settled: dict[str, Settled] = {}
        self._tried: dict[str, Tried] = {}
        self._late: dict[str, dict[int, int]] = {}
        self._issued: dict[str, set[str]] = {}
        self._own: set[Issued] = set()

    def waiting(self, now: int) -> list[str]:
        """The sites of which something may be due at ``now`` (UTC ms)."""
        seen = self._recall() if self._seen is None else self._seen
        before = max((settled.before for settled in self._settled.values()), default=0)
        found = self._store.changes(seen, before)
        for site, start, ingest_seq in found.late:
            if (settled := self._settled.get(site)) is not None and start < settled.before:
                self._late.setdefault(site, {})[start] = ingest_seq
        for site, period, _ in found.issued - self._own:
            self._issued.setdefault(site, set()).add(period)
        self._own -= found.issued
        self._seen = found.seen
        waiting = [standing.site for standing in found.standings if self._may_be_due(standing, now)]
        self._keep(now)
        return waiting

    def close(self, site: str, now: int) -> list[Statement]:
        """The new versions of a site.

        A period that cannot be accounted (nothing measured, no factor) is left for whoever asks for it to be told why,
        and is tried again when something of it has come.
        """
        late, issued, tried = self._late.get(site, {}), self._issued.get(site, set()), self._tried.setdefault(site, {})
        for period in [period for period, as_of in tried.items() if came(late, period, as_of)]:
            del tried[period]
        look = Look(self._store, site, now, tried)
        found = look.close(self._settled.get(site), late, issued)
        self._settled[site] = look.settled(self._settled.get(site))
        self._late.pop(site, None)
        self._issued.pop(site, None)
        self._own |= {Issued(site, statement.content.period.id, statement.version) for statement in found}
        self._keep(now)
        return found

    def _may_be_due(self, standing: Standing, now: int) -> bool:
        settled = self._settled.get(standing.site)
        if settled is None or settled.shape != standing.shape:
            self._forget(standing.site)
            return True
        return (
            standing.site in self._late
            or standing.site in self._issued
            or now >= settled.until
            or standing.delivered >= settled.delivered
            or standing.expected >= settled.expected
        )

    def _forget(self, site: str) -> None:
        for held in (self._settled, self._tried, self._late, self._issued):
            held.pop(site, None)

    def _recall(self) -> Seen:
        """How far was looked; with it comes what was settled then."""
        memory = self._store.settled(Memory, _rules()) if self._durable else None
        if memory is None:
            return Seen()
        self._settled = dict(memory.settled)
        return memory.seen

    def _keep(self, now: int) -> None:
        """Write down what is settled, now and then: not of a site that waits for a look at what has come."""
        settled = {
            site: one for site, one in self._settled.items() if site not in self._late and site not in self._issued
        }
        if self._durable and self._seen is not None and settled and not 0 <= now - self._kept < KEEP_MS:
            self._store.keep_settled(Memory(_rules(), self._seen, settled))
            self._kept = now


def close_all(store: Store, now: int) -> list[Statement]:
    """The new versions of every site, of which nothing was known before."""
    closer = Closer(store)
    return [statement for site in closer.waiting(now) for statement in closer.close(site, now)]


def _rules() -> str:
    return f"{RULES} {ENGINE} {builtin().sha256}"
