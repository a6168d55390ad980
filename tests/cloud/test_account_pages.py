"""Pages, reports and lists of the accounts: an invented city in a real store, seen in both languages."""

import csv
import html
import io
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import openpyxl
import pypdf
import pytest

from cloud import accounts, activities, early_warning, factor_shelf, reports, subjects
from cloud.city import City
from cloud.pages import city as city_pages
from cloud.pages import render
from protocols import messages
from protocols.errors import ActivityError
from tests.cloud import tables
from tests.cloud.page import Page

HTML = {"accept": "text/html"}
REF = "A-E-08-2026-10@1"
PAGES = (
    "/accounts",
    "/city",
    "/city?by=intensity",
    f"/accounts/{REF}",
    f"/accounts/{REF}/flow",
    "/accounts/A-E-21-2026-09",
)


def see(town: Any, path: str, lang: str = "zh") -> str:
    joint = "&" if "?" in path else "?"
    response = town.client.get(f"{path}{joint}lang={lang}", headers=HTML)
    assert response.status_code == 200, f"{path}: {response.status_code} {response.text[:300]}"
    return str(response.text)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_link_of_the_accounts_leads_somewhere(town: Any, lang: str) -> None:
    seen = set()
    for path in PAGES:
        page = Page(see(town, path, lang))
        assert not page.open and not page.inline
        for link in page.links:
            to = urlsplit(urljoin(path, link))
            if not to.netloc and to.path not in seen and "report." not in to.path:
                seen.add(to.path)
                found = town.client.get(to.path + (f"?{to.query}" if to.query else ""), headers=HTML)
                assert found.status_code == 200, f"{path} -> {link}: {found.status_code}"
    assert len(seen) > 40


def test_the_page_of_an_account_says_its_total_why_it_changed_and_that_nothing_is_confirmed(town: Any) -> None:
    version = accounts.get(town.store, REF)
    text = see(town, f"/accounts/{REF}")
    assert f"{version.content.totals.total:,.2f}".replace(",", "\u202f") in text
    assert "2026-09" in text
    assert "因子未核实" in text
    assert all(line.digest[:16] in text for line in version.content.lines)
    assert "±0.0" not in text


def test_a_line_opens_with_its_formula_values_and_a_recomputation(town: Any) -> None:
    line = accounts.get(town.store, REF).content.lines[0]
    text = see(town, f"/accounts/{REF}/lines/{line.digest[:16]}")
    assert all(part in text for part in (line.formula, line.parameters[0].id, line.digest, "重算一致"))
    assert town.client.get(f"/accounts/{REF}/lines/{'0' * 16}", headers=HTML).status_code == 404


WORKS = tables.works(tables.energy("M-01"))


GAS = tables.activity_file(
    "WORKS", tables.fuel("natural_gas", "10 1e4Nm3", "2026-10-01", "2026-10-02", 'label = "boiler"')
)


