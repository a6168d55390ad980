"""Packs as a forger would have them: taken apart, changed, signed anew; and what refuses them."""

from collections.abc import Callable

import pytest

from cloud.accounting import statement as made
from cloud.accounting.statement import Statement
from cloud.evidence import archive
from cloud.evidence.pack import pack_bytes
from cloud.evidence.verify import verify
from cloud.store import Store
from protocols.errors import EvidenceError
from protocols.record import cbor, transport
from protocols.record.block import Sealed
from protocols.record.cose import PrivateKey, Signer
from tests.cloud.box import Box


def unpacked(pack: bytes) -> dict[str, bytes]:
    files = archive.read(pack)
    return {name: data for name, data in files.items() if name not in (archive.MANIFEST, archive.SIGNATURE)}


def forged(pack: bytes, change: Callable[[dict[str, bytes]], None], signer: Signer | None = None) -> bytes:
    """The pack with its files changed and the manifest signed anew, by a collector of the forger's own."""
    files = unpacked(pack)
    change(files)
    claimed = made.from_json(files["statement.json"])
    return archive.write(archive.seal(files, claimed.reference, claimed.digest, signer or PrivateKey.generate()))


def refused(pack: bytes, *gateways: str) -> EvidenceError:
    with pytest.raises(EvidenceError) as caught:
        verify(pack, gateways)
    return caught.value


def blocks_of(box: Box, files: dict[str, bytes]) -> tuple[str, list[Sealed]]:
    name, frames, at = f"gateways/{box.key.public.id.hex()}/blocks.cborseq", [], 0
    while at < len(files[name]):
        frame, at = cbor.byte_string(files[name], at)
        frames.append(transport.unpack(frame))
    return name, frames


def relaid(sealed: list[Sealed]) -> bytes:
    return b"".join(cbor.encode(transport.pack(block)) for block in sealed)


def packed(store: Store, statement: Statement) -> bytes:
    assert store.key is not None
    return pack_bytes(store, store.key, statement)
