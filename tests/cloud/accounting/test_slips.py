"""Slips of a unit told by the other periods: every source of the invented city, every month, and no false alarm."""

from datetime import date
from decimal import Decimal
from functools import cache

import msgspec
import pytest

from cloud.accounting import activity_file, calculate, factors, method, slips, subject_file
from cloud.accounting.given import Programme
from cloud.accounting.line import Line
from simulator import city

MONTHS = city.months("2026-12", 8)


@cache
def accounts() -> dict[str, dict[str, tuple[Line, ...]]]:
    """Every sixth enterprise's lines by month."""
    made = city.city(7, MONTHS)
    known = subject_file.read("subjects.toml", made.subjects).subjects
    shared: calculate.Known = {}
    return {
        name: {month: _lines(name, known[name].method, month, source, shared) for month, source in files.items()}
        for name, files in list(made.activity.items())[::6]
    }


def _lines(name: str, used: str, month: str, source: bytes, shared: calculate.Known) -> tuple[Line, ...]:
    rules, first = method.get(used), date.fromisoformat(f"{month}-01")
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    entries = activity_file.entries(month, activity_file.read(month, source), rules, first, after)
    return tuple(calculate.lines(rules, entries, Programme(name, factors.builtin()), shared))


def test_an_honest_city_is_never_doubted() -> None:
    for name, months in accounts().items():
        told = {month: slips.rates(lines) for month, lines in months.items()}
        for month, lines in months.items():
            others = [held for other, held in told.items() if other != month]
            assert list(slips.doubts(lines, others)) == [], (name, month)


@pytest.mark.parametrize("times", ["1000", "0.001"])
def test_a_slip_by_a_thousand_is_named_in_any_single_month_of_any_source(times: str) -> None:
    count = 0
    for months in accounts().values():
        told = {month: slips.rates(lines) for month, lines in months.items()}
        for month, rates in told.items():
            for key, rate in rates.items():
                history = [held[key].a_day for other, held in told.items() if other != month and key in held]
                assert slips.factor(rate.a_day * Decimal(times), history) == 1000, (month, key)
                count += 1
    assert count > 100


@pytest.mark.parametrize("factor", ["3.6", "4.1868", "10", "29.3076", "100", "10000"])
def test_the_usual_mistakes_of_a_steady_source_are_told_apart(factor: str) -> None:
    history = [Decimal(one) for one in ("100", "104", "97", "101", "95")]
    assert slips.factor(Decimal(factor) * 99, history) == Decimal(factor)
    assert slips.factor(99 / Decimal(factor), history) == Decimal(factor)


def test_a_winter_is_no_slip_and_one_slip_hides_no_other() -> None:
    heating = [Decimal(one) for one in ("100", "80", "40", "10", "5", "5", "6", "30", "70")]
    assert slips.factor(Decimal(110), heating) is None
    assert slips.factor(Decimal(36), [Decimal(10), Decimal(11), Decimal(30)]) is None
    assert slips.factor(Decimal(100_000), [Decimal(100), Decimal(90), Decimal(95_000), Decimal(110)]) == 1000
    assert slips.factor(Decimal(100_000), []) is None


def test_a_new_source_out_of_all_proportion_is_told_and_one_in_proportion_is_not() -> None:
    months = next(iter(accounts().values()))
    *before, last = months.values()
    largest = max(last, key=lambda line: line.tco2e)
    new = msgspec.structs.replace(largest, id=f"{largest.id}/new")
    assert list(slips.outsized([*last, new], before)) == []
    for times, severity in (("10", "warn"), ("1000", "block")):
        slipped = msgspec.structs.replace(new, tco2e=new.tco2e * Decimal(times))
        (found,) = slips.outsized([*last, slipped], before)
        assert (found.about, found.severity) == (new.id, severity)
    assert list(slips.outsized([new], [])) == [], "the first period has nothing to be held against"
