"""What goes between edge and collector: a batch of blocks one way, an answer to each and a receipt the other way."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from protocols.errors import EncodingError
from protocols.record import cbor, shape

BATCH_TYPE = "application/tanmeter-batch"
MOST_BLOCKS = 64


class Answer(IntEnum):
    """The five answers of RECORD.md."""

    STORED = 0
    HELD = 1
    GAP = 2
    CONFLICT = 3
    REFUSED = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one block. ``wanted`` is the seq the collector wants next, where it says so.

    ``code`` is the stable code of the error and ``detail`` its sentence; both empty when the block is held.
    """

    answer: Answer
    wanted: int | None
    code: str
    detail: str


def encode_answers(verdicts: Sequence[Verdict], receipt: bytes | None) -> bytes:
    """One verdict a block of the batch, in its order, and the newest receipt envelope, if there is one."""
    written = [[int(verdict.answer), verdict.wanted, verdict.code, verdict.detail] for verdict in verdicts]
    return cbor.encode({0: written, 1: receipt})


def decode_answers(data: bytes) -> tuple[tuple[Verdict, ...], bytes | None]:
    """The verdicts and the receipt envelope, which is not yet verified; EncodingError."""
    verdicts, receipt = shape.fields(cbor.decode(data), 2, "answers")
    envelope = None if receipt is None else shape.octets(receipt, "answers receipt")
    return tuple([_verdict(value) for value in shape.array(verdicts, "answers")]), envelope


def encode_batch(frames: Sequence[bytes]) -> bytes:
    """The frames of some blocks, oldest first, as a CBOR sequence of byte strings."""
    return b"".join([cbor.encode(frame) for frame in frames])


def decode_batch(data: bytes, max_blocks: int = MOST_BLOCKS) -> list[bytes]:
    """The frames in a batch of 1 to ``max_blocks``; EncodingError."""
    frames: list[bytes] = []
    start = 0
    while start < len(data):
        if len(frames) == max_blocks:
            raise EncodingError(f"batch: found more than {max_blocks} blocks, expected at most that many")
        frame, start = cbor.byte_string(data, start)
        frames.append(frame)
    if not frames:
        raise EncodingError("batch: found no block, expected at least one")
    return frames


def _verdict(value: Any) -> Verdict:
    answer, wanted, code, detail = shape.array(value, "answer", 4)
    return Verdict(
        Answer(shape.unsigned(answer, "answer", max(Answer))),
        None if wanted is None else shape.unsigned(wanted, "answer wanted"),
        shape.text(code, "answer code"),
        shape.text(detail, "answer detail"),
    )
