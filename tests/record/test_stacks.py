"""What is read in stacks is what the rules read; nothing is read that they refuse."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from cloud.piles import Piles, _piled
from drivers.installation import Installation
from protocols.errors import EncodingError, RecordError
from protocols.record import block, cbor, merkle, stacks, transport
from protocols.record.block import Chunk, ClockState, Counters, Fault, Header, Track
from protocols.record.stacks import FORMS, Form, Forms

HEADER = Header(
    *(bytes(16), 2, 7, bytes(32), 3, (0, 1 << 40), (1_790_000_000_000, 1_790_000_060_000)),
    *(ClockState(2, 2, 5, 1_789_999_000), (4, bytes(range(32))), ("0.1", bytes(32)), ()),
    chunks=(2, bytes(32)),
)
NOTHING = Installation(None, {}, (), ())  # type: ignore[arg-type]
"""A configuration: chunks are held to their forms without it."""
STEPS = (0, 3, 23, 24, 200, 255, 256, 1_000, 5_999, 65_535, 65_536, 70_000, (1 << 32) - 1)


def chunk(device: int, counts: Sequence[int], seed: int, steps: Sequence[int] = STEPS) -> Chunk:
    """A device that answered each of some questions so often."""
    drawn = random.Random(seed)
    tracks = []
    for number, count in enumerate(counts):
        each = [drawn.choice(steps) for _ in range(count)]
        times = [sum(each[: at + 1]) for at in range(count)]
        tracks.append(Track.of(b"ask" + bytes([number]), times, [drawn.randbytes(9 + number) for _ in times]))
    counters = Counters.of(tracks, ())
    return Chunk(device, bytes([device % 256]) * 16, tuple(tracks), (), counters, None, drawn.randbytes(16))


def leaves(chunks: Sequence[Chunk]) -> bytes:
    return b"".join([one.to_bytes() for one in chunks])


def over(data: bytes, count: int, like: Header = HEADER) -> Header:
    """A header whose root is over whatever these bytes are cut into."""
    try:
        parts = [leaf for leaf, _ in transport.cut(data, count)]
    except RecordError:
        parts = [data]
    return structs.replace(like, chunks=(count, merkle.root(parts)))


def by_rule(header: Header, data: bytes) -> tuple[Chunk, ...] | None:
    """What the rules make of the chunks; None when they refuse them."""
    try:
        items = transport.cut(data, header.chunks[0])
        block.check_root(header, [leaf for leaf, _ in items])
        return block.open_items(header, items)
    except RecordError:
        return None


def stacked(piles: Piles, blocks: Sequence[tuple[Header, bytes]]) -> list[tuple[Chunk, ...] | str | None]:
    """What the stacks make of blocks: chunks, None when they cannot be read, or that they are left to the rules."""
    cuts: list[object] = []
    for header, data in blocks:
        try:
            cuts.append(piles.cut(NOTHING, header, data))
        except RecordError:
            cuts.append(None)
    held = [cut for cut in cuts if cut is not None]
    found, misfits = _piled(held)  # type: ignore[arg-type]
    said = {id(cut): {at: part for at, part in enumerate(cut.parts) if isinstance(part, Chunk)} for cut in held}  # type: ignore[attr-defined]
    for pile in found:
        row = 0
        for (form, _), places in pile.places.items():
            for cut, at in places:
                if not pile.stack.misfits[row]:
                    said[id(cut)][at] = form.chunk(cut.leaves[at], [own[row].tolist() for own in pile.stack.times])
                row += 1
    return [
        None
        if cut is None
        else "to the rules"
        if cut in misfits
        else tuple(said[id(cut)][at] for at in sorted(said[id(cut)]))
        for cut in cuts
    ]


def same(piles: Piles, blocks: Sequence[tuple[Header, bytes]]) -> list[bool]:
    """Check that the stacks say what the rules say, or leave it to them; which blocks they said."""
    found = stacked(piles, blocks)
    for (header, data), said in zip(blocks, found, strict=True):
        if said != "to the rules":
            assert said == by_rule(header, data)
    return [said is not None and said != "to the rules" for said in found]


def of_forms(piles: Piles, data: bytes, count: int, like: Header = HEADER) -> bool:
    """Whether every chunk looks like a form that is known."""
    return all(isinstance(part, Form) for part in piles.cut(NOTHING, over(data, count, like), data).parts)


COUNTS = st.lists(st.sampled_from([1, 2, 5, 23, 24, 30]), min_size=1, max_size=3).map(tuple)
DEVICES = st.dictionaries(st.sampled_from([0, 5, 6, 23, 24, 255, 256, 70_000]), COUNTS, min_size=1, max_size=4)


@given(
    DEVICES,
    st.lists(st.integers(0, 1 << 30), min_size=2, max_size=5),
    st.sampled_from([STEPS, STEPS[:3], STEPS[3:6], STEPS[6:10], STEPS[10:]]),
    st.booleans(),
)
def test_chunks_are_read_as_by_the_rules(
    devices: dict[int, tuple[int, ...]], seeds: list[int], steps: Sequence[int], silent: bool
) -> None:
    """Of several blocks together, whatever widths their times have, one with a device that was silent among them."""
    piles, blocks = Piles(), list[tuple[Header, bytes]]()
    for number, seed in enumerate(seeds, 1):
        chunks = [chunk(device, devices[device], seed + device, steps) for device in sorted(devices)]
        if silent and number == len(seeds):
            counters = replace(chunks[0].counters, due=chunks[0].counters.due + 1, asked=chunks[0].counters.asked + 1)
            chunks[0] = replace(chunks[0], faults=(Fault(5, 0, 1),), counters=replace(counters, silent=1))
        data = leaves(chunks)
        blocks.append((over(data, len(devices)), data))
    same(piles, blocks)
    if len(steps) < len(STEPS):  # of one width: known by the first block
        assert all(same(piles, blocks)) and of_forms(piles, blocks[0][1], len(devices))


def test_no_changed_bit_of_a_chunk_is_read_otherwise_than_by_the_rules() -> None:
    parts = [chunk(3, (2,), 1), chunk(4, (3, 1), 2), chunk(5, (2,), 1)]
    data = leaves(parts)
    good, said = (over(data, 3), data), 0
    piles = Piles()
    assert same(piles, [good, good]) == [True, True] and of_forms(piles, data, 3)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        known = Piles()
        known.cut(NOTHING, *good)
        blocks = [good, (good[0], bytes(changed)), (over(bytes(changed), 3), bytes(changed)), good]
        found = same(known, blocks)
        assert found[0] and found[3] and not found[1]
        said += found[2]
    assert said > 8 * sum([len(track.columns) for part in parts for track in part.tracks])


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_what_is_cut_short_or_goes_on_is_not_read(count: int) -> None:
    data = leaves([chunk(3, (2,), 1), chunk(4, (3, 1), 2)])
    piles = Piles()
    piles.cut(NOTHING, over(data, 2), data)
    for part in [data[:end] for end in range(len(data))] + [data + data, data + b"\xa7"]:
        same(piles, [(over(part, count), part)])


@pytest.mark.parametrize(
    "steps", [(5, 1 << 32), (1 << 40, 5), (5, (1 << 63) - 10)], ids=["a day and more", "years", "for ever"]
)
def test_times_that_no_stack_holds_are_left_to_the_rules(steps: tuple[int, int]) -> None:
    track = Track.of(b"ask", [steps[0], sum(steps)], [b"xx", b"yy"])
    part = Chunk(3, bytes(16), (track,), (), Counters.of((track,), ()), None, bytes(16))
    data, piles = part.to_bytes(), Piles()
    ever = structs.replace(HEADER, mono=(0, (1 << 63) - 1))
    assert same(piles, [(over(data, 1, ever), data)] * 2) == [True, True] and not of_forms(piles, data, 1, ever)


def test_a_reply_outside_its_block_fits_no_form() -> None:
    data, piles = leaves([chunk(3, (2,), 1, (1_000,)), chunk(4, (2,), 1, (1_000,))]), Piles()
    spans = [(0, 2_000), (10, 2_010), (0, 1_999), (0, 5_000)]
    blocks = [(over(data, 2, structs.replace(HEADER, mono=mono)), data) for mono in spans]
    assert same(piles, blocks[:1]) == [True]
    assert same(piles, blocks) == [True, True, False, True]


def test_devices_out_of_order_are_not_read() -> None:
    parts, piles = [chunk(3, (2,), 1), chunk(4, (2,), 2)], Piles()
    assert same(piles, [(over(leaves(parts), 2), leaves(parts))]) == [True]
    for other in (parts[::-1], [parts[0], parts[0]]):
        assert same(piles, [(over(leaves(other), 2), leaves(other))]) == [False]


def test_a_block_of_many_unknown_forms_is_left_to_the_rules_until_they_are_known() -> None:
    data, piles = leaves([chunk(device, (2,), device, (1_000,)) for device in range(600)]), Piles()
    left = next(number for number in range(9) if of_forms(piles, data, 600))
    assert left > 1
    assert same(piles, [(over(data, 600), data)]) == [True]


def test_what_went_wrong_is_never_a_form() -> None:
    """A device that was silent once, that says its clock, or of which questions are missing."""
    good = chunk(3, (2,), 1)
    for part in (
        replace(good, faults=(Fault(5, 0, 1),), counters=Counters(3, 3, 2, 1, 0, 0)),
        replace(good, clock=(1_790_000_000_000, 3)),
    ):
        piles, data = Piles(), part.to_bytes()
        assert same(piles, [(over(data, 1), data)] * 2) == [True, True] and not of_forms(piles, data, 1)


def test_forms_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    forms = Forms()
    for count in range(1, 3 * FORMS):
        part = chunk(3, (count,), 1)
        forms.learn(part, part.to_bytes())
    assert [len(held) for held in forms._known.values()] == [FORMS]
    monkeypatch.setattr(stacks, "KEPT_BYTES", 1 << 16)
    for device in range(500):
        part = chunk(device, (5,), 1)
        forms.learn(part, part.to_bytes())
    assert len(forms._known) < 40


def test_a_single_item_is_read_as_in_a_sequence() -> None:
    data = cbor.encode(1) + cbor.encode([b"x"]) + cbor.encode({0: 5})
    found, at = [], 0
    while at < len(data):
        value, end = cbor.item(data, at)
        found.append((data[at:end], value))
        at = end
    assert found == cbor.cut(data)
    for at, bad in ((len(data), data), (0, b"\x82\x01"), (0, b"\xc1\x00"), (0, b"\x9f\xff")):
        with pytest.raises(EncodingError):
            cbor.item(bad, at)
