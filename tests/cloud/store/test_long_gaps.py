"""The middle of a long gap is booked to the same rows as step by step, and never held in memory as a whole."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from cloud import count, rates
from cloud.intervals import INTERVAL_MS, Interval, Rules
from cloud.rates import Rate
from cloud.running import Rows
from cloud.series import LONGEST_GAP_MS, Series

T0 = 1_790_000_100_000 - 1_790_000_100_000 % INTERVAL_MS
DAY = 86_400_000
CENT = Decimal("0.01")
RULES = Rules("M-01", "energy_import", "kWh", "meter-a", 10_000, CENT, Decimal(10_000), None, ((0, Decimal(80)),))
SWITCHED = replace(RULES, ratios=((0, Decimal(80)), (T0 + 2 * DAY + 7_000, Decimal(100)), (T0 + 9 * DAY, Decimal(80))))


def crossed(rules: Rules, away_ms: int, growth: int) -> Series:
    """A counter that was read twice, then not for so long, and came back ahead by so many hundredths."""
    series = Series(rules)
    for at, register in ((T0 + 1_000, 995_000), (T0 + 11_000, 995_003), (T0 + 11_000 + away_ms, 995_003 + growth)):
        series.add(at, register % 1_000_000 * CENT, 0, at)
    return series


@pytest.mark.parametrize("rules", [RULES, SWITCHED], ids=["one ratio", "a ratio that changes within the gap"])
@pytest.mark.parametrize("growth", [0, 7, 4_321, 4_997, 6_543, 9_999], ids="grown by {}".format)
@pytest.mark.parametrize("away_ms", [17 * 3_600_000, DAY + 1, 10 * DAY - 11_000, 10 * DAY + 888_999])
def test_the_rows_of_a_long_gap_are_those_of_one_step_after_another(
    monkeypatch: pytest.MonkeyPatch, rules: Rules, growth: int, away_ms: int
) -> None:
    lazy = crossed(rules, away_ms, growth)
    assert any(isinstance(part, count.Stretch) for part in lazy.take_parts())
    rows = crossed(rules, away_ms, growth).take()
    monkeypatch.setattr(count, "LONG_MS", LONGEST_GAP_MS)
    stepped = crossed(rules, away_ms, growth)
    assert not any(isinstance(part, count.Stretch) for part in stepped.take_parts())
    assert rows == crossed(rules, away_ms, growth).take()
    assert [(one.end, one.register_end.value) for one in rows[:-1]] == [
        (other.start, other.register_start.value) for other in rows[1:]
    ]


Life = Callable[[Rules, int], Series | Rate]
"""What becomes of a counter or a rate that was away for so long."""


def grown(rules: Rules, away_ms: int) -> Series:
    return crossed(rules, away_ms, 9_000)


def fallen(rules: Rules, away_ms: int) -> Series:
    """It begins again at 0, which five readings prove."""
    series = crossed(replace(rules, modulus=None), 1_000, 0)
    for number in range(5):
        at = T0 + away_ms + number * 30_000
        series.add(at, number * CENT, 0, at)
    return series


def slipped(rules: Rules, away_ms: int) -> Series:
    """It fell by a few of its steps, and is waited for."""
    series = crossed(replace(rules, modulus=None), 1_000, 0)
    series.add(T0 + away_ms, 995_000 * CENT, 0, 1)
    return series


def silent(rules: Rules, away_ms: int) -> Rate:
    """A rate, of which nothing was heard; what its device dates itself comes behind."""
    rate = Rate(replace(rules, kind="rate", period_ms=86_400_000))
    for at, dated in ((T0 + 1_000, False), (T0 + away_ms, False), (T0 + 2 * away_ms, True)):
        rate.add(at, Decimal(7), 0, at, dated)
    return rate


LIVES = [grown, fallen, slipped, silent]


@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("rules", [RULES, SWITCHED], ids=["one ratio", "a ratio that changes within the gap"])
@pytest.mark.parametrize("away_ms", [17 * 3_600_000 + 5_000, 10 * DAY, 10 * DAY + 888_999])
def test_whatever_comes_behind_a_long_gap_its_rows_are_those_of_one_step_after_another(
    monkeypatch: pytest.MonkeyPatch, life: Life, rules: Rules, away_ms: int
) -> None:
    parts = life(rules, away_ms).take_parts()
    assert any(isinstance(part, count.Stretch) for part in parts)
    lazy = Rows(parts)
    rows = list(lazy)
    assert rows == list(lazy), "each time somebody asks"
    for module in (count, rates):
        monkeypatch.setattr(module, "LONG_MS", LONGEST_GAP_MS)
    stepped = life(rules, away_ms).take_parts()
    assert all(isinstance(part, Interval) for part in stepped) and rows == stepped


@pytest.mark.parametrize("life", LIVES)
def test_a_year_without_readings_is_never_in_memory_as_a_whole(life: Life) -> None:
    tracemalloc.start()
    try:
        rows = Rows(life(RULES, 60 * DAY).take_parts())
        made = sum(1 for _ in rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert made > 60 * 96
    assert peak < 100_000, "sixty days at once are megabytes"
