"""What the bus needs to know of a protocol: which bytes are the answer, and what to say when none are."""

from collections.abc import Sequence
from typing import Protocol

from protocols.errors import Damaged, Mismatched, ProtocolError, Silent

SHOWN = 48
"""Bytes of a reply quoted in an error message."""


class Recogniser(Protocol):
    """One per request; fed what the port delivers, in whatever pieces it comes.

    The echo of the request, noise and other meters' frames are skipped. A header whose claimed length never completes
    does not hide a valid frame behind it.
    """

    def feed(self, data: bytes) -> bytes | None:
        """The bytes of the frame that answers, be it a refusal; None = more is needed."""

    def failure(self) -> ProtocolError:
        """Why there is no answer, at the time limit: Silent, Damaged or Mismatched."""


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
