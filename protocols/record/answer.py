"""What edge and collector send each other: a batch of blocks up; an answer to each, and receipts, down."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgspec

from protocols.errors import EncodingError
from protocols.record import cbor, shape, transport

BATCH_TYPE = "application/tanmeter-batch"
MOST_BLOCKS = 64


class Answer(IntEnum):
    """The five answers of RECORD.md."""

    STORED = 0
    HELD = 1
    GAP = 2
    CONFLICT = 3
    REFUSED = 4


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The answer to one block. ``wanted`` is the seq the collector wants next, where it says so.

    ``code`` is the stable code of the error and ``detail`` its sentence; both empty when the block is held.
    """

    answer: Answer
    wanted: int | None
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Answers:
    """The answer to a batch: a verdict for each block, in their order, and the newest receipt, if there is one.

    ``settled``: the newest receipt of level 2, if there is one. ``pause_ms``: how long the collector asks a back-fill
    to wait before its next batch; a live block does not wait. The receipts are not yet verified.
    """

    verdicts: tuple[Verdict, ...]
    receipt: bytes | None = None
    settled: bytes | None = None
    pause_ms: int = 0


def encode_answers(answers: Answers) -> bytes:
    """The answers as bytes."""
    written = [[int(verdict.answer), verdict.wanted, verdict.code, verdict.detail] for verdict in answers.verdicts]
    return cbor.encode({0: written, 1: answers.receipt, 2: answers.settled, 3: answers.pause_ms})


def decode_answers(data: bytes) -> Answers:
    """The answers in these bytes; EncodingError."""
    verdicts, receipt, settled, pause = shape.fields(cbor.decode(data), 4, "answers")
    return Answers(
        tuple([_verdict(value) for value in shape.array(verdicts, "answers")]),
        _envelope(receipt, "answers receipt"),
        _envelope(settled, "answers settled receipt"),
        shape.unsigned(pause, "answers pause"),
    )


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


def within(frames: Sequence[bytes], unpacked: int) -> int:
    """How many of the frames, at least one, unpack to at most this many bytes, by what each states."""
    room = unpacked
    for index, frame in enumerate(frames):
        room -= transport.stated(frame)
        if room < 0:
            return max(index, 1)
    return len(frames)


def _verdict(value: Any) -> Verdict:
    answer, wanted, code, detail = shape.array(value, "answer", 4)
    return Verdict(
        Answer(shape.unsigned(answer, "answer", max(Answer))),
        None if wanted is None else shape.unsigned(wanted, "answer wanted"),
        shape.text(code, "answer code"),
        shape.text(detail, "answer detail"),
    )


def _envelope(value: Any, what: str) -> bytes | None:
    return None if value is None else shape.octets(value, what)
