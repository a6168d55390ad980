"""A signed bundle of factors or parameters: the files as they were published, under one signature. Pure.

The envelope is a COSE_Sign1 as in RECORD.md over a CBOR map ``{0: publisher, 1: [[name, bytes], ...]}``, names in
order. Its digest names it; nothing in it is ever changed, a correction is another bundle.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cloud.accounting import factors, parameters
from cloud.accounting.factors import Factor, FactorSet
from cloud.accounting.parameters import ParameterSet
from drivers import toml
from protocols.errors import ConfigError, FactorError
from protocols.record import cbor, cose, shape

BUNDLE_TYPE = "application/tanmeter-factors+cbor"
BUNDLE_AAD = b"tanmeter-factors/v1"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a publisher signed. ``grid``: files of electricity factors; ``sets``: parameter sets by id."""

    publisher: str
    files: Mapping[str, bytes]
    grid: Mapping[str, bytes]
    sets: Mapping[str, ParameterSet]
    digest: str


@dataclass(frozen=True, slots=True)
class Library:
    """All that accounts may choose from: the built-in files and every bundle beside them.

    ``factors`` are those of electricity by year, region and basis; ``sets`` the parameters by guideline and edition.
    """

    factors: FactorSet
    sets: Mapping[str, ParameterSet]


def sign(publisher: str, sources: Mapping[str, bytes], signer: cose.Signer) -> bytes:
    """The envelope over these files, every one of them checked first; ConfigError names what is wrong in it."""
    files = [[name, sources[name]] for name in sorted(sources)]
    payload = cbor.encode({0: publisher, 1: files})
    _bundle(payload, b"")
    return cose.sign1(payload, signer, BUNDLE_TYPE, BUNDLE_AAD)


def open_bundle(envelope: bytes, key: cose.PublicKey) -> Bundle:
    """The bundle in an envelope of this publisher; SignatureError, EncodingError, ConfigError."""
    return _bundle(cose.open1(envelope, key, BUNDLE_TYPE, BUNDLE_AAD), envelope)


def library(bundles: Iterable[Bundle] = ()) -> Library:
    """The built-in library with bundles beside it; FactorError where two of one name, id or place and year differ."""
    grid = dict(factors.builtin().files)
    sets = dict(parameters.builtin())
    for bundle in bundles:
        for name, source in bundle.grid.items():
            if grid.setdefault(name, source) != source:
                raise FactorError(f"{name} of {bundle.publisher}: found other bytes than held, expected another name")
        for name, held in bundle.sets.items():
            if sets.setdefault(name, held).sha256 != held.sha256:
                raise FactorError(f"set {name} of {bundle.publisher}: found other bytes than held, expected another id")
    if len(grid) == len(factors.builtin().files):
        return Library(factors.builtin(), sets)
    loaded = factors.load(grid)
    _one_for_each(loaded.factors)
    return Library(loaded, sets)


def _one_for_each(known: Iterable[Factor]) -> None:
    """FactorError where two factors are of one basis, region and year: every account there would be refused."""
    held: dict[tuple[str, str, int], Factor] = {}
    for one in known:
        other = held.setdefault((one.basis, one.region, one.data_year), one)
        if other is not one:
            raise FactorError(
                f"{one.file}: found {one.id}, but {other.id} of {other.file} is of the same basis, region and year;"
                " expected exactly one"
            )


def _bundle(payload: bytes, envelope: bytes) -> Bundle:
    publisher, listed = shape.fields(cbor.decode(payload), 2, "factor bundle")
    files = {}
    for entry in shape.array(listed, "factor bundle files"):
        name, source = shape.array(entry, "factor bundle file", 2)
        if shape.text(name, "factor bundle file name") in files:
            raise ConfigError("factor bundle", f"{name!r} twice", "each name once")
        files[shape.text(name, "factor bundle file name")] = shape.octets(source, "factor bundle file")
    if not files:
        raise ConfigError("factor bundle", "no file", "at least one")
    grid = {name: source for name, source in files.items() if "factor" in toml.parse(source, name)}
    sets = [parameters.load(name, source) for name, source in files.items() if name not in grid]
    if grid:
        factors.load(grid)
    digest = hashlib.sha256(envelope).hexdigest()
    held = {one.id: one for one in sets}
    return Bundle(shape.text(publisher, "factor bundle publisher"), files, grid, held, digest)
