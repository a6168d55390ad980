"""Units, formulas, blocks and the shape of the methods: what must never load, and what a line is."""

from contextlib import suppress
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cloud.accounting import blocks, calculate, factors, method, parameters
from cloud.accounting.block import ITEM, Block
from cloud.accounting.expression import CARBON_TO_CO2, Symbol, constant
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.units import quantity, unit
from protocols.errors import ActivityError, ConfigError, FactorError, MethodError, UnitError

JUNE = (date(2025, 6, 1), date(2025, 7, 1))


def given_(text: str, **more: object) -> Given:
    return Given(quantity(text), "declared", "bill", **more)  # type: ignore[arg-type]


def lines(entries: list[Entry], name: str = "ndrc-24-2015") -> list[calculate.Line]:
    return list(calculate.lines(method.get(name), entries, Programme("S", factors.builtin())))


@pytest.mark.parametrize(
    ("text", "other", "value"),
    [("1000 kg", "t", "1"), ("1 MWh", "GJ", "3.6"), ("1 1e4Nm3", "Nm3", "10000"), ("90 min", "h", "1.5")],
)
def test_a_quantity_in_another_unit_of_its_kind(text: str, other: str, value: str) -> None:
    assert quantity(text).to(unit(other)) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "other"),
    [("1 tC", "tCO2"), ("1 m3", "Nm3"), ("1 Sm3", "Nm3"), ("1 t", "tCO2"), ("1 tCH4", "tCO2"), ("1 GJ", "t")],
)
def test_unlike_things_never_convert(text: str, other: str) -> None:
    with pytest.raises(UnitError, match=r"found .*, expected "):
        quantity(text).to(unit(other))


@pytest.mark.parametrize("text", ["", "t", "1,000 t", "NaN t", "1 tCarbon", "1 t/", "1 Nm³", "0x1 t", "1  "])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    if text == "1  ":
        assert quantity(text).unit.text == "1"
    else:
        with pytest.raises(UnitError):
            quantity(text)


@given(st.text(max_size=30))
@settings(max_examples=60)
def test_any_text_is_a_quantity_or_a_unit_error(text: str) -> None:
    with suppress(UnitError):
        quantity(text)


@pytest.mark.parametrize("block", blocks.BLOCKS.values(), ids=lambda block: block.id)
def test_every_block_comes_out_as_a_mass_of_its_gas(block: Block) -> None:
    block.check("CH4" if block.gas is None else "" if block.gas == ITEM else block.gas)


def test_a_lost_44_12_is_an_error_before_any_number() -> None:
    fuel = blocks.block("FUEL")
    lost = Block("X", "", "", "CO2", Symbol("FC") * Symbol("NCV") * Symbol("CC") * Symbol("OF"), fuel.slots)
    with pytest.raises(UnitError, match="mass:C, expected tCO2"):
        lost.check("CO2")


def test_the_one_division_comes_last() -> None:
    carbon = Symbol("C") * CARBON_TO_CO2
    assert carbon.value({"C": Decimal(12)}) == 44
    assert (Symbol("C") / constant("3")).value({"C": Decimal(9)}) == 3


@pytest.mark.parametrize("block", blocks.BLOCKS.values(), ids=lambda block: block.id)
def test_the_slope_is_the_rise_of_the_value(block: Block) -> None:
    values = {
        slot.name: Decimal("0.25") if slot.high else Decimal(100 + index) for index, slot in enumerate(block.slots)
    }
    step = Decimal("1e-12")
    for name in values:
        higher = {**values, name: values[name] + step}
        rise = (block.formula.value(higher) - block.formula.value(values)) / step
        assert abs(rise - block.formula.slope(name, values)) < Decimal("1e-6") * max(1, abs(rise))


def test_every_built_in_set_and_method_loads() -> None:
    assert len(parameters.builtin()) >= 40
    assert method.builtin()


def test_a_tonne_of_anthracite_by_the_guideline_of_other_industry() -> None:
    """1000 t x 24.515 GJ/t x 0.02749 tC/GJ x 0.94 x 44/12."""
    (line,) = lines([Entry("24-01", *JUNE, {"FC": given_("1000 t", proved=True)}, item="anthracite")])
    assert line.tco2e == Decimal("2322.768466333333")
    assert line.leaf == "industry.direct.coal"
    assert line.reasons == ("factor.draft", "method.draft")


def test_equal_inputs_give_equal_digests_and_a_changed_one_another() -> None:
    one, two, three = (
        lines([Entry("24-01", *JUNE, {"FC": given_(text)}, item="coke")])[0] for text in ("5 t", "5 t", "6 t")
    )
    assert one.digest == two.digest != three.digest


