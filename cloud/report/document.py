"""A report before it is on paper: headings, paragraphs and tables; every number may name the line that it opens."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

Level = Literal[1, 2, 3]
Align = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a table. ``number``: the exact value, which a spreadsheet keeps; ``text``: as it is printed.

    ``link``: where the line or source behind it opens.
    """

    text: str
    number: Decimal | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the report's own numbering."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text. ``style`` note: smaller, for what keeps a figure provisional; mono: digests."""

    text: str
    style: Literal["body", "note", "mono"] = "body"


@dataclass(frozen=True, slots=True)
class Table:
    """``widths`` are shares of the page; a row that begins with an empty text in ``spans`` is a total."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    align: tuple[Align, ...]
    widths: tuple[int, ...]
    sheet: str = ""
    totals: int = 0

    def __post_init__(self) -> None:
        lengths = {len(self.head), len(self.align), len(self.widths), *map(len, self.rows)}
        if len(lengths) != 1:
            raise ValueError(f"table {self.caption!r}: found rows of {sorted(lengths)} cells, expected one number")


@dataclass(frozen=True, slots=True)
class Seal:
    """The square that opens the account where it is kept: its address and its digest, as text and as QR code."""

    address: str
    digest: str
    caption: str


Part = Heading | Paragraph | Table | Seal


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report. ``draft`` is printed across every page until the account is locked."""

    title: str
    subtitle: str
    language: Literal["zh", "en"]
    cover: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    footer: str
    draft: str = ""
    issued: str = field(default="")

    def tables(self) -> Iterator[Table]:
        """Every table, in order."""
        return (part for part in self.parts if isinstance(part, Table))


def amount(value: Decimal | None, places: int = 2, link: str = "") -> Cell:
    """A number rounded for print, half up as the guidelines round, exact behind it; a dash for none."""
    if value is None:
        return Cell("—", None, link)
    shown = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return Cell(f"{shown:,f}".replace("-", "−"), value, link)


def exact(value: Decimal | None, link: str = "") -> Cell:
    """A number with every digit it has."""
    return Cell("—" if value is None else f"{value:f}".replace("-", "−"), value, link)


def moment(stamp: str) -> str:
    """An instant (RFC 3339) as it is read: to the minute, with its offset."""
    return f"{stamp[:10]} {stamp[11:16]} {stamp[-6:]}"


def text(value: str, link: str = "") -> Cell:
    """Words in a table."""
    return Cell(value or "—", None, link)
