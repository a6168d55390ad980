"""Bands that references give: every default lies within them, and a slip does not."""

from datetime import date
from decimal import Decimal

import pytest

from cloud.accounting import calculate, factors, method, plausible
from cloud.accounting.calculate import Entry, Given, Programme
from cloud.accounting.line import Line
from cloud.accounting.plausible import bands, doubts
from cloud.accounting.units import quantity
from protocols.errors import UnknownNameError

JUNE = (date(2025, 6, 1), date(2025, 7, 1))


def line(name: str, row: str, item: str = "", **given: str) -> Line:
    values = {symbol: Given(quantity(text), "declared", "r") for symbol, text in given.items()}
    (found,) = calculate.lines(method.get(name), [Entry(row, *JUNE, values, item)], Programme("S", factors.builtin()))
    return found


@pytest.mark.parametrize("band", bands().range, ids=lambda one: f"{one.method} {one.item or one.rows} {one.symbol}")
def test_a_band_is_of_a_parameter_that_exists_and_its_default_lies_in_it(band: plausible.Range) -> None:
    held = method.get(band.method)
    rows = [held.row(name) for name in band.rows or held.rows]
    bound = [row for row in rows if band.symbol in row.bind and (not band.item or band.item in held.items(row))]
    given = [row for row in rows if band.rows and band.symbol in row.given]
    assert bound or given
    for row in bound:
        for item in [band.item] if band.item else list(held.items(row)) or [None]:
            value = held.parameter(row.bind[band.symbol], item).quantity
            assert value.unit.text == band.unit
            assert band.low <= value.value <= band.high, (row.row, item)


def test_the_fuel_tables_of_all_editions_stay_near_the_published_factors() -> None:
    """The default of each guideline, for each fuel that has a published composite: 3 to 5 % apart, never 10."""
    seen = 0
    for held in method.builtin().values():
        for row in held.rows.values():
            if row.block != "FUEL" or row.given or len(row.bind) != 3:
                continue
            for one in bands().composite:
                if one.item in held.items(row):
                    amount = "100 1e4Nm3" if one.unit.endswith("Nm3") else "100 t"
                    assert doubts([line(held.id, row.row, one.item, FC=amount)]) == (), (held.id, row.row, one.item)
                    seen += 1
    assert seen > 50


@pytest.mark.parametrize(
    ("found", "symbol", "value"),
    [
        (lambda: line("ndrc-24-2015", "24-01", "natural_gas", FC="100 1e4Nm3", NCV="455.1 GJ/1e4Nm3"), "E/FC", "25.28"),
        (lambda: line("ndrc-24-2015", "24-01", "diesel", FC="10 t", CC="0.0255 tC/GJ"), "E/FC", "3.97"),
        (lambda: line("ndrc-20-2015", "20-03", "filled_once", AD="10 tCO2", share="0.04"), "share", "0.04"),
        (lambda: line("mee-2022-power", "01-02", FC="10 t", NCV="28.1 GJ/t"), "NCV", "28.1"),
        (lambda: line("ndrc-01-2013", "01-03", FC="1 1e4Nm3", NCV="522.7 GJ/1e4Nm3"), "NCV", "522.7"),
    ],
    ids=["gas too rich", "diesel too black", "a point slipped", "coal too good", "coke-oven gas like natural gas"],
)  # fmt: skip
def test_what_lies_outside_is_a_doubt_with_its_source(found: object, symbol: str, value: str) -> None:
    assert callable(found)
    (doubt,) = doubts([found()])
    assert (doubt.symbol, round(doubt.found, 2)) == (symbol, Decimal(value))
    assert not doubt.low <= doubt.found <= doubt.high and doubt.source


def test_no_amount_no_doubt() -> None:
    assert doubts([line("ndrc-24-2015", "24-01", "diesel", FC="0 t")]) == ()


def test_the_limit_of_a_flue_gas() -> None:
    assert plausible.most_co2("coal").highest == Decimal("0.20")
    with pytest.raises(UnknownNameError, match="wood"):
        plausible.most_co2("wood")
