"""Planted mistakes: each is refused where it enters, or changes the digest and is named by the difference.

A mistake is planted into a file (a method, a set of parameters, the grid factors, the subjects), into a formula, or
into an entry. The name of each test case says which check catches it.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from importlib.resources import files
from zoneinfo import ZoneInfo

import msgspec
import pytest

from cloud.accounting import blocks, effects, factors, gwp, inventory, parameters, subject, subject_file
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting.block import Block
from cloud.accounting.draw import Drawn, draw
from cloud.accounting.expression import Expression, Symbol, constant
from cloud.accounting.given import Entry, Given
from cloud.accounting.inventory import Inventory
from cloud.accounting.library import Library
from cloud.accounting.method import Method
from cloud.accounting.parameters import ParameterSet
from cloud.accounting.units import quantity
from protocols.errors import ActivityError, ConfigError, FactorError, MethodError, UnitError
from tests.cloud import tables

NAME = "ndrc-24-2015"
JUNE = periods.parse("2023-06", ZoneInfo("Asia/Shanghai"))
SUBJECT = subject.Subject("S-1", "示例", "Example", "enterprise", "industry", NAME)
REFUSALS = (ActivityError, ConfigError, FactorError, MethodError, UnitError)


def source(folder: str, name: str) -> bytes:
    return files("cloud.accounting").joinpath(folder, name).read_bytes()


def put(text: bytes, old: str, new: str, after: str = "") -> bytes:
    """``text`` with the first ``old`` behind ``after`` replaced; the planting itself must find its place."""
    at = text.index(after.encode())
    assert old.encode() in text[at:], old
    return text[:at] + text[at:].replace(old.encode(), new.encode(), 1)


def entry(row: str, item: str = "", label: str = "", proof: str = "GEC-1", **values: str) -> Entry:
    given = {name: Given(quantity(text), "declared", "bill", "ab" * 32) for name, text in values.items()}
    return Entry(row, date(2023, 6, 1), date(2023, 7, 1), given, item, label, proof=proof)


ENTRIES = (
    entry("24-01", "anthracite", FC="1000 t"),
    entry("24-01", "natural_gas", FC="10 1e4Nm3"),
    entry("24-02", "CaCO3", AD="100 t", PUR="0.95"),
    entry("24-03", "anaerobic_reactor", W="1000 m3", COD_in="3 kgCOD/m3", COD_out="1 kgCOD/m3"),
    entry("24-07", Q="1 1e4Nm3", V="0.99"),
    entry("24-08", AD="1000 MWh"),
    entry("24-10", proved="200 MWh", purchased="1000 MWh"),
    entry("24-12", Ma="100 t", En="2800 kJ/kg"),
)


def account(
    *entries: Entry,
    method: Method | None = None,
    grid: factors.FactorSet | None = None,
    who: subject.Subject = SUBJECT,
    subjects: str = "00" * 32,
) -> Inventory:
    known = grid or factors.builtin()
    drawn = Drawn(entries or ENTRIES, JUNE.end)
    return draw(who, method or methods.get(NAME), JUNE, Library(known, {}), drawn, subject_sha256=subjects)


def named(after: Inventory, *lines: str, kind: str) -> None:
    """The digest has changed, and the difference puts all of it on these lines and this cause."""
    before = account()
    assert after.digest != before.digest
    found = effects.difference(before, after)
    assert {one.id.partition("@")[0] for one in found.effects} == set(lines)
    assert found.total == getattr(found, kind) != 0
    assert found.total == after.totals.total - before.totals.total


def with_method(text: bytes, sets: Mapping[str, ParameterSet] | None = None) -> Method:
    return methods.load(f"{NAME}.toml", text, sets or parameters.builtin())


def with_set(name: str, text: bytes) -> Method:
    sets = {**parameters.builtin(), name: parameters.load(f"{name}.toml", text)}
    return with_method(source("methods", f"{NAME}.toml"), sets)


METHOD = source("methods", f"{NAME}.toml")
FUELS = source("parameters", f"{NAME}-fuels.toml")
VALUES = source("parameters", f"{NAME}.toml")
ANTHRACITE = 'symbol = "NCV.anthracite"'


# Formulas


def planted(monkeypatch: pytest.MonkeyPatch, name: str, formula: Expression) -> Block:
    found = replace(blocks.block(name), formula=formula)
    monkeypatch.setattr(blocks, "BLOCKS", {**blocks.BLOCKS, name: found})
    return found


FUEL = Symbol("FC") * Symbol("NCV") * Symbol("CC") * Symbol("OF")


@pytest.mark.parametrize(
    ("formula", "found"),
    [
        (FUEL, "mass:C"),
        (FUEL * constant("44/12"), "mass:C"),
        (Symbol("FC") * Symbol("CC") * Symbol("OF") * constant("44/12", "tCO2/tC"), "energy"),
        (FUEL * Symbol("NCV") * constant("44/12", "tCO2/tC"), "energy"),
        (FUEL * constant("44/12", "tCO2/tC") + Symbol("FC"), "expected like and like"),
    ],
    ids=["44/12 lost", "44/12 as a bare number", "NCV lost", "NCV twice", "fuel added to CO2"],
)
def test_a_formula_that_is_no_mass_of_co2_lets_no_method_load(
    monkeypatch: pytest.MonkeyPatch, formula: Expression, found: str
) -> None:
    planted(monkeypatch, "FUEL", formula)
    with pytest.raises(ConfigError, match=found):
        with_method(METHOD)


def test_44_12_upside_down_is_right_by_its_units_and_named_by_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    account()
    planted(monkeypatch, "FUEL", FUEL * constant("12/44", "tCO2/tC"))
    after = account(method=with_method(METHOD))
    monkeypatch.undo()
    named(after, "24-01/anthracite", "24-01/natural_gas", kind="method")


def test_a_dropped_oxidation_fraction_is_named_by_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    without = Symbol("FC") * Symbol("NCV") * Symbol("CC") * constant("44/12", "tCO2/tC")
    planted(monkeypatch, "FUEL", without)
    after = account(method=with_method(METHOD))
    monkeypatch.undo()
    named(after, "24-01/anthracite", "24-01/natural_gas", kind="method")


# Methods


@pytest.mark.parametrize(
    ("old", "new", "after", "match"),
    [
        ('gas = "CH4"', 'gas = "CO2"', "24-03", "gives CH4, found gas 'CO2'"),
        ('rho = "rho_CH4"', 'rho = "rho_CO2"', "24-04", "mass:CO2"),
        ('NCV = "NCV.{item}", CC = "CC.{item}"', 'NCV = "CC.{item}", CC = "NCV.{item}"', "24-01", "NCV in mass:C"),
        ('OF = "OF.{item}"', 'OF = "NCV.{item}"', "24-01", "found OF in energy"),
        ('bind = { EF = "EF_heat" }', 'bind = { EF = "EF_hot" }', "24-11", "parameter EF_hot: found it in none"),
        ('row = "24-09"', 'row = "24-08"', "", "each row once"),
        ('leaf = "industry.indirect.heat"', 'leaf = "industry.indirect.heet"', "", "heet"),
        ('"ndrc-24-2015-fuels"', '"ndrc-24-2015-fuels", "ndrc-06-2013-fuels"', "", "in exactly one set"),
        ('class = "direct_fixed"', 'class = "reduction"', "24-07", "a reduction without proof"),
        ("sign = -1", "sign = -2", "24-09", "sign"),
        ('gwp = "SAR"', 'gwp = "SAR2"', "", "gwp"),
        ('bind = { EF = "EF.{item}" }', "bind = { }", "24-02", "EF neither bound nor given"),
        ('bind = { EF = "grid" }', 'bind = { EF = "grid", AD = "rho_CH4" }', "24-08", "activity AD bound"),
    ],
    ids=[
        "methane called CO2", "density of CO2 for methane", "NCV and CC swapped", "NCV for the oxidation",
        "a parameter that is none", "a row twice", "a leaf that is none", "two fuel tables at once",
        "a recovery called a reduction", "a sign that is none", "a GWP set that is none", "a lost factor",
        "an amount bound",
    ],
)  # fmt: skip
def test_a_method_with_this_in_it_does_not_load(old: str, new: str, after: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        with_method(put(METHOD, old, new, after))


@pytest.mark.parametrize(
    ("old", "new", "after", "lines", "kind"),
    [
        ('"ndrc-24-2015-fuels"', '"ndrc-06-2013-fuels"', "", ["24-01/anthracite"], "factor"),
        ('"ndrc-24-2015-fuels"', '"gbt-32151.22-2024-fuels"', "", ["24-01/anthracite"], "factor"),
        ("sign = -1\n", "", "24-07", ["24-07"], "method"),
        ("sign = -1\n", "", "24-10", ["24-10"], "method"),
        ('gwp = "SAR"', 'gwp = "AR5"', "", ["24-03/anaerobic_reactor"], "method"),
        ('EF = "grid"', 'EF = "EF_heat"', "24-08", ["24-08"], "factor"),
        ("direct_fixed", "memo", "24-07", ["24-07"], "activity"),
    ],
    ids=[
        "a fuel table of another guideline", "a fuel table of another standard", "a recovery added",
        "green power added", "the GWP set of AR5", "the heat factor for a MWh", "a recovery that counts no more",
    ],
)  # fmt: skip
def test_a_method_with_this_in_it_is_named_by_the_difference(
    old: str, new: str, after: str, lines: list[str], kind: str
) -> None:
    found = account(method=with_method(put(METHOD, old, new, after)))
    assert found.method_sha256 != account().method_sha256
    named(found, *lines, kind=kind)


def test_a_fuel_table_that_lacks_the_fuel_is_refused_by_the_calculation() -> None:
    with pytest.raises(ActivityError, match="found the item 'anthracite', expected one of diesel"):
        account(method=with_method(put(METHOD, '"ndrc-24-2015-fuels"', '"ndrc-22-2015-fuels"')))


# Parameters


@pytest.mark.parametrize(
    ("old", "new", "after", "match"),
    [
        ('value = "24.515"', 'value = "24515"', ANTHRACITE, "from 2 to 125 GJ/t"),
        ('value = "24.515"', 'value = "0.024515"', ANTHRACITE, "from 2 to 125 GJ/t"),
        ('unit = "GJ/t"', 'unit = "MWh/kg"', ANTHRACITE, "from 2 to 125 GJ/t"),
        ('value = "389.31"', 'value = "0.38931"', "NCV.natural_gas", "from 10 to 1500 GJ/1e4Nm3"),
        ('value = "0.02749"', 'value = "27.49"', "CC.anthracite", "from 0.010 to 0.080 tC/GJ"),
        ('unit = "tC/GJ"', 'unit = "tC/MWh"', "CC.anthracite", "from 0.010 to 0.080 tC/GJ"),
        ('value = "0.94"', 'value = "94"', "OF.anthracite", "from 0.5 to 1"),
        ('value = "0.02749"', 'value = "0.02452"', "CC.anthracite", "a thousandth of NCV 24.515"),
        ('status = "DRAFT"', 'status = "REVIEWED"', ANTHRACITE, "DRAFT, for what is code-only"),
        ("NCV.bituminous", "NCV.anthracite", ANTHRACITE, "each symbol once"),
        ('unit = "GJ/t"', 'unit = "GJ/tonne"', ANTHRACITE, "tonne"),
    ],
    ids=[
        "NCV a thousand times", "NCV a thousandth", "MWh for GJ", "NCV of Nm3 for 1e4 Nm3", "kgC for tC",
        "carbon per MWh", "oxidation in percent", "NCV/1000 as CC", "a draft called reviewed", "a symbol twice",
        "a unit that is none",
    ],
)  # fmt: skip
def test_a_set_with_this_in_it_does_not_load(old: str, new: str, after: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        with_set(f"{NAME}-fuels", put(FUELS, old, new, after))


@pytest.mark.parametrize(
    ("old", "new", "after", "match"),
    [
        ('unit = "tC/GJ"', 'unit = "tCO2/GJ"', "CC.anthracite", "found CC in mass:CO2 / energy"),
        ('unit = "GJ/1e4Nm3"', 'unit = "GJ/1e4m3"', "NCV.natural_gas", "found NCV in energy / volume,"),
        ('unit = "GJ/t"', 'unit = "GJ/tce"', ANTHRACITE, "found NCV in energy / mass:ce"),
    ],
    ids=["CO2 for carbon", "m3 for Nm3", "standard coal for coal"],
)
def test_a_set_with_this_in_it_fits_no_method(old: str, new: str, after: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        with_set(f"{NAME}-fuels", put(FUELS, old, new, after))


@pytest.mark.parametrize(
    ("old", "new", "after", "line"),
    [
        ('value = "0.4397"', 'value = "4.397"', "EF.CaCO3", "24-02/CaCO3"),
        ('value = "0.11"', 'value = "110"', "EF_heat", "24-12"),
        ('value = "19.7"', 'value = "1.977"', "rho_CO2", "24-07"),
        ('value = "0.8"', 'value = "0.3"', "MCF.anaerobic_reactor", "24-03/anaerobic_reactor"),
    ],
    ids=["a point slipped", "kg for t", "a density of kg/Nm3", "another plant's MCF"],
)
def test_a_set_with_this_in_it_is_named_by_the_difference(old: str, new: str, after: str, line: str) -> None:
    found = account(method=with_set(NAME, put(VALUES, old, new, after)))
    assert found.parameter_sets[NAME] != account().parameter_sets[NAME]
    named(found, line, kind="factor")


# Grid factors and GWP


GRID = dict(factors.builtin().files)


def grid(name: str, old: str, new: str, after: str = "") -> factors.FactorSet:
    return factors.load({**GRID, name: put(GRID[name], old, new, after)})


@pytest.mark.parametrize(
    ("old", "new", "after", "match"),
    [
        ('unit = "kgCO2/kWh"', 'unit = "tCO2/kWh"', "", "kgCO2/kWh"),
        ('value = "0.5306"', 'value = "530.6"', "cn.grid.national@2023", "0.001 to 2"),
        ("data_year = 2023", "data_year = 2022", "", "ends in @2022"),
        ("cn.grid.national@2023", "cn.grid.national.residual@2023", "", "expected each once"),
    ],
    ids=["another unit", "a thousand times", "the file of another year", "one id for two factors"],
)
def test_grid_factors_with_this_in_them_do_not_load(old: str, new: str, after: str, match: str) -> None:
    with pytest.raises((ConfigError, FactorError), match=match):
        grid("cn-grid-2023.toml", old, new, after)


def test_two_factors_for_one_basis_are_refused_by_the_calculation() -> None:
    both = grid("cn-grid-2023.toml", 'basis = "residual"', 'basis = "average"')
    with pytest.raises(FactorError, match="expected exactly one"):
        account(grid=both)


def test_swapped_factor_years_are_named_by_the_difference() -> None:
    """The value of 2022 in the file of 2023, and that of 2023 in the file of 2022."""
    swapped = {
        **GRID,
        "cn-grid-2023.toml": put(GRID["cn-grid-2023.toml"], "0.5306", "0.5366", "cn.grid.national@2023"),
        "cn-grid-2022.toml": put(GRID["cn-grid-2022.toml"], "0.5366", "0.5306", "cn.grid.national@2022"),
    }
    found = account(grid=factors.load(swapped))
    assert found.factor_set != account().factor_set
    named(found, "24-08", "24-10", kind="factor")


def test_a_factor_of_another_basis_is_named_by_the_difference() -> None:
    found = account(who=msgspec.structs.replace(SUBJECT, basis="residual"))
    assert (found.basis, account().basis) == ("residual", "average")
    named(found, "24-08", "24-10", kind="factor")


def test_another_gwp_set_of_a_subject_is_named_by_the_difference() -> None:
    found = account(who=msgspec.structs.replace(SUBJECT, gwp="AR6"))
    assert (found.gwp_set, account().gwp_set) == ("AR6", "SAR")
    named(found, "24-03/anaerobic_reactor", kind="method")


def test_a_changed_potential_is_named_by_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"SAR": {**gwp._sets()["SAR"], "CH4": Decimal(28)}}
    monkeypatch.setattr(gwp, "_sets", lambda: known)
    found = account()
    monkeypatch.undo()
    named(found, "24-03/anaerobic_reactor", kind="method")


# Entries


def changed(row: str, **values: str) -> tuple[Entry, ...]:
    """The entries, with other values for one row."""
    given = {name: Given(quantity(text), "declared", "bill", "ab" * 32) for name, text in values.items()}
    return tuple(
        msgspec.structs.replace(one, given={**one.given, **given}) if one.row == row else one for one in ENTRIES
    )


@pytest.mark.parametrize(
    ("row", "values", "match"),
    [
        ("24-07", {"Q": "1 1e4m3"}, "found Q = 1 1e4m3, expected Q in 1e4Nm3"),
        ("24-07", {"Q": "1 Sm3"}, "found Q = 1 Sm3, expected Q in 1e4Nm3"),
        ("24-02", {"AD": "100 tCO2"}, "found AD = 100 tCO2, expected AD in t$"),
        ("24-02", {"PUR": "95"}, "PUR = 95 1, expected from 0 to 1"),
        ("24-08", {"AD": "1000 t"}, "found AD = 1000 t, expected AD in MWh"),
        ("24-12", {"En": "2800 kJ"}, "found En = 2800 kJ, expected En in kJ/kg"),
        ("24-03", {"COD_in": "3 kgCH4/m3"}, "found COD_in = 3 kgCH4/m3, expected COD_in in kgCOD/m3"),
        ("24-08", {"AD": "-1000 MWh"}, "at least 0"),
    ],
    ids=["m3 for Nm3", "20 ℃ for 0 ℃", "CO2 for stone", "percent", "tonnes for MWh", "heat for enthalpy", "CH4 for COD",
         "negative"],
)  # fmt: skip
def test_an_entry_with_this_in_it_is_refused(row: str, values: Mapping[str, str], match: str) -> None:
    with pytest.raises(REFUSALS, match=match):
        account(*changed(row, **values))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"NCV": "24515 GJ/t"}, "NCV = 24515 GJ/t, expected from 0 to 125"),
        ({"CC": "27.49 tC/GJ"}, "CC = 27.49 tC/GJ, expected from 0 to 0.08"),
        ({"CC": "0.024515 tC/GJ"}, "CC = NCV/1000"),
        ({"NCV": "23.076 GJ/t", "CC": "0.02308 tC/GJ"}, "CC = NCV/1000"),
        ({"CC": "0.02749 t/GJ"}, "found CC = 0.02749 t/GJ, expected CC in tC/GJ"),
        ({"OF": "94"}, "OF = 94 1, expected from 0 to 1"),
        ({"NCV": "2.4515 GJ/t"}, "NCV = 2.4515 GJ/t, expected it within a factor of 5 of 24.515 GJ/t"),
        ({"NCV": "124 GJ/t"}, "NCV = 124 GJ/t, expected it within a factor of 5"),
        ({"CC": "0.002749 tC/GJ"}, "CC = 0.002749 tC/GJ, expected it within a factor of 5 of 0.02749 tC/GJ"),
    ],
    ids=["NCV in kJ/kg", "CC in kg", "NCV/1000 as CC", "both copied", "fuel for carbon", "percent", "NCV by ten",
         "NCV too great", "CC by ten"],
)  # fmt: skip
def test_a_measured_value_with_this_in_it_is_refused(values: Mapping[str, str], match: str) -> None:
    with pytest.raises(REFUSALS, match=match):
        account(entry("24-01", "anthracite", FC="1000 t", **values))


@pytest.mark.parametrize(
    ("row", "values", "line"),
    [
        ("24-02", {"AD": "100 kg"}, "24-02/CaCO3"),
        ("24-02", {"AD": "100 kt"}, "24-02/CaCO3"),
        ("24-08", {"AD": "1000 kWh"}, "24-08"),
        ("24-08", {"AD": "1000 GJ"}, "24-08"),
        ("24-07", {"Q": "1 Nm3"}, "24-07"),
        ("24-12", {"En": "2800 MJ/kg"}, "24-12"),
    ],
    ids=["kg for t", "kt for t", "kWh for MWh", "GJ for MWh", "Nm3 for 1e4 Nm3", "MJ for kJ"],
)
def test_a_slip_of_a_unit_is_named_by_the_difference(row: str, values: Mapping[str, str], line: str) -> None:
    named(account(*changed(row, **values)), line, kind="activity")


# Meters


AT = 'gateway = "00000000000000000000000000000001"\n'
SUB = tables.subject_file(
    tables.subject("S-1"),
    tables.meter("main", AT, "energy"),
    tables.meter("hall", AT + 'role = "sub"\nof = "main.energy"\n', "energy"),
)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('of = "main.energy"', "", "main meter"),
        ('of = "main.energy"', 'of = "mian.energy"', "main"),
        ('role = "sub"\n', "", "main meter"),
    ],
    ids=["a sub meter of nothing", "a sub meter of no meter", "a main meter of another"],
)
def test_a_sub_meter_that_would_be_added_is_refused(old: str, new: str, match: str) -> None:
    subject_file.read("subjects.toml", SUB.encode())
    with pytest.raises(ConfigError, match=match):
        subject_file.read("subjects.toml", SUB.replace(old, new).encode())


def test_an_entry_twice_is_refused_and_a_sub_meter_beside_its_main_is_named_by_the_difference() -> None:
    with pytest.raises(ActivityError, match="twice"):
        account(*ENTRIES, entry("24-08", AD="400 MWh"))
    added = entry("24-08", label="hall", AD="400 MWh")
    named(account(*ENTRIES, added), "24-08/hall", kind="activity")
    named(account(*ENTRIES, added, subjects="11" * 32), "24-08/hall", kind="boundary")


def test_an_untouched_account_repeats_its_digest() -> None:
    first, again = account(), account(method=with_method(METHOD), grid=factors.load(GRID))
    assert first.digest == again.digest
    assert effects.difference(first, again).effects == ()
    assert inventory.inventory_from(msgspec.json.encode(first)) == first
