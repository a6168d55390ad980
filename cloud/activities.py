"""Activity files of the store: signed ones and declared ones, kept byte for byte; and what they give an account."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from cloud import subjects
from cloud.accounting import activity_file, proofs, signed_activity
from cloud.accounting import method as methods
from cloud.accounting.activity_file import ActivityFile
from cloud.accounting.given import Entry
from cloud.accounting.line import Grade
from cloud.accounting.method import Method
from cloud.accounting.period import Period
from cloud.accounting.subject import Subject
from cloud.packed import pack, unpack
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import ActivityError, ConfigError, EvidenceError, RottenError, UnknownNameError
from protocols.record import cose

_NO_DAY = date.min
CACHED = 256
"""Files whose entries are kept at hand."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An activity file that is held. ``kid`` names the key that signed it, "" for a declared one."""

    sha256: str
    subject: str
    grade: Grade
    by: str
    kid: str
    at: int
    replaces: str
    replaced_by: str
    count: int


def take_signed(store: Store, name: str, envelope: bytes, *, now: int) -> Kept:
    """Keep a signed activity file, once its signature is of a registered key and everything in it fits its subject.

    Bytes that were declared before are imported from now on: a version of the file beside the declared one, which
    stays. EncodingError, SignatureError, EnrolmentError, ActivityError, ConfigError.
    """
    kid = cose.kid_of(envelope)
    key, by = subjects.signer(store, kid)
    source = signed_activity.open_activity(envelope, key)
    return _take(store, name, source, envelope, "imported", by=by, kid=kid.hex(), now=now)


def declare(store: Store, name: str, source: bytes, *, by: str, now: int) -> Kept:
    """Keep an activity file that somebody declares in his name; ActivityError, ConfigError.

    The same bytes under a signature stay what they are: signed.
    """
    if not by.strip():
        raise ConfigError("--by", repr(by), "the name of whoever declares it")
    return _take(store, name, source, source, "declared", by=by, kid="", now=now)


def listing(store: Store, subject: str | None = None) -> list[Kept]:
    """Every activity file held, in the order they came; RottenError."""
    rows = store.entries("activity", subject=subject)
    for row in store.strays():
        if '"replaces"' in row.detail and subject in (None, row.subject):
            raise RottenError(f"activity {row.id[:16]}: found it of the kind {row.kind!r}, expected what was kept")
    instead = {_detail(row)["replaces"]: row.id for row in rows}
    return [_kept(row, instead.get(row.id, "")) for row in rows]


def content(store: Store, sha256: str) -> tuple[Kept, bytes]:
    """A file and what is known of it, its signature checked again; UnknownNameError, SignatureError, EvidenceError."""
    row = store.entry("activity", sha256)
    if row is None:
        raise UnknownNameError("activity", sha256, "the digest of one that was taken in")
    kept, source = _kept(row, ""), unpack(row.body)
    if kept.kid:
        key, _ = subjects.signer(store, bytes.fromhex(kept.kid), now=False)
        source = signed_activity.open_activity(source, key)
    if hashlib.sha256(source).hexdigest() != sha256:
        raise EvidenceError(f"activity {sha256}", "digest", "found other bytes than those it is named by")
    return kept, source


def words(store: Store, kept: Kept) -> int:
    """How many values of a file stand on a word alone: declared, without the digest of a document."""
    _, source = content(store, kept.sha256)
    method = activity_file.read(kept.sha256, source).method or subjects.get(store, kept.subject).subject.method
    found = _entries(source, methods.get(method).id, kept.grade, kept.by)
    return sum(given.word for entry in found for given in entry.given.values())


def entries(store: Store, subject: Subject, method: Method, period: Period) -> Iterator[Entry]:
    """What the files that stand give of a period; ActivityError for an entry that lies across its edge."""
    first, last = period.days()
    for kept in listing(store, subject.id):
        if kept.replaced_by:
            continue
        _, source = content(store, kept.sha256)
        for entry in _entries(source, method.id, kept.grade, kept.by):
            if entry.start < last and entry.end > first:
                if entry.start < first or entry.end > last:
                    raise ActivityError(
                        f"{kept.sha256[:16]}: {entry.row}: found {entry.start} to {entry.end} across the edge of"
                        f" {period.id}, expected it cut there"
                    )
                yield entry


