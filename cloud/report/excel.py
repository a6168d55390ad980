"""A report as Excel (.xlsx): a sheet of text, then a sheet for each table, numbers as numbers."""

import io
import re
from datetime import datetime
from decimal import Context
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Alignment, Font
from openpyxl.worksheet.properties import PageSetupProperties

from cloud.report.document import Cell, Document, Heading, Paragraph, Seal, Table

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run: text that begins so is written as text."""
DOUBLE = Context(prec=15)
"""What a cell holds is a binary double: fifteen digits. The exact figure is in the line that the cell opens."""
COLUMN = 36
"""Characters a column has at most, in the mean: a table of two is no wider than the screen."""
A4 = 9
"""How a sheet calls that paper."""
HEAD, LINK = Font(bold=True), Font(color="0B57A4", underline="single")


def render(document: Document) -> bytes:
    """The document as .xlsx."""
    book = Workbook(write_only=True)
    book.properties.title, book.properties.creator = document.title, "tanmeter"
    if document.issued:
        book.properties.created = datetime.fromisoformat(document.issued).replace(tzinfo=None)
    _text(book.create_sheet("报告" if document.language == "zh" else "Report"), document)
    used: set[str] = set()
    for table in document.tables():
        _sheet(book.create_sheet(_name(table, used)), table)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _printed(sheet: Any) -> None:
    """On paper as wide as one page, lying."""
    sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)


def _text(sheet: Any, document: Document) -> None:
    _printed(sheet)
    sheet.column_dimensions["A"].width, sheet.column_dimensions["B"].width = 28, 110
    sheet.append([_cell(sheet, document.title, HEAD)])
    sheet.append([_cell(sheet, document.subtitle)])
    if document.draft:
        sheet.append([_cell(sheet, document.draft, HEAD)])
    for name, value in document.cover:
        sheet.append([_cell(sheet, name), _cell(sheet, value)])
    for part in document.parts:
        if isinstance(part, Heading):
            sheet.append([])
            sheet.append([_cell(sheet, part.text, HEAD)])
        elif isinstance(part, Paragraph):
            sheet.append([None, _cell(sheet, part.text)])
        elif isinstance(part, Table):
            sheet.append([None, _cell(sheet, part.caption)])
        elif isinstance(part, Seal):
            sheet.append([_cell(sheet, part.caption), _cell(sheet, part.address)])
            sheet.append([_cell(sheet, "SHA-256"), _cell(sheet, part.digest)])


def _sheet(sheet: Any, table: Table) -> None:
    _printed(sheet)
    sheet.print_title_rows = "1:2"
    whole, wide = sum(table.widths), min(150, COLUMN * len(table.widths))
    for index, width in enumerate(table.widths):
        sheet.column_dimensions[chr(ord("A") + index)].width = max(8, wide * width / whole)
    sheet.freeze_panes = "A3"
    sheet.append([_cell(sheet, table.caption, HEAD)])
    sheet.append([_cell(sheet, name, HEAD) for name in table.head])
    for number, row in enumerate(table.rows):
        bold = number >= len(table.rows) - table.totals
        sheet.append([_value(sheet, cell, bold) for cell in row])


def _value(sheet: Any, cell: Cell, bold: bool) -> Any:
    if cell.number is None:
        made = _cell(sheet, cell.text, HEAD if bold else None)
    else:
        made = WriteOnlyCell(sheet, value=DOUBLE.plus(cell.number))
        places = re.search(r"\.(\d+)$", cell.text)
        made.number_format = f"#,##0.{'0' * len(places[1])}" if places else "#,##0"
        made.font = HEAD if bold else Font()
    if cell.link:
        made.hyperlink, made.font = cell.link, LINK
    return made


def _cell(sheet: Any, value: str, font: Font | None = None) -> Any:
    safe = f"'{value}" if value.startswith(FORMULA) and not _number(value) else value
    made = WriteOnlyCell(sheet, value=safe)
    made.data_type = "s"
    made.alignment = Alignment(vertical="top", wrap_text=True)
    if font is not None:
        made.font = font
    return made


def _number(value: str) -> bool:
    return re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value) is not None


def _name(table: Table, used: set[str]) -> str:
    """A sheet's name: at most 31 characters, none of those Excel refuses, each once."""
    base = re.sub(r"[\[\]:*?/\\]", " ", table.sheet or table.caption)[:28].strip() or "Sheet"
    name, number = base, 2
    while name in used:
        name, number = f"{base} {number}", number + 1
    used.add(name)
    return name
