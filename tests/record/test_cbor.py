"""The restricted CBOR: the examples of RFC 8949 appendix A in both directions, and a refusal for every rule."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import EncodingError
from protocols.record import cbor

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "record_cbor.json").read_text("utf-8"))
ACCEPTED = (
    VECTORS["accept"]
    + [[data, bytes.fromhex(value)] for data, value in VECTORS["accept_bytes"]]
    + [[data, dict(value)] for data, value in VECTORS["accept_maps"]]
)
REFUSED = VECTORS["refuse_appendix_a"] | VECTORS["refuse"]

values = st.recursive(
    st.none() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.integers(0, 23), inner, max_size=6).map(lambda found: dict(sorted(found.items())))
    ),
    max_leaves=30,
)


@pytest.mark.parametrize(("data", "value"), ACCEPTED)
def test_appendix_a_in_both_directions(data: str, value: object) -> None:
    assert cbor.decode(bytes.fromhex(data)) == value
    assert cbor.encode(value) == bytes.fromhex(data)


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_refused(data: str) -> None:
    with pytest.raises(EncodingError):
        cbor.decode(bytes.fromhex(data))


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        True,
        2**64,
        -(2**64) - 1,
        {"a": 1},
        {24: 0},
        {-1: 0},
        {1: 0, 0: 0},
        {None: 0},
        {1},
        bytearray(b"x"),
        "\ud800",
    ],
    ids=repr,
)
def test_not_written(value: object) -> None:
    for nested in (value, [value], {0: value}):
        with pytest.raises(EncodingError):
            cbor.encode(nested)


def test_nesting_has_a_limit() -> None:
    assert cbor.decode(b"\x81" * cbor.DEEPEST + b"\x00") is not None
    for depth in (cbor.DEEPEST + 1, 1000, 100_000):
        with pytest.raises(EncodingError):
            cbor.decode(b"\x81" * depth + b"\x00")
    nested: list[object] = []
    for _ in range(cbor.DEEPEST):
        nested = [nested]
    with pytest.raises(EncodingError):
        cbor.encode(nested)


@given(values)
def test_what_is_written_is_read_back(value: object) -> None:
    assert cbor.decode(cbor.encode(value)) == value


@given(st.lists(values, max_size=5))
def test_a_sequence_is_split_where_its_items_end(items: list[object]) -> None:
    written = [cbor.encode(item) for item in items]
    assert cbor.sequence(b"".join(written)) == list(zip(items, written, strict=True))


@given(st.binary(max_size=64))
def test_any_bytes_are_read_in_the_one_way_or_refused(data: bytes) -> None:
    for read in (cbor.decode, cbor.sequence, cbor.split):
        try:
            read(data)
        except EncodingError:
            continue
        if read is cbor.decode:
            assert cbor.encode(cbor.decode(data)) == data


@given(values, st.data())
def test_a_flipped_bit_never_reads_as_the_same(value: object, data: st.DataObject) -> None:
    written = bytearray(cbor.encode(value))
    bit = data.draw(st.integers(0, len(written) * 8 - 1))
    written[bit // 8] ^= 1 << bit % 8
    try:
        found = cbor.decode(bytes(written))
    except EncodingError:
        return
    assert found != value


@pytest.mark.parametrize("size", [0, 1, 23, 24, 255, 256, 65535, 65536])
def test_a_byte_string_is_found_with_its_end(size: int) -> None:
    written = cbor.encode(bytes(size))
    assert cbor.byte_string(b"\x00" + written + b"\xff", 1) == (bytes(size), 1 + len(written))
    with pytest.raises(EncodingError):
        cbor.byte_string(written[:-1], 0)


@pytest.mark.parametrize(
    "data",
    {
        "a text": "6161",
        "indefinite": "5f4101ff",
        "reserved head": "5c",
        "one byte too wide": "5801ff",
        "23 bytes with a length of their own": "5817" + "00" * 23,
        "32 bytes with a length of two": "590020" + "00" * 32,
        "256 bytes with a length of four": "5a00000100" + "00" * 256,
        "65536 bytes with a length of eight": "5b0000000000010000" + "00" * 65536,
        "two bytes too wide": "590001ff",
        "four bytes too wide": "5a00000001ff",
        "eight bytes too wide": "5b0000000000000001ff",
        "its length cut off": "59ff",
        "nothing": "",
        "longer than what follows": "5bffffffffffffffff",
    }.values(),
)
def test_another_byte_string_is_refused(data: str) -> None:
    with pytest.raises(EncodingError):
        cbor.byte_string(bytes.fromhex(data), 0)
