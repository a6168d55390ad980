"""Sheets in files: an Excel workbook with drop-downs, or one CSV whose first lines hold the model's data.

In a CSV a line that begins with ``#`` is a key of the model and its value; the first other line holds the headings of
the points. Headings may be the key or its title in either language; a heading that begins with ``#`` is left alone.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from drivers import cell, sheet
from drivers.profile import Point, Proof
from drivers.sheet import MODEL, POINTS, PROOF, Table
from edge.placing import meant
from protocols import messages
from protocols.errors import ConfigError
from protocols.messages import Language
from provisioning import folder

EXACT_DIGITS = 15
"""What a spreadsheet keeps of a number; longer ones are written as text."""
LISTED = 500
"""Rows that get drop-downs, beyond those that are filled."""
WIDEST = 40
MODEL_KEYS = (sheet.KEY, sheet.VALUE)
DEFAULT = "#default"
"""A third column of the model's sheet: what holds where nothing is filled in. It is not read."""
SEPARATORS = (",", ";", "\t")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


def read(path: Path) -> tuple[Table, ...]:
    """The sheets of an .xlsx or .csv file; ConfigError when it is neither."""
    data = folder.read(path, "a sheet: .xlsx or .csv")
    if path.suffix.lower() == ".csv":
        return _read_csv(data, path)
    if path.suffix.lower() == ".xlsx":
        return _read_xlsx(data, path)
    raise ConfigError(str(path), f"a file {path.suffix or 'without a suffix'}", ".xlsx or .csv")


def write(path: Path, tables: Sequence[Table], language: Language) -> None:
    """Write the sheets as the suffix of the path says; ConfigError, StoreError."""
    if path.suffix.lower() not in (".xlsx", ".csv"):
        raise ConfigError(str(path), f"a file {path.suffix or 'without a suffix'}", ".xlsx or .csv")
    data = _csv(tables) if path.suffix.lower() == ".csv" else _xlsx(tables, language)
    folder.write(meant(path), data)


def _read_csv(data: bytes, path: Path) -> tuple[Table, ...]:
    text = _text(data, path)
    rows = list(csv.reader(io.StringIO(text), delimiter=_separator(text)))
    model = [(number, row) for number, row in enumerate(rows, 1) if row and row[0].startswith("#")]
    rest = [(number, row) for number, row in enumerate(rows, 1) if any(row) and not row[0].startswith("#")]
    if not rest:
        raise ConfigError(str(path), "no line of headings", "the points, one a line, under a line of headings")
    entries = [(number, (row[0][1:], *row[1:])) for number, row in model]
    (_, headings), *points = rest
    return (
        _table(MODEL, MODEL_KEYS, entries, ""),
        _table(POINTS, _columns(headings, POINTS), [(number, tuple(row)) for number, row in points], ""),
    )


def _separator(text: str) -> str:
    """What stands between the cells: some spreadsheets write ``;`` or a tab, told by the line of headings."""
    headings = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    return max(SEPARATORS, key=headings.count)


