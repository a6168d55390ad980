"""COSE_Sign1 (RFC 9052, section 4.2) as RECORD.md restricts it, and the keys that make and check it."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from protocols.errors import EncodingError, SignatureError
from protocols.record import cbor

EDDSA = -19
"""Ed25519, fully specified (RFC 9864): file keys."""
ES256 = -9
"""ECDSA on P-256 with SHA-256, fully specified (RFC 9864): TPM and secure element."""

NAMES = {EDDSA: "Ed25519", ES256: "ES256"}
SIGNATURE_BYTES = 64
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
HALF_ORDER = ORDER >> 1
"""Of P-256 (FIPS 186-5, D.1.2.3). With s, n - s is a signature too: only the lower one is taken."""
KNOWN_BYTES = 128
"""Of a protected header that is remembered: those of keys have some fifty, those of strangers any number."""
_SIGN1_OF_FOUR = b"\xd2\x84"
_EMPTY_MAP = b"\xa0"

_Public = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
_Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class Signer(Protocol):
    """What can sign: a file key, or a chip that never shows its key."""

    @property
    def algorithm(self) -> int:
        """The COSE algorithm, EDDSA or ES256."""

    @property
    def spki(self) -> bytes:
        """The DER SubjectPublicKeyInfo of its public key."""

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature over ``data``; for ES256 r and s, 32 bytes each."""


class Verifier(Protocol):
    """What can check the signatures of one key."""

    @property
    def algorithm(self) -> int:
        """The COSE algorithm, EDDSA or ES256."""

    @property
    def kid(self) -> bytes:
        """SHA-256(SPKI), first 8 bytes: what an envelope names."""

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check the 64-byte signature over ``data``; SignatureError."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key with the one algorithm it was enrolled for; EncodingError when ``spki`` is not such a key in DER."""

    algorithm: int
    spki: bytes
    kid: bytes = field(init=False, repr=False, compare=False)
    """SHA-256(SPKI), first 8 bytes: what an envelope names."""
    id: bytes = field(init=False, repr=False, compare=False)
    """SHA-256(SPKI), first 16 bytes: a gateway's id."""
    _key: _Public = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.spki).digest()
        object.__setattr__(self, "kid", digest[:8])
        object.__setattr__(self, "id", digest[:16])
        object.__setattr__(self, "_key", _load(self.algorithm, self.spki))

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """The key in a PEM SubjectPublicKeyInfo; EncodingError when it is none of ours."""
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise EncodingError(f"found no public key in PEM ({error}), expected a SubjectPublicKeyInfo") from error
        if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
            raise EncodingError(f"found a {type(key).__name__}, expected an Ed25519 or a P-256 key")
        return cls(_algorithm(key), _spki(key))

    def pem(self) -> bytes:
        """The key as PEM SubjectPublicKeyInfo."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check the 64-byte signature over ``data``; SignatureError."""
        if len(signature) != SIGNATURE_BYTES:
            raise SignatureError(f"found a signature of {len(signature)} bytes, expected {SIGNATURE_BYTES}")
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, data)
            else:
                r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
                self._key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise SignatureError(f"the signature is not of key {self.kid.hex()} over these bytes") from error


class PrivateKey:
    """A signing key held in memory; a Signer."""

    def __init__(self, key: _Private) -> None:
        self._key = key
        self._public = PublicKey(_algorithm(key.public_key()), _spki(key.public_key()))

    @classmethod
    def generate(cls, algorithm: int = EDDSA) -> Self:
        """A new key from the operating system's random source."""
        _known(algorithm)
        return cls(
            ed25519.Ed25519PrivateKey.generate() if algorithm == EDDSA else ec.generate_private_key(ec.SECP256R1())
        )

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """The key in an unencrypted PKCS #8 PEM; EncodingError when it is none of ours."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise EncodingError(
                f"found no private key in PEM ({error}), expected an unencrypted PKCS #8 key"
            ) from error
        if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise EncodingError(f"found a {type(key).__name__}, expected an Ed25519 or a P-256 key")
        return cls(key)

    def pem(self) -> bytes:
        """The key as unencrypted PKCS #8 PEM."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def seed(self) -> bytes | None:
        """The 32 bytes that an Ed25519 key is made from (RFC 8032, 5.1.5), as secret as itself; None of another key."""
        return self._key.private_bytes_raw() if isinstance(self._key, ed25519.Ed25519PrivateKey) else None

    @property
    def public(self) -> PublicKey:
        """The key that checks its signatures."""
        return self._public

    @property
    def algorithm(self) -> int:
        """EDDSA or ES256."""
        return self._public.algorithm

    @property
    def spki(self) -> bytes:
        """The DER SubjectPublicKeyInfo of its public key."""
        return self._public.spki

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature over ``data``; for ES256 r and s, 32 bytes each."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(data)
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        s = min(s, ORDER - s)
        return r.to_bytes(32) + s.to_bytes(32)


def sign1(payload: bytes, signer: Signer, content_type: str, aad: bytes) -> bytes:
    """The tagged envelope of ``payload``, signed together with ``aad``."""
    kid, written = hashlib.sha256(signer.spki).digest()[:8], cbor.encode(payload)
    head, context = _opening(signer.algorithm, kid, content_type, aad)
    return b"".join((head, written, cbor.encode(signer.sign(context + written))))


