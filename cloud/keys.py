"""The collector's signing key: a file only its owner may read."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from cloud.durable import sync_folder
from protocols.errors import ConfigError, EncodingError, StoreError
from protocols.record.cose import PrivateKey

MODE = 0o600


def load_or_create(path: Path) -> PrivateKey:
    """The key in this file, made at first use; ConfigError when the file is not a key or others may read it."""
    if not path.exists():
        with suppress(FileExistsError):
            _create(path)
    return load(path)


def load(path: Path) -> PrivateKey:
    """The key in this file; ConfigError when there is none, it is not a key, or its mode is not 0600."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read()
    except OSError as error:
        raise ConfigError(str(path), str(error.strerror), "the collector's key") from error
    if mode != MODE:
        raise ConfigError(str(path), f"mode {mode:04o}", f"mode {MODE:04o}: readable by its owner alone")
    try:
        return PrivateKey.from_pem(pem)
    except EncodingError as error:
        raise ConfigError(str(path), "something that is not a private key", "an unencrypted PKCS #8 PEM") from error


def _create(path: Path) -> None:
    """Whole or not at all: written aside, made durable, then linked to its name unless one is there already."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), MODE)
            file.write(PrivateKey.generate().pem())
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, path)
        sync_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreError(f"{path}: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