@pytest.fixture(scope="module")
def works(full: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A copy of the collector with real signed blocks, to have accounts in."""
    with full[0].copied(tmp_path_factory.mktemp("works")) as found:
        yield found


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_metered_line_leads_to_the_frames_of_its_registers(works: Any, lang: str) -> None:
    house = works
    subjects.take(house.store, "works.toml", WORKS.encode(), by="w", now=house.now)
    library = factor_shelf.library(None)
    version = accounts.close(house.store, library, "WORKS", accounts.period_of("2026-10-03"), house.now)
    (line,) = version.content.lines
    assert line.activities[0].grade == "metered"
    page = Page(see(house, f"/accounts/{version.reference}/lines/{line.digest[:16]}", lang))
    blocks = [link for link in page.links if link.startswith("/blocks/")]
    assert len(blocks) == 2
    for link in [*blocks, *(link for link in page.links if link.startswith(("/meters/", "/statements/")))]:
        assert house.client.get(link, headers=HTML).status_code == 200


def test_evidence_is_offered_just_where_it_is_to_be_had(works: Any, tmp_path: Path) -> None:
    """What came late changed the intervals that a version rests on: nobody can show any more what it was drawn from."""
    with works.copied(tmp_path) as house:
        subjects.take(house.store, "works.toml", WORKS.encode(), by="w", now=house.now)
        period = accounts.period_of("2026-10-03")
        version = accounts.close(house.store, factor_shelf.library(None), "WORKS", period, house.now)
        api = f"/v1/accounts/{version.reference}"
        line = f"/accounts/{version.reference}/lines/{version.content.lines[0].digest[:16]}"

        def offered() -> set[str | None]:
            listed = house.client.get("/v1/accounts").json()["data"]
            told = [house.client.get(api).json(), *house.client.get(api).json()["versions"]]
            links = [Page(see(house, path)).links for path in (f"/accounts/{version.reference}", line)]
            found = [next((link for link in each if link.endswith("/evidence")), None) for each in links]
            return {*(one["evidence"] for one in (*listed, *told)), *(one and one.replace("%40", "@") for one in found)}

        assert offered() == {f"{api}/evidence"} and house.client.get(f"{api}/evidence").status_code == 200
        with house.store.writing() as db:
            db.execute("UPDATE closed_intervals SET readings = readings + 1, ingest_seq = ingest_seq + 1000000")
        assert house.client.get(f"{api}/evidence").status_code == 409
        assert offered() == {None}
        assert "tanmeter account close" in see(house, line) and "has one" in see(house, line, "en")


def test_the_evidence_of_a_day_that_runs_is_not_offered(works: Any) -> None:
    told = works.client.get("/v1/emissions/E-S-DEMO-2026-10-04/explain").json()
    assert (told["version"], told["evidence"]) == (0, None)
    assert works.client.get("/v1/evidence/E-S-DEMO-2026-10-04").status_code == 409


@pytest.mark.parametrize(("lang", "told"), [("zh", "未签发"), ("en", "not issued")])
def test_a_month_that_runs_is_shown_as_it_stands_now_whatever_was_issued_of_it(
    works: Any, lang: str, told: str
) -> None:
    subjects.take(works.store, "works.toml", WORKS.encode(), by="w", now=works.now)
    name, library = "A-WORKS-2026-10", factor_shelf.library(None)
    none = {"zh": "还没有出具过版本", "en": "No version has been issued yet"}[lang]
    assert none in see(works, "/accounts/A-WORKS-2026", lang)
    early = accounts.close(works.store, library, "WORKS", accounts.period_of("2026-10"), works.now)
    assert none not in see(works, f"/accounts/{name}", lang)
    activities.declare(works.store, f"gas-{lang}.toml", GAS.replace("boiler", lang).encode(), by="w", now=works.now)
    now = works.client.get(f"/v1/accounts/{name}").json()
    assert (now["version"], now["open"], now["supersedes"]) == (0, True, early.version)
    assert Decimal(now["total"]["value"]) > early.content.totals.total
    issued = works.client.get(f"/v1/accounts/{early.reference}").json()
    assert Decimal(issued["total"]["value"]) == early.content.totals.total
    page = see(works, f"/accounts/{name}", lang)
    assert told in page and f'href="/v1/accounts/{name}/evidence"' not in page
    assert f'href="/accounts/{name}"' in see(works, f"/accounts/{early.reference}", lang)
    assert f'href="/accounts/{name}"' in see(works, "/accounts", lang)
    for link in Page(page).links:
        if link.startswith("/"):
            assert works.client.get(link, headers=HTML).status_code == 200, link


def test_the_city_opens_with_the_newest_month_that_is_over(town: Any) -> None:
    """In the middle of October September is shown, though somebody's October has an account already."""
    city, ask = City(town.store), city_pages.Ask(None, None, "total")
    middle = accounts.period_of("2026-10-15").start
    assert city_pages.view(city, middle, ask, "zh").period == "2026-09"
    assert city_pages.view(city, accounts.period_of("2026-11-01").start, ask, "zh").period == "2026-10"


def test_the_city_ranks_everybody_and_its_csv_says_the_same(town: Any) -> None:
    text = see(town, "/city?period=2026-10", "en")
    ranked = text.partition('id="table-ranking"')[2]
    assert ranked.index("Example Steel") < ranked.index("Example Cement") < ranked.index("Example Hospital")
    rows = town.client.get("/city.csv?period=2026-10").text.splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["E-03", "E-08", "E-24", "E-21"]


@pytest.mark.parametrize("by", ["total", "intensity", "change", "quality"])
@pytest.mark.parametrize("boundary", ["C-01", "D-01"])
def test_page_csv_and_api_rank_alike(town: Any, boundary: str, by: str) -> None:
    asked = f"boundary={boundary}&period=2026-10&by={by}"
    told = town.client.get(f"/v1/rankings?{asked}").json()["data"]
    text = town.client.get(f"/city.csv?{asked}").text.removeprefix("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text)))
    kept = [(row["rank"], row["subject"], Decimal(row["tCO2e"]), row["grade"], row["account"]) for row in rows]
    assert kept == [
        ("" if one["place"] is None else str(one["place"]), one["subject"], Decimal(one["tco2e"]), one["grade"],
         one["account"])
        for one in told
    ]  # fmt: skip
    shown = re.findall(
        r'<td data-th="#">([^<]*)</td>\s*<td[^>]*><a href="/accounts/([^"]+)"', see(town, f"/city?{asked}")
    )
    assert shown == [(row["rank"] or "–", row["account"].replace("@", "%40")) for row in rows]
    if by == "change":
        moved = [Decimal(row["change"]) - Decimal(one["value"]) / 100 for row, one in zip(rows, told, strict=True)]
        assert len(moved) > 1 and all(abs(one) < Decimal("1e-8") for one in moved)


def test_a_change_is_against_the_month_before_and_says_why_there_is_none(town: Any) -> None:
    first = see(town, "/city?period=2026-09", "en")
    assert first.count('title="there is no account of the period before"') == 4
    year = see(town, "/city?period=2026", "en")
    assert "Example Steel" in year and 'href="/accounts/A-E-03' not in year, "two accounts are no one reference"
    assert town.client.get("/city?period=2026-13", headers=HTML).status_code == 422


def test_a_boundary_has_its_members_its_bridge_and_its_tree(town: Any) -> None:
    whole, district = see(town, "/city?period=2026-10"), see(town, "/city?boundary=D-04&period=2026-10")
    hospital = accounts.get(town.store, "A-E-21-2026-10").content.totals
    assert f"{hospital.total:,.0f}".replace(",", "\u202f") in district
    assert "示例医院" in district and "示例钢铁" not in district
    assert "工业生产过程碳排放总量指标" in whole and "工业生产过程碳排放总量指标" not in district
    assert town.client.get("/city?boundary=NOBODY", headers=HTML).status_code == 404


def test_the_districts_on_the_map_sum_to_the_city_and_open_their_own_page(town: Any) -> None:
    found = re.findall(
        r'data-v="([0-9.]+)" data-grade="([A-D])" data-href="([^"]+)" data-outline="([^"]+)"',
        see(town, "/city?period=2026-10"),
    )
    assert len(found) > 1 and all(len(outline.split()) >= 3 for *_, outline in found)
    net = City(town.store).look("C-01", accounts.period_of("2026-10")).bridge.net
    assert sum(Decimal(total) for total, *_ in found) == net
    assert town.client.get(html.unescape(found[0][2]), headers=HTML).status_code == 200


def test_what_is_declared_is_graded_d_and_left_out_of_the_ranking_by_intensity(town: Any) -> None:
    rows = town.client.get("/city.csv?period=2026-10&by=intensity").text.splitlines()
    assert {row.split(",")[8] for row in rows[1:]} == {"D"}


@pytest.mark.parametrize("kind", ["enterprise", "supplementary", "plan"])
def test_reports_come_over_http(town: Any, kind: str) -> None:
    answer = town.client.get(f"/v1/accounts/{REF}/report.pdf?kind={kind}&lang=zh")
    assert answer.status_code == 200
    words = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(answer.content)).pages)
    assert "示例水泥" in words
    sheet = town.client.get(f"/v1/accounts/{REF}/report.xlsx?kind={kind}")
    assert openpyxl.load_workbook(io.BytesIO(sheet.content)).sheetnames


