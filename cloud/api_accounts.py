"""/v1: accounts of subjects: versions, lines, explanations, differences, corrections, exports."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cloud import account_proof, account_show, accounts, factor_shelf, problem, query, subjects, typed
from cloud.accounting import headline
from cloud.accounting.inventory import Version
from cloud.accounting.library import Library
from cloud.accounting.line import State
from cloud.accounting.method import Class
from cloud.api_record import Nothing
from cloud.collector import Collector, Held
from cloud.evidence import account_pack
from cloud.middle import middle
from cloud.pages import flow
from cloud.pages.render import iso
from cloud.query import Json, Name
from cloud.rot import UNREADABLE
from cloud.rows import JournalRow
from cloud.spreadsheet import safe
from protocols.errors import AccountError, FactorError, MethodError, RottenError, UnitError, UnknownNameError

router = APIRouter(prefix="/v1", tags=["accounts"], responses=problem.DESCRIBED)
ZIP = "application/zip"
BOM = "\ufeff"
"""Before a CSV, so that Excel takes it for UTF-8."""
ROTTEN = ("account", "unreadable")
"""Columns of an account that has rotted, among the lines of the others."""
CORRECTIONS = ("subject", "signer", "activity", "account", "mark", "bundle")

AccountId = Annotated[
    str,
    Field(
        pattern=r"^A-[A-Za-z0-9][A-Za-z0-9._-]{0,63}-[0-9-]{4,22}(@[1-9][0-9]{0,5})?$",
        description="an account A-SUBJECT-PERIOD, or one version A-SUBJECT-PERIOD@2",
    ),
]
PeriodId = Annotated[str, Field(max_length=40, description="2026-11-22, 2026-11, 2026 or FROM--UNTIL, end excluded")]
Format = Literal["json", "csv"]


class AccountsQuery(query.Walk):
    """Which accounts."""

    subject: Name | None = None
    period: PeriodId | None = None
    state: State | None = None


class LinesQuery(query.Walk):
    """Which lines: of an indicator leaf, of an accounting class."""

    leaf: Name | None = None
    accounting: Annotated[Class | None, Field(alias="class")] = None


class ExplainQuery(query.Query):
    """Which lines: those whose id begins so."""

    line: Annotated[str, Field(max_length=200)] = ""


class FlowQuery(query.Query):
    """Of what: carbon in tCO2e, energy in tonnes of standard coal, electricity in kWh."""

    of: flow.Kind = "carbon"


class DiffQuery(query.Query):
    """Against which version: by default the one it supersedes."""

    against: AccountId | None = None


class ExportQuery(query.Query):
    """In which form."""

    format: Format = "json"


class LinesExportQuery(query.Query):
    """Every line of a period, of one subject or of all."""

    period: PeriodId
    subject: Name | None = None
    format: Format = "csv"


@router.get("/accounts")
def listing(held: Held, asked: Annotated[AccountsQuery, Query()]) -> Json:
    """The newest version of every account in the order they were issued: a walk by cursor misses no newer one. One that
    has rotted is named, and why it cannot be read.
    """
    (after,) = query.decode_cursor(asked.cursor, 1)
    as_of = held.store.journal_end()
    rows = held.store.entries("account", subject=asked.subject, period=asked.period)
    found = [row for row in rows if row.number > after]
    data: list[dict[str, Any]] = []
    place, more = after, False
    for row in found:
        if len(data) == asked.limit:
            more = True
            break
        place = row.number
        try:
            version = accounts.get(held.store, f"{row.id}@{row.version}")
        except (RottenError, AccountError) as error:
            named = {"id": row.id, "version": row.version, "subject": row.subject, "period": row.period}
            data.append({**named, "unreadable": str(error)})
            continue
        if asked.state in (None, version.state):
            data.append(_summary(held, version))
    told = asked.model_dump(by_alias=True)
    return query.page("/v1/accounts", data, told, following=query.encode_cursor(place), more=more, as_of=as_of)


@router.get("/accounts/{reference}")
def account(reference: AccountId, held: Held, asked: Annotated[Nothing, Query()]) -> Json:
    """One account: its totals, how it stands, its versions. Without a number, of a period not over: as it is now."""
    version = find(held, reference)
    versions = [_summary(held, one) for one in accounts.versions(held.store, version.id)]
    difference = None if version.difference is None else account_show.differing(version.difference)
    totals = account_show.plain_totals(version.content.totals)
    more = {"totals": totals, "difference": difference, "exceptions": list(version.exceptions), "versions": versions}
    return Json(_summary(held, version) | more)


@router.get("/accounts/{reference}/lines")
def lines(reference: AccountId, held: Held, asked: Annotated[LinesQuery, Query()]) -> Json:
    """The lines of an account, each with its formula worked, its inputs and its digest."""
    version = find(held, reference)
    (after,) = query.decode_cursor(asked.cursor, 1)
    chosen = [
        line
        for line in version.content.lines
        if asked.leaf in (None, line.leaf) and asked.accounting in (None, line.class_)
    ]
    shown = chosen[after : after + asked.limit]
    place, more = after + len(shown), after + len(shown) < len(chosen)
    told, path = asked.model_dump(by_alias=True), f"/v1/accounts/{reference}/lines"
    data = [account_show.explained_line(line, version.content) for line in shown]
    return query.page(path, data, told, following=query.encode_cursor(place), more=more, as_of=version.as_of)


@router.get("/accounts/{reference}/explain")
def explain(reference: AccountId, held: Held, asked: Annotated[ExplainQuery, Query()]) -> Json:
    """What made the figure: formulas, factors and their standing; metered activity down to registers and blocks."""
    version = find(held, reference)
    chosen = [line for line in version.content.lines if line.id.startswith(asked.line)]
    if asked.line and not chosen:
        raise problem.missing("line", asked.line)
    found = {line.digest: account_proof.increments(held.store, line, version.as_of) for line in chosen}
    return Json(account_proof.told(version, found, asked.line))


@router.get("/accounts/{reference}/flow")
def flows(request: Request, reference: AccountId, held: Held, asked: Annotated[FlowQuery, Query()]) -> Json:
    """Where carbon or energy flows: sources, meters, those below them and what none of them counted, classes, total."""
    version = find(held, reference)
    return Json(flow.told(version, asked.of, middle(request.app.state.city, version)))


@router.get("/accounts/{reference}/diff")
def diff(reference: AccountId, held: Held, asked: Annotated[DiffQuery, Query()]) -> Json:
    """What it says beyond another version, split exactly into activity, factor, method and boundary."""
    after = find(held, reference)
    against = asked.against or (None if after.supersedes is None else f"{after.id}@{after.supersedes}")
    if against is None:
        raise problem.parameter("against", None, "against")
    before = find(held, against)
    found = account_show.differing(headline.between(before.content, after.content))
    return Json({"before": before.reference, "after": after.reference, **found})


@router.get("/accounts/{reference}/verify")
def verify(reference: AccountId, held: Held, asked: Annotated[Nothing, Query()]) -> Json:
    """The account made again from its symbols, its inputs and the store."""
    version = find(held, reference)
    if not version.version:
        raise problem.missing("account", reference)
    found = account_proof.verify(held.store, library(held), version.reference, held.now())
    checks = [{"name": check.name, "outcome": check.outcome, "detail": check.detail} for check in found]
    ok = all(check.outcome != "failed" for check in found)
    return Json({"account": version.reference, "ok": ok, "digest": version.digest, "checks": checks})


@router.get("/accounts/{reference}/export")
def export(reference: AccountId, held: Held, asked: Annotated[ExportQuery, Query()]) -> Response:
    """A version as it is kept, byte for byte what its digest is of; or its lines as a table."""
    version = find(held, reference)
    if asked.format == "csv":
        return _csv(account_show.rows([version.content]), version.reference)
    headers = {"content-disposition": f'attachment; filename="{version.reference}.json"', "etag": f'"{version.digest}"'}
    return Response(msgspec.json.encode(version.content), headers=headers, media_type="application/json")


@router.get("/accounts/{reference}/evidence", response_class=Response, responses={200: {"content": {ZIP: {}}}})
def evidence(reference: AccountId, held: Held, asked: Annotated[Nothing, Query()]) -> Response:
    """All that a version rests on, to be checked and drawn up again without us: ``tanmeter evidence verify``."""
    version = find(held, reference)
    if not version.version:
        raise problem.missing("account", reference)
    headers = {"content-disposition": f'attachment; filename="{version.reference}.zip"'}
    return Response(account_pack.pack_bytes(held.store, held.key, version), headers=headers, media_type=ZIP)


@router.get("/exports/lines")
def export_lines(held: Held, asked: Annotated[LinesExportQuery, Query()]) -> Response:
    """The lines of the newest version of every account of a period, as one table or one JSON object a line. An account
    that has rotted has one of its own, which names it and says why it cannot be read.
    """
    rows = _every_line(held.store.walk("account", subject=asked.subject, period=asked.period))
    label = f"lines-{asked.period}"
    if asked.format == "csv":
        return _csv(rows, label, (*account_show.COLUMNS, *ROTTEN))
    pieces = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    headers = {"content-disposition": f'attachment; filename="{label}.jsonl"'}
    return StreamingResponse(pieces, headers=headers, media_type="application/jsonl")


@router.get("/subjects")
def every_subject(held: Held, asked: Annotated[Nothing, Query()]) -> Json:
    """Every subject as it stands: kind, method, place, what it belongs to; of those whose file has rotted why they
    cannot be read.
    """
    roll = subjects.roll(held.store)
    data = [_subject(one) for one in roll.held.values()]
    unread = [{"subject": name, "why": why} for name, why in roll.unread.items()]
    return Json({"data": data, "unreadable": unread, "as_of_seq": held.store.journal_end()})


@router.get("/subjects/{subject}")
def one_subject(subject: Name, held: Held, asked: Annotated[Nothing, Query()]) -> Json:
    """One subject: its meters, memberships, denominators, targets; its versions; its accounts, and which of them have
    rotted and why they cannot be read.
    """
    found = subjects.get(held.store, subject)
    versions = [
        {"version": row.version, "sha256": row.digest, "at": iso(row.at), "by": row.by}
        for row in held.store.entry_versions("subject", subject)
    ]
    unread = dict[str, str]()
    own = [_summary(held, version) for version in accounts.listing(held.store, subject, unread=unread)]
    whole = msgspec.to_builtins(found.subject)
    return Json({**whole, **_subject(found), "versions": versions, "accounts": own, "unreadable": unread})


@router.get("/corrections")
def corrections(held: Held, asked: Annotated[query.Walk, Query()]) -> Json:
    """What was issued, decided, taken in or replaced since a cursor: what, by whom, the figure before and after; of an
    entry that has rotted why it cannot be read.
    """
    (after,) = query.decode_cursor(asked.cursor, 1)
    as_of = held.store.journal_end()
    found = held.store.journal(after, asked.limit + 1, CORRECTIONS)
    shown = found[: asked.limit]
    following = query.encode_cursor(shown[-1].number if shown else after)
    data, told = [_correction(held, row) for row in shown], asked.model_dump(by_alias=True)
    more = len(found) > asked.limit
    return query.page("/v1/corrections", data, told, following=following, more=more, as_of=as_of)


def find(held: Collector, reference: str) -> Version:
    """The version of this name. Without a number the newest one; of a period that is not over, and where there is none
    yet, the account as it stands now; where that cannot be drawn up the newest, which has its number. Problem 404.
    """
    numbered = "@" in reference
    try:
        newest = accounts.get(held.store, reference)
    except UnknownNameError:
        if numbered:
            raise
        newest = None
    if newest is not None and (numbered or accounts.period_of(newest.content.period.id).end <= held.now()):
        return newest
    subject, period = split(held, reference)
    try:
        return accounts.live(held.store, library(held), subject, accounts.period_of(period), held.now())
    except (AccountError, FactorError, MethodError, UnitError) as error:
        if newest is not None:
            return newest
        raise problem.Problem(404, error.code, problem.detail_of(error)) from error


def split(held: Collector, reference: str) -> tuple[str, str]:
    """Subject and period of an account's name; Problem 404 when no subject of ours is in it."""
    known = [row.id for row in held.store.entries("subject")]
    for subject in sorted(known, key=len, reverse=True):
        if reference.startswith(f"A-{subject}-"):
            return subject, reference.removeprefix(f"A-{subject}-")
    raise problem.missing("account", reference)


