"""The bundles of factors a collector holds: files named by their digest, with the key each was checked with."""

from pathlib import Path

from cloud.accounting import bundle
from cloud.accounting.bundle import Bundle, Library
from protocols.errors import ConfigError, StoreError
from protocols.record.cose import PublicKey

FOLDER = "factors"


def keep(data: Path, envelope: bytes, key: PublicKey) -> Bundle:
    """Check the bundle against its publisher's key and all that is held, and keep it; the same one again is no error.

    SignatureError, ConfigError, FactorError say why it is not taken.
    """
    found = bundle.open_bundle(envelope, key)
    bundle.library((*held(data), found))
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
    return bundle.library(held(data) if data is not None and (data / FOLDER).is_dir() else ())


def _write(path: Path, content: bytes) -> None:
    aside = path.with_suffix(path.suffix + ".new")
    aside.write_bytes(content)
    aside.replace(path)
