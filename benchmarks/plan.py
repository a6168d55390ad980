"""What reads cost on the bus: our plan against the exact minimum, found by trying every way, and four common habits."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache

from drivers.bustime import Line, Pace
from drivers.cover import Interval, cover
from simulator.bus_time import measured_ms

EVERYWHERE = [(0, 0x10000)]
BAUDS, TURNAROUNDS_MS = (2400, 9600, 19200, 115200), (5, 20, 100)
LIMIT = 125
TRIED = 8
"""Fields of a set whose every partition is tried: 4140 ways."""
SETS = 12

Strategy = Callable[[list[Interval]], list[Interval]]


def main() -> None:
    """Print bus time over the exact minimum, by strategy, and how long planning takes."""
    print(f"{SETS} random and 6 adversarial sets of up to {TRIED} fields; limit {LIMIT} registers; mean (worst) ratio")
    head = "  ".join(f"{name:>18}" for name in ("ours", *STRATEGIES))
    print(f"{'baud':>7} {'delay ms':>8}  {head}")
    for baud in BAUDS:
        for turnaround in TURNAROUNDS_MS:
            print(f"{baud:7} {turnaround:8}  {ratios(Pace(Line(baud), turnaround))}")
    print("long sets, 60 to 200 fields, against an independent quadratic programme in fractions:")
    for baud in BAUDS:
        print(f"{baud:7} {20:8}  {long_ratios(Pace(Line(baud), 20))}")
    print("42 floats in seven groups, ms measured on the simulated pair with the edge's own bus:")
    for baud in BAUDS:
        print(f"{baud:7} {20:8}  {measured(Pace(Line(baud), 20))}")
    for stride in (2, 12):
        fields = [(at, at + 1) for at in range(0, 1000 * stride, stride)]
        took = planning_ms(fields)
        print(f"1,000 fields, one register in {stride:2}, planned in {took:6.2f} CPU ms (target < 50)")


def ratios(pace: Pace) -> str:
    """One row: mean and worst of bus time over the minimum of all partitions."""
    sets = [small(random.Random(seed), pace) for seed in range(SETS)] + list(adversarial(pace))
    found: list[list[float]] = [[] for _ in range(1 + len(STRATEGIES))]
    for fields in sets:
        least = exhaustive(fields, pace)
        for column, strategy in enumerate((planner(pace), *STRATEGIES.values())):
            found[column].append(bus_ticks(strategy(fields), pace) / least)
    return row(found)


def long_ratios(pace: Pace) -> str:
    """One row: the same for sets too long to try every way."""
    found: list[list[float]] = [[] for _ in range(1 + len(STRATEGIES))]
    for seed in range(4):
        fields = scattered(random.Random(seed), random.Random(seed).randint(60, 200), 900)
        least = quadratic(fields, pace)
        for column, strategy in enumerate((planner(pace), *STRATEGIES.values())):
            found[column].append(float(bus_ticks(strategy(fields), pace) / least))
    return row(found)


def measured(pace: Pace) -> str:
    """One row: bus time of each strategy in ms, as the wire has it."""
    fields = [(base + at, base + at + 2) for base in (0, 30, 64, 99, 150, 190, 230) for at in (0, 2, 4, 8, 12, 14)]
    took = [
        measured_ms(strategy(fields), pace.line.baud, pace.turnaround_ms)
        for strategy in (planner(pace), *STRATEGIES.values())
    ]
    return "  ".join(f"{ms:18.1f}" for ms in took)


def row(found: list[list[float]]) -> str:
    """Mean and worst of each column."""
    return "  ".join(f"{statistics.mean(column):9.3f} ({max(column):.3f})".rjust(18) for column in found)


def planner(pace: Pace) -> Strategy:
    """Ours."""
    return lambda fields: cover(fields, lambda count: pace.modbus(3, count), LIMIT, EVERYWHERE)


def singly(fields: list[Interval]) -> list[Interval]:
    """One request per field."""
    return list(fields)


def within(gap: int) -> Strategy:
    """From the left: a field joins the request before it over a gap of at most so many registers."""

    def strategy(fields: list[Interval]) -> list[Interval]:
        runs: list[Interval] = []
        for first, end in sorted(fields):
            if runs and first - runs[-1][1] <= gap and max(end, runs[-1][1]) - runs[-1][0] <= LIMIT:
                runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
            else:
                runs.append((first, end))
        return runs

    return strategy


STRATEGIES: dict[str, Strategy] = {
    "one per field": singly,
    "consecutive only": within(0),
    "fixed gap 10": within(10),
    "fixed gap 50": within(50),
}


def bus_ticks(runs: list[Interval], pace: Pace) -> int:
    """The bus time of these requests."""
    return sum(pace.modbus(3, end - first) for first, end in runs)


def exhaustive(fields: list[Interval], pace: Pace) -> int:
    """The least bus time of every partition of the fields, whatever it looks like."""
    return min(
        sum(pace.modbus(3, end - first) for first, end in hulls)
        for hulls in ([hull(part) for part in parts] for parts in partitions(sorted(set(fields))))
        if all(end - first <= LIMIT for first, end in hulls)
    )


def hull(part: list[Interval]) -> Interval:
    """What one request for all of these reads."""
    return min(first for first, _ in part), max(end for _, end in part)


def partitions(items: list[Interval]) -> Iterator[list[list[Interval]]]:
    """Every way to share them out among requests."""
    if not items:
        yield []
        return
    first, *rest = items
    for parts in partitions(rest):
        yield [[first], *parts]
        for index in range(len(parts)):
            yield [*parts[:index], [first, *parts[index]], *parts[index + 1 :]]


def quadratic(fields: list[Interval], pace: Pace) -> Fraction:
    """The least bus time of every way to cut the fields in order, from the formula in exact fractions of ms; ticks."""
    order = sorted(set(fields))
    character = Fraction(pace.line.bits * 1000, pace.line.baud)
    silence = character * 7 / 2 if pace.line.baud <= 19200 else Fraction(7, 4)

    @cache
    def least(count: int) -> Fraction:
        if count == 0:
            return Fraction(0)
        ways = []
        for first in range(count):
            length = max(end for _, end in order[first:count]) - order[first][0]
            if length <= LIMIT:
                ways.append(least(first) + (13 + 2 * length) * character + 2 * silence + Fraction(pace.turnaround_ms))
        return min(ways)

    for count in range(len(order)):
        least(count)
    return least(len(order)) * 4000 * pace.line.baud


def small(chance: random.Random, pace: Pace) -> list[Interval]:
    """A few fields, their gaps about the break-even."""
    even = 10 + int(pace.turnaround_ms * pace.line.baud / 22_000)
    at, fields = chance.randrange(1000), []
    for _ in range(chance.randint(4, TRIED)):
        length = chance.choice((1, 2, 2, 4))
        fields.append((at, at + length))
        at += length + chance.randint(0, min(2 * even, 60))
    return fields


def scattered(chance: random.Random, count: int, space: int) -> list[Interval]:
    """Fields anywhere, some inside others."""
    return [(at, at + chance.choice((1, 2, 2, 4, 8))) for at in (chance.randrange(space) for _ in range(count))]


def adversarial(pace: Pace) -> Iterator[list[Interval]]:
    """Gaps just below, at and above the break-even; chains as long as the limit; fields in fields; greedy's trap."""
    even = min(10 + int(pace.turnaround_ms * pace.line.baud / 22_000), 60)
    for gap in (even - 1, even, even + 1):
        yield [(at, at + 2) for at in range(0, TRIED * (gap + 2), gap + 2)]
    yield [(at, at + 50) for at in range(0, TRIED * 50, 50)]
    yield [(0, 60), (3, 5), (59, 61), (61, 62), (100, 120), (110, 112), (119, 126), (126, 128)]
    yield [
        (0, 1),
        (60, 61),
        (LIMIT - 1, LIMIT),
        (LIMIT, LIMIT + 1),
        (LIMIT + 60, LIMIT + 61),
        (2 * LIMIT, 2 * LIMIT + 1),
    ]


def planning_ms(fields: list[Interval]) -> float:
    """Median CPU time to plan them at 9600 and 20 ms."""
    plan, took = planner(Pace(Line(9600), 20)), []
    for _ in range(9):
        start = time.process_time()
        plan(fields)
        took.append(time.process_time() - start)
    return statistics.median(took) * 1000


if __name__ == "__main__":
    main()
