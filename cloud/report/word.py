"""A report as Word (.docx): Song for the text, Hei for headings, three-line tables, page numbers, live links."""

import io
from datetime import datetime
from typing import Any

import docx
from docx.enum.section import WD_ORIENT
from docx.enum.table import WD_TABLE_ALIGNMENT
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Cm, Pt, RGBColor

from cloud.report.document import Cell, Document, Heading, Paragraph, Seal, Table
from cloud.report.square import png

SONG, HEI, LATIN, MONO = "宋体", "黑体", "Times New Roman", "Consolas"
"""Fonts of every Chinese office machine; Word takes its own substitute where one is missing."""

TEXT_CM = 25.2
"""Width of the text on A4 across, between the margins."""
LINK = RGBColor(0x0B, 0x57, 0xA4)


def render(document: Document) -> bytes:
    """The document as .docx; equal documents give equal text, not equal bytes (a zip carries its own times)."""
    word = docx.Document()
    _page(word, document)
    _cover(word, document)
    for part in document.parts:
        if isinstance(part, Heading):
            _heading(word, part)
        elif isinstance(part, Paragraph):
            _paragraph(word, part)
        elif isinstance(part, Table):
            _table(word, part)
        else:
            _seal(word, part)
    out = io.BytesIO()
    word.save(out)
    return out.getvalue()


def _page(word: Any, document: Document) -> None:
    section = word.sections[0]
    section.orientation = WD_ORIENT.LANDSCAPE
    section.page_width, section.page_height = Cm(29.7), Cm(21.0)
    section.left_margin = section.right_margin = Cm(2.2)
    section.top_margin = section.bottom_margin = Cm(2.0)
    normal = word.styles["Normal"]
    _font(normal, SONG, 10.5)
    for level in (1, 2, 3):
        _font(word.styles[f"Heading {level}"], HEI, {1: 15, 2: 12, 3: 10.5}[level])
    properties = word.core_properties
    properties.title, properties.subject, properties.author = document.title, document.subtitle, "tanmeter"
    properties.language = "zh-CN" if document.language == "zh" else "en"
    if document.issued:
        properties.created = properties.modified = datetime.fromisoformat(document.issued)
    if document.draft:
        header = section.header.paragraphs[0]
        header.alignment = WD_ALIGN_PARAGRAPH.RIGHT
        run = header.add_run(document.draft)
        run.bold, run.font.color.rgb = True, RGBColor(0xB2, 0x22, 0x22)
    foot = section.footer.paragraphs[0]
    foot.alignment = WD_ALIGN_PARAGRAPH.CENTER
    foot.add_run(f"{document.footer}  ·  ")
    _field(foot, "PAGE")
    foot.add_run(" / ")
    _field(foot, "NUMPAGES")


def _font(style: Any, east_asian: str, size: float) -> None:
    style.font.name, style.font.size = LATIN, Pt(size)
    style.font.color.rgb = RGBColor(0, 0, 0)
    style.element.get_or_add_rPr().get_or_add_rFonts().set(qn("w:eastAsia"), east_asian)


def _cover(word: Any, document: Document) -> None:
    for line, size, before in ((document.title, 22, 60), (document.subtitle, 14, 6)):
        paragraph = word.add_paragraph()
        paragraph.alignment = WD_ALIGN_PARAGRAPH.CENTER
        paragraph.paragraph_format.space_before = Pt(before)
        run = paragraph.add_run(line)
        run.bold, run.font.size = True, Pt(size)
        run.element.get_or_add_rPr().get_or_add_rFonts().set(qn("w:eastAsia"), HEI)
    table = word.add_table(rows=0, cols=2)
    table.alignment = WD_TABLE_ALIGNMENT.CENTER
    for name, value in document.cover:
        row = table.add_row().cells
        row[0].width, row[1].width = Cm(5), Cm(13)
        row[0].text, row[1].text = name, value
    word.add_page_break()


