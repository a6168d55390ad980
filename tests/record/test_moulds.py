"""What is read by a form that has been seen is what the rules read; nothing is read that they refuse."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import RecordError
from protocols.record import block, cbor, merkle, transport
from protocols.record.block import Chunk, ClockState, Counters, Event, Fault, Header, Track, seal
from protocols.record.cose import PrivateKey
from protocols.record.moulds import FORMS, Moulds

KEY = PrivateKey.generate()
HEADER = Header(
    *(KEY.public.id, 2, 7, bytes(32), 3, (60_000, 120_000), (1_790_000_000_000, 1_790_000_060_000)),
    *(ClockState(2, 2, 5, 1_789_999_000), (4, bytes(range(32))), ("0.1", bytes(32)), ()),
    chunks=(2, bytes(range(32))),
)
NUMBERS = [0, 1, 23, 24, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1]


def chunk(device: int, counts: tuple[int, ...], seed: int) -> Chunk:
    """A device that answered each of some questions so often."""
    drawn = random.Random(seed)
    tracks = []
    for number, count in enumerate(counts):
        steps = [drawn.choice((0, 3, 23, 24, 200, 255, 256, 1_000, 5_999, 70_000)) for _ in range(count)]
        times = [sum(steps[: at + 1]) for at in range(count)]
        tracks.append(Track.of(b"ask" + bytes([number]), times, [drawn.randbytes(9 + number) for _ in times]))
    return Chunk(
        device, bytes([device % 256]) * 16, tuple(tracks), (), Counters.of(tracks, ()), None, drawn.randbytes(16)
    )


def payload(header: Header) -> bytes:
    return cbor.encode(block._written(header))


def leaves(chunks: list[Chunk]) -> bytes:
    return b"".join([chunk.to_bytes() for chunk in chunks])


def over(data: bytes, like: Header, count: int) -> Header:
    """A header whose root is over whatever these bytes are cut into."""
    try:
        parts = [leaf for leaf, _ in transport.cut(data, count)]
    except RecordError:
        parts = [data]
    return replace(like, chunks=(count, merkle.root(parts)))


def by_rule(header: Header, data: bytes) -> object:
    """What the rules make of the chunks, or the error they raise."""
    try:
        items = transport.cut(data, header.chunks[0])
        block.check_root(header, [leaf for leaf, _ in items])
        return block.open_items(header, items)
    except RecordError as error:
        return type(error), str(error)


def by_form(moulds: Moulds, header: Header, data: bytes) -> object:
    try:
        return moulds.chunks(header, data)
    except RecordError as error:
        return type(error), str(error)


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


COUNTS = st.lists(st.sampled_from([1, 2, 5, 23, 24, 30]), min_size=1, max_size=3).map(tuple)


@given(
    shapes=st.lists(st.tuples(st.sampled_from([0, 5, 23, 24, 255, 256, 70_000]), COUNTS), min_size=1, max_size=4),
    seeds=st.lists(st.integers(0, 1 << 30), min_size=2, max_size=5),
)
def test_chunks_are_read_as_by_the_rules(shapes: list[tuple[int, tuple[int, ...]]], seeds: list[int]) -> None:
    moulds = Moulds()
    for seed in seeds:
        data = leaves([chunk(device, counts, seed) for device, counts in sorted(dict(shapes).items())])
        header = over(data, replace(HEADER, mono=(0, 10_000_000)), len(dict(shapes)))
        assert by_form(moulds, header, data) == by_rule(header, data)
        assert moulds._read(data, header.chunks[0]) is not None


def test_no_changed_bit_of_a_chunk_is_read_otherwise_than_by_the_rules() -> None:
    moulds, parts = Moulds(), [chunk(3, (2,), 1), chunk(4, (3, 1), 2)]
    data = leaves(parts)
    wide = replace(HEADER, mono=(0, 1 << 40))
    header = over(data, wide, 2)
    assert moulds.chunks(header, data) == tuple(parts)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        known = Moulds()
        known.chunks(header, data)
        for told in (header, over(bytes(changed), wide, 2)):
            assert by_form(known, told, bytes(changed)) == by_rule(told, bytes(changed))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_what_is_cut_short_or_goes_on_is_left_to_the_rules(count: int) -> None:
    moulds, data = Moulds(), leaves([chunk(3, (2,), 1), chunk(4, (3, 1), 2)])
    wide = replace(HEADER, mono=(0, 1 << 40))
    moulds.chunks(over(data, wide, 2), data)
    for part in [data[:end] for end in range(len(data))] + [data + data, data + b"\xa7"]:
        header = over(part, wide, count)
        assert by_form(moulds, header, part) == by_rule(header, part)


def test_what_went_wrong_is_never_a_form() -> None:
    """A device that was silent once, that says its clock, or of which questions are missing."""
    good = chunk(3, (2,), 1)
    faulty = replace(good, faults=(Fault(5, 0, 1),), counters=Counters(3, 3, 2, 1, 0, 0))
    for part in (
        faulty,
        replace(good, clock=(1_790_000_000_000, 3)),
        replace(good, counters=Counters(4, 2, 2, 0, 0, 0)),
    ):
        moulds, data = Moulds(), part.to_bytes()
        header = over(data, replace(HEADER, mono=(0, 10_000_000)), 1)
        for _ in range(2):
            assert by_form(moulds, header, data) == by_rule(header, data)
        assert moulds._read(data, 1) is None


def test_forms_of_a_device_are_bounded() -> None:
    moulds = Moulds()
    for count in range(1, 3 * FORMS):
        data = chunk(3, (count,), 1).to_bytes()
        moulds.chunks(over(data, replace(HEADER, mono=(0, 10_000_000)), 1), data)
    assert [len(forms) for forms in moulds._chunks.values()] == [FORMS]


def test_a_sealed_block_is_the_same_by_rule_and_by_form() -> None:
    moulds = Moulds()
    for seq in range(3):
        sealed = seal(replace(HEADER, seq=seq, mono=(0, 10_000_000)), [chunk(1, (4,), seq), chunk(2, (5,), seq)], KEY)
        header = moulds.header(block.open_payload(sealed.envelope, KEY.public))
        assert (header, moulds.chunks(header, b"".join(sealed.chunks))) == block.open_block(sealed, KEY.public)
