"""Readings that cannot follow the register before them: what it takes until they are a count of their own. Pure.

A single one proves nothing: a meter that restarts shows 0 for a moment, a disturbed frame may fit its checksum. So a
reading that cannot follow is ignored and remembered, together with the register fallen from. A reading that can follow
that register ends the doubt, and nothing has happened. ``PROOF`` readings that go on from one another, each
``APART_MS`` or more after the one before, and none between them that goes on from the register fallen from, are a new
stretch: it begins with the first of them.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from cloud.intervals import ZERO, Register, Rules
from drivers.quantity import EXACT

PROOF = 5
APART_MS = 30_000
NEAR_ZERO = Decimal(100)
"""Without a known rate a register is near 0 when it is at most this part of the one fallen from."""

Kind = Literal["reset", "unexplained"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reading that could be of a new stretch, and where in the series it would stand (UTC ms)."""

    position: int
    register: Register


@dataclass(frozen=True, slots=True)
class Doubt:
    """The candidates so far, oldest first; at least one."""

    candidates: tuple[Candidate, ...]

    @property
    def first(self) -> Candidate:
        """With what the new stretch would begin."""
        return self.candidates[0]

    @property
    def proven(self) -> bool:
        """Whether they are a stretch of their own."""
        return len(self.candidates) >= PROOF

    def kind(self, rules: Rules, fallen_from: Register, position: int) -> Kind:
        """What it looks like: ``reset`` when the count fell and could have begun at 0 since ``position``."""
        value, before = self.first.register.value, fallen_from.value
        if value >= before:
            return "unexplained"
        if rules.max_rate_per_h is None:
            near = EXACT.multiply(value, NEAR_ZERO) <= before
        else:
            near = rules.growth(ZERO, value, self.first.position - position) is not None
        return "reset" if near else "unexplained"


def follow(doubt: Doubt | None, candidate: Candidate, rules: Rules) -> Doubt:
    """The doubt after one more reading that cannot follow: it goes on, or begins again with this one."""
    if doubt is None:
        return Doubt((candidate,))
    last = doubt.candidates[-1]
    elapsed = candidate.position - last.position
    if rules.growth(last.register.value, candidate.register.value, elapsed) is None:
        return Doubt((candidate,))
    return doubt if elapsed < APART_MS else Doubt((*doubt.candidates, candidate))
