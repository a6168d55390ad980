"""What the collector's answer to a batch means (pure): only its own signed receipt settles anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge.outbox import Stored
from protocols.errors import EncodingError, EnrolmentError, RecordError, StrangerError, UnreachableError
from protocols.messages import catalogue
from protocols.record.answer import Answer, Answers, Verdict, decode_answers
from protocols.record.cose import PublicKey
from protocols.record.receipt import SETTLED, Receipt, open_receipt

ANSWERED = frozenset({200, 403, 409})
"""The statuses that carry verdicts."""
UNKNOWN_CONFIGURATION = "CFG-102"
LONGEST_PAUSE_MS = 900_000
"""Answers are not signed: nobody on the way can stop a back-fill for longer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was understood. ``refused``: blocks that wait no longer, with the reason: the receipt says that
    the chain went on without them.

    ``unknown_configuration``: send the configurations, then the blocks again. ``objection``: why the collector takes
    nothing, as it or somebody on the way says: a conflict, or a refusal that no receipt bears out; ``code``: of the
    error it names, where we know it. ``forgotten``: it says that it does not know this gateway (any more). ``ahead``:
    (epoch, seq) of blocks that came before their turn; the collector keeps them. ``settled``: the newest receipt of
    level 2. ``pause_s``: how long a back-fill should wait. ``later``: the first block is to be sent again as it is: the
    collector reads it in several turns, or has yet to book what it took before.
    """

    receipt: Receipt | None
    envelope: bytes
    settled: tuple[Receipt, bytes] | None
    pause_s: float
    refused: tuple[tuple[Stored, str], ...]
    unknown_configuration: bool
    objection: str
    code: str = ""
    forgotten: bool = False
    ahead: tuple[tuple[int, int], ...] = ()
    later: bool = False


def understand(sent: Sequence[Stored], status: int, body: bytes, gateway: bytes, collector: PublicKey) -> Reply:
    """The reply to these blocks; UnreachableError when it is not the enrolled collector's word about this gateway,
    StrangerError when whoever answered does not even speak as one."""
    if status not in ANSWERED:
        raise StrangerError(f"status {status}, expected verdicts: {_shown(body)}")
    try:
        answers = decode_answers(body)
        verdicts, envelope = answers.verdicts, answers.receipt
        receipt = None if envelope is None else open_receipt(envelope, collector)
        settled = None if answers.settled is None else open_receipt(answers.settled, collector)
    except EncodingError as error:
        raise StrangerError(f"status {status} without an answer of a collector: {_shown(body)}") from error
    except (RecordError, ValueError) as error:
        raise UnreachableError(f"status {status} without an answer of the enrolled collector: {error}") from error
    if len(verdicts) != len(sent):
        raise UnreachableError(f"found {len(verdicts)} verdicts, expected {len(sent)}")
    for found in (receipt, settled):
        if found is not None and found.gateway != gateway:
            raise UnreachableError(f"found a receipt for {found.gateway.hex()}, expected {gateway.hex()}")
    if settled is not None and settled.level < SETTLED:
        raise UnreachableError(f"found a receipt of level {settled.level} as settled, expected level {SETTLED}")
    return _reply(list(zip(sent, verdicts, strict=True)), receipt, settled, answers)


def _reply(
    answered: list[tuple[Stored, Verdict]], receipt: Receipt | None, settled: Receipt | None, answers: Answers
) -> Reply:
    refused = [(block, verdict) for block, verdict in answered if verdict.answer == Answer.REFUSED]
    final = [(block, verdict) for block, verdict in refused if _went_on(block, receipt)]
    again = [verdict for block, verdict in answered if _objects(verdict) and not _went_on(block, receipt)]
    return Reply(
        receipt,
        answers.receipt or b"",
        None if settled is None else (settled, answers.settled or b""),
        min(answers.pause_ms, LONGEST_PAUSE_MS) / 1000,
        tuple((block, f"{verdict.code} {verdict.detail}") for block, verdict in final),
        any(verdict.code == UNKNOWN_CONFIGURATION for _, verdict in refused),
        again[0].detail if again else "",
        again[0].code if again and again[0].code in catalogue() else "",
        receipt is None and bool(refused) and all(verdict.code == EnrolmentError.code for _, verdict in refused),
        tuple(
            (block.epoch, block.seq)
            for block, verdict in answered
            if verdict.answer == Answer.GAP and verdict.wanted is not None
        ),
        any(verdict.answer == Answer.GAP and verdict.wanted is None for _, verdict in answered[:1]),
    )


def _went_on(block: Stored, receipt: Receipt | None) -> bool:
    """Whether the collector signed that it wants what comes after this block."""
    return receipt is not None and (receipt.epoch, receipt.next_seq) > (block.epoch, block.seq)


def _objects(verdict: Verdict) -> bool:
    return verdict.answer in (Answer.CONFLICT, Answer.REFUSED) and verdict.code != UNKNOWN_CONFIGURATION


def _shown(body: bytes) -> str:
    return repr(body[:80])
