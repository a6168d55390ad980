"""A turn: what somebody must look into of a count."""

from dataclasses import dataclass

from cloud.intervals import Register, State

MOST_TURNS = 1000
"""Of one count, the newest: no more are kept of a whole gateway either."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What somebody must look into: a count that began again, or a register of the meter's setting that changed."""

    kind: State
    device: str
    point: str
    before: Register
    after: Register
