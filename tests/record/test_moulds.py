"""A header read by a form that has been seen is what the rules read; nothing is read that they refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from protocols.errors import RecordError
from protocols.record import block, cbor
from protocols.record.block import ClockState, Event, Header
from protocols.record.cose import PrivateKey
from protocols.record.moulds import Moulds

KEY = PrivateKey.generate()
HEADER = Header(
    *(KEY.public.id, 2, 7, bytes(32), 3, (60_000, 120_000), (1_790_000_000_000, 1_790_000_060_000)),
    *(ClockState(2, 2, 5, 1_789_999_000), (4, bytes(range(32))), ("0.1", bytes(32)), ()),
    chunks=(2, bytes(range(32))),
)
NUMBERS = [0, 1, 23, 24, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1]


def payload(header: Header) -> bytes:
    return cbor.encode(block._written(header))


def read(find: object, data: bytes) -> object:
    try:
        return find(data)  # type: ignore[operator]
    except RecordError as error:
        return type(error), str(error)


@given(
    seq=st.sampled_from(NUMBERS),
    mono=st.sampled_from(NUMBERS),
    span=st.sampled_from(NUMBERS[:-1]),
    utc=st.sampled_from([0, 1 << 31, (1 << 32) - 1, 1 << 32, 1_790_000_000_000, 253_402_300_799_999]),
    clock=st.tuples(*[st.sampled_from(NUMBERS)] * 4),
    previous=st.binary(min_size=32, max_size=32),
)
def test_a_header_is_read_as_by_the_rules(
    seq: int, mono: int, span: int, utc: int, clock: tuple[int, int, int, int], previous: bytes
) -> None:
    moulds = Moulds()
    moulds.header(payload(HEADER))
    other = replace(HEADER, seq=seq, mono=(mono, min(mono + span, (1 << 63) - 1)), utc=(utc, utc), previous=previous)
    for header in (other, replace(other, clock=ClockState(*clock))):
        assert read(moulds.header, payload(header)) == read(block.read_header, payload(header))


@pytest.mark.parametrize(
    "change",
    [
        {"events": (Event(5, 1, 2, "gap"),)},
        {"epoch": 3},
        {"boot": 4},
        {"configuration": (5, bytes(32))},
        {"software": ("0.2", bytes(32))},
        {"custody": 2},
        {"counter": (1, 9)},
        {"checkpoint": (bytes(8), 1, bytes(32))},
        {"chunks": (24, bytes(32))},
        {"mono": (5, 4)},
        {"gateway": bytes(16)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_header_is_read_and_then_known(change: dict[str, object]) -> None:
    moulds, other = Moulds(), payload(replace(HEADER, **change))  # type: ignore[arg-type]
    for data in (payload(HEADER), other, other, payload(HEADER)):
        assert read(moulds.header, data) == read(block.read_header, data)


def test_no_changed_bit_of_a_header_is_read_otherwise_than_by_the_rules() -> None:
    moulds, data = Moulds(), payload(replace(HEADER, chunks=(2, bytes(range(32)))))
    assert moulds.header(data) == block.read_header(data)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        known = Moulds()
        known.header(data)
        assert read(known.header, bytes(changed)) == read(block.read_header, bytes(changed))
    for end in range(len(data)):
        assert read(moulds.header, data[:end]) == read(block.read_header, data[:end])
        assert read(moulds.header, data + data[:end]) == read(block.read_header, data + data[:end])
