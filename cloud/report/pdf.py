"""A report as PDF, set by Typst: the same document always gives the same bytes. Without a Chinese font it is refused.

Typst (typst, Apache-2.0) over ReportLab: paragraphs, tables that break across pages with their heads, and CJK line
breaking come with it; the layout is one readable file, ``report.typ``.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import typst

from cloud.report.document import Cell, Document, Heading, Paragraph, Part, Table
from cloud.report.square import svg
from protocols.errors import ReportError

SONG = ("Noto Serif CJK SC", "Source Han Serif SC", "SimSun", "NSimSun", "FangSong", "Songti SC", "AR PL UMing CN")
HEI = ("Noto Sans CJK SC", "Source Han Sans SC", "SimHei", "Microsoft YaHei", "WenQuanYi Zen Hei", "Heiti SC")
"""Families with simplified Chinese, best first, for text and for headings."""
MONO = "DejaVu Sans Mono"
"""Comes with Typst."""


def render(document: Document, families: Iterable[str] | None = None) -> bytes:
    """The document as PDF; ReportError where no font here has Chinese (``families``: those there are, else found)."""
    text, head = fonts(tuple(installed() if families is None else families))
    inputs = {
        "document": json.dumps(_whole(document), ensure_ascii=False),
        "fonts": json.dumps({"text": [text], "head": [head], "mono": [MONO, text]}),
    }
    source = files("cloud.report").joinpath("report.typ").read_bytes()
    stamp = datetime.fromisoformat(document.issued) if document.issued else datetime.fromtimestamp(0, UTC)
    try:
        made, warnings = typst.compile_with_warnings(source, sys_inputs=inputs, timestamp=stamp.replace(microsecond=0))
    except typst.TypstError as error:
        raise ReportError(f"PDF: {error}") from error
    missing = [warning.message for warning in warnings if "font" in warning.message]
    if missing:
        raise ReportError(f"PDF: found {missing[0]}, expected every font that is named")
    assert isinstance(made, bytes)
    return made


def fonts(families: tuple[str, ...]) -> tuple[str, str]:
    """The faces for text and for headings among those there are; ReportError where none has Chinese."""
    song = [name for name in SONG if name in families]
    hei = [name for name in HEI if name in families]
    if not song and not hei:
        wanted = ", ".join((*SONG, *HEI))
        raise ReportError(f"PDF: found no Chinese font, expected one of {wanted} (Debian: fonts-noto-cjk)")
    return (song or hei)[0], (hei or song)[0]


@cache
def installed() -> tuple[str, ...]:
    """The font families of this machine and those that come with Typst."""
    return tuple(typst.Fonts().families())


def _whole(document: Document) -> dict[str, Any]:
    return {
        "title": document.title,
        "subtitle": document.subtitle,
        "language": document.language,
        "cover": [list(pair) for pair in document.cover],
        "parts": [_part(part) for part in document.parts],
        "footer": document.footer,
        "draft": document.draft,
    }


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Heading):
        return {"kind": "heading", "level": part.level, "text": part.text}
    if isinstance(part, Paragraph):
        return {"kind": "paragraph", "text": part.text, "style": part.style}
    if isinstance(part, Table):
        return {
            "kind": "table",
            "caption": part.caption,
            "head": list(part.head),
            "rows": [[_cell(cell) for cell in row] for row in part.rows],
            "align": list(part.align),
            "widths": list(part.widths),
            "totals": part.totals,
        }
    return {
        "kind": "seal",
        "caption": part.caption,
        "address": part.address,
        "digest": part.digest,
        "svg": svg(part.address),
    }


def _cell(cell: Cell) -> dict[str, str]:
    return {"text": cell.text, "link": cell.link}
