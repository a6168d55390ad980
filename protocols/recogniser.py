"""What the bus needs to know of a protocol: which bytes are the answer, and what to say when none are."""

from collections.abc import Callable, Sequence
from typing import Protocol

from protocols.errors import Damaged, Mismatched, ProtocolError, Silent
from protocols.stream import End, Stream

SHOWN = 48
"""Bytes of a reply quoted in an error message."""
LIMIT = 2048
"""Bytes kept to explain a failure."""


class Recogniser(Protocol):
    """One per request; fed what the port delivers, in whatever pieces it comes.

    The echo of the request, noise and other meters' frames are skipped. A header whose claimed length never completes
    does not hide a valid frame behind it.
    """

    def feed(self, data: bytes) -> bytes | None:
        """The bytes of the frame that answers, be it a refusal; None = more is needed."""

    def failure(self) -> ProtocolError:
        """Why there is no answer, at the time limit: Silent, Damaged or Mismatched."""


Check = Callable[[bytes], object]
"""Returns for the answer; Mismatched for a sound frame that answers something else, Damaged for what is no frame."""


class FrameRecogniser:
    """The first frame of a stream that passes ``check``. ``end`` and ``first``: where frames may end and begin, as in
    Stream; ``preamble``: what may stand before a frame.
    """

    def __init__(
        self, request: bytes, end: End, first: bytes, check: Check, *, wanted: str, preamble: bytes = b""
    ) -> None:
        self._stream = Stream(end, first, LIMIT)
        self._check, self._wanted, self._preamble = check, wanted, preamble
        self._echo = request.lstrip(preamble)
        self._strangers: list[str] = []

    def feed(self, data: bytes) -> bytes | None:
        """The answering frame, without preamble; None = more is needed."""
        for raw in self._stream.feed(data):
            if raw == self._echo:
                continue
            try:
                self._check(raw)
            except Mismatched as error:
                self._strangers.append(str(error))
            except Damaged:
                continue
            else:
                return raw
        return None

    def failure(self) -> ProtocolError:
        """Silent, Damaged or Mismatched, by what has come so far."""
        rest = self._stream.received.replace(self._echo, b"", 1).strip(self._preamble)
        return verdict(rest, self._strangers, self._wanted)


def verdict(received: bytes, strangers: Sequence[str], wanted: str) -> ProtocolError:
    """What it means that ``received`` (echo taken out) holds no answer; ``strangers`` are the valid frames in it."""
    if not received:
        return Silent(f"no byte came; expected {wanted}")
    if strangers:
        return Mismatched(f"found {'; '.join(strangers[:4])}; expected {wanted}")
    return Damaged(f"{len(received)} bytes without a valid frame: {quote(received)}; expected {wanted}")


def quote(data: bytes) -> str:
    """Bytes as a person reads them: upper-case hex in pairs, cut at ``SHOWN``."""
    text = data[:SHOWN].hex(" ").upper()
    return text if len(data) <= SHOWN else f"{text} … ({len(data)} bytes)"
