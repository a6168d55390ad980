"""A name and a reason to a warning, from afar: under the key of a registered signer, as activity files come.

The envelope is a COSE_Sign1 as in RECORD.md over {"warning", "events", "why"} in JSON. ``events`` is how many the
warning's log had: whoever signed has seen it as it was, and what has got worse or has come back since is not meant.
"""

from typing import Annotated

import msgspec

from protocols.errors import EncodingError
from protocols.record import cose

ACKNOWLEDGEMENT_TYPE = "application/tanmeter-acknowledgement"
ACKNOWLEDGEMENT_AAD = b"tanmeter-acknowledgement/v1"


class Acknowledgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which warning is meant, as its log stood after so many events, and why it may stand."""

    warning: Annotated[str, msgspec.Meta(max_length=200)]
    events: Annotated[int, msgspec.Meta(ge=1)]
    why: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


def sign(said: Acknowledgement, signer: cose.Signer) -> bytes:
    """The envelope over an acknowledgement."""
    return cose.sign1(msgspec.json.encode(said), signer, ACKNOWLEDGEMENT_TYPE, ACKNOWLEDGEMENT_AAD)


def open_acknowledgement(envelope: bytes, key: cose.PublicKey) -> Acknowledgement:
    """What an envelope of this key says; SignatureError, EncodingError."""
    payload = cose.open1(envelope, key, ACKNOWLEDGEMENT_TYPE, ACKNOWLEDGEMENT_AAD)
    try:
        return msgspec.json.decode(payload, type=Acknowledgement)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EncodingError(f"acknowledgement: {error}, expected warning, events and why in JSON") from error
