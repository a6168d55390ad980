"""The Merkle tree of RFC 6962, section 2.1, over SHA-256."""

from collections.abc import Sequence
from hashlib import sha256

from protocols.errors import ChainError


def root(leaves: Sequence[bytes]) -> bytes:
    """The tree's head over these leaves (2.1)."""
    if not leaves:
        return sha256().digest()
    level = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        level = _above(level)
    return level[0]


def path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The audit path of leaf ``index``, lowest first (2.1.1); ChainError when there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise ChainError(f"found leaf {index}, expected one of the {len(leaves)} in the tree")
    steps = []
    level = [_leaf(leaf) for leaf in leaves]
    while len(level) > 1:
        if index ^ 1 < len(level):
            steps.append(level[index ^ 1])
        level, index = _above(level), index >> 1
    return tuple(steps)


def verify(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf`` is number ``index`` of the ``size`` under ``root``; ChainError."""
    if not 0 <= index < size:
        raise ChainError(f"found leaf {index}, expected one of the {size} in the tree")
    digest, last, steps = _leaf(leaf), size - 1, iter(path)
    while last:
        if index & 1 or index < last:
            step = next(steps, None)
            if step is None:
                raise ChainError(f"found {len(path)} hashes, expected a longer path in a tree of {size}")
            digest = _node(step, digest) if index & 1 else _node(digest, step)
        index, last = index >> 1, last >> 1
    if next(steps, None) is not None:
        raise ChainError(f"found {len(path)} hashes, expected a shorter path in a tree of {size}")
    if digest != root:
        raise ChainError(f"found the root {digest.hex()}, expected {root.hex()}")


def _leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _above(level: list[bytes]) -> list[bytes]:
    """The next level up; a node without a neighbour rises as it is, which is RFC 6962's split."""
    nodes = iter(level)
    above = [sha256(b"\x01" + left + right).digest() for left, right in zip(nodes, nodes, strict=False)]
    if len(level) & 1:
        above.append(level[-1])
    return above
