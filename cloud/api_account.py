"""/v1: what was booked and what it comes to: intervals, emissions, their explanation, their evidence."""

import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from cloud import problem, query, statements
from cloud.accounting import period as periods
from cloud.accounting.statement import Statement
from cloud.api_record import Nothing, decimal
from cloud.collector import Collector, Held
from cloud.evidence.pack import pack
from cloud.pages.render import iso
from cloud.query import GatewayId, Instant, Json, Name
from cloud.rows import IntervalRow, Unread
from protocols.errors import AccountError, RottenError

router = APIRouter(prefix="/v1", tags=["account"], responses=problem.DESCRIBED)
PIECE = 1 << 16

Reference = Annotated[
    str,
    Field(
        pattern=r"^E-[A-Za-z0-9][A-Za-z0-9._-]{0,63}-[0-9-]{4,22}(@[1-9][0-9]{0,5})?$",
        description="a statement E-SITE-PERIOD, or one version E-SITE-PERIOD@2",
    ),
]


class IntervalQuery(query.Walk):
    """Which intervals."""

    gateway: GatewayId | None = None
    device: Name | None = None
    point: Name | None = None
    since: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None


class EmissionQuery(query.Query):
    """Which emissions: all sites, or one; closed periods and the open day, or one period."""

    site: Name | None = None
    period: Annotated[str | None, Field(max_length=40)] = None


@router.get("/intervals")
def intervals(held: Held, asked: Annotated[IntervalQuery, Query()]) -> Json:
    """Intervals in the order they were booked or changed: a walk by cursor misses no late and no corrected one.
    One that has rotted is named, and why it cannot be read.
    """
    (after,) = query.decode_cursor(asked.cursor, 1)
    as_of = held.store.as_of()
    start, end = query.optional_ms(asked.since), query.optional_ms(asked.to)
    where = {"device = ?": asked.device, "point = ?": asked.point, "start >= ?": start, "start < ?": end}
    gateway = None if asked.gateway is None else bytes.fromhex(asked.gateway)
    found = held.store.interval_page(after, asked.limit + 1, gateway=gateway, where=where)
    shown = found[: asked.limit]
    following = query.encode_cursor(shown[-1].ingest_seq if shown else after)
    data, more = [_interval(row) for row in shown], len(found) > asked.limit
    told = asked.model_dump(by_alias=True)
    return query.page("/v1/intervals", data, told, following=following, more=more, as_of=as_of)


@router.get("/emissions")
def emissions(held: Held, asked: Annotated[EmissionQuery, Query()]) -> Json:
    """The newest version of every closed period and the open day; or one period, closed or as it stands. Of a site of
    which intervals have rotted, why they cannot be read.
    """
    sites = [asked.site] if asked.site is not None else held.store.sites()
    if asked.site is not None and asked.site not in held.store.sites():
        raise problem.missing("site", asked.site)
    data = list[dict[str, Any]]()
    for site in sites:
        try:
            data += [summary(entry) for entry in _of_site(held, site, asked.period)]
        except RottenError as error:
            data.append({"site": site, "unreadable": str(error)})
    return Json({"data": data, "as_of_seq": held.store.as_of()})


@router.get("/emissions/{reference}")
def emission(reference: Reference, held: Held, asked: Annotated[Nothing, Query()]) -> Json:
    """One statement, its versions and what distinguishes them."""
    entry = statement(held, reference)
    versions = [summary(each) | {"supersedes": each.supersedes} for each in statements.versions(held.store, entry.id)]
    return Json(summary(entry) | {"versions": versions})


@router.get("/emissions/{reference}/explain")
def explain(reference: Reference, held: Held, asked: Annotated[Nothing, Query()]) -> Json:
    """What made the figure: activity data down to the registers and their blocks, the factor, method and engine."""
    return Json(statements.explain(statement(held, reference)))


