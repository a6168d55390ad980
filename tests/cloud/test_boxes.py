"""The boxes of the overview: what there is to do now, and where accounts are filed. Only what is known is said."""

import html
import re
from collections.abc import Iterator
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import pytest

from cloud import accounts, early_warning, factor_shelf, subjects
from cloud.accounting import filing, subject_file
from cloud.accounting.subject import Filing
from cloud.city import City
from protocols.errors import ConfigError
from tests.cloud import tables

HTML = {"accept": "text/html"}
DAY = "2026-10-03"
WORKS = tables.works(tables.energy("M-01"))
FILED = """
[[subject.filing]]
zh = "省平台"
en = "the province"
every = "day"
due = "1d"
from = 2026-10-03
[[subject.filing]]
zh = "市平台"
en = "the city"
every = "day"
by = "feed"
from = 2026-10-03
"""


@pytest.fixture
def works(full: Any, tmp_path: Any) -> Iterator[Any]:
    """A copy of the collector with real signed blocks, whose day is over and has no account yet."""
    with full[0].copied(tmp_path) as found:
        yield found


def take(house: Any, more: str = FILED) -> None:
    subjects.take(house.store, "works.toml", (WORKS + more).encode(), by="w", now=house.now)


def close(house: Any) -> str:
    library = factor_shelf.library(None)
    return str(accounts.close(house.store, library, "WORKS", accounts.period_of(DAY), house.now).reference)


def part(house: Any, name: str, lang: str = "zh", path: str = "/") -> str:
    """A box as it stands on a page, in plain text with its links; each of them leads somewhere."""
    answer = house.client.get(f"{path}?lang={lang}", headers=HTML)
    assert answer.status_code == 200, answer.text
    box = answer.text.partition(f'id="{name}')[2].partition("</section>")[0]
    for link in re.findall(r'href="([^"]+)"', box):
        to = urlsplit(html.unescape(link))
        if to.path and "report.pdf" not in to.path:
            found = house.client.get(f"{to.path}?{to.query}" if to.query else to.path, headers=HTML)
            assert found.status_code == 200, link
        if to.fragment:
            assert f'id="{to.fragment}"' in (found if to.path else answer).text, link
    return html.unescape(box)


def test_a_site_of_nobody_says_that_a_subject_file_is_wanted(works: Any) -> None:
    assert "account subject import" in part(works, "todo", "en")
    assert 'id="filing' not in works.client.get("/", headers=HTML).text


def test_a_subject_file_that_has_rotted_is_named_on_the_page_of_its_site(works: Any) -> None:
    take(works)
    with works.store.writing() as db:
        db.execute("UPDATE journal SET body = x'00' WHERE kind = 'file'")
    answer = works.client.get("/?lang=en", headers=HTML)
    assert answer.status_code == 200 and "WORKS</strong> subject file" in answer.text


@pytest.mark.parametrize(("lang", "said"), [("zh", "没有写明"), ("en", "declares no destination")])
def test_without_a_destination_the_box_says_how_to_declare_one(works: Any, lang: str, said: str) -> None:
    take(works, "")
    box = part(works, "filing", lang)
    assert said in box and "[[subject.filing]]" in box


def test_a_filing_goes_from_no_account_over_provisional_to_locked_and_says_what_is_missing(works: Any) -> None:
    take(works)
    box, todo = part(works, "filing"), part(works, "todo")
    assert box.count("未出具") == 2 and "还没有 2026-10-03 的核算" in box and "2026-10-04" in box
    assert "上报“省平台”2026-10-03，2026-10-04 截止" in todo and "市平台" not in todo
    reference = close(works)
    box = part(works, "filing")
    assert "暂估" in box and "差 2 人签字（已签：–）" in box and "可取" in box
    entry = works.store.entry_head("account", reference.partition("@")[0])
    assert f"更正流第 {entry.number} 条" in box
    cursor = re.search(r'href="(/v1/corrections[^"]+)"', box)
    assert cursor is not None
    told = works.client.get(cursor[1]).json()["data"][0]
    assert (told["seq"], told["id"]) == (entry.number, reference.partition("@")[0])
    accounts.lock(works.store, reference, ["张"], works.now, closure="exceptions")
    assert "差 1 人签字（已签：张）" in part(works, "filing") and "还差 1 人签字" in part(works, "todo")
    accounts.lock(works.store, reference, ["李"], works.now, closure="exceptions")
    box, todo = part(works, "filing"), part(works, "todo")
    assert "已锁定，可上报" in box and "report.pdf" in box and "项例外" in box and "/evidence" in box
    assert "签字" not in todo and "省平台" not in todo
    with works.store.writing() as db:
        db.execute("UPDATE closed_intervals SET readings = readings + 1, ingest_seq = ingest_seq + 1000000")
    box = part(works, "filing")
    assert "report.pdf" in box and "/evidence" not in box


def test_what_is_due_gets_late_and_earlier_periods_are_counted(works: Any) -> None:
    take(works)
    works.now += 3 * 86_400_000
    box = part(works, "filing", "en")
    assert "2026-10-06" in box and "earlier periods are not ready, the oldest 2026-10-03" in box
    works.now += 60_000
    take(works, FILED.replace('due = "1d"\nfrom = 2026-10-03', 'due = "1d"\nfrom = 2026-10-03\nuntil = 2026-10-04'))
    box, todo = part(works, "filing", "en"), part(works, "todo", "en")
    assert "3 d late" in box and "urgent" in todo and "overdue (2026-10-04)" in todo


