"""Reports: what is printed is what was reckoned; each number opens its line; without a Chinese font there is no PDF."""

import io
import zipfile
from datetime import date
from decimal import Decimal
from functools import partial

import docx
import msgspec
import openpyxl
import pypdf
import pytest

from cloud.accounting import calculate, factors, inventory, method
from cloud.accounting.given import Entry, Given, Programme
from cloud.accounting.inventory import Inventory, LeftOut, Version
from cloud.accounting.statement import Coverage, Span
from cloud.accounting.subject import Denominator, Subject
from cloud.accounting.units import quantity
from cloud.report import document, enterprise, excel, pdf, quality_plan, supplementary, word
from cloud.report.document import Cell, Document, Paragraph, Table, amount, exact, text
from protocols.errors import ReportError
from protocols.messages import Language

JUNE = (date(2025, 6, 1), date(2025, 7, 1))
ADDRESS = "http://127.0.0.1:8080"
SUBJECT = partial(Subject, "S-1", "示例厂", "Example works", "enterprise", "industry")
ABOUT = {"统一社会信用代码": "91110000000000000X", "法定代表人": "张三"}


def given(text: str) -> Given:
    return Given(quantity(text), "declared", "=HYPERLINK(1)", by="能源科")


@pytest.fixture(scope="module")
def version() -> Version:
    used = method.get("ndrc-24-2015")
    entries = [
        Entry("24-01", *JUNE, {"FC": given("1000 t")}, item="anthracite"),
        Entry("24-08", *JUNE, {"AD": given("500 MWh")}),
        Entry("24-10", *JUNE, {"proved": given("80 MWh"), "purchased": given("500 MWh")}, proof="GEC-1"),
    ]
    lines = tuple(calculate.lines(used, entries, Programme("S-1", factors.builtin())))
    content = Inventory(
        schema="tanmeter-account/2",
        subject="S-1",
        name_zh="示例厂",
        name_en="Example works",
        kind="enterprise",
        period=Span("2025-06", "2025-06-01T00:00:00+08:00", "2025-07-01T00:00:00+08:00", "Asia/Shanghai", "2025-07-01"),
        programme=used.programme,
        method=used.id,
        edition=used.edition,
        method_sha256=used.sha256,
        factor_set=factors.builtin().sha256,
        parameter_sets={one.id: one.sha256 for one in used.sets},
        basis="average",
        region="national",
        gwp_set="SAR",
        lines=lines,
        totals=inventory.totals(lines),
        coverage=Coverage(2976, 2976),
        estimated=Decimal("0.019"),
        reasons=("factor.draft", "account.open"),
    )
    return Version(
        id="A-S-1-2025-06",
        version=1,
        state="provisional",
        minted_at="2026-11-26T08:00:00+08:00",
        locked_by=(),
        as_of=1,
        digest=content.digest,
        supersedes=None,
        difference=None,
        content=content,
    )


@pytest.fixture(scope="module", params=["zh", "en"])
def report(request: pytest.FixtureRequest, version: Version) -> Document:
    return enterprise.compose(version, method.get("ndrc-24-2015"), ABOUT, request.param, ADDRESS)


def total(version: Version) -> str:
    return amount(version.content.totals.total).text


def test_the_pdf_says_the_total_in_either_language_and_repeats_to_the_byte(report: Document, version: Version) -> None:
    made = pdf.render(report)
    assert made == pdf.render(report)
    read = pypdf.PdfReader(io.BytesIO(made))
    words = "".join(page.extract_text() for page in read.pages)
    assert total(version) in words
    assert ("活动水平数据及来源说明" if report.language == "zh" else "Activity data and where they come from") in words
    links = {
        annotation.get_object().get("/A", {}).get("/URI")
        for page in read.pages
        for annotation in page.get("/Annots", ())
    }
    assert {f"{ADDRESS}/accounts/{version.reference}#{line.digest[:16]}" for line in version.content.lines} <= links


def test_the_word_file_says_the_same(report: Document, version: Version) -> None:
    made = docx.Document(io.BytesIO(word.render(report)))
    cells = [cell.text for table in made.tables for row in table.rows for cell in row.cells]
    assert total(version) in cells
    assert any(version.content.lines[0].digest[:16] in cell for cell in cells)
    assert made.styles["Normal"].element.rPr.rFonts.get(docx.oxml.ns.qn("w:eastAsia")) == "宋体"


def test_numbers_stay_numbers_in_the_sheet_and_no_text_is_run(report: Document, version: Version) -> None:
    made = openpyxl.load_workbook(io.BytesIO(excel.render(report)))
    values = [cell.value for sheet in made for row in sheet.iter_rows() for cell in row]
    numbers = [Decimal(str(one)) for one in values if isinstance(one, float | int)]
    assert any(abs(one - version.content.totals.total) < Decimal("1e-9") for one in numbers)
    assert not any(cell.data_type == "f" for sheet in made for row in sheet.iter_rows() for cell in row)
    assert any("HYPERLINK" in str(one) for one in values)
    assert all(sheet.page_setup.fitToWidth == 1 and sheet.sheet_properties.pageSetUpPr.fitToPage for sheet in made)


@pytest.mark.parametrize("product", ["", "水泥"])
def test_the_supplementary_table_adds_up_whatever_is_labelled(version: Version, product: str) -> None:
    denominator = Denominator("output", "1000 t", "2025-06", "weighbridge", product)
    made = supplementary.compose(version, SUBJECT(denominator=(denominator,)), "zh", ADDRESS)
    (table,) = made.tables()
    total = version.content.totals.total
    assert table.rows[-1][-2].number == total
    assert sum(row[-2].number or 0 for row in table.rows[:-1]) == total
    assert table.rows[0][-1].number == (0 if product else total / 1000)
    assert pypdf.PdfReader(io.BytesIO(pdf.render(made))).pages


