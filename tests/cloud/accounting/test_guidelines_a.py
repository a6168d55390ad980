"""Guidelines 1 to 12 in their editions: every row against a sum done by hand.

The sums stand in examples/<method>.toml as one would type them into a calculator. They are read here by their own few
lines of arithmetic, which know nothing of blocks, bindings or units.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from cloud.accounting import blocks, calculate, factors, method, parameters
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.line import Line
from cloud.accounting.method import GRID, Method
from cloud.accounting.units import quantity
from protocols.errors import ActivityError

EXAMPLES = Path(__file__).parent / "examples"
JUNE = (date(2025, 6, 1), date(2025, 7, 1))
OURS = [one for one in method.builtin().values() if one.industry is not None and one.industry <= 12]
SETS = sorted({held.id: held for one in OURS for held in one.sets}.values(), key=lambda held: held.id)
OPERATIONS: Mapping[type, Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: Decimal.__add__,
    ast.Sub: Decimal.__sub__,
    ast.Mult: Decimal.__mul__,
    ast.Div: Decimal.__truediv__,
}


def by_hand(work: str) -> Decimal:
    """What a calculator shows for ``-(1000 * 0.44) / 12``: numbers, + - * / and brackets, nothing else."""

    def value(node: ast.expr) -> Decimal:
        if isinstance(node, ast.Constant):
            return Decimal(ast.get_source_segment(work, node) or "")
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        assert isinstance(node, ast.BinOp), ast.dump(node)
        return OPERATIONS[type(node.op)](value(node.left), value(node.right))

    return value(ast.parse(work, mode="eval").body)


@cache
def example(name: str) -> dict[str, Any]:
    return tomllib.loads((EXAMPLES / f"{name}.toml").read_text())


def reckoned(name: str) -> list[Line]:
    """The engine's lines of an example, in its order."""
    known = method.get(name)
    entries = [
        Entry(
            row=line["row"],
            start=JUNE[0],
            end=JUNE[1],
            given={symbol: Given(quantity(text), "declared", "report 7") for symbol, text in line["given"].items()},
            item=line.get("item", ""),
            label=str(index),
            proof="GEC-1" if known.row(line["row"]).proof else "",
        )
        for index, line in enumerate(example(name)["line"])
    ]
    return list(calculate.lines(known, entries, Programme("S", factors.builtin())))


def one(name: str, row: str, given: Mapping[str, str], item: str = "") -> Decimal:
    """tCO2e of a single entry."""
    entry = Entry(row, *JUNE, {symbol: Given(quantity(text), "declared", "r") for symbol, text in given.items()}, item)
    (line,) = calculate.lines(method.get(name), [entry], Programme("S", factors.builtin()))
    return line.tco2e


@pytest.mark.parametrize("name", [known.id for known in OURS])
def test_every_line_is_what_the_hand_reckons(name: str) -> None:
    for line, told in zip(reckoned(name), example(name)["line"], strict=True):
        assert abs(line.tco2e - by_hand(told["work"])) < Decimal("1e-7"), (line.id, line.tco2e, told["work"])


@pytest.mark.parametrize("name", [known.id for known in OURS])
def test_the_total_is_the_sum_by_hand(name: str) -> None:
    total = Decimal(example(name)["total"])
    assert abs(sum((line.tco2e for line in reckoned(name)), Decimal(0)) - total) < Decimal("1e-6")
    assert abs(sum((by_hand(line["work"]) for line in example(name)["line"]), Decimal(0)) - total) < Decimal("1e-6")


@pytest.mark.parametrize("known", OURS, ids=lambda known: known.id)
def test_every_row_is_in_the_example(known: Method) -> None:
    assert set(known.rows) == {line["row"] for line in example(known.id)["line"]}


def test_every_example_is_of_a_method() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.toml")}
    assert {known.id for known in OURS} <= names <= set(method.builtin())


@pytest.mark.parametrize("known", OURS, ids=lambda known: known.id)
def test_signs_are_those_of_the_guideline(known: Method) -> None:
    """What is sold, handed out, recovered, fixed in a product or green is negative; all else is positive."""
    for line in reckoned(known.id):
        row = known.row(line.row)
        assert line.tco2e * row.sign >= 0
        if row.sign == 1:
            assert row.class_ not in {"direct_fixed", "indirect_electricity_offset"}


