"""COSE_Sign1: the published examples down to the bytes that were signed, and a refusal for every rule of RECORD.md."""

import hashlib
import json
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import EncodingError, RecordError, SignatureError
from protocols.record import cbor, cose

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "record_cose.json").read_text("utf-8"))
TYPE, AAD = "application/tanmeter-test+cbor", b"tanmeter-test/v1"
BOTH = pytest.mark.parametrize("algorithm", [cose.EDDSA, cose.ES256], ids=["Ed25519", "ES256"])
KEYS = {algorithm: cose.PrivateKey.generate(algorithm) for algorithm in (cose.EDDSA, cose.ES256)}


def spki(key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def published(name: str) -> cose.PublicKey:
    numbers = VECTORS["keys"][name]
    if name == "Ed25519":
        key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(numbers["x"]))
        return cose.PublicKey(cose.EDDSA, spki(key))
    point = ec.EllipticCurvePublicNumbers(int(numbers["x"], 16), int(numbers["y"], 16), ec.SECP256R1())
    return cose.PublicKey(cose.ES256, spki(point.public_key()))


@pytest.mark.parametrize("vector", VECTORS["sign1"], ids=lambda vector: vector["name"])
def test_published_example(vector: dict[str, str]) -> None:
    protected, _, payload, signature = cbor2.loads(bytes.fromhex(vector["message"])).value
    signed = cose.sig_structure(protected, bytes.fromhex(vector["external"]), payload)
    assert signed.hex() == vector["to_be_signed"]
    key = published(vector["key"])
    key.verify(signature, signed)
    for wrong in (signed[:-1] + b"!", signed + b"\x00"):
        with pytest.raises(SignatureError):
            key.verify(signature, wrong)


def test_published_ed25519_signature_is_made_again() -> None:
    vector = VECTORS["sign1"][0]
    secret = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["keys"]["Ed25519"]["d"]))
    key = cose.PrivateKey.from_pem(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert key.sign(bytes.fromhex(vector["to_be_signed"])).hex() == vector["message"][-128:]


@pytest.mark.parametrize("message", VECTORS["valid_elsewhere"].values(), ids=VECTORS["valid_elsewhere"].keys())
def test_what_cose_allows_and_we_do_not(message: str) -> None:
    for read in (cose.kid_of, lambda data: cose.open1(data, published("P-256"), TYPE, b"")):
        with pytest.raises(EncodingError):
            read(bytes.fromhex(message))


def test_published_example_is_not_an_envelope_of_ours() -> None:
    with pytest.raises(EncodingError, match="protected header"):
        cose.open1(bytes.fromhex(VECTORS["sign1"][0]["message"]), published("Ed25519"), TYPE, b"")


@BOTH
def test_an_envelope_is_what_rfc_9052_says(algorithm: int) -> None:
    """Checked without our code: cbor2 and cryptography only."""
    key = KEYS[algorithm]
    tag = cbor2.loads(cose.sign1(b"payload", key, TYPE, AAD))
    protected, unprotected, payload, signature = tag.value
    assert (tag.tag, unprotected, payload, len(signature)) == (18, {}, b"payload", 64)
    assert cbor2.loads(protected) == {1: algorithm, 4: hashlib.sha256(key.spki).digest()[:8], 16: TYPE}
    signed = cbor2.dumps(["Signature1", protected, AAD, b"payload"])
    inner = key.public._key
    if isinstance(inner, ed25519.Ed25519PublicKey):
        inner.verify(signature, signed)
    else:
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        inner.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))


@BOTH
@given(payload=st.binary(max_size=300))
def test_what_is_signed_opens(algorithm: int, payload: bytes) -> None:
    envelope = cose.sign1(payload, KEYS[algorithm], TYPE, AAD)
    assert cose.open1(envelope, KEYS[algorithm].public, TYPE, AAD) == payload
    assert cose.kid_of(envelope) == KEYS[algorithm].public.kid
    assert cose.unverified(envelope) == payload


