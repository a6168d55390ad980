"""The data quality control plan (数据质量控制计划), made from the signed site configuration: what is installed says it.

Each parameter of the method with its source, instrument (model, number, class, place), how often it is read, and what
is done when it is missing; the log of versions is that of the signed configurations. What nobody has told the system
(departments, calibration) is left open for the hand, and says so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from cloud.accounting import blocks
from cloud.accounting.method import GRID, Method
from cloud.accounting.subject import Meter, Subject
from cloud.report.document import Align, Cell, Document, Heading, Paragraph, Part, Table, text
from drivers.installation import Installation
from drivers.site import Device
from protocols import messages
from protocols.messages import Language


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed configuration of a gateway: its number, digest (hex) and since when (RFC 3339) it is in force."""

    number: int
    digest: str
    since: str


@dataclass(frozen=True, slots=True)
class Box:
    """A gateway at the subject: its id (hex), what is installed at it, and every configuration it has had."""

    gateway: str
    installation: Installation
    configurations: tuple[Signed, ...]


def compose(subject: Subject, boxes: Sequence[Box], method: Method, lang: Language, issued: str) -> Document:
    """The plan of a subject whose meters hang on these gateways; ``issued``: RFC 3339."""
    say = partial(_say, lang)
    return Document(
        title=say("title", name=subject.zh if lang == "zh" else subject.en),
        subtitle=f"{method.document} · {method.edition}",
        language=lang,
        cover=(
            (messages.text("report.cover.subject", lang), f"{subject.zh} {subject.en} ({subject.id})"),
            (messages.text("report.cover.method", lang), f"{method.id} · {method.sha256[:16]}"),
            (messages.text("report.cover.minted", lang), issued),
        ),
        parts=tuple(_parts(subject, boxes, method, lang)),
        footer=f"tanmeter · {subject.id}",
        issued=issued,
    )


def _parts(subject: Subject, boxes: Sequence[Box], method: Method, lang: Language) -> Iterator[Part]:
    say = partial(_say, lang)
    yield Heading(1, say("versions"))
    yield _versions(boxes, lang)
    yield Heading(1, say("boundary"))
    yield Paragraph(say("boundary_text", subject=subject.id, method=method.document, count=len(boxes)))
    yield Heading(1, say("parameters"))
    yield _parameters(subject, method, lang)
    yield Heading(1, say("instruments"))
    yield _instruments(boxes, lang)
    yield Heading(1, say("missing"))
    yield Paragraph(say("missing_text"))
    yield Heading(1, say("assurance"))
    yield Paragraph(say("assurance_text"))
    yield Paragraph(say("by_hand"), "note")


def _versions(boxes: Sequence[Box], lang: Language) -> Table:
    rows = [
        (text(box.gateway), text(str(one.number)), text(one.since), text(one.digest))
        for box in boxes
        for one in box.configurations
    ]
    head = [_say(lang, "gateway"), _say(lang, "number"), _say(lang, "since"), _column(lang, "digested")]
    return _table(messages.text("report.table.changes", lang), head, rows, (3, 1, 3, 5))


def _parameters(subject: Subject, method: Method, lang: Language) -> Table:
    """Each symbol of each row that the subject's meters feed, then those that are declared or taken from a set."""
    used = dict.fromkeys(meter.row for meter in subject.meter)
    rows: list[tuple[Cell, ...]] = []
    for name in used:
        row = method.row(name)
        for slot in blocks.block(row.block).slots:
            fed = [meter for meter in subject.meter if (meter.row, meter.symbol) == (name, slot.name)]
            source = _source(fed, row.bind.get(slot.name), slot.default is not None, lang)
            label = f"{row.row} {row.zh if lang == 'zh' else row.en}"
            rows.append((text(label), text(f"{slot.name} {slot.zh if lang == 'zh' else slot.en}"), text(source)))
    head = [_column(lang, "source"), _column(lang, "symbol"), _column(lang, "document")]
    return _table(messages.text("report.table.plan", lang), head, rows, (3, 3, 6))


def _source(fed: Sequence[Meter], bound: str | None, default: bool, lang: Language) -> str:
    if fed:
        return _say(lang, "metered", meters=", ".join(f"{meter.name} ({meter.role})" for meter in fed))
    if bound == GRID:
        return messages.text("method.show.grid", lang)
    if bound is not None:
        return _say(lang, "bound", reference=bound)
    return _say(lang, "formula") if default else _say(lang, "declared")


def _instruments(boxes: Sequence[Box], lang: Language) -> Table:
    rows = [_instrument(box, device, lang) for box in boxes for device in box.installation.site.device]
    names = ("name", "model", "serial", "port", "ratio", "frequency")
    return _table(_say(lang, "instruments"), [_column(lang, name) for name in names], rows, (3, 4, 3, 2, 2, 2))


def _instrument(box: Box, device: Device, lang: Language) -> tuple[Cell, ...]:
    profile = box.installation.profiles[device.profile]
    ratio = "; ".join(f"{one.since.date()} {one.ct} × {one.pt}" for one in device.ratios)
    return (
        text(f"{device.id} {device.name}".strip()),
        text(f"{getattr(profile.title, lang)} ({profile.id})"),
        text(device.serial),
        text(f"{device.port} @ {device.address}"),
        text(ratio or "1"),
        text(device.period or profile.period),
    )


def _table(caption: str, head: Sequence[str], rows: Sequence[tuple[Cell, ...]], widths: tuple[int, ...]) -> Table:
    align: tuple[Align, ...] = tuple("left" for _ in head)
    return Table(caption, tuple(head), tuple(rows), align, widths)


def _column(lang: Language, name: str) -> str:
    return messages.text(f"report.column.{name}", lang)


def _say(lang: Language, message: str, /, **values: object) -> str:
    return messages.text(f"report.plan.{message}", lang, **values)
