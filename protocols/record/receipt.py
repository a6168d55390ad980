"""The receipt: the collector's signed word about what it holds of a gateway."""

from dataclasses import dataclass

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
    payload = cbor.encode(
        {0: receipt.gateway, 1: receipt.epoch, 2: receipt.next_seq, 3: receipt.head, 4: receipt.level, 5: receipt.at}
    )
    _receipt(payload)
    return cose.sign1(payload, signer, RECEIPT_TYPE, RECEIPT_AAD)


def open_receipt(envelope: bytes, key: cose.PublicKey) -> Receipt:
    """The receipt in an envelope signed by this collector; SignatureError, EncodingError."""
    return _receipt(cose.open1(envelope, key, RECEIPT_TYPE, RECEIPT_AAD))


def _receipt(payload: bytes) -> Receipt:
    gateway, epoch, next_seq, head, level, at = shape.fields(cbor.decode(payload), 6, "receipt")
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
