"""What the collector's commands read, open and print alike."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, RenderableType

from protocols import messages
from protocols.errors import ConfigError, EncodingError

if TYPE_CHECKING:
    from cloud.store import Store
    from protocols.record.cose import PrivateKey, PublicKey

PLAIN_WIDTH = 160


def language() -> messages.Language:
    """The language that whoever runs the command reads."""
    return messages.spoken(os.environ)


def show(found: RenderableType, plain_width: int = PLAIN_WIDTH) -> None:
    """A table or a tree for the eye: as wide as the terminal, or of ``plain_width`` columns in a file or a pipe."""
    Console(width=None if sys.stdout.isatty() else plain_width, highlight=False, markup=False).print(found)


def say(message: str, **known: object) -> None:
    """A message of the catalogue to whoever runs the command, beside what the command prints."""
    typer.echo(messages.text(message, language(), **known), err=True)


def tell(value: dict[str, Any]) -> None:
    """One line of JSON."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def now_ms() -> int:
    """UTC now, ms."""
    return time.time_ns() // 1_000_000


def read(path: Path) -> bytes:
    """The bytes of a file; ConfigError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), str(error.strerror), "a file that can be read") from error


def public_key(path: Path) -> "PublicKey":
    """The public key in a file; ConfigError."""
    from protocols.record.cose import PublicKey

    try:
        return PublicKey.from_pem(read(path))
    except EncodingError as error:
        raise ConfigError(str(path), "no key in PEM", "a public key, Ed25519 or P-256, in PEM") from error


def private_key(path: Path) -> "PrivateKey":
    """The private key in a file; ConfigError."""
    from protocols.record.cose import PrivateKey

    try:
        return PrivateKey.from_pem(read(path))
    except EncodingError as error:
        raise ConfigError(
            str(path), "no key in PEM", "a private key, Ed25519 or P-256, as unencrypted PKCS #8"
        ) from error


@contextmanager
def opened(data: Path) -> "Iterator[Store]":
    """The collector's store in this folder, with its key; ConfigError, StoreError."""
    from cloud import config

    with config.open_store(data, config.open_key(data)) as store:
        yield store