def open1(envelope: bytes, key: Verifier, content_type: str, aad: bytes) -> bytes:
    """The payload, once the envelope is one of this type signed by this key; EncodingError, SignatureError.

    The protected header must be, byte for byte, the one this key writes: nothing is chosen by what the envelope says.
    """
    head, context = _opening(key.algorithm, key.kid, content_type, aad)
    if not envelope.startswith(head):
        _explain(envelope, key, content_type)
    payload, behind = cbor.byte_string(envelope, len(head))
    signature, end = cbor.byte_string(envelope, behind)
    if end != len(envelope):
        raise EncodingError(f"found {len(envelope) - end} bytes after the envelope, expected none")
    if key.algorithm == ES256 and int.from_bytes(signature[32:]) > HALF_ORDER:
        raise SignatureError("found an ES256 signature with the higher s, expected the lower one")
    key.verify(signature, context + envelope[len(head) : behind])
    return payload


def kid_of(envelope: bytes) -> bytes:
    """The 8 bytes by which the envelope names its key; nothing is verified. EncodingError."""
    return _header_of(envelope)[1]


def unverified(envelope: bytes) -> bytes:
    """The payload of an envelope nobody has checked, to find in it the key that must then open it; EncodingError."""
    if not envelope.startswith(_SIGN1_OF_FOUR):
        raise EncodingError(f"found {envelope[:2].hex()} at the start, expected d284: a tagged COSE_Sign1")
    _, end = cbor.byte_string(envelope, 2)
    if envelope[end : end + 1] != _EMPTY_MAP:
        raise EncodingError(f"found {envelope[end : end + 1].hex()} as unprotected header, expected a0: an empty map")
    return cbor.byte_string(envelope, end + 1)[0]


def end_of(data: bytes) -> int:
    """Where the envelope ends that ``data`` begins with; nothing in it is looked into. EncodingError."""
    if not data.startswith(_SIGN1_OF_FOUR):
        raise EncodingError(f"found {data[:2].hex()} at the start, expected d284: a tagged COSE_Sign1")
    _, end = cbor.byte_string(data, 2)
    if data[end : end + 1] != _EMPTY_MAP:
        raise EncodingError(f"found {data[end : end + 1].hex()} as unprotected header, expected a0: an empty map")
    _, end = cbor.byte_string(data, end + 1)
    return cbor.byte_string(data, end)[1]


def sig_structure(protected: bytes, aad: bytes, payload: bytes) -> bytes:
    """The bytes a Sign1 signature is made over (RFC 9052, section 4.4)."""
    return cbor.encode(["Signature1", protected, aad, payload])


@lru_cache(maxsize=4096)
def _opening(algorithm: int, kid: bytes, content_type: str, aad: bytes) -> tuple[bytes, bytes]:
    """What stands before the payload in an envelope, and in the bytes that its signature is made over."""
    protected = _protected(algorithm, kid, content_type)
    return _head(protected), sig_structure(protected, aad, b"")[:-1]


def _protected(algorithm: int, kid: bytes, content_type: str) -> bytes:
    return cbor.encode({1: algorithm, 4: kid, 16: content_type})


def _head(protected: bytes) -> bytes:
    """Everything before the payload: tag 18, an array of four, the protected header, an empty unprotected one."""
    return _SIGN1_OF_FOUR + cbor.encode(protected) + _EMPTY_MAP


def _header_of(envelope: bytes) -> tuple[int, bytes, str]:
    """Algorithm, kid and content type as the envelope claims them."""
    unverified(envelope)
    protected = cbor.byte_string(envelope, 2)[0]
    return _claimed(protected) if len(protected) <= KNOWN_BYTES else _claims(protected)


def _claims(protected: bytes) -> tuple[int, bytes, str]:
    header = cbor.decode(protected)
    match header:
        case {1: int(algorithm), 4: bytes(kid), 16: str(content_type)} if len(header) == 3 and len(kid) == 8:
            return algorithm, kid, content_type
    raise EncodingError(
        f"found the protected header {header!r}, expected algorithm (1), kid of 8 bytes (4) and type (16)"
    )


_claimed = lru_cache(maxsize=4096)(_claims)
"""A key writes the same header over and over."""


def _explain(envelope: bytes, key: Verifier, content_type: str) -> None:
    """Raise what is wrong with an envelope whose head is not the expected one."""
    algorithm, kid, found = _header_of(envelope)
    if found != content_type:
        raise EncodingError(f"found the type {found!r}, expected {content_type!r}")
    if kid != key.kid:
        raise SignatureError(f"found key {kid.hex()}, expected {key.kid.hex()}")
    name = NAMES.get(algorithm, "not one of ours")
    raise SignatureError(f"found algorithm {algorithm} ({name}), expected {key.algorithm} ({NAMES[key.algorithm]})")


def _known(algorithm: int) -> None:
    if algorithm not in NAMES:
        raise EncodingError(f"found algorithm {algorithm}, expected {EDDSA} (Ed25519) or {ES256} (ES256)")


def _load(algorithm: int, spki: bytes) -> _Public:
    _known(algorithm)
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EncodingError(
            f"found {len(spki)} bytes that are no public key, expected a DER SubjectPublicKeyInfo"
        ) from error
    if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey) or _algorithm(key) != algorithm:
        raise EncodingError(f"found a {type(key).__name__}, expected a key for {NAMES[algorithm]}")
    if _spki(key) != spki:
        raise EncodingError("found another way to write the key, expected its shortest DER with an uncompressed point")
    return key


def _algorithm(key: _Public) -> int:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return EDDSA
    if not isinstance(key.curve, ec.SECP256R1):
        raise EncodingError(f"found a key on {key.curve.name}, expected P-256")
    return ES256


def _spki(key: _Public) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
