"""Certificates together never take off more than was purchased, whatever each of them says."""

from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from cloud.accounting import draw as drawing
from cloud.accounting import library as libraries
from cloud.accounting import method, offsets
from cloud.accounting import period as periods
from cloud.accounting.draw import Drawn, draw
from cloud.accounting.given import Entry, Given
from cloud.accounting.inventory import Inventory
from cloud.accounting.subject import Subject
from cloud.accounting.units import quantity

METHOD = method.get("ndrc-24-2015")
SUBJECT = Subject("S-1", "示例", "Example", "enterprise", "industry", METHOD.id)
MARCH = (date(2023, 3, 1), date(2023, 4, 1))
APRIL = (date(2023, 4, 1), date(2023, 5, 1))


def entry(row: str, days: tuple[date, date], label: str = "", **given: str) -> Entry:
    values = {name: Given(quantity(f"{text} MWh"), "declared", "bill") for name, text in given.items()}
    return Entry(row, *days, values, label=label, proof=f"GEC-{label}-{days[0]}")


def account(*entries: Entry) -> Inventory:
    spring = periods.parse("2023-03-01--2023-05-01", ZoneInfo("Asia/Shanghai"))
    return draw(SUBJECT, METHOD, spring, libraries.build(), Drawn(entries, spring.end))


def green(days: tuple[date, date], proved: str, label: str = "") -> Entry:
    return entry("24-10", days, label, proved=proved, purchased="1000")


@pytest.mark.parametrize(
    ("entries", "beyond"),
    [
        ([entry("24-08", MARCH, AD="1000"), green(MARCH, "400", "a"), green(MARCH, "600", "b")], False),
        ([entry("24-08", MARCH, AD="1000"), green(MARCH, "500", "a"), green(MARCH, "600", "b")], True),
        ([green(MARCH, "1")], True),
        ([entry("24-08", APRIL, AD="1000"), green(MARCH, "400")], True),
        ([entry("24-08", MARCH, AD="200"), entry("24-08", APRIL, AD="1000"), green(APRIL, "900")], False),
        ([entry("24-08", MARCH, AD="900"), entry("24-09", MARCH, AD="300"), green(MARCH, "800")], False),
        ([entry("24-08", MARCH, AD="900")], False),
    ],
    ids=["all of it", "two too much", "a purchase left out", "another month", "its own month", "sold besides", "none"],
)
def test_certificates_beyond_the_purchase_keep_an_inventory_from_being_complete(
    entries: list[Entry], beyond: bool
) -> None:
    found = account(*entries)
    assert (offsets.BEYOND in found.reasons) == (offsets.BEYOND in drawing.unconfirmed(found)) == beyond
    if not beyond:
        assert found.totals.indirect + found.totals.offset >= -300 * Decimal("0.5306")
