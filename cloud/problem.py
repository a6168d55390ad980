"""Errors as RFC 9457 tells them: application/problem+json with a stable code, one next action and the request's id."""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
    RottenError,
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
    (RottenError, 503),
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

Say = Callable[[messages.Language], str]
"""A text in the language that it is asked for in."""
RETRY_AFTER_S, MENDED_AFTER_S = 2, 60
"""When to come back (s): what has rotted waits for a person."""
_PROCESS, _NUMBERS = secrets.token_hex(4), count(1)
"""What request ids are made of: one in no other process, and a number."""
TAGS = {"zh": "zh-CN", "en": "en"}
"""The language of a document, as a header names it."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong in a request: where, what was got there (None: nothing), and what was expected."""

    pointer: str
    code: str
    got: str | None
    expected: Say

    def told(self, lang: messages.Language) -> dict[str, str]:
        """As an entry of ``errors``."""
        got = "" if self.got is None else self.got
        return {"pointer": self.pointer, "code": self.code, "got": got, "expected": self.expected(lang)}

    def line(self, lang: messages.Language) -> str:
        """As a sentence."""
        got = messages.text("problem.nothing", lang) if self.got is None else repr(self.got)
        return messages.text("problem.wrong", lang, pointer=self.pointer, got=got, expected=self.expected(lang))


class Problem(Exception):
    """An answer that is not a success: HTTP status, code of the catalogue, what came and what was expected.

    ``detail`` in each language, or the text of an error of ours, which has one.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str | Say,
        *,
        errors: Sequence[Wrong] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail: Say = partial(_as_it_is, detail) if isinstance(detail, str) else detail
        super().__init__(self.detail("en"))
        self.status, self.code = status, code
        self.errors, self.headers = tuple(errors), dict(headers or {})


def said(name: str, /, **known: object) -> Say:
    """The message ``problem.NAME``, in whichever language it is asked for."""
    return partial(messages.text, f"problem.{name}", **known)


def missing(what: str, name: str) -> Problem:
    """404: the thing asked for is not held here."""
    return Problem(404, "API-404", said(f"missing.{what}", name=name))


def parameter(name: str, got: str | None, expected: str) -> Problem:
    """422: one query parameter is wrong; the pointer names it, ``problem.expected.EXPECTED`` says what is right."""
    wrong = Wrong(f"/query/{name}", "invalid", got, said(f"expected.{expected}"))
    return Problem(422, "API-422", wrong.line, errors=[wrong])


def overloaded() -> Problem:
    """503: the writer has more waiting than it may; come back."""
    return Problem(503, "API-503", said("overloaded"), headers={"retry-after": str(RETRY_AFTER_S)})


def of(error: Exception) -> Problem:
    """Any exception as a problem; what is not ours says nothing of the inside."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        code = _http_code(error.status_code)
        detail = said("address") if error.status_code == 404 else partial(messages.text, code)
        return Problem(error.status_code, code, detail, headers=error.headers)
    if isinstance(error, TanmeterError):
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
        after = MENDED_AFTER_S if isinstance(error, RottenError) else RETRY_AFTER_S
        retry = {"retry-after": str(after)} if status in (503, 507) else None
        return Problem(status, error.code, detail_of(error), headers=retry)
    return Problem(500, "GEN-001", said("ours"))


def detail_of(error: TanmeterError) -> Say:
    """What an error says: in the reader's language where a reader's own words caused it, else as it is."""
    if isinstance(error, PeriodError):
        return said("period", text=error.text)
    if isinstance(error, UnknownNameError) and f"problem.missing.{error.what}" in messages.catalogue():
        missed = said(f"missing.{error.what}", name=error.name)
        near = ", ".join(error.near)
        return missed if not near else lambda lang: missed(lang) + messages.text("problem.near", lang, names=near)
    return partial(_as_it_is, str(error))


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
    return json.dumps(members(problem, path, chosen, request), ensure_ascii=False).encode("utf-8", "replace")


def members(problem: Problem, path: str, chosen: messages.Language, request: str) -> dict[str, Any]:
    """What a problem document says, in the reader's language."""
    document: dict[str, Any] = {
        "type": f"/errors#{problem.code}",
        "title": messages.text(problem.code, chosen),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail(chosen),
        "fix": messages.remedy(problem.code, chosen),
        "instance": quote(path),
        "request_id": request,
    }
    if problem.errors:
        document["errors"] = [wrong.told(chosen) for wrong in problem.errors]
    return document


def response(problem: Problem, scope: Scope) -> Response:
    """The problem as an ASGI answer."""
    chosen = language(scope)
    content = document(problem, scope.get("path", ""), chosen, request_id(scope))
    return Response(content, problem.status, {**problem.headers, "content-language": TAGS[chosen]}, MEDIA_TYPE)


async def handler(request: Request, error: Exception) -> Response:
    """What FastAPI calls for an exception that a route raised."""
    return response(of(error), request.scope)


def _http_code(status: int) -> str:
    return HTTP_CODES.get(status, "API-400" if status < 500 else "GEN-001")


def _invalid(error: RequestValidationError) -> Problem:
    """Each wrong parameter with its pointer, what was got and what was expected."""
    wrong = [_wrong(found) for found in error.errors()]
    return Problem(422, "API-422", lambda lang: "; ".join(one.line(lang) for one in wrong), errors=wrong)


def _wrong(found: Mapping[str, Any]) -> Wrong:
    """What pydantic found, in our words: the message ``problem.expected.TYPE``, else its own."""
    kind, known = str(found["type"]), dict(found.get("ctx", {}))
    if "expected" in known:
        known["expected"] = str(known["expected"]).replace(" or ", ", ")
    named = f"problem.expected.{kind}" in messages.catalogue()
    expected = said(f"expected.{kind}", **known) if named else partial(_as_it_is, str(found["msg"]))
    got = None if kind == "missing" else _short(found["input"])
    return Wrong("/" + "/".join(str(step) for step in found["loc"]), kind, got, expected)


def _as_it_is(text: str, _: messages.Language) -> str:
    return text


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
