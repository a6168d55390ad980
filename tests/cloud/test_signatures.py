"""What libsodium takes, cryptography takes: the RFC's vectors, and the points and numbers on which verifiers differ."""

import hashlib
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nacl import bindings

from cloud import signatures
from cloud.signatures import COFACTORED, Sodium, SodiumSigner, is_strict, signer, verifier
from protocols.errors import RecordError, SignatureError
from protocols.record.cose import EDDSA, ES256, PrivateKey, PublicKey, Verifier
from protocols.record.receipt import RECEIVED, Receipt, open_receipt, sign_receipt

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int]
NEUTRAL: Point = (0, 1)

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
"""Secret key, public key, message, signature: section 7.1, tests 1 to 3."""


def add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def times(count: int, point: Point) -> Point:
    found = NEUTRAL
    while count:
        if count & 1:
            found = add(found, point)
        point, count = add(point, point), count >> 1
    return found


def written(point: Point, beyond: bool = False) -> bytes:
    """RFC 8032, 5.1.2; ``beyond``: with y + p, where it fits."""
    y = point[1] + P * beyond
    return (y | (point[0] & 1) << 255).to_bytes(32, "little")


def read(y: int) -> Point | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    return (min(x, P - x), y) if (x * x - square) % P == 0 else None


def small() -> list[Point]:
    """The eight points of small order."""
    for y in range(2, 100):
        if (found := read(y)) is not None and times(4, eighth := times(ORDER, found)) != NEUTRAL:
            return [times(count, eighth) for count in range(8)]
    raise AssertionError("one point in two is off the subgroup")


BASE_Y = 4 * pow(5, -1, P) % P
BASE = read(BASE_Y)
assert BASE is not None
BASE = (BASE[0] if BASE[0] & 1 == 0 else P - BASE[0], BASE_Y)
SMALL = small()
SECRET, NONCE = 0x1234567890ABCDEF << 128, 0xFEDCBA0987654321 << 64
OWN, OFF = times(SECRET, BASE), times(NONCE, BASE)


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % ORDER


def signed(r: bytes, key: bytes, message: bytes, secret: int, nonce: int) -> bytes:
    """The signature of RFC 8032, 5.1.6, for points as they are written."""
    return r + ((nonce + challenge(r, key, message) * secret) % ORDER).to_bytes(32, "little")


def cases() -> Iterator[tuple[bytes, bytes, bytes]]:
    """Keys, signatures and messages with parts of small order, in every way to write them; some right, some not."""
    own, off = written(OWN), written(OFF)
    for number in range(8):
        message = bytes([number])
        for torsion in SMALL:
            mixed, shifted = written(add(OWN, torsion)), written(add(OFF, torsion))
            yield mixed, signed(off, mixed, message, SECRET, NONCE), message
            yield own, signed(shifted, own, message, SECRET, NONCE), message
            yield mixed, signed(shifted, mixed, message, SECRET, NONCE), message
            for beyond in (False, True) if torsion[1] < 19 else (False,):
                weak = written(torsion, beyond)
                yield weak, signed(off, weak, message, 0, NONCE), message
                yield weak, signed(weak, weak, message, 0, 0), message
                yield own, signed(weak, own, message, SECRET, 0), message
        right = signed(off, own, message, SECRET, NONCE)
        higher = int.from_bytes(right[32:], "little") + ORDER
        yield own, off + higher.to_bytes(32, "little"), message
        yield own, off + (higher + ORDER).to_bytes(32, "little"), message
        yield own, off + right[32:63] + bytes([right[63] | 0xE0]), message


def key_of(raw: bytes) -> PublicKey:
    spki = Ed25519PublicKey.from_public_bytes(raw).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(EDDSA, spki)


