"""Site configuration, receipt and enrolment: signed, opened, and a refusal for every rule."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import EncodingError, RecordError, SignatureError
from protocols.record import cbor, cose
from protocols.record.enrolment import ENROLMENT_AAD, ENROLMENT_TYPE, Enrolment, open_enrolment, sign_enrolment
from protocols.record.receipt import RECEIPT_AAD, RECEIPT_TYPE, RECEIVED, SETTLED, Receipt, open_receipt, sign_receipt
from protocols.record.siteconfig import NO_PREVIOUS, SITE_AAD, SITE_TYPE, SiteConfig, digest, open_site, sign_site

KEY, TECHNICIAN = cose.PrivateKey.generate(), cose.PrivateKey.generate(cose.ES256)
SITE = SiteConfig(1, NO_PREVIOUS, "schema = 1 # 示例".encode(), (("eastron-sdm630", b"p" * 32),), 1_790_000_000_000)
RECEIPT = Receipt(KEY.public.id, 0, 8, b"h" * 32, RECEIVED, 1_790_000_000_000)
ENROLMENT = Enrolment(
    KEY.algorithm, KEY.spki, TECHNICIAN.algorithm, TECHNICIAN.spki, "S-1", b"c" * 32, 0, 1_790_000_000_000, b"n" * 16
)


def test_a_site_configuration_opens() -> None:
    envelope = sign_site(SITE, TECHNICIAN)
    assert open_site(envelope, TECHNICIAN.public) == SITE
    assert digest(envelope) == hashlib.sha256(envelope).digest()
    assert cbor.decode(cose.unverified(envelope)) == {
        0: 1,
        1: bytes(32),
        2: SITE.site,
        3: [["eastron-sdm630", b"p" * 32]],
        4: 1_790_000_000_000,
    }
    with pytest.raises(SignatureError):
        open_site(envelope, cose.PrivateKey.generate(cose.ES256).public)


def test_a_receipt_opens() -> None:
    for receipt in (RECEIPT, replace(RECEIPT, level=SETTLED, next_seq=0)):
        envelope = sign_receipt(receipt, KEY)
        assert open_receipt(envelope, KEY.public) == receipt
        with pytest.raises(SignatureError):
            open_receipt(envelope, cose.PrivateKey.generate().public)


def test_an_enrolment_opens_by_the_key_it_names() -> None:
    found = open_enrolment(sign_enrolment(ENROLMENT, KEY))
    assert found == ENROLMENT
    assert found.key == KEY.public and found.technician == TECHNICIAN.public


def test_an_enrolment_signed_by_another_key_is_refused() -> None:
    with pytest.raises(SignatureError):
        sign_enrolment(ENROLMENT, cose.PrivateKey.generate())
    stolen = cbor.encode(cbor.decode(cose.unverified(sign_enrolment(ENROLMENT, KEY))))
    with pytest.raises(SignatureError):
        open_enrolment(cose.sign1(stolen, cose.PrivateKey.generate(), ENROLMENT_TYPE, ENROLMENT_AAD))


def test_an_altered_enrolment_is_refused() -> None:
    envelope = sign_enrolment(ENROLMENT, KEY)
    for bit in range(len(envelope) * 8):
        wrong = bytearray(envelope)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordError):
            open_enrolment(bytes(wrong))


def test_no_record_passes_for_another() -> None:
    """Same key, same bytes: the type and the external data keep them apart."""
    site, receipt, enrolment = sign_site(SITE, KEY), sign_receipt(RECEIPT, KEY), sign_enrolment(ENROLMENT, KEY)
    opens: list[Callable[[bytes], object]] = [
        lambda envelope: open_site(envelope, KEY.public),
        lambda envelope: open_receipt(envelope, KEY.public),
        open_enrolment,
    ]
    for made, envelope in enumerate((site, receipt, enrolment)):
        for read, opened in enumerate(opens):
            if made == read:
                opened(envelope)
            else:
                with pytest.raises(RecordError):
                    opened(envelope)


ANOTHER = cose.PrivateKey.generate().spki
WRONG: dict[str, tuple[str, int, Any]] = {
    "site number negative": ("site", 0, -1),
    "site previous of 16 bytes": ("site", 1, bytes(16)),
    "site previous null": ("site", 1, None),
    "site file a text": ("site", 2, "schema = 1"),
    "site profiles null": ("site", 3, None),
    "site profile without digest": ("site", 3, [["id"]]),
    "site profile digest of 16 bytes": ("site", 3, [["id", bytes(16)]]),
    "site profile id bytes": ("site", 3, [[b"id", bytes(32)]]),
    "site valid from null": ("site", 4, None),
    "site a sixth field": ("site", 5, 0),
    "receipt gateway of 32 bytes": ("receipt", 0, bytes(32)),
    "receipt epoch negative": ("receipt", 1, -1),
    "receipt next seq negative": ("receipt", 2, -1),
    "receipt head of 16 bytes": ("receipt", 3, bytes(16)),
    "receipt level 0": ("receipt", 4, 0),
    "receipt level 3": ("receipt", 4, 3),
    "receipt level null": ("receipt", 4, None),
    "receipt time a text": ("receipt", 5, "now"),
    "receipt a seventh field": ("receipt", 6, 0),
    "enrolment version 2": ("enrolment", 0, 2),
    "enrolment algorithm of another key": ("enrolment", 1, cose.ES256),
    "enrolment algorithm unknown": ("enrolment", 1, -8),
    "enrolment key of another": ("enrolment", 2, ANOTHER),
    "enrolment key garbage": ("enrolment", 2, b"key"),
    "enrolment technician algorithm of another key": ("enrolment", 3, cose.EDDSA),
    "enrolment technician key garbage": ("enrolment", 4, b"key"),
    "enrolment site id bytes": ("enrolment", 5, b"S-1"),
    "enrolment site configuration of 16 bytes": ("enrolment", 6, bytes(16)),
    "enrolment custody 4": ("enrolment", 7, 4),
    "enrolment time null": ("enrolment", 8, None),
    "enrolment nonce of 8 bytes": ("enrolment", 9, bytes(8)),
    "enrolment an eleventh field": ("enrolment", 10, 0),
}
RIGHT: dict[str, tuple[bytes, str, bytes, Callable[[bytes], object]]] = {
    "site": (sign_site(SITE, KEY), SITE_TYPE, SITE_AAD, lambda envelope: open_site(envelope, KEY.public)),
    "receipt": (
        sign_receipt(RECEIPT, KEY),
        RECEIPT_TYPE,
        RECEIPT_AAD,
        lambda envelope: open_receipt(envelope, KEY.public),
    ),
    "enrolment": (sign_enrolment(ENROLMENT, KEY), ENROLMENT_TYPE, ENROLMENT_AAD, open_enrolment),
}


@pytest.mark.parametrize(("kind", "field", "value"), WRONG.values(), ids=WRONG.keys())
def test_refused_although_signed(kind: str, field: int, value: Any) -> None:
    envelope, content_type, aad, opened = RIGHT[kind]
    payload = cbor.decode(cose.unverified(envelope))
    opened(cose.sign1(cbor.encode(payload), KEY, content_type, aad))
    with pytest.raises(RecordError):
        opened(cose.sign1(cbor.encode(payload | {field: value}), KEY, content_type, aad))
    if field in payload:
        del payload[field]
        with pytest.raises(EncodingError):
            opened(cose.sign1(cbor.encode(payload), KEY, content_type, aad))


@pytest.mark.parametrize("kind", RIGHT)
def test_another_encoding_is_refused_although_signed(kind: str) -> None:
    envelope, content_type, aad, opened = RIGHT[kind]
    payload = cose.unverified(envelope)
    for wrong in (payload + b"\x00", payload[:-1], b"\xbf" + payload[1:] + b"\xff", b"\xa0", b"\x80", b""):
        with pytest.raises(EncodingError):
            opened(cose.sign1(wrong, KEY, content_type, aad))


def test_nothing_is_signed_that_would_not_open() -> None:
    with pytest.raises(EncodingError):
        sign_site(replace(SITE, previous=b""), KEY)
    with pytest.raises(EncodingError):
        sign_receipt(replace(RECEIPT, level=3), KEY)
    with pytest.raises(EncodingError):
        sign_enrolment(replace(ENROLMENT, nonce=b""), KEY)


octets32 = st.binary(min_size=32, max_size=32)


@given(
    st.builds(
        SiteConfig,
        st.integers(0, 2**32),
        octets32,
        st.binary(max_size=300),
        st.lists(st.tuples(st.text(max_size=20), octets32), max_size=4).map(tuple),
        st.integers(-(2**53), 2**53),
    )
)
def test_any_site_configuration_opens_as_it_was_signed(config: SiteConfig) -> None:
    assert open_site(sign_site(config, KEY), KEY.public) == config


@given(
    st.builds(
        Receipt,
        st.binary(min_size=16, max_size=16),
        st.integers(0, 2**63 - 1),
        st.integers(0, 2**63 - 1),
        octets32,
        st.sampled_from([RECEIVED, SETTLED]),
        st.integers(-(2**53), 2**53),
    )
)
def test_any_receipt_opens_as_it_was_signed(receipt: Receipt) -> None:
    assert open_receipt(sign_receipt(receipt, KEY), KEY.public) == receipt
