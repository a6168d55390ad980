"""What holds of every account: periods add up, more is never less, signs stand, nothing is nothing, sums are sums."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cloud.accounting import blocks, calculate, factors, inventory, method
from cloud.accounting import library as libraries
from cloud.accounting import period as periods
from cloud.accounting.block import ITEM, Slot
from cloud.accounting.draw import Drawn, draw
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.line import PLACES, Grade, Line
from cloud.accounting.method import Method, Row
from cloud.accounting.subject import Subject
from cloud.accounting.units import Quantity, quantity, unit

METHODS = list(method.builtin().values())
ROWS = {row.block: (held, row) for held in METHODS for row in held.rows.values()}
"""One row for each block."""
PROGRAMME = Programme("S", factors.builtin())
FALLBACK = method.get("ndrc-24-2015")
DAY = (date(2023, 3, 1), date(2023, 3, 2))
amounts = st.decimals("0", "1e9", places=6, allow_nan=False, allow_infinity=False)


def amount(text: str, grade: Grade = "declared") -> Given:
    return Given(quantity(text), grade, "bill")


def one(row: Row, held: Method, size: Decimal, item: str = "") -> Entry:
    """An entry of this row at a size: the size on the symbol that carries it, middling values on the others."""
    block = blocks.block(row.block)
    carrier = next(slot for slot in block.slots if slot.kind == "activity").name
    gas = item if row.gas == ITEM else row.gas
    bound = {
        name: unit("tCO2/MWh") if reference == method.GRID else held.parameter(reference, item or None).quantity.unit
        for name, reference in row.bind.items()
    }
    variant = block.variant({name: found.dimension for name, found in bound.items()}, gas)
    given = {
        slot.name: Given(Quantity(size if slot.name == carrier else _middling(slot), slot.unit(variant, gas)),
                         "declared", "document")
        for slot in block.slots
        if (slot.kind == "activity" and slot.default is None) or slot.name in row.given
    }  # fmt: skip
    return Entry(row.row, *DAY, given, item=item, proof="P")


def _middling(slot: Slot) -> Decimal:
    if slot.units[0] in ("℃", "kJ/kg"):
        return Decimal(300)
    after = slot.name in ("COD_out", "c2", "CaO_nc", "closing", "EL_sold", "CO")
    if after:
        return Decimal("0.1")
    return Decimal("0.4") * slot.high if slot.high and slot.high <= 1 else Decimal(5)


def line(held: Method, entry: Entry) -> Line:
    (found,) = calculate.lines(held, [entry], PROGRAMME)
    return found


@pytest.mark.parametrize("held", METHODS, ids=lambda held: held.id)
def test_every_row_rises_with_its_amount_and_keeps_its_sign(held: Method) -> None:
    """For every item: nothing gives nothing, twice as much gives twice as much, and the sign is the row's."""
    for row in held.rows.values():
        for item in held.items(row) or [""]:
            none, some, more = (line(held, one(row, held, Decimal(size), item)) for size in ("0", "1000", "2000"))
            assert none.mass <= some.mass <= more.mass, (row.row, item, none.mass, some.mass, more.mass)
            assert all(found.tco2e == row.sign * found.mass * found.gwp for found in (none, some, more))
            assert some.leaf and some.report and some.formula
            if row.block in ("STOCK", "GRID-LOSS"):
                continue
            assert none.mass == 0 and some.mass >= 0, (row.row, item, none.mass)
            assert abs(more.mass - 2 * some.mass) <= 2 * PLACES or row.block == "GREEN", (row.row, item)


def test_a_year_is_its_months() -> None:
    """Twelve months' amounts and their sum: equal lines to a twelfth of a microgram each, whatever the block."""
    months = [date(2023, month, 1) for month in range(1, 13)] + [date(2024, 1, 1)]
    sizes = [Decimal(37 * month % 11 + 1) for month in range(1, 13)]
    for held, row in ROWS.values():
        item = next(iter(held.items(row)), "")
        if row.block in ("STOCK", "GRID-LOSS", "GREEN"):
            continue
        year = line(held, replace(one(row, held, sum(sizes, Decimal(0)), item), start=months[0], end=months[-1]))
        parts = [
            line(held, replace(one(row, held, size, item), start=start, end=end))
            for size, start, end in zip(sizes, months, months[1:], strict=False)
        ]
        assert abs(sum(part.mass for part in parts) - year.mass) <= 12 * PLACES, (held.id, row.row)


