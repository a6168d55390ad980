"""The signed site configuration: what gives the bytes of a block their meaning."""

import hashlib
from dataclasses import dataclass
from typing import Any

from protocols.record import cbor, cose, shape

SITE_TYPE = "application/tanmeter-site+cbor"
SITE_AAD = b"tanmeter-site/v1"
NO_PREVIOUS = bytes(32)


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """``site`` is the file as the technician wrote it, ``profiles`` the (id, SHA-256) of each profile it names.

    ``previous``: digest of the envelope before it, NO_PREVIOUS for the first. ``valid_from``: UTC ms.
    """

    number: int
    previous: bytes
    site: bytes
    profiles: tuple[tuple[str, bytes], ...]
    valid_from: int


def sign_site(config: SiteConfig, signer: cose.Signer) -> bytes:
    """The envelope, signed by the technician; EncodingError on what ``open_site`` would refuse."""
    payload = cbor.encode(
        {0: config.number, 1: config.previous, 2: config.site, 3: config.profiles, 4: config.valid_from}
    )
    _config(payload)
    return cose.sign1(payload, signer, SITE_TYPE, SITE_AAD)


def open_site(envelope: bytes, key: cose.PublicKey) -> SiteConfig:
    """The configuration in an envelope signed by this technician; SignatureError, EncodingError."""
    return _config(cose.open1(envelope, key, SITE_TYPE, SITE_AAD))


def digest(envelope: bytes) -> bytes:
    """SHA-256 of the envelope: what blocks, enrolment and the next configuration name."""
    return hashlib.sha256(envelope).digest()


def _config(payload: bytes) -> SiteConfig:
    number, previous, site, profiles, valid_from = shape.fields(cbor.decode(payload), 5, "site configuration")
    return SiteConfig(
        shape.unsigned(number, "site configuration number"),
        shape.octets(previous, "site configuration previous", 32),
        shape.octets(site, "site configuration site"),
        tuple([_profile(entry) for entry in shape.array(profiles, "site configuration profiles")]),
        shape.integer(valid_from, "site configuration valid from"),
    )


def _profile(value: Any) -> tuple[str, bytes]:
    name, sha256 = shape.array(value, "site configuration profile", 2)
    return shape.text(name, "profile id"), shape.octets(sha256, "profile digest", 32)
