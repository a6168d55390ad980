"""Cross-checks of the store: what else is known beside the accounts; what blocks stands against a lock.

Files of it are entries of the journal (kind ``check``, id SUBJECT-PERIOD); the newest of a period counts. Flue-gas
monitors are in the signed record. Findings are made anew from both and the version that is asked about, so a corrected
account is checked by what is known already.
"""

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from cloud import metering, shared_meters, subjects
from cloud.accounting import bounds, capacity, check_file, checks, days, slips
from cloud.accounting import period as periods
from cloud.accounting.check_file import CheckFile
from cloud.accounting.checks import Finding, Stack
from cloud.accounting.electricity import OPEN
from cloud.accounting.inventory import Inventory, Version
from cloud.accounting.monitored import mass
from cloud.accounting.subject import ZONE
from cloud.packed import pack, unpack
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import ActivityError, ConfigError, RottenError, UnitError

KIND = "check"
ACCEPTED = ("slip-accepted", "outsized-accepted", "capacity-accepted")
NEAREST = 13
"""Periods that an amount is held against: of months, the same one of another year is among them."""


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
    """What does not go together in an account and what is known beside it.

    What names a line that the account lacks was not checked: that is a finding, and it blocks.
    """
    known, file = bounds.builtin(), _held(store, account)
    found: list[Finding] = []
    try:
        found += [one for stack in monitored(store, account) if (one := checks.flue_gas(stack, known)) is not None]
        found += [] if file is None else check_file.findings(file, account)
    except ActivityError as error:
        found.append(Finding("unmatched", "block", account.subject, {"text": str(error)}))
    found += shared_meters.findings(store, account)
    others = list(_others(store, account))
    found += _absent(store, account, others)
    of_lines = (*checks.composites(account.lines, known), *checks.ranges(account.lines))
    return [*found, *of_lines, *_slips(store, account, others)]


def _absent(store: Store, account: Inventory, others: Sequence[Inventory]) -> Iterator[Finding]:
    """Sources that the period before or the same one of the year before had, and this one has no word of."""
    if not account.subject_sha256 or OPEN in account.reasons:
        return
    start = account.period.start
    a_year_before = f"{int(start[:4]) - 1}{start[4:]}"
    before = [one for one in others if one.period.end == start or one.period.start == a_year_before]
    subject = subjects.file_subject(store, account.subject_sha256, account.subject)
    for source, period in days.absent(account, before, subject):
        yield Finding("absent", "open", source, {"period": period})


def _slips(store: Store, account: Inventory, near: Sequence[Inventory]) -> Iterator[Finding]:
    """Amounts that only a slip explains, beside other periods or what is installed; accepted ones say by whom, why."""
    file, row = _held(store, account), store.entry_head(KIND, f"{account.subject}-{account.period.id}")
    accepted = {} if file is None else {(one.line, one.symbol, one.value): one.reason for one in file.held.accepted}
    others = [other.lines for other in near]
    doubted = (
        *slips.doubts(account.lines, [slips.rates(other) for other in others]),
        *slips.outsized(account.lines, others),
        *_beyond(store, account),
    )
    for one in doubted:
        reason = accepted.get((one.about, one.figures.get("symbol", ""), one.figures.get("found", "")))
        if reason is None or row is None:
            yield one
        else:
            yield Finding(f"{one.id}-accepted", "warn", one.about, {**one.figures, "by": row.by, "reason": reason})


def _beyond(store: Store, account: Inventory) -> list[Finding]:
    """Amounts that are more than meters and plant let through; a bound that cannot be compared blocks as well."""
    if not account.subject_sha256:
        return []
    subject = subjects.file_subject(store, account.subject_sha256, account.subject)
    try:
        return list(capacity.beyond(account.lines, subject))
    except UnitError as error:
        return [Finding("unmatched", "block", account.subject, {"text": str(error)})]


def _others(store: Store, account: Inventory) -> Iterator[Inventory]:
    """The newest versions of the periods of the same kind nearest to an account's: a month beside months."""
    own = account.period
    rows = [
        row
        for row in store.entries("account", subject=account.subject)
        if len(row.period) == len(own.id) and row.period != own.id
    ]
    start = periods.parse(own.id, ZONE).start
    for row in sorted(rows, key=lambda row: abs(periods.parse(row.period, ZONE).start - start))[:NEAREST]:
        held = store.entry("account", row.id, row.version)
        if held is not None:
            yield _content(held)


def _content(held: JournalRow) -> Inventory:
    try:
        return msgspec.json.decode(unpack(held.body), type=Version).content
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RottenError(f"account {held.id}@{held.version}: {error}, expected the form it was kept in") from error


def stacks(store: Store, account: Inventory) -> list[Stack]:
    """The stacks that are measured beside an account; none where the findings say that one names a line it lacks."""
    file = _held(store, account)
    try:
        return [*monitored(store, account), *(() if file is None else check_file.stacks(file, account))]
    except ActivityError:
        return []


def monitored(store: Store, account: Inventory) -> Iterator[Stack]:
    """The stacks whose monitor is in the signed record; none while the period runs: it cannot be locked yet."""
    if not account.subject_sha256 or OPEN in account.reasons:
        return
    subject = subjects.file_subject(store, account.subject_sha256, account.subject)
    period = periods.parse(account.period.id, ZONE)
    for stack, parts in metering.monitored(store, subject, period).items():
        names = dict.fromkeys(name for one in parts for name in one.monitor.lines)
        found = mass(parts, period.end - period.start)
        yield Stack(stack, check_file.calculated(account, names), found.estimate, found.missing)


def _held(store: Store, account: Inventory) -> CheckFile | None:
    row = store.entry(KIND, f"{account.subject}-{account.period.id}")
    if row is None:
        return None
    source = unpack(row.body)
    if hashlib.sha256(source).hexdigest() != row.digest:
        raise RottenError(f"check {row.id}: found other bytes, expected those it is named by")
    return check_file.read(row.id, source)
