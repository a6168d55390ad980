"""When to try again (pure)."""

from random import Random

LOOK_S = 4.0
"""A link that has come back is found within this time, and the first backlog is on its way a second later."""
FIRST_S = 2.0
LONGEST_S = 60.0
MOST_TURNS = 64
"""So often a collector may ask for the same again before that is a failure: answers are not signed."""
MOST_ASKED_S = 900.0
"""A collector that asks for more is looked for after this long all the same."""


class Retry:
    """Two kinds of failure, both with full jitter, so that a crowd that was cut off at once does not come back at once.

    Nobody there: a look is a packet or three, so the bound is short and stays. There, but closed, busy or strange: the
    bound doubles, for each try is carried and paid for, and it is not the link that has to come back.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = self._turns = 0

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures = self._turns = 0

    def unreachable(self, spent_s: float = 0.0) -> float:
        """Seconds to wait after an attempt that reached nobody and took so long: the last of the packets that asked is
        two seconds old when a connection that nobody answers is given up."""
        return max(LOOK_S - spent_s, LOOK_S / 2) * self._random.random()

    def later(self) -> float | None:
        """Seconds to wait where the same is to be sent again, which is no failure; None where that is never over."""
        self._turns += 1
        return FIRST_S * self._random.random() if self._turns <= MOST_TURNS else None

    def busy(self, asked_s: float | None = None) -> float:
        """Seconds to wait after an answer that settles nothing; what the collector asks for comes before the jitter, or
        all it has sent away together would be back together."""
        most = min(LONGEST_S, FIRST_S * (1 << self._failures))
        self._failures = min(self._failures + 1, 16)
        return min(asked_s or 0.0, MOST_ASKED_S) + most * self._random.random()
