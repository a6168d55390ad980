"""A signed bundle of factors, parameters and adoptions: files as they were published, under one signature. Pure.

The envelope is a COSE_Sign1 as in RECORD.md over a CBOR map ``{0: publisher, 1: [[name, bytes], ...]}``, names in
order. Its digest names it; nothing in it is ever changed, a correction is another bundle.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cloud.accounting import adoption, factors, parameters
from cloud.accounting.adoption import Adoption
from cloud.accounting.parameters import ParameterSet
from drivers import toml
from protocols.errors import ConfigError
from protocols.record import cbor, cose, shape

BUNDLE_TYPE = "application/tanmeter-factors+cbor"
BUNDLE_AAD = b"tanmeter-factors/v1"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a publisher signed with the key ``kid`` (hex). ``grid``: files of electricity factors by name; ``sets``:
    parameter sets by id; ``adoptions``: what it says of other files, by id.
    """

    publisher: str
    files: Mapping[str, bytes]
    grid: Mapping[str, bytes]
    sets: Mapping[str, ParameterSet]
    digest: str
    adoptions: Mapping[str, Adoption]
    kid: str


def sign(publisher: str, sources: Mapping[str, bytes], signer: cose.Signer) -> bytes:
    """The envelope over these files, every one of them checked first; ConfigError names what is wrong in it."""
    files = [[name, sources[name]] for name in sorted(sources)]
    payload = cbor.encode({0: publisher, 1: files})
    _bundle(payload, b"", "")
    return cose.sign1(payload, signer, BUNDLE_TYPE, BUNDLE_AAD)


def open_bundle(envelope: bytes, key: cose.PublicKey) -> Bundle:
    """The bundle in an envelope of this publisher; SignatureError, EncodingError, ConfigError."""
    return _bundle(cose.open1(envelope, key, BUNDLE_TYPE, BUNDLE_AAD), envelope, key.kid.hex())


def _bundle(payload: bytes, envelope: bytes, kid: str) -> Bundle:
    publisher, listed = shape.fields(cbor.decode(payload), 2, "factor bundle")
    files = {}
    for entry in shape.array(listed, "factor bundle files"):
        name, source = shape.array(entry, "factor bundle file", 2)
        if shape.text(name, "factor bundle file name") in files:
            raise ConfigError("factor bundle", f"{name!r} twice", "each name once")
        files[shape.text(name, "factor bundle file name")] = shape.octets(source, "factor bundle file")
    if not files:
        raise ConfigError("factor bundle", "no file", "at least one")
    kinds = {name: kind(name, source) for name, source in files.items()}
    grid = {name: source for name, source in files.items() if kinds[name] == "grid"}
    sets = [parameters.load(name, source) for name, source in files.items() if kinds[name] == "set"]
    words = [adoption.load(name, source) for name, source in files.items() if kinds[name] == "adoption"]
    if grid:
        factors.load(grid)
    return Bundle(
        publisher=shape.text(publisher, "factor bundle publisher"),
        files=files,
        grid=grid,
        sets={one.id: one for one in sets},
        digest=hashlib.sha256(envelope).hexdigest(),
        adoptions={one.id: one for one in words},
        kid=kid,
    )


def kind(name: str, source: bytes) -> str:
    """What a file is: ``grid``, ``adoption`` or ``set``; ConfigError for what is no TOML."""
    tables = toml.parse(source, name)
    return "grid" if "factor" in tables else "adoption" if "adoption" in tables else "set"
