"""What is known of a gateway from outside of it, to be held against what its disk and the collector say."""

from collections import Counter
from dataclasses import dataclass, field

Acked = tuple[int, int, bytes]
"""Device, CLOCK_BOOTTIME ms of the first reply byte, reply."""
Place = tuple[int, int]
"""Epoch and seq."""


@dataclass(slots=True)
class Witness:
    """Replies that were said to be on disk, the blocks they were found in, and what faults may have done to either."""

    acked: Counter[Acked] = field(default_factory=Counter)
    sealed: dict[Place, Counter[Acked]] = field(default_factory=dict)
    """What of it was found in sealed blocks on the disk, up to the place ``looked_at``."""
    looked_at: Place = (-1, -1)
    excused: Counter[Acked] = field(default_factory=Counter)
    """What a disk that has lied, or rots, may have taken."""
    forks: list[Place] = field(default_factory=list)
    """Places from which on a disk that went back, with its watermark, let the box make other blocks."""
    sent: dict[Place, set[bytes]] = field(default_factory=dict)
    """Hashes of the blocks that have left the box, by their place."""
    at_rest: Place | None = None
    """At rest: the place of the next block."""
    cuts: dict[int, int | None] = field(default_factory=dict)
    """At rest: from which seq on blocks of an epoch cannot be delivered."""
    lossy: bool = False
    """The disk has lost what was on it."""
    distorted: bool = False
    """The clock was not always right."""

    def found_sealed(self) -> Counter[Acked]:
        """Everything that was found in sealed blocks."""
        total: Counter[Acked] = Counter()
        for own in self.sealed.values():
            total.update(own)
        return total

    def goes_back(self, place: Place) -> None:
        """The disk knows nothing any more of the blocks from this place on."""
        self.sealed = {held: own for held, own in self.sealed.items() if held < place}
        self.looked_at = max(self.sealed, default=(-1, -1))

    def forked(self, place: Place) -> bool:
        """Whether the box may have made another block of this place: only where its disk took the memory of it."""
        return any(place[0] == epoch and place[1] >= seq for epoch, seq in self.forks)