def takes(key: Verifier, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except RecordError:
        return False
    return True


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_vectors_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    made = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    assert made.public_key().public_bytes_raw().hex() == public
    assert made.sign(bytes.fromhex(message)).hex() == signature
    fast = verifier(key_of(bytes.fromhex(public)))
    assert isinstance(fast, Sodium)
    fast.verify(bytes.fromhex(signature), bytes.fromhex(message))


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_what_libsodium_signs_is_what_the_rfc_says(secret: str, public: str, message: str, signature: str) -> None:
    fast = SodiumSigner(key_of(bytes.fromhex(public)), bytes.fromhex(secret))
    assert fast.sign(bytes.fromhex(message)).hex() == signature


def test_receipts_are_the_same_bytes_both_ways() -> None:
    key = PrivateKey.generate()
    fast = signer(key)
    assert isinstance(fast, SodiumSigner)
    for length in range(200):
        data = hashlib.shake_128(bytes([length])).digest(length)
        assert fast.sign(data) == key.sign(data)
        key.public.verify(fast.sign(data), data)
    receipt = Receipt(bytes(16), 0, 7, bytes(32), RECEIVED, 1_790_000_000_000)
    assert sign_receipt(receipt, fast) == sign_receipt(receipt, key)
    assert open_receipt(sign_receipt(receipt, fast), key.public) == receipt


def test_a_key_is_not_shown() -> None:
    key = PrivateKey.generate()
    seed, fast = key.seed(), signer(key)
    assert seed is not None
    for shown in (repr(key), repr(fast), str(fast)):
        assert seed.hex() not in shown and repr(seed)[2:-1] not in shown


def test_a_library_that_signs_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "crypto_sign", lambda data, _: bytes(64) + data)
    key = PrivateKey.generate()
    assert signer(key) is key


def test_other_keys_sign_as_before() -> None:
    key = PrivateKey.generate(ES256)
    assert signer(key) is key and key.seed() is None


def test_every_single_bit_counts() -> None:
    _, public, message, signature = (bytes.fromhex(part) for part in RFC_8032[2])
    fast = verifier(key_of(public))
    whole = signature + message
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureError, match="signature"):
            fast.verify(bytes(changed[:64]), bytes(changed[64:]))


def test_what_libsodium_takes_cryptography_takes() -> None:
    """And not the other way round: what is of small order, or written otherwise, is refused by libsodium alone."""
    found = [
        (takes(Sodium(key), signature, message), takes(key, signature, message))
        for key, signature, message in ((key_of(raw), *rest) for raw, *rest in cases())
    ]
    assert (True, False) not in found
    assert {(True, True), (False, True), (False, False)} == set(found)


def test_weak_keys_and_points_are_refused() -> None:
    own, off = written(OWN), written(OFF)
    for torsion in SMALL:
        weak = written(torsion)
        assert not takes(Sodium(key_of(weak)), signed(off, weak, b"m", 0, NONCE), b"m")
        assert not takes(Sodium(key_of(own)), signed(weak, own, b"m", SECRET, 0), b"m")
    right = signed(off, own, b"m", SECRET, NONCE)
    assert takes(Sodium(key_of(own)), right, b"m")
    higher = int.from_bytes(right[32:], "little") + ORDER
    assert not takes(Sodium(key_of(own)), off + higher.to_bytes(32, "little"), b"m")
    for length in (0, 63, 65):
        assert not takes(Sodium(key_of(own)), (right + b"\0")[:length], b"m")


def test_the_trial_signature_is_right_but_for_a_point_of_order_8() -> None:
    raw, signature, message = COFACTORED
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    key, point = (parted(part) for part in (raw, r))
    wanted = add(point, times(challenge(r, raw, message), key))
    assert times(s, BASE) != wanted
    assert times(8, times(s, BASE)) == times(8, wanted)
    assert is_strict()


def parted(raw: bytes) -> Point:
    number = int.from_bytes(raw, "little")
    found = read(number & (1 << 255) - 1)
    assert found is not None
    return (found[0] if found[0] & 1 == number >> 255 else P - found[0], found[1])


def test_a_library_that_takes_more_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As libsodium would be if it compared times the cofactor."""
    monkeypatch.setattr(bindings, "crypto_sign_open", lambda signed, _: signed[64:])
    signatures.is_strict.cache_clear()
    try:
        key = PrivateKey.generate().public
        assert verifier(key) is key
    finally:
        monkeypatch.undo()
        signatures.is_strict.cache_clear()


def test_other_keys_are_checked_as_before() -> None:
    key = PrivateKey.generate(ES256).public
    assert verifier(key) is key
