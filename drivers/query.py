"""A question of a device's plan, and the values its answer holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

Values = Mapping[str, Decimal | None]
"""Point id -> value in the point's unit: scale applied, CT and PT not; None when the meter says it has none."""


@dataclass(frozen=True, slots=True)
class Query:
    """One request, the points its reply holds, and how often it is due (ms, on UTC multiples of it)."""

    request: bytes
    points: tuple[str, ...]
    period_ms: int