@BOTH
def test_every_flipped_bit_is_refused(algorithm: int) -> None:
    envelope = cose.sign1(b"a payload of some bytes", KEYS[algorithm], TYPE, AAD)
    for bit in range(len(envelope) * 8):
        wrong = bytearray(envelope)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises((SignatureError, EncodingError)):
            cose.open1(bytes(wrong), KEYS[algorithm].public, TYPE, AAD)


@BOTH
def test_every_cut_and_every_addition_is_refused(algorithm: int) -> None:
    envelope = cose.sign1(b"payload", KEYS[algorithm], TYPE, AAD)
    for wrong in [envelope[:end] for end in range(len(envelope))] + [envelope + b"\x00", b"\x00" + envelope]:
        with pytest.raises(EncodingError):
            cose.open1(wrong, KEYS[algorithm].public, TYPE, AAD)


def handmade(header: object, unprotected: object = None, payload: object = b"payload", tag: int = 18) -> bytes:
    """An envelope with a valid Ed25519 signature over whatever header it is given."""
    protected = header if isinstance(header, bytes) else cbor2.dumps(header)
    signature = KEYS[cose.EDDSA].sign(cbor2.dumps(["Signature1", protected, AAD, payload]))
    return cbor2.dumps(cbor2.CBORTag(tag, [protected, {} if unprotected is None else unprotected, payload, signature]))


KID = KEYS[cose.EDDSA].public.kid
HANDMADE = {
    "algorithm of another kind of key": (handmade({1: cose.ES256, 4: KID, 16: TYPE}), SignatureError),
    "algorithm -8, the polymorphic EdDSA": (handmade({1: -8, 4: KID, 16: TYPE}), SignatureError),
    "no algorithm": (handmade({4: KID, 16: TYPE}), EncodingError),
    "no kid": (handmade({1: -19, 16: TYPE}), EncodingError),
    "kid of nine bytes": (handmade({1: -19, 4: KID + b"x", 16: TYPE}), EncodingError),
    "kid of another key": (handmade({1: -19, 4: bytes(8), 16: TYPE}), SignatureError),
    "no content type": (handmade({1: -19, 4: KID}), EncodingError),
    "content type of another record": (handmade({1: -19, 4: KID, 16: TYPE + "x"}), EncodingError),
    "a critical header": (handmade({1: -19, 2: [16], 4: KID, 16: TYPE}), EncodingError),
    "header keys falling": (handmade({4: KID, 1: -19, 16: TYPE}), EncodingError),
    "header not shortest": (
        handmade(b"\xa3\x01\x38\x12\x04\x58\x08" + KID + b"\x10" + cbor2.dumps(TYPE)),
        EncodingError,
    ),
    "header empty": (handmade(b""), EncodingError),
    "something unprotected": (handmade({1: -19, 4: KID, 16: TYPE}, {4: KID}), EncodingError),
    "payload detached": (handmade({1: -19, 4: KID, 16: TYPE}, payload=None), EncodingError),
    "tag 98, COSE_Sign": (handmade({1: -19, 4: KID, 16: TYPE}, tag=98), EncodingError),
}


@pytest.mark.parametrize(("envelope", "error"), HANDMADE.values(), ids=HANDMADE.keys())
def test_refused_although_signed(envelope: bytes, error: type[RecordError]) -> None:
    with pytest.raises(error):
        cose.open1(envelope, KEYS[cose.EDDSA].public, TYPE, AAD)


def test_the_handmade_envelope_is_otherwise_right() -> None:
    assert cose.open1(handmade({1: -19, 4: KID, 16: TYPE}), KEYS[cose.EDDSA].public, TYPE, AAD) == b"payload"


@BOTH
def test_other_circumstances_are_refused(algorithm: int) -> None:
    envelope = cose.sign1(b"payload", KEYS[algorithm], TYPE, AAD)
    with pytest.raises(SignatureError):
        cose.open1(envelope, KEYS[algorithm].public, TYPE, AAD + b"x")
    with pytest.raises(EncodingError, match="expected 'application/other'"):
        cose.open1(envelope, KEYS[algorithm].public, "application/other", AAD)
    with pytest.raises(SignatureError, match="found key"):
        cose.open1(envelope, cose.PrivateKey.generate(algorithm).public, TYPE, AAD)


