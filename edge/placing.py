"""Where a file goes that somebody asks for by its name: into the place of a file, or where nothing is."""

import errno
from pathlib import Path

from protocols.errors import ConfigError, StoreError, TanmeterError


def meant(out: Path) -> Path:
    """The file that ``--out`` means, links followed; ConfigError where something else has this name.

    What is written whole takes the place of what was there, and nothing may take the place of /dev/null.
    """
    try:
        if out.exists() and not out.is_file():
            raise ConfigError(str(out), "no file", "the name of a file, new or to be replaced")
        return out.resolve()
    except OSError as error:
        raise failure(out, error) from error


def failure(out: Path, error: OSError) -> TanmeterError:
    """What an error of the file system means to who gave the name: a name to correct, or a disk that is full."""
    if isinstance(error, PermissionError | NotADirectoryError | FileNotFoundError) or error.errno == errno.ENAMETOOLONG:
        return ConfigError(str(out), str(error.strerror), "a file in a folder this user may write to")
    return StoreError(f"{out}: found {error.strerror}, expected a place with room: --out on a stick, or /dev/shm")