HEATS = {"HEAT", "HEAT-STEAM", "HEAT-WATER"}
COMMON = {"FUEL", "AMOUNT", "GREEN", *HEATS}
SECTORS: Mapping[int, set[str]] = {
    1: {"FUEL", "CARB", "AMOUNT", "GREEN"},
    2: {"LEAK", "GRID-LOSS"},
    3: COMMON,
    4: {*COMMON, "CARBON", "CARBON-NCV", "CARB", "ABATED", "GAS"},
    5: {*COMMON, "ANODE", "SLOPE", "CARB"},
    6: {*COMMON, "CARB"},
    7: {*COMMON, "CARBON", "CARB"},
    8: {*COMMON, "WASTE-FUEL", "CLINKER", "CARBON"},
    9: {"FUEL", "CERAMIC", "AMOUNT", "GREEN"},
    10: {*COMMON, "BLEND"},
    11: {*COMMON, "FLARE-CO2", "FLARE-CH4", "GAS", "COUNTED"},
    12: {*COMMON, "FLARE-CO2", "FLARE-ACCIDENT", "CARBON", "REGENERATION", "DECOKING", "GAS"},
    13: {*COMMON, "CARBON", "GAS"},
    14: {*COMMON, "FLARE-CO2", "GAS"},
    15: {*COMMON, "CARB", "WASTEWATER"},
    16: {*COMMON, "CARB"},
    17: {*COMMON, "ETCH", "ETCH-BYPRODUCT"},
    18: {*COMMON, "STOCK", "SHIELD-GAS"},
    19: {*COMMON, "CARB"},
    20: {*COMMON, "CARB", "WASTEWATER"},
    21: COMMON,
    22: {*COMMON, "UREA"},
    23: {*COMMON, "BYPRODUCT", "FUGITIVE"},
    24: {*COMMON, "CARB", "WASTEWATER", "GAS"},
}
"""The twenty-four, and the blocks without which a source of the list of sources has no row; 1, 2 and 9 have no heat."""

SURVEYED = {
    1: 3, 2: 3, 3: 7, 4: 8, 5: 6, 6: 5, 7: 5, 8: 6, 9: 3, 10: 4, 11: 19, 12: 19,
}  # fmt: skip
"""How many sources the specification for entering the formulas of the twenty-four lists for a guideline, with the steam
of 11 and 12 on its own. A row more is a line bought and a line sold, an item in and an item out."""


@pytest.mark.parametrize("number", SECTORS)
def test_every_guideline_has_the_sources_it_is_a_sum_of(number: int) -> None:
    (known,) = [one for one in method.builtin().values() if (one.industry, one.programme) == (number, "ndrc-24")]
    assert SECTORS[number] <= {row.block for row in known.rows.values()}
    assert len(known.rows) >= SURVEYED.get(number, 0)


@pytest.mark.parametrize("known", OURS, ids=lambda known: known.id)
def test_purchased_and_sold_power_and_heat_stand_apart(known: Method) -> None:
    electricity = [row for row in known.rows.values() if row.class_ == "indirect_electricity"]
    heat = [row for row in known.rows.values() if row.class_ == "indirect_heat"]
    assert [row.sign for row in electricity] == ([1] if known.id in {"ndrc-02-2013", "mee-2022-power"} else [1, -1])
    assert all(row.bind == {"EF": GRID} for row in electricity)
    without = {"ndrc-01-2013", "mee-2022-power", "ndrc-02-2013", "ndrc-09-2013"}
    assert [row.sign for row in heat] == ([] if known.id in without else [1, 1, 1, -1])
    green = [row for row in known.rows.values() if row.block == "GREEN"]
    assert [(row.sign, row.proof) for row in green] == ([] if known.id == "ndrc-02-2013" else [(-1, True)])


PUBLISHED = {"gasoline": "2.925", "diesel": "3.096", "lpg": "3.101", "coke": "2.860", "natural_gas": "21.62"}
"""tCO2 of a tonne, of 1e4 Nm3 for the gas (2.162 kg/Nm3), as published beside GB/T 32151.22-2024 table C.1."""


