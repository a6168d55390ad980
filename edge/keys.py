"""The gateway's key as a file: born here, mode 0600, never sent anywhere."""

import os
import stat
from pathlib import Path

from edge.durable import sync_folder
from protocols.errors import ConfigError, EncodingError
from protocols.record.cose import EDDSA, PrivateKey

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def create(path: Path, algorithm: int = EDDSA) -> PrivateKey:
    """A new key in a new file, on disk before it is returned; ConfigError when the file is there already."""
    key = PrivateKey.generate(algorithm)
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.pem())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(unfinished, path)
    except FileExistsError as error:
        raise ConfigError(str(path), "a key", "none: a key is never overwritten") from error
    finally:
        unfinished.unlink()
    sync_folder(path.parent)
    return key


def load(path: Path) -> PrivateKey:
    """The key in the file; ConfigError when it is missing, no key, or readable by others."""
    try:
        mode = path.stat().st_mode
        if mode & OTHERS:
            raise ConfigError(str(path), f"mode {stat.S_IMODE(mode):04o}", "mode 0600: nobody else may read the key")
        return PrivateKey.from_pem(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(str(path), "no key", "a key: run `tanmeter site init`") from error
    except OSError as error:
        raise ConfigError(str(path), str(error.strerror), "a readable key file") from error
    except EncodingError as error:
        raise ConfigError(str(path), str(error), "an unencrypted PKCS #8 key") from error
