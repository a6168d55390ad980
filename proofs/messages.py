"""HTTP messages put together again from the pieces in which they went over a connection."""

import re
from collections.abc import Iterator

END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")


class Messages:
    """One direction of any number of connections."""

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}

    def feed(self, way: str, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(head, body) of each message that is whole now."""
        held = self._held.pop(way, b"") + data
        while True:
            head, end, rest = held.partition(END_OF_HEAD)
            found = _LENGTH.search(head)
            length = int(found[1]) if found is not None else 0
            if not end or len(rest) < length:
                break
            yield head, rest[:length]
            held = rest[length:]
        if held:
            self._held[way] = held
