"""Uncertainty: shared factors add up, meters do not, what is unknown is named."""

from datetime import date
from decimal import Decimal
from random import Random

import pytest

from cloud.accounting import calculate, factors, feeds, method, uncertainty
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.line import Line
from cloud.accounting.units import quantity

JUNE = (date(2025, 6, 1), date(2025, 7, 1))
EF = Given(quantity("0.5 tCO2/MWh"), "declared", "report 7", "ab", uncertainty=Decimal(4))


def meter(name: str, amount: str, percent: str | None, estimated: str = "0") -> Given:
    place = f"meter:aa/{name}/energy/2025-06-01T00:00:00+08:00/2025-07-01T00:00:00+08:00"
    spread = None if percent is None else Decimal(percent)
    return Given(quantity(amount), "metered", place, name, uncertainty=spread, estimated=Decimal(estimated))


def bought(*meters: tuple[str, Given]) -> list[Line]:
    entries = [Entry("24-08", *JUNE, {"AD": given, "EF": EF}, label=name) for name, given in meters]
    return list(calculate.lines(method.get("ndrc-24-2015"), entries, Programme("S", factors.builtin())))


def test_a_product_is_the_root_of_the_squares() -> None:
    found = uncertainty.uncertainty(bought(("M-1", meter("M-1", "1000 MWh", "3"))))
    assert (found.total, found.percent, found.whole, found.approach) == (500, Decimal(5), True, 1)
    assert [one.share for one in found.contributions] == [Decimal("0.64"), Decimal("0.36")]


def test_a_factor_that_lines_share_adds_up_and_their_meters_do_not() -> None:
    """Two lines of 500 t: the factor 4 % of 1000 = 40; each meter 3 % of 500 = 15; sqrt(40^2 + 15^2 + 15^2) = 45.28."""
    found = uncertainty.uncertainty(
        bought(("M-1", meter("M-1", "1000 MWh", "3")), ("M-2", meter("M-2", "1000 MWh", "3")))
    )
    assert found.half.quantize(Decimal("0.01")) == Decimal("45.28") and found.percent == Decimal("4.53")
    assert found.contributions[0].lines == ("24-08/M-1", "24-08/M-2")


def test_one_meter_in_two_lines_is_one_thing() -> None:
    """As if the same register were read twice: 15 + 15 = 30 beside 40, together 50."""
    lines = bought(("a", meter("M-1", "1000 MWh", "3")), ("b", meter("M-1", "1000 MWh", "3")))
    assert uncertainty.uncertainty(lines).half == 50


def test_a_meter_of_class_a_has_two_a_over_root_three() -> None:
    assert feeds.uncertainty("0.5") == Decimal("0.5774")


def test_what_fills_gaps_lies_evenly_between_nothing_and_all_of_it() -> None:
    """30 % of 500 t fill gaps: 150 / sqrt(3) = 86.60 beside 20 and 15: sqrt(8125) = 90.14."""
    found = uncertainty.uncertainty(bought(("M-1", meter("M-1", "1000 MWh", "3", "0.3"))))
    assert found.half.quantize(Decimal("0.01")) == Decimal("90.14")
    assert found.improve is not None and found.improve.key == "gap meter:aa/M-1/energy"


def test_what_nothing_is_known_of_is_named_and_not_zero() -> None:
    found = uncertainty.uncertainty(
        bought(("M-1", meter("M-1", "1000 MWh", "3")), ("M-2", meter("M-2", "10 MWh", None)))
    )
    assert not found.whole
    assert [(one.key, one.reach) for one in found.unknown] == [("meter:aa/M-2/energy", Decimal(5))]


def test_the_meter_to_improve_is_the_one_that_adds_most() -> None:
    found = uncertainty.uncertainty(
        bought(("M-1", meter("M-1", "1000 MWh", "0.6")), ("M-2", meter("M-2", "400 MWh", "3")))
    )
    assert found.improve is not None and found.improve.lines == ("24-08/M-2",)


def test_nothing_at_all_has_no_percentage() -> None:
    assert uncertainty.uncertainty([]).percent is None
    none = bought(("M-1", meter("M-1", "0 MWh", "3")))
    assert (uncertainty.uncertainty(none).percent, uncertainty.uncertainty(none).half) == (None, 0)


def test_beyond_thirty_percent_draws_decide_and_equal_seeds_agree() -> None:
    lines = bought(("M-1", meter("M-1", "1000 MWh", "0.5", "0.9")))
    plain = uncertainty.uncertainty(lines)
    found = uncertainty.uncertainty(lines, Random(7))
    assert plain.percent is not None and plain.percent > 30 and (plain.approach, found.approach) == (1, 2)
    assert found == uncertainty.uncertainty(lines, Random(7))
    assert found.low is not None and found.high is not None
    assert found.low == pytest.approx(Decimal("-87.8"), abs=2) and Decimal(-6) < found.high < Decimal(4)


def test_draws_agree_with_the_propagation_where_that_is_good() -> None:
    lines = bought(("M-1", meter("M-1", "1000 MWh", "3")))
    linear = uncertainty.approach1(lines)
    drawn = uncertainty.approach2(lines, linear, Random(3), draws=1500)
    assert drawn.percent is not None and abs(drawn.percent - Decimal(5)) < Decimal("0.6")
