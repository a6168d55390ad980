"""A collector that a gateway had before: its key, as the gateway itself says, and receipts it gave under that key."""

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.errors import ChainError
from protocols.record import cbor, cose, shape
from protocols.record.receipt import Receipt, open_receipt

FORMER_TYPE = "application/tanmeter-former+cbor"
FORMER_AAD = b"tanmeter-former/v1"


@dataclass(frozen=True, slots=True)
class Former:
    """``key`` signed the receipts of ``gateway`` (its id), until the gateway was enrolled elsewhere."""

    gateway: bytes
    key: cose.PublicKey


def sign_former(gateway: cose.Signer, collector: cose.PublicKey) -> bytes:
    """The envelope in which a gateway names the key of a collector it had."""
    own = cose.PublicKey(gateway.algorithm, gateway.spki).id
    payload = cbor.encode({0: 1, 1: own, 2: collector.algorithm, 3: collector.spki})
    return cose.sign1(payload, gateway, FORMER_TYPE, FORMER_AAD)


def open_former(envelope: bytes, gateway: cose.PublicKey) -> Former:
    """What this gateway says of a collector it had; SignatureError, EncodingError, ChainError of another's."""
    found = _read(cose.open1(envelope, gateway, FORMER_TYPE, FORMER_AAD))
    if found.gateway != gateway.id:
        raise ChainError(f"found the former collector of {found.gateway.hex()}, expected that of {gateway.id.hex()}")
    return found


def claimed_gateway(envelope: bytes) -> bytes:
    """Whose word it claims to be, to find the key that must then open it; nothing is verified. EncodingError."""
    return _read(cose.unverified(envelope)).gateway


def shown(former: bytes, receipts: Sequence[bytes]) -> bytes:
    """The body in which a gateway shows receipts of a collector it had."""
    return cbor.encode({0: former, 1: list(receipts)})


def open_shown(former: Former, receipts: Sequence[bytes]) -> list[Receipt]:
    """The receipts, each signed by the key that is named, for this gateway; SignatureError, EncodingError, ChainError
    of another gateway's."""
    found = [open_receipt(envelope, former.key) for envelope in receipts]
    for receipt in found:
        if receipt.gateway != former.gateway:
            raise ChainError(f"found a receipt of {receipt.gateway.hex()}, expected one of {former.gateway.hex()}")
    return found


def _read(payload: bytes) -> Former:
    version, gateway, algorithm, spki = shape.fields(cbor.decode(payload), 4, "former collector")
    shape.version(version, "former collector")
    key = cose.PublicKey(shape.integer(algorithm, "collector algorithm"), shape.octets(spki, "collector key"))
    return Former(shape.octets(gateway, "gateway", 16), key)