def test_what_is_not_locked_says_so_on_every_page(report: Document) -> None:
    words = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf.render(report))).pages]
    assert all(("暂估" if report.language == "zh" else "PROVISIONAL") in page for page in words)


def test_a_lock_with_exceptions_says_which_and_is_no_provisional_figure(version: Version) -> None:
    exceptions = ("factor.draft: ndrc-24-2015:EF_heat", "factor.draft: ndrc-24-2015:rho_CH4", "factor.earlier-year")
    locked = msgspec.structs.replace(
        version, state="locked", closure="exceptions", locked_by=("王", "李"), exceptions=exceptions
    )
    made = enterprise.compose(locked, method.get("ndrc-24-2015"), {}, "zh", ADDRESS)
    assert not made.draft and ("锁定人", "王、李") in made.cover
    assert ("版本", f"{version.reference}（已锁定，有例外）") in made.cover
    said = [part.text for part in made.parts if isinstance(part, Paragraph)]
    assert "锁定时的例外：因子未与公告原文核对（草稿）：ndrc-24-2015:EF_heat、ndrc-24-2015:rho_CH4" in said
    assert not any("暂估" in one for one in said)


@pytest.mark.parametrize(
    ("lang", "reason"),
    [
        ("zh", "暂估原因：有排放源的活动数据未覆盖整个期间："),
        ("en", "Provisional because: the activity of a source leaves days of the period out: "),
    ],
)
def test_the_chapter_of_quality_names_days_left_out_and_words(version: Version, lang: Language, reason: str) -> None:
    first, *others = version.content.lines
    part = msgspec.structs.replace(first, end="2025-06-21")
    content = msgspec.structs.replace(
        version.content,
        lines=(part, *others),
        left_out=(LeftOut(part.id, "2025-06-21", "2025-07-01"),),
        reasons=("activity.undocumented", "activity.left-out"),
    )
    made = enterprise.compose(
        msgspec.structs.replace(version, content=content), method.get("ndrc-24-2015"), {}, lang, ADDRESS
    )
    said = [one.text for one in made.parts if isinstance(one, Paragraph)]
    assert f"{reason}{part.id} 2025-06-21--2025-07-01" in said
    assert any("24-08 2025-06-01" in one and "SHA-256" in one for one in said), "each word alone is named"
    (table,) = (
        one for one in made.tables() if one.caption in ("未覆盖整个期间的数据", "Lines of a part of the period")
    )
    assert [[cell.text for cell in row] for row in table.rows] == [[part.id, "2025-06-01", "2025-06-21", "20 / 30"]]
    whole = enterprise.compose(version, method.get("ndrc-24-2015"), {}, lang, ADDRESS)
    assert not any(one.caption == table.caption for one in whole.tables())


def test_every_symbol_is_told_with_its_name_and_its_row(version: Version) -> None:
    made = enterprise.compose(version, method.get("ndrc-24-2015"), {}, "zh", ADDRESS)
    activity, factors_ = (table for table in made.tables() if table.caption[:3] in ("附表2", "附表3"))
    assert [row[0].text for row in activity.rows][:1] == ["24-01 化石燃料燃烧"]
    assert "FC 燃料消耗量" in {row[2].text for row in activity.rows}
    assert "NCV 低位发热量" in {row[2].text for row in factors_.rows}


def test_the_plan_names_every_parameter_of_an_enterprise_without_a_gateway(version: Version) -> None:
    used = method.get("ndrc-24-2015")
    made = quality_plan.compose(SUBJECT(), (), used, "zh", version.minted_at, lines=version.content.lines)
    (table,) = made.tables()
    told = {(row[0].text.partition(" ")[0], row[1].text.partition(" ")[0]): row[2].text for row in table.rows}
    assert told["24-01", "FC"] == "申报；依据：=HYPERLINK(1)"
    assert told["24-01", "NCV"] == "参数集：ndrc-24-2015-fuels:NCV.anthracite"
    assert "cn.grid.national@2023" in told["24-08", "EF"]
    assert {row for row, _ in told} == {line.row for line in version.content.lines}


def test_the_annexes_add_up(version: Version) -> None:
    made = enterprise.compose(version, method.get("ndrc-24-2015"), {}, "zh", ADDRESS)
    annex = next(table for table in made.tables() if table.caption.startswith("附表1"))
    *rows, last = [row[-1].number for row in annex.rows]
    assert sum(value for value in rows if value is not None) == last == version.content.totals.total


def test_without_a_chinese_font_the_pdf_is_refused(report: Document) -> None:
    with pytest.raises(ReportError, match=r"no Chinese font.*fonts-noto-cjk"):
        pdf.render(report, ("DejaVu Sans", "Libertinus Serif"))


def test_a_table_whose_rows_do_not_fit_its_head_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one number"):
        Table("t", ("a", "b"), ((text("x"),),), ("left", "left"), (1, 1))


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (amount(Decimal("1234.565")), "1,234.57"),
        (amount(None), "—"),
        (exact(Decimal("-0.10")), "−0.10"),
        (text(""), "—"),
    ],
)
def test_how_a_number_is_printed(cell: Cell, shown: str) -> None:
    assert cell.text == shown


def test_text_from_outside_cannot_break_the_page(version: Version) -> None:
    about = {"名称": '#panic("x") $x$ *b* <a> \\ " @ref', "长": "字" * 3000}
    made = enterprise.compose(version, method.get("ndrc-24-2015"), about, "zh", ADDRESS)
    words = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf.render(made))).pages)
    assert '#panic("x")' in words
    assert zipfile.ZipFile(io.BytesIO(word.render(made))).testzip() is None
    assert document.amount(Decimal(1)).number == 1