def _take(store: Store, name: str, source: bytes, body: bytes, grade: Grade, *, by: str, kid: str, now: int) -> Kept:
    file = activity_file.read(name, source)
    subject = subjects.get(store, file.subject).subject
    if not subject.method:
        raise ActivityError(f"{name}: subject: found {subject.id}, which has no method, expected one that has")
    method = methods.get(file.method or subject.method)
    found = list(_read(name, file, method, grade, by))
    proofs.check(name, found, method)
    if file.replaces:
        replaced = store.entry("activity", file.replaces)
        if replaced is None or replaced.subject != subject.id:
            raise ActivityError(f"{name}: replaces: found {file.replaces!r}, expected the digest of a file held of it")
        _may_replace(store, name, file, replaced, grade)
    held = store.entry("activity", file.sha256)
    if held is None or _raises(held, kid):
        version = 1 if held is None else held.version + 1
        detail = {"grade": grade, "kid": kid, "replaces": file.replaces, "count": len(found)}
        place = ("activity", file.sha256, version, subject.id, "", file.sha256)
        store.keep([JournalRow(0, *place, now, by, json.dumps(detail), pack(body))])
    row = store.entry("activity", file.sha256)
    assert row is not None, "it has just been kept"
    return _kept(row, "")


def _raises(held: JournalRow, kid: str) -> bool:
    """Whether these bytes come under a signature and were only declared before; a signature never becomes a word."""
    return bool(kid) and not _detail(held)["kid"]


def _may_replace(store: Store, name: str, file: ActivityFile, replaced: JournalRow, grade: Grade) -> None:
    """ActivityError where a word would stand instead of a signature, or a second correction beside the first."""
    if grade == "declared" and _detail(replaced)["kid"]:
        raise ActivityError(f"{name}: replaces: found {file.replaces}, which is signed, expected a signed correction")
    for row in store.entries("activity", subject=replaced.subject):
        if row.id != file.sha256 and _detail(row)["replaces"] == file.replaces:
            raise ActivityError(
                f"{name}: replaces: found {file.replaces}, expected {row.id}, which stands instead of it"
            )


def _read(name: str, file: ActivityFile, method: Method, grade: Grade, by: str) -> Iterator[Entry]:
    """The entries of a file that is kept: each says its own days, so that it is of one period for good."""
    for index, entry in enumerate(activity_file.entries(name, file, method, _NO_DAY, _NO_DAY, grade=grade, by=by)):
        if _NO_DAY in (entry.start, entry.end):
            raise ActivityError(f"{name}: activity[{index}]: found no from and until, expected the days it is of")
        if entry.start >= entry.end:
            raise ActivityError(f"{name}: activity[{index}]: found {entry.start} to {entry.end}, expected a later end")
        yield entry


@lru_cache(maxsize=CACHED)
def _entries(source: bytes, method: str, grade: Grade, by: str) -> tuple[Entry, ...]:
    """Every entry of a file: a year of it is read once, though twelve months are drawn from it."""
    name = hashlib.sha256(source).hexdigest()[:16]
    return tuple(_read(name, activity_file.read(name, source), methods.get(method), grade, by))


def _detail(row: JournalRow) -> Mapping[str, Any]:
    """What is kept beside a file: ``grade``, ``kid``, ``replaces`` and ``count``; RottenError when it has rotted."""
    with suppress(ValueError):
        found = json.loads(row.detail)
        if isinstance(found, dict) and {"grade", "kid", "replaces", "count"} <= found.keys():
            return found
    raise RottenError(f"activity {row.id[:16]}: found beside it what cannot be read, expected what was kept")


def _kept(row: JournalRow, replaced_by: str) -> Kept:
    detail = _detail(row)
    told = (detail["grade"], row.by, detail["kid"], row.at, detail["replaces"], replaced_by, detail["count"])
    return Kept(row.id, row.subject, *told)
