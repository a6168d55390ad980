"""Reports out of the store: which report, of which account, in which form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cloud import accounts, metering, subjects
from cloud.accounting import boundary as boundaries
from cloud.accounting import membership as members
from cloud.accounting import method as methods
from cloud.accounting import period as periods
from cloud.accounting.subject import ZONE, Subject
from cloud.report import city, enterprise, quality_plan, supplementary
from cloud.report.document import Document
from cloud.report.quality_plan import Box, Signed
from cloud.store import Store
from protocols.errors import ReportError
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


def build_city(store: Store, boundary: str, period: str, ask: Ask, now: int) -> bytes:
    """The summary of a boundary over a period as a file; UnknownNameError, AccountError, ReportError.

    Of ``ask`` counts the form, the language and the address.
    """
    known = [held.subject for held in subjects.listing(store)]
    subject = subjects.get(store, boundary).subject
    chosen, membership = accounts.period_of(period), members.of(known)
    first, last = chosen.days()
    found = tuple(
        one
        for one in accounts.listing(store, period=period)
        if membership.weight(one.content.subject, boundary, first, last)
    )
    lines = [line for one in found for line in one.content.lines]
    summed = city.Boundary(subject, period, boundaries.bridge(boundary, membership, lines), found)
    return _renderer(ask.form)(city.compose(summed, ask.lang, ask.address, periods.stamp(now, ZONE)))


def _compose(store: Store, ask: Ask) -> Document:
    version = accounts.get(store, ask.reference)
    subject = subjects.get(store, version.content.subject).subject
    method = methods.get(version.content.method)
    if ask.kind == "supplementary":
        return supplementary.compose(version, subject, ask.lang, ask.address)
    if ask.kind == "plan":
        return quality_plan.compose(subject, _boxes(store, subject), method, ask.lang, version.minted_at)
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
