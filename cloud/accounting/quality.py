"""How far an account rests on what was measured: shares of the emissions by grade, and one letter for a ranking.

The thresholds of the letters are ours, no standard's: A from 95 % of the emissions on metered or imported data that
nothing filled, B from 85 %, C from 70 %, else D. An account of grade D takes no part in a ranking by intensity.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from cloud.accounting.line import Grade, Line
from cloud.accounting.units import ARITHMETIC

Letter = Literal["A", "B", "C", "D"]
LETTERS: tuple[tuple[Letter, Decimal], ...] = (("A", Decimal("0.95")), ("B", Decimal("0.85")), ("C", Decimal("0.70")))
RANK: dict[Grade, int] = {"metered": 0, "imported": 1, "declared": 2}
SHARE = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Quality:
    """Shares of the emissions by size, whatever their sign; together 1. ``estimated`` is taken out of the others."""

    metered: Decimal
    imported: Decimal
    declared: Decimal
    estimated: Decimal
    letter: Letter

    @property
    def measured(self) -> Decimal:
        """Share that rests on meters or on signed files, rounded down to a ten-thousandth."""
        return self.metered + self.imported


def quality(lines: Iterable[Line]) -> Quality | None:
    """The quality of these lines together; None where they emit nothing. A line counts as its weakest activity."""
    sums = dict.fromkeys(("metered", "imported", "declared", "estimated"), Decimal(0))
    for line in lines:
        size = abs(line.tco2e)
        filled = max((one.estimated for one in line.activities), default=Decimal(0))
        weakest = max((one.grade for one in line.activities), key=RANK.__getitem__, default="declared")
        sums["estimated"] += size * filled
        sums[weakest] += size * (1 - filled)
    whole = sum(sums.values())
    if not whole:
        return None
    shares = {name: ARITHMETIC.divide(value, whole).quantize(SHARE, "ROUND_FLOOR") for name, value in sums.items()}
    return Quality(**shares, letter=letter(shares["metered"] + shares["imported"]))


def letter(measured: Decimal) -> Letter:
    """The letter of a share that was measured."""
    return next((name for name, least in LETTERS if measured >= least), "D")
