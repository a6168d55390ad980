"""A file that only takes up room, so that a full disk still has some for what must be written then."""

import os
from contextlib import suppress
from pathlib import Path

NAME = "reserve"
BYTES = 1 << 20


class Reserve:
    """The file in the folder ``state``."""

    def __init__(self, state: Path) -> None:
        self._path = state / NAME

    @property
    def held(self) -> bool:
        """Whether the room is taken."""
        try:
            return self._path.stat().st_size == BYTES
        except OSError:
            return False

    def make(self) -> None:
        """Take the room up; OSError when there is none, and then nothing is taken."""
        if self.held:
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, BYTES)
            finally:
                os.close(descriptor)
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Give the room back."""
        with suppress(OSError):
            self._path.unlink()
