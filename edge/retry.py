"""When to try again (pure)."""

from random import Random

FIRST_S = 2.0
LONGEST_S = 60.0
SHARE = 30
"""A link that was away for T is looked for again within T/30."""


class Retry:
    """Two kinds of failure. Nobody there: a look costs nobody anything, so the wait is 2 s at first and grows with the
    outage. There, but busy or strange: full jitter under a bound that doubles, so that a crowd spreads out.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._down_since: float | None = None
        self._failures = 0

    def succeeded(self) -> None:
        """Forget the failures."""
        self._down_since, self._failures = None, 0

    def unreachable(self, now_s: float) -> float:
        """Seconds to wait after an attempt that reached nobody, at ``now_s`` of any steady clock."""
        if self._down_since is None:
            self._down_since = now_s
        most = min(LONGEST_S, max(FIRST_S, (now_s - self._down_since) / SHARE))
        return most * (0.5 + 0.5 * self._random.random())

    def busy(self, asked_s: float | None = None) -> float:
        """Seconds to wait after an answer that settles nothing; the collector may ask for more."""
        self._down_since = None
        most = min(LONGEST_S, FIRST_S * (1 << self._failures))
        self._failures = min(self._failures + 1, 16)
        return max(most * self._random.random(), min(asked_s or 0.0, LONGEST_S))
