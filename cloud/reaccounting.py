"""Accounts drawn up again after a factor or a method has changed: the same activity, and a version beside the old one.

The activity is taken out of the lines of the newest version, so that no interval is read and what differs is factor or
method alone. Late activity is the business of ``account_closing``.
"""

from dataclasses import dataclass

from cloud import accounts, subjects
from cloud.accounting import inventory, restated
from cloud.accounting import method as methods
from cloud.accounting.calculate import Known
from cloud.accounting.inventory import Version
from cloud.accounting.library import Library
from cloud.accounting.subject import Subject
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import AccountError, FactorError, MethodError, RottenError, UnitError

TOGETHER = 256
"""Versions kept in one transaction."""


@dataclass(slots=True)
class Done:
    """What came of it: accounts looked at, new versions, and those that could not be drawn up, each with why."""

    seen: int
    made: int
    failed: list[tuple[str, str]]


def again(store: Store, library: Library, now: int, *, subject: str | None = None, period: str | None = None) -> Done:
    """A newer version of every account that another factor or method makes differ; what stays the same is let be."""
    done = Done(0, 0, [])
    rows: list[JournalRow] = []
    shared: Known = {}
    opened: subjects.Opened = {}
    for row in store.walk("account", subject=subject, period=period):
        done.seen += 1
        try:
            version = accounts.opened(row)
            held = subjects.file_subject(store, version.content.subject_sha256, version.content.subject, opened)
            newer = _again(held, library, version, now, shared)
        except (AccountError, FactorError, MethodError, RottenError, UnitError) as error:
            done.failed.append((row.id, str(error)))
            continue
        if newer is not None:
            rows.append(accounts.row_of(newer, now))
        if len(rows) == TOGETHER:
            done.made += len(store.keep(rows))
            rows = []
    done.made += len(store.keep(rows)) if rows else 0
    return done


def _again(held: Subject, library: Library, version: Version, now: int, shared: Known) -> Version | None:
    """The version after this one, None when it says the same."""
    found = restated.redrawn(version.content, held, methods.get(version.content.method), library, shared)
    digest = found.digest
    if digest == version.digest:
        return None
    library.admit(inventory.files_of(found))
    return accounts.minted(found, digest, version, version.as_of, now)
