"""Ranges that references give: every default lies within them, and a slip does not."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest

from cloud.accounting import calculate, checks, factors, method
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.line import Line
from cloud.accounting.plausible import Range, doubts, ranges
from cloud.accounting.units import quantity
from protocols import messages

JUNE = (date(2025, 6, 1), date(2025, 7, 1))


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
    (finding,) = checks.ranges([made()])
    assert (finding.severity, finding.figures["symbol"]) == ("warn", symbol)
    for language in ("zh", "en"):
        assert value in messages.text(f"check.{finding.id}", language, **finding.figures)


def test_what_lies_inside_is_none() -> None:
    assert not list(doubts([line("ndrc-20-2015", "20-03", "filled_once", AD="10 tCO2")]))
