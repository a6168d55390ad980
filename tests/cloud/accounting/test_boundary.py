"""Boundaries: lines by share, what is traded inside taken out once, main and sub meters never added up."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.accounting import boundary, inventory, membership, subject, subject_file
from cloud.accounting.boundary import bridge
from cloud.accounting.line import Line
from cloud.accounting.membership import Membership
from cloud.accounting.subject import Metering, Mode, Subject
from protocols.errors import AccountError, ConfigError, SharedMeterError
from tests.cloud import tables

MakeLine = Callable[..., Line]
SINCE, JUNE, JULY = date(2020, 1, 1), date(2025, 6, 1), date(2025, 7, 1)
HEAT = {"class_": "indirect_heat", "leaf": "industry.indirect.heat"}
COAL = {"class_": "direct_combustion", "leaf": "industry.direct.coal"}
POWER = {"class_": "indirect_electricity", "leaf": "industry.indirect.thermal"}
PARK_POWER = {"class_": "indirect_electricity", "leaf": "park.indirect.thermal"}


def member(name: str, *of: tuple[str, str], kind: Any = "enterprise", **changes: Any) -> Subject:
    parts = tuple(subject.Membership(whole, SINCE, share) for whole, share in of)
    return Subject(name, name, name, kind, "park" if kind == "park" else "industry", membership=parts, **changes)


CITY = membership.of(
    [
        member("A", ("P", "1")),
        member("B", ("P", "1")),
        member("C", ("D", "1")),
        member("P", ("D", "1"), kind="park"),
        member("D", ("CITY", "1"), kind="district"),
        member("CITY", kind="city"),
    ]
)


def metered(mode: Mode) -> Membership:
    park = member("P", ("D", "1"), kind="park", metering=(Metering("indirect_electricity", mode),))
    return membership.of([*(one for one in CITY.subjects.values() if one.id != "P"), park])


def test_an_enterprise_is_in_its_park_its_district_and_its_city() -> None:
    assert [CITY.share("A", whole, JUNE) for whole in ("A", "P", "D", "CITY")] == [1, 1, 1, 1]
    assert CITY.share("C", "P", JUNE) == CITY.share("CITY", "A", JUNE) == CITY.share("A", "P", date(2019, 1, 1)) == 0
    assert CITY.members("D", JUNE, JULY) == ["A", "B", "C", "P"]


def test_what_a_subject_says_of_a_whole_stands_before_what_follows_from_its_park() -> None:
    found = membership.of([member("A", ("P", "1"), ("D", "0.4")), member("P", ("D", "1"), kind="park")])
    assert found.share("A", "D", JUNE) == Decimal("0.4")


def test_shares_multiply_along_the_way_and_never_exceed_the_whole() -> None:
    ways = [member("A", ("P", "0.5"), ("Q", "0.3")), member("P", ("D", "0.5")), member("Q", ("D", "1"))]
    assert membership.of(ways).share("A", "D", JUNE) == Decimal("0.55")
    ways[0] = member("A", ("P", "1"), ("Q", "0.6"))
    with pytest.raises(AccountError, match=r"1\.1 of it in D"):
        membership.of(ways).share("A", "D", JUNE)
    circle = membership.of([member("A", ("B", "1")), member("B", ("A", "1"))])
    with pytest.raises(AccountError, match="A in B in A"):
        circle.share("A", "D", JUNE)


def test_a_move_in_the_month_splits_its_lines_by_days(make_line: MakeLine) -> None:
    moved = (
        subject.Membership("P", SINCE, "1", date(2025, 6, 11)),
        subject.Membership("Q", date(2025, 6, 11)),
    )
    found = membership.of([replace_membership(member("A"), moved), member("P"), member("Q")])
    line = make_line("A", "30")
    assert (bridge("P", found, [line]).net, bridge("Q", found, [line]).net) == (10, 20)


def replace_membership(one: Subject, parts: tuple[subject.Membership, ...]) -> Subject:
    return msgspec.structs.replace(one, membership=parts)


@pytest.mark.parametrize(
    ("mode", "park", "residual", "aside"),
    [
        ("MAIN_WITH_BREAKDOWN", "1000", "300", "700"),
        ("MAIN_TOTAL", "1000", None, "700"),
        ("SUB_SUM", "700", None, "1000"),
        ("INDEPENDENT", "1700", None, "0"),
    ],
)
@pytest.mark.parametrize("whole", ["P", "D", "CITY"])
def test_a_main_meter_over_two_members_is_never_1700_but_where_it_is_none(
    make_line: MakeLine, mode: Mode, park: str, residual: str | None, aside: str, whole: str
) -> None:
    lines = [make_line("P", "1000", **PARK_POWER), make_line("A", "300", **POWER), make_line("B", "400", **POWER)]
    found = bridge(whole, metered(mode), [*lines, make_line("A", "50", **COAL)])
    assert (found.net, found.aside) == (Decimal(park) + 50, Decimal(aside))
    assert [one.tco2e for one in found.residuals] == ([] if residual is None else [Decimal(residual)])
    assert sum(found.by_subject.values()) == found.net == sum(one.tco2e for one in found.by_leaf.values())


def test_a_meter_in_two_accounts_is_counted_once_or_refused(make_line: MakeLine) -> None:
    """The works and its park both read the meter at the gate: 400 tCO2e are 400, or nothing at all."""
    reading = msgspec.structs.replace(
        make_line("A", "400").activities[0], grade="metered", reference="meter:0f/M-01/energy_import/a/b"
    )
    at = {"activities": (reading,)}
    both = [make_line("P", "400", **PARK_POWER, **at), make_line("A", "400", **POWER, **at)]
    with pytest.raises(SharedMeterError, match="M-01/energy_import in the accounts of P and A"):
        bridge("CITY", metered("INDEPENDENT"), both)
    assert bridge("CITY", metered("MAIN_WITH_BREAKDOWN"), both).net == 400
    assert bridge("A", CITY, both).net == 400
    moved = msgspec.structs.replace(both[1], start=both[0].end, end="2025-08-01")
    assert bridge("CITY", CITY, [both[0], moved]).net == 800
    sold = make_line("A", "-400", **POWER, **at)
    assert bridge("CITY", CITY, [make_line("B", "400", **POWER, **at), sold]).net == 0, "the one sells, the other buys"


def test_members_that_come_to_more_than_their_main_meter_leave_a_negative_residual(make_line: MakeLine) -> None:
    lines = [make_line("P", "100", **PARK_POWER), make_line("A", "130", **POWER)]
    found = bridge("P", metered("MAIN_WITH_BREAKDOWN"), lines)
    assert found.net == 100 and found.residuals[0].tco2e == -30


def test_heat_sold_inside_is_direct_once_and_heat_from_outside_stays(make_line: MakeLine) -> None:
    boiler, bought = make_line("A", "120", **COAL), make_line("B", "100", supplier="A", **HEAT)
    outside = make_line("B", "7", supplier="X", label="x", **HEAT)
    found = bridge("P", CITY, [boiler, bought, outside])
    assert (found.gross, found.eliminated, found.net, found.direct_only) == (227, 100, 127, 120)
    assert found.by_subject == {"A": 120, "B": 7}
    assert bridge("B", CITY, [boiler, bought, outside]).net == 107


def test_what_the_supplier_took_off_for_a_sale_inside_comes_back(make_line: MakeLine) -> None:
    boiler, sold = make_line("A", "120", **COAL), make_line("A", "-150", **HEAT)
    found = bridge("P", CITY, [boiler, sold, make_line("B", "100", supplier="A", **HEAT)])
    assert (found.gross, found.eliminated, found.net) == (70, 0, 70)
    assert [one.tco2e for one in found.eliminations] == [100, -100]


def test_green_power_of_a_supplier_inside_goes_with_the_power(make_line: MakeLine) -> None:
    green = {"class_": "indirect_electricity_offset", "leaf": "industry.indirect.green"}
    lines = [make_line("B", "10", supplier="A", **POWER), make_line("B", "-4", supplier="A", **green)]
    found = bridge("P", CITY, lines)
    assert (found.gross, found.eliminated, found.net) == (6, 6, 0)


KINDS = st.sampled_from(
    [("direct_combustion", "industry.direct.coal"), ("indirect_heat", "industry.indirect.heat"),
     ("indirect_electricity", "industry.indirect.thermal"), ("memo", "industry.direct.coal"),
     ("reduction", "reduction.clean.pv")]
)  # fmt: skip
LINES = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C", "P", "X"]),
        st.decimals(0, 10**6, places=12),
        KINDS,
        st.sampled_from(["", "A", "B", "C", "X"]),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(LINES)
def test_a_boundary_is_the_sum_of_its_lines_and_elimination_never_reaches_what_is_direct(
    make_line: MakeLine, found: list[tuple[str, Decimal, tuple[str, str], str]]
) -> None:
    lines = [make_line(who, str(size), class_=kind, leaf=leaf, supplier=by) for who, size, (kind, leaf), by in found]
    city = bridge("CITY", CITY, lines)
    inside = [line for line in lines if line.subject != "X"]
    assert city.gross == inventory.totals(inside).total
    assert 0 <= city.eliminated <= city.parts["indirect"]
    assert city.net >= city.direct_only == inventory.totals(inside).direct
    assert sum(city.by_subject.values()) == city.net == sum(one.tco2e for one in city.by_leaf.values())
    few = bridge("CITY", CITY, boundary.condense(lines))
    assert (few.gross, few.eliminated, few.parts, few.by_subject) == (
        city.gross, city.eliminated, city.parts, city.by_subject
    )  # fmt: skip
    apart = bridge("P", CITY, lines).gross + bridge("C", CITY, lines).gross
    assert city.gross == bridge("D", CITY, lines).gross == apart


@settings(max_examples=40, deadline=None)
@given(st.lists(st.decimals(0, 1, places=3), min_size=2, max_size=2), st.decimals(0, 10**6, places=12))
def test_shares_of_a_line_over_parks_add_up_to_it(make_line: MakeLine, shares: list[Decimal], size: Decimal) -> None:
    first = shares[0]
    found = membership.of([member("A", ("P", str(first)), ("Q", str(1 - first))), member("P"), member("Q")])
    line = make_line("A", str(size))
    assert abs(bridge("P", found, [line]).net + bridge("Q", found, [line]).net - size) <= Decimal("1e-12")


def test_a_subject_file_says_how_a_main_meter_stands_to_the_members() -> None:
    more = '[[subject.metering]]\nclass = "indirect_electricity"\nmode = "MAIN_TOTAL"\n'
    text = tables.subject_file(tables.subject("P", more, zh="园区", en="Park", kind="park", category="park", method=""))
    assert subject_file.read("p", text.encode()).subjects["P"].metering == (
        Metering("indirect_electricity", "MAIN_TOTAL"),
    )
    twice = text + '[[subject.metering]]\nclass = "indirect_electricity"\nmode = "SUB_SUM"\n'
    with pytest.raises(ConfigError, match="each class once"):
        subject_file.read("p", twice.encode())


def test_membership_is_remembered_for_a_roll_up() -> None:
    fresh = replace(CITY, _known={})
    assert fresh.weight("A", "CITY", JUNE, JULY) == 1 and len(fresh._known) == 1
