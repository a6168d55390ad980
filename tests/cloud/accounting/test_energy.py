"""Comprehensive energy consumption: by hand, by whose calorific value, and never 0 where it is not known."""

from datetime import date
from decimal import Decimal

import msgspec
import pytest

from cloud.accounting import calculate, factors, method, parameters
from cloud.accounting.energy import Consumption, consumption
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.line import Line
from cloud.accounting.units import quantity

JUNE = (date(2023, 6, 1), date(2023, 7, 1))


def lines(name: str, *entries: tuple[str, str, dict[str, str]]) -> list[Line]:
    found = [
        Entry(
            row, *JUNE, {key: Given(quantity(text), "declared", "bill") for key, text in given.items()}, item, str(at)
        )
        for at, (row, item, given) in enumerate(entries)
    ]
    return list(calculate.lines(method.get(name), found, Programme("S", factors.builtin())))


def used(name: str, *entries: tuple[str, str, dict[str, str]]) -> Consumption:
    return consumption(lines(name, *entries))


def test_a_works_energy_is_what_a_hand_reckons() -> None:
    found = used(
        "ndrc-24-2015",
        ("24-01", "coke", {"FC": "100 t"}),
        ("24-01", "anthracite", {"FC": "10 t"}),
        ("24-02", "CaCO3", {"AD": "10 t"}),
        ("24-08", "", {"AD": "1000 MWh"}),
        ("24-09", "", {"AD": "100 MWh"}),
        ("24-11", "", {"AD": "500 GJ"}),
        ("24-12", "", {"Ma": "100 t", "En": "2800 kJ/kg"}),
    )
    by_hand = (
        100 * Decimal("0.9714")
        + 10 * Decimal("24.515") / Decimal("29.3076")
        + (1000 - 100) * Decimal("0.1229")
        + (500 + 100 * (2800 - Decimal("83.74")) / 1000) * Decimal("0.03412")
    )
    assert abs(found.tce - by_hand) < Decimal("1e-9")
    assert [one.basis for one in found.carriers] == ["standard", "guideline", *["standard"] * 4]
    assert not found.unknown


def test_a_measured_calorific_value_stands_before_the_table() -> None:
    (one,) = used("ndrc-24-2015", ("24-01", "coke", {"FC": "100 t", "NCV": "29.3076 GJ/t"})).carriers
    assert (one.tce, one.basis) == (Decimal(100), "measured")


def test_diesel_by_the_litre_counts_by_its_density() -> None:
    (one,) = used("ndrc-22-2015", ("22-02", "diesel", {"V": "1000 L"})).carriers
    assert one.tce == Decimal("0.84") * Decimal("1.4571")


def test_a_fuel_without_a_calorific_value_is_unknown_and_not_nothing() -> None:
    (line,) = lines("ndrc-24-2015", ("24-01", "anthracite", {"FC": "10 t"}))
    bare = msgspec.structs.replace(line, parameters=tuple(one for one in line.parameters if one.symbol != "NCV"))
    found = consumption([bare])
    assert (found.carriers, found.unknown) == ((), (bare,))


@pytest.mark.parametrize("item", ["coke", "diesel", "coke_oven_gas", "lpg", "natural_gas_oilfield"])
def test_the_table_is_its_calorific_value_over_that_of_standard_coal(item: str) -> None:
    held = parameters.builtin()["gbt-2589-2020"].values
    heat, coal = held[f"NCV.{item}"].quantity, held[f"tce.{item}"].quantity
    each = heat.unit.coherent(heat.value) / Decimal("29.3076")
    assert abs(coal.unit.coherent(coal.value) / each - 1) < Decimal("0.0001")
