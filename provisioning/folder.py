"""The state folder of a box as set-up and enrolment see it; each file is written whole or not at all."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge.config import CONFIGS, ENROLMENT, PROFILES, Signed, load_configurations, opened_enrolment
from edge.durable import sync_folder
from protocols.errors import ChainError, ConfigError, StoreError, TanmeterError
from protocols.record.enrolment import Enrolment
from protocols.record.siteconfig import SiteConfig, digest

SITE = "site.toml"
"""The file a person edits; what counts is the newest signed configuration."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box that is set up: its enrolment request and its signed configurations, oldest first."""

    enrolment: Enrolment
    envelope: bytes
    configs: tuple[Signed, ...]

    @property
    def newest(self) -> SiteConfig:
        """The configuration in force."""
        return self.configs[-1].config


def read_box(state: Path) -> Box:
    """The box in this folder; ConfigError when it is not set up or not whole, RecordError when it does not verify."""
    envelope = read(state / ENROLMENT, "a box set up with tanmeter site init")
    enrolment = opened_enrolment(state / ENROLMENT, envelope)
    configs = load_configurations(state, enrolment.technician)
    if digest(configs[0].envelope) != enrolment.site_config:
        raise ChainError(f"{config_path(state, 1)}: found another file, expected the one this box was set up with")
    return Box(enrolment, envelope, configs)


def config_path(state: Path, number: int) -> Path:
    """Where a signed configuration lies."""
    return state / CONFIGS / f"{number:04d}.cose"


def profile_path(state: Path, sha256: bytes) -> Path:
    """Where a profile lies, whichever version it is."""
    return state / PROFILES / f"{sha256.hex()}.toml"


def read(path: Path, expected: str) -> bytes:
    """The file; ConfigError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), _reason(error), expected) from error


def write(path: Path, data: bytes) -> None:
    """Put a file in place, instead of the one there, in one step; ConfigError, StoreError."""
    _place(path, data, replace=True)


def write_private(path: Path, data: bytes) -> None:
    """As ``write``, for the owner of the folder alone: what may hold a password."""
    _place(path, data, replace=True, mode=0o600)


def write_new(path: Path, data: bytes) -> None:
    """Put a file where there is none, in one step; ConfigError when there is one, StoreError."""
    _place(path, data, replace=False)


def failure(path: Path, error: OSError) -> TanmeterError:
    """What an error of the file system means to a person: a place to correct, or a disk that fails."""
    if isinstance(error, PermissionError | NotADirectoryError | FileNotFoundError):
        return ConfigError(str(path), _reason(error), "a place this user may write to")
    return StoreError(f"{path}: {_reason(error)}")


def _place(path: Path, data: bytes, replace: bool, mode: int = 0o666) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            aside.unlink()
        _write_through(aside, data, mode)
        if replace:
            aside.rename(path)
        else:
            os.link(aside, path)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise ConfigError(str(path), "a file that is there already", "none: it is never overwritten") from error
    except OSError as error:
        raise failure(path, error) from error
    finally:
        with suppress(OSError):
            aside.unlink()


def _write_through(path: Path, data: bytes, mode: int) -> None:
    owner = path.parent.stat()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        if os.geteuid() == 0:  # the agent runs as the folder's owner, and must read what root puts there
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