def library(held: Collector) -> Library:
    """The factors of this collector: built in, and the bundles it has taken in."""
    return factor_shelf.library(held.store)


def _summary(held: Collector, version: Version) -> dict[str, Any]:
    path = f"/v1/accounts/{version.reference}"
    found = account_show.summary(version)
    return {
        **{key: value for key, value in found.items() if key not in ("account", "tco2e")},
        "open": version.version == 0,
        "supersedes": version.supersedes,
        "name": {"zh": version.content.name_zh, "en": version.content.name_en},
        "kind": version.content.kind,
        "total": {"value": found["tco2e"], "unit": "tCO2e"},
        "provisional": version.state == "provisional",
        "as_of_seq": version.as_of,
        "explain": f"{path}/explain",
        "evidence": f"{path}/evidence" if account_pack.is_to_be_had(held.store, version) else None,
    }


def _subject(found: subjects.Held) -> dict[str, Any]:
    one = found.subject
    return {
        "id": one.id, "name": {"zh": one.zh, "en": one.en}, "kind": one.kind, "category": one.category,
        "method": one.method, "region": one.region, "basis": one.basis, "site": one.site,
        "place": None if one.place is None else {"lon": one.place.lon, "lat": one.place.lat},
        "belongs_to": [
            {"of": part.of, "share": part.share, "from": part.since.isoformat(),
             "until": None if part.until is None else part.until.isoformat()}
            for part in one.membership
        ],
        "version": found.version, "sha256": found.sha256,
    }  # fmt: skip


