"""The addresses of the accounts' pages: all subjects, one account, its lines and flows, and the city."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from cloud import account_proof, accounts, cross_checks, early_warning, problem, subjects
from cloud.accounting import days
from cloud.accounting import period as periods
from cloud.accounting.inventory import Version
from cloud.accounting.subject import ZONE
from cloud.api_accounts import find
from cloud.collector import Collector, Held
from cloud.evidence import account_pack
from cloud.middle import middle
from cloud.pages import account as account_pages
from cloud.pages import city as city_pages
from cloud.pages import flow as flow_pages
from cloud.pages import render, todo
from cloud.pages.areas import areas as areas_of
from cloud.pages.download import csv_file
from protocols.errors import AccountError, RottenError

router = APIRouter(include_in_schema=False)

Reference = Annotated[str, Path(max_length=120, pattern=r"^A-[A-Za-z0-9._@-]+$")]
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
Month = Annotated[str | None, Query(max_length=24, pattern=r"^[0-9-]+$")]
Boundary = Annotated[str | None, Query(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Of = Annotated[flow_pages.Kind, Query()]
By = Annotated[city_pages.By, Query()]


@router.get("/accounts")
def listing(request: Request, held: Held) -> HTMLResponse:
    """The newest account of every subject; what has rotted of them is named."""
    month, lang = periods.month_of(held.now(), ZONE).id, render.language(request)
    known = request.app.state.city.subjects()
    unread, rows = dict(request.app.state.city.unread()), list[account_pages.Row]()
    entries = sorted(held.store.entries("account"), key=lambda row: (row.subject, row.period))
    for name, newest in {row.subject: row for row in entries}.items():
        subject = known.get(name)
        metered = subject is not None and bool(subject.meter or subject.monitor)
        reference = f"{newest.id}@{newest.version}"
        try:
            version = accounts.get(held.store, reference)
        except (RottenError, AccountError) as error:
            unread[reference] = str(error)
            continue
        rows.append(account_pages.row(version, month if metered else "", lang))
    return render.page(request, "accounts.html", rows=rows, month=month, unread=unread)


@router.get("/accounts/{reference}")
def account(request: Request, reference: Reference, held: Held) -> HTMLResponse:
    """One account: total, sources, what changed, every line, its reports and versions."""
    version, unread = find(held, reference), dict[str, str]()
    view = account_pages.view(
        version,
        subjects.get(held.store, version.content.subject).subject,
        _history(held, version, unread),
        accounts.versions(held.store, version.id),
        render.language(request),
    )
    lang = render.language(request)
    content = version.content
    names = {
        one.digest: (account_pages.name_of(one, lang), account_pages.item_of(one, lang), days.covered(one, content))
        for one in content.lines
    }
    warnings = early_warning.listing(held.store, version.content.subject, standing=True)
    return render.page(
        request,
        "account.html",
        view=view,
        evidence=account_pack.is_to_be_had(held.store, version),
        unread=unread,
        names=names,
        warnings=account_pages.warned(warnings, request.app.state.city.subjects(), lang),
        box=todo.box(held, subjects.get(held.store, version.content.subject).subject, lang),
        findings=account_pages.findings(cross_checks.findings(held.store, version.content), lang),
        stacks=cross_checks.stacks(held.store, version.content),
        running=accounts.period_of(version.content.period.id).end > held.now(),
    )


@router.get("/accounts/{reference}/lines/{digest}")
def line(request: Request, reference: Reference, digest: Digest, held: Held) -> HTMLResponse:
    """Where one line comes from."""
    version = find(held, reference)
    found = [one for one in version.content.lines if one.digest.startswith(digest)]
    if not found:
        raise problem.missing("line", digest)
    increments = account_proof.increments(held.store, found[0], version.as_of)
    view = account_pages.line_view(version, found[0], increments, render.language(request))
    evidence = account_pack.is_to_be_had(held.store, version)
    return render.page(request, "line.html", view=view, evidence=evidence)


@router.get("/accounts/{reference}/lines.csv")
def lines_csv(reference: Reference, held: Held) -> Response:
    """Every line of an account."""
    version = find(held, reference)
    heads = [
        "line",
        "source",
        "item",
        "activity",
        "formula",
        "mass t",
        "gas",
        "GWP",
        "tCO2e",
        "class",
        "leaf",
        "digest",
    ]
    rows = (
        [
            one.id,
            one.report,
            one.item,
            "; ".join(f"{given.symbol}={given.value} {given.unit} ({given.grade})" for given in one.activities),
            one.formula,
            one.mass,
            one.gas,
            one.gwp,
            one.tco2e,
            one.class_,
            one.leaf,
            one.digest,
        ]
        for one in version.content.lines
    )
    return csv_file(f"{version.reference}-lines.csv", heads, rows)


@router.get("/accounts/{reference}/sources.csv")
def sources_csv(request: Request, reference: Reference, held: Held) -> Response:
    """The chart by source as a table."""
    version = find(held, reference)
    subject = subjects.get(held.store, version.content.subject).subject
    view = account_pages.view(version, subject, _history(held, version, {}), [version], render.language(request))
    rows = ([bar.period, *bar.values] for bar in view.bars)
    return csv_file(f"{version.id}-sources.csv", ["period", *(f"{name} tCO2e" for name in view.series)], rows)


@router.get("/accounts/{reference}/flow")
def flows(request: Request, reference: Reference, held: Held, of: Of = "carbon") -> HTMLResponse:
    """Where the carbon, or the energy, comes from and where it goes."""
    version, lang = find(held, reference), render.language(request)
    name = version.content.name_zh if lang == "zh" else version.content.name_en
    view = flow_pages.view(version, of, middle(request.app.state.city, version), lang)
    return render.page(request, "flow.html", version=version, name=name, of=of, view=view)


@router.get("/accounts/{reference}/flow.csv")
def flow_csv(request: Request, reference: Reference, held: Held, of: Of = "carbon") -> Response:
    """The flows as a table."""
    version = find(held, reference)
    view = flow_pages.view(version, of, middle(request.app.state.city, version), render.language(request))
    rows = ([one.source, one.target, one.value, one.standing] for one in view.rows)
    return csv_file(f"{version.reference}-flow.csv", ["from", "to", flow_pages.UNITS[of], "standing"], rows)


@router.get("/city")
def city(
    *, request: Request, held: Held, boundary: Boundary = None, period: Month = None, by: By = "total"
) -> HTMLResponse:
    """Everybody's emissions of a period: map, ranking, indicators."""
    ask, city = city_pages.Ask(boundary, period, by), request.app.state.city
    view = city_pages.view(city, held.now(), ask, render.language(request))
    inside = {one.subject for one in view.rows} | {view.boundary}
    found = [one for one in early_warning.listing(held.store, standing=True) if one.subject in inside]
    warnings = account_pages.warned(found, city.subjects(), render.language(request))
    areas = areas_of(city, view.boundary, view.period, render.language(request))
    pages = {one.subject: one.reference for one in view.rows if one.reference}
    return render.page(request, "city.html", view=view, warnings=warnings, pages=pages, areas=areas)


