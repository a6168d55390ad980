"""A question of a device's plan, and the values its answer holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

Values = Mapping[str, Decimal | None]
"""Point id -> value in the point's unit: scale applied, CT and PT not; None when the meter says it has none."""


@dataclass(frozen=True, slots=True)
class Query:
    """One request, the points its reply holds, and how often it is due (ms, on UTC multiples of it).

    ``also``: other wordings of the same question, for meters that understand only one of them. A device that speaks
    unasked has empty requests: then the packets that hold these points are due.
    """

    request: bytes
    points: tuple[str, ...]
    period_ms: int
    also: tuple[bytes, ...] = ()

    @property
    def wordings(self) -> tuple[bytes, ...]:
        """Every way to put this question, the usual one first."""
        return (self.request, *self.also)
