"""Reports over HTTP: an account as PDF, Word or Excel, in either language."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from cloud import problem, reports
from cloud.collector import Held

router = APIRouter(prefix="/v1", tags=["reports"], responses=problem.DESCRIBED)

Reference = Annotated[str, Path(max_length=120, pattern=r"^A-[A-Za-z0-9._@-]+$")]
PERIOD = r"^[0-9]{4}(-(0[1-9]|1[0-2])(-[0-3][0-9](--[0-9]{4}-[0-9]{2}-[0-9]{2})?)?)?$"
TYPES = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@router.get(
    "/accounts/{reference}/report.{form}",
    response_class=Response,
    responses={200: {"content": {name: {} for name in TYPES.values()}}},
)
def report(
    *,
    request: Request,
    reference: Reference,
    form: Literal["pdf", "docx", "xlsx"],
    held: Held,
    kind: Annotated[reports.Kind, Query(description="which report")] = "enterprise",
    lang: Annotated[Literal["zh", "en"], Query(description="language of the report")] = "zh",
) -> Response:
    """The report of an account, made now from the version that is named. 422 where it cannot be printed here."""
    address = f"{request.url.scheme}://{request.url.netloc}"
    made = reports.build(held.store, reports.Ask(reference, kind, form, lang, address))
    name = f"{reference}-{kind}.{form}"
    return Response(made, media_type=TYPES[form], headers={"content-disposition": f'attachment; filename="{name}"'})


@router.get(
    "/boundaries/{boundary}/report.{form}",
    response_class=Response,
    responses={200: {"content": {name: {} for name in TYPES.values()}}},
)
def summary(
    *,
    request: Request,
    boundary: Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")],
    form: Literal["pdf", "docx", "xlsx"],
    period: Annotated[str, Query(pattern=PERIOD, description="a month, a day, a year or a span of days")],
    held: Held,
    lang: Annotated[Literal["zh", "en"], Query(description="language of the report")] = "zh",
) -> Response:
    """The summary of a city, district or park over a period, over its members' newest accounts of it."""
    address = f"{request.url.scheme}://{request.url.netloc}"
    ask = reports.Ask("", "enterprise", form, lang, address)
    made = reports.build_city(request.app.state.city, boundary, period, ask, held.now())
    name = f"{boundary}-{period}.{form}"
    return Response(made, media_type=TYPES[form], headers={"content-disposition": f'attachment; filename="{name}"'})
