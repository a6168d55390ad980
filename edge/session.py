"""What the collector's answer to a batch means (pure): only its own signed receipt settles anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge.outbox import Stored
from protocols.errors import RecordError, UnreachableError
from protocols.record.answer import Answer, Verdict, decode_answers
from protocols.record.cose import PublicKey
from protocols.record.receipt import Receipt, open_receipt

ANSWERED = frozenset({200, 403, 409})
"""The statuses that carry verdicts."""
UNKNOWN_CONFIGURATION = "CFG-102"
NOT_ENROLLED = "ENR-401"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was understood. ``refused``: blocks never to be sent again, with the reason.

    ``unknown_configuration``: send the configurations, then the blocks again. ``conflict``: the collector holds
    another block under one of these numbers. ``objection``: why it takes nothing from this gateway.
    """

    receipt: Receipt | None
    envelope: bytes
    refused: tuple[tuple[Stored, str], ...]
    unknown_configuration: bool
    conflict: bool
    objection: str


def understand(sent: Sequence[Stored], status: int, body: bytes, gateway: bytes, collector: PublicKey) -> Reply:
    """The reply to these blocks; UnreachableError when it is not the enrolled collector's word about this gateway."""
    if status not in ANSWERED:
        raise UnreachableError(f"status {status}, expected verdicts: {_shown(body)}")
    try:
        verdicts, envelope = decode_answers(body)
        receipt = None if envelope is None else open_receipt(envelope, collector)
    except (RecordError, ValueError) as error:
        raise UnreachableError(f"status {status} without an answer of the enrolled collector: {error}") from error
    if len(verdicts) != len(sent):
        raise UnreachableError(f"found {len(verdicts)} verdicts, expected {len(sent)}")
    if receipt is not None and receipt.gateway != gateway:
        raise UnreachableError(f"found a receipt for {receipt.gateway.hex()}, expected {gateway.hex()}")
    return _reply(list(zip(sent, verdicts, strict=True)), receipt, envelope or b"")


def _reply(answers: list[tuple[Stored, Verdict]], receipt: Receipt | None, envelope: bytes) -> Reply:
    refused = [(block, verdict) for block, verdict in answers if verdict.answer == Answer.REFUSED]
    final = [(block, f"{verdict.code} {verdict.detail}") for block, verdict in refused if _is_final(verdict)]
    return Reply(
        receipt,
        envelope,
        tuple(final),
        any(verdict.code == UNKNOWN_CONFIGURATION for _, verdict in refused),
        any(verdict.answer == Answer.CONFLICT for _, verdict in answers),
        next((verdict.detail for _, verdict in refused if verdict.code == NOT_ENROLLED), ""),
    )


def _is_final(verdict: Verdict) -> bool:
    return verdict.code not in (UNKNOWN_CONFIGURATION, NOT_ENROLLED)


def _shown(body: bytes) -> str:
    return repr(body[:80])
