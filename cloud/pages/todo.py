"""What an enterprise's accounts and meters ask somebody to do now, each with the page of it and how it is done."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from cloud import accounts, cross_checks, early_warning, metering
from cloud.accounting import draw
from cloud.accounting import period as periods
from cloud.accounting.beside import BESIDE
from cloud.accounting.calculate import DRAFT_FACTOR, DRAFT_METHOD, UNDOCUMENTED, UNPROVED
from cloud.accounting.checks import Finding
from cloud.accounting.days import LEFT_OUT
from cloud.accounting.electricity import MISSING, SUSPECT
from cloud.accounting.interval_text import known_until
from cloud.accounting.inventory import Version, by_reason
from cloud.accounting.offsets import BEYOND
from cloud.accounting.subject import ZONE, Meter, Subject
from cloud.accounts import Head
from cloud.collector import Collector, health
from cloud.pages import filing, render
from cloud.pages.filing import Desk, Row
from cloud.rows import Gateway
from protocols import messages
from protocols.messages import Language

DAY_MS = 86_400_000
MEND = "tanmeter cloud mend --copy …"
DONE_BY_SOMEBODY = (MISSING, LEFT_OUT, SUSPECT, UNPROVED, UNDOCUMENTED, BESIDE, BEYOND, DRAFT_METHOD, DRAFT_FACTOR)
"""Reasons that somebody can take away now; the others go by themselves, or stay with the figure."""


@dataclass(frozen=True, slots=True)
class Todo:
    """One thing to do: what, how (a command, or words), where; ``urgent``: it is overdue or stands against a lock."""

    text: str
    how: str
    href: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """What there is to do for a subject, urgent things first, and where its accounts are filed."""

    subject: str
    name: str
    account: str
    todo: tuple[Todo, ...]
    filings: tuple[Row, ...]
    declared: bool


def box(held: Collector, subject: Subject, lang: Language) -> Box:
    """The two boxes of a subject as everything stands now."""
    now, heads = held.now(), accounts.heads(held.store, subject.id)
    desk = Desk(held.store, subject, heads, periods.day(now, ZONE), lang)
    filings = filing.rows(desk)
    newest = _newest(heads, now)
    version = None if newest is None else accounts.get(held.store, newest.reference)
    found = [
        *_filings(subject, filings, lang),
        *_warnings(held, subject, "" if newest is None else newest.reference, lang),
        *_accounts(desk, filings, now),
        *(() if version is None else _reasons(version, lang)),
        *(() if version is None else _findings(version, cross_checks.findings(held.store, version.content), lang)),
        *_meters(held, subject, lang),
    ]
    return Box(
        subject=subject.id,
        name=subject.zh if lang == "zh" else subject.en,
        account="" if newest is None else newest.reference,
        todo=tuple(sorted(found, key=lambda one: not one.urgent)),
        filings=filings,
        declared=bool(subject.filing),
    )


def _newest(heads: Mapping[str, Head], now: int) -> Head | None:
    """The newest account of a period that is over; where there is none, the newest of all."""
    ends = {name: accounts.period_of(name).end for name in heads}
    chosen = [name for name in heads if ends[name] <= now] or list(heads)
    return heads[max(chosen, key=lambda name: (ends[name], len(name)))] if chosen else None


def _filings(subject: Subject, rows: Iterable[Row], lang: Language) -> Iterator[Todo]:
    for row in rows:
        if row.pressing:
            over = row.left is not None and row.left < 0
            text = _text("overdue" if over else "due", lang, to=row.to, period=row.period, due=row.due)
            yield Todo(text, "; ".join(step.text for step in row.steps), f"#filing-{subject.id}", urgent=over)


def _warnings(held: Collector, subject: Subject, account: str, lang: Language) -> Iterator[Todo]:
    """Warnings that nobody has acknowledged or can read; of a subject without an account (a target alone) as the API
    has them.
    """
    for alarm in early_warning.listing(held.store, subject.id, standing=True):
        if alarm.state != "acknowledged":
            text = render.finding(alarm.message, lang, alarm.figures)
            how = f"tanmeter account acknowledge {alarm.id}"
            if alarm.state == "unreadable":
                how = MEND
            page = f"/accounts/{quote(account)}#warnings" if account else f"/v1/warnings/{quote(alarm.id)}"
            yield Todo(_text("warning", lang, text=text), how, page, urgent=alarm.critical)


def _accounts(desk: Desk, filings: Sequence[Row], now: int) -> Iterator[Todo]:
    """The month to close, and versions that wait for names."""
    heads, lang, subject = desk.heads, desk.lang, desk.subject
    month = periods.month_of(periods.month_of(now, ZONE).start - 1, ZONE).id
    asked = month in {row.period for row in filings} or any(name < month for name in heads)
    if not heads and not subject.meter:
        how = f"tanmeter account activity import …; {_close(subject, month)}"
        yield Todo(_text("bring", lang, period=month), how, "/accounts")
    elif month not in heads and (asked or filing.told(desk, month)):
        yield Todo(_text("close", lang, period=month), _close(subject, month), filing.now_page(desk, month))
    waiting = [one for one in heads.values() if not one.locked and accounts.period_of(one.period).end <= now]
    for one in sorted(waiting, key=lambda head: head.period, reverse=True)[:1]:
        signed = ", ".join(one.standing.names) or "–"
        text = _text("sign", lang, period=one.period, n=filing.NAMES - len(one.standing.names), signed=signed)
        how, href = f"tanmeter account lock {one.reference} --by …", f"/accounts/{quote(one.reference)}#versions"
        yield Todo(text, how, href)
    if len(waiting) > 1:
        oldest = min(waiting, key=lambda head: head.period)
        text = _text("earlier", lang, n=len(waiting) - 1, period=oldest.period)
        yield Todo(text, f"tanmeter account lock {oldest.reference} --by …", f"/accounts/{quote(oldest.reference)}")


def _close(subject: Subject, month: str) -> str:
    return f"tanmeter account close {subject.id} {month}"


def _reasons(version: Version, lang: Language) -> Iterator[Todo]:
    """Why a version is provisional, as far as somebody can do something about it; nothing of one that is locked."""
    if version.state == "locked":
        return
    page, period = f"/accounts/{quote(version.reference)}#why", version.content.period.id
    gaps = {one.meter.split("/")[1] for one in version.content.filled if one.value is None}
    for reason, things in by_reason(draw.unconfirmed(version.content)).items():
        if reason in DONE_BY_SOMEBODY:
            named = sorted(gaps) if reason == MISSING else things
            text = _text("reason", lang, period=period, text=messages.text(reason, lang))
            if named:
                said, which = messages.text(reason, lang), filing.some(named)
                text = _text("things", lang, period=period, text=said, which=which, n=len(named))
            yield Todo(text, _text(f"how.{reason}", lang), page)


def _findings(version: Version, found: Iterable[Finding], lang: Language) -> Iterator[Todo]:
    """What does not go together, but for what somebody has accepted already."""
    for one in found:
        if one.id not in cross_checks.ACCEPTED:
            text = f"{one.about}: {render.finding(f'check.{one.id}', lang, one.figures)}"
            how, blocks = messages.text(f"check.{one.id}.do", lang), one.severity == "block"
            yield Todo(text, how, f"/accounts/{quote(version.reference)}#checks", urgent=blocks)


def _meters(held: Collector, subject: Subject, lang: Language) -> Iterator[Todo]:
    """Gateways that have fallen silent, meters that nobody holds, and those without a reading for a day."""
    gateways = {one.id: one for one in held.store.gateways_of(subject.site)} if subject.site else {}
    bound: list[tuple[Meter, Gateway]] = []
    today = periods.day(held.now(), ZONE)
    for meter in (one for one in subject.meter if one.role == "main" and one.covers(today)):
        own = metering.gateways(held.store, subject, meter)
        if not own:
            yield Todo(_text("unheld", lang, meter=meter.name), _text("unheld.how", lang), f"/v1/subjects/{subject.id}")
        bound += [(meter, gateway) for gateway in own]
        gateways |= {gateway.id: gateway for gateway in own}
    for gateway in gateways.values():
        if health(gateway, held.now()) in ("quiet", "never"):
            yield _quiet(gateway, held.now(), lang)
    for meter, gateway in bound:
        if health(gateway, held.now()) == "live" and _silent(held, meter, gateway):
            text, how = _text("silent", lang, meter=meter.name), _text("silent.how", lang)
            yield Todo(text, how, f"/meters/{gateway.id.hex()}/{quote(meter.device)}")


def _quiet(gateway: Gateway, now: int, lang: Language) -> Todo:
    name, page = render.brief(gateway.id.hex(), 8), f"/gateways/{gateway.id.hex()}"
    if gateway.received_at is None:
        return Todo(_text("never", lang, gateway=name), _text("never.how", lang), page)
    silent = render.span(now - gateway.received_at, lang)
    return Todo(_text("quiet", lang, gateway=name, silent=silent), _text("quiet.how", lang), page)


def _silent(held: Collector, meter: Meter, gateway: Gateway) -> bool:
    now = held.now()
    own = held.store.series(gateway.id, meter.device, meter.point, now - DAY_MS, now)
    return not own or known_until(own[-1]) < now - DAY_MS


def _text(name: str, lang: Language, **values: object) -> str:
    return messages.text(f"page.todo.{name}", lang, **values)
