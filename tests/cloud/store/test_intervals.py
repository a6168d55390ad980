"""Intervals add up to the register, whatever the meter, the clock and the network did."""

from dataclasses import replace
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.intervals import INTERVAL_MS, Interval, Rules, rules
from cloud.series import Series
from drivers.installation import install
from drivers.quantity import EXACT

T0 = 1_790_000_100_000 - 1_790_000_100_000 % INTERVAL_MS
MINUTE = 60_000
CENT = Decimal("0.01")
RULES = Rules("M-01", "energy_import", "kWh", "meter-a", 10_000, CENT, Decimal(10_000), None, ((0, Decimal(80)),))

Sample = tuple[int, int]
"""Time (UTC ms) and register in hundredths."""

steps = st.lists(
    st.tuples(st.integers(1, 40_000) | st.integers(1, 3 * INTERVAL_MS), st.integers(0, 500)), min_size=1, max_size=60
)


def walk(moves: list[tuple[int, int]], start: int = T0 + 1) -> list[Sample]:
    samples, at, register = [], start, 12_345
    for pause, growth in moves:
        at, register = at + pause, register + growth
        samples.append((at, register))
    return samples


def run(samples: list[Sample], held: Rules = RULES) -> list[Interval]:
    series = Series(held)
    for at, register in samples:
        series.add(at, register * CENT, 0, 0)
    return series.take()


def rows_of(taken: list[list[Interval]]) -> list[Interval]:
    """What a table would hold: the newest row of each start."""
    table = {row.start: row for rows in taken for row in rows}
    return [table[start] for start in sorted(table)]


def total(rows: list[Interval]) -> Decimal:
    assert all(row.consumption is not None for row in rows)
    return sum((row.consumption for row in rows if row.consumption is not None), Decimal(0))


@given(steps)
def test_consumptions_add_up_to_last_minus_first_register(moves: list[tuple[int, int]]) -> None:
    samples = walk(moves)
    rows = run(samples)
    assert total(rows) == (samples[-1][1] - samples[0][1]) * CENT * 80
    for before, after in pairwise(rows):
        assert (before.end, before.register_end.value) == (after.start, after.register_start.value)
        assert before.closed
    assert not rows[-1].closed
    assert sum(row.readings for row in rows) == len(samples)
    assert all(row.consumption is not None and row.consumption >= 0 for row in rows)


@given(steps)
def test_registers_at_boundaries_are_what_the_definition_says(moves: list[tuple[int, int]]) -> None:
    samples = walk(moves)
    for row in run(samples)[:-1]:
        before = [sample for sample in samples if sample[0] <= row.end][-1]
        after = next(sample for sample in samples if sample[0] >= row.end)
        nearest = before if row.end - before[0] <= after[0] - row.end else after
        if abs(row.end - nearest[0]) <= RULES.reach_ms:
            assert row.register_end.value == nearest[1] * CENT
            assert row.register_end.at == nearest[0]
        else:
            part = (after[1] - before[1]) * (row.end - before[0]) // (after[0] - before[0])
            assert row.register_end.value == (before[1] + part) * CENT
            assert row.quality == "estimated"
            assert row.register_end.at == after[0]


@st.composite
def troubled(draw: st.DrawFn) -> list[Sample]:
    """Readings of a meter that rolls over, is reset, jumps, and of a clock that steps back."""
    samples, at, register = [], T0 + 1, draw(st.integers(0, 999_999))
    for _ in range(draw(st.integers(1, 50))):
        at += draw(st.integers(0, 15_000) | st.integers(-INTERVAL_MS, 4 * INTERVAL_MS))
        register = draw(st.just(register + draw(st.integers(0, 40))) | st.integers(0, 999_999)) % 1_000_000
        samples.append((at, register))
    return samples


@given(troubled(), st.data(), st.sampled_from([None, Decimal(100)]))
def test_any_split_into_blocks_and_any_restart_gives_the_same_rows(
    samples: list[Sample], data: st.DataObject, rate: Decimal | None
) -> None:
    held = replace(RULES, max_rate_per_h=rate, ratios=((0, Decimal(80)), (T0 + 7 * MINUTE, Decimal(120))))
    whole = Series(held)
    for seq, (at, register) in enumerate(samples):
        whole.add(at, register * CENT, 0, seq)
    series, taken, left = Series(held), [], samples
    places = [(0, seq) for seq in range(len(samples))]
    while left:
        count = data.draw(st.integers(1, len(left)))
        count = next((at for at in range(1, count) if left[at][0] < left[at - 1][0]), count)  # fed by rising time
        block, left = left[:count], left[count:]
        series.feed([at for at, _ in block], [register for _, register in block], CENT, places[:count])
        places = places[count:]
        taken.append(series.take())
        if data.draw(st.booleans()):
            series = Series(held, taken[-1][-1], doubt=series.doubt)
    assert rows_of(taken) == rows_of([whole.take()])


