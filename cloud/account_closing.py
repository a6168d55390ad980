"""Closing accounts: last month of every subject gets its version once it is delivered, and a newer one when it must."""

from collections.abc import Iterator

from cloud import accounts, metering, subjects
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting import restated
from cloud.accounting.electricity import OPEN
from cloud.accounting.inventory import Version, account_id
from cloud.accounting.library import Library
from cloud.accounting.period import Period
from cloud.accounting.subject import ZONE, Meter, Monitor, Subject
from cloud.due import LATE_MS, REOPEN_MS
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import StoreError, TanmeterError

SOURCES = ("subject", "activity")
"""What in the journal a subject's account rests on."""


LOOKED = 65_536
"""Accounts of which it is kept in mind under which bundles they were found to stand."""


def close_due(store: Store, library: Library, now: int, looked: dict[str, str] | None = None) -> list[Version]:
    """The new versions that are due. What cannot be drawn up is left for whoever asks for it to be told why.

    ``looked``: account -> the version and the bundles under which it was drawn up again, and nothing new came of it.
    """
    looked = {} if looked is None else looked
    if len(looked) > LOOKED:
        looked.clear()
    found = []
    for held in subjects.listing(store):
        if held.subject.method:
            for period in _due(store, held.subject, now):
                row = store.entry_head("account", account_id(held.subject.id, period.id))
                if row is not None and not _stale(store, library, held.subject, period, row, looked=looked):
                    continue
                try:
                    version = accounts.close(store, library, held.subject.id, period, now)
                except StoreError:
                    raise
                except TanmeterError:
                    continue
                if row is None or version.version != row.version:
                    found.append(version)
    return found


def _due(store: Store, subject: Subject, now: int) -> Iterator[Period]:
    """Last month, and every period that has a version and is not too old to change."""
    month = periods.month_of(now, ZONE)
    last = periods.month_of(month.start - 1, ZONE)
    known = [accounts.period_of(row.period) for row in store.entries("account", subject=subject.id)]
    again = [period for period in known if period.end <= now < period.end + REOPEN_MS]
    for period in {period.id: period for period in (last, *again)}.values():
        if now >= period.end + LATE_MS:
            yield period


def _stale(
    store: Store, library: Library, subject: Subject, period: Period, row: JournalRow, *, looked: dict[str, str]
) -> bool:
    """Whether something that went into the newest version, or should have, has changed since."""
    known = accounts.issued(store, row.id, row.version)
    if OPEN in known.content.reasons or _chosen_anew(store, library, known, looked):
        return True
    if any(one.number > row.number for kind in SOURCES for one in store.entries(kind, subject=subject.id)):
        return True
    read: tuple[Meter | Monitor, ...] = (*subject.meter, *subject.monitor)
    gateways = {gateway.id for meter in read for gateway in metering.gateways(store, subject, meter)}
    return any(
        store.intervals(after=known.as_of, limit=1, gateway=gateway, start=period.start, end=period.end)
        for gateway in gateways
    )


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
