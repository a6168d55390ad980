"""The ways in over HTTP: plain ASGI routes over raw bytes, under the cap and the time limit of a body."""

from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cloud import body, problem, ways
from cloud.problem import Problem
from cloud.ways import CBOR, WAYS, Sent


class Intake:
    """An ASGI endpoint that takes a POST of raw bytes under the cap and gives them to the way of its path."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, work, answer; any error of ours becomes its problem document."""
        told = (self._path, problem.language(scope), problem.request_id(scope))
        try:
            if scope["method"] != "POST":
                raise Problem(405, "API-405", f"found {scope['method']}, expected POST", headers={"allow": "POST"})
            data = await body.read(scope, receive)
        except Problem as found:
            sent = ways.refusal(found, *told)
        else:
            sent = await ways.serve(scope["app"].state.collector, self._path, data, *told[1:])
        await _response(sent, told[1])(scope, receive, send)


def _response(sent: Sent, language: str) -> Response:
    headers = dict(sent.headers)
    if sent.media == problem.MEDIA_TYPE:
        headers["content-language"] = problem.TAGS[language]
    return Response(sent.body, sent.status, headers, sent.media)


def described(path: str) -> dict[str, Any]:
    """How the OpenAPI document tells of a way in, which FastAPI does not see."""
    way = WAYS[path]
    problems = {"4XX": {"description": "A problem (RFC 9457)", "content": {"application/problem+json": {}}}}
    return {
        "post": {
            "tags": ["ingest"],
            "summary": way.summary,
            "requestBody": {
                "required": True,
                "content": {way.media: {"schema": {"type": "string", "format": "binary"}}},
            },
            "responses": {status: {"description": told, "content": {CBOR: {}}} for status, told in way.answers.items()}
            | problems,
        }
    }
