"""The data quality control plan (数据质量控制计划), made from the signed site configuration: what is installed says it.

Each parameter of every source that the account has or a meter feeds, with where it comes from; each instrument (model,
number, class, place) and how often it is read; what is done when data are missing; the log of versions is that of the
signed configurations. What nobody has told the system (departments, calibration) is left open for the hand, and that is
said.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from cloud.accounting import blocks
from cloud.accounting.block import Slot
from cloud.accounting.line import Activity, Line, Used
from cloud.accounting.method import GRID, Method, Row
from cloud.accounting.subject import Meter, Subject
from cloud.report.document import Align, Cell, Document, Heading, Paragraph, Part, Table, moment, text
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


def compose(
    subject: Subject, boxes: Sequence[Box], method: Method, lang: Language, issued: str, *, lines: Sequence[Line] = ()
) -> Document:
    """The plan of a subject whose meters hang on these gateways; ``issued``: RFC 3339; ``lines``: of its account."""
    say = partial(_say, lang)
    return Document(
        title=say("title", name=subject.zh if lang == "zh" else subject.en),
        subtitle=f"{method.document} · {method.edition}",
        language=lang,
        cover=(
            (messages.text("report.cover.subject", lang), f"{subject.zh} {subject.en} ({subject.id})"),
            (messages.text("report.cover.method", lang), f"{method.id} · {method.sha256[:16]}"),
            (messages.text("report.cover.minted", lang), moment(issued)),
        ),
        parts=tuple(_parts(subject, boxes, method, lang, lines)),
        footer=f"tanmeter · {subject.id}",
        issued=issued,
    )


def _parts(
    subject: Subject, boxes: Sequence[Box], method: Method, lang: Language, lines: Sequence[Line]
) -> Iterator[Part]:
    say = partial(_say, lang)
    yield Heading(1, say("versions"))
    yield _versions(boxes, lang) if boxes else Paragraph(say("none"), "note")
    yield Heading(1, say("boundary"))
    yield Paragraph(say("boundary_text", subject=subject.id, method=method.document, count=len(boxes)))
    yield Heading(1, say("parameters"))
    yield _parameters(subject, method, lang, lines)
    yield Heading(1, say("instruments"))
    yield _instruments(subject, boxes, lang) if boxes else Paragraph(say("none"), "note")
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


def _parameters(subject: Subject, method: Method, lang: Language, lines: Sequence[Line]) -> Table:
    """Each symbol of each row that the subject's meters feed or its account has: where its value comes from."""
    used = sorted({*(meter.row for meter in subject.meter), *(line.row for line in lines)})
    rows: list[tuple[Cell, ...]] = []
    for row in (method.row(name) for name in used):
        for slot in blocks.block(row.block).slots:
            fed = [meter for meter in subject.meter if (meter.row, meter.symbol) == (row.row, slot.name)]
            given = [one for line in lines if line.row == row.row for one in line.activities if one.symbol == slot.name]
            own = [one for line in lines if line.row == row.row for one in line.parameters if one.symbol == slot.name]
            source = _metered(fed, lang) if fed else _given(given, lang) if given else _taken(own, row, slot, lang)
            label = f"{row.row} {row.zh if lang == 'zh' else row.en}"
            rows.append((text(label), text(f"{slot.name} {slot.zh if lang == 'zh' else slot.en}"), text(source)))
    head = [_column(lang, "source"), _column(lang, "symbol"), _column(lang, "document")]
    return _table(messages.text("report.table.plan", lang), head, rows, (3, 3, 6))


def _metered(fed: Sequence[Meter], lang: Language) -> str:
    return _say(lang, "metered", meters=", ".join(f"{meter.name} ({meter.role})" for meter in fed))


def _given(given: Sequence[Activity], lang: Language) -> str:
    """How an activity that no meter feeds is had: by which kind of file, and after which documents."""
    grades = dict.fromkeys(messages.text(f"report.grade.{one.grade}", lang) for one in given)
    documents = dict.fromkeys(one.reference for one in given if one.reference)
    return _say(lang, "given", grades=", ".join(grades), documents=", ".join(documents) or _say(lang, "undocumented"))


def _taken(own: Sequence[Used], row: Row, slot: Slot, lang: Language) -> str:
    """Where a parameter comes from: what the account took, else what the method binds it to."""
    ids = dict.fromkeys(one.id for one in own if one.tier != "formula")
    if ids:
        measured = any(one.tier == "measured" for one in own)
        return _say(lang, "measured" if measured else "bound", reference=", ".join(ids))
    bound = row.bind.get(slot.name)
    if bound == GRID:
        return messages.text("method.show.grid", lang)
    if bound is not None:
        return _say(lang, "bound", reference=bound)
    return _say(lang, "formula" if slot.default is not None else "declared")


def _instruments(subject: Subject, boxes: Sequence[Box], lang: Language) -> Table:
    classes = {meter.device: meter.class_ for meter in subject.meter if meter.class_}
    rows = [
        _instrument(box, device, classes.get(device.id, ""), lang)
        for box in boxes
        for device in box.installation.site.device
    ]
    names = ("name", "model", "serial", "class", "port", "ratio", "frequency")
    return _table(
        messages.text("report.table.instruments", lang),
        [_column(lang, name) for name in names],
        rows,
        (3, 4, 2, 1, 3, 2, 1),
    )


def _instrument(box: Box, device: Device, class_: str, lang: Language) -> tuple[Cell, ...]:
    profile = box.installation.profiles[device.profile]
    ratio = "; ".join(f"{one.since.date()} {one.ct} × {one.pt}" for one in device.ratios)
    return (
        text(f"{device.id} {device.name}".strip()),
        text(f"{getattr(profile.title, lang)} ({profile.id})"),
        text(device.serial),
        text(class_),
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
