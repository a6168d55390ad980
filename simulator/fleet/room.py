"""The room on a gateway's disk: without it its store takes nothing but what fits into the reserve it gave back."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from edge.database import COMMIT_BYTES
from edge.outbox import DiskFull, Outbox
from edge.reserve import BYTES, Reserve


class Room:
    """State: whether the disk is full, and what is left of the reserve once it was given back."""

    def __init__(self, state: Path) -> None:
        self._reserve = Reserve(state)
        self._full, self._left = False, 0
        self.refused = 0
        """Transactions that found none."""

    def fill(self) -> None:
        """Somebody else takes all of it."""
        self._full, self._left = True, BYTES

    def clear(self) -> None:
        """There is room again."""
        self._full = False

    def bound(self, outbox: Outbox) -> None:
        """Have the store find out."""
        whole = outbox._db.transaction

        @contextmanager
        def transaction(lazy: bool = False) -> Iterator[None]:
            self._take()
            with whole(lazy):
                yield

        held: Callable[..., AbstractContextManager[None]] = transaction
        setattr(outbox._db, "transaction", held)  # noqa: B010 - the disk is under the class, not part of it

    def _take(self) -> None:
        if not self._full:
            return
        if self._reserve.held or self._left < COMMIT_BYTES:
            self.refused += 1
            raise DiskFull("no space left on the simulated disk")
        self._left -= COMMIT_BYTES
