"""Where a subject's accounts are filed, as its subject file declares it, and what of that the system knows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal
from urllib.parse import quote

from cloud import accounts, metering, query
from cloud.accounting import draw, filing
from cloud.accounting.calculate import UNDOCUMENTED, UNPROVED
from cloud.accounting.inventory import account_id, by_reason
from cloud.accounting.subject import Filing, Subject
from cloud.accounts import Head
from cloud.evidence import account_pack
from cloud.pages import render
from cloud.store import Store
from protocols import messages
from protocols.errors import AccountError, RottenError
from protocols.messages import Language

State = Literal["running", "none", "provisional", "ready", "offered"]
NAMES = 2
SOON_DAYS = 7
YEAR = len("2026")
NAMED = 3
"""Things that an entry names at most; its page has them all."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is missing before it can be filed, or where it is to be had, and the page of that."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Row:
    """One destination and the newest period it asks for. ``left``: days until it is due, below 0 once they are over.

    ``earlier``: periods before it that are not ready, as far as anybody looks back.
    """

    to: str
    document: str
    period: str
    state: State
    due: date | None
    left: int | None
    steps: tuple[Step, ...]
    earlier: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing is left to do for it here."""
        return self.state in ("running", "ready", "offered")

    @property
    def pressing(self) -> bool:
        """Whether something is left to do, and it is due soon or over."""
        return not self.ready and self.left is not None and self.left <= SOON_DAYS


@dataclass(frozen=True, slots=True)
class Desk:
    """A subject with its newest versions by period, on a day, for a reader of this language."""

    store: Store
    subject: Subject
    heads: Mapping[str, Head]
    today: date
    lang: Language

    def say(self, name: str, **values: object) -> str:
        """A text of the box."""
        return messages.text(f"page.filing.{name}", self.lang, **values)


def rows(desk: Desk) -> tuple[Row, ...]:
    """Each filing that is in force, in the order of the subject file."""
    return tuple(row for one in desk.subject.filing if (row := _row(desk, one)) is not None)


def told(desk: Desk, period: str) -> bool:
    """Whether a main meter of the subject has counted anything in a period: its account can be drawn up."""
    over = accounts.period_of(period)
    return any(
        desk.store.intervals(
            0, 1, gateway=one.id, device=meter.device, point=meter.point, start=over.start, end=over.end
        )
        for meter in desk.subject.meter
        if meter.role == "main"
        for one in metering.gateways(desk.store, desk.subject, meter)
    )


def now_page(desk: Desk, period: str) -> str:
    """Where an account that was not issued is seen as it stands, if any meter tells of it."""
    return f"/accounts/{quote(account_id(desk.subject.id, period))}" if told(desk, period) else "/accounts"


def _row(desk: Desk, entry: Filing) -> Row | None:
    over = list(filing.periods(entry, desk.today))
    period = over[0] if over else filing.running(entry, desk.today)
    if not period:
        return None
    state: State = _state(entry, desk.heads.get(period)) if over else "running"
    day = filing.due(entry, accounts.period_of(period).days()[0])
    return Row(
        to=entry.zh if desk.lang == "zh" else entry.en,
        document=entry.document,
        period=period,
        state=state,
        due=day,
        left=None if day is None else (day - desk.today).days,
        steps=tuple(_steps(desk, state, period)),
        earlier=tuple(one for one in over[1:] if _state(entry, desk.heads.get(one)) in ("none", "provisional")),
    )


def _state(entry: Filing, head: Head | None) -> State:
    if head is None:
        return "none"
    if entry.by == "feed":
        return "offered"
    return "ready" if head.locked else "provisional"


def _steps(desk: Desk, state: State, period: str) -> Iterator[Step]:
    head = desk.heads.get(period)
    if state == "none":
        yield Step(desk.say("none", period=period), now_page(desk, period))
        if held := _months(desk, period):
            yield Step(desk.say("months", held=len(held), locked=sum(one.locked for one in held)), "/accounts")
    if head is None:
        return
    api = f"/v1/accounts/{quote(head.reference)}"
    if state == "provisional":
        yield from _lacking(desk, head)
    elif state == "ready":
        if taken := len(head.standing.exceptions):
            yield Step(desk.say("exceptions", n=taken), f"/accounts/{quote(head.reference)}#why")
        yield Step(desk.say("report"), f"{api}/report.pdf?lang={desk.lang}")
        if _has_pack(desk.store, head):
            yield Step(desk.say("evidence"), f"{api}/evidence")
    elif state == "offered":
        at, cursor = render.clock(head.at, "%Y-%m-%d %H:%M"), query.encode_cursor(head.number - 1)
        yield Step(desk.say("since", at=at, seq=head.number), f"/v1/corrections?cursor={cursor}")


def _months(desk: Desk, period: str) -> list[Head]:
    """The accounts of a year's months."""
    found = (desk.heads.get(f"{period}-{month:02}") for month in range(1, 13)) if len(period) == YEAR else ()
    return [one for one in found if one is not None]


def _lacking(desk: Desk, head: Head) -> Iterator[Step]:
    """What stands between a version and a lock that takes nothing on trust: names, documents, what is not confirmed."""
    page, signed = f"/accounts/{quote(head.reference)}", head.standing.names
    yield Step(desk.say("names", n=NAMES - len(signed), signed=", ".join(signed) or "–"), f"{page}#versions")
    found = by_reason(draw.unconfirmed(accounts.get(desk.store, head.reference).content))
    if documents := [*found.pop(UNPROVED, []), *found.pop(UNDOCUMENTED, [])]:
        yield Step(desk.say("documents", n=len(documents), which=some(documents)), f"{page}#why")
    if found:
        yield Step(desk.say("unconfirmed", n=sum(max(1, len(each)) for each in found.values())), f"{page}#why")


def _has_pack(store: Store, head: Head) -> bool:
    """Whether its evidence is to be had; not of one that has rotted."""
    try:
        return account_pack.is_to_be_had(store, accounts.get(store, head.reference))
    except (RottenError, AccountError):
        return False


def some(names: Sequence[str]) -> str:
    """The first of them."""
    return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