@given(steps, st.data())
def test_floats_are_booked_exactly(moves: list[tuple[int, int]], data: st.DataObject) -> None:
    times = [at for at, _ in walk(moves)]
    rising = st.lists(st.floats(0, 1e6, width=32), min_size=len(times), max_size=len(times)).map(sorted)
    raws: list[int | float] = [*data.draw(rising)]
    series = Series(replace(RULES, modulus=None, resolution=Decimal("0.001")))
    series.feed(times, raws, Decimal(1), [(0, 0)] * len(times))
    with localcontext(EXACT):
        assert total(series.take()) == (Decimal(raws[-1]) - Decimal(raws[0])) * 80


@given(troubled())
def test_a_clock_that_steps_back_books_nothing_twice_and_loses_nothing(samples: list[Sample]) -> None:
    register, rising = 0, []
    for at, growth in samples:
        register += growth % 50
        rising.append((at, register))
    rows = run(rising)
    assert total(rows) == (rising[-1][1] - rising[0][1]) * CENT * 80
    assert sum(row.readings for row in rows) == len(rising)
    assert [row.start for row in rows[1:]] == [row.end for row in rows[:-1]]
    assert len({row.start for row in rows}) == len(rows)


def test_a_reading_from_before_makes_the_interval_estimated() -> None:
    rows = run([(T0 + 10_000, 100), (T0 + 600_000, 160), (T0 + 20_000, 170), (T0 + 30_000, 180)])
    assert [(row.start, row.consumption, row.quality) for row in rows] == [(T0, Decimal("64.00"), "estimated")]
    assert rows[0].register_end.at == T0 + 30_000
    assert rows[0].position == T0 + 600_000


def test_a_gap_is_bridged_by_the_register_and_says_so() -> None:
    rows = run([(T0, 100), (T0 + 5 * MINUTE, 110), (T0 + 35 * MINUTE, 141), (T0 + 35 * MINUTE + 10_000, 142)])
    assert [(row.quality, row.consumption) for row in rows] == [
        ("estimated", Decimal("16.00")),
        ("estimated", Decimal("12.00")),
        ("estimated", Decimal("5.60")),
    ]
    assert [row.readings for row in rows] == [2, 0, 2]
    assert rows[1].coverage == 0
    assert (rows[1].register_start.at, rows[1].register_end.at) == (T0 + 5 * MINUTE, T0 + 35 * MINUTE)


def test_a_register_that_rolls_over_goes_on() -> None:
    rows = run([(T0, 999_990), (T0 + 10_000, 999_998), (T0 + 20_000, 3), (T0 + 15 * MINUTE, 5)])
    assert rows[0].consumption == Decimal("12.00")
    assert (rows[0].rolled, rows[0].quality) == (Decimal(10_000), "measured")
    assert rows[1].register_start.value == Decimal("0.05")


def test_a_rollover_in_a_gap_is_carried_over_the_right_boundary() -> None:
    rows = run([(T0, 999_900), (T0 + 60 * MINUTE, 100)])
    assert [row.rolled for row in rows] == [0, Decimal(10_000), 0, 0, 0]
    assert [row.consumption for row in rows] == [Decimal(40)] * 4 + [0]
    assert rows[1].register_end.value == 0


def test_after_more_than_400_days_nothing_is_guessed() -> None:
    year = 401 * 86_400_000
    rows = run([(T0, 100), (T0 + year, 200), (T0 + year + 10_000, 201)])
    assert [(row.start, row.consumption) for row in rows] == [(T0, None), (T0 + year, Decimal("0.80"))]


def test_another_ratio_cuts_the_interval() -> None:
    cut = T0 + 5 * MINUTE
    held = replace(RULES, ratios=((0, Decimal(80)), (cut, Decimal(100))))
    rows = run([(T0, 100), (cut - 5_000, 110), (cut + 5_000, 112), (T0 + 15 * MINUTE - 5_000, 130)], held)
    assert [(row.start, row.end, row.multiplier) for row in rows] == [
        (T0, cut, Decimal(80)),
        (cut, T0 + INTERVAL_MS, Decimal(100)),
    ]
    assert [row.consumption for row in rows] == [Decimal("8.00"), Decimal("20.00")]
    assert sum(row.expected for row in rows) == 90


