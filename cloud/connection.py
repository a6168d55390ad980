"""A connection of HTTP/1.1: httptools parses and bounds nothing, so there is a cap on what a request may bring."""

from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

HEAD_BYTES = 1 << 16
"""Of a request line with its headers, before which nothing is known of a request."""
REQUEST_BYTES = 8 << 20
"""Of a whole request with its framing and what may follow its body: a body of 1 MiB in chunks of a byte fits."""


class Connection(HttpToolsProtocol):
    """Answers 400 and closes when a head or a request goes on beyond its cap, at most one read later."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._most, self._fed, self._trailing = HEAD_BYTES, 0, 0

    def data_received(self, data: bytes) -> None:
        """Some more bytes of a request."""
        if self._fed > self._most:
            self.send_400_response(f"Found more than {self._most} bytes, expected the end of a request or its head.")
            return
        super().data_received(data)
        self._fed += len(data)

    def on_message_begin(self) -> None:
        """A request begins: the bytes of the one before do not count."""
        super().on_message_begin()
        self._most, self._fed, self._trailing = HEAD_BYTES, 0, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; or, behind a body, a trailer: of those nothing is kept, and too many of them end the connection."""
        if self._most == HEAD_BYTES:
            super().on_header(name, value)
            return
        self._trailing += len(name) + len(value)
        if self._trailing > HEAD_BYTES:
            raise ValueError(f"found trailers of {self._trailing} bytes, expected at most {HEAD_BYTES}")

    def on_headers_complete(self) -> None:
        """Its head is there."""
        super().on_headers_complete()
        self._most = REQUEST_BYTES
