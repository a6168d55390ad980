"""The planner against every way there is to ask, on small sets, random and adversarial."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.plan import hull, partitions
from drivers.bustime import Line, Pace
from drivers.cover import Interval, cover, merged, without

EVERYWHERE = [(0, 0x10000)]


def pace(baud: int, turnaround_ms: float, bits: int = 11) -> Pace:
    return Pace(Line(baud, bits), turnaround_ms)


def fits(runs: list[Interval], limit: int, allowed: list[Interval]) -> bool:
    return all(end - start <= limit and any(a <= start and end <= b for a, b in allowed) for start, end in runs)


def price(runs: list[Interval], fields: list[Interval], line: Pace, function: int = 3) -> tuple[int, int, int]:
    """Bus time, requests, addresses read that are not of a field, each as often as it is read."""
    own = sum(end - start for start, end in merged(fields))
    took = sum(line.modbus(function, end - start) for start, end in runs)
    return took, len(runs), sum(end - start for start, end in runs) - own


def best(fields: list[Interval], line: Pace, limit: int, allowed: list[Interval], function: int = 3) -> object:
    """The least price of all partitions, whatever they look like; None when no way fits."""
    ways = ([hull(part) for part in parts] for parts in partitions(sorted(set(fields))))
    return min((price(way, fields, line, function) for way in ways if fits(way, limit, allowed)), default=None)


def check(fields: list[Interval], line: Pace, limit: int, allowed: list[Interval], function: int = 3) -> None:
    expected = best(fields, line, limit, allowed, function)
    if expected is None:
        with pytest.raises(ValueError):
            cover(fields, lambda count: line.modbus(function, count), limit, allowed)
        return
    runs = cover(fields, lambda count: line.modbus(function, count), limit, allowed)
    assert fits(runs, limit, allowed)
    assert all(any(a <= start and end <= b for a, b in runs) for start, end in fields)
    assert price(runs, fields, line, function) == expected


intervals = st.tuples(st.integers(0, 70), st.sampled_from([1, 1, 2, 4, 7])).map(lambda f: (f[0], f[0] + f[1]))
fields = st.lists(intervals, min_size=1, max_size=7)
lines = st.builds(pace, st.sampled_from([1200, 9600, 19200, 38400, 115200]), st.sampled_from([0, 0.5, 5, 20, 100]))


@given(fields, lines, st.integers(4, 40), st.lists(intervals, max_size=3), st.sampled_from([1, 3]))
def test_no_partition_of_the_fields_is_better(
    found: list[Interval], line: Pace, limit: int, forbidden: list[Interval], function: int
) -> None:
    check(found, line, limit, list(without([(0, 80)], forbidden)), function)


@pytest.mark.parametrize("baud", [1200, 9600, 19200, 19201, 38400, 115200])
@pytest.mark.parametrize("bits", [10, 11, 12])
def test_a_tie_is_one_request_less(baud: int, bits: int) -> None:
    """No turnaround: ten foreign registers cost as much as a second request, to the last tick, up to 19200 baud."""
    line = pace(baud, 0, bits)
    tie = [(0, 2), (12, 14)]
    check(tie, line, 125, EVERYWHERE)
    if baud <= 19_200:
        assert cover(tie, lambda count: line.modbus(3, count), 125, EVERYWHERE) == [(0, 14)]


ADVERSARIAL = {
    "fields inside fields": [(0, 40), (3, 5), (4, 9), (39, 41), (41, 42), (45, 60), (50, 52)],
    "one long field over three short ones": [(0, 30), (10, 12), (29, 31), (31, 33)],
    "a chain as long as the limit": [(0, 20), (20, 40), (40, 60), (60, 62)],
    "cut in the middle or not at all": [(0, 1), (11, 12), (18, 19), (29, 30), (39, 40)],
    "greedy from the left takes one too many": [(0, 1), (18, 19), (20, 21), (39, 40), (40, 41), (58, 59)],
    "the same field twice": [(7, 9), (7, 9), (7, 8)],
    "the last register": [(65_535, 65_536), (65_530, 65_534)],
}


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("limit", [20, 40, 41, 125])
@pytest.mark.parametrize("turnaround_ms", [0, 5, 20, 100])
def test_adversarial_sets(name: str, limit: int, turnaround_ms: int) -> None:
    for baud in (2400, 9600, 38400):
        check(ADVERSARIAL[name], pace(baud, turnaround_ms), limit, EVERYWHERE)


def test_a_field_beyond_the_last_register_fits_nowhere() -> None:
    def cost(count: int) -> int:
        return count

    assert cover([(65_534, 65_536)], cost, 125, EVERYWHERE) == [(65_534, 65_536)]
    with pytest.raises(ValueError) as error:
        cover([(0, 1), (65_534, 65_538)], cost, 125, EVERYWHERE)
    assert error.value.args[0] == (65_534, 65_538)
    assert cover([], cost, 125, EVERYWHERE) == []


@pytest.mark.parametrize(
    ("turnaround_ms", "gaps"),
    [(5, (10, 10, 11, 12, 14, 21, 51)), (20, (11, 12, 14, 18, 27, 47, 129)), (100, (15, 20, 31, 53, 97))],
)
def test_the_break_even_gaps_of_the_reference(turnaround_ms: float, gaps: tuple[int, ...]) -> None:
    """reference/buses.md, 4b: the widest gap that is cheaper read over, by rate."""
    for baud, gap in zip((1200, 2400, 4800, 9600, 19200, 38400, 115200), gaps, strict=False):
        line = pace(baud, turnaround_ms)
        found = next(
            wide
            for wide in range(200)
            if len(cover([(0, 1), (wide + 2, wide + 3)], lambda n, line=line: line.modbus(3, n), 250, EVERYWHERE)) > 1
        )
        assert abs(found - gap) <= 1, (baud, found)


def test_times_of_the_reference() -> None:
    """reference/buses.md, 4b: at 9600 8E1 and 20 ms, one register takes 45 ms, 125 take 329."""
    line = pace(9600, 20)
    assert [round(line.line.ms(line.modbus(3, count))) for count in (1, 10, 50, 125)] == [45, 66, 158, 329]
    assert line.line.ms(line.modbus(3, 1)) == pytest.approx((8 + 5 + 2) * 11 / 9.6 + 7 * 11 / 9.6 + 20, rel=1e-12)
    fast = pace(115200, 3)
    assert fast.line.ms(fast.modbus(3, 5)) == pytest.approx(23 * 11 / 115.2 + 2 * 1.75 + 3, rel=1e-12)
    assert fast.line.ms(fast.modbus(1, 9)) == pytest.approx(15 * 11 / 115.2 + 2 * 1.75 + 3, rel=1e-12)
    meter = pace(2400, 100)
    singly, block = 3 * meter.dlt645(2), meter.dlt645(6)
    assert (round(meter.line.ms(singly)), round(meter.line.ms(block))) == (878, 311)


def test_a_model_that_must_rest_costs_its_rest() -> None:
    rested = Pace(Line(9600), 20, guard_ms=100)
    assert rested.line.ms(rested.modbus(3, 1)) == pytest.approx(15 * 11 / 9.6 + 3.5 * 11 / 9.6 + 100 + 20)
    assert Pace(Line(9600), 20, guard_ms=1).modbus(3, 1) == pace(9600, 20).modbus(3, 1)


@pytest.mark.parametrize(("mode", "bits"), [("9600-8E1", 11), ("2400-8N1", 10), ("1200-7O2", 11), ("19200-8N2", 11)])
def test_a_mode_says_how_long_a_character_is(mode: str, bits: int) -> None:
    assert Line.of(mode) == Line(int(mode.split("-")[0]), bits)
    with pytest.raises(ValueError, match="expected a mode like 9600-8E1"):
        Line.of("9600")


@pytest.mark.parametrize("stride", [1, 2, 3, 8, 12, 60])
def test_a_thousand_fields_are_planned_in_50_ms(stride: int) -> None:
    line = pace(9600, 20)
    fields = [(stride * index, stride * index + 1 + index % 3) for index in range(1000)]
    took = []
    for _ in range(5):
        start = time.process_time()
        cover(fields, lambda count: line.modbus(3, count), 125, EVERYWHERE)
        took.append(time.process_time() - start)
    assert min(took) < 0.05