def test_the_summary_of_a_district_is_its_bridge_its_tree_and_its_members(town: Any) -> None:
    answer = town.client.get("/v1/boundaries/D-01/report.pdf?period=2026-10")
    words = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(answer.content)).pages)
    total = sum(accounts.get(town.store, f"A-{name}-2026-10").content.totals.total for name in ("E-03", "E-08"))
    assert f"{total:,.2f}" in words
    assert "示例钢铁" in words and "示例医院" not in words
    assert "E-01 示例热电" in words and "不完整" in words, "who has no account is named, and the figure is no total"
    year = town.client.get("/v1/boundaries/D-01/report.xlsx?period=2026").content
    cells = [cell for sheet in openpyxl.load_workbook(io.BytesIO(year)) for row in sheet.values for cell in row]
    assert "A-E-03-2026-09@1" in cells and "A-E-03-2026-10@1" in cells, "a year is made of its months"
    none = town.client.get("/v1/boundaries/D-01/report.pdf?period=2031-10")
    assert (none.status_code, none.json()["code"]) == (409, "ACC-801"), "nothing known is not nothing emitted"
    assert town.client.get("/v1/boundaries/NOBODY/report.pdf?period=2026-10").status_code == 404
    assert town.client.get("/v1/boundaries/D-01/report.pdf?period=2026-13").status_code == 422


