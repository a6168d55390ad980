"""The parameters of the API's questions, and how its answers write instants, cursors and registers."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from cloud import problem
from cloud.intervals import Register
from cloud.pages.render import iso

GatewayId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="gateway id, 32 hexadecimal digits")]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Number = Annotated[int, Field(ge=0, le=(1 << 53) - 1)]
Limit = Annotated[int, Field(ge=100, le=10_000, description="items a page, 100 to 10 000")]
Cursor = Annotated[str, Field(max_length=200, description="next_cursor of the page before")]


def _instant(text: str) -> str:
    instant_ms(text)
    return text


Instant = Annotated[str, Field(max_length=40, description="RFC 3339 with its offset"), AfterValidator(_instant)]


class Query(BaseModel):
    """Base of a question's parameters: an unknown one is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Walk(Query):
    """Base of the parameters of a walk, page by page: from where on."""

    cursor: Cursor | None = None
    limit: Limit = 1000


def instant_ms(text: str) -> int:
    """UTC ms of an RFC 3339 instant; ValueError when it is none or has no offset. A blank was a plus once."""
    found = datetime.fromisoformat(text.replace(" ", "+"))
    if found.tzinfo is None:
        raise ValueError("found no offset")
    since = found - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def optional_ms(text: str | None) -> int | None:
    """UTC ms, None for none."""
    return None if text is None else instant_ms(text)


def encode_cursor(*position: int) -> str:
    """A place in the order of ingest, not to be taken apart by anybody but us."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).rstrip(b"=").decode()


def decode_cursor(text: str | None, length: int) -> tuple[int, ...]:
    """The place a cursor names, all zeros for none; Problem 422 when it is not one of ours."""
    if text is None:
        return (0,) * length
    try:
        position = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (ValueError, RecursionError):
        position = None
    if not _is_place(position, length):
        raise problem.parameter("cursor", text, "cursor")
    return tuple(position)


class Json(JSONResponse):
    """An answer in JSON. Written by msgspec: the block of a minute takes the standard library milliseconds, in which no
    other thread runs.
    """

    def render(self, content: Any) -> bytes:
        """The body."""
        return msgspec.json.encode(content)


def page(
    path: str, data: list[dict[str, Any]], asked: Mapping[str, Any], *, following: str, more: bool, as_of: int
) -> Json:
    """One page of a list: its items, where it goes on, and up to which ingest sequence it is complete.

    The last page has a ``next_cursor`` too: whoever comes again with it gets what was booked or changed since.
    """
    content = {"data": data, "next_cursor": following, "has_more": more, "as_of_seq": as_of}
    headers = {}
    if more:
        query = {key: value for key, value in asked.items() if value is not None} | {"cursor": following}
        headers["link"] = f'<{path}?{urlencode(query)}>; rel="next"'
    return Json(content, headers=headers)


def register(found: Register) -> dict[str, Any]:
    """A register as the API writes it, with the block that holds its frame."""
    return {"value": f"{found.value:f}", "at": iso(found.at), "epoch": found.epoch, "seq": found.seq}


def _is_place(position: object, length: int) -> bool:
    return (
        isinstance(position, list)
        and len(position) == length
        and all(type(part) is int and 0 <= part < 1 << 62 for part in position)
    )
