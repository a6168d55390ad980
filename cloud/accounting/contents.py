"""What a release brings, signed by the collector that accounts with it: each built-in file, by name and digest. Pure.

A key that came with the software would prove nothing of the software. So a collector signs with its own, once, which
bytes it found under each name of factors, methods and parameters; a later release that has other bytes under a name is
found out. The envelope is a COSE_Sign1 as in RECORD.md over ``{0: release, 1: day, 2: [[name, SHA-256], ...]}``, names
in order. It is never changed: what is new, or was adopted since, is in another.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from protocols.record import cbor, cose, shape

CONTENTS_TYPE = "application/tanmeter-contents+cbor"
CONTENTS_AAD = b"tanmeter-contents/v1"
FOLDERS = ("factors", "methods", "parameters")


@dataclass(frozen=True, slots=True)
class Contents:
    """What was found in ``release`` on a day (ISO), signed with the key ``kid``; ``files``: SHA-256 (hex) by name."""

    release: str
    at: str
    files: Mapping[str, str]
    kid: str
    digest: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Files that nobody signed yet, and those of which only other bytes were signed: SHA-256 (hex) by name."""

    new: Mapping[str, str]
    changed: Mapping[str, str]


@cache
def installed() -> Mapping[str, str]:
    """The digest of every built-in file, by its name as in a pack: ``parameters/ndrc-24-2015.toml``."""
    found = {}
    for folder in FOLDERS:
        for one in files("cloud.accounting").joinpath(folder).iterdir():
            if one.name.endswith(".toml"):
                found[f"{folder}/{one.name}"] = hashlib.sha256(one.read_bytes()).hexdigest()
    return dict(sorted(found.items()))


def sign(release: str, at: str, named: Mapping[str, str], signer: cose.Signer) -> bytes:
    """The envelope over these files."""
    listed = [[name, bytes.fromhex(named[name])] for name in sorted(named)]
    return cose.sign1(cbor.encode({0: release, 1: at, 2: listed}), signer, CONTENTS_TYPE, CONTENTS_AAD)


def open_contents(envelope: bytes, key: cose.PublicKey) -> Contents:
    """What this collector signed; SignatureError, EncodingError."""
    payload = cose.open1(envelope, key, CONTENTS_TYPE, CONTENTS_AAD)
    release, at, listed = shape.fields(cbor.decode(payload), 3, "contents")
    named = {}
    for entry in shape.array(listed, "contents files"):
        name, sha256 = shape.array(entry, "contents file", 2)
        named[shape.text(name, "contents file name")] = shape.octets(sha256, "contents file digest", 32).hex()
    told = (shape.text(release, "contents release"), shape.text(at, "contents day"))
    return Contents(*told, named, key.kid.hex(), hashlib.sha256(envelope).hexdigest())


def compare(signed: Iterable[Contents], held: Mapping[str, str]) -> Compared:
    """What is held against all that was signed under the same names."""
    known: dict[str, set[str]] = {}
    for one in signed:
        for name, sha256 in one.files.items():
            known.setdefault(name, set()).add(sha256)
    new = {name: sha256 for name, sha256 in held.items() if name not in known}
    changed = {name: sha256 for name, sha256 in held.items() if name in known and sha256 not in known[name]}
    return Compared(new, changed)
