"""Signatures over many blocks and receipts: Ed25519 by libsodium, which takes half the time; every other key by
``cryptography``.

A signature of Ed25519 hangs on nothing but key and message: libsodium makes the very bytes that ``cryptography`` makes,
and before a key is used so, one signature of both is compared.

What is taken here a verifier must take too, and it checks with ``cryptography`` alone. libsodium is the stricter of the
two: both compare R itself (RFC 8032, 5.1.7, without the cofactor), and libsodium also refuses points of small order and
other ways to write a point. A libsodium that compares times the cofactor would take more, so it is asked first, with a
signature that only such a one takes.
"""

from functools import lru_cache

from nacl import bindings
from nacl.exceptions import BadSignatureError

from protocols.errors import SignatureError
from protocols.record.cose import EDDSA, SIGNATURE_BYTES, PrivateKey, PublicKey, Signer, Verifier

RAW_BYTES = 32
TRIAL = b"tanmeter: no payload"
"""What a key signs both ways: no Sig_structure (RFC 9052, 4.4), so that the signature is of no use."""
COFACTORED = (
    bytes.fromhex("88aa55e6afeed8960a3191de78600347db8acd0a3795412f275f049b86260488"),
    bytes.fromhex(
        "5b61c2e3b93e6c06450f327ea72cdfeb8cde6aa020d2dd827ab3f86e708c8393"
        "227e5af3479b23beac8d1af85a07726507d17b1247ef7fd51105526dfe3e010a"
    ),
    b"tanmeter",
)
"""A key, a signature whose R is off by a point of order 8, and the message: valid times the cofactor, and only then."""


class Sodium:
    """An Ed25519 key whose signatures libsodium checks; a Verifier."""

    __slots__ = ("_raw", "algorithm", "kid")

    def __init__(self, key: PublicKey) -> None:
        self.algorithm, self.kid = key.algorithm, key.kid
        self._raw = key.spki[-RAW_BYTES:]

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check the 64-byte signature over ``data``; SignatureError."""
        if len(signature) != SIGNATURE_BYTES:
            raise SignatureError(f"found a signature of {len(signature)} bytes, expected {SIGNATURE_BYTES}")
        try:
            bindings.crypto_sign_open(signature + data, self._raw)
        except BadSignatureError as error:
            raise SignatureError(f"the signature is not of key {self.kid.hex()} over these bytes") from error


class SodiumSigner:
    """An Ed25519 key with which libsodium signs; a Signer."""

    __slots__ = ("_secret", "algorithm", "spki")

    def __init__(self, public: PublicKey, seed: bytes) -> None:
        self.algorithm, self.spki = public.algorithm, public.spki
        self._secret = seed + public.spki[-RAW_BYTES:]

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature over ``data``."""
        return bindings.crypto_sign(data, self._secret)[:SIGNATURE_BYTES]


def signer(key: Signer) -> Signer:
    """What signs with this key fastest; a key of another kind, or one that only a chip has, signs its own way."""
    if type(key) is not PrivateKey or (seed := key.seed()) is None:
        return key
    fast = SodiumSigner(key.public, seed)
    return fast if fast.sign(TRIAL) == key.sign(TRIAL) else key


@lru_cache(maxsize=4096)
def verifier(key: PublicKey) -> Verifier:
    """What checks the signatures of this key fastest; a key of another kind checks them its own way."""
    return Sodium(key) if type(key) is PublicKey and key.algorithm == EDDSA and is_strict() else key


@lru_cache(maxsize=1)
def is_strict() -> bool:
    """Whether the libsodium that is here takes nothing that ``cryptography`` refuses."""
    key, signature, message = COFACTORED
    try:
        bindings.crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return True
    return False