def _text(data: bytes, path: Path) -> str:
    """UTF-8, or what a Chinese Excel writes."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigError(str(path), "bytes that are no text", "a CSV in UTF-8 or GBK")


def _read_xlsx(data: bytes, path: Path) -> tuple[Table, ...]:
    from xml.etree.ElementTree import ParseError
    from zipfile import BadZipFile

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(io.BytesIO(data), data_only=True)
    except (InvalidFileException, BadZipFile, ParseError, ValueError, KeyError, OSError) as error:
        raise ConfigError(str(path), str(error) or type(error).__name__, "an Excel workbook (.xlsx)") from error
    names = {
        messages.text(f"sheet.{name}", language): name for name in (POINTS, MODEL, PROOF) for language in ("zh", "en")
    }
    found = []
    for held in book.worksheets:
        if (name := names.get(held.title.strip().lower(), names.get(held.title.strip()))) is None:
            continue
        rows = [
            (number, tuple(_plain(one, held.title, path) for one in row))
            for number, row in enumerate(held.iter_rows(), 1)
        ]
        headings = rows[0][1] if rows else ()
        columns = MODEL_KEYS if name == MODEL else _columns(headings, name)
        found.append(_table(name, columns, rows[1:], held.title))
    return tuple(found)


def _table(name: str, columns: Sequence[str], rows: Iterable[tuple[int, tuple[str, ...]]], title: str) -> Table:
    filled = [(number, row) for number, row in rows if any(text.strip() for text in row)]
    return Table(name, tuple(columns), tuple(row for _, row in filled), tuple(number for number, _ in filled), title)


def _columns(headings: Sequence[str], name: str) -> tuple[str, ...]:
    """The keys that headings stand for; what is not known is left for the sheet to refuse."""
    titles: dict[str, str] = {}
    for key in sheet.columns(Point if name == POINTS else Proof):
        titles |= dict.fromkeys(_titles(key), key)
    return tuple(
        "" if text.startswith("#") else titles.get(text.split("\n")[-1].strip(), text.strip()) for text in headings
    )


def _titles(key: str) -> tuple[str, ...]:
    """What a column may be called: its key, or its title in either language."""
    entry = messages.catalogue().get(f"sheet.column.{key}", {})
    return (key, *(entry[language] for language in ("zh", "en") if language in entry))


def _plain(held: Any, title: str, path: Path) -> str:
    """The text of a workbook's cell; ConfigError for a date or a formula's error."""
    found = held.value
    if found is None:
        return ""
    if isinstance(found, bool):
        return cell.write(found)
    if isinstance(found, int | str):
        return str(found)
    if isinstance(found, float):
        return str(int(found)) if found.is_integer() and abs(found) < 10**EXACT_DIGITS else repr(found)
    where = f"{path}: sheet {title}, row {held.row}, column {held.column_letter}"
    raise ConfigError(where, f"{type(found).__name__} {found}", "text or a number")


def _csv(tables: Sequence[Table]) -> bytes:
    by_name = {table.name: table for table in tables}
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\r\n")
    lines.writerows([f"#{key}", value] for key, value in by_name[MODEL].rows)
    for number, row in enumerate(by_name[PROOF].rows):
        named = zip(by_name[PROOF].columns, row, strict=True)
        lines.writerows(
            [f"#proof[{number}].{column}", text] for column, text in named if text or column == sheet.REQUEST
        )
    lines.writerow(by_name[POINTS].columns)
    lines.writerows(by_name[POINTS].rows)
    return out.getvalue().encode("utf-8-sig")


def _xlsx(tables: Sequence[Table], language: Language) -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.worksheets[0])
    for table in tables:
        _fill(book.create_sheet(messages.text(f"sheet.{table.name}", language)), table, language)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _fill(page: Any, table: Table, language: Language) -> None:
    """One page: headings with their titles, the rows, drop-downs where a column has few values."""
    from openpyxl.styles import Alignment, Font

    columns = _all_columns(table)
    if table.name == MODEL:
        table = replace(table, columns=columns, rows=_model_rows(table))
    for number, key in enumerate(columns, 1):
        heading = page.cell(1, number, _heading(key, language))
        heading.font, heading.alignment = Font(bold=True), Alignment(wrap_text=True, vertical="top")
    for row, entry in enumerate(table.rows, 2):
        held = dict(zip(table.columns, entry, strict=True))
        for number, key in enumerate(columns, 1):
            _set(page.cell(row, number), held.get(key, ""), _numeric(table, key))
    page.freeze_panes = "B2"
    for number, key in enumerate(columns):
        longest = max([len(key), *(len(row[number]) for row in table.rows if number < len(row))])
        page.column_dimensions[sheet.letters(number)].width = min(WIDEST, longest + 3)
    for place, offered in _offers(table, columns):
        _drop_down(page, place, offered)


def _all_columns(table: Table) -> tuple[str, ...]:
    """The filled columns first, then every other that a row of this sheet may fill."""
    if table.name == MODEL:
        return (*table.columns, DEFAULT)
    every = sheet.columns(Point if table.name == POINTS else Proof)
    return (*table.columns, *(key for key in every if key not in table.columns))


def _model_rows(table: Table) -> tuple[tuple[str, ...], ...]:
    """What the model says, then what it could say, with what holds otherwise."""
    return (*((*row, "") for row in table.rows), *((key, "", default) for key, default in sheet.unfilled(table)))


def _heading(key: str, language: Language) -> str:
    title = messages.catalogue().get(f"sheet.column.{key}", {}).get(language, key)
    return key if title == key else f"{title}\n{key}"


def _numeric(table: Table, key: str) -> bool:
    """Whether a column holds numbers; what is text stays text, whatever it looks like."""
    return table.name == POINTS and cell.plain(sheet.hint(Point, key)) in (int, Decimal)


def _set(target: Any, text: str, numeric: bool) -> None:
    """A number as a number where a spreadsheet keeps every digit of it, else text that stays text."""
    if numeric and NUMBER.fullmatch(text) and sum(letter.isdigit() for letter in text) <= EXACT_DIGITS:
        target.value = float(text) if "." in text else int(text)
        return
    target.number_format = "@"
    if text:
        target.value, target.data_type = text, "s"


def _offers(table: Table, columns: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The cells that take one of few values, and these."""
    if table.name == POINTS:
        for number, key in enumerate(columns):
            if offered := cell.choices(sheet.hint(Point, key)):
                yield f"{sheet.letters(number)}2:{sheet.letters(number)}{len(table.rows) + LISTED}", offered
    if table.name == MODEL:
        for number, row in enumerate(table.rows, 2):
            if offered := cell.choices(sheet.model_hint(row[0])):
                yield f"B{number}", offered


def _drop_down(page: Any, place: str, offered: Sequence[str]) -> None:
    from openpyxl.worksheet.datavalidation import DataValidation

    rule = DataValidation(type="list", formula1='"' + ",".join(offered) + '"', allow_blank=True)
    rule.add(place)
    page.add_data_validation(rule)
