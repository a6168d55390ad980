"""Subjects of the store: subject files taken in and kept, each subject in versions; the keys that may sign activity."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cloud import bindings, factor_shelf
from cloud.accounting import headline, membership, overrides
from cloud.accounting import method as methods
from cloud.accounting import subject_file as files
from cloud.accounting.subject import Subject
from cloud.accounting.subject_file import SubjectFile
from cloud.packed import pack, unpack
from cloud.rot import UNREADABLE
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import (
    AccountError,
    ConfigError,
    EncodingError,
    EnrolmentError,
    OvertakenError,
    RottenError,
    UnknownNameError,
)
from protocols.record.cose import EDDSA, PublicKey

SOME = 20
"""Names that a message lists at most."""
TRIES = 3
"""How often a file is held against the others again when another one was taken in meanwhile."""
Opened = dict[str, Mapping[str, Subject]]
"""Digest of a subject file -> what is in it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A subject as it stands: in which version, out of which file, since when (UTC ms) and by whom."""

    subject: Subject
    version: int
    sha256: str
    at: int
    by: str


@dataclass(frozen=True, slots=True)
class Roll:
    """Every subject as it stands, by id: those whose file can be read in ``held``.

    ``unread``: the others, and why; ``briefs``: what the journal keeps beside them to hold others against, where it can
    be read: name, method, membership and main meters, and nothing else.
    """

    held: dict[str, Held]
    briefs: dict[str, Subject]
    unread: dict[str, str]


def take(store: Store, name: str, source: bytes, *, by: str, now: int) -> list[Held]:
    """Take a subject file in: a new version of each subject that it changes. ConfigError names what is wrong in it.

    A subject that stands as the file says already keeps its version, and a file that has rotted is put back when it
    comes again. AccountError for a baseline that was set and says
    something else now, and for a membership that, with all that is held, is a circle or gives away more than all;
    SharedMeterError for a main meter that another subject counts on the same day.
    """
    file, opened = files.read(name, source), Opened()
    whole = JournalRow(0, "file", file.sha256, 1, "", "", file.sha256, now, by, "{}", pack(source))
    store.renew(whole)
    _sound(store, name, file, opened)
    for _ in range(TRIES):
        seen = store.journal_end()
        changed = [one for one in file.subjects.values() if not _stands(store, one, opened)]
        _fits(store, name, file, changed, opened)
        rows = [whole]
        for subject in changed:
            known = store.entry_head("subject", subject.id)
            place = (subject.id, 1 if known is None else known.version + 1, subject.id, "", file.sha256)
            rows.append(JournalRow(0, "subject", *place, now, by, bindings.brief(subject), b""))
        try:
            store.keep(rows, behind=("subject", seen))
        except OvertakenError:
            continue
        return [get(store, subject, opened=opened) for subject in file.subjects]
    raise AccountError(f"{name}: found another writer {TRIES} times, expected to be let through")


def _sound(store: Store, name: str, file: SubjectFile, opened: Opened) -> None:
    """What a file must hold to without other subjects: baselines as they were set, factor sets and rows there are."""
    library = factor_shelf.library(store)
    for subject in file.subjects.values():
        _frozen(store, subject, opened)
        for index, override in enumerate(subject.factors):
            overrides.known(library, override, f"{name}: subject {subject.id}: factors[{index}]")
        if subject.method:
            for method in methods.editions(subject.method):
                files.bind(subject, method)


def _stands(store: Store, subject: Subject, opened: Opened) -> bool:
    """Whether it is held as it is; nobody knows that of one whose file has rotted."""
    known = store.entry_head("subject", subject.id)
    try:
        return known is not None and held(store, known, opened).subject == subject
    except RottenError:
        return False


def _fits(store: Store, name: str, file: SubjectFile, changed: Sequence[Subject], opened: Opened) -> None:
    """Whether those that change, and whoever is below them, go with everybody: membership, and each meter once."""
    if not changed:
        return
    standing = {row.id: _brief(store, row, opened) for row in store.entries("subject")}
    known = membership.Membership({**standing, **file.subjects})
    touched = known.below(one.id for one in changed)
    known.check(touched)
    bindings.check(store, name, known, touched, standing)


def _frozen(store: Store, subject: Subject, opened: Opened) -> None:
    """AccountError unless every baseline that any version of a subject had says what it said."""
    if subject.baseline:
        for row in store.entry_versions("subject", subject.id):
            headline.check_frozen(held(store, row, opened).subject.baseline, subject.baseline)


def get(store: Store, subject: str, version: int | None = None, *, opened: Opened | None = None) -> Held:
    """A subject, as it stands or in a version; UnknownNameError, RottenError where its file cannot be read."""
    row = store.entry("subject", subject, version)
    if row is None:
        known = names(store)
        raise UnknownNameError("subject", subject, some(known, subject), near(known, subject))
    return held(store, row, opened)


def at_site(store: Store, site: str) -> list[str]:
    """The subjects (ids) with a method whose site this is, or whose main meters hang on a gateway of it."""
    gateways, found = {one.id.hex() for one in store.gateways_of(site)}, list[str]()
    for row in store.entries("subject"):
        try:
            brief = _brief(store, row, Opened())
        except RottenError:
            found.append(row.id)
            continue
        if brief.method and (brief.site == site or any(meter.gateway in gateways for meter in brief.meter)):
            found.append(row.id)
    return sorted(found)


def names(store: Store) -> list[str]:
    """The id of every subject, in the order they were taken in."""
    return [row.id for row in store.entries("subject")]


def some(known: Sequence[str], asked: str) -> str:
    """For whoever asked for a name that is none: the names nearest to it, or the first of all."""
    if close := difflib.get_close_matches(asked, known):
        return " or ".join(close)
    rest = f" and {len(known) - SOME} more" if len(known) > SOME else ""
    return f"one of {', '.join(known[:SOME])}{rest}" if known else "one that was taken in: there is none yet"


def near(known: Sequence[str], asked: str) -> Sequence[str]:
    """The names nearest to one that is none, or the first of all."""
    return difflib.get_close_matches(asked, known) or known[:SOME]


def roll(store: Store) -> Roll:
    """Every subject as it stands, in the order of their ids; each file is opened once, and one that has rotted keeps no
    other subject away.
    """
    opened, found = Opened(), Roll({}, {}, {})
    for row in sorted(store.entries("subject"), key=lambda row: row.id):
        try:
            found.held[row.id] = held(store, row, opened)
        except (RottenError, ConfigError) as error:
            found.unread[row.id] = str(error)
            if (brief := _kept(row)) is not None:
                found.briefs[row.id] = brief
    return found


def briefs(store: Store, wanted: Iterable[str]) -> dict[str, Subject]:
    """Of these subjects, and of all that they belong to, what others are held against; without those that are none."""
    found: dict[str, Subject] = {}
    opened, waiting = Opened(), list(wanted)
    while waiting:
        row = store.entry_head("subject", name) if (name := waiting.pop()) not in found else None
        if row is not None:
            found[name] = _brief(store, row, opened)
            waiting += [one.of for one in found[name].membership]
    return found


def briefs_about(store: Store, places: Iterable[str]) -> dict[str, Subject]:
    """The same of every subject that may name one of these: gateways (hex) or sites; a few others may be among them."""
    opened = Opened()
    rows = [row for place in places for row in store.entries("subject", about=(place, "{}"))]
    return {row.id: _brief(store, row, opened) for row in rows}


def source(store: Store, sha256: str) -> bytes:
    """A subject file as it was written; UnknownNameError."""
    row = store.entry("file", sha256)
    if row is None:
        raise UnknownNameError("subject file", sha256, "the digest of one that was taken in")
    return unpack(row.body)


def held(store: Store, row: JournalRow, opened: Opened | None = None) -> Held:
    """The subject that an entry of the journal names."""
    return Held(file_subject(store, row.digest, row.id, opened), row.version, row.digest, row.at, row.by)


def file_subject(store: Store, sha256: str, subject: str, opened: Opened | None = None) -> Subject:
    """A subject as the file of this digest has it; RottenError for a file that is not what was taken in.

    ``opened``: where many are asked for in a row, the files they are in: a city's holds thousands, and is opened once.
    """
    known = {} if opened is None else opened
    if sha256 not in known:
        known[sha256] = _file(store, sha256)
    return _of(known[sha256], sha256, subject)


def _brief(store: Store, row: JournalRow, opened: Opened) -> Subject:
    """What others are held against, out of its file where the entry is of a time before it was kept; RottenError."""
    return _kept(row) or file_subject(store, row.digest, row.id, opened)


def _kept(row: JournalRow) -> Subject | None:
    """The brief beside an entry; None where none was kept, or it has rotted."""
    with suppress(RottenError):
        return bindings.of_brief(row.detail)
    return None


def _file(store: Store, sha256: str) -> Mapping[str, Subject]:
    """The subjects of a file; RottenError for one that is not what was taken in."""
    name = f"subject file {sha256[:16]}"
    try:
        content = source(store, sha256)
    except (UnknownNameError, RottenError) as error:
        raise RottenError(f"{name}: {error}") from error
    if (made := hashlib.sha256(content).hexdigest()) != sha256:
        raise RottenError(f"{name}: found bytes with the digest {made[:16]}, expected those that were taken in")
    return files.read(sha256[:16], content).subjects


def _of(found: Mapping[str, Subject], sha256: str, subject: str) -> Subject:
    if subject not in found:
        raise RottenError(f"subject file {sha256[:16]}: found no {subject!r}, expected one of {', '.join(found)}")
    return found[subject]


def trust(store: Store, name: str, key: PublicKey, *, now: int) -> str:
    """Let a key sign activity files in this name, from now on; its kid. ConfigError for any but an Ed25519 key."""
    if key.algorithm != EDDSA:
        raise ConfigError("key", "a P-256 key", "an Ed25519 key")
    _decide(store, key.kid.hex(), key.pem(), by=name, trusted=True, now=now)
    return key.kid.hex()


def distrust(store: Store, kid: str, *, now: int) -> None:
    """Take nothing more that this key signs; what it signed before stays. UnknownNameError."""
    row = store.entry("signer", kid)
    if row is None:
        raise UnknownNameError("signer", kid, "the kid of a key that was registered")
    _decide(store, kid, unpack(row.body), by=row.by, trusted=False, now=now)


def signers(store: Store) -> list[tuple[str, str, bool, int]]:
    """Every registered key: kid, name, whether it is trusted now, since when (UTC ms)."""
    return [(row.id, row.by, bool(json.loads(row.detail)["trusted"]), row.at) for row in store.entries("signer")]


def signer(store: Store, kid: bytes, *, now: bool = True) -> tuple[PublicKey, str]:
    """The key of this kid and its name; EnrolmentError when it is not registered, or (``now``) no longer trusted;
    RottenError when it cannot be read.
    """
    row = store.entry("signer", kid.hex())
    found = "no key"
    if row is not None:
        try:
            if not now or json.loads(row.detail)["trusted"]:
                return PublicKey.from_pem(unpack(row.body)), row.by
        except (EncodingError, RottenError, *UNREADABLE) as error:
            raise RottenError(f"signer {kid.hex()}: found {error}, expected the key that was registered") from error
        found = "a key that is no longer trusted"
    raise EnrolmentError(f"signer {kid.hex()}: found {found}, expected one that `account signer add` registered")


def _decide(store: Store, kid: str, pem: bytes, *, by: str, trusted: bool, now: int) -> None:
    known = store.entry("signer", kid)
    detail = json.dumps({"trusted": trusted})
    if known is not None and (known.by, known.detail) == (by, detail):
        return
    version = 1 if known is None else known.version + 1
    digest = hashlib.sha256(pem + by.encode() + detail.encode()).hexdigest()
    store.keep([JournalRow(0, "signer", kid, version, "", "", digest, now, by, detail, pack(pem))])
