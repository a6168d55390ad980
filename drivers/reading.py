"""What passes between a wire and an account: a question with its answer, and the reading it holds."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Quality = Literal["measured", "absent", "suspect"]
"""measured: the meter's number. absent: it says it has none (FF fill, NaN). suspect: outside the profile's limits."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question to one device: the bytes asked, the bytes answered or the fault, and when.

    ``device`` is the device's number in the site configuration, ``query`` the index of the request in its plan.
    ``at_ms`` is CLOCK_BOOTTIME in ms at the first byte of the reply, or when the question was given up.
    ``fault`` is 0 when answered, else the fault code of RECORD.md; then ``reply`` is empty.
    """

    device: int
    query: int
    request: bytes
    reply: bytes
    fault: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One quantity of one device at one instant (UTC ms). ``value`` is None when the meter says it has none."""

    device: int
    point: str
    value: Decimal | None
    unit: str
    at: int
    quality: Quality
