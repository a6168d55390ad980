"""How fast a core is at the moment, and the figures of the moments in which it was as fast as it can be.

A core of a hired machine shares its hardware with a neighbour's: within seconds it does half or all of what it can. So
a loop that is always the same is timed before and after each round. A figure is told twice: the median of the rounds in
which the loop took about as long as at its best in that run, and the median of all.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

STEPS = 200_000
"""Of the loop: some 15 ms."""
NEAR = 1.15
"""A loop that took so many times the shortest was as fast as it can be."""


@dataclass(frozen=True)
class Round:
    """What was done once: things a second by CPU time and by the wall clock, and how long the loop took (s)."""

    cpu: float
    wall: float
    loop: float


@dataclass(frozen=True)
class Pace:
    """Medians of things a second: by CPU time in the ``quick`` rounds of ``rounds``, by CPU time and wall in all.

    Where no round was quick, ``fast`` is the median of all.
    """

    fast: float
    quick: int
    rounds: int
    cpu: float
    wall: float

    def __str__(self) -> str:
        of_all = f"all: {self.cpu:,.0f}/s, by the wall clock {self.wall:,.0f}/s"
        return f"{self.fast:,.0f}/s in {self.quick} of {self.rounds} rounds; {of_all}"


def loop_s() -> float:
    """CPU seconds of a loop that is always the same."""
    began, total = time.process_time(), 0
    for number in range(STEPS):
        total += number * number % 7
    return time.process_time() - began


def measure(count: int, work: Callable[[], object]) -> Round:
    """Do some work once, in which ``count`` things are done."""
    before = loop_s()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Round(count / cpu, count / wall, max(before, loop_s()))


def pace(rounds: Sequence[Round], best: float) -> Pace:
    """What some rounds show, where the loop took ``best`` (s) at the best of the run."""
    quick = [one.cpu for one in rounds if one.loop <= best * NEAR]
    cpu, wall = (statistics.median(figures) for figures in zip(*[(one.cpu, one.wall) for one in rounds], strict=True))
    return Pace(statistics.median(quick or [cpu]), len(quick), len(rounds), cpu, wall)
