"""A counter that does what it should not: nothing is counted that was not; nothing begins again without evidence."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.doubt import APART_MS, PROOF
from cloud.intervals import INTERVAL_MS, Interval, Rules
from cloud.series import Series
from cloud.turn import Turn

T0 = 1_790_000_100_000 - 1_790_000_100_000 % INTERVAL_MS
SECOND, MINUTE = 1_000, 60_000
CENT = Decimal("0.01")
RULES = Rules("M-01", "energy_import", "kWh", "meter-a", 10_000, CENT, Decimal(10_000), Decimal(100), ())

Sample = tuple[int, int]
"""Seconds after T0, and register in hundredths."""


def run(samples: list[Sample], series: Series | None = None) -> tuple[list[Interval], list[Turn]]:
    series = series or Series(RULES)
    for at, register in samples:
        series.add(T0 + at * SECOND, register * CENT, 0, at)
    return series.take(), series.turns()


def steady(start: int, end: int, register: int, step: int = 10) -> list[Sample]:
    """A reading every ``step`` seconds, one hundredth more each time."""
    return [(at, register + index) for index, at in enumerate(range(start, end, step))]


def test_a_single_reading_that_falls_is_ignored_and_shown() -> None:
    rows, turns = run([(0, 500_000), (10, 500_001), (20, 0), (30, 500_002), (900, 500_050)])
    assert [(row.consumption, row.quality, row.state, row.ignored) for row in rows] == [
        (Decimal("0.50"), "measured", "backwards-ignored", 1),
        (Decimal(0), "measured", "ok", 0),
    ]
    assert turns == []


def test_a_single_reading_that_leaps_is_ignored_and_shown() -> None:
    rows, turns = run([(0, 500_000), (10, 900_000), (20, 500_001)])
    assert [(row.consumption, row.state, row.ignored) for row in rows] == [(CENT, "jump-ignored", 1)]
    assert turns == []


def test_a_meter_that_shows_zero_while_it_starts_loses_nothing() -> None:
    """Minutes of zeros, but one of them less than what proves a count."""
    zeros = [(20 + 30 * index, 0) for index in range(PROOF - 1)]
    rows, turns = run([(0, 500_000), *zeros, (600, 500_010), (900, 500_012)])
    assert [(row.consumption, row.quality, row.state) for row in rows] == [
        (Decimal("0.12"), "measured", "reset-suspected"),
        (Decimal(0), "measured", "ok"),
    ]
    assert turns == []


def test_a_register_that_went_back_a_little_is_waited_for() -> None:
    """After a power cut a meter may stand where it last saved: it counts again once it is past the register known."""
    rows, turns = run([(0, 500_000), (600, 499_998), (660, 499_999), (720, 500_003), (900, 500_004)])
    assert [(row.consumption, row.ignored, row.quality) for row in rows] == [
        (Decimal("0.04"), 2, "measured"),
        (Decimal(0), 0, "measured"),
    ]
    assert turns == []


def test_a_meter_that_forgot_a_little_and_stands_still_is_no_reset() -> None:
    """A weekend without load behind a power cut: the register is a step lower, and stays there for hours."""
    still = [(at, 499_999) for at in range(60, 7_200, 60)]
    rows, turns = run([(0, 500_000), *still, (7_200, 500_001), (7_210, 500_003)])
    assert turns == []
    assert [row.consumption for row in rows] == [Decimal(0)] * 7 + [CENT, Decimal("0.02")]
    assert {row.quality for row in rows[:8]} == {"estimated"}
    assert {row.state for row in rows[:8]} == {"backwards-ignored"}
    assert sum(row.ignored for row in rows) == len(still)


def test_eleven_steps_are_more_than_a_meter_forgets() -> None:
    for steps, kinds in ((10, []), (11, ["unexplained"])):
        _, turns = run([(0, 500_000), *((at, 500_000 - steps) for at in range(60, 600, 60))])
        assert [turn.kind for turn in turns] == kinds


def test_what_goes_on_from_itself_long_enough_is_a_new_stretch() -> None:
    rows, (turn,) = run([*steady(0, 300, 500_000), *steady(300, 1000, 40)])
    assert [(row.consumption, row.quality, row.state) for row in rows] == [
        (None, "suspect", "reset"),
        (Decimal("0.09"), "measured", "ok"),
    ]
    assert (turn.kind, turn.before.value, turn.after.value) == ("reset", Decimal("5000.29"), Decimal("0.40"))
    assert (turn.before.at, turn.after.at) == (T0 + 290 * SECOND, T0 + 300 * SECOND)
    assert rows[1].register_start.value == Decimal("1.00")


def test_a_new_stretch_needs_readings_half_a_minute_apart() -> None:
    crowd = [(300 + index, 40) for index in range(100)]
    rows, turns = run([*steady(0, 300, 500_000), *crowd])
    assert (rows[0].state, rows[0].ignored, turns) == ("reset-suspected", 100, [])
    assert APART_MS == 30 * SECOND


def test_readings_that_do_not_go_on_from_each_other_prove_nothing() -> None:
    wild = [(300 + 60 * index, 40 + 100_000 * (index % 2)) for index in range(60)]
    rows, turns = run([*steady(0, 300, 500_000), *wild])
    assert (len(rows), rows[0].ignored, turns) == (1, 60, [])


def test_a_stretch_in_between_has_no_consumption() -> None:
    rows, (turn,) = run([(0, 500_000), (10, 500_001), *((2700 + 60 * index, 50 + index) for index in range(20))])
    assert [(row.quality, row.state) for row in rows[:3]] == [("suspect", "reset")] * 3
    assert [row.consumption for row in rows[:3]] == [None] * 3
    assert rows[3].consumption == Decimal("0.15")
    assert turn.kind == "reset"


def test_a_new_stretch_that_does_not_begin_near_zero_is_unexplained() -> None:
    for register in (300_000, 900_000):
        _, (turn,) = run([*steady(0, 300, 500_000), *steady(300, 600, register)])
        assert turn.kind == "unexplained"


def test_without_a_known_rate_near_zero_is_a_hundredth() -> None:
    for register, kind in ((5_000, "reset"), (300_000, "unexplained")):
        series = Series(replace(RULES, max_rate_per_h=None))
        _, (turn,) = run([*steady(0, 300, 500_000), *steady(300, 600, register)], series)
        assert turn.kind == kind


def test_a_rollover_says_so() -> None:
    rows, turns = run([(0, 999_998), (10, 1), (900, 3), (1800, 4)])
    assert [(row.state, row.consumption) for row in rows] == [
        ("rollover", Decimal("0.05")),
        ("ok", CENT),
        ("ok", Decimal(0)),
    ]
    assert turns == []


def test_a_swap_in_the_signed_configuration_needs_no_proof() -> None:
    series = Series(RULES)
    run(steady(0, 300, 500_000), series)
    series.configure(replace(RULES, meter="meter-b"), T0 + 300 * SECOND)
    rows, turns = run(steady(310, 600, 40), series)
    assert [(row.meter, row.state, row.closed) for row in rows] == [
        ("meter-a", "replaced", True),
        ("meter-b", "replaced", False),
    ]
    assert rows[1].consumption == Decimal("0.28")
    assert turns == []


@pytest.mark.parametrize("restart", [False, True])
def test_a_meter_that_comes_long_after_its_swap_was_signed_takes_nothing_from_the_old_one(restart: bool) -> None:
    series, other = Series(RULES), replace(RULES, meter="meter-b")
    run(steady(0, 300, 500_000), series)
    series.configure(other, T0 + 300 * SECOND)
    first = series.take()
    if restart:
        series = Series(other, first[-1])
    rows, _ = run([(400, 40), (410, 41), (905, 50)], series)
    table = {row.start: row for row in [*first, *rows]}
    assert [(row.meter, row.consumption, row.closed) for _, row in sorted(table.items())] == [
        ("meter-a", Decimal("0.29"), True),
        ("meter-b", Decimal("0.10"), True),
        ("meter-b", Decimal(0), False),
    ]


def test_a_setting_that_changed_ends_the_stretch_where_the_counter_stood() -> None:
    series = Series(RULES)
    run(steady(0, 300, 500_000), series)
    series.part("ratio", T0)
    rows, _ = run([(300, 500_030), (310, 500_031), (900, 500_090)], series)
    assert [(row.state, row.consumption, row.quality) for row in rows] == [
        ("ratio", Decimal("0.29"), "measured"),
        ("ratio", Decimal("0.60"), "measured"),
        ("ok", Decimal(0), "measured"),
    ]
    assert rows[0].end == T0 + 290 * SECOND
    assert rows[1].register_start.value == Decimal("5000.30")


def test_a_number_that_changed_explains_the_stretch_that_began_since_it_was_read() -> None:
    series = Series(RULES)
    _, (turn,) = run([*steady(0, 300, 500_000), *steady(300, 1800, 40)], series)
    assert turn.kind == "reset"
    series.part("replaced", T0 + 120 * SECOND)
    rows, turns = run(steady(1800, 1900, 190), series)
    assert [(row.state, row.consumption) for row in rows] == [("ok", Decimal("0.90")), ("ok", Decimal("0.09"))]
    assert turns == []
    series.part("replaced", T0 + 1000 * SECOND)
    assert [row.state for row in series.take()] == ["replaced"]


def test_a_number_that_changed_proves_a_doubt_that_began_since_it_was_read() -> None:
    series = Series(RULES)
    run([*steady(0, 300, 500_000), (300, 40), (310, 41)], series)
    series.part("replaced", T0 + 120 * SECOND)
    rows, (turn,) = run([(320, 42), (905, 50)], series)
    assert [(row.state, row.consumption) for row in rows] == [("replaced", None), ("ok", Decimal(0))]
    assert (turn.kind, turn.after.value) == ("replaced", Decimal("0.40"))


def day(number: int, minute: int = 0) -> int:
    return T0 + number * 86_400_000 + minute * MINUTE


def test_registers_a_meter_kept_over_an_outage_part_it_at_their_instants_exactly() -> None:
    series = Series(RULES)
    series.add(day(0), Decimal(1000), 0, 0)
    for number, kept in ((1, "1010.50"), (2, "1200.25"), (3, "1200.25")):
        series.recall(day(number), Decimal(kept), 0, 1)
    series.add(day(3, 120), Decimal("1207.77"), 0, 1)
    series.recall(day(1, 60), Decimal("1011"), 0, 2)
    rows = series.take()
    sums = [
        sum((row.consumption or Decimal(0) for row in rows if day(number) <= row.start < day(number + 1)), Decimal(0))
        for number in range(4)
    ]
    assert sums == [Decimal("10.50"), Decimal("189.75"), Decimal(0), Decimal("7.52")]
    for row in rows:
        if row.start in (day(1), day(2), day(3)):
            assert row.register_start.at == row.start
    assert [row.register_start.value for row in rows if row.start == day(2)] == [Decimal("1200.25")]
    assert sum(row.readings for row in rows) == 2


def test_a_kept_register_neither_begins_nor_proves_a_count() -> None:
    series = Series(replace(RULES, max_rate_per_h=Decimal(1)))
    series.recall(day(0), Decimal(1000), 0, 0)
    assert series.take() == []
    series.add(day(0), Decimal(1000), 0, 0)
    for number in range(1, 9):
        series.recall(day(number), Decimal(number), 0, 1)
    (row,) = series.take()
    assert (row.ignored, row.state, row.register_end.value) == (8, "backwards-ignored", Decimal(1000))
    assert series.turns() == []


@st.composite
def broken(draw: st.DrawFn) -> list[Sample]:
    """A meter that counts, and now and then says anything at all, for a while or for good."""
    samples, at, register = [], 0, draw(st.integers(0, 999_999))
    for _ in range(draw(st.integers(1, 60))):
        at += draw(st.integers(1, 90) | st.integers(1, 4_000))
        if draw(st.integers(0, 9)) == 0:
            register = draw(st.integers(0, 999_999))
        samples.append((at, draw(st.sampled_from([register, register, register, register, 0, 999_999]))))
        register = min(register + draw(st.integers(0, 3)), 999_999)
    return samples


@given(broken())
def test_whatever_a_meter_says_nothing_is_counted_that_its_rate_does_not_allow(samples: list[Sample]) -> None:
    rows, turns = run(samples)
    for before, after in pairwise(rows):
        assert before.end == after.start
        if before.quality != "suspect" and after.quality != "suspect":
            assert before.register_end.value == after.register_start.value
    for row in rows:
        if row.consumption is not None:
            hours = Decimal(row.register_end.at - row.register_start.at + 2 * MINUTE) / 3_600_000
            assert 0 <= row.consumption <= 100 * max(hours, Decimal("0.25")) * (len(samples) + 1)
    assert all(turn.kind in ("reset", "unexplained") for turn in turns)
    assert sum(row.readings + row.ignored for row in rows) == len(samples)


RATIO = ((0, Decimal(80)), (T0 + 20 * MINUTE, Decimal(40)))
KINDS_OF_RULES = [
    RULES,
    replace(RULES, max_rate_per_h=None, modulus=None),
    replace(RULES, ratios=RATIO),
    replace(RULES, period_ms=600_000, ratios=RATIO[1:]),
]


@st.composite
def strides(draw: st.DrawFn) -> list[Sample]:
    """Readings of a counter that mostly goes on, at any distance from the ends of quarters of an hour."""
    at, register, found = draw(st.integers(0, 900)), draw(st.sampled_from([0, 500_000, 999_990])), list[Sample]()
    for _ in range(draw(st.integers(1, 30))):
        at += draw(st.sampled_from([0, 1, 10, 60, 61, 450, 840, 899, 900, 901, 1_800, 5_000, 40_000_000]))
        register += draw(st.sampled_from([0, 0, 1, 1, 2, 3, 100, 160, 170, 5_000, -1, -20, 400_000]))
        found.append((at, register % 1_000_000))
    return found


@given(st.one_of(strides(), broken().map(sorted)), st.sampled_from(KINDS_OF_RULES), st.booleans(), st.data())
def test_readings_fed_together_are_booked_as_one_by_one(
    samples: list[Sample], rules: Rules, real: bool, data: st.DataObject
) -> None:
    """Whether their steps are known or not, and however they are cut into pieces; down to how numbers are written."""
    one, fed, known = Series(rules), Series(rules), Series(rules)
    expected = run(samples, one)
    while samples:
        some = samples[: data.draw(st.integers(1, len(samples)))]
        samples = samples[len(some) :]
        times = [T0 + at * SECOND for at, _ in some]
        raws: list[int | float] = [float(register) if real else register for _, register in some]
        steps = [later - before for before, later in pairwise(raws)]
        places = [(0, at) for at, _ in some]
        fed.feed(times, raws, CENT, places)
        known.feed(times, raws, CENT, places, (min(steps), max(steps)) if steps else None)
    assert str((fed.take(), fed.turns(), fed.doubt)) == str((*expected, one.doubt))
    assert str((known.take(), known.turns(), known.doubt)) == str((*expected, one.doubt))
