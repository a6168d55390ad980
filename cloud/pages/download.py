"""A table of a page as a CSV download for a spreadsheet."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from cloud.spreadsheet import safe


def csv_file(name: str, heads: list[str], lines: Iterable[list[Any]]) -> Response:
    """CSV with a byte order mark, so that Excel reads it as UTF-8; nothing in it is run as a formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([safe(head) for head in heads])
    writer.writerows([safe(cell) for cell in line] for line in lines)
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response("\ufeff" + text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)
