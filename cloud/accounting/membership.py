"""Who belongs to whom, by how much and since when: enterprise in park in district in city, with shares, day by day.

What a subject says itself of a whole that it belongs to stands; else it belongs there through what it belongs to, each
way with the product of its shares. Never more than all of it: a sum above 1 is an error, and so is a circle.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import pairwise

from cloud.accounting.subject import Subject
from cloud.accounting.units import ARITHMETIC
from drivers.quantity import EXACT
from protocols.errors import AccountError

NOBODY = ""
"""No subject's id: to look for it is to walk all that is above, and so to find a circle."""
_ZERO, _ONE = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True)
class Membership:
    """The shares of these subjects in each other. Built once for a roll-up: what was asked before is remembered."""

    subjects: Mapping[str, Subject]
    _known: dict[tuple[str, str, date, date], Decimal] = field(default_factory=dict, repr=False, compare=False)
    _below: dict[str, list[str]] = field(default_factory=dict, repr=False, compare=False)

    def share(self, member: str, of: str, day: date) -> Decimal:
        """How much of a subject is within another on a day, 0 to 1; AccountError for a circle or more than all."""
        return self._share(member, of, day, ())

    def weight(self, member: str, of: str, start: date, end: date) -> Decimal:
        """The same over days, half open: the mean of the days."""
        key = (member, of, start, end)
        if key not in self._known:
            self._known[key] = self._mean(member, of, start, end)
        return self._known[key]

    def members(self, of: str, start: date, end: date) -> list[str]:
        """Everybody else who is within it on some of these days, by id."""
        return sorted(one for one in self.below([of]) if one != of and self.weight(one, of, start, end))

    def below(self, wholes: Iterable[str]) -> list[str]:
        """These, and everybody who is, was or will be within one of them, in the order in which they are found."""
        if not self._below:
            below: dict[str, list[str]] = {"": []}
            for held in self.subjects.values():
                for part in held.membership:
                    below.setdefault(part.of, []).append(held.id)
            self._below.update(below)
        found = dict.fromkeys(wholes)
        waiting = list(found)
        while waiting:
            for one in self._below.get(waiting.pop(), ()):
                if one not in found:
                    found[one] = None
                    waiting.append(one)
        return list(found)

    def check(self, members: Iterable[str]) -> None:
        """AccountError for a circle above one of these, or where a whole would have more than all of one some day."""
        for member in members:
            seen: set[str] = set()
            days = sorted(set(self._edges(member, seen)))
            for day in days:
                self.share(member, NOBODY, day)
                for above in seen - {member}:
                    self.share(member, above, day)

    def depth(self, subject: str, day: date) -> int:
        """How many wholes are above a subject at most: 0 for the city."""
        above = self._above(subject, day)
        return 1 + max(self.depth(one, day) for one in above) if above else 0

    def _mean(self, member: str, of: str, start: date, end: date) -> Decimal:
        edges = sorted({start, end, *(edge for edge in self._edges(member, set()) if start < edge < end)})
        total = _ZERO
        for first, last in pairwise(edges):
            total = EXACT.add(total, self.share(member, of, first) * (last - first).days)
        whole = Decimal((end - start).days)
        return total / whole if total in (_ZERO, whole) else ARITHMETIC.divide(total, whole)

    def _share(self, member: str, of: str, day: date, trail: tuple[str, ...]) -> Decimal:
        if member == of:
            return _ONE
        if member in trail:
            raise AccountError(f"membership: found {' in '.join((*trail, member))}, expected no circle")
        above = self._above(member, day)
        if of in above:
            return above[of]
        total = _ZERO
        for whole, share in above.items():
            total = EXACT.add(total, EXACT.multiply(share, self._share(whole, of, day, (*trail, member))))
        if total > 1:
            raise AccountError(f"{member}: found {total} of it in {of} on {day}, expected 1 at most")
        return total

    def _above(self, subject: str, day: date) -> Mapping[str, Decimal]:
        held = self.subjects.get(subject)
        return {} if held is None else held.members_of(day)

    def _edges(self, member: str, seen: set[str]) -> Iterator[date]:
        """Every day on which what is above a subject changes."""
        held = self.subjects.get(member)
        if held is None or member in seen:
            return
        seen.add(member)
        for one in held.membership:
            yield one.since
            if one.until is not None:
                yield one.until
            yield from self._edges(one.of, seen)


def of(subjects: Iterable[Subject]) -> Membership:
    """The membership of these subjects."""
    return Membership({one.id: one for one in subjects})
