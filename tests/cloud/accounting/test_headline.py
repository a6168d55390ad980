"""Table 1's four indicators: ratios of sums, changes over equal coverage, reductions against what was frozen."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from cloud.accounting import draw as drawing
from cloud.accounting import headline
from cloud.accounting import library as libraries
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting.draw import Drawn
from cloud.accounting.given import Entry, Given
from cloud.accounting.headline import change, intensity, reduction, total
from cloud.accounting.inventory import Inventory
from cloud.accounting.period import Period
from cloud.accounting.subject import ZONE, Baseline, Denominator, Subject
from cloud.accounting.units import quantity
from protocols.errors import AccountError

METHOD = methods.get("ndrc-24-2015")
SUBJECT = Subject("S-1", "示例", "Example", "enterprise", "industry", METHOD.id)


def span(text: str) -> Period:
    return periods.parse(text, ZONE)


def account(month: str, mwh: str, *, meter: str = "M-1", subject: Subject = SUBJECT, through: int = 0) -> Inventory:
    period = span(month)
    start, end = period.days()
    reference = f"meter:aa/{meter}/energy/{start}T00:00:00+08:00/{end}T00:00:00+08:00"
    entry = Entry("24-08", start, end, {"AD": Given(quantity(f"{mwh} MWh"), "metered", reference)})
    return drawing.draw(subject, METHOD, period, libraries.build(), Drawn((entry,), through or period.end))


def test_months_make_a_quarter_and_a_missing_month_makes_none() -> None:
    held = [account("2023-01", "100"), account("2023-03", "300"), account("2023-02", "200")]
    assert total(held, span("2023-01-01--2023-04-01")).tco2e == Decimal("318.36")
    found = total(held, span("2023"))
    assert (found.tco2e, found.reasons) == (None, (headline.INCOMPLETE,))


def test_an_account_of_the_whole_goes_before_its_parts() -> None:
    held = [account("2023-01", "100"), account("2023-01-01--2023-03-01", "999"), account("2023-02", "200")]
    assert total(held, span("2023-01-01--2023-03-01")).accounts == ("2023-01-01--2023-03-01",)


def output(period: str, value: str, **changes: Any) -> Denominator:
    return Denominator("output", value, period, f"report {period}", **changes)


def test_a_cumulative_intensity_is_a_ratio_of_sums_and_not_the_mean_of_months() -> None:
    """53.06 t over 100 t and 53.06 t over 300 t: 106.12 / 400 = 0.2653, where the mean of the months is 0.3537."""
    held = [account("2023-01", "100"), account("2023-02", "100")]
    made = [output("2023-01", "100 t", uncertainty="1"), output("2023-02", "300000 kg", uncertainty="2")]
    found = intensity(held, made, span("2023-01-01--2023-03-01"), "output")
    assert (found.value, found.unit, found.denominator) == (Decimal("0.2653"), "tCO2e/t", 400)
    assert found.uncertainty == Decimal("1.75") and found.documents == ("report 2023-01", "report 2023-02")


def test_a_denominator_that_does_not_cover_the_days_once_gives_no_intensity() -> None:
    held = [account("2023-01", "100"), account("2023-02", "100")]
    whole = span("2023-01-01--2023-03-01")
    for made in ([output("2023-01", "100 t")], [output("2023-02", "1 t")], [], [output("2023-01", "1 t")] * 2):
        found = intensity(held, made, whole, "output")
        assert (found.value, found.reasons) == (None, (headline.NO_DENOMINATOR,))
    assert intensity(held, [output("2023-01", "100 t")], span("2023-01"), "output").value == Decimal("0.5306")
    other = intensity(held, [output("2023-01", "100 t", product="steel")], span("2023-01"), "output")
    assert other.value is None


def test_an_area_stands_and_is_a_mean_over_the_days() -> None:
    area = [Denominator("area", "1000 m2", "2022-01-01--2023-01-16", "deed 1")]
    area.append(Denominator("area", "2000 m2", "2023-01-16--2024-01-01", "deed 2"))
    found = intensity([account("2023-01", "100")], area, span("2023-01"), "area")
    assert found.denominator is not None and found.denominator.quantize(Decimal("0.01")) == Decimal("1516.13")


def compare(after: Sequence[Inventory], before: Sequence[Inventory]) -> headline.Change:
    return change(after, before, "yoy")


def test_the_same_kilowatt_hours_under_a_newer_factor_are_vintage_and_no_action() -> None:
    """National 2022 0.5366, 2023 0.5306: 1000 MWh fall by 6 t, all of it vintage."""
    found = compare([account("2023-06", "1000")], [account("2022-06", "1000")])
    assert (found.tco2e, found.before, found.reasons) == (-6, Decimal("536.6"), ())
    assert found.difference is not None
    assert (found.difference.activity, found.difference.factor, found.difference.vintage) == (0, -6, -6)
    assert found.percent is not None and found.percent.quantize(Decimal("0.01")) == Decimal("-1.12")


def test_a_change_over_several_months_sums_its_effects() -> None:
    found = compare(
        [account("2023-01", "110"), account("2023-02", "90")], [account("2022-01", "100"), account("2022-02", "100")]
    )
    split = found.difference
    assert split is not None and found.tco2e == split.total
    assert split.activity + split.factor + split.method + split.boundary == split.total


@pytest.mark.parametrize(
    ("after", "before", "reason"),
    [
        (account("2023-06", "1"), None, headline.NO_PREVIOUS),
        (account("2023-06", "1"), account("2022-05", "1"), headline.OTHER_MONTHS),
        (account("2023-06", "1", meter="M-2"), account("2022-06", "1"), headline.OTHER_METERS),
        (account("2023-06", "1", through=span("2023-06-20").start), account("2022-06", "1"), headline.STILL_OPEN),
        (
            account("2023-06", "1", subject=msgspec.structs.replace(SUBJECT, basis="residual")),
            account("2022-06", "1"),
            headline.OTHER_BASIS,
        ),
    ],
)
def test_what_is_not_comparable_says_why(after: Inventory, before: Inventory | None, reason: str) -> None:
    found = compare([after], [before] if before else [])
    assert (found.tco2e, found.percent, found.difference, found.reasons) == (None, None, None, (reason,))


def test_nothing_before_is_no_infinite_change() -> None:
    found = compare([account("2023-06", "10")], [account("2022-06", "0")])
    assert (found.percent, found.reasons, found.tco2e) == (None, (headline.NOTHING_BEFORE,), Decimal("5.306"))


def test_the_month_before_is_compared_with_the_month() -> None:
    found = change([account("2023-03", "100")], [account("2023-02", "80")], "mom")
    assert (found.percent, found.reasons) == (25, ())


@pytest.mark.parametrize(
    ("period", "yoy", "mom"),
    [
        ("2023-03", "2022-03", "2023-02"),
        ("2023-01", "2022-01", "2022-12"),
        ("2023", "2022", "2022"),
        ("2023-01-01--2023-04-01", "2022-01-01--2022-04-01", "2022-10-01--2023-01-01"),
    ],
)
def test_earlier_periods(period: str, yoy: str, mom: str) -> None:
    assert (headline.earlier(span(period), "yoy").id, headline.earlier(span(period), "mom").id) == (yoy, mom)
    with pytest.raises(AccountError):
        headline.earlier(span("2023-03-05"), "yoy")


BASE = Baseline("B-1", "2020-06", "600", METHOD.id, "signed report", "ab" * 32)


def test_a_reduction_is_against_what_was_frozen_in_the_same_days() -> None:
    found = reduction([account("2023-06", "1000")], [BASE], span("2023-06"))
    assert (found.baseline, found.tco2e, found.ledger, found.reasons) == ("B-1", Decimal("69.4"), 0, ())


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        (msgspec.structs.replace(BASE, sha256=""), headline.UNPROVED),
        (msgspec.structs.replace(BASE, method="ndrc-08-2013"), headline.OTHER_METHOD),
        (msgspec.structs.replace(BASE, period="2020-07"), headline.NO_BASELINE),
        (msgspec.structs.replace(BASE, period="2020"), headline.NO_BASELINE),
    ],
)
def test_a_baseline_that_does_not_fit_gives_no_reduction(base: Baseline, reason: str) -> None:
    found = reduction([account("2023-06", "1000")], [base], span("2023-06"))
    assert (found.tco2e, found.reasons) == (None, (reason,))


def test_a_baseline_that_was_set_stays_as_it_was() -> None:
    headline.check_frozen([BASE], [BASE, msgspec.structs.replace(BASE, id="B-2", tco2e="1")])
    with pytest.raises(AccountError, match="B-1"):
        headline.check_frozen([BASE], [msgspec.structs.replace(BASE, tco2e="700")])


def test_dates_move_by_months_within_a_shorter_one() -> None:
    assert headline._shifted(date(2023, 3, 31), -1) == date(2023, 2, 28)