def _heading(word: Any, part: Heading) -> None:
    word.add_heading(part.text, part.level)


def _paragraph(word: Any, part: Paragraph) -> None:
    paragraph = word.add_paragraph()
    paragraph.paragraph_format.space_after = Pt(4)
    run = paragraph.add_run(part.text)
    if part.style == "note":
        run.font.size = Pt(9)
    elif part.style == "mono":
        run.font.name, run.font.size = MONO, Pt(8.5)


def _table(word: Any, part: Table) -> None:
    caption = word.add_paragraph()
    caption.alignment, caption.paragraph_format.keep_with_next = WD_ALIGN_PARAGRAPH.CENTER, True
    run = caption.add_run(part.caption)
    run.bold = True
    table = word.add_table(rows=1, cols=len(part.head))
    table.alignment, table.autofit = WD_TABLE_ALIGNMENT.CENTER, False
    _lines(table)
    for index, name in enumerate(part.head):
        _write(table.rows[0].cells[index], Cell(name), part.align[index], bold=True)
    _repeat(table.rows[0])
    for number, row in enumerate(part.rows):
        bold = number >= len(part.rows) - part.totals
        cells = table.add_row().cells
        for index, cell in enumerate(row):
            _write(cells[index], cell, part.align[index], bold=bold)
    whole = sum(part.widths)
    for index, width in enumerate(part.widths):
        table.columns[index].width = Cm(TEXT_CM * width / whole)
        for cell in table.columns[index].cells:
            cell.width = Cm(TEXT_CM * width / whole)
    word.add_paragraph()


def _write(target: Any, cell: Cell, align: str, *, bold: bool) -> None:
    paragraph = target.paragraphs[0]
    paragraph.paragraph_format.space_after = Pt(0)
    if align == "right":
        paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
    if cell.link:
        _link(paragraph, cell.text, cell.link, bold)
        return
    run = paragraph.add_run(cell.text)
    run.bold, run.font.size = bold, Pt(9)


def _link(paragraph: Any, words: str, address: str, bold: bool) -> None:
    target = paragraph.part.relate_to(address, RELATIONSHIP_TYPE.HYPERLINK, is_external=True)
    holder = OxmlElement("w:hyperlink")
    holder.set(qn("r:id"), target)
    run = paragraph.add_run(words)
    run.bold, run.font.size, run.font.color.rgb = bold, Pt(9), LINK
    holder.append(run._element)
    paragraph._element.append(holder)


def _lines(table: Any) -> None:
    """Three-line table: rules above, below the head, and at the end; hair lines between rows."""
    borders = OxmlElement("w:tblBorders")
    for side, weight in (("top", "12"), ("bottom", "12"), ("insideH", "4")):
        line = OxmlElement(f"w:{side}")
        for name, value in (("val", "single"), ("sz", weight), ("space", "0"), ("color", "444444")):
            line.set(qn(f"w:{name}"), value)
        borders.append(line)
    table._element.tblPr.append(borders)


def _repeat(row: Any) -> None:
    """The head again on every page."""
    mark = OxmlElement("w:tblHeader")
    mark.set(qn("w:val"), "true")
    row._element.get_or_add_trPr().append(mark)


def _field(paragraph: Any, code: str) -> None:
    run = paragraph.add_run()
    for kind in ("begin", None, "end"):
        if kind is None:
            element = OxmlElement("w:instrText")
            element.set(qn("xml:space"), "preserve")
            element.text = code
        else:
            element = OxmlElement("w:fldChar")
            element.set(qn("w:fldCharType"), kind)
        run._element.append(element)


def _seal(word: Any, part: Seal) -> None:
    paragraph = word.add_paragraph()
    paragraph.add_run().add_picture(io.BytesIO(png(part.address)), width=Cm(2.6))
    _paragraph(word, Paragraph(part.caption, "note"))
    _paragraph(word, Paragraph(f"{part.address}\nSHA-256 {part.digest}", "mono"))
