"""Blocks whose answers are read in several turns: how far each has come. Pure."""

from dataclasses import dataclass

from cloud.strips import Replayed
from drivers.installation import Installation
from drivers.steps import Steps

MOST_BEGUN = 64
"""Of so many gateways a block that is not read to its end is remembered: some megabytes each."""
STALE = 1024
"""Turns after which one that has not come again makes way for another. Until then the other one is read in vain: were
those forgotten that wait longest, many that take turns would each be when its own comes.
"""


@dataclass(slots=True)
class Begun:
    """A block whose answers have not been read in one turn; ``replayed``: once they all are; ``turn``: its newest."""

    hash: bytes
    installation: Installation
    reading: Steps[tuple[Replayed, ...]]
    replayed: tuple[Replayed, ...] | None = None
    turn: int = 0


class Turns:
    """The blocks that are read in several turns, one of a gateway."""

    def __init__(self) -> None:
        self._begun: dict[bytes, Begun] = {}
        self._turns = 0

    def take(self, gateway: bytes) -> Begun | None:
        """The one of a gateway, which has its turn."""
        return self._begun.pop(gateway, None)

    def keep(self, gateway: bytes, begun: Begun) -> None:
        """It has had its turn, and another one comes; forgotten where too many others are before it."""
        self._turns += 1
        if len(self._begun) >= MOST_BEGUN:
            longest, held = next(iter(self._begun.items()))
            if self._turns - held.turn <= STALE:
                return
            del self._begun[longest]
        begun.turn, self._begun[gateway] = self._turns, begun
