"""The tree of RFC 6962: the roots and paths of the reference implementation, and every wrong path refused."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import ChainError
from protocols.record import merkle

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "record_merkle.json").read_text("utf-8"))
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == VECTORS["roots"][size]


@pytest.mark.parametrize("vector", VECTORS["paths"], ids=lambda vector: f"{vector['index']} of {vector['size']}")
def test_published_paths(vector: dict[str, object]) -> None:
    index, size = vector["index"], vector["size"]
    path = [bytes.fromhex(step) for step in vector["path"]]
    assert list(merkle.path(LEAVES[:size], index)) == path
    merkle.verify(LEAVES[index], index, size, path, bytes.fromhex(VECTORS["roots"][size]))


def defined(leaves: list[bytes]) -> bytes:
    """MTH as section 2.1 defines it, by recursion."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + defined(leaves[:split]) + defined(leaves[split:])).digest()


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_every_leaf_has_a_path_that_fits_nowhere_else(leaves: list[bytes], data: st.DataObject) -> None:
    root = merkle.root(leaves)
    assert root == defined(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = merkle.path(leaves, index)
    merkle.verify(leaves[index], index, len(leaves), path, root)
    wrong = [
        (leaves[index] + b"x", index, path),
        (leaves[index], index, (*path, root)),
        (leaves[index], len(leaves), path),
        (leaves[index], -1, path),
    ]
    if path:
        wrong += [(leaves[index], index, path[:-1]), (leaves[index], index, (bytes(32), *path[1:]))]
    for leaf, place, steps in wrong:
        with pytest.raises(ChainError):
            merkle.verify(leaf, place, len(leaves), steps, root)


def test_another_leaf_at_its_place_is_refused() -> None:
    root = merkle.root(LEAVES)
    for index in range(8):
        for other in range(8):
            if other != index:
                with pytest.raises(ChainError):
                    merkle.verify(LEAVES[index], other, 8, merkle.path(LEAVES, index), root)


def test_no_path_to_a_leaf_that_is_not_there() -> None:
    for index in (-1, 8):
        with pytest.raises(ChainError):
            merkle.path(LEAVES, index)
