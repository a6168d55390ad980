"""A rate is booked for the time it is known, and for no other."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from cloud.intervals import INTERVAL_MS, Interval, Rules
from cloud.rates import Rate

T0 = 1_790_000_100_000 - 1_790_000_100_000 % INTERVAL_MS
MINUTE = 60_000
RULES = Rules("S-01", "co2_mass_rate", "kg", "stack", MINUTE, Decimal("0.001"), None, None, (), "rate")
TEN = replace(RULES, period_ms=10 * MINUTE)

Sample = tuple[int, int | None]
"""Seconds after T0, and kg/h; None where it does not count."""


def run(samples: list[Sample], rules: Rules = RULES, dated: bool = False) -> list[Interval]:
    rate = Rate(rules)
    for at, value in samples:
        rate.add(T0 + at * 1000, None if value is None else Decimal(value), 0, at, dated)
    return rate.take()


def test_a_steady_rate_comes_to_its_amount() -> None:
    rows = run([(60 * minute, 3600) for minute in range(31)])
    assert [(row.consumption, row.unit, row.coverage, row.quality, row.closed) for row in rows] == [
        (Decimal(900), "kg", 1, "measured", True),
        (Decimal(900), "kg", 1, "measured", True),
        (None, "kg", 0, "absent", False),
    ]
    assert [(row.readings, row.expected) for row in rows] == [(15, 15), (15, 15), (1, 15)]


def test_a_sample_holds_for_one_and_a_half_periods_and_no_longer() -> None:
    rows = run([(0, 3600), (600, 3600), (900, 3600)])
    assert (rows[0].covered_ms, rows[0].consumption, rows[0].quality) == (180_000, Decimal(180), "estimated")
    assert rows[0].coverage == Decimal("0.2")


def test_what_does_not_count_ends_what_came_before_it() -> None:
    rows = run([(0, 3600), (30, None), (60, 3600), (120, None), (900, None)])
    assert (rows[0].covered_ms, rows[0].consumption) == (90_000, Decimal(90))
    assert (rows[0].readings, rows[0].ignored) == (2, 2)


def test_a_gap_has_no_amount_and_is_not_filled_with_zeros() -> None:
    rows = run([(0, 3600), (3 * 3600, 3600)])
    assert [(row.consumption, row.quality, row.covered_ms) for row in rows[1:-1]] == [(None, "absent", 0)] * 11
    assert [row.start for row in rows] == [T0 + index * INTERVAL_MS for index in range(13)]


def test_a_rate_of_nothing_is_a_measured_zero() -> None:
    rows = run([(60 * minute, 0) for minute in range(16)])
    assert (rows[0].consumption, rows[0].quality) == (Decimal(0), "measured")


def test_minute_data_hold_from_their_stamp_for_their_period() -> None:
    rows = run([(0, 60), (600, 120), (1200, 60)], TEN, dated=True)
    assert [(row.consumption, row.coverage, row.closed) for row in rows] == [
        (Decimal(20), 1, True),
        (Decimal(20), 1, False),
    ]


def test_an_instant_counts_once() -> None:
    rows = run([(0, 60), (0, 6000), (300, 120), (100, 6000)], TEN, dated=True)
    assert (rows[0].consumption, rows[0].covered_ms) == (Decimal(20), 900_000)


def test_most_of_an_interval_is_measured_less_is_estimated() -> None:
    for missing, quality in ((90, "measured"), (91, "estimated")):
        rows = run([(missing, 60), *((at, 60) for at in range(120, 901, 60))])
        assert rows[0].quality == quality


def test_another_ratio_cuts_the_interval_and_another_meter_begins_anew() -> None:
    cut = replace(RULES, ratios=((0, Decimal(2)), (T0 + 5 * MINUTE, Decimal(3))))
    rows = run([(60 * minute, 60) for minute in range(16)], cut)
    assert [(row.consumption, row.multiplier) for row in rows[:2]] == [(Decimal(10), 2), (Decimal(30), 3)]
    rate = Rate(RULES)
    rate.add(T0, Decimal(60), 0, 0)
    rate.add(T0 + MINUTE, Decimal(60), 0, 0)
    rate.configure(replace(RULES, meter="other"))
    rate.add(T0 + 2 * MINUTE, Decimal(60), 0, 1)
    rate.add(T0 + 3 * MINUTE, Decimal(60), 0, 1)
    assert [(row.meter, row.consumption, row.end - row.start) for row in rate.take()] == [
        ("stack", Decimal(1), MINUTE),
        ("other", Decimal(1), 14 * MINUTE),
    ]


def test_thirds_of_a_kilogram_are_rounded_each_interval_by_itself() -> None:
    rows = run([(0, 1), (20, 1), (40, 1), (60, None), (900, None)])
    assert rows[0].consumption == Decimal("0.016666667")
    assert rows[0].integral == 60_000


samples = st.lists(
    st.tuples(st.integers(-30, 2_000), st.none() | st.integers(0, 1_000), st.booleans()), min_size=1, max_size=40
)


@given(samples, st.data())
def test_a_restart_anywhere_gives_the_same_rows(moves: list[tuple[int, int | None, bool]], data: st.DataObject) -> None:
    whole, rate, at, table = Rate(RULES), Rate(RULES), T0, dict[int, Interval]()
    for pause, value, dated in moves:
        at += pause * 1000
        for each in (whole, rate):
            each.add(at, None if value is None else Decimal(value), 0, 0, dated)
        taken = rate.take()
        table |= {row.start: row for row in taken}
        if taken and data.draw(st.booleans()):
            rate = Rate(RULES, taken[-1])
    assert [table[start] for start in sorted(table)] == list({row.start: row for row in whole.take()}.values())


@given(samples)
def test_no_instant_is_covered_twice_and_no_amount_is_beyond_the_greatest_rate(
    moves: list[tuple[int, int | None, bool]],
) -> None:
    rate, at = Rate(RULES), T0
    for pause, value, dated in moves:
        at += pause * 1000
        rate.add(at, None if value is None else Decimal(value), 0, 0, dated)
    for row in rate.take():
        assert 0 <= row.covered_ms <= row.end - row.start
        assert (row.consumption is None) == (row.covered_ms == 0)
        if row.consumption is not None:
            assert row.consumption <= Decimal(1000) * row.covered_ms / 3_600_000 + Decimal("1E-9")


CONFIGURED = [RULES, replace(RULES, meter="another"), replace(RULES, ratios=((T0 + 7 * MINUTE, Decimal(2)),))]
told = st.tuples(
    st.integers(0, 200), st.none() | st.integers(0, 100), st.sampled_from([0, 0, 0, 0, 1, 2]), st.booleans()
)


@given(st.lists(told, min_size=1, max_size=30))
def test_a_restart_among_configurations_gives_the_same_rows(steps: list[tuple[int, int | None, int, bool]]) -> None:
    """A meter that was away for a moment holds nothing, also when it is back before another sample has come."""
    whole, split, at = Rate(RULES), Rate(RULES), T0
    rows: list[list[Interval]] = [[], []]
    for seconds, value, number, anew in steps:
        at += seconds * 1000
        for index, rate in enumerate((whole, split)):
            rate.configure(CONFIGURED[number])
            if seconds % 3:
                rate.add(at, None if value is None else Decimal(value), 0, at)
            rows[index] += rate.take()
        if anew and rows[1]:
            split = Rate(CONFIGURED[number], rows[1][-1])
    newest = [{row.start: row for row in part} for part in rows]
    assert newest[0] == newest[1]
