"""What an account rests on, and where its carbon flows."""

from datetime import date
from decimal import Decimal

import msgspec
import pytest

from cloud.accounting import calculate, energy, factors, flow, inventory, method
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.line import Grade, Line
from cloud.accounting.quality import quality
from cloud.accounting.units import quantity

JUNE = (date(2025, 6, 1), date(2025, 7, 1))


def lines(coal: Grade = "metered", estimated: str = "0") -> list[Line]:
    def given(text: str, grade: Grade = "metered") -> Given:
        return Given(quantity(text), grade, "x", estimated=Decimal(estimated))

    entries = [
        Entry("24-01", *JUNE, {"FC": given("100 t", coal)}, item="anthracite"),
        Entry("24-01", *JUNE, {"FC": given("10 t")}, item="diesel"),
        Entry("24-07", *JUNE, {"Q": given("1 1e4Nm3"), "V": given("0.9")}),
        Entry("24-08", *JUNE, {"AD": given("500 MWh")}),
        Entry("24-10", *JUNE, {"proved": given("80 MWh"), "purchased": given("500 MWh")}, proof="GEC-1"),
    ]
    return list(calculate.lines(method.get("ndrc-24-2015"), entries, Programme("S", factors.builtin())))


@pytest.mark.parametrize(
    ("coal", "estimated", "letter"),
    [
        ("metered", "0", "A"),
        ("imported", "0.04", "A"),
        ("metered", "0.1", "B"),
        ("declared", "0", "D"),
        ("metered", "0.3", "C"),
    ],
)
def test_the_letter_follows_what_is_measured(coal: Grade, estimated: str, letter: str) -> None:
    found = quality(lines(coal, estimated))
    assert found is not None
    assert found.letter == letter
    assert Decimal("0.999") < found.measured + found.declared + found.estimated <= 1


def test_nothing_emitted_has_no_quality() -> None:
    assert quality([]) is None


def test_what_flows_into_the_total_is_the_total_and_every_node_is_balanced() -> None:
    found = lines()
    drawn = flow.diagram(found, flow.Middle())
    total = inventory.totals(found).total
    assert sum(one.amount for one in drawn.flows if one.target == "total") == total
    for node in drawn.nodes:
        if node.column == "class" or node.id == "row:24-01":
            into = sum(one.amount for one in drawn.flows if one.target == node.id)
            out = sum(one.amount for one in drawn.flows if one.source == node.id)
            assert into == out
    assert {one.target for one in drawn.flows if one.source == "class:indirect"} == {"out:24-10", "total"}


def test_a_flow_says_how_well_it_is_known() -> None:
    drawn = flow.diagram(lines("declared"), flow.Middle())
    coal = next(one for one in drawn.flows if one.source == "item:24-01:anthracite")
    power = next(one for one in drawn.flows if one.source == "row:24-08")
    assert (coal.standing, power.standing) == ("estimated", "measured")
    assert len(coal.lines) == 1


def test_memo_lines_flow_nowhere() -> None:
    memo = [replace_class(line) for line in lines()]
    assert flow.diagram(memo, flow.Middle()) == flow.Diagram((), (), ())


def replace_class(line: Line) -> Line:

    return msgspec.structs.replace(line, class_="memo")


def test_energy_flows_in_standard_coal() -> None:
    found = lines()
    drawn = flow.energy(found, flow.Middle())
    flowing = sum(one.amount for one in drawn.flows if one.target == "total")
    assert abs(flowing - energy.consumption(found).tce) < Decimal("1e-20")
    assert {node.name for node in drawn.nodes} >= {"anthracite", "diesel", "electricity", "total"}