@router.get("/city.csv")
def city_csv(
    *, request: Request, held: Held, boundary: Boundary = None, period: Month = None, by: By = "total"
) -> Response:
    """The ranking as a table."""
    ask, city = city_pages.Ask(boundary, period, by), request.app.state.city
    view = city_pages.view(city, held.now(), ask, render.language(request))
    heads = [
        "rank",
        "subject",
        "name",
        "method",
        "tCO2e",
        "change",
        "intensity",
        "unit",
        "grade",
        "measured",
        "account",
    ]
    rows = (
        [
            one.place,
            one.subject,
            one.name,
            one.method,
            one.total,
            one.change.value,
            one.intensity.value,
            one.intensity.unit,
            one.letter,
            one.measured,
            one.reference,
        ]
        for one in view.rows
    )
    return csv_file(f"ranking-{view.period}.csv", heads, rows)


def _history(held: Collector, version: Version, unread: dict[str, str]) -> list[Version]:
    """The subject's newest versions of periods written alike (months beside months), oldest first, up to two years;
    what cannot be read of its accounts is added to ``unread``.
    """
    shape = [len(part) for part in version.content.period.id.split("-")]
    found = accounts.listing(held.store, version.content.subject, unread=unread)
    alike = [one for one in found if [len(part) for part in one.content.period.id.split("-")] == shape]
    others = [one for one in alike if one.id != version.id]
    return sorted([*others, version], key=lambda one: one.content.period.id)[-account_pages.MOST_BARS :]
