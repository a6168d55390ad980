"""Ranges that references give: every default lies within them, and a slip does not."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest

from cloud.accounting import calculate, factors, method
from cloud.accounting.calculate import Entry, Given, Programme
from cloud.accounting.line import Line
from cloud.accounting.plausible import Range, doubts, ranges
from cloud.accounting.units import quantity

JUNE = (date(2025, 6, 1), date(2025, 7, 1))
PUBLISHED = {
    "gasoline": ("2.925", "t"),
    "diesel": ("3.096", "t"),
    "lpg": ("3.101", "t"),
    "coke": ("2.860", "t"),
    "natural_gas": ("21.622", "1e4Nm3"),
}
"""tCO2 for a unit of a fuel, as published."""


def line(name: str, row: str, item: str = "", **given: str) -> Line:
    values = {symbol: Given(quantity(text), "declared", "r") for symbol, text in given.items()}
    (found,) = calculate.lines(method.get(name), [Entry(row, *JUNE, values, item)], Programme("S", factors.builtin()))
    return found


@pytest.mark.parametrize("one", ranges(), ids=lambda one: f"{one.method} {one.item or one.rows} {one.symbol}")
def test_a_range_is_of_a_parameter_that_exists_and_its_default_lies_in_it(one: Range) -> None:
    held = method.get(one.method)
    rows = [held.row(name) for name in one.rows or held.rows]
    bound = [row for row in rows if one.symbol in row.bind and (not one.item or one.item in held.items(row))]
    given = [row for row in rows if one.rows and one.symbol in row.given]
    assert bound or given
    for row in bound:
        for item in [one.item] if one.item else list(held.items(row)) or [None]:
            value = held.parameter(row.bind[one.symbol], item).quantity
            assert value.unit.text == one.unit
            assert one.low <= value.value <= one.high, (row.row, item)


def test_the_fuel_tables_of_all_editions_stay_within_a_tenth_of_the_published_factors() -> None:
    seen = 0
    for held in method.builtin().values():
        for row in held.rows.values():
            if row.block != "FUEL" or row.given or len(row.bind) != 3:
                continue
            for item, (published, each) in PUBLISHED.items():
                if item in held.items(row):
                    found = line(held.id, row.row, item, FC=f"100 {each}").mass / 100
                    assert abs(found / Decimal(published) - 1) < Decimal("0.1"), (held.id, row.row, item, found)
                    seen += 1
    assert seen > 50


@pytest.mark.parametrize(
    ("made", "symbol", "value"),
    [
        (lambda: line("ndrc-20-2015", "20-03", "filled_once", AD="10 tCO2", share="0.04"), "share", "0.04"),
        (lambda: line("mee-2022-power", "01-02", FC="10 t", NCV="28.1 GJ/t"), "NCV", "28.1"),
        (lambda: line("ndrc-01-2013", "01-03", FC="1 1e4Nm3", NCV="522.7 GJ/1e4Nm3"), "NCV", "522.7"),
    ],
    ids=["a point slipped", "coal too good", "coke-oven gas like natural gas"],
)
def test_what_lies_outside_is_a_doubt_with_its_source(made: Callable[[], Line], symbol: str, value: str) -> None:
    (doubt,) = doubts([made()])
    assert (doubt.range.symbol, doubt.found) == (symbol, Decimal(value))
    assert not doubt.range.low <= doubt.found <= doubt.range.high and doubt.range.source


def test_what_lies_inside_is_none() -> None:
    assert not list(doubts([line("ndrc-20-2015", "20-03", "filled_once", AD="10 tCO2")]))
