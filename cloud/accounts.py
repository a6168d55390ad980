"""Versions of accounts: the pure draw over what the store holds, locked by four eyes, never rewritten.

A period is open until somebody closes it; a version is provisional until two people have put their names to it, and
superseded once a newer one stands beside it. Late data, a new factor or another subject file make that newer version.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from cloud import activities, cross_checks, factor_shelf, metering, subjects
from cloud.accounting import days as left_out
from cloud.accounting import draw as drawing
from cloud.accounting import effects, feeds, inventory, overrides
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting.certificates import Used, each_named
from cloud.accounting.checks import Finding, blocking, open_
from cloud.accounting.draw import Drawn, draw
from cloud.accounting.electricity import MISSING, OPEN
from cloud.accounting.inventory import Closure, Inventory, Version
from cloud.accounting.library import Library
from cloud.accounting.line import State
from cloud.accounting.period import Period
from cloud.accounting.sameness import named
from cloud.accounting.subject import ZONE
from cloud.packed import pack, unpack
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import (
    AccountError,
    ConfigError,
    LockedError,
    OvertakenError,
    ProofError,
    RottenError,
    UnknownNameError,
)

TRIES = 3
"""How often a version is tried again when another process has just issued that number."""
LISTED = "one that `account list` shows"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a version stands: who has put their names to it, and how it was locked, if it was."""

    state: State
    names: tuple[str, ...]
    closure: Closure
    exceptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version of an account without its content: its place in the journal, since when (UTC ms), how it
    stands.
    """

    reference: str
    period: str
    number: int
    at: int
    standing: Standing

    @property
    def locked(self) -> bool:
        """Whether two names are on it."""
        return self.standing.state == "locked"


def period_of(text: str) -> Period:
    """A period in the days of subjects; AccountError."""
    return periods.parse(text, ZONE)


def content(store: Store, library: Library, subject: str, period: Period, now: int) -> tuple[Inventory, int]:
    """What a subject emitted in a period as the store holds it at ``now``, and how far the record went into it.

    UnknownNameError, AccountError, ActivityError, FactorError, MethodError, UnitError.
    """
    as_of = store.as_of()
    held = subjects.get(store, subject)
    if not held.subject.method:
        raise AccountError(f"{subject}: found no method in its subject file, expected one: its members have accounts")
    method = methods.choose(held.subject.method, *period.days())
    until = metering.through(store, held.subject, period, now)
    fed = list(metering.fed(store, held.subject, period, until))
    entries = (*feeds.entries(fed), *activities.entries(store, held.subject, method, period))
    reasons = tuple(feeds.reasons(fed, period, until))
    drawn = Drawn(entries, until, feeds.coverage(fed), feeds.filled(fed), reasons)
    return draw(held.subject, method, period, library, drawn, subject_sha256=held.sha256), as_of


def live(store: Store, library: Library, subject: str, period: Period, now: int) -> Version:
    """The account as it stands at ``now``, nothing written: the newest version while that says the same, else a draft.

    A draft has the number 0, and the difference to the newest version.
    """
    found, as_of = content(store, library, subject, period, now)
    newest = _newest(store, inventory.account_id(subject, period.id))
    if newest is not None and inventory.same(found, newest.content):
        return newest
    return msgspec.structs.replace(minted(found, found.digest, newest, as_of, now), version=0)


def close(store: Store, library: Library, subject: str, period: Period, now: int) -> Version:
    """The version that says what is held at ``now``: the newest, or a new one beside it when the content differs.

    ProofError when a certificate in it is used elsewhere, ChangedError when a built-in file is another than was signed.
    """
    for _ in range(TRIES):
        metering.book(store, subjects.get(store, subject).subject)
        found, as_of = content(store, library, subject, period, now)
        newest = _newest(store, inventory.account_id(subject, period.id))
        if newest is not None and inventory.same(found, newest.content):
            return newest
        library.admit(inventory.files_of(found))
        version = minted(found, found.digest, newest, as_of, now)
        try:
            store.keep([row_of(version, now)])
        except OvertakenError:
            continue
        return version
    raise AccountError(f"{subject}, {period.id}: found another writer {TRIES} times, expected to be let through")


def lock(store: Store, reference: str, by: Sequence[str], now: int, *, closure: Closure = "complete") -> Version:
    """Put names to a version; with two different ones it is locked. LockedError says what stands against it.

    ``exceptions`` locks it with every draft, estimate and gap listed by name; ``partial`` beyond that with time of
    which nothing is known, of a meter or of a source. A version that is superseded, or of a period that is still open,
    is never locked.
    """
    version = get(store, reference)
    if version.state != "provisional":
        raise LockedError(f"{version.reference}: found it {version.state}, expected one that is provisional")
    for used, instead in overrides.retired(factor_shelf.library(store), version.content.lines):
        raise LockedError(f"{version.reference}: found {used}, which is retired, expected {instead}: close it again")
    exceptions = _admitted(version, closure, cross_checks.findings(store, version.content))
    names = [*version.locked_by, *(name.strip() for name in by)]
    people = {named(name) for name in names}
    if not by or "" in people or len(people) < len(names) or len(names) > 2:
        raise ConfigError("--by", ", ".join(names) or "none", "two different names (four eyes)")
    decided = {"by": names, "closure": closure, "exceptions": list(exceptions)}
    marks = store.entry_versions("mark", version.reference)
    _same_closure(marks, closure)
    detail = json.dumps(decided, ensure_ascii=False)
    place = (version.reference, len(marks) + 1, version.content.subject, version.content.period.id, version.digest)
    store.keep([JournalRow(0, "mark", *place, now, names[-1], detail, b"")])
    return get(store, version.reference)


def get(store: Store, reference: str) -> Version:
    """The version ``A-S-0012-2026-11@2``, or the newest without a number, as it stands; UnknownNameError for none."""
    name, number = inventory.parse_reference(reference)
    row = store.entry("account", name, number)
    if row is None:
        raise UnknownNameError("account", reference, LISTED)
    return _stands(store, row)


def versions(store: Store, account: str) -> list[Version]:
    """Every version of an account as it stands, oldest first."""
    return [_stands(store, row) for row in store.entry_versions("account", account, heads=False)]


def listing(
    store: Store, subject: str | None = None, period: str | None = None, *, unread: dict[str, str]
) -> list[Version]:
    """The newest version of every account, by subject and period; of those that cannot be read the names and why are
    added to ``unread``.
    """
    rows = store.entries("account", subject=subject, period=period, heads=False)
    found = list[Version]()
    for row in sorted(rows, key=lambda row: (row.subject, row.period)):
        try:
            found.append(_stands(store, row))
        except (RottenError, AccountError) as error:
            unread[f"{row.id}@{row.version}"] = str(error)
    return found


def heads(store: Store, subject: str) -> dict[str, Head]:
    """The newest version of each of a subject's accounts by its period, none of them opened."""
    found = {}
    for row in store.entries("account", subject=subject):
        reference = f"{row.id}@{row.version}"
        stands = _standing(store, reference, superseded=False)
        found[row.period] = Head(reference, row.period, row.number, row.at, stands)
    return found


