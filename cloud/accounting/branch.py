"""What a meter counted, and what the meters below it counted of that. What is left is unmetered, and nobody's. Pure."""

from dataclasses import dataclass
from decimal import Decimal

from drivers.quantity import EXACT


@dataclass(frozen=True, slots=True)
class Branch:
    """A point of a meter over some days, with those below it. ``gateway``: hex; ``name``: as its site file calls it.

    ``amount``, in ``unit``, is None where nothing is known of it, or it counts what is no part of the meter above.
    ``measured``: nothing of the amount was filled, and no time is missing in it.
    """

    gateway: str
    device: str
    point: str
    name: str
    amount: Decimal | None
    unit: str
    measured: bool
    below: tuple["Branch", ...] = ()

    @property
    def id(self) -> str:
        """``gateway/device/point``."""
        return f"{self.gateway}/{self.device}/{self.point}"

    @property
    def known(self) -> tuple["Branch", ...]:
        """Those below it of which an amount is known."""
        return tuple(one for one in self.below if one.amount is not None)

    @property
    def metered(self) -> Decimal:
        """What those below it come to."""
        total = Decimal(0)
        for one in self.known:
            total = EXACT.add(total, one.amount or Decimal(0))
        return total

    @property
    def rest(self) -> Decimal | None:
        """What no meter below it counted; below 0 where they counted more than it; None where none of them is known."""
        return EXACT.subtract(self.amount, self.metered) if self.amount is not None and self.known else None
