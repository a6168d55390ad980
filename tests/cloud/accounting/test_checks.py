"""Cross-checks: what goes together passes, what does not is found, and what cannot be compared says so."""

import re
from datetime import date
from decimal import Decimal
from importlib.resources import files
from inspect import getsource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.accounting import bounds as bounds_file
from cloud.accounting import calculate, checks, factors, method
from cloud.accounting.checks import Estimate, Finding, Stack, Stocks
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.units import quantity
from protocols import messages
from protocols.errors import ConfigError, UnknownNameError

BOUNDS = bounds_file.builtin()


def severity(found: Finding | None) -> str | None:
    return None if found is None else found.severity


@pytest.mark.parametrize(
    ("measured", "expected"),
    [("1000", None), ("1070", None), ("1080", "warn"), ("1160", "block"), ("920", "warn"), ("850", "block")],
)
def test_en_above_one_warns_and_above_two_blocks(measured: str, expected: str | None) -> None:
    """U 5 % of both: at 1080 against 1000, 80 / sqrt(54^2 + 50^2) = 1.09."""
    five = Decimal(5)
    stack = Stack("DA001", Estimate(Decimal(1000), five), Estimate(Decimal(measured), five))
    assert severity(checks.flue_gas(stack, BOUNDS)) == expected


def test_a_mass_of_unknown_width_is_not_passed() -> None:
    stack = Stack("DA001", Estimate(Decimal(1000), Decimal(5)), Estimate(Decimal(1000), None))
    found = checks.flue_gas(stack, BOUNDS)
    assert found is not None and found.id == "flue-gas-unknown"


@given(st.decimals(1, 10**6, places=3), st.decimals(1, 10**6, places=3))
def test_en_is_the_same_from_both_sides(one: Decimal, other: Decimal) -> None:
    first, second = Estimate(one, Decimal(3)), Estimate(other, Decimal(7))
    assert checks.en_score(first, second) == checks.en_score(second, first)


@pytest.mark.parametrize(
    ("billed", "expected"), [("100 MWh", None), ("101000 kWh", None), ("105 MWh", "warn"), ("1000 MWh", "block")]
)
def test_a_bill_against_the_meter(billed: str, expected: str | None) -> None:
    assert severity(checks.bill("M-1", quantity("100 MWh"), quantity(billed), BOUNDS)) == expected


def test_a_bill_for_a_meter_that_counted_nothing_blocks() -> None:
    found = checks.bill("M-1", quantity("0 MWh"), quantity("5 MWh"), BOUNDS)
    assert found is not None and (found.severity, found.figures["percent"]) == ("block", "∞")
    assert checks.bill("M-1", quantity("0 MWh"), quantity("0 MWh"), BOUNDS) is None


@pytest.mark.parametrize(("used", "expected"), [("900 t", None), ("860 t", "warn"), ("600 t", "block")])
def test_a_stock_balance(used: str, expected: str | None) -> None:
    held = Stocks(quantity("300 t"), quantity("1000 t"), quantity("400 t"))
    found = checks.stock("coal", held, quantity(used), BOUNDS)
    assert severity(found) == expected


def test_a_carbon_balance_that_lost_the_44_over_12_blocks() -> None:
    went_in = [quantity("100 tC")]
    assert checks.carbon("kiln", went_in, [quantity("30 tC"), quantity("69 tC")], BOUNDS) is None
    assert severity(checks.carbon("kiln", went_in, [quantity("30 tC"), quantity("19.1 tC")], BOUNDS)) == "block"


@pytest.mark.parametrize(
    ("fuel", "expected"), [("9000 GJ", None), ("20000 GJ", "warn"), ("5000 GJ", "warn"), ("3500 GJ", "block")]
)
def test_a_plant_cannot_make_more_power_than_its_coal_holds(fuel: str, expected: str | None) -> None:
    assert severity(checks.heat_rate("unit 1", quantity(fuel), quantity("1000 MWh"), BOUNDS)) == expected


def test_a_plant_that_sent_nothing_out_has_no_heat_rate() -> None:
    found = checks.heat_rate("unit 1", quantity("10 GJ"), quantity("0 MWh"), BOUNDS)
    assert found is not None and found.id == "heat-rate-none"


@pytest.mark.parametrize(
    ("mpa", "celsius", "enthalpy", "expected"),
    [
        ("1", "300", "3051", None),
        ("1", "180", "2777", None),
        ("1", "300", "2690", "warn"),
        ("1", "300", "762", "block"),
        ("1", "300", "3400", "block"),
        ("30", "300", "2777", "warn"),
    ],
)
def test_steam_between_saturated_and_thin(mpa: str, celsius: str, enthalpy: str, expected: str | None) -> None:
    """762 kJ/kg is the water of 1 MPa, not its steam."""
    assert severity(checks.steam("H-1", Decimal(mpa), Decimal(celsius), Decimal(enthalpy), BOUNDS)) == expected


@pytest.mark.parametrize(
    ("fuel", "co2", "o2", "expected"),
    [
        ("coal", "13", "6", None),
        ("natural_gas", "9", "4", None),
        ("natural_gas", "10.5", "4", "warn"),
        ("natural_gas", "13", "4", "block"),
        ("coal", "5", "20.95", "block"),
        ("peat", "9", "4", "warn"),
    ],
)
def test_co2_beside_oxygen_has_a_limit(fuel: str, co2: str, o2: str, expected: str | None) -> None:
    assert severity(checks.oxygen("DA001", fuel, Decimal(co2), Decimal(o2), BOUNDS)) == expected


