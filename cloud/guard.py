"""The outermost layer: every answer gets its request id and strict headers; nothing leaves as a bare 500."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud import problem

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No inline script, no inline style, nothing from elsewhere."""

HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"vary", b"Accept-Language, Cookie"),
)

log = logging.getLogger(__name__)


class Guard:
    """ASGI middleware: request ids, security headers, and the last word on errors nobody else answered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass HTTP through; the lifespan goes to the application as it is."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        identity = problem.request_id(scope)
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], *HEADERS, (b"x-request-id", identity.encode())]
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except Exception as error:
            log.exception("request %s failed", identity)
            if not begun:
                await problem.response(problem.of(error), scope)(scope, receive, answer)
