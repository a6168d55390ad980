"""Reports out of the store: which report, of which account, in which form."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cloud import accounts, early_warning, indicator_show, indicators, metering, subjects
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting.period import Period
from cloud.accounting.subject import ZONE, Subject
from cloud.city import City, Standing
from cloud.indicators import Card
from cloud.report import city, enterprise, quality_plan, supplementary
from cloud.report.document import Document
from cloud.report.quality_plan import Box, Signed
from cloud.store import Store
from protocols.errors import AccountError, ReportError
from protocols.messages import Language

Kind = Literal["enterprise", "supplementary", "plan"]
Form = Literal["pdf", "docx", "xlsx"]


@dataclass(frozen=True, slots=True)
class Ask:
    """Which report of which account. ``about``: what the enterprise says of itself; ``address``: of our pages."""

    reference: str
    kind: Kind
    form: Form
    lang: Language
    address: str
    about: Mapping[str, str] = field(default_factory=dict)


def build(store: Store, ask: Ask) -> bytes:
    """The report of an account as a file; UnknownNameError, ReportError."""
    return _renderer(ask.form)(_compose(store, ask))


def build_city(whole: City, boundary: str, period: str, ask: Ask, now: int) -> bytes:
    """The summary of a boundary over a period as a file; UnknownNameError, ReportError.

    Of ``ask`` counts the form, the language and the address. AccountError where nobody inside has an account of it.
    """
    over = accounts.period_of(period)
    card = indicators.card(whole, boundary, over)
    if not card.look.standings:
        raise AccountError(f"{boundary}, {period}: found no account of anybody in it, expected one at least")
    summed = city.Boundary(
        subject=card.subject,
        period=period,
        bridge=card.look.bridge,
        headlines=city.Headlines(card.look.brief.total, card.intensities, card.changes, card.reduction),
        members=tuple(_member(whole, one) for one in card.look.standings),
        missing=tuple((name, *_called(whole, name)) for name in card.look.incomplete),
        unread=tuple((name, *_called(whole, name)) for name in sorted(card.look.unread)),
        movers=tuple(_movers(whole, boundary, over)),
        warnings=tuple(_warnings(whole, card, ask.lang)),
        locked=card.look.locked,
        measured=card.look.measured,
        estimated=card.look.estimated,
        reasons=Counter(reason for one in card.look.standings for reason in one.tally.reasons),
    )
    return _renderer(ask.form)(city.compose(summed, ask.lang, ask.address, periods.stamp(now, ZONE)))


def _member(whole: City, one: Standing) -> city.Member:
    tally = one.tally
    measured = tally.quality.measured if tally.quality else None
    zh, en = _called(whole, tally.subject)
    return city.Member(zh, en, one.reference, tally.digest, one.locked, measured, tally.totals.total)


def _movers(whole: City, boundary: str, over: Period) -> Iterator[city.Mover]:
    """Who changed most against the period before, up or down."""
    moved = [(one.value, one) for one in indicators.ranking(whole, boundary, over, "change") if one.value]
    for percent, one in sorted(moved, key=lambda each: -abs(each[0]))[: city.MOVERS]:
        yield city.Mover(one.subject.zh, one.subject.en, percent, one.total)


def _called(whole: City, name: str) -> tuple[str, str]:
    subject = whole.subjects().get(name)
    return (name, name) if subject is None else (subject.zh, subject.en)


def _warnings(whole: City, card: Card, lang: Language) -> Iterator[tuple[str, str]]:
    """What stands of the boundary and of everybody in it: whose, and what it says."""
    inside = {card.subject.id, *card.look.brief.members, *card.look.incomplete}
    for alarm in early_warning.listing(whole.store, standing=True):
        if alarm.subject in inside:
            yield _called(whole, alarm.subject)[lang == "en"], indicator_show.text(alarm, lang)


def _compose(store: Store, ask: Ask) -> Document:
    version = accounts.get(store, ask.reference)
    subject = subjects.get(store, version.content.subject).subject
    method = methods.get(version.content.method)
    if ask.kind == "supplementary":
        return supplementary.compose(version, subject, ask.lang, ask.address)
    if ask.kind == "plan":
        return quality_plan.compose(
            subject, _boxes(store, subject), method, ask.lang, version.minted_at, lines=version.content.lines
        )
    return enterprise.compose(version, method, ask.about, ask.lang, ask.address)


def _boxes(store: Store, subject: Subject) -> list[Box]:
    """The gateways that the subject's meters hang on, each with every configuration it has had."""
    found: dict[bytes, Box] = {}
    for meter in subject.meter:
        for gateway in metering.gateways(store, subject, meter):
            installation = store.installation(gateway.id)
            if gateway.id not in found and installation is not None:
                signed = tuple(
                    Signed(one.number, one.digest.hex(), periods.stamp(one.valid_from, ZONE))
                    for one in store.configurations(gateway.id)
                )
                found[gateway.id] = Box(gateway.id.hex(), installation, signed)
    return list(found.values())


def _renderer(form: Form) -> Callable[[Document], bytes]:
    """What prints this form; ReportError where its library is not installed (the extra ``reports``)."""
    try:
        if form == "pdf":
            from cloud.report import pdf

            return pdf.render
        if form == "docx":
            from cloud.report import word

            return word.render
        from cloud.report import excel

        return excel.render
    except ImportError as error:
        raise ReportError(f"{form}: found no {error.name}, expected the extra `reports` to be installed") from error
