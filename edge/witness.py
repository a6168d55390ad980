"""The collector as a witness of the time (pure): its signed receipts say when it had a block that was sealed here.

A receipt was signed after its newest block was sealed and before it came, so that UTC less monotonic time lies between
two bounds. Nobody between can move them: an old receipt does not cover a new block. The collector's clock is no source
of the box's own; it only bears out a step, or speaks against one.
"""

from collections import deque

from edge.belief import drift
from protocols.record.receipt import Receipt

REMEMBERED = 256
"""Blocks whose sealing is remembered."""
WITHIN_MS = 5_000
"""A clock this near what the receipt allows is borne out."""
AGAINST_MS = 300_000
"""A clock this far from it is spoken against: the collector's own clock may be off, too."""
STALE_MS = 3_600_000


class Witness:
    """What the newest receipt says of UTC."""

    def __init__(self) -> None:
        self._sealed: deque[tuple[tuple[int, int], int]] = deque(maxlen=REMEMBERED)
        self._receipt: Receipt | None = None
        self._bounds: tuple[int, int, int] | None = None

    def sealed(self, epoch: int, seq: int, mono: int) -> None:
        """A block was sealed at an instant of monotonic time (ms)."""
        self._sealed.append(((epoch, seq), mono))

    def hear(self, receipt: Receipt | None, mono: int) -> None:
        """The newest receipt there is, at ``mono``; one that was heard before says nothing new."""
        if receipt is None or receipt == self._receipt:
            return
        self._receipt = receipt
        newest = (receipt.epoch, receipt.next_seq - 1)
        since = next((at for place, at in reversed(self._sealed) if place == newest), None)
        if since is not None:
            self._bounds = (receipt.at - mono, receipt.at - since, mono)

    def apart(self, offset: int, mono: int) -> int | None:
        """How far UTC less monotonic time is from what the collector says (ms); None when it has not said it lately."""
        if self._bounds is None or mono - self._bounds[2] > STALE_MS:
            return None
        low, high, since = self._bounds
        slack = drift(mono - since)
        return max(0, low - slack - offset, offset - high - slack)
