"""Batches and answers between edge and collector."""

import contextlib
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import EncodingError
from protocols.record import cbor
from protocols.record.answer import (
    MOST_BLOCKS,
    Answer,
    Answers,
    Verdict,
    decode_answers,
    decode_batch,
    encode_answers,
    encode_batch,
    within,
)

verdicts = st.builds(
    Verdict, st.sampled_from(Answer), st.none() | st.integers(0, 2**63 - 1), st.text(max_size=8), st.text(max_size=40)
)


envelopes = st.none() | st.binary(max_size=100)


@given(st.builds(Answers, st.lists(verdicts, max_size=6).map(tuple), envelopes, envelopes, st.integers(0, 2**63 - 1)))
def test_answers_are_read_as_they_were_given(given_: Answers) -> None:
    assert decode_answers(encode_answers(given_)) == given_


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=MOST_BLOCKS))
def test_a_batch_is_read_as_it_was_made(frames: list[bytes]) -> None:
    data = encode_batch(frames)
    assert decode_batch(data) == frames
    assert [item for item, _ in cbor.sequence(data)] == frames


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(EncodingError):
        assert encode_batch(decode_batch(data)) == data
    with contextlib.suppress(EncodingError):
        assert encode_answers(decode_answers(data)) == data


def test_a_batch_has_a_limit() -> None:
    assert len(decode_batch(encode_batch([b"x"] * MOST_BLOCKS))) == MOST_BLOCKS
    for data in (encode_batch([b"x"] * (MOST_BLOCKS + 1)), b"", b"\x40" * 1_000_000):
        with pytest.raises(EncodingError):
            decode_batch(data)
    with pytest.raises(EncodingError):
        decode_batch(encode_batch([b"a", b"b"]), max_blocks=1)


@pytest.mark.parametrize("data", ["4101ff", "5801ff", "5f4101ff", "6161", "43ffff"], ids=lambda data: data)
def test_a_wrong_batch_is_refused(data: str) -> None:
    with pytest.raises(EncodingError):
        decode_batch(bytes.fromhex(data))


WRONG: dict[str, Any] = {
    "not a map": [[], None, None, 0],
    "no receipt": {0: [], 2: None, 3: 0},
    "no pause": {0: [], 1: None, 2: None},
    "a fifth field": {0: [], 1: None, 2: None, 3: 0, 4: 0},
    "receipt a text": {0: [], 1: "receipt", 2: None, 3: 0},
    "settled a number": {0: [], 1: None, 2: 2, 3: 0},
    "pause negative": {0: [], 1: None, 2: None, 3: -1},
    "answer 5": {0: [[5, None, "", ""]], 1: None, 2: None, 3: 0},
    "answer negative": {0: [[-1, None, "", ""]], 1: None, 2: None, 3: 0},
    "answer null": {0: [[None, None, "", ""]], 1: None, 2: None, 3: 0},
    "answer of three": {0: [[0, None, ""]], 1: None, 2: None, 3: 0},
    "wanted negative": {0: [[2, -1, "", ""]], 1: None, 2: None, 3: 0},
    "code bytes": {0: [[4, None, b"SIG-601", ""]], 1: None, 2: None, 3: 0},
    "detail null": {0: [[4, None, "SIG-601", None]], 1: None, 2: None, 3: 0},
    "verdicts null": {0: None, 1: None, 2: None, 3: 0},
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG.keys())
def test_wrong_answers_are_refused(value: Any) -> None:
    with pytest.raises(EncodingError):
        decode_answers(cbor.encode(value))


def test_a_batch_is_cut_where_its_blocks_come_to_more_than_is_taken_at_once() -> None:
    frames = [zstandard.compress(bytes(size)) for size in (400, 500, 200, 1)]
    assert [within(frames, most) for most in (0, 399, 400, 899, 900, 1099, 1100, 1101)] == [1, 1, 1, 1, 2, 2, 3, 4]
    assert within([b"no frame", b"none"], 2 << 20) == 2 and within([b"no frame", b"none"], (2 << 20) - 1) == 1
    packer = zstandard.ZstdCompressor().compressobj()
    assert within([frames[0], packer.compress(b"x") + packer.flush()], 1 << 20) == 1
