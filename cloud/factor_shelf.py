"""The bundles of factors a collector holds: files named by their digest, with the key each was checked with."""

from pathlib import Path

from cloud.accounting import bundle
from cloud.accounting import library as libraries
from cloud.accounting import method as methods
from cloud.accounting.bundle import Bundle
from cloud.accounting.library import Library
from protocols.errors import ConfigError, StoreError
from protocols.record.cose import PublicKey

FOLDER = "factors"


def keep(data: Path, envelope: bytes, key: PublicKey) -> Bundle:
    """Check the bundle against its publisher's key and all that is held, and keep it; the same one again is no error.

    What it adopts must be held here, to the byte. SignatureError, ConfigError, FactorError say why it is not taken.
    """
    found = bundle.open_bundle(envelope, key)
    others = [one for one in held(data) if one.digest != found.digest]
    beside = libraries.build((*others, found))
    libraries.check(beside, methods.builtin(), found.adoptions)
    folder = data / FOLDER
    try:
        folder.mkdir(exist_ok=True)
        _write(folder / f"{found.digest}.key", key.pem())
        _write(folder / f"{found.digest}.cose", envelope)
    except OSError as error:
        raise StoreError(f"{folder}: {error}") from error
    return found


def held(data: Path) -> list[Bundle]:
    """Every bundle held, each checked again; SignatureError for one that was changed."""
    found = []
    for file in sorted((data / FOLDER).glob("*.cose")):
        key = PublicKey.from_pem(file.with_suffix(".key").read_bytes())
        one = bundle.open_bundle(file.read_bytes(), key)
        if one.digest != file.stem:
            raise ConfigError(str(file), f"the digest {one.digest}", "the digest in its name")
        found.append(one)
    return found


def library(data: Path | None) -> Library:
    """The built-in library, and beside it what the collector in ``data`` holds."""
    return libraries.build(held(data) if data is not None and (data / FOLDER).is_dir() else ())


def envelope(data: Path, digest: str) -> tuple[bytes, bytes]:
    """A bundle that is held, as it came, and its publisher's public key (PEM)."""
    file = data / FOLDER / f"{digest}.cose"
    return file.read_bytes(), file.with_suffix(".key").read_bytes()


def _write(path: Path, content: bytes) -> None:
    aside = path.with_suffix(path.suffix + ".new")
    aside.write_bytes(content)
    aside.replace(path)
