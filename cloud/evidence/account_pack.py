"""Makes the pack of an account: everything its lines rest on, in a file that is checked without server or network."""

from importlib.resources import files

from cloud import account_proof, activities, factor_shelf, subjects
from cloud.accounting import feeds, interval_text, inventory
from cloud.accounting.inventory import Version
from cloud.evidence import archive
from cloud.evidence.account_check import (
    ACCOUNT,
    ACTIVITY,
    FACTORS,
    INTERVALS,
    KEYS,
    METHOD,
    PARAMETERS,
    README,
    SUBJECT,
)
from cloud.journal import unpack
from cloud.store import Store
from protocols.errors import AccountError, UnknownNameError
from protocols.record.cose import Signer


def pack_bytes(store: Store, signer: Signer, version: Version) -> bytes:
    """The pack of one version; AccountError when something it rests on is no longer what it was."""
    content = version.content
    found = {
        ACCOUNT: inventory.to_json(version),
        README: files("cloud.evidence").joinpath("ACCOUNT.txt").read_bytes(),
        SUBJECT: subjects.source(store, content.subject_sha256),
        f"{METHOD}{content.method}.toml": _builtin(f"methods/{content.method}.toml"),
        **{f"{PARAMETERS}{name}.toml": _builtin(f"parameters/{name}.toml") for name in content.parameter_sets},
        **{f"{FACTORS}{name}": source for name, source in _factors(store, version).items()},
        **_intervals(store, version),
        **_documents(store, version),
    }
    size = sum(len(data) + 2 * len(name) + 128 for name, data in found.items())
    if size > archive.LIMIT:
        raise AccountError(f"account {version.reference}: found {size} bytes of evidence, expected at most 2 GiB")
    return archive.write(archive.seal(found, version.reference, version.digest, signer))


def _builtin(name: str) -> bytes:
    return files("cloud.accounting").joinpath(name).read_bytes()


def _factors(store: Store, version: Version) -> dict[str, bytes]:
    known = factor_shelf.library(store.path.parent).factors
    if known.sha256 != version.content.factor_set:
        raise AccountError(
            f"account {version.reference}: found the factors {known.sha256[:16]} here, expected"
            f" {version.content.factor_set[:16]}: pack the version that was drawn up with these"
        )
    return dict(known.files)


def _intervals(store: Store, version: Version) -> dict[str, bytes]:
    """The intervals of each metered activity; AccountError when they have changed since."""
    content, found = version.content, {}
    subject = subjects.file_subject(store, content.subject_sha256, content.subject)
    for line in content.lines:
        for one in line.activities:
            place = feeds.place(one.reference)
            if place is not None:
                _, own = account_proof.rests_on(store, subject, line, one, place)
                if interval_text.digest(own) != one.sha256:
                    raise AccountError(
                        f"account {version.reference}: found the intervals of {line.id} changed since, expected them as"
                        " they were: close it again, and pack the newer version"
                    )
                found[f"{INTERVALS}{one.sha256}.txt"] = "".join(map(interval_text.line, own)).encode()
    return found


def _documents(store: Store, version: Version) -> dict[str, bytes]:
    """Every activity file of the subject, as it is kept, and the keys that signed them."""
    found = {}
    for kept in activities.listing(store, version.content.subject):
        row = store.entry("activity", kept.sha256)
        if row is None:
            raise UnknownNameError(f"activity {kept.sha256}: found it listed and not held")
        end = "cose" if kept.kid else "txt"
        found[f"{ACTIVITY}{kept.sha256}.{end}"] = unpack(row.body)
        if kept.kid:
            key, _ = subjects.signer(store, bytes.fromhex(kept.kid), now=False)
            found[f"{KEYS}{kept.kid}.pem"] = key.pem()
    return found
