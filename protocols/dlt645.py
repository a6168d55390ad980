"""DL/T 645-2007, the reading side: requests and what answers them; nothing here can write to a meter.

Read 11 (identifier of four bytes), follow-up 12 (numbered from 1, at most 16 frames), read address 13. The frame is in
``dlt645_frame``, the conversation in ``dlt645_edition``, the meaning of identifiers in ``dlt645_identifiers``.
"""

from protocols.dlt645_edition import ANYONE, Edition, Question
from protocols.dlt645_frame import (
    END,
    ERROR,
    ERROR_BITS,
    FUNCTION,
    MORE,
    OVERHEAD,
    PREAMBLE,
    REPLY,
    START,
    Frame,
    Parser,
    decode,
    refusal,
)
from protocols.dlt645_value import value
from protocols.errors import Mismatched

__all__ = [
    "ANYONE",
    "EDITION",
    "END",
    "ERROR",
    "ERROR_BITS",
    "FUNCTION",
    "MORE",
    "OVERHEAD",
    "PREAMBLE",
    "READ",
    "REPLY",
    "START",
    "Frame",
    "Parser",
    "address_of",
    "address_request",
    "decode",
    "identifier_of",
    "parse_request",
    "payload",
    "read_request",
    "recogniser",
    "refusal",
    "value",
]

READ, FOLLOW, FIND = 0x11, 0x12, 0x13

EDITION = Edition("DL/T 645-2007", READ, FOLLOW, width=4, numbered=True, tails=(0, 1, 6), find=FIND)
"""Tails of a read: none, or of a load record the number of blocks, with or without the time of the first."""

read_request = EDITION.read_request
parse_request = EDITION.parse_request
identifier_of = EDITION.identifier_of
payload = EDITION.payload
recogniser = EDITION.recogniser


def address_request(among: str = ANYONE) -> bytes:
    """FE FE FE FE and the frame that asks a meter for its address; ``among``: low digits it has, AA bytes in front."""
    return Question(among, FIND, "").to_bytes()


def address_of(request: bytes, reply: bytes) -> str:
    """The 12 digits that answer an address request; Mismatched, Damaged."""
    if (asked := EDITION.question(request)).control != FIND:
        raise Mismatched(f"control {asked.control:02X}, expected the request for an address {FIND:02X}")
    return payload(request, reply)[::-1].hex()
