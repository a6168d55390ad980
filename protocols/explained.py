"""What an explanation of a frame is made of: parts that every protocol's explanation shares."""

from protocols.errors import Refused

Explained = dict[str, object]
"""A frame told, as ``protocols.decode.explain`` describes it."""


def refusal(message: str, reason: int) -> Explained:
    """A meter's refusal: a good frame that says no."""
    return {"code": Refused.code, "reason": reason, "message": message}


def rest(data: bytes) -> Explained:
    """The bytes of a content nobody described; nothing when there are none."""
    return {"data": data.hex().upper()} if data else {}
