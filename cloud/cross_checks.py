"""Cross-checks of the store: files of what else is known, kept beside the accounts; what blocks stands against a lock.

A file is an entry of the journal (kind ``check``, id SUBJECT-PERIOD); the newest of a period counts. Findings are made
anew from it and the version that is asked about, so a corrected account is checked by what is known already.
"""

import hashlib

from cloud import subjects
from cloud.accounting import bounds, check_file, checks
from cloud.accounting.check_file import CheckFile
from cloud.accounting.checks import Finding, Stack
from cloud.accounting.inventory import Inventory
from cloud.journal import pack, unpack
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import ConfigError

KIND = "check"


def take(store: Store, name: str, source: bytes, *, by: str, now: int) -> CheckFile:
    """Keep a file; ConfigError, UnknownNameError. The same again changes nothing."""
    if not by.strip():
        raise ConfigError("--by", repr(by), "the name of whoever brings it")
    file = check_file.read(name, source)
    subjects.get(store, file.subject)
    key = f"{file.subject}-{file.period}"
    held = store.entry_head(KIND, key)
    if held is None or held.digest != file.sha256:
        version = 1 if held is None else held.version + 1
        place = (KIND, key, version, file.subject, file.period, file.sha256)
        store.keep([JournalRow(0, *place, now, by, "{}", pack(source))])
    return file


def findings(store: Store, account: Inventory) -> list[Finding]:
    """What does not go together in an account and what is known beside it; ActivityError for a line it lacks."""
    file = _held(store, account)
    if file is None:
        return list(checks.composites(account.lines, bounds.builtin()))
    return list(check_file.findings(file, account))


def stacks(store: Store, account: Inventory) -> list[Stack]:
    """The stacks that are measured beside an account."""
    file = _held(store, account)
    return [] if file is None else list(check_file.stacks(file, account))


def _held(store: Store, account: Inventory) -> CheckFile | None:
    row = store.entry(KIND, f"{account.subject}-{account.period.id}")
    if row is None:
        return None
    source = unpack(row.body)
    if hashlib.sha256(source).hexdigest() != row.digest:
        raise ConfigError(f"check {row.id}", "other bytes", "those it is named by")
    return check_file.read(row.id, source)
