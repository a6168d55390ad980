"""Whose receipts let blocks go: those of the collector in force alone, and none while the box is being enrolled.

A box that is enrolled anew tells its new collector the oldest block it holds, and delivers from there: what a former
collector settled must not go any more from that moment on, or the chain could never be joined. The state folder itself
is the lock: it is there before any file is, and whoever dies holding it lets go.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edge.config import COLLECTOR, load_collector
from protocols.errors import ConfigError, EncodingError
from protocols.record.cose import kid_of


@contextmanager
def enrolling(state: Path) -> Iterator[None]:
    """While this lasts no block goes. Waits for a deletion that is under way; ConfigError where there is no folder."""
    try:
        folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(str(state), str(error.strerror), "a box set up with tanmeter site init") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def lets_go(state: Path, settled: bytes | None) -> Iterator[bool]:
    """Whether what ``settled``, the newest receipt of level 2, covers may go; it stays so while this lasts."""
    with ExitStack() as held:
        try:
            folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
            held.callback(os.close, folder)
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # it is being enrolled, or the process has no descriptor left: next time
            yield False
        else:
            yield _is_in_force(state, settled)


def signer(receipt: bytes | None) -> bytes:
    """The kid a receipt names, which was verified before it was kept; empty where there is none."""
    try:
        return b"" if receipt is None else kid_of(receipt)
    except EncodingError:
        return b""


def _is_in_force(state: Path, settled: bytes | None) -> bool:
    """A box whose collector.json is not there, or cannot be read, has none in its place."""
    try:
        held = load_collector(state / COLLECTOR)
    except ConfigError:
        return True
    return held is None or signer(settled) in (b"", held.key.kid)