def _correction(held: Collector, row: JournalRow) -> dict[str, Any]:
    told: dict[str, Any] = {
        "seq": row.number, "kind": row.kind, "id": row.id, "version": row.version, "subject": row.subject,
        "period": row.period, "digest": row.digest, "at": None, "by": row.by,
    }  # fmt: skip
    try:
        typed.of(JournalRow, astuple(row))
        return told | {"at": iso(row.at)} | _decided(held, row)
    except (RottenError, AccountError, *UNREADABLE) as error:
        known = {name: None if isinstance(value, bytes) else value for name, value in told.items()}
        return known | {"unreadable": str(error)}


def _decided(held: Collector, row: JournalRow) -> dict[str, Any]:
    """What an entry says beyond its place; where it has rotted AccountError, RottenError or one of ``UNREADABLE``."""
    told: dict[str, Any] = {}
    detail = json.loads(row.detail)
    match row.kind:
        case "account":
            before = held.store.entry_head("account", row.id, row.version - 1) if row.version > 1 else None
            old = None if before is None else json.loads(before.detail)["tco2e"]
            told |= {"old": old, "new": detail["tco2e"], "unit": "tCO2e"}
            if before is not None:
                difference = accounts.issued(held.store, row.id, row.version).difference
                told["why"] = None if difference is None else _why(account_show.differing(difference))
        case "mark":
            told |= {"names": detail["by"], "closure": detail["closure"], "locked": len(detail["by"]) > 1}
        case "activity":
            told |= {"grade": detail["grade"], "replaces": detail["replaces"] or None, "entries": detail["count"]}
        case "signer":
            told |= {"trusted": detail["trusted"]}
        case "bundle":
            told |= {"files": detail["files"]}
    return told


def _every_line(rows: Iterable[JournalRow]) -> Iterator[dict[str, str]]:
    for row in rows:
        try:
            content = accounts.opened(row).content
        except (RottenError, AccountError) as error:
            named = dict(zip(ROTTEN, (f"{row.id}@{row.version}", str(error)), strict=True))
            yield {"subject": row.subject, "period": row.period, **named}
            continue
        yield from account_show.rows([content])


def _why(found: dict[str, Any]) -> dict[str, str]:
    return {key: found[key] for key in ("activity", "factor", "vintage", "method", "boundary")}


def _csv(rows: Iterable[dict[str, str]], label: str, columns: Sequence[str] = account_show.COLUMNS) -> Response:
    headers = {"content-disposition": f'attachment; filename="{label}.csv"'}
    return StreamingResponse(_table(rows, columns), headers=headers, media_type="text/csv; charset=utf-8")


def _table(rows: Iterable[dict[str, str]], columns: Sequence[str]) -> Iterator[str]:
    yield BOM + ",".join(columns) + "\r\n"
    for row in rows:
        line = io.StringIO()
        csv.DictWriter(line, columns).writerow({key: safe(value) for key, value in row.items()})
        yield line.getvalue()
