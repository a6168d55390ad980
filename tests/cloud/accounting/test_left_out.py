"""What an account says of itself: words without a document, and days that a source's activity leaves out."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud import account_show
from cloud.accounting import days, draw, factors, feeds, headline, inventory, restated, subject_file
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting.calculate import UNDOCUMENTED
from cloud.accounting.draw import Drawn
from cloud.accounting.given import Entry, Given
from cloud.accounting.inventory import Filled, Inventory
from cloud.accounting.library import Library
from cloud.accounting.metered import metered as metering
from cloud.accounting.subject import ZONE, Baseline, InUse, Meter, Subject
from cloud.accounting.units import quantity
from cloud.intervals import Interval, Register
from protocols.errors import AccountError, ConfigError
from tests.cloud import tables

JUNE = periods.parse("2025-06", ZONE)
GUIDE = methods.get("ndrc-24-2015")
LIBRARY = Library(factors.builtin(), {})
METER = "meter:0f/M-1/energy_import/a/b"
OLD = Path(__file__).parents[2] / "vectors" / "account_2.json"
"""An account as the engine account/2 drew it up: two gas bills from two files, and 20 days of power on a word."""


def june(first: int, until: int) -> tuple[date, date]:
    """Days of June 2025; until 31 is its end."""
    return date(2025, 6, first), date(2025, 7, 1) if until == 31 else date(2025, 6, until)


def power(first: int, until: int, mwh: str = "300", **more: Any) -> Entry:
    """Purchased power of these days, on a bill whose digest is known."""
    given = Given(quantity(f"{mwh} MWh"), "declared", "bill", "b1" * 32, "周", proved=True)
    return Entry("24-08", *june(first, until), {"AD": given}, **more)


def metered(first: int, until: int, **more: Any) -> Entry:
    """Power that a meter counted over these days."""
    given = Given(quantity("300 MWh"), "metered", METER, "c1" * 32, proved=True)
    return Entry("24-08", *june(first, until), {"AD": given}, **more)


def account(
    *entries: Entry, in_use: tuple[InUse, ...] = (), day: int = 31, filled: tuple[Filled, ...] = ()
) -> Inventory:
    """June of S-1 with these entries, known up to the midnight that begins ``day``."""
    subject = Subject("S-1", "甲", "Works", "enterprise", "industry", GUIDE.id, in_use=in_use)
    through = periods.midnight(june(1, day)[1], ZONE)
    return draw.draw(subject, GUIDE, JUNE, LIBRARY, Drawn(entries, through, filled=filled))


def left(content: Inventory) -> list[str]:
    """The days that are left out, as an exception names them."""
    assert (days.LEFT_OUT in content.reasons) == bool(content.left_out)
    return list(days.named(content))


def test_a_bill_of_20_of_30_days_says_so_and_lowers_nothing() -> None:
    """300 MWh of 1 to 20 June: the same tonnes as 300 MWh of all of June, with ten days named."""
    part, whole = account(power(1, 21)), account(power(1, 31))
    assert left(part) == ["24-08 2025-06-21--2025-07-01"] and left(whole) == []
    assert part.totals == whole.totals and part.totals.total == Decimal("300") * part.lines[0].parameters[0].value
    assert days.covered(part.lines[0], part) == days.Covered(Decimal(20), 30, owing=True)
    assert days.covered(whole.lines[0], whole).whole
    assert b"left_out" not in msgspec.json.encode(whole), "what is not so is not written"
    told = account_show.explained(part)
    assert told["left_out"] == [{"line": "24-08", "start": "2025-06-21", "end": "2025-07-01"}]
    assert told["lines"][0]["covers"] == {"days": "20", "of": 30, "owing": True}
    assert draw.unconfirmed(part)[-1] == "activity.left-out: 24-08 2025-06-21--2025-07-01"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([power(1, 11), power(11, 31)], []),
        ([power(1, 11), power(15, 31)], ["24-08 2025-06-11--2025-06-15"]),
        ([power(3, 11), power(15, 29)], ["24-08 2025-06-01--2025-06-03", "24-08 2025-06-11--2025-06-15",
                                         "24-08 2025-06-29--2025-07-01"]),
        ([power(1, 31), power(1, 21, label="hall 2")], ["24-08/hall 2 2025-06-21--2025-07-01"]),
        ([metered(16, 31)], []),
        ([metered(1, 16)], []),
        ([metered(1, 11), metered(15, 31)], ["24-08 2025-06-11--2025-06-15"]),
        ([power(1, 16), metered(16, 31)], []),
        ([power(2, 16), metered(16, 31)], ["24-08 2025-06-01--2025-06-02"]),
        ([metered(1, 16), power(16, 21)], ["24-08 2025-06-21--2025-07-01"]),
    ],
)  # fmt: skip
def test_a_source_owes_every_day_but_those_before_and_after_its_meter(
    entries: list[Entry], expected: list[str]
) -> None:
    assert left(account(*entries)) == expected


@pytest.mark.parametrize(
    ("in_use", "expected"),
    [
        ([{"row": "24-08", "since": date(2025, 6, 12)}], []),
        ([{"row": "24-08", "since": date(2025, 6, 10)}], ["24-08 2025-06-10--2025-06-12"]),
        ([{"row": "24-08", "label": "hall 2", "since": date(2025, 6, 12)}], ["24-08 2025-06-01--2025-06-12"]),
        ([{"row": "24-01", "since": date(2025, 6, 12)}], ["24-08 2025-06-01--2025-06-12"]),
        ([{"since": date(2025, 6, 12)}], []),
        ([{"until": date(2025, 6, 4)}], ["24-08 2025-06-01--2025-06-04"]),
        ([{"until": date(2025, 6, 4)}, {"since": date(2025, 6, 12)}], ["24-08 2025-06-01--2025-06-04"]),
        ([{"since": date(2025, 6, 5)}, {"row": "24-08", "since": date(2025, 6, 12)}], []),
    ],
)
def test_days_on_which_it_was_not_in_use_are_not_owed(in_use: list[Mapping[str, Any]], expected: list[str]) -> None:
    """Power of 12 to 30 June. Two spans of one kind go together, what is said of the whole subject comes on top."""
    said = tuple(InUse(document="commissioning", **one) for one in in_use)
    assert left(account(power(12, 31), in_use=said)) == expected


def test_what_is_taken_off_owes_no_days() -> None:
    amounts = {name: Given(quantity(f"{mwh} MWh"), "imported", "GEC", proved=True) for name, mwh in
               (("proved", "10"), ("purchased", "300"))}  # fmt: skip
    green = Entry("24-10", *june(1, 6), amounts, proof="GEC-1")
    content = account(power(1, 31), green)
    assert content.totals.offset < 0 and left(content) == []
    assert [days.covered(line, content).days for line in content.lines] == [30, 5]


def test_while_a_period_runs_the_days_to_come_are_nobodys() -> None:
    assert left(account(power(1, 11), day=11)) == []
    assert left(account(power(1, 11), day=14)) == ["24-08 2025-06-11--2025-06-14"]


def test_time_of_a_meter_that_no_rule_fills_is_not_covered() -> None:
    """36 h of 30 days are open, the same hours of two symbols once; 12 h more are filled, and count: 28.5 days."""

    def gap(symbol: str, start: str, end: str, value: Decimal | None) -> Filled:
        at = [f"2025-06-{hour}:00:00+08:00" for hour in (start, end)]
        return Filled(
            "24-08", symbol, "0f/M-1/energy_import", *at, "none" if value is None else "ceiling", value, "MWh"
        )

    content = account(
        metered(1, 31),
        filled=(
            gap("AD", "03T00", "04T12", None),
            gap("EF", "04T00", "04T12", None),
            gap("AD", "09T00", "09T12", Decimal(1)),
        ),
    )
    assert days.covered(content.lines[0], content) == days.Covered(Decimal("28.5"), 30, owing=True)


@pytest.mark.parametrize(("since", "missing"), [(None, True), (date(2025, 6, 16), False)])
def test_a_meter_that_comes_in_the_month_has_a_gap_unless_the_subject_file_begins_it_there(
    since: date | None, missing: bool
) -> None:
    """The register stands at 1000 kWh at 0:00 on 16 June and at 1300 at the end of the month."""
    start, meter = periods.midnight(date(2025, 6, 16), ZONE), Meter("M-1", "energy_import", "24-08", "AD", since=since)
    opening, closing = Register(Decimal(1000), start, 0, 1), Register(Decimal(1300), JUNE.end, 0, 2)
    counted = Interval(
        *("M-1", "energy_import", "kWh", "meter/1", start, JUNE.end, True, opening, closing, Decimal(0)),
        *(Decimal(1), Decimal(300), 21600, 21600, "measured", JUNE.end, 60_000),
    )
    [(first, last)] = feeds.parts(meter, JUNE)
    fed = [feeds.Fed(meter, "0f", first, last, metering("M-1", [counted], first, last, through=JUNE.end))]
    drawn = Drawn(
        tuple(feeds.entries(fed)),
        JUNE.end,
        feeds.coverage(fed),
        feeds.filled(fed),
        tuple(feeds.reasons(fed, JUNE, JUNE.end)),
    )
    content = draw.draw(Subject("S-1", "甲", "Works", "enterprise", "industry", GUIDE.id), GUIDE, JUNE, LIBRARY, drawn)
    assert content.lines[0].activities[0].value == 300 and left(content) == []
    assert ("account.missing" in content.reasons) == missing
    assert days.covered(content.lines[0], content) == days.Covered(Decimal(15), 30, owing=missing)


def test_a_declared_amount_without_its_document_is_told_however_often_it_comes() -> None:
    """Six lines of one source, the later ones made in bulk: each says so, or none does; signed ones never."""
    word = Given(quantity("30 MWh"), "declared", "bill", "f1" * 32, "周")
    for given, told in (
        (word, True),
        (msgspec.structs.replace(word, proved=True), False),
        (msgspec.structs.replace(word, grade="imported", proved=True), False),
    ):
        found = account(*(Entry("24-08", *june(1 + 5 * n, 6 + 5 * n), {"AD": given}) for n in range(6)))
        assert [UNDOCUMENTED in line.reasons for line in found.lines] == [told] * 6
        assert (UNDOCUMENTED in found.reasons) == told and left(found) == []
        names = [name for name in draw.unconfirmed(found) if name.startswith(UNDOCUMENTED)]
        assert len(names) == 6 * told and (not told or names[1] == "activity.undocumented: 24-08 2025-06-06")


def test_an_account_is_drawn_up_again_from_its_lines_with_all_that_it_tells() -> None:
    one, other = (Given(quantity("10 1e4Nm3"), "declared", "bill", by="周", proved=proved) for proved in (True, False))
    gas = [
        Entry("24-01", *june(1, 31), {"FC": given}, "natural_gas", name, file=name)
        for given, name in ((one, "a"), (other, "b"))
    ]
    content = account(*gas, power(1, 21))
    assert {"activity.beside", UNDOCUMENTED, days.LEFT_OUT} <= set(content.reasons)
    subject = Subject("S-1", "甲", "Works", "enterprise", "industry", GUIDE.id)
    assert restated.redrawn(content, subject, GUIDE, LIBRARY) == content
    silent = msgspec.structs.replace(content, left_out=msgspec.UNSET)
    assert restated.redrawn(silent, subject, GUIDE, LIBRARY) == content, "what it keeps to itself comes out again"


def test_an_account_of_the_engine_before_stays_what_it_was() -> None:
    old = inventory.inventory_from(OLD.read_bytes())
    assert old.digest == "b410958132053330810a022bc781914dae5990cc5ac478746d46aeef3240d707"
    subject = Subject("S-1", "旧账", "Old account", "enterprise", "industry", GUIDE.id)
    assert restated.redrawn(old, subject, GUIDE, LIBRARY).digest == old.digest
    anew = restated.redrawn(msgspec.structs.replace(old, engine=inventory.ENGINE), subject, GUIDE, LIBRARY)
    assert list(days.named(anew)) == ["24-08 2025-06-21--2025-07-01"] and anew.totals == old.totals
    unknown = msgspec.structs.replace(old, engine="account/9")
    with pytest.raises(AccountError, match="engine account/9, expected account/2 or account/3"):
        restated.redrawn(unknown, subject, GUIDE, LIBRARY)


def test_the_name_of_the_engine_alone_is_no_other_account() -> None:
    content = account(power(1, 31))
    renamed = tuple(msgspec.structs.replace(line, engine="lines/1") for line in content.lines)
    before = msgspec.structs.replace(content, engine="account/2", lines=renamed)
    assert before.digest != content.digest and inventory.same(content, before)
    other = msgspec.structs.replace(before, estimated=Decimal("0.5"))
    assert not inventory.same(content, other)


def test_a_month_with_days_left_out_is_not_compared() -> None:
    part = headline.extent(account(power(1, 21)))
    whole = headline.extent(account(power(1, 31)))
    assert headline.LEFT_OUT in headline.compared([part], [whole], "yoy").reasons
    assert headline.LEFT_OUT in headline.compared([whole], [part], "yoy").reasons
    assert headline.LEFT_OUT not in headline.compared([whole], [whole], "yoy").reasons


def test_what_was_not_reckoned_was_not_saved() -> None:
    """A baseline of 1000 t: with ten days of June left out nothing is said of a reduction."""
    baseline = Baseline("B-1", "2024-06", "1000", GUIDE.id, "report", "b2" * 32)
    part, whole = account(power(1, 21)), account(power(1, 31))
    saved = headline.reduction([whole], [baseline], JUNE)
    assert saved.tco2e == 1000 - whole.totals.total and saved.reasons == ()
    unsaid = headline.reduction([part], [baseline], JUNE)
    assert (unsaid.tco2e, unsaid.reasons) == (None, (headline.LEFT_OUT,))


HEAD = tables.subject_file(tables.subject("S-1", '[[subject.in_use]]\ndocument = "report"\n'))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("", "neither from nor until"),
        ("from = 2025-06-12\nuntil = 2025-06-12\n", "a day after"),
        ('from = 2025-06-12\nlabel = "hall 2"\n', "the row of its item or label"),
    ],
)
def test_a_use_that_says_nothing_is_refused(more: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        subject_file.read("s.toml", (HEAD + more).encode())


def test_a_use_is_of_a_row_that_the_method_has() -> None:
    read = subject_file.read("s.toml", (HEAD + 'from = 2025-06-12\nrow = "24-99"\n').encode())
    with pytest.raises(ConfigError, match=r"in_use\[0\]\.row"):
        subject_file.bind(read.subjects["S-1"], GUIDE)


@pytest.mark.parametrize(
    ("meter", "in_use", "told"),
    [
        ((), (), True),
        ((Meter("M-1", "energy_import", "24-08", "AD", until=date(2025, 7, 1)),), (), False),
        ((Meter("M-1", "energy_import", "24-08", "AD", until=date(2025, 7, 2)),), (), True),
        ((), (InUse("d", row="24-08", until=date(2025, 7, 1)),), False),
        ((), (InUse("d", row="24-08", until=date(2025, 7, 10)),), True),
        ((), (InUse("d", row="24-08", since=date(2025, 8, 1)), InUse("d", until=date(2025, 6, 30))), False),
        ((), (InUse("d", row="24-01", until=date(2025, 7, 1)),), True),
    ],
)
def test_a_source_is_absent_unless_it_was_not_there(
    meter: tuple[Meter, ...], in_use: tuple[InUse, ...], *, told: bool
) -> None:
    """June was metered; of July there is coal alone."""
    before, july = account(metered(1, 31)), periods.parse("2025-07", ZONE)
    subject = Subject("S-1", "甲", "Works", "enterprise", "industry", GUIDE.id, meter=meter, in_use=in_use)
    coal = Given(quantity("100 t"), "imported", "weighbridge", "d1" * 32, proved=True)
    entry = Entry("24-01", *july.days(), {"FC": coal}, item="anthracite")
    content = draw.draw(subject, GUIDE, july, LIBRARY, Drawn((entry,), july.end))
    assert list(days.absent(content, [before, before], subject)) == ([("24-08", "2025-06")] if told else [])
    assert not list(days.absent(content, [content], subject)), "what it has is not absent"
