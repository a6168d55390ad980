"""Bugs planted into the real code, one at a time: each must be caught by the invariant that is there for it.

A bug is one function changed for as long as a fleet lives. The fleet lives on when it is caught, to the end, so that
everybody who can see it does: an invariant that alone sees some bug is one that nothing else replaces.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.fleet.faults import Fault
from simulator.fleet.fleet import Fleet, Outcome, Shape, settles_s
from simulator.fleet.node import Cadence

SEEDS = 3
"""A bug that needs a rare coincidence has so many seeds to show itself."""
QUIET_S = 9000.0
COPY_EVERY_S = 900.0
ORDINARY = Cadence("5m", "15m")
INVARIANTS = tuple(f"I{number}" for number in range(1, 14))
Original = Callable[..., Any]
Change = Callable[[Original], Original]


@dataclass(frozen=True)
class Bug:
    """``owner.name`` made wrong by ``change``; ``kinds``: the faults under which it matters, ``often``: how many times
    as often as by themselves.
    """

    told: str
    invariant: str
    owner: Any
    name: str
    change: Change
    kinds: tuple[Fault, ...] = ()
    often: float = 12.0
    days: float = 0.3
    meters: int = 1
    cadence: Cadence = ORDINARY

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The code with the bug in it."""
        original = getattr(self.owner, self.name)
        setattr(self.owner, self.name, self.change(original))
        try:
            yield
        finally:
            setattr(self.owner, self.name, original)


@dataclass(frozen=True)
class Caught:
    """``by``: all invariants that saw the bug, in the order in which they did."""

    bug: Bug
    by: tuple[str, ...]
    seed: int

    @property
    def killed(self) -> bool:
        """Whether it was caught by the invariant that is there for it."""
        return self.bug.invariant in self.by

    @property
    def alone(self) -> bool:
        """Whether nobody else saw it."""
        return self.by == (self.bug.invariant,)


def hunt(bug: Bug, seed: int, folder: Path | None) -> Caught:
    """Let a fleet live with a bug, and others until one shows it to the invariant that is there for it."""
    caught = Caught(bug, (), seed)
    for at in range(seed, seed + SEEDS):
        with bug.planted():
            found = live(bug, at, folder).found
        caught = Caught(bug, tuple(dict.fromkeys(invariant for invariant, _ in found)), at)
        if caught.killed:
            break
    return caught


def live(bug: Bug, seed: int, folder: Path | None) -> Outcome:
    """One seed under the faults of a bug, to its end."""
    with tempfile.TemporaryDirectory(prefix="tanmeter-bug-", dir=folder) as name:
        quiet_s = max(QUIET_S, settles_s(bug.cadence, COPY_EVERY_S))
        shape = Shape(1, bug.meters, bug.days, bug.cadence, quiet_s, COPY_EVERY_S)
        fleet = Fleet(seed, Path(name) / "fleet", bug.kinds or (Fault.SILENT,), shape, goes_on=True)
        fleet.plan.kinds, fleet.plan.intensity = frozenset(bug.kinds), bug.often
        return fleet.run()
