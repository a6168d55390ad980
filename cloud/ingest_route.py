"""The ways in over HTTP: plain ASGI over raw bytes, under the cap and the time limit of a body, and before all else.

A fleet sends a block a minute each: a post to one of these paths meets no router, no middleware and no model.
"""

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from cloud import body, problem, ways
from cloud.collector import Collector
from cloud.problem import Problem
from cloud.ways import CBOR, WAYS, Sent


class Intake:
    """An ASGI application: posts to a way in are read, worked on and answered here, all else goes to the other one."""

    def __init__(self, collector: Collector, other: ASGIApp) -> None:
        self._collector, self._other = collector, other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Any error of ours becomes its problem document."""
        if scope["type"] != "http" or scope["path"] not in WAYS or scope["method"] != "POST":
            await self._other(scope, receive, send)
            return
        told = (scope["path"], problem.language(scope), problem.request_id(scope))
        try:
            data = await body.read(scope, receive)
        except Problem as found:
            sent = ways.refusal(found, *told)
        else:
            sent = await ways.serve(self._collector, scope["path"], data, *told[1:])
        await send({"type": "http.response.start", "status": sent.status, "headers": _headers(sent, told[1])})
        await send({"type": "http.response.body", "body": sent.body})


def _headers(sent: Sent, language: str) -> list[tuple[bytes, bytes]]:
    told = dict(sent.headers)
    if sent.media == problem.MEDIA_TYPE:
        told["content-language"] = problem.TAGS[language]
    told |= {"content-length": str(len(sent.body)), "content-type": sent.media}
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]


def described(path: str) -> dict[str, Any]:
    """How the OpenAPI document tells of a way in, which FastAPI does not see."""
    way = WAYS[path]
    return {
        "post": {
            "tags": ["ingest"],
            "summary": way.summary,
            "requestBody": {
                "required": True,
                "content": {way.media: {"schema": {"type": "string", "format": "binary"}}},
            },
            "responses": {status: {"description": told, "content": {CBOR: {}}} for status, told in way.answers.items()}
            | problem.DESCRIBED,
        }
    }
