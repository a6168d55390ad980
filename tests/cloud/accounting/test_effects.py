"""What changed between two versions: split exactly, whatever changed."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.accounting import draw as drawing
from cloud.accounting import effects, factors, inventory
from cloud.accounting import library as libraries
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting.draw import Drawn, draw
from cloud.accounting.given import Entry, Given
from cloud.accounting.inventory import Difference, Inventory
from cloud.accounting.library import Library
from cloud.accounting.subject import Subject
from cloud.accounting.units import quantity
from protocols.errors import AccountError, MethodError

ZONE = ZoneInfo("Asia/Shanghai")
METHOD = methods.get("ndrc-24-2015")
JUNE = periods.parse("2023-06", ZONE)
SUBJECT = Subject("S-1", "示例", "Example", "enterprise", "industry", METHOD.id)


def entry(row: str, item: str = "", label: str = "", **values: str) -> Entry:
    given = {name: Given(quantity(text), "declared", "bill", "ab" * 32) for name, text in values.items()}
    return Entry(row, date(2023, 6, 1), date(2023, 7, 1), given, item, label)


def account(*entries: Entry, subject: Subject = SUBJECT, known: factors.FactorSet | None = None) -> Inventory:
    return draw(
        subject,
        METHOD,
        JUNE,
        Library(known or factors.builtin(), {}),
        Drawn(entries, JUNE.end),
        subject_sha256="00" * 32,
    )


def changed_grid(value: str, identity: str) -> factors.FactorSet:
    """The built-in grid factors with the national one of 2023 published anew."""
    known = factors.builtin()
    found = tuple(
        replace(one, value=Decimal(value), id=identity) if one.id == "cn.grid.national@2023" else one
        for one in known.factors
    )
    return replace(known, factors=found, sha256="ff" * 32)


def whole(found: Difference) -> Decimal:
    for name in ("activity", "factor", "method", "boundary"):
        assert sum(getattr(one, name) for one in found.effects) == getattr(found, name)
    return found.activity + found.factor + found.method + found.boundary


def test_an_inventory_says_what_it_rests_on_and_its_digest_is_of_all_of_it() -> None:
    found = account(entry("24-08", AD="1000 MWh"), entry("24-01", "natural_gas", FC="10 1e4Nm3"))
    assert [line.row for line in found.lines] == ["24-01", "24-08"]
    assert found.totals.indirect == Decimal("530.6")
    assert found.parameter_sets["ndrc-24-2015"] and found.factor_set == factors.builtin().sha256
    assert found.period.through == "2023-07-01T00:00:00+08:00"
    assert inventory.inventory_from(msgspec.json.encode(found)).digest == found.digest
    with pytest.raises(AccountError):
        inventory.inventory_from(msgspec.json.encode(found) + b" ")


def test_what_is_not_confirmed_is_listed_by_name() -> None:
    found = drawing.unconfirmed(account(entry("24-08", AD="1 MWh"), entry("24-01", "natural_gas", FC="1 1e4Nm3")))
    assert "method.draft: ndrc-24-2015 24-08" in found
    assert any(name.startswith("factor.draft: ndrc-24-2015-fuels:NCV.natural_gas") for name in found)
    assert len(set(found)) == len(found)


def test_activity_outside_the_period_and_a_method_not_in_force_are_refused() -> None:
    late = msgspec.structs.replace(entry("24-08", AD="1 MWh"), end=date(2023, 7, 2))
    with pytest.raises(AccountError, match="within 2023-06-01"):
        account(late)
    with pytest.raises(MethodError, match="in force"):
        draw(SUBJECT, METHOD, periods.parse("2014", ZONE), libraries.build(), Drawn((entry("24-08", AD="1 MWh"),), 0))
    with pytest.raises(AccountError, match="no activity"):
        account()


def test_more_electricity_is_activity_and_a_new_factor_is_vintage() -> None:
    before = account(entry("24-08", AD="1000 MWh"))
    newer = changed_grid("0.5", "cn.grid.national@2024")
    found = effects.difference(before, account(entry("24-08", AD="1100 MWh"), known=newer))
    assert (found.activity, found.factor, found.vintage) == (Decimal("53.06"), Decimal("-33.66"), Decimal("-33.66"))
    assert found.total == whole(found) == Decimal("19.4")


def test_a_corrected_factor_of_the_same_year_is_no_vintage() -> None:
    before = account(entry("24-08", AD="1000 MWh"))
    found = effects.difference(
        before, account(entry("24-08", AD="1000 MWh"), known=changed_grid("0.5", "cn.grid.national@2023"))
    )
    assert (found.factor, found.vintage, found.activity) == (Decimal("-30.6"), 0, 0)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4),
    st.sampled_from(["0.5306", "0.5", "0.5703"]),
    st.sampled_from(["cn.grid.national@2023", "cn.grid.national@2024"]),
)
def test_a_factor_published_anew_is_split_as_step_by_step(
    amounts: list[tuple[int, int]], value: str, identity: str
) -> None:
    labelled = list(enumerate(amounts))
    before = account(*(entry("24-08", label=f"{index}", AD=f"{was} MWh") for index, (was, _) in labelled))
    now = (entry("24-08", label=f"{index}", AD=f"{is_} MWh") for index, (_, is_) in labelled)
    after = account(*now, known=changed_grid(value, identity))
    found = effects.difference(before, after)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects, "_republished", lambda *_: False)
        assert effects.difference(before, after) == found
    assert whole(found) == found.total == after.totals.total - before.totals.total


def test_a_measured_parameter_instead_of_a_default_is_factor() -> None:
    before = account(entry("24-01", "natural_gas", FC="10 1e4Nm3"))
    after = account(entry("24-01", "natural_gas", FC="10 1e4Nm3", OF="98 %"))
    found = effects.difference(before, after)
    assert found.factor == found.total == after.totals.total - before.totals.total != 0


def test_a_source_that_came_late_is_activity_and_one_of_a_changed_subject_is_boundary() -> None:
    before = account(entry("24-08", AD="1000 MWh"))
    after = account(entry("24-08", AD="1000 MWh"), entry("24-01", "natural_gas", FC="10 1e4Nm3"))
    direct = after.totals.direct
    assert effects.difference(before, after).activity == direct
    elsewhere = msgspec.structs.replace(after, subject_sha256="11" * 32)
    assert effects.difference(before, elsewhere).boundary == direct
    assert effects.difference(elsewhere, before).boundary == -direct


def test_another_gwp_set_is_method() -> None:
    waste = entry("24-03", "deep_anaerobic_lagoon", W="1000 m3", COD_in="2 kgCOD/m3", COD_out="0.2 kgCOD/m3")
    before, after = account(waste), account(waste, subject=msgspec.structs.replace(SUBJECT, gwp="AR5"))
    found = effects.difference(before, after)
    assert found.method == found.total == whole(found) and found.total > 0


amount = st.integers(1, 10**6).map(lambda value: f"{value}e-3")


@settings(max_examples=40, deadline=None)
@given(amount, amount, amount, amount, st.sampled_from(["0.4", "0.5306", "0.77"]), st.booleans())
def test_the_effects_sum_to_the_change(
    power: str, later_power: str, gas: str, later_gas: str, factor: str, drop: bool
) -> None:
    before = account(entry("24-08", AD=f"{power} MWh"), entry("24-01", "natural_gas", FC=f"{gas} 1e4Nm3"))
    more = [] if drop else [entry("24-01", "natural_gas", FC=f"{later_gas} 1e4Nm3", CC="0.016 tC/GJ")]
    after = account(entry("24-08", AD=f"{later_power} MWh"), *more, known=changed_grid(factor, "cn.grid.national@2024"))
    found = effects.difference(before, after)
    assert whole(found) == found.total == after.totals.total - before.totals.total
    assert effects.difference(after, before).total == -found.total
