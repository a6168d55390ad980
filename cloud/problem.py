"""Errors as RFC 9457 tells them: application/problem+json with a stable code, one next action and the request's id."""

import json
import secrets
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from protocols import messages
from protocols.errors import (
    AccountError,
    ConfigError,
    ConflictError,
    EnrolmentError,
    EvidenceError,
    FactorError,
    MethodError,
    PeriodError,
    RecordError,
    StoreError,
    TanmeterError,
    UnitError,
    UnknownNameError,
    UnreachableError,
)

MEDIA_TYPE = "application/problem+json"
DESCRIBED: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "A problem (RFC 9457)", "content": {MEDIA_TYPE: {}}}
}
"""What the OpenAPI document says of every answer that is not a success."""

HTTP_CODES = {
    400: "API-400",
    404: "API-404",
    405: "API-405",
    406: "API-406",
    408: "API-408",
    413: "API-413",
    415: "API-415",
    422: "API-422",
    503: "API-503",
}
"""HTTP status -> our code, where no error of ours is behind it."""

STATUSES: tuple[tuple[type[TanmeterError], int], ...] = (
    (EnrolmentError, 403),
    (ConflictError, 409),
    (RecordError, 400),
    (ConfigError, 422),
    (StoreError, 507),
    (FactorError, 409),
    (MethodError, 409),
    (UnitError, 409),
    (UnknownNameError, 404),
    (PeriodError, 422),
    (AccountError, 409),
    (EvidenceError, 409),
    (UnreachableError, 503),
)
"""Which HTTP status tells which of our errors; the first that fits."""

RETRY_AFTER_S = 2
_PROCESS, _NUMBERS = secrets.token_hex(4), count(1)
"""What request ids are made of: one in no other process, and a number."""
TAGS = {"zh": "zh-CN", "en": "en"}
"""The language of a document, as a header names it."""


class Problem(Exception):
    """An answer that is not a success: HTTP status, code of the catalogue, what came and what was expected."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.headers = tuple(errors), dict(headers or {})


def missing(what: str, name: str) -> Problem:
    """404: the thing asked for is not held here."""
    return Problem(404, "API-404", f"{what} {name!r} is not held here")


def parameter(name: str, got: object, expected: str) -> Problem:
    """422: one query parameter is wrong; the pointer names it."""
    entry = {"pointer": f"/query/{name}", "code": "invalid", "got": str(got), "expected": expected}
    return Problem(422, "API-422", f"{name}: found {str(got)!r}, expected {expected}", errors=[entry])


def overloaded() -> Problem:
    """503: the writer has more waiting than it may; come back."""
    return Problem(503, "API-503", "more is waiting than may wait", headers={"retry-after": str(RETRY_AFTER_S)})


def of(error: Exception) -> Problem:
    """Any exception as a problem; what is not ours says nothing of the inside."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, _http_code(error.status_code), error.detail, headers=error.headers)
    if isinstance(error, TanmeterError):
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
        retry = {"retry-after": str(RETRY_AFTER_S)} if status in (503, 507) else None
        return Problem(status, error.code, str(error), headers=retry)
    return Problem(500, "GEN-001", "an error of ours; the log has it under the request_id")


def request_id(scope: Scope) -> str:
    """The id of this request, made when first asked for; it stands in the answer, the header and the log."""
    state: dict[str, Any] = scope.setdefault("state", {})
    if "request_id" not in state:
        state["request_id"] = f"{_PROCESS}{next(_NUMBERS):08x}"
    return str(state["request_id"])


def language(scope: Scope) -> messages.Language:
    """zh or en, by Accept-Language."""
    wanted: bytes = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
    return messages.language(wanted.decode("latin-1"))


def document(problem: Problem, path: str, chosen: messages.Language, request: str) -> bytes:
    """The problem document as it travels, in the reader's language; ``request`` is the id of the request."""
    return json.dumps(_members(problem, path, chosen, request), ensure_ascii=False).encode("utf-8", "replace")


def body(problem: Problem, scope: Scope) -> dict[str, Any]:
    """The members of the problem document, in the reader's language."""
    return _members(problem, scope.get("path", ""), language(scope), request_id(scope))


def _members(problem: Problem, path: str, chosen: messages.Language, request: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": f"/errors#{problem.code}",
        "title": messages.text(problem.code, chosen),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "fix": messages.remedy(problem.code, chosen),
        "instance": quote(path),
        "request_id": request,
    }
    if problem.errors:
        document["errors"] = [dict(entry) for entry in problem.errors]
    return document


def response(problem: Problem, scope: Scope) -> Response:
    """The problem as an ASGI answer."""
    headers = {**problem.headers, "content-language": TAGS[language(scope)]}
    content = json.dumps(body(problem, scope), ensure_ascii=False).encode("utf-8", "replace")
    return Response(content, problem.status, headers, MEDIA_TYPE)


async def handler(request: Request, error: Exception) -> Response:
    """What FastAPI calls for an exception that a route raised."""
    return response(of(error), request.scope)


def _http_code(status: int) -> str:
    return HTTP_CODES.get(status, "API-400" if status < 500 else "GEN-001")


def _invalid(error: RequestValidationError) -> Problem:
    """Each wrong parameter with its pointer, what was got and what was expected."""
    entries = []
    for found in error.errors():
        pointer = "/" + "/".join(str(step) for step in found["loc"])
        entries.append(
            {"pointer": pointer, "code": found["type"], "got": _short(found["input"]), "expected": found["msg"]}
        )
    detail = "; ".join(f"{entry['pointer']}: found {entry['got']!r}, {entry['expected']}" for entry in entries)
    return Problem(422, "API-422", detail, errors=entries)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