def issued(store: Store, account: str, number: int) -> Version:
    """A version as it was issued, whatever came of it; UnknownNameError."""
    row = store.entry("account", account, number)
    if row is None:
        raise UnknownNameError("account", f"{account}@{number}", LISTED)
    return opened(row)


def opened(row: JournalRow) -> Version:
    """The version of an entry as it was issued; RottenError when it is not what its digest names."""
    try:
        found = msgspec.json.decode(unpack(row.body), type=Version)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RottenError(f"account {row.id}@{row.version}: {error}, expected the form it was kept in") from error
    digest = found.content.digest
    if digest != row.digest or found.digest != row.digest:
        raise RottenError(f"account {row.id}@{row.version}: found content {digest}, expected {row.digest}")
    return found


def decision(mark: JournalRow) -> Mapping[str, Any]:
    """What a mark on a version says: ``by``, ``closure``, ``exceptions``; RottenError when it has rotted."""
    with suppress(ValueError):
        found = json.loads(mark.detail)
        if isinstance(found, dict) and {"by", "closure", "exceptions"} <= found.keys():
            return found
    raise RottenError(f"mark {mark.id}, {mark.version}: found one that cannot be read, expected what was kept")


def row_of(version: Version, now: int) -> JournalRow:
    """A version as the journal keeps it; ProofError for a certificate that is in it twice."""
    total = str(version.content.totals.total)
    detail = json.dumps(
        {"as_of": version.as_of, "proofs": _proofs(version.content), "tco2e": total}, ensure_ascii=False
    )
    place = (version.id, version.version, version.content.subject, version.content.period.id, version.digest)
    return JournalRow(0, "account", *place, now, "", detail, pack(inventory.to_json(version)))


