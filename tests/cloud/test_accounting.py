"""Electricity accounts: exact arithmetic, meters counted once, and versions that say what changed."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.accounting import period as periods
from cloud.accounting import statement as made
from cloud.accounting.electricity import Increment, Mark, MeterRole, account
from cloud.accounting.factors import EARLIER_YEAR, FactorSet, builtin
from cloud.accounting.meters import Configured, increments
from cloud.accounting.period import Period
from cloud.accounting.statement import Content
from cloud.intervals import rules
from cloud.series import Series
from drivers.builtin import builtin as builtin_profile
from drivers.installation import install
from protocols import messages
from protocols.errors import AccountError, FactorError
from tests.cloud import tables

SHANGHAI = ZoneInfo("Asia/Shanghai")
QUARTER = 900_000
MAIN = MeterRole("aa" * 16, "M-01", "energy_import", "purchased")
SUB = MeterRole("aa" * 16, "M-02", "energy_import", "sub")
OTHER = MeterRole("aa" * 16, "M-03", "energy_import", "sub")
DAY = periods.parse("2023-06-01", SHANGHAI)
SITE = tables.site(tables.device("M-01", "eastron-sdm630", 'role = "purchased"\n'), "S-1", "S-1").encode()


def one(meter: MeterRole, start: int, kwh: str | None, **changes: object) -> Increment:
    """A quarter of an hour that begins at ``start`` and moves the register from 100 by ``kwh``."""
    amount = None if kwh is None else Decimal(kwh)
    opening = Mark(Decimal(100), start, 0, 1)
    closing = Mark(Decimal(100) + (amount or 0), start + QUARTER, 0, 2)
    increment = Increment(
        meter,
        start,
        start + QUARTER,
        start + QUARTER,
        opening,
        closing,
        Decimal(0),
        Decimal(1),
        amount,
        "measured",
        readings=15,
        expected=15,
    )
    return replace(increment, **changes)  # type: ignore[arg-type]


def series(meter: MeterRole, period: Period, kwh: Decimal, step: int = QUARTER) -> Iterator[Increment]:
    """The whole period in even parts, the register rising by ``kwh`` in each."""
    value = Decimal(1000)
    for seq, start in enumerate(range(period.start, period.end, step)):
        opening, closing = Mark(value, start, 0, seq), Mark(value + kwh, start + step, 0, seq + 1)
        end = start + step
        yield Increment(meter, start, end, end, opening, closing, Decimal(0), Decimal(1), kwh, "measured", 15, 15)
        value += kwh


def full(meter: MeterRole, total: str, period: Period = DAY) -> list[Increment]:
    count = (period.end - period.start) // QUARTER
    return list(series(meter, period, Decimal(total) / count))


def drawn(
    increments: list[Increment], *meters: MeterRole, closed: bool = True, factors: FactorSet | None = None
) -> Content:
    return account("S-1", DAY, meters or (MAIN,), increments, factors or builtin(), closed=closed)


def test_tonnes_are_kwh_times_the_factor_of_the_year() -> None:
    content = drawn(full(MAIN, "76940.16"))
    assert content.kwh == Decimal("76940.16")
    assert content.tco2 == Decimal("40.824448896")
    assert content.lines[0].factor.id == "cn.grid.national@2023"
    assert not content.provisional


def test_nothing_is_rounded_on_the_way() -> None:
    content = drawn([*full(MAIN, "96")[1:], one(MAIN, DAY.start, "0." + "0" * 60 + "7")])
    assert content.kwh == Decimal("95." + "0" * 60 + "7")
    assert content.tco2 == Decimal("0.050407" + "0" * 57 + "37142")


def test_sub_meters_are_shown_and_never_added() -> None:
    increments = full(MAIN, "1000.32") + full(SUB, "300.48") + full(OTHER, "400.32")
    content = drawn(increments, MAIN, SUB, OTHER)
    assert content.kwh == Decimal("1000.32")
    assert [(meter.device, meter.kwh) for meter in content.breakdown] == [
        ("M-02", Decimal("300.48")),
        ("M-03", Decimal("400.32")),
    ]


def test_two_purchased_meters_add_up() -> None:
    second = replace(SUB, role="purchased")
    content = drawn(full(MAIN, "96") + full(second, "192"), MAIN, second)
    assert content.kwh == Decimal(288)


def test_a_period_over_two_factor_years_is_split_at_the_year() -> None:
    span = periods.parse("2022-12-31--2023-01-02", SHANGHAI)
    content = account("S-1", span, [MAIN], list(series(MAIN, span, Decimal(1))), builtin(), closed=True)
    assert [(line.year, line.kwh, line.tco2) for line in content.lines] == [
        (2022, Decimal(96), Decimal("0.0515136")),
        (2023, Decimal(96), Decimal("0.0509376")),
    ]
    assert content.tco2 == Decimal("0.1024512")
    assert content.lines[0].meters[0].runs[0].end == "2023-01-01T00:00:00+08:00"


def test_a_year_without_its_factor_is_provisional_and_says_why() -> None:
    day = periods.parse("2026-06-01", SHANGHAI)
    content = account("S-1", day, [MAIN], list(series(MAIN, day, Decimal(1))), builtin(), closed=True)
    assert content.provisional
    assert content.reasons == (EARLIER_YEAR,)
    assert content.lines[0].factor.data_year == 2023


def test_a_site_without_any_factor_is_an_error() -> None:
    day = periods.parse("2019-06-01", SHANGHAI)
    with pytest.raises(FactorError):
        account("S-1", day, [MAIN], list(series(MAIN, day, Decimal(1))), builtin(), closed=True)


def test_an_open_period_goes_as_far_as_the_data() -> None:
    content = drawn(full(MAIN, "96")[:40], closed=False)
    assert content.period.through == "2023-06-01T10:00:00+08:00"
    assert content.reasons == ("account.open",)
    assert content.shares.missing_ms == 0


def test_what_is_missing_is_said_and_not_counted_as_zero() -> None:
    increments = full(MAIN, "96")
    del increments[10:14]
    content = drawn(increments)
    assert content.kwh == Decimal(92)
    assert content.reasons == ("account.missing",)
    assert (content.gaps[0].kind, content.gaps[0].start, content.gaps[0].kwh) == (
        "missing",
        "2023-06-01T02:30:00+08:00",
        None,
    )
    assert content.shares.percent("missing") == Decimal("4.16")


def test_a_closed_day_whose_tail_is_missing_is_not_whole() -> None:
    content = drawn(full(MAIN, "96")[:90])
    assert content.period.through == content.period.end
    assert content.gaps[-1].end == content.period.end


def test_a_purchased_meter_that_never_spoke_is_unknown_not_zero() -> None:
    second = replace(SUB, role="purchased")
    content = drawn(full(MAIN, "96"), MAIN, second)
    assert content.lines[0].meters[1].kwh is None
    assert content.provisional


def test_a_suspect_stretch_is_not_counted() -> None:
    increments = full(MAIN, "96")
    increments[5] = replace(increments[5], quality="suspect", kwh=None)
    content = drawn(increments)
    assert content.kwh == Decimal(95)
    assert content.reasons == ("account.suspect",)
    assert [run.quality for run in content.lines[0].meters[0].runs] == ["measured", "suspect", "measured"]


def test_a_gap_that_the_register_bridges_is_counted_and_marked() -> None:
    increments = full(MAIN, "96")
    increments[5:7] = [replace(entry, quality="estimated", readings=0) for entry in increments[5:7]]
    content = drawn(increments)
    assert content.kwh == Decimal(96)
    assert content.gaps[0].kwh == Decimal(2)
    assert not content.provisional
    assert content.coverage == made.Coverage(94 * 15, 96 * 15)


def test_an_interpolated_edge_makes_it_provisional() -> None:
    increments = full(MAIN, "96")
    increments[0] = replace(increments[0], quality="estimated")
    assert drawn(increments).reasons == ("account.estimated-edge",)


def test_runs_carry_the_arithmetic() -> None:
    increments = full(MAIN, "96")
    increments = increments[:48] + [
        replace(entry, multiplier=Decimal(80), kwh=entry.kwh * 80) for entry in increments[48:] if entry.kwh
    ]
    runs = drawn(increments).lines[0].meters[0].runs
    assert [(run.multiplier, run.intervals) for run in runs] == [(Decimal(1), 48), (Decimal(80), 48)]
    for run in runs:
        assert run.kwh == (run.closing.value - run.opening.value) * run.multiplier


def test_a_rollover_is_in_the_arithmetic() -> None:
    increments = full(MAIN, "96")
    modulus = Decimal(1_000_000)
    increments[5] = replace(increments[5], closing=Mark(Decimal("5"), increments[5].end, 0, 6), rolled=modulus)
    increments[6] = replace(increments[6], opening=increments[5].closing)
    first = drawn(increments[:6], closed=False).lines[0].meters[0].runs[0]
    assert first.rolled == modulus
    assert drawn(increments).kwh == Decimal(96)


def test_the_quarter_that_has_just_begun_is_nobodys_hole() -> None:
    second = replace(SUB, role="purchased")
    ahead, behind = full(MAIN, "96")[:40], full(second, "96")[:40]
    ahead[-1] = replace(ahead[-1], until=ahead[-1].start + 400_000)
    behind[-1] = replace(behind[-1], until=behind[-1].start + 60_000)
    content = drawn(ahead + behind, MAIN, second, closed=False)
    assert content.reasons == ("account.open",)
    assert content.period.through == periods.stamp(ahead[-1].until, SHANGHAI)


def test_a_meter_that_fell_silent_while_another_went_on_has_a_hole() -> None:
    second = replace(SUB, role="purchased")
    dead = full(second, "96")[:20]
    dead[-1] = replace(dead[-1], until=dead[-1].start + 60_000)
    content = drawn(full(MAIN, "96")[:40] + dead, MAIN, second, closed=False)
    assert [(gap.device, gap.kind, gap.start, gap.end) for gap in content.gaps] == [
        ("M-02", "missing", "2023-06-01T04:46:00+08:00", "2023-06-01T10:00:00+08:00")
    ]


def test_a_closed_day_ends_where_its_newest_reading_does() -> None:
    increments = full(MAIN, "96")
    increments[-1] = replace(increments[-1], until=increments[-1].start + 300_000)
    assert drawn(increments).gaps[0].start == "2023-06-01T23:50:00+08:00"


@pytest.mark.parametrize(
    ("increments", "expected"),
    [
        ([one(MAIN, DAY.start, "1"), one(MAIN, DAY.start + 1000, "1")], "overlapping"),
        ([one(MAIN, DAY.start - 1000, "1")], "across the edge"),
        ([one(MAIN, DAY.end - 1000, "1")], "across the edge"),
        ([one(MAIN, DAY.start, None)], "no consumption"),
        ([], "no consumption"),
    ],
)
def test_what_cannot_be_accounted_is_refused(increments: list[Increment], expected: str) -> None:
    with pytest.raises(AccountError, match=expected):
        drawn(increments)


def test_a_site_without_a_purchased_meter_has_no_account() -> None:
    with pytest.raises(AccountError, match="no meter with role purchased"):
        drawn(full(SUB, "96"), SUB)


@settings(max_examples=30)
@given(st.lists(st.decimals(0, 10_000, places=2), min_size=96, max_size=96), st.randoms())
def test_the_digest_is_of_the_content_not_of_the_order(amounts: list[Decimal], order: object) -> None:
    increments = [one(MAIN, DAY.start + index * QUARTER, str(kwh)) for index, kwh in enumerate(amounts)]
    first = drawn(increments)
    order.shuffle(increments)  # type: ignore[attr-defined]
    assert made.digest(drawn(increments)) == made.digest(first)
    assert first.kwh == sum(amounts)
    assert first.tco2 * 1000 == sum(amounts) * Decimal("0.5306")


def test_any_change_of_an_input_changes_the_digest() -> None:
    increments = full(MAIN, "96")
    digests = {made.digest(drawn(increments))}
    closing = increments[7].closing
    for change in (
        {"readings": 14},
        {"closing": replace(closing, seq=99)},
        {"closing": replace(closing, at=closing.at - 1)},
        {"multiplier": Decimal(2)},
        {"quality": "estimated"},
    ):
        digests.add(made.digest(drawn([*increments[:7], replace(increments[7], **change), *increments[8:]])))  # type: ignore[arg-type]
    assert len(digests) == 6


def test_a_new_version_says_what_changed_and_why() -> None:
    old = made.mint(drawn(full(MAIN, "96")[:95]), None, "2023-06-02T00:05:00+08:00", 7)
    new = made.mint(drawn(full(MAIN, "96")), old, "2023-06-03T00:05:00+08:00", 9)
    assert (old.version, old.supersedes, new.version, new.supersedes) == (1, None, 2, 1)
    assert new.difference is not None
    assert new.difference.kwh == 1
    assert new.difference.tco2 == new.difference.tco2_by_activity == Decimal("0.0005306")
    assert new.difference.tco2_by_factor == 0
    assert {"kwh", "tco2", "reasons", "gaps"} <= set(new.difference.changed)


def test_a_published_factor_of_the_year_is_told_apart_from_activity() -> None:
    earlier = FactorSet(tuple(entry for entry in builtin().factors if entry.data_year < 2023), "0" * 64, {})
    before = drawn(full(MAIN, "96"), factors=earlier)
    after = drawn(full(MAIN, "192"))
    change = made.difference(before, after)
    assert change.tco2_by_activity == Decimal(96) * Decimal("0.5366") / 1000
    assert change.tco2_by_factor == Decimal(192) * Decimal("-0.0060") / 1000
    assert change.tco2 == after.tco2 - before.tco2 == change.tco2_by_activity + change.tco2_by_factor
    assert (change.factors_before, change.factors_after) == (("cn.grid.national@2022",), ("cn.grid.national@2023",))


def test_the_json_of_a_statement_has_one_form() -> None:
    statement = made.mint(drawn(full(MAIN, "96")), None, "2023-06-02T00:05:00+08:00", 7)
    source = made.to_json(statement)
    assert made.from_json(source) == statement
    for altered in (source + b" ", source.replace(b'"96"', b'"96.0"'), source.replace(b'"96"', b'"97"'), b"{}"):
        with pytest.raises(AccountError):
            made.from_json(altered)


@pytest.mark.parametrize(
    "text", ["2023-13", "2023-02-30", "202", "", "2023-06-02--2023-06-01", "2023-06-01--", "9999-12"]
)
def test_a_period_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(AccountError, match="period"):
        periods.parse(text, SHANGHAI)


def test_periods_are_half_open_in_the_zone_of_the_site() -> None:
    month = periods.parse("2026-11", SHANGHAI)
    assert periods.stamp(month.start, SHANGHAI) == "2026-11-01T00:00:00+08:00"
    assert periods.stamp(month.end, SHANGHAI) == "2026-12-01T00:00:00+08:00"
    year = periods.parse("2026", SHANGHAI)
    assert (year.start, year.end) == (
        periods.parse("2026-01-01", SHANGHAI).start,
        periods.parse("2027-01-01", SHANGHAI).start,
    )
    assert periods.month_of(month.end - 1, SHANGHAI) == month
    assert periods.day_of(month.end, SHANGHAI).id == "2026-12-01"
    assert periods.instant(periods.stamp(month.start + 7, SHANGHAI)) == month.start + 7


@pytest.mark.parametrize(
    "text", ["E-S-1-2026-11@0", "E-S-1@x", "S-1", "", "E-S-1@" + "9" * 10, "E-S-1@" + "9" * 5000, "E-S-1@01", "E-S-1@²"]
)
def test_a_reference_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(AccountError, match="statement"):
        made.parse_reference(text)


def test_an_open_period_goes_no_further_than_its_newest_reading() -> None:
    """A meter read every quarter of an hour, at half past two: nothing is known of what comes."""
    site = SITE + b'period = "15m"\n'
    installation = install(site, {"eastron-sdm630": builtin_profile("eastron-sdm630")})
    booked = Series(rules(installation, 0)["energy_import"])
    half_past = DAY.start + 58 * QUARTER
    for index in range(3):
        booked.add(half_past + 50 - (2 - index) * QUARTER, Decimal(100 + index), 0, index)
    held = Configured("aa" * 16, frozenset([1]), lambda _: installation, lambda *_: 1)
    meters, moved = increments(held, booked.take())
    content = account("S-1", DAY, meters, moved, builtin(), closed=False)
    assert content.period.through == "2023-06-01T14:30:00.050+08:00"
    assert content.lines[0].meters[0].runs[-1].end == content.period.through
    assert content.coverage == made.Coverage(3, 3)


def test_a_reference_names_an_id_and_may_name_a_version() -> None:
    assert made.parse_reference("E-S-1-2026-11") == ("E-S-1-2026-11", None)
    assert made.parse_reference("E-S-1-2026-11@12") == ("E-S-1-2026-11", 12)


def test_every_reason_can_be_read() -> None:
    for reason in ("account.open", "account.missing", "account.suspect", "account.estimated-edge"):
        assert messages.text(reason, "zh") != messages.text(reason, "en")
