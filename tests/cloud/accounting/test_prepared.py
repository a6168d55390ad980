"""Lines in bulk: the same, digest by digest, as each made by itself."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cloud.accounting import blocks, calculate, factors, prepared
from cloud.accounting import method as methods
from cloud.accounting.block import ITEM
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.method import Method, Row
from cloud.accounting.statement import plain
from cloud.accounting.units import Quantity, unit
from drivers.quantity import EXACT
from protocols.errors import ActivityError, MethodError

PROGRAMME = Programme("S-1", factors.builtin())
METHOD = methods.get("ndrc-24-2015")
JUNE = date(2025, 6, 1), date(2025, 7, 1)
AMOUNTS = (*("5",) * calculate.OFTEN, "0", "1", "0.000001", "1234567.891", "70", "3e-20", "1e9")


def one_activity(method: Method, row: Row) -> tuple[str, str, str] | None:
    """Item, symbol and unit of a row that needs but one activity; None for any other."""
    slots = blocks.block(row.block).slots
    needed = [slot for slot in slots if slot.name not in row.bind and (slot.default is None or slot.name in row.given)]
    if len(needed) != 1 or needed[0].kind != "activity":
        return None
    item = next(iter(method.items(row))) if row.needs_item() else ""
    gas = item if row.gas == ITEM else row.gas
    for variant in range(len(needed[0].units)):
        text = needed[0].unit(variant, gas).text
        try:
            list(calculate.lines(method, [entry(row.row, item, needed[0].name, text, "1")], PROGRAMME))
        except Exception:  # noqa: BLE001 - the other state of matter
            continue
        return item, needed[0].name, text
    return None


def entry(row: str, item: str, symbol: str, text: str, amount: str, label: str = "") -> Entry:
    held = Given(Quantity(Decimal(amount), unit(text)), "metered", "meter:x", "ab" * 32)
    return Entry(row, *JUNE, {symbol: held}, item, label, proof="GEC")


def test_every_row_of_every_method_gives_the_same_line_in_bulk() -> None:
    tried = 0
    for method in methods.builtin().values():
        for row in method.rows.values():
            if row.class_ == "reduction" or (found := one_activity(method, row)) is None:
                continue
            own = [entry(row.row, *found, amount, label=f"M-{index}") for index, amount in enumerate(AMOUNTS)]
            own[-2] = replace(own[-2], given={found[1]: replace(own[-2].given[found[1]], estimated=Decimal("0.5"))})
            alone = [next(calculate.lines(method, [each], PROGRAMME)) for each in own]
            assert list(calculate.lines(method, own, PROGRAMME)) == alone, row.row
            tried += 1
    assert tried > 150


@settings(max_examples=25, deadline=None)
@given(st.lists(st.decimals("0", "1e12", allow_nan=False), min_size=6, max_size=9))
def test_any_amounts_give_the_same_lines_in_bulk(amounts: list[Decimal]) -> None:
    own = [
        entry("24-01", "natural_gas", "FC", "1e4Nm3", format(amount, "f"), f"M-{index}")
        for index, amount in enumerate(amounts)
    ]
    alone = [next(calculate.lines(METHOD, [each], PROGRAMME)) for each in own]
    together = list(calculate.lines(METHOD, own, PROGRAMME))
    assert [line.digest for line in together] == [line.digest for line in alone]


def test_what_is_wrong_is_refused_in_bulk_too() -> None:
    own = [entry("24-08", "", "AD", "MWh", "1", f"M-{index}") for index in range(9)]
    wrong = entry("24-08", "", "AD", "MWh", "-1", "M-9")
    with pytest.raises(ActivityError, match="at least 0"):
        list(calculate.lines(METHOD, [*own, wrong], PROGRAMME))
    long = replace(own[0], label="M-9", end=date(2026, 7, 1))
    with pytest.raises(ActivityError, match="across a new year"):
        list(calculate.lines(METHOD, [*own, long], PROGRAMME))
    with pytest.raises(ActivityError, match="twice"):
        list(calculate.lines(METHOD, [*own, own[1]], PROGRAMME))
    green = [replace(each, row="24-10") for each in own]
    with pytest.raises(MethodError, match="found the symbol 'AD'"):
        list(calculate.lines(METHOD, green, PROGRAMME))


def test_only_a_formula_that_is_proportional_is_taken_apart() -> None:
    fuel, steam, waste = (blocks.block(name).formula for name in ("FUEL", "HEAT-STEAM", "WASTEWATER"))
    assert prepared.proportional(fuel, "FC") and prepared.proportional(steam, "Ma")
    assert not prepared.proportional(steam, "En") and not prepared.proportional(waste, "W")
    assert not prepared.proportional(blocks.block("GREEN").formula, "proved")


@given(st.decimals("-1e15", "1e15", places=12) | st.decimals("-1e40", "1e40"), st.integers(-30, 30))
@example(Decimal("-0E+5"), 0)
@example(Decimal("120"), 1)
@example(Decimal("1E-12"), 0)
def test_a_number_is_written_in_one_way(value: Decimal, power: int) -> None:
    number = value.scaleb(power)
    found = plain(number)
    assert found == number
    assert found.as_tuple() == Decimal(format(EXACT.normalize(number), "f")).as_tuple() if number else str(found) == "0"