def minted(found: Inventory, digest: str, newest: Version | None, as_of: int, now: int) -> Version:
    """The version after ``newest``, of the content with this digest: numbered, and with what changed."""
    return Version(
        id=inventory.account_id(found.subject, found.period.id),
        version=1 if newest is None else newest.version + 1,
        state="provisional",
        minted_at=periods.stamp(now, ZONE),
        locked_by=(),
        as_of=as_of,
        digest=digest,
        supersedes=None if newest is None else newest.version,
        difference=None if newest is None else effects.difference(newest.content, found),
        content=found,
    )


def _admitted(version: Version, closure: Closure, findings: Sequence[Finding]) -> tuple[str, ...]:
    """What is accepted with a version that is locked so; LockedError when it takes more."""
    content, reasons = version.content, version.content.reasons
    if OPEN in reasons:
        raise LockedError(f"{version.reference}: found its period open, expected one that is over: close it again then")
    found = (*open_(findings), *drawing.unconfirmed(content))
    if MISSING in reasons and closure != "partial":
        raise LockedError(
            f"{version.reference}: found time of which nothing is known, expected --partial, or a ceiling in the"
            " subject file"
        )
    if content.left_out and closure != "partial":
        days = "; ".join(islice(left_out.named(content), 3))
        raise LockedError(
            f"{version.reference}: found days that a source leaves out ({days}), expected --partial, a document of"
            " them, or [[subject.in_use]] to say that it was not there"
        )
    if against := blocking(findings):
        raise LockedError(f"{version.reference}: found {'; '.join(against)}, expected figures that go together")
    if found and closure == "complete":
        first = "; ".join(found[:3])
        raise LockedError(
            f"{version.reference}: found {len(found)} things that are not confirmed ({first}), expected none, or"
            " --with-exceptions"
        )
    return (*found, *_accepted(findings))


def _accepted(findings: Sequence[Finding]) -> Iterator[str]:
    """What looks like a slip and was accepted, by whom and why: kept with the version."""
    for one in findings:
        if one.id in cross_checks.ACCEPTED:
            told = one.figures
            yield f"check.slip: {one.about}.{told['symbol']} = {told['found']} ({told['by']}: {told['reason']})"


def _same_closure(marks: Sequence[JournalRow], closure: Closure) -> None:
    if marks and (held := decision(marks[-1])["closure"]) != closure:
        raise LockedError(f"{marks[-1].id}: found it signed as {held}, expected the second name to say the same")


def _proofs(found: Inventory) -> dict[str, str]:
    """Each certificate or range in an inventory and what it is used for; ProofError for a certificate in it twice.

    Baseline, project and leakage of a reduction are one use: they stand on the same monitoring report of the period.
    """
    proofs: dict[str, str] = {}
    used = Used[str]()
    for line in (line for line in found.lines if line.proof):
        what = line.leaf if line.class_ == "reduction" else line.id
        use = f"{what} {line.start}--{line.end}"
        for proof in sorted(each_named(line.proof)):
            for name, other in used.of(proof):
                if line.class_ != "reduction" or other != use:
                    raise ProofError(f"{use}: found {proof!r} in {other} ({name}) too, expected each proof once")
            if proof not in proofs:
                used.add(proof, use)
            proofs[proof] = use
    return proofs


def _stands(store: Store, row: JournalRow) -> Version:
    version = opened(row)
    newest = store.entry_head("account", row.id)
    standing = _standing(store, version.reference, superseded=newest is not None and newest.version > row.version)
    return msgspec.structs.replace(
        version,
        state=standing.state,
        locked_by=standing.names,
        closure=standing.closure,
        exceptions=standing.exceptions,
    )


def _standing(store: Store, reference: str, *, superseded: bool) -> Standing:
    marks = store.entry_versions("mark", reference)
    if not marks:
        return Standing("superseded" if superseded else "provisional", (), "", ())
    said = decision(marks[-1])
    names = tuple(said["by"])
    locked = len(names) > 1
    state: State = "superseded" if superseded else "locked" if locked else "provisional"
    return Standing(state, names, said["closure"] if locked else "", tuple(said["exceptions"]) if locked else ())


def _newest(store: Store, account: str) -> Version | None:
    row = store.entry("account", account)
    return None if row is None else opened(row)
