"""Metered activity: anchors, steps back, gaps that never make a figure smaller, and volumes at 0 ℃."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cloud.accounting.conditions import Conditions, by_factor, kelvin, kilopascals, normalised
from cloud.accounting.interval_text import digest, lines, read
from cloud.accounting.metered import Metered, metered
from cloud.intervals import HOUR_MS, INTERVAL_MS, Interval, Register
from protocols.errors import ActivityError

DAY_MS = 24 * HOUR_MS


def counter(amounts: list[str], first: str = "1000", multiplier: str = "1", unit: str = "kWh") -> list[Interval]:
    """Quarters of an hour from 0 on, whose register rises by these amounts."""
    found, value = [], Decimal(first)
    for index, text in enumerate(amounts):
        start, end = index * INTERVAL_MS, (index + 1) * INTERVAL_MS
        opening, closing = Register(value, start, 0, index), Register(value + Decimal(text), end, 0, index + 1)
        amount = Decimal(text) * Decimal(multiplier)
        found.append(
            Interval(
                *("M-01", "energy_import", unit, "meter/1", start, end, True, opening, closing, Decimal(0)),
                *(Decimal(multiplier), amount, 15, 15, "measured", end, 60_000),
            )
        )
        value = closing.value
    return found


def rate(amounts: list[tuple[str | None, int]], unit: str = "kg") -> list[Interval]:
    """Quarters of an hour of a flow: the amount of the time that was covered, and how many ms that was."""
    found = []
    for index, (text, covered) in enumerate(amounts):
        start, end = index * INTERVAL_MS, (index + 1) * INTERVAL_MS
        mark = Register(Decimal(1), start, 0, index)
        amount = None if text is None else Decimal(text)
        found.append(
            Interval(
                *("F-01", "flow", unit, "meter/2", start, end, True, mark, mark, Decimal(0), Decimal(1), amount),
                *(15, 15, "measured", end, 60_000),
                kind="rate",
                covered_ms=covered,
            )
        )
    return found


def of(intervals: list[Interval], quarters: int | None = None, ceiling: Decimal | None = None) -> Metered:
    end = (len(intervals) if quarters is None else quarters) * INTERVAL_MS
    return metered("M-01", intervals, 0, end, through=end, ceiling=ceiling)


def test_an_amount_is_the_register_at_the_end_less_that_at_the_anchor_times_the_ratio() -> None:
    found = of(counter(["1.25", "0", "2.5"], multiplier="80"))
    assert (found.amount, found.unit, found.estimated, found.whole) == (Decimal(300), "kWh", 0, True)
    assert found.first.value == 1000 and found.last.value == Decimal("1003.75")


def test_without_an_anchor_there_is_no_number() -> None:
    nothing = metered("M-01", [], 0, DAY_MS, through=DAY_MS)
    assert nothing.amount is None and not nothing.whole
    late = of(counter(["1", "1", "1", "1"])[2:], 4)
    assert late.amount == 2 and not late.whole
    assert [(gap.start, gap.missing_ms, gap.rule, gap.amount) for gap in late.gaps] == [
        (0, 2 * INTERVAL_MS, "none", None)
    ]


def test_time_between_two_registers_of_one_count_is_bridged_by_them() -> None:
    whole = counter(["1", "2", "3", "4"])
    assert of([whole[0], whole[3]], 4).amount == 10
    assert of([whole[0], whole[3]], 4).whole


@pytest.mark.parametrize(
    ("state", "cause"),
    [("replaced", "REPLACEMENT"), ("reset", "RESET"), ("unexplained", "DATA_ERROR"), ("reset-suspected", "DATA_ERROR")],
)
def test_a_count_that_steps_back_is_named_and_has_no_amount(state: str, cause: str) -> None:
    first, second, third = counter(["1", "2", "3"])
    second = replace(second, consumption=None, quality="suspect", state=state)
    third = replace(third, since=second.start)
    found = of([first, second, third])
    assert [event.cause for event in found.events] == [cause]
    assert found.amount == 4 and not found.whole
    assert of([first, second, third], ceiling=Decimal(40)).amount == 14


def test_a_roll_over_is_counted_and_named() -> None:
    (only,) = counter(["-9990"], first="9995")
    rolled = replace(only, rolled=Decimal(10000), consumption=Decimal(10), state="rollover")
    found = of([rolled])
    assert found.amount == 10 and [event.cause for event in found.events] == ["ROLLOVER"]


def test_a_negative_increment_is_never_taken_by_its_size() -> None:
    first, second = counter(["5", "-7"])
    found = of([first, second])
    assert found.amount == 5 and [event.cause for event in found.events] == ["DATA_ERROR"] and not found.whole


def test_registers_that_do_not_give_the_consumption_are_refused() -> None:
    (only,) = counter(["5"])
    with pytest.raises(ActivityError, match="registers"):
        of([replace(only, consumption=Decimal(4))])


def test_what_overlaps_or_lies_across_an_edge_is_refused() -> None:
    first, second = counter(["1", "1"])
    with pytest.raises(ActivityError, match="each instant once"):
        of([first, replace(second, start=second.start - 1)])
    with pytest.raises(ActivityError, match="across an edge"):
        metered("M-01", [first, second], 0, INTERVAL_MS + 1, through=INTERVAL_MS + 1)
    with pytest.raises(ActivityError, match="one unit"):
        of([first, replace(second, unit="MWh")])


def test_time_that_no_sample_covered_is_filled_by_the_ceiling_and_shown() -> None:
    found = of(rate([("10", INTERVAL_MS), (None, 0), ("5", INTERVAL_MS // 2)]), ceiling=Decimal(60))
    assert found.amount == 10 + 15 + 5 + Decimal("7.5")
    assert found.estimated == Decimal("0.6")
    assert [(gap.rule, gap.amount) for gap in found.gaps] == [("ceiling", Decimal(15)), ("ceiling", Decimal("7.5"))]


def test_a_ceiling_below_what_was_measured_is_refused() -> None:
    with pytest.raises(ActivityError, match="ceiling"):
        of(rate([("10", INTERVAL_MS)]), ceiling=Decimal(39))


def test_an_open_period_goes_as_far_as_the_data_and_its_running_quarter_is_no_gap() -> None:
    own = counter(["1", "1", "1", "1"])
    own[3] = replace(own[3], closed=False, position=own[3].start + 60_000)
    through = own[3].position
    assert metered("M-01", own, 0, DAY_MS, through=through).whole
    assert (
        metered("M-01", own[:2], 0, DAY_MS, through=through).gaps
        == metered("M-01", own[:2], 0, DAY_MS, through=through).gaps
    )
    assert not metered("M-01", own[:2], 0, DAY_MS, through=through).whole


def test_a_boundary_that_was_interpolated_is_an_estimate_only_at_the_edge() -> None:
    own = counter(["1", "1", "1", "1"])
    inside = [own[0], replace(own[1], quality="estimated"), *own[2:]]
    assert of(inside).estimated == 0 and not of(inside).edge
    outside = [replace(own[0], quality="estimated"), *own[1:]]
    assert of(outside).estimated == Decimal("0.25") and of(outside).edge


amounts = st.lists(st.integers(0, 1000), min_size=2, max_size=24)


@settings(max_examples=60, deadline=None)
@given(amounts, st.data())
def test_leaving_data_out_of_a_flow_never_lowers_the_figure(values: list[int], data: st.DataObject) -> None:
    whole = rate([(str(value), INTERVAL_MS) for value in values])
    kept = data.draw(st.lists(st.sampled_from(range(len(whole))), unique=True))
    halved = data.draw(st.lists(st.sampled_from(range(len(whole))), unique=True))
    left = []
    for index in sorted(kept):
        one = whole[index]
        if index in halved:
            one = replace(one, covered_ms=INTERVAL_MS // 2, consumption=one.consumption / 2)
        left.append(one)
    before = of(whole, ceiling=Decimal(4000))
    after = of(left, len(whole), ceiling=Decimal(4000))
    assert after.amount >= before.amount
    assert bool(after.gaps) == (after.estimated > 0)


@settings(max_examples=60, deadline=None)
@given(amounts, st.data())
def test_leaving_data_out_of_a_count_never_lowers_the_figure(values: list[int], data: st.DataObject) -> None:
    whole = counter([str(value) for value in values])
    kept = data.draw(st.lists(st.sampled_from(range(len(whole))), unique=True))
    before = of(whole, ceiling=Decimal(4000))
    after = of([whole[index] for index in sorted(kept)], len(whole), ceiling=Decimal(4000))
    assert after.amount >= before.amount


def test_every_interval_that_went_in_is_under_the_digest() -> None:
    own = counter(["1", "2"])
    assert of(own).sha256 == digest(own) != digest(own[:1])
    assert digest([replace(own[0], quality="estimated"), own[1]]) != digest(own)


def test_the_canonical_lines_stay_byte_for_byte_whatever_is_the_same_in_two_of_them() -> None:
    own = counter(["1.50", "2", "0", "3"], multiplier="80")
    own[1] = replace(own[1], closed=False, position=own[1].start + 60_000, state="ratio", since=5)
    before = replace(own[2].register_start, value=Decimal("1.0035E+3"), seq=9)
    own[2] = replace(own[2], register_start=before, multiplier=Decimal("8E+1"), rolled=Decimal("0.00"))
    own[3] = replace(own[3], consumption=None, quality="suspect")
    head = "M-01|energy_import|kWh|meter/1"
    assert [one.replace("\t", "|").strip() for one in lines(own)] == [
        f"{head}|0|900000|900000|counter|1E+3|0|0|0|1001.5|900000|0|1|0|8E+1|1.2E+2|measured|ok|0|0|15/15",
        f"{head}|900000|960000|1800000|counter|1001.5|900000|0|1|1003.5|1800000|0|2|0|8E+1|1.6E+2|measured|ratio|5|0|15/15",
        f"{head}|1800000|2700000|2700000|counter|1003.5|1800000|0|9|1003.5|2700000|0|3|0|8E+1|0|measured|ok|0|0|15/15",
        f"{head}|2700000|3600000|3600000|counter|1003.5|2700000|0|3|1006.5|3600000|0|4|0|8E+1|-|suspect|ok|0|0|15/15",
    ]
    assert digest(own) == "7d6ae83b988ed5b819860aaf090f3a5113211ef69c092d80940d809ecfa863aa"


def test_an_amount_is_exact_whatever_the_decimal_context_around_it() -> None:
    own = counter(["0.000000001", "5", "123456789.5"], first="98765432109876.25", multiplier="80")
    own[1] = replace(own[1], quality="suspect", consumption=None)
    with localcontext(prec=3):
        found = of(own, ceiling=Decimal("1234567.123456"))
    assert found == of(own, ceiling=Decimal("1234567.123456"))
    assert found.amount == Decimal("123456789.500000001") * 80 + Decimal("308641.780864")


def test_a_volume_is_brought_to_normal_by_pressure_and_temperature_of_its_own_meter() -> None:
    gas = counter(["100", "100"], unit="m3")
    known = {0: Conditions(kilopascals(Decimal("0.20265"), "MPa"), kelvin(Decimal(0), "℃"))}
    first, second = normalised(gas, known)
    assert (first.unit, first.consumption) == ("Nm3", 200)
    assert second.consumption is None and second.covered_ms == 0
    warm = Conditions(Decimal("101.325"), kelvin(Decimal("27.315"), "℃"))
    assert abs(warm.normal * Decimal("1.1") - 1) < Decimal("1e-40")


def test_volume_without_conditions_is_a_gap_and_never_counted_as_normal() -> None:
    found = of(normalised(counter(["100", "100"], unit="m3"), {}), ceiling=Decimal(1000))
    assert found.amount == 500 and found.estimated == 1


def test_a_declared_factor_works_like_a_ratio() -> None:
    found = of(by_factor(counter(["100"], multiplier="10", unit="m3"), Decimal("0.93")))
    assert (found.amount, found.unit) == (Decimal(930), "Nm3")


@pytest.mark.parametrize("unit", ["kWh", "Nm3"])
def test_only_m3_is_brought_to_normal(unit: str) -> None:
    with pytest.raises(ActivityError, match="expected m3"):
        by_factor(counter(["1"], unit=unit), Decimal(1))


def test_temperatures_and_pressures_have_their_units() -> None:
    assert kelvin(Decimal(20), "℃") == Decimal("293.15")
    for wrong in (lambda: kelvin(Decimal(-274), "℃"), lambda: kelvin(Decimal(1), "F"), lambda: kilopascals(1, "psi")):
        with pytest.raises(ActivityError):
            wrong()


def test_intervals_can_be_read_again_from_what_their_digest_is_over() -> None:
    own = counter(["1.50", "2"], multiplier="80")
    own[1] = replace(own[1], closed=False, position=own[1].start + 60_000, state="ratio", since=5)
    text = "".join(lines(own))
    assert digest(read(text)) == digest(own)
    assert metered("M-01", read(text), 0, DAY_MS, through=own[1].position) == metered(
        "M-01", own, 0, DAY_MS, through=own[1].position
    )
    for wrong in (text.replace("1.5", "1.50"), text.replace("\t", " "), text.replace("80", "x"), text + "\n"):
        with pytest.raises(ActivityError):
            read(wrong)
