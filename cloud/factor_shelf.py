"""The bundles of factors a collector holds: in the journal by their digest, each with the key it was checked with; and
what it signed itself of the files its releases brought.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from cloud.accounting import bundle, contents
from cloud.accounting import library as libraries
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting.bundle import Bundle
from cloud.accounting.contents import Contents
from cloud.accounting.library import Library
from cloud.accounting.subject import ZONE
from cloud.packed import pack, unpack
from cloud.rot import UNREADABLE
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import ConfigError, RecordError, RottenError, UnknownNameError
from protocols.record.cose import PrivateKey, PublicKey

KIND = "bundle"
OWN = "contents"
MARKS = {KIND: '"files"', OWN: '"release"'}
"""What is in the details of entries of this kind alone."""


def keep(store: Store, envelope: bytes, key: PublicKey, *, now: int) -> Bundle:
    """Check the bundle against its publisher's key and all that is held, and keep it; the same one again is no error.

    What it adopts must be held here, to the byte. SignatureError, ConfigError, FactorError say why it is not taken.
    """
    found = bundle.open_bundle(envelope, key)
    detail = json.dumps({"key": key.pem().decode(), "files": list(found.files)}, ensure_ascii=False)
    place = (found.digest, 1, "", "", found.digest)
    row = JournalRow(0, KIND, *place, now, found.publisher, detail, pack(envelope))
    store.renew(row)
    others = [one for one in held(store) if one.digest != found.digest]
    beside = libraries.build((*others, found))
    libraries.check(beside, methods.builtin(), found.adoptions)
    store.keep([row])
    return found


def held(store: Store) -> list[Bundle]:
    """Every bundle held, each checked again; RottenError for one that was changed, or is of another kind by now:
    without it figures may be others.
    """
    found = []
    for row in _entries(store, KIND):
        with _whole(row):
            one = bundle.open_bundle(unpack(row.body), _key(row))
        if one.digest != row.id:
            raise RottenError(f"bundle {row.id}: found the digest {one.digest}, expected the one in its name")
        found.append(one)
    return found


def library(store: Store | None) -> Library:
    """The built-in library, and beside it what a collector's store holds."""
    if store is None:
        return libraries.build()
    return replace(libraries.build(held(store)), contents=tuple(own(store)))


def own(store: Store, key: PublicKey | None = None) -> list[Contents]:
    """What the collector signed of its releases, oldest first, each checked again by the key beside it; RottenError.

    ``key``: the collector's own, where it is at hand: SignatureError for what another one signed.
    """
    found = []
    for row in _entries(store, OWN):
        with _whole(row):
            one = contents.open_contents(unpack(row.body), _key(row))
        found.append(one if key is None else contents.open_contents(unpack(row.body), key))
    return found


def sign_own(store: Store, key: PrivateKey, release: str, *, now: int) -> list[str]:
    """Sign, once, the built-in files whose names are new, or whose new bytes were adopted; SignatureError, RottenError.

    The names of those that have changed and that nobody has adopted: nothing is signed of them.
    """
    signed = own(store, key.public)
    known = replace(library(store), contents=tuple(signed))
    found, changed = contents.compare(signed, contents.installed()), known.changed()
    fresh = {**found.new, **{name: sha256 for name, sha256 in found.changed.items() if name not in changed}}
    if fresh:
        at = periods.stamp(now, ZONE)[:10]
        store.keep([_own_row(0, contents.sign(release, at, fresh, key), key, release, now)])
    return sorted(changed)


def signed_anew(row: JournalRow, key: PrivateKey) -> JournalRow:
    """What a collector that has lost its key signed of its releases, checked, and signed with the key in its place; an
    entry of anything else, or of this very key, as it is. SignatureError, EncodingError.
    """
    if row.kind != OWN or row.by == key.public.kid.hex():
        return row
    said = contents.open_contents(unpack(row.body), _key(row))
    envelope = contents.sign(said.release, said.at, said.files, key)
    return _own_row(row.number, envelope, key, said.release, row.at)


def _entries(store: Store, kind: str) -> list[JournalRow]:
    """Every entry of a kind; RottenError where another was of it until its kind rotted."""
    for row in store.strays():
        if row.id == row.digest and MARKS[kind] in row.detail:
            raise RottenError(f"{kind} {row.id}: found it of the kind {row.kind!r}, expected what was kept")
    return store.entries(kind, heads=False)


@contextmanager
def _whole(row: JournalRow) -> Iterator[None]:
    """RottenError where an entry is not what was kept."""
    try:
        yield
    except (RecordError, ConfigError, RottenError, *UNREADABLE) as error:
        raise RottenError(f"{row.kind} {row.id}: {error}, expected what was kept") from error


def _key(row: JournalRow) -> PublicKey:
    """The key beside an entry, with which it was checked."""
    return PublicKey.from_pem(json.loads(row.detail)["key"].encode())


def _own_row(number: int, envelope: bytes, key: PrivateKey, release: str, at: int) -> JournalRow:
    digest = contents.open_contents(envelope, key.public).digest
    detail = json.dumps({"key": key.public.pem().decode(), "release": release})
    place = (digest, 1, "", "", digest)
    return JournalRow(number, OWN, *place, at, key.public.kid.hex(), detail, pack(envelope))


def own_envelopes(store: Store) -> dict[str, bytes]:
    """What the collector signed of its releases, as it stands in the journal, by digest."""
    return {row.digest: unpack(row.body) for row in store.entries(OWN, heads=False)}


def envelope(store: Store, digest: str) -> tuple[bytes, bytes]:
    """A bundle that is held, as it came, and its publisher's public key (PEM); UnknownNameError."""
    row = store.entry(KIND, digest)
    if row is None:
        raise UnknownNameError("bundle", digest, "the digest of one that was taken in")
    return unpack(row.body), json.loads(row.detail)["key"].encode()