def test_a_header_of_a_stranger_is_read_and_not_kept() -> None:
    """Any number of them, of any length, can be sent."""
    key, before = KEYS[cose.EDDSA], cose._claimed.cache_info().currsize
    envelope = cose.sign1(b"", key, "application/" + cose.KNOWN_BYTES * "x", AAD)
    assert cose.kid_of(envelope) == key.public.kid
    assert cose._claimed.cache_info().currsize == before


@given(st.binary(max_size=120))
def test_any_bytes_are_refused(data: bytes) -> None:
    for read in (cose.kid_of, cose.unverified, lambda data: cose.open1(data, KEYS[cose.EDDSA].public, TYPE, AAD)):
        with pytest.raises(RecordError):
            read(b"\xd2\x84" + data)


@BOTH
def test_a_signature_of_another_length_is_refused(algorithm: int) -> None:
    key = KEYS[algorithm]
    signature = key.sign(b"data")
    key.public.verify(signature, b"data")
    for wrong in (b"", signature[:-1], signature + b"\x00", bytes(64)):
        with pytest.raises(SignatureError):
            key.public.verify(wrong, b"data")


def test_a_signature_without_its_leading_zero_is_refused() -> None:
    """It would be the same two numbers: one way to write a thing."""
    key = KEYS[cose.ES256]
    signature = next(found for _ in iter(int, 1) if (found := key.sign(b"data"))[32] == 0)
    key.public.verify(signature, b"data")
    with pytest.raises(SignatureError, match="63 bytes"):
        key.public.verify(signature[:32] + signature[33:], b"data")


@BOTH
def test_a_key_survives_its_file(algorithm: int) -> None:
    key = KEYS[algorithm]
    again = cose.PrivateKey.from_pem(key.pem())
    assert again.public == key.public == cose.PublicKey(algorithm, key.spki)
    assert again.public.id == hashlib.sha256(key.spki).digest()[:16]


P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
P384 = ec.generate_private_key(ec.SECP384R1())
COMPRESSED = P256.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
NOT_KEYS = {
    "nothing": (cose.EDDSA, b""),
    "garbage": (cose.EDDSA, b"\x30\x03\x02\x01\x00"),
    "an RSA key": (cose.ES256, spki(RSA.public_key())),
    "a key on P-384": (cose.ES256, spki(P384.public_key())),
    "an X25519 key": (cose.EDDSA, spki(x25519.X25519PrivateKey.generate().public_key())),
    "an Ed25519 key for ES256": (cose.ES256, KEYS[cose.EDDSA].spki),
    "a P-256 key for Ed25519": (cose.EDDSA, KEYS[cose.ES256].spki),
    "an algorithm we do not have": (-7, KEYS[cose.ES256].spki),
    "a compressed point": (
        cose.ES256,
        bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + COMPRESSED,
    ),
    "a byte after it": (cose.EDDSA, KEYS[cose.EDDSA].spki + b"\x00"),
}


@pytest.mark.parametrize(("algorithm", "data"), NOT_KEYS.values(), ids=NOT_KEYS.keys())
def test_not_a_key(algorithm: int, data: bytes) -> None:
    with pytest.raises(EncodingError):
        cose.PublicKey(algorithm, data)


def test_not_a_private_key() -> None:
    rsa_pem = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    p384_pem = P384.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem in (b"", b"-----BEGIN PRIVATE KEY-----\n", rsa_pem, p384_pem, KEYS[cose.EDDSA].spki):
        with pytest.raises(EncodingError):
            cose.PrivateKey.from_pem(pem)
    with pytest.raises(EncodingError):
        cose.PrivateKey.generate(-7)


def test_the_payload_is_not_looked_at_before_the_signature() -> None:
    """A payload that is no CBOR at all opens: its bytes are handed on as they were signed."""
    envelope = cose.sign1(b"\xff\xff", KEYS[cose.EDDSA], TYPE, AAD)
    assert cose.open1(envelope, KEYS[cose.EDDSA].public, TYPE, AAD) == b"\xff\xff"
    assert cbor.byte_string(envelope, envelope.index(b"\x42\xff\xff"))[0] == b"\xff\xff"