def by_table(held: str, item: str, amount: str = "1 t") -> Decimal:
    """tCO2 of an amount of a fuel by a table, with the formula of the block."""
    table = parameters.builtin()[held]
    values = {name: table.get(f"{name}.{item}").quantity for name in ("NCV", "CC", "OF")}
    given = {"FC": quantity(amount), **values}
    return blocks.block("FUEL").formula.value({name: q.unit.coherent(q.value) for name, q in given.items()})


@pytest.mark.parametrize("item", PUBLISHED)
def test_table_a_gives_the_published_composites(item: str) -> None:
    found = by_table("gbt-32151.22-2024-fuels", item, "1 1e4Nm3" if item == "natural_gas" else "1 t")
    published = Decimal(PUBLISHED[item])
    assert abs(found - published) <= Decimal("0.0006") * (10 if item == "natural_gas" else 1), found


def test_a_tonne_of_jet_kerosene() -> None:
    assert round(one("ndrc-10-2013", "10-01", {"FC": "1 t"}, "jet_kerosene"), 3) == Decimal("3.153")


ANTHRACITE = {"B": "2.3229", "C": "1.9238", "D": "2.2230", "aviation": "2.1920"}
"""tCO2 of a tonne as the survey of the tables prints it; the figures it prints come out to a unit of the last place."""


@pytest.mark.parametrize(
    ("name", "row", "table"),
    [
        ("ndrc-04-2013", "04-01", "B"),
        ("ndrc-11-2014", "11-01", "B"),
        ("ndrc-12-2014", "12-01", "B"),
        ("ndrc-03-2013", "03-01", "C"),
        ("ndrc-05-2013", "05-01", "C"),
        ("ndrc-06-2013", "06-01", "C"),
        ("ndrc-07-2013", "07-01", "D"),
        ("ndrc-08-2013", "08-01", "D"),
        ("ndrc-09-2013", "09-01", "D"),
        ("ndrc-10-2013", "10-06", "aviation"),
    ],
)
def test_a_tonne_of_anthracite_by_the_table_of_the_guideline(name: str, row: str, table: str) -> None:
    found = one(name, row, {"FC": "1 t"}, "anthracite")
    assert abs(found - Decimal(ANTHRACITE[table])) < Decimal("0.00015"), found


def test_a_tonne_of_anthracite_by_a_table_of_no_guideline_of_the_twenty_four() -> None:
    assert round(by_table("gbt-32151.22-2024-fuels", "anthracite"), 4) == Decimal("2.5215")
    assert not any("gbt-32151.22-2024-fuels" in {held.id for held in known.sets} for known in method.builtin().values())


@cache
def _raw() -> dict[str, dict[str, str]]:
    """Set -> symbol -> value, as the files hold them: nothing of the engine in between."""
    found = {}
    for entry in files("cloud.accounting").joinpath("parameters").iterdir():
        document = tomllib.loads(entry.read_text(encoding="utf-8"))
        found[document["id"]] = {value["symbol"]: value["value"] for value in document["parameter"]}
    return found


FUEL_ROWS = [
    (known.id, row.row)
    for known in OURS
    for row in known.rows.values()
    if row.block == "FUEL" and sum("{item}" in reference for reference in row.bind.values()) == 3
]


@pytest.mark.parametrize(("name", "row"), FUEL_ROWS)
def test_every_fuel_of_a_row_takes_its_own_values_of_the_table(name: str, row: str) -> None:
    """1234 t, or 1e4 Nm3, x NCV x CC x OF x 44/12 for every item, with the values read from the file of the table."""
    known, raw = method.get(name), _raw()
    found = known.row(row)
    for item in known.items(found):
        held, _, _ = found.bind["NCV"].rpartition(":")
        table = raw[held or next(one.id for one in known.sets if f"NCV.{item}" in raw[one.id])]
        by_volume = known.parameter(found.bind["NCV"], item).quantity.unit.text == "GJ/1e4Nm3"
        told = one(name, row, {"FC": "1234 1e4Nm3" if by_volume else "1234 t"}, item)
        work = " * ".join(("1234", *(table[f"{symbol}.{item}"] for symbol in ("NCV", "CC", "OF")), "44 / 12"))
        assert abs(told - by_hand(work)) < Decimal("1e-9"), (item, told, work)


