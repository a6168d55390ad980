"""How much is sent at once (pure): so much that one batch holds the line no longer than a live block may wait."""

LARGEST = 1_000_000
FIRST = 16_384
LEAST = 2_048
"""Bytes of a batch: never more, to begin with, and never aimed lower; a block that is larger goes alone."""
SHARE = 3
MOST_S = 20.0
"""A batch may take a third of a period, and never longer than this, so that the live block is not late by a period."""
TELLING_S = 0.05
"""What was over sooner says nothing of the line."""


class Pace:
    """State: the size of the next batch, and what the line was seen to carry (bytes a second, None: not known yet)."""

    def __init__(self, period_s: float) -> None:
        self._most_s = min(MOST_S, period_s / SHARE)
        self.size = FIRST
        self.rate: float | None = None

    def carried(self, size: int, seconds: float) -> None:
        """A body of so many bytes was answered after so long. What was small tells of the way there and back, not of
        the line: it may lower the size, never raise it."""
        if seconds > TELLING_S and 2 * size >= self.size:
            self.rate = size / seconds
        fits = LARGEST if seconds <= TELLING_S else int(size / seconds * self._most_s)
        if seconds > self._most_s:
            self.size = max(LEAST, min(self.size, fits))
        elif 2 * size >= self.size:
            self.size = max(LEAST, min(LARGEST, 2 * self.size, fits))

    def failed(self, seconds: float) -> None:
        """No answer came after so long. When that is longer than a batch may take, the line is slower than was
        thought; what failed sooner found nobody and says nothing of it."""
        if seconds > self._most_s:
            self.too_large()

    def too_large(self) -> None:
        """The next batch is half as large."""
        self.size = max(LEAST, self.size // 2)
