"""The receipt: the collector's signed word about what it holds of a gateway."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from protocols.errors import EncodingError
from protocols.record import cbor, cose, shape

RECEIPT_TYPE = "application/tanmeter-receipt+cbor"
RECEIPT_AAD = b"tanmeter-receipt/v1"
RECEIVED, SETTLED = 1, 2
"""Levels: committed to stable storage; covered by a second copy or a co-signed checkpoint."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Everything of ``gateway`` in ``epoch`` below ``next_seq`` is held; ``head`` is the newest envelope's SHA-256.

    ``level`` is RECEIVED or SETTLED, ``at`` UTC ms. Before the first block ``head`` is the enrolment's SHA-256.
    """

    gateway: bytes
    epoch: int
    next_seq: int
    head: bytes
    level: int
    at: int


def sign_receipt(receipt: Receipt, signer: cose.Signer) -> bytes:
    """The envelope, signed by the collector; EncodingError on what ``open_receipt`` would refuse."""
    fields = (receipt.gateway, receipt.epoch, receipt.next_seq, receipt.head, receipt.level, receipt.at)
    _checked(fields)
    return cose.sign1(cbor.encode(dict(enumerate(fields))), signer, RECEIPT_TYPE, RECEIPT_AAD)


def open_receipt(envelope: bytes, key: cose.PublicKey) -> Receipt:
    """The receipt in an envelope signed by this collector; SignatureError, EncodingError."""
    payload = cose.open1(envelope, key, RECEIPT_TYPE, RECEIPT_AAD)
    return _checked(shape.fields(cbor.decode(payload), 6, "receipt"))


def claimed_receipt(envelope: bytes) -> Receipt:
    """What an envelope says that is known by its hash, where the key that signed it is not at hand; EncodingError."""
    return _checked(shape.fields(cbor.decode(cose.unverified(envelope)), 6, "receipt"))


def _checked(fields: Sequence[Any]) -> Receipt:
    gateway, epoch, next_seq, head, level, at = fields
    if level not in (RECEIVED, SETTLED):
        raise EncodingError(f"receipt level: found {level!r}, expected {RECEIVED} (received) or {SETTLED} (settled)")
    return Receipt(
        shape.octets(gateway, "receipt gateway", 16),
        shape.unsigned(epoch, "receipt epoch"),
        shape.unsigned(next_seq, "receipt next seq"),
        shape.octets(head, "receipt head", 32),
        shape.unsigned(level, "receipt level"),
        shape.integer(at, "receipt time"),
    )