def test_warnings_drafts_silent_gateways_and_lost_meters_are_things_to_do(works: Any) -> None:
    take(works, 'target = [{ year = 2026, tco2e = "0.001", kind = "quota" }]\n')
    reference = close(works)
    early_warning.watch(City(works.store), 0, works.now)
    todo = part(works, "todo", path=f"/accounts/{reference}")
    (alarm,) = early_warning.listing(works.store, "WORKS", standing=True)
    assert f"account acknowledge {alarm.id}" in todo and "草稿" in todo and "factor adopt" in todo
    assert "没有上报" not in todo
    early_warning.acknowledge(works.store, alarm.id, "张", "扩产已报批", works.now)
    assert alarm.id not in part(works, "todo")
    works.now += 3_600_000
    assert "没有上报" in part(works, "todo") and "/gateways/" in part(works, "todo")
    lost = WORKS.replace("M-01", "M-77") + 'target = [{ year = 2026, tco2e = "0.001", kind = "quota" }]\n'
    subjects.take(works.store, "works.toml", lost.encode(), by="w", now=works.now)
    assert "M-77.energy_import" in part(works, "todo")


def test_the_demo_city_files_and_has_things_to_do(town: Any) -> None:
    page = "/accounts/A-E-08-2026-10"
    assert "示例省重点用能单位平台" in part(town, "filing", path=page)
    todo = part(town, "todo", path=page)
    assert "tanmeter account close E-08 2026-11" in todo and "urgent" not in todo
    assert f">{todo.count('<tr>') - 1} 件<" in town.client.get(f"{page}?lang=zh", headers=HTML).text


def made(every: Any, due: str, **more: Any) -> Filing:
    return Filing("a", "b", every, date(2026, 1, 1), due, **more)


@pytest.mark.parametrize(
    ("one", "start", "expected"),
    [
        (made("month", "10d"), date(2026, 10, 1), date(2026, 11, 10)),
        (made("month", "40d"), date(2026, 12, 1), date(2027, 2, 9)),
        (made("year", "03-31"), date(2027, 1, 1), date(2028, 3, 31)),
        (made("year", "90d"), date(2027, 1, 1), date(2028, 3, 30)),
        (made("day", "1d"), date(2026, 2, 28), date(2026, 3, 1)),
        (made("day", ""), date(2026, 2, 28), None),
    ],
)
def test_a_day_is_reckoned_from_the_last_of_the_period(one: Filing, start: date, expected: date | None) -> None:
    assert filing.due(one, start) == expected


def test_only_periods_that_are_over_and_asked_for_are_filed() -> None:
    assert list(filing.periods(made("month", ""), date(2026, 3, 1))) == ["2026-02", "2026-01"]
    assert list(filing.periods(made("month", "", until=date(2026, 2, 1)), date(2026, 3, 1))) == ["2026-01"]
    assert list(filing.periods(made("year", ""), date(2026, 12, 31))) == []
    assert filing.running(made("year", ""), date(2026, 12, 31)) == "2026"
    assert filing.running(made("month", "", until=date(2026, 2, 1)), date(2026, 3, 1)) == ""
    assert len(list(filing.periods(made("month", ""), date(2030, 1, 1)))) == filing.BACK["month"]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('due = "1d"', 'due = "40"', "filing[0].due"),
        ('due = "1d"', 'due = "03-31"', "filing[0].due"),
        ('every = "day"\ndue = "1d"', 'every = "year"\ndue = "02-29"', "filing[0].due"),
        ('every = "day"\ndue = "1d"', 'every = "year"\ndue = "13-01"', "filing[0].due"),
        ('every = "day"\ndue = "1d"', 'every = "week"', "week"),
        ('by = "feed"', 'by = "pigeon"', "pigeon"),
        ('zh = "省平台"', 'zh = " "', "filing[0].zh"),
        ('zh = "省平台"', 'zh = "市平台"', "filing[1].zh"),
        ("from = 2026-10-03", "from = 2026-10-03\nuntil = 2026-10-03", "filing[0].until"),
        ('method = "ndrc-24-2015"\n', "", "filing[0]"),
        ("due", "dues", "dues"),
    ],
)
def test_a_malformed_filing_is_refused_with_its_place(old: str, new: str, named: str) -> None:
    source = (WORKS + FILED).replace(old, new, 1)
    assert source != WORKS + FILED
    with pytest.raises(ConfigError, match=re.escape(named)):
        subject_file.read("works.toml", source.encode())


def test_a_filing_at_the_head_of_a_file_is_everybodys_who_has_a_method() -> None:
    head = FILED.replace("subject.filing", "filing")
    park = '[[subject]]\nid = "P"\nzh = "园区"\nen = "Park"\nkind = "park"\ncategory = "park"\n'
    found = subject_file.read("works.toml", (WORKS.replace("[[subject]]", head + "[[subject]]", 1) + park).encode())
    assert [one.en for one in found.subjects["WORKS"].filing] == ["the province", "the city"]
    assert found.subjects["P"].filing == ()