@router.get("/evidence/{reference}")
def evidence(reference: Reference, held: Held, asked: Annotated[Nothing, Query()]) -> Response:
    """All that is needed to compute the figure again without us, as a zip: ``tanmeter evidence verify``."""
    entry = statement(held, reference)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the answer is being sent
    try:
        pack(held.store, held.key, entry, file)
    except BaseException:
        file.close()
        raise
    size = file.tell()
    file.seek(0)
    headers = {"content-disposition": f'attachment; filename="{name(entry)}.zip"', "content-length": str(size)}
    return StreamingResponse(_pieces(file), headers=headers, media_type="application/zip")


def statement(held: Collector, reference: str) -> Statement:
    """The statement of this name, or the open period as it stands now; Problem 404 when there is neither."""
    try:
        return statements.get(held.store, reference)
    except AccountError:
        site, period = split(held, reference)
    try:
        return statements.live(held.store, site, period, held.now())
    except AccountError as error:
        raise problem.Problem(404, error.code, problem.detail_of(error)) from error


def split(held: Collector, reference: str) -> tuple[str, str]:
    """Site and period of a statement's name without a version; Problem 404 when no site of ours is in it."""
    for site in sorted(held.store.sites(), key=len, reverse=True):
        if reference.startswith(f"E-{site}-") and "@" not in reference:
            return site, reference.removeprefix(f"E-{site}-")
    raise problem.missing("statement", reference)


def name(entry: Statement) -> str:
    """What to call this very version; the open period has no version yet."""
    return entry.reference if minted(entry) else entry.id


def minted(entry: Statement) -> bool:
    """Whether it is a version that stays, not the open period as it stands."""
    return entry.version > 0


def summary(entry: Statement) -> dict[str, Any]:
    """A statement in a list."""
    content = entry.content
    reference = name(entry)
    return {
        "id": entry.id, "version": entry.version, "open": not minted(entry), "site": content.site,
        "period": content.period.id, "start": content.period.start, "end": content.period.end,
        "through": content.period.through, "tco2": {"value": decimal(content.tco2), "unit": "tCO2"},
        "activity": {"value": decimal(content.kwh), "unit": "kWh"}, "provisional": content.provisional,
        "reasons": list(content.reasons), "readings": content.coverage.readings, "expected": content.coverage.expected,
        "gaps": len(content.gaps), "digest": entry.digest, "minted_at": entry.minted_at if minted(entry) else None,
        "as_of_seq": entry.as_of, "explain": f"/v1/emissions/{reference}/explain",
        "evidence": f"/v1/evidence/{reference}" if minted(entry) else None, "page": f"/statements/{entry.id}",
    }  # fmt: skip


def _of_site(held: Collector, site: str, period: str | None) -> Iterator[Statement]:
    if period is not None:
        yield statement(held, f"E-{site}-{period}")
        return
    yield from statements.listing(held.store, site)
    try:
        yield statements.live(
            held.store, site, periods.day_of(held.now(), statements.zone_of(held.store, site)), held.now()
        )
    except AccountError:
        return


def _interval(row: IntervalRow | Unread) -> dict[str, Any]:
    if isinstance(row, Unread):
        return {"seq": row.ingest_seq, "gateway": row.gateway.hex(), "unreadable": row.why}
    found = row.interval
    return {
        "seq": row.ingest_seq, "gateway": row.gateway.hex(), "device": found.device, "point": found.point,
        "kind": found.kind, "meter": found.meter,
        "start": iso(found.start), "end": iso(found.end), "closed": found.closed,
        "register_start": query.register(found.register_start), "register_end": query.register(found.register_end),
        "rolled": decimal(found.rolled), "multiplier": decimal(found.multiplier),
        "consumption": decimal(found.consumption), "unit": found.unit, "readings": found.readings,
        "expected": found.expected, "coverage": decimal(round(found.coverage, 4)), "quality": found.quality,
        "state": found.state, "ignored": found.ignored,
    }  # fmt: skip


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE):
            yield piece
