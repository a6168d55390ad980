"""The ways in over MQTT: which topic carries what. A gateway may use its own topics only, collectors all of them.

Question: ``tanmeter/1/GATEWAY/ask/WAY`` with response topic, correlation data and content type. Answer:
``tanmeter/1/GATEWAY/answer`` with the same correlation data and the user properties below.
"""

from protocols.errors import EncodingError

ROOT = "tanmeter/1"
STATUS, RETRY_AFTER = "status", "retry-after"
"""User properties of an answer: what HTTP has as status and header."""
EVERY_QUESTION = f"$share/collectors/{ROOT}/+/ask/+"
"""What collectors subscribe to: each question reaches one of them."""
REFUSED = 0x80
"""Reason codes of MQTT 5 (2.4) from here on are refusals,"""
NOT_ADMITTED = frozenset({0x85, 0x86, 0x87, 0x8A, 0x8C})
"""and these do not let a client in: its identifier, name or password, not authorised, banned, its way to prove itself.
The others will pass, or are about something else."""
_GATEWAY_DIGITS = 32


def question(gateway: bytes, path: str) -> str:
    """The topic for what HTTP posts to ``/v1/WAY``."""
    return f"{ROOT}/{gateway.hex()}/ask/{path.rpartition('/')[2]}"


def answer(gateway: bytes) -> str:
    """The topic that a gateway hears answers on."""
    return f"{ROOT}/{gateway.hex()}/answer"


def asked(topic: str) -> tuple[bytes, str]:
    """The gateway whose topic a question came on, and the path that HTTP has for it; EncodingError."""
    parts = topic.split("/")
    if len(parts) != 5 or "/".join(parts[:2]) != ROOT or parts[3] != "ask" or len(parts[2]) != _GATEWAY_DIGITS:
        raise EncodingError(f"found topic {topic[:100]!r}, expected {ROOT}/GATEWAY/ask/WAY")
    try:
        return bytes.fromhex(parts[2]), f"/v1/{parts[4]}"
    except ValueError:
        raise EncodingError(f"found gateway {parts[2]!r} in a topic, expected 32 hex digits") from None
