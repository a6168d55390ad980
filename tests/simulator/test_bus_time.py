"""The bus time that plans and admission reckon with, against the edge's own bus on the simulated pair."""

import pytest

from drivers.bustime import Line, Pace
from drivers.cover import cover
from simulator.bus_time import measured_ms


@pytest.mark.parametrize("baud", [2400, 9600, 19200, 38400, 115200])
@pytest.mark.parametrize("turnaround_ms", [20, 100])
@pytest.mark.parametrize("count", [1, 10, 50, 125])
def test_an_exchange_takes_what_the_formula_says(baud: int, turnaround_ms: int, count: int) -> None:
    """The formula counts the silence before an answer and its delay one after the other; here they pass together, and
    the box keeps time in ms. Between ten reads lie nine rests.
    """
    pace = Pace(Line(baud), turnaround_ms)
    silence = pace.line.ms(pace.line.silence)
    reckoned = pace.line.ms(pace.modbus(3, count)) - silence
    measured = (measured_ms([(0, count)] * 10, baud, turnaround_ms) + silence) / 10
    assert measured == pytest.approx(reckoned, abs=2.0)


def test_the_plan_is_the_fastest_on_the_wire_too() -> None:
    """Forty float values in six groups, at 9600: as planned, one by one, in runs, over gaps of 10 and 50."""
    fields = [(base + at, base + at + 2) for base in (0, 30, 64, 99, 150, 190) for at in (0, 2, 4, 8, 12, 14, 20)]
    pace = Pace(Line(9600), 20)
    plan = measured_ms(cover(fields, lambda count: pace.modbus(3, count), 125, [(0, 0x10000)]), 9600, 20)
    others = [fields, *(joined(fields, gap) for gap in (0, 10, 50))]
    times = [measured_ms(runs, 9600, 20) for runs in others]
    assert plan <= min(times) + 5 and times[0] / plan > 3


def joined(fields: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """From the left: over gaps of at most so many registers."""
    runs: list[tuple[int, int]] = []
    for first, end in fields:
        if runs and first - runs[-1][1] <= gap and end - runs[-1][0] <= 125:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((first, end))
    return runs