MIX: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "24-01": ("coke", {"FC": "{} t"}),
    "24-02": ("CaCO3", {"AD": "{} t"}),
    "24-05": ("", {"Q": "{} Nm3", "V": "0.6"}),
    "24-08": ("", {"AD": "{} MWh"}),
    "24-09": ("", {"AD": "{} MWh"}),
    "24-12": ("", {"Ma": "{} t", "En": "2800 kJ/kg"}),
}


def entries(sizes: Mapping[str, list[Decimal]]) -> list[Entry]:
    found = []
    for row, held in sizes.items():
        item, shape = MIX[row]
        for day, size in enumerate(held, 1):
            given = {name: amount(text.format(format(size, "f"))) for name, text in shape.items()}
            found.append(Entry(row, date(2023, 3, day), date(2023, 3, day + 1), given, item))
    return found


mixes = st.dictionaries(st.sampled_from(sorted(MIX)), st.lists(amounts, min_size=1, max_size=4), min_size=1)


@given(mixes)
@settings(max_examples=25, deadline=None)
def test_what_is_added_up_is_the_sum_of_the_lines(sizes: dict[str, list[Decimal]]) -> None:
    """Total, parts, leaves and gases; the days one by one and all at once; in any order."""
    found = list(calculate.lines(FALLBACK, entries(sizes), PROGRAMME))
    whole = inventory.totals(found)
    assert whole.total == sum(part.tco2e for part in found)
    assert whole.total == whole.direct + whole.indirect + whole.offset + whole.fixed
    assert whole.total == sum(whole.by_leaf.values()) == sum(whole.by_gas.values())
    days = {part.start for part in found}
    assert whole.total == sum(inventory.totals([one for one in found if one.start == day]).total for day in days)
    assert inventory.totals(reversed(found)) == whole


@given(mixes, st.sampled_from(sorted(MIX)), amounts)
@settings(max_examples=25, deadline=None)
def test_more_of_one_thing_moves_the_total_its_own_way(
    sizes: dict[str, list[Decimal]], row: str, extra: Decimal
) -> None:
    before = list(calculate.lines(FALLBACK, entries({**sizes, row: [Decimal(1)]}), PROGRAMME))
    after = list(calculate.lines(FALLBACK, entries({**sizes, row: [1 + extra]}), PROGRAMME))
    moved = inventory.totals(after).total - inventory.totals(before).total
    assert moved * FALLBACK.row(row).sign >= 0


@given(amounts, amounts, st.sampled_from(sorted(MIX)))
@settings(max_examples=25, deadline=None)
def test_parts_of_a_month_add_up_to_the_month(first: Decimal, second: Decimal, row: str) -> None:
    parts = list(calculate.lines(FALLBACK, entries({row: [first, second]}), PROGRAMME))
    (whole,) = calculate.lines(FALLBACK, entries({row: [first + second]}), PROGRAMME)
    assert abs(sum(part.mass for part in parts) - whole.mass) <= 2 * PLACES


@given(amounts, amounts)
@settings(max_examples=25, deadline=None)
def test_green_power_never_takes_off_more_than_was_bought(proved: Decimal, purchased: Decimal) -> None:
    bought = Entry("24-08", *DAY, {"AD": amount(f"{purchased:f} MWh")})
    green = Entry(
        "24-10", *DAY, {"proved": amount(f"{proved:f} MWh"), "purchased": amount(f"{purchased:f} MWh")}, proof="GEC"
    )
    found = list(calculate.lines(FALLBACK, [bought, green], PROGRAMME))
    assert 0 <= inventory.totals(found).total == max(Decimal(0), purchased - proved) * Decimal("0.5306")


@given(mixes)
@settings(max_examples=20, deadline=None)
def test_the_digest_is_of_what_was_put_in_and_of_nothing_else(sizes: dict[str, list[Decimal]]) -> None:
    who = Subject("S-1", "示例", "Example", "enterprise", "industry", FALLBACK.id)
    march = periods.parse("2023-03", ZoneInfo("Asia/Shanghai"))
    given = entries(sizes)
    first = draw(who, FALLBACK, march, libraries.build(), Drawn(tuple(given), march.end))
    again = draw(who, FALLBACK, march, libraries.build(), Drawn(tuple(reversed(given)), march.end))
    assert first.digest == again.digest
    assert inventory.inventory_from(msgspec.json.encode(first)).digest == first.digest