def test_what_is_not_there_is_a_problem_with_its_code(town: Any) -> None:
    answer = town.client.get("/v1/accounts/A-NOBODY-2026-10/report.pdf")
    assert (answer.status_code, answer.json()["code"]) == (404, "ACC-802")


def test_a_meter_below_a_main_meter_is_never_counted_beside_it(works: Any) -> None:
    """M-02 hangs below M-01 in the signed site file; a subject file that calls both main would count it twice."""
    house = works
    both = WORKS.replace(
        "meter = [", 'meter = [{ device = "M-02", point = "energy_import", row = "24-08", symbol = "AD" }, '
    )
    subjects.take(house.store, "twice.toml", both.encode(), by="w", now=house.now)
    with pytest.raises(ActivityError, match="found M-02 as a main meter below M-01"):
        accounts.close(house.store, factor_shelf.library(None), "WORKS", accounts.period_of("2026-10-03"), house.now)


def test_a_quota_that_burns_down_stands_on_the_page_until_it_is_over(works: Any) -> None:
    quota = WORKS + 'target = [{ year = 2026, tco2e = "0.001", kind = "quota" }]\n'
    subjects.take(works.store, "quota.toml", quota.encode(), by="w", now=works.now)
    accounts.close(works.store, factor_shelf.library(None), "WORKS", accounts.period_of("2026-10"), works.now)
    assert early_warning.watch(City(works.store), 0, works.now)[1]
    (warning,) = early_warning.listing(works.store, "WORKS", standing=True)
    text = see(works, "/accounts/A-WORKS-2026-10", "zh")
    assert "2026 年配额" in text and ">严重<" in text
    early_warning.acknowledge(works.store, warning.id, "张", "扩产已报批", works.now)
    assert early_warning.listing(works.store, "WORKS", standing=True)[0].by == "张"
    assert ">严重 · 已确认<" in see(works, "/accounts/A-WORKS-2026-10", "zh")


def test_the_figures_of_a_warning_are_in_groups_of_three_and_its_years_and_names_are_not() -> None:
    figures = {"year": "2026", "amount": "1234567", "emitted": "60000.5 (≈ 61234)", "path": "999", "days": "1234",
               "until": "2030-12-31"}  # fmt: skip
    said = render.finding("warning.quota", "en", figures).replace("\u202f", " ")
    assert "2026, 1 234 567 tCO2e: 60 000.5 (≈ 61 234) emitted, 999 on" in said
    assert "lasts 1 234 days (until 2030-12-31)" in said
    shared = {"meter": "2025", "gateway": "1234" * 8, "others": "1001, 1002", "since": "2026-10-03", "until": "–"}
    assert render.finding("warning.shared", "zh", shared) == messages.text("warning.shared", "zh", **shared)


