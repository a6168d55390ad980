"""/v1/factors: every value that accounts may be drawn up with, how well it is known, and who signed for it."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from cloud import factor_rows, factor_shelf, problem, query
from cloud.accounting.standing import Status
from cloud.api_record import Nothing
from cloud.collector import Held
from cloud.query import Json
from protocols.errors import FactorError

router = APIRouter(prefix="/v1", tags=["factors"], responses=problem.DESCRIBED)

FactorId = Annotated[str, Path(max_length=200, description="as in GET /v1/factors")]
SetId = Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9][a-z0-9.-]*$")]


class FactorsQuery(query.Query):
    """Of one set (``grid`` for electricity), and of one status."""

    set: SetId | None = None
    status: Status | None = None


@router.get("/factors")
def listing(held: Held, asked: Annotated[FactorsQuery, Query()]) -> Json:
    """Grid factors and parameters: built in, and taken in under a signature, with status, tier and uncertainty."""
    try:
        found = factor_rows.select(factor_shelf.library(held.store), asked.set, asked.status)
    except FactorError as error:
        raise problem.Problem(404, error.code, problem.detail_of(error)) from error
    return Json({"data": found})


@router.get("/factors/{factor:path}")
def show(factor: FactorId, held: Held, asked: Annotated[Nothing, Query()]) -> Json:
    """One value with its document, what it stands on, and everybody who published or adopted the file it is in."""
    try:
        return Json(factor_rows.one(factor_shelf.library(held.store), factor))
    except FactorError as error:
        raise problem.Problem(404, error.code, problem.detail_of(error)) from error
