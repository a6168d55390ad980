"""Makes the pack of an account: everything its lines rest on, in a file that is checked without server or network."""

import hashlib
from collections.abc import Iterator, Mapping
from importlib.resources import files as files_of

from cloud import account_proof, activities, factor_shelf, subjects
from cloud.accounting import factors, feeds, interval_text, inventory
from cloud.accounting.feeds import Place
from cloud.accounting.inventory import Version
from cloud.accounting.line import Activity, Line
from cloud.evidence import archive
from cloud.evidence.account_check import (
    ACCOUNT,
    ACTIVITY,
    BUNDLES,
    CONTENTS,
    FACTORS,
    INTERVALS,
    KEYS,
    METHOD,
    PARAMETERS,
    README,
    SUBJECT,
)
from cloud.packed import unpack
from cloud.store import Store
from protocols.errors import AccountError, TanmeterError, UnknownNameError
from protocols.record.cose import Signer


def pack_bytes(store: Store, signer: Signer, version: Version) -> bytes:
    """The pack of one version; AccountError when something it rests on is no longer what it was."""
    content = version.content
    found = {
        ACCOUNT: inventory.to_json(version),
        README: files_of("cloud.evidence").joinpath("ACCOUNT.txt").read_bytes(),
        SUBJECT: subjects.source(store, content.subject_sha256),
        f"{METHOD}{content.method}.toml": _builtin(f"methods/{content.method}.toml"),
        **_sets(store, version),
        **_intervals(store, version),
        **_documents(store, version),
    }
    size = sum(len(data) + 2 * len(name) + 128 for name, data in found.items())
    if size > archive.LIMIT:
        raise AccountError(f"account {version.reference}: found {size} bytes of evidence, expected at most 2 GiB")
    return archive.write(archive.seal(found, version.reference, version.digest, signer))


def _builtin(name: str) -> bytes:
    return files_of("cloud.accounting").joinpath(name).read_bytes()


def _sets(store: Store, version: Version) -> dict[str, bytes]:
    """Parameter sets and grid factors, and every bundle that publishes or adopts one of these files or the method, and
    what the collector signed of those built in.

    AccountError for a file that is no longer here.
    """
    content = version.content
    held = factor_shelf.library(store)
    files = {name: source for one in held.bundles for name, source in one.files.items()}
    grid = content.factor_files or {name: _sha256(source) for name, source in factors.builtin().files.items()}
    found = {f"{PARAMETERS}{name}.toml": _set(f"{name}.toml", files) for name in content.parameter_sets}
    found |= {f"{FACTORS}{name}": files.get(name) or factors.builtin().files.get(name, b"") for name in grid}
    wanted = {f"{PARAMETERS}{name}.toml": sha256 for name, sha256 in content.parameter_sets.items()}
    wanted |= {f"{FACTORS}{name}": sha256 for name, sha256 in grid.items()}
    for name, sha256 in wanted.items():
        if _sha256(found[name]) != sha256:
            raise AccountError(
                f"account {version.reference}: found another {name} here or none, expected the one with the SHA-256"
                f" {sha256[:16]} that it was drawn up with"
            )
    digests = {content.method_sha256, *wanted.values(), *(content.adoptions or {}).values()}
    own = [one.digest for one in held.contents if digests.intersection(one.files.values())]
    found |= {f"{CONTENTS}{name}.cose": one for name, one in factor_shelf.own_envelopes(store).items() if name in own}
    for bundle in held.holding(digests):
        envelope, key = factor_shelf.envelope(store, bundle.digest)
        found |= {f"{BUNDLES}{bundle.digest}.cose": envelope, f"{BUNDLES}{bundle.digest}.pem": key}
    return found


def _set(name: str, files: Mapping[str, bytes]) -> bytes:
    own = files_of("cloud.accounting").joinpath(f"parameters/{name}")
    return files.get(name) or (own.read_bytes() if own.is_file() else b"")


def _sha256(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()


def is_to_be_had(store: Store, version: Version) -> bool:
    """Whether a version has a pack: it was issued, and what it metered can be read as it was counted then."""
    if not version.version:
        return False
    try:
        if any(account_proof.late(store, version.as_of, place, most=1) for _, _, place in _metered(version)):
            _intervals(store, version)
    except TanmeterError:
        return False
    return True


def _metered(version: Version) -> Iterator[tuple[Line, Activity, Place]]:
    """Each metered activity, with its line and the intervals that it names."""
    for line in version.content.lines:
        for one in line.activities:
            if (place := feeds.place(one.reference)) is not None:
                yield line, one, place


def _intervals(store: Store, version: Version) -> dict[str, bytes]:
    """The intervals of each metered activity; AccountError when they have changed since."""
    content, found = version.content, {}
    subject = subjects.file_subject(store, content.subject_sha256, content.subject)
    for line, one, place in _metered(version):
        own = account_proof.rests_on(store, subject, line, one, place)
        if interval_text.digest(own) != one.sha256:
            raise AccountError(
                f"account {version.reference}: found the intervals of {line.id} changed since, expected them as"
                " they were: close it again, and pack the newer version"
            )
        found[f"{INTERVALS}{one.sha256}.txt"] = "".join(interval_text.lines(own)).encode()
    return found


def _documents(store: Store, version: Version) -> dict[str, bytes]:
    """Every activity file of the subject, as it is kept, and the keys that signed them."""
    found = {}
    for kept in activities.listing(store, version.content.subject):
        row = store.entry("activity", kept.sha256)
        if row is None:
            raise UnknownNameError("activity", kept.sha256, "the file that is listed under this digest")
        end = "cose" if kept.kid else "txt"
        found[f"{ACTIVITY}{kept.sha256}.{end}"] = unpack(row.body)
        if kept.kid:
            key, _ = subjects.signer(store, bytes.fromhex(kept.kid), now=False)
            found[f"{KEYS}{kept.kid}.pem"] = key.pem()
    return found