def test_a_changed_ratio_does_not_reach_back() -> None:
    series = Series(RULES)
    series.feed([T0, T0 + 60_000], [100, 110], CENT, [(0, 0)] * 2)
    series.configure(replace(RULES, ratios=((0, Decimal(1000)),)))
    series.feed([T0 + 70_000], [111], CENT, [(0, 1)])
    rows = series.take()
    assert [(row.start, row.end, row.consumption) for row in rows] == [
        (T0, T0 + 60_000, Decimal("8.00")),
        (T0 + 60_000, T0 + INTERVAL_MS, Decimal("10.00")),
    ]


@pytest.mark.parametrize("restart", [False, True])
def test_another_meter_begins_its_own_count(restart: bool) -> None:
    other = replace(RULES, meter="meter-b")
    series = Series(RULES)
    series.feed([T0, T0 + 60_000], [500_000, 500_010], CENT, [(0, 0)] * 2)
    taken = [series.take()]
    series = Series(other, taken[0][-1]) if restart else series
    series.configure(other)
    series.feed([T0 + 120_000, T0 + 130_000], [3, 4], CENT, [(0, 1)] * 2)
    taken.append(series.take())
    rows = rows_of(taken)
    assert [(row.meter, row.consumption, row.closed) for row in rows] == [
        ("meter-a", Decimal("8.00"), True),
        ("meter-b", Decimal("0.80"), False),
    ]
    assert rows[0].end <= rows[1].start


def test_coverage_counts_slots_of_the_period() -> None:
    rows = run([(T0 + at, 1) for at in range(100, INTERVAL_MS, 10_000)] + [(T0 + INTERVAL_MS, 1)])
    assert (rows[0].readings, rows[0].expected, rows[0].coverage) == (90, 90, 1)
    rows = run([(T0 + at, 1) for at in range(100, INTERVAL_MS, 20_000)] + [(T0 + INTERVAL_MS, 1)])
    assert rows[0].coverage == Decimal("0.5")


def test_rules_come_from_the_signed_configuration(make_site: Any, box: Any) -> None:
    ratios = (
        '[[device.ratios]]\nfrom = 2026-01-01T00:00:00+08:00\nct = "400/5"\n'
        '[[device.ratios]]\nfrom = 2026-10-01T00:00:00+08:00\nct = "500/5"\npt = "10/1"\n'
    )
    installation = install(make_site(ratios), {"two-points": box.profiles[0]})
    (held,) = rules(installation, 0).values()
    assert (held.device, held.point, held.unit, held.period_ms) == ("M-01", "energy_import", "kWh", 10_000)
    assert (held.resolution, held.modulus, held.max_rate_per_h) == (CENT, Decimal(10_000), Decimal(100))
    assert held.ratios == ((1_767_196_800_000, Decimal(80)), (1_790_784_000_000, Decimal(1000)))
    assert held.multiplier(0) == 1
    assert rules(installation, 1)["energy_import"].ratios == ()


@given(st.lists(st.integers(1, 40), min_size=2, max_size=12), st.integers(0, 11), st.booleans())
def test_what_was_due_follows_the_pace_of_each_configuration(steps: list[int], change: int, restarted: bool) -> None:
    """A meter asked every minute, then every ten seconds, within one interval: each part counts at its own pace."""
    slow, fast, begin = replace(RULES, period_ms=60_000), RULES, T0 - T0 % INTERVAL_MS
    changed = begin + 60_000 * min(change, len(steps))
    series = Series(slow)
    for minute in range(min(change, len(steps)) + 1):
        series.add(begin + minute * 60_000, Decimal(minute), 0, 0)
    if restarted:
        series = Series(slow, series.take()[-1])
    series.configure(fast, changed + 5_000)
    if restarted:
        series = Series(fast, series.take()[-1])
    series.add(begin + INTERVAL_MS, Decimal(99), 0, 1)
    [row] = [row for row in series.take() if row.start == begin]
    due_slow, due_fast = (changed + 5_000 - begin + 59_999) // 60_000, (begin + INTERVAL_MS - changed - 5_000) // 10_000
    assert row.closed and abs(row.expected - due_slow - due_fast) <= 1
