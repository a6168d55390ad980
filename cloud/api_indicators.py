"""/v1: indicators of subjects and boundaries, rankings, targets, warnings and what was said to them."""

from random import Random
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.requests import Request

from cloud import accounts, body, cross_checks, early_warning, indicator_show, indicators, problem, query
from cloud.accounting import period as periods
from cloud.accounting.inventory import account_id
from cloud.accounting.signed_acknowledgement import ACKNOWLEDGEMENT_TYPE
from cloud.accounting.subject import ZONE
from cloud.city import City
from cloud.collector import Held
from cloud.indicators import By
from cloud.query import Json, Name

router = APIRouter(prefix="/v1", tags=["indicators"], responses=problem.DESCRIBED)

PeriodId = Annotated[str, Field(max_length=40, description="2026-11-22, 2026-11, 2026 or FROM--UNTIL, end excluded")]
WarningId = Annotated[str, Path(max_length=200, pattern=r"^W-[A-Za-z0-9._-]+$", description="a warning W-...")]


MOST_BYTES = 8 << 10
"""Of a signed acknowledgement."""
SIGNED = {
    "requestBody": {
        "required": True,
        "content": {ACKNOWLEDGEMENT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class IndicatorQuery(query.Query):
    """Of whom, and over which period."""

    subject: Name
    period: PeriodId


class RankingQuery(query.Query):
    """Inside which boundary, over which period, by what; only of a kind or a category."""

    boundary: Name
    period: PeriodId
    by: By = "total"
    kind: Name | None = None
    category: Name | None = None


class TargetQuery(query.Query):
    """Of which year; of one subject, or of everybody."""

    year: Annotated[int, Field(ge=2000, le=2100)]
    subject: Name | None = None


class WarningQuery(query.Query):
    """Of one subject, or of everybody; only those that are not over."""

    subject: Name | None = None
    standing: bool = True


@router.get("/indicators")
def indicator(request: Request, asked: Annotated[IndicatorQuery, Query()]) -> Json:
    """Table 1's four indicators and Table 2's tree of a subject or a boundary, from the newest versions."""
    found = indicators.card(_city(request), asked.subject, accounts.period_of(asked.period), Random(indicators.SEED))
    return Json(indicator_show.card(found))


@router.get("/rankings")
def ranking(request: Request, asked: Annotated[RankingQuery, Query()]) -> Json:
    """Everybody inside a boundary in order; who has no figure stands at the end and says why.

    ``absent``: who is inside and has no account in the period at all; ``unreadable``: of whom a file or an account has
    rotted.
    """
    period = accounts.period_of(asked.period)
    told = {"kind": asked.kind or "", "category": asked.category or ""}
    rows = indicators.ranking(_city(request), asked.boundary, period, asked.by, **told)
    absent = indicators.absent(_city(request), asked.boundary, period, **told)
    data = [indicator_show.ranked(row) for row in rows]
    unread = sorted(_city(request).look(asked.boundary, period).unread)
    return Json({"by": asked.by, "period": period.id, "data": data, "absent": absent, "unreadable": unread})


@router.get("/targets")
def targets(request: Request, asked: Annotated[TargetQuery, Query()]) -> Json:
    """Quotas and targets of a year, and how they burn down; ``unreadable``: whose file has rotted, targets with it."""
    only = None if asked.subject is None else [_city(request).subject(asked.subject).id]
    found = indicators.aims(_city(request), asked.year, only)
    data, unread = [indicator_show.aim(one) for one in found], sorted(_city(request).unread())
    return Json({"year": asked.year, "data": data, "unreadable": unread})


@router.get("/warnings")
def warnings(held: Held, asked: Annotated[WarningQuery, Query()]) -> Json:
    """Warnings as they stand, critical ones first."""
    found = early_warning.listing(held.store, asked.subject, standing=asked.standing)
    return Json({"data": [indicator_show.alarm(one) for one in found]})


@router.get("/warnings/{name}")
def warning(held: Held, name: WarningId, asked: Annotated[query.Query, Query()]) -> Json:
    """One warning with its log, oldest first."""
    found = indicator_show.alarm(early_warning.get(held.store, name))
    log: list[dict[str, Any]] = [msgspec.to_builtins(event) for event in early_warning.history(held.store, name)]
    return Json({**found, "log": log})


@router.get("/checks")
def checks(held: Held, asked: Annotated[IndicatorQuery, Query()]) -> Json:
    """What does not go together in a subject's newest account of a period and what else is known of it."""
    version = accounts.get(held.store, account_id(asked.subject, asked.period))
    found = cross_checks.findings(held.store, version.content)
    data = [indicator_show.finding(one) for one in found]
    return Json({"account": version.reference, "ok": not found, "data": data})


@router.post("/warnings/{name}/acknowledge", openapi_extra=SIGNED)
async def acknowledge(request: Request, held: Held, name: WarningId) -> Json:
    """A reason to a warning under the key of a registered signer; 403 for any other key, 409 for one that has moved."""
    envelope, now = await body.read(request.scope, request.receive, MOST_BYTES), held.now()
    found = await held.writer.run(lambda: early_warning.take_signed(held.store, name, envelope, now))
    return Json({**indicator_show.alarm(found), "at": periods.stamp(now, ZONE)})


def _city(request: Request) -> City:
    city: City = request.app.state.city
    return city