@pytest.mark.parametrize(
    ("entry", "error", "match"),
    [
        (Entry("24-99", *JUNE, {}), MethodError, "24-99"),
        (Entry("24-01", *JUNE, {"FC": given_("1 t")}), ActivityError, "expected one of anthracite"),
        (Entry("24-01", *JUNE, {}, item="coke"), ActivityError, "found no FC"),
        (
            Entry("24-01", *JUNE, {"FC": given_("1 1e4Nm3")}, item="coke"),
            UnitError,
            "found FC = 1 1e4Nm3, expected FC in t",
        ),
        (
            Entry("24-01", *JUNE, {"FC": given_("1 m3")}, item="natural_gas"),
            UnitError,
            "found FC = 1 m3, expected FC in 1e4Nm3",
        ),
        (Entry("24-01", *JUNE, {"FC": given_("-1 t")}, item="coke"), ActivityError, "at least 0"),
        (Entry("24-01", *JUNE, {"FC": given_("1 t"), "OF": given_("1.2")}, item="coke"), ActivityError, "to 1"),
        (Entry("24-10", *JUNE, {"proved": given_("1 MWh"), "purchased": given_("1 MWh")}), ActivityError, "no proof"),
        (Entry("24-06", *JUNE, {"Q": given_("1 1e4Nm3"), "V": given_("0.5")}), ActivityError, "found no share"),
        (Entry("24-08", date(2024, 12, 1), date(2025, 2, 1), {"AD": given_("1 MWh")}), ActivityError, "new year"),
        (Entry("24-08", date(2019, 1, 1), date(2019, 2, 1), {"AD": given_("1 MWh")}), FactorError, "2019"),
    ],
)
def test_what_an_entry_may_not_be(entry: Entry, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        lines([entry])


def test_an_entry_given_twice_is_refused() -> None:
    entry = Entry("24-01", *JUNE, {"FC": given_("1 t")}, item="coke")
    with pytest.raises(ActivityError, match="twice"):
        lines([entry, entry])
    with pytest.raises(ActivityError, match="twice"):
        lines([entry, replace(entry, start=date(2025, 6, 2))])
    after = replace(entry, start=entry.end, end=date(2025, 7, 2))
    assert len(lines([entry, after])) == len(lines([entry, replace(entry, label="second")])) == 2


@pytest.mark.parametrize("amount", ["1e999 t", "1e31 t", "1e-999 t", "1" * 60 + " t"])
def test_a_number_that_fits_no_account_is_refused_where_it_is_written(amount: str) -> None:
    with pytest.raises(UnitError, match="expected at most"):
        quantity(amount)


@pytest.mark.parametrize(
    ("name", "row", "item", "given"),
    [
        ("ndrc-24-2015", "24-12", "", {"Ma": "100 t", "En": "2.8 kJ/kg"}),
        ("ndrc-24-2015", "24-13", "", {"Ma": "100 t", "T": "10 ℃"}),
        ("ndrc-12-2014", "12-07", "", {"Q": "100 t", "c1": "1 %", "c2": "6 %"}),
        (
            "ndrc-20-2015",
            "20-04",
            "food",
            {"W": "1 m3", "COD_in": "2 kgCOD/m3", "COD_out": "1 kgCOD/m3", "R": "9 kgCH4"},
        ),
    ],
)
def test_a_source_never_takes_emissions_off(name: str, row: str, item: str, given: dict[str, str]) -> None:
    with pytest.raises(ActivityError, match="do not go together"):
        lines([Entry(row, *JUNE, {key: given_(text) for key, text in given.items()}, item=item)], name)


@pytest.mark.parametrize("amount", ["1e30 t", "1e20 t", "1e25 Mt"])
def test_more_than_the_world_could_emit_is_refused_in_bulk_too(amount: str) -> None:
    many = [Entry("24-01", *JUNE, {"FC": given_("1 t")}, item="coke", label=str(number)) for number in range(12)]
    assert len(lines(many)) == 12
    with pytest.raises(ActivityError, match="less than"):
        lines([*many, Entry("24-01", *JUNE, {"FC": given_(amount)}, item="coke")])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('unit = "tC/GJ"\nvalue = "27.49"', "from 0.010 to"),
        ('unit = "t/GJ"\nvalue = "0.02"\nstatus = "REVIEWED"\nstanding = "memory"', "DRAFT, for what is memory"),
        ('unit = "tK/GJ"\nvalue = "0.02"', "tK"),
    ],
)
def test_a_parameter_that_is_a_slip_does_not_load(text: str, match: str) -> None:
    head = 'schema = 1\nid = "x"\nedition = "e"\ndocument = "d"\n[[parameter]]\nsymbol = "CC.coal"\n'
    head += 'row = "1"\nzh = "a"\nen = "b"\n'
    rest = "" if "standing" in text else '\nstatus = "DRAFT"\nstanding = "memory"'
    with pytest.raises(ConfigError, match=match):
        parameters.load("x.toml", f"{head}{text}{rest}\n".encode())


@pytest.mark.parametrize(
    ("row", "symbol", "open_"), [("24-08", "AD", {"MWh"}), ("24-01", "FC", {"t", "1e4Nm3"}), ("24-02", "AD", {"t"})]
)
def test_what_is_bound_leaves_open_only_the_units_that_go_with_it(row: str, symbol: str, open_: set[str]) -> None:
    used = method.get("ndrc-24-2015")
    block = blocks.block(used.row(row).block)
    slot = block.slot(symbol)
    assert {slot.unit(one, "CO2").text for one in method.variants(used, used.row(row), block)} == open_