@pytest.fixture
def little(house: Any) -> Any:
    """A city of a thousand people with a mill that has used up its quota."""
    people = 'value = "1000 person"\nperiod = "2026-08"\ndocument = "census"\n'
    inside = 'membership = [{ of = "CITY", from = 2020-01-01 }]\n'
    quota = 'target = [{ year = 2026, tco2e = "1000.5", kind = "quota" }]\n'
    counted = f'[[subject.denominator]]\nkind = "population"\n{people}'
    whole = tables.subject("CITY", counted, kind="city", category="park", method="", zh="城市", en="City")
    mill = tables.subject("MILL", inside + quota, zh="面粉厂", en="The mill")
    subjects.take(house.store, "city.toml", tables.subject_file(whole, mill).encode(), by="w", now=house.now)
    bill = tables.activity_file("MILL", tables.fuel("natural_gas", "10 1e4Nm3", "2026-08-01", "2026-09-01"))
    activities.declare(house.store, "bill.toml", bill.encode(), by="w", now=house.now)
    accounts.close(house.store, factor_shelf.library(None), "MILL", accounts.period_of("2026-08"), house.now)
    assert early_warning.watch(City(house.store), 0, house.now)[1]
    return house


def test_a_warning_of_the_city_says_whose_it_is_and_leads_there(little: Any) -> None:
    alarm = see(little, "/city?period=2026-08", "en").partition('class="card alarm"')[2].partition("</section>")[0]
    assert '<a href="/accounts/A-MILL-2026-08%401#warnings"><span>The mill MILL</span></a>' in alarm
    assert re.search(r">20\d\d-\d\d-\d\d \d\d:\d\d<", alarm) and "quota of 2026, 1\u202f000.5 tCO2e" in alarm
    assert 'id="warnings"' in see(little, "/accounts/A-MILL-2026-08@1")


def test_the_standing_of_a_factor_is_in_the_readers_language(little: Any) -> None:
    page = Page(see(little, "/accounts/A-MILL-2026-08@1"))
    (path,) = [link for link in page.links if "/lines/" in link and "csv" not in link][:1]
    shown = {lang: re.sub(r"<[^>]+>", " ", see(little, path, lang)) for lang in ("zh", "en")}
    assert "待核对" in shown["zh"] or "转录自原文" in shown["zh"]
    assert not re.search(r"DRAFT|TRANSCRIBED|REVIEWED|RETIRED", shown["zh"] + shown["en"])


def test_units_of_intensities_are_in_the_readers_language(little: Any) -> None:
    assert (render.unit("tCO2e/1e4CNY", "zh"), render.unit("tCO2e/1e4CNY", "en")) == ("tCO₂e/万元", "tCO₂e/10⁴ CNY")
    assert "<small>tCO₂e/人</small>" in see(little, "/city?period=2026-08", "zh")
    assert "<small>tCO₂e/person</small>" in see(little, "/city?period=2026-08", "en")


HOSTILE = tables.subject_file(
    tables.subject("X-1", zh='=HYPERLINK(\\"http://x\\")<script>alert(1)</script>', en="@SUM(1)")
)
SOURCE = tables.activity_file(
    "X-1",
    tables.fuel(
        "natural_gas",
        "10 1e4Nm3",
        "2026-09-01",
        "2026-10-01",
        'label = "<script>alert(2)</script>"\ndocument = "-cmd|x"',
    ),
)


def test_a_name_is_neither_a_formula_in_a_table_nor_a_script_on_a_page(house: Any) -> None:
    """What others call themselves, their sources and documents is read as the text it is."""
    subjects.take(house.store, "x.toml", HOSTILE.encode(), by="+1", now=house.now)
    activities.declare(house.store, "x", SOURCE.encode(), by="=2+2", now=house.now)
    accounts.close(house.store, factor_shelf.library(None), "X-1", accounts.period_of("2026-09"), house.now)
    ranking = list(csv.reader(house.client.get("/city.csv?period=2026-09").text.splitlines()))
    assert ranking[1][2].startswith("'=HYPERLINK")
    own = "/accounts/A-X-1-2026-09%401"
    for path in ("/city.csv?period=2026-09", f"{own}/lines.csv", f"{own}/sources.csv", f"{own}/flow.csv"):
        cells = [cell for row in csv.reader(house.client.get(path).text.splitlines()) for cell in row]
        assert cells and not any(cell[:1] in "=+@" for cell in cells if cell)
    for path in ("/accounts", "/city?period=2026-09", own, f"{own}/flow"):
        assert "<script>alert" not in see(house, path) + see(house, path, "en")
    ask = reports.Ask("A-X-1-2026-09", "enterprise", "xlsx", "zh", "http://x")
    book = openpyxl.load_workbook(io.BytesIO(reports.build(house.store, ask)))
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not any(cell.data_type == "f" for cell in cells)
