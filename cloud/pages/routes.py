"""The addresses of the pages, and how an error looks to whom asks: a page for a browser, JSON for a program."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from cloud import api_account, problem, subjects
from cloud.api_account import Reference
from cloud.api_record import gateway_row
from cloud.collector import LATE_MS, Held, algorithm, health
from cloud.opening import open_stored
from cloud.pages import meter as meters
from cloud.pages import overview as overviews
from cloud.pages import records, render, todo
from cloud.pages import statement as statement_pages
from cloud.pages.download import csv_file
from cloud.pages.incidents import incidents
from cloud.query import GatewayId, Name, Number
from protocols import messages
from protocols.errors import AccountError, RottenError

router = APIRouter(include_in_schema=False)
BLOCKS = 30
EVENTS = 30
SEEDS = 1_000_000

Device = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Point = Annotated[str | None, Query(max_length=64)]
Site = Annotated[str | None, Query(max_length=64)]
Seed = Annotated[int | None, Query(ge=0, lt=SEEDS)]
Version = Annotated[int | None, Query(ge=1, lt=1_000_000)]
Before = Annotated[int | None, Query(ge=1, le=(1 << 53))]
Instant = Annotated[int | None, Query(ge=-(1 << 53), le=1 << 53)]


@router.get("/")
def overview(request: Request, held: Held, site: Site = None) -> HTMLResponse:
    """One site: today's tonnes and kWh, power, days, meters, gateways, incidents."""
    if site is not None and site not in held.store.sites():
        raise problem.missing("site", site)
    view = overviews.overview(held, site, render.language(request))
    lang = render.language(request)
    boxed, unread = list[todo.Box](), dict[str, str]()
    for name in subjects.at_site(held.store, view.site) if view.site else ():
        try:
            boxed.append(todo.box(held, subjects.get(held.store, name).subject, lang))
        except (RottenError, AccountError) as error:
            unread[name] = str(error)
    return render.page(
        request, "overview.html", view=view, boxed=boxed, unread=unread, incidents=view.incidents, zone=view.zone
    )


@router.get("/statements/{reference}")
def statement(
    *,
    request: Request,
    reference: Reference,
    held: Held,
    version: Version = None,
    sample: Annotated[str, Query(pattern="^(random|largest|outage)?$")] = "",
    seed: Seed = None,
) -> HTMLResponse:
    """Where a figure comes from, down to the frames."""
    named = f"{reference}@{version}" if version is not None and "@" not in reference else reference
    entry = api_account.statement(held, named)
    asked = entry.version if "@" in named else None
    drawn = secrets.randbelow(SEEDS) if seed is None else seed
    draw = statement_pages.Draw(sample, drawn, secrets.randbelow(SEEDS))
    view = statement_pages.view(held, entry, asked, draw, render.language(request))
    return render.page(request, "statement.html", view=view, zone=view.zone)


@router.get("/gateways/{gateway}")
def gateway(request: Request, gateway: GatewayId, held: Held, before: Before = None) -> HTMLResponse:
    """One gateway: key, health, newest values, blocks, events, incidents."""
    row, now, lang = gateway_row(held, gateway), held.now(), render.language(request)
    found = held.store.blocks(row.id, limit=BLOCKS + 1, newest_first=True, before=before)
    installation = held.store.installation(row.id)
    site = installation.site if installation else None
    return render.page(
        request,
        "gateway.html",
        gateway=row,
        health=health(row, now),
        age=now - (row.received_at or now),
        coverage=records.coverage(row),
        algorithm=algorithm(row.algorithm),
        site_name=site.site.name if site else "",
        configurations=held.store.configurations(row.id),
        devices={one.id: one.name for one in site.device} if site else {},
        values=records.values(installation, row, held.store.latest(row.id), lang),
        blocks=found[:BLOCKS],
        older=found[BLOCKS - 1].ingest_seq if len(found) > BLOCKS else None,
        late=LATE_MS,
        events=held.store.events(row.id, EVENTS),
        incidents=incidents(held, row.id, lang, 20),
        zone=str(site.zone) if site else render.ZONE,
    )


@router.get("/blocks/{gateway}/{epoch}/{seq}")
def block(
    *,
    request: Request,
    gateway: GatewayId,
    epoch: Number,
    seq: Number,
    held: Held,
    at: Instant = None,
    device: Annotated[str | None, Query(max_length=64)] = None,
    all_: Annotated[bool, Query(alias="all")] = False,
) -> HTMLResponse:
    """One block: its envelope, its chunks, every frame asked and answered, verified while the page is made."""
    row = gateway_row(held, gateway)
    found = open_stored(held.store, row, epoch, seq)
    if found is None:
        raise problem.missing("block", f"{gateway}/{epoch}/{seq}")
    installation = held.store.installation(row.id)
    view = records.block_view(held, row, found, at=at, device=device, everything=all_, lang=render.language(request))
    zone = str(installation.site.zone) if installation else render.ZONE
    return render.page(request, "block.html", view=view, zone=zone)


@router.get("/meters/{gateway}/{device}")
def meter(request: Request, gateway: GatewayId, device: Device, held: Held, point: Point = None) -> HTMLResponse:
    """One meter: what it counts, and the intervals of one of them over the last 24 hours."""
    view = meters.view(held, gateway_row(held, gateway), device, point, render.language(request))
    return render.page(request, "meter.html", view=view, zone=view.zone)


@router.get("/meters/{gateway}/{device}/intervals.csv")
def intervals_csv(gateway: GatewayId, device: Device, held: Held, point: Annotated[Name, Query()]) -> Response:
    """The intervals of one point of a meter over the last 24 hours."""
    heads, lines = meters.csv_lines(held, gateway_row(held, gateway), device, point)
    return csv_file(f"{device}-{point}.csv", heads, lines)


@router.get("/errors")
def errors(request: Request) -> HTMLResponse:
    """Every error code with its meaning and the one next action."""
    entries = [(code, entry) for code, entry in sorted(messages.catalogue().items()) if "zh_fix" in entry]
    return render.page(request, "errors.html", entries=entries)


@router.get("/power.csv")
def power_csv(held: Held, site: Annotated[Name, Query()]) -> Response:
    """Mean power of 15 minutes, kW, the last 24 hours."""
    _known(held, site)
    series, rows = overviews.power_rows(held, site)
    lines = ([render.iso(row.start), *row.values] for row in rows)
    return csv_file("power.csv", ["start", *(f"{name} kW" for name in series)], lines)


@router.get("/days.csv")
def days_csv(held: Held, site: Annotated[Name, Query()]) -> Response:
    """Day by day: kWh and tCO2, and which version of the statement says so."""
    _known(held, site)
    lines = ([row.day, row.kwh, row.tco2, row.version or "open", row.id] for row in overviews.day_rows(held, site))
    return csv_file("days.csv", ["day", "kWh", "tCO2", "version", "statement"], lines)


async def failed(request: Request, error: Exception) -> Response:
    """A page for a reader of pages, application/problem+json for everybody else."""
    found = problem.of(error)
    browser = "text/html" in request.headers.get("accept", "")
    if not browser or request.url.path.startswith("/v1/"):
        return problem.response(found, request.scope)
    lang = render.language(request)
    told = problem.members(found, request.url.path, lang, problem.request_id(request.scope))
    if found.code == RottenError.code:
        told |= {"title": messages.text("page.rotten", lang), "fix": messages.text("page.rotten.how", lang)}
    return render.page(request, "problem.html", found.status, problem=told)


def _known(held: Held, site: str) -> None:
    if site not in held.store.sites():
        raise problem.missing("site", site)
