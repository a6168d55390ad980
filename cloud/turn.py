"""A turn: what somebody must look into of a count."""

from dataclasses import dataclass

from cloud.intervals import Register, State


@dataclass(frozen=True, slots=True)
class Turn:
    """What somebody must look into: a count that began again, or a register of the meter's setting that changed."""

    kind: State
    device: str
    point: str
    before: Register
    after: Register
