"""The bundles of factors a collector holds: in the journal by their digest, each with the key it was checked with."""

import json

from cloud.accounting import bundle
from cloud.accounting import library as libraries
from cloud.accounting import method as methods
from cloud.accounting.bundle import Bundle
from cloud.accounting.library import Library
from cloud.journal import pack, unpack
from cloud.rows import JournalRow
from cloud.store import Store
from protocols.errors import ConfigError, UnknownNameError
from protocols.record.cose import PublicKey

KIND = "bundle"


def keep(store: Store, envelope: bytes, key: PublicKey, *, now: int) -> Bundle:
    """Check the bundle against its publisher's key and all that is held, and keep it; the same one again is no error.

    What it adopts must be held here, to the byte. SignatureError, ConfigError, FactorError say why it is not taken.
    """
    found = bundle.open_bundle(envelope, key)
    others = [one for one in held(store) if one.digest != found.digest]
    beside = libraries.build((*others, found))
    libraries.check(beside, methods.builtin(), found.adoptions)
    detail = json.dumps({"key": key.pem().decode(), "files": list(found.files)}, ensure_ascii=False)
    place = (found.digest, 1, "", "", found.digest)
    store.keep([JournalRow(0, KIND, *place, now, found.publisher, detail, pack(envelope))])
    return found


def held(store: Store) -> list[Bundle]:
    """Every bundle held, each checked again; SignatureError or ConfigError for one that was changed."""
    found = []
    for row in store.entries(KIND, heads=False):
        key = PublicKey.from_pem(json.loads(row.detail)["key"].encode())
        one = bundle.open_bundle(unpack(row.body), key)
        if one.digest != row.id:
            raise ConfigError(f"bundle {row.id}", f"the digest {one.digest}", "the digest in its name")
        found.append(one)
    return found


def library(store: Store | None) -> Library:
    """The built-in library, and beside it what a collector's store holds."""
    return libraries.build(() if store is None else held(store))


def envelope(store: Store, digest: str) -> tuple[bytes, bytes]:
    """A bundle that is held, as it came, and its publisher's public key (PEM); UnknownNameError."""
    row = store.entry(KIND, digest)
    if row is None:
        raise UnknownNameError(f"bundle: found none with the digest {digest}, expected one that was taken in")
    return unpack(row.body), json.loads(row.detail)["key"].encode()