def burnt(carbon: str) -> list[Finding]:
    given = {
        "FC": Given(quantity("10 t"), "declared", "bill"),
        "NCV": Given(quantity("42.652 GJ/t"), "declared", "lab"),
        "CC": Given(quantity(carbon), "declared", "lab"),
    }
    entry = Entry("24-01", date(2025, 6, 1), date(2025, 7, 1), given, item="diesel")
    lines = calculate.lines(method.get("ndrc-24-2015"), [entry], Programme("S", factors.builtin()))
    return list(checks.composites(lines, BOUNDS))


def test_a_carbon_content_that_was_mistyped_shows_in_the_composite() -> None:
    assert burnt("0.0202 tC/GJ") == []
    (found,) = burnt("0.0310 tC/GJ")
    assert (found.severity, found.about) == ("block", "24-01/diesel")


def test_a_fuel_that_has_a_published_composite_stays_within_it_in_every_built_in_table() -> None:
    """Diesel and gasoline agree in all tables; a swapped column would not."""
    found = []
    for name in ("ndrc-24-2015", "ndrc-22-2015", "ndrc-03-2013"):
        known = method.get(name)
        row = next((one for one in known.rows.values() if one.block == "FUEL"), None)
        if row is None:
            continue
        for item in sorted({"diesel", "gasoline"} & set(known.items(row))):
            entry = Entry(row.row, date(2025, 6, 1), date(2025, 7, 1), {"FC": Given(quantity("1 t"), "declared")}, item)
            lines = list(calculate.lines(known, [entry], Programme("S", factors.builtin())))
            found.append(name)
            assert list(checks.composites(lines, BOUNDS)) == []
    assert len(found) >= 2


@pytest.mark.parametrize(("used", "expected"), [("90 MWh", None), ("40 MWh", "warn"), ("90000 MWh", "warn")])
def test_what_a_product_takes_against_the_band_of_its_trade(used: str, expected: str | None) -> None:
    assert severity(checks.consumption("cement.electricity", quantity(used), quantity("1000 t"), BOUNDS)) == expected


def test_no_product_and_no_band() -> None:
    found = checks.consumption("cement.electricity", quantity("1 MWh"), quantity("0 t"), BOUNDS)
    assert found is not None and found.id == "consumption-none"
    with pytest.raises(UnknownNameError):
        checks.consumption("cheese", quantity("1 MWh"), quantity("1 t"), BOUNDS)


def test_a_finding_fills_every_gap_of_its_message() -> None:
    five = Decimal(5)
    apart = Stack("DA001", Estimate(Decimal(1000), five), Estimate(Decimal(1300), five))
    found = [
        checks.flue_gas(apart, BOUNDS),
        checks.flue_gas(Stack("x", Estimate(five, None), Estimate(five, five)), BOUNDS),
        checks.flue_gas(Stack("x", Estimate(five, five), None, Decimal("0.75")), BOUNDS),
        checks.bill("M", quantity("1 MWh"), quantity("9 MWh"), BOUNDS),
        checks.heat_rate("u", quantity("3 GJ"), quantity("1 MWh"), BOUNDS),
        checks.heat_rate("u", quantity("5 GJ"), quantity("1 MWh"), BOUNDS),
        checks.heat_rate("u", quantity("5 GJ"), quantity("0 MWh"), BOUNDS),
        checks.steam("H", five, Decimal(300), Decimal(9), BOUNDS),
        checks.steam("H", Decimal(90), Decimal(300), Decimal(9), BOUNDS),
        checks.oxygen("s", "coal", Decimal(30), five, BOUNDS),
        checks.oxygen("s", "peat", Decimal(30), five, BOUNDS),
        checks.consumption("clinker.heat", quantity("9 GJ"), quantity("1 t"), BOUNDS),
        checks.consumption("clinker.heat", quantity("9 GJ"), quantity("0 t"), BOUNDS),
        *burnt("0.0310 tC/GJ"),
    ]
    for one in found:
        assert one is not None
        for language in ("zh", "en"):
            assert messages.text(f"check.{one.id}", language, **one.figures)  # type: ignore[arg-type]
            assert messages.text(f"check.{one.id}.do", language)  # type: ignore[arg-type]


def test_what_blocks_stands_against_a_lock_by_name() -> None:
    found = [Finding("bill", "warn", "M-1", {}), Finding("flue-gas", "block", "DA001", {})]
    assert checks.blocking(found) == ("check.flue-gas: DA001",)


def test_every_finding_has_its_texts_with_what_to_do() -> None:
    catalogue = messages.catalogue()
    named = set(re.findall(r'(?:Finding|_apart|_beyond)\("([a-z-]+)"', getsource(checks)))
    assert len(named) == 17
    for name in named:
        assert catalogue[f"check.{name}"] and catalogue[f"check.{name}.do"]


@pytest.mark.parametrize(
    ("found", "instead"),
    [(b'warn = "1"\nblock = "2"', b'warn = "2"\nblock = "1"'), (b'mpa = "0.2"', b'mpa = "0.1"'), (b'"0.055"', b'"5"')],
)
def test_bounds_out_of_order_are_refused(found: bytes, instead: bytes) -> None:
    source = files("cloud.accounting").joinpath("bounds.toml").read_bytes()
    assert found in source
    with pytest.raises(ConfigError):
        bounds_file.load("mutant", source.replace(found, instead, 1))