def test_the_wrong_table_is_the_largest_error_of_all() -> None:
    c, a = one("ndrc-06-2013", "06-01", {"FC": "1 t"}, "anthracite"), by_table("gbt-32151.22-2024-fuels", "anthracite")
    assert round(1 - c / a, 2) == Decimal("0.24")


def test_the_years_of_the_guidelines_have_the_grid_they_were_published_with() -> None:
    """2012 is the newest regional factor up to 2020: 1200 MWh x 0.8843, provisional because another year's."""
    entry = Entry("03-05", date(2015, 6, 1), date(2015, 7, 1), {"AD": Given(quantity("1200 MWh"), "declared", "r")})
    programme = Programme("S", factors.builtin(), "huabei")
    (line,) = calculate.lines(method.get("ndrc-03-2013"), [entry], programme)
    assert line.tco2e == by_hand("1200 * 0.8843")
    assert factors.EARLIER_YEAR in line.reasons


def test_a_figure_that_was_not_seen_must_be_given() -> None:
    with pytest.raises(ActivityError, match="found no OF"):
        one("gbt-32151.10-2023", "04-01", {"FC": "1 t"}, "diesel")
    with pytest.raises(ActivityError, match="found no mu"):
        one("ndrc-04-2013", "04-10", {"AD": "1 t"}, "high_pressure")
    with pytest.raises(ActivityError, match="found no CC"):
        one("mee-2024-cement", "08-15", {"FC": "1 t"}, "bituminous")


def test_nothing_unread_says_it_was_read() -> None:
    for held in parameters.builtin().values():
        for found in held.values.values():
            assert found.status != "REVIEWED" or found.standing == "confirmed", found.id
            assert found.standing != "confirmed" or len(set(found.sources)) >= 2, found.id
    for known in method.builtin().values():
        assert known.status == "DRAFT" and known.reason, known.id
        assert all(row.status == "DRAFT" for row in known.rows.values()), known.id


UNBOUND = {
    "ndrc-01-2013-fuels:NCV.other_gas": "looks ten times too high; the row says so and asks for the measured one",
    "ndrc-07-2013-fuels:NCV.water_gas": "no CC beside it, and looks ten times too low",
    "ndrc-09-2013-fuels:NCV.water_gas": "no CC beside it, and looks ten times too low",
    "ndrc-12-2014:EF_asphalt.alt": "the other of two unresolved values; the row says so",
}


def test_every_parameter_is_bound_by_a_row_or_says_why_not() -> None:
    used = {
        known.parameter(reference, item).id
        for known in method.builtin().values()
        for row in known.rows.values()
        for reference in row.bind.values()
        if reference != GRID
        for item in (known.items(row) if row.needs_item() else [None])
    }
    held = {found.id for one in SETS for found in one.values.values()}
    assert held - used == set(UNBOUND)


@pytest.mark.parametrize("known", OURS, ids=lambda known: known.id)
def test_everything_is_named_in_both_languages(known: Method) -> None:
    names = [(row.zh, row.en) for row in known.rows.values()]
    for held in known.sets:
        if not held.id.startswith("ndrc-24"):
            names += [(entry.zh, entry.en) for entry in (*held.items.values(), *held.values.values())]
    for zh, en in [*names, (known.zh, known.en)]:
        assert re.search(r"[\u4e00-\u9fff]", zh), (zh, en)
        assert re.fullmatch(r"[A-Z][^_\u4e00-\u9fff]*", en), (zh, en)
    told = [(known.reason, known.reason_zh), *((row.source, row.source_zh) for row in known.rows.values())]
    for en, zh in [*told, *((row.note, row.note_zh) for row in known.rows.values() if row.note)]:
        assert en and re.search(r"[\u4e00-\u9fff]|[=～−]", zh), (zh, en)
        assert (known.why("zh"), known.why("en")) == (known.reason_zh, known.reason)


def test_an_auditor_reads_a_row_in_either_language() -> None:
    row = method.get("ndrc-05-2013").row("05-06")
    assert row.said("zh")[0].startswith("同一电解系列用缺省值") and row.said("en")[0].startswith("either the defaults")
    assert method.get("ndrc-24-2015").row("24-06").said("zh")  # English, where nobody has said it in Chinese
