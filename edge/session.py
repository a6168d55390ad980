"""What the collector's answer to a batch means (pure): only its own signed receipt settles anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge.outbox import Stored
from protocols.errors import EnrolmentError, RecordError, UnreachableError
from protocols.record.answer import Answer, Verdict, decode_answers
from protocols.record.cose import PublicKey
from protocols.record.receipt import Receipt, open_receipt

ANSWERED = frozenset({200, 403, 409})
"""The statuses that carry verdicts."""
UNKNOWN_CONFIGURATION = "CFG-102"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was understood. ``refused``: blocks that wait no longer, with the reason: the receipt says that
    the chain went on without them.

    ``unknown_configuration``: send the configurations, then the blocks again. ``objection``: why the collector takes
    nothing, as it or somebody on the way says: a conflict, or a refusal that no receipt bears out. ``forgotten``: it
    says that it does not know this gateway (any more).
    """

    receipt: Receipt | None
    envelope: bytes
    refused: tuple[tuple[Stored, str], ...]
    unknown_configuration: bool
    objection: str
    forgotten: bool = False


def understand(sent: Sequence[Stored], status: int, body: bytes, gateway: bytes, collector: PublicKey) -> Reply:
    """The reply to these blocks; UnreachableError when it is not the enrolled collector's word about this gateway."""
    if status not in ANSWERED:
        raise UnreachableError(f"status {status}, expected verdicts: {_shown(body)}")
    try:
        answers = decode_answers(body)
        verdicts, envelope = answers.verdicts, answers.receipt
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
    final = [(block, verdict) for block, verdict in refused if _went_on(block, receipt)]
    again = [verdict.detail for block, verdict in answers if _objects(verdict) and not _went_on(block, receipt)]
    return Reply(
        receipt,
        envelope,
        tuple((block, f"{verdict.code} {verdict.detail}") for block, verdict in final),
        any(verdict.code == UNKNOWN_CONFIGURATION for _, verdict in refused),
        next(iter(again), ""),
        receipt is None and bool(refused) and all(verdict.code == EnrolmentError.code for _, verdict in refused),
    )


def _went_on(block: Stored, receipt: Receipt | None) -> bool:
    """Whether the collector signed that it wants what comes after this block."""
    return receipt is not None and (receipt.epoch, receipt.next_seq) > (block.epoch, block.seq)


def _objects(verdict: Verdict) -> bool:
    return verdict.answer in (Answer.CONFLICT, Answer.REFUSED) and verdict.code != UNKNOWN_CONFIGURATION


def _shown(body: bytes) -> str:
    return repr(body[:80])
