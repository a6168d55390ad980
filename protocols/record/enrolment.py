"""The enrolment request: a gateway's key, its technician's key and its first configuration, signed by the gateway."""

from dataclasses import dataclass

from protocols.record import cbor, cose, shape

ENROLMENT_TYPE = "application/tanmeter-enrolment+cbor"
ENROLMENT_AAD = b"tanmeter-enrolment/v1"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """``spki`` with ``algorithm`` is the gateway's identity, the technician's key signs its site configurations.

    ``site_config``: SHA-256 of the first configuration envelope. ``at``: UTC ms. ``nonce``: 16 bytes.
    """

    algorithm: int
    spki: bytes
    technician_algorithm: int
    technician_spki: bytes
    site_id: str
    site_config: bytes
    custody: int
    at: int
    nonce: bytes

    @property
    def key(self) -> cose.PublicKey:
        """The gateway's key; EncodingError when it is none."""
        return cose.PublicKey(self.algorithm, self.spki)

    @property
    def technician(self) -> cose.PublicKey:
        """The technician's key; EncodingError when it is none."""
        return cose.PublicKey(self.technician_algorithm, self.technician_spki)


def sign_enrolment(enrolment: Enrolment, signer: cose.Signer) -> bytes:
    """The envelope, signed by the very key it names. Its SHA-256 is ``previous`` of the gateway's first block."""
    payload = cbor.encode(
        {
            0: 1,
            1: enrolment.algorithm,
            2: enrolment.spki,
            3: enrolment.technician_algorithm,
            4: enrolment.technician_spki,
            5: enrolment.site_id,
            6: enrolment.site_config,
            7: enrolment.custody,
            8: enrolment.at,
            9: enrolment.nonce,
        }
    )
    envelope = cose.sign1(payload, signer, ENROLMENT_TYPE, ENROLMENT_AAD)
    open_enrolment(envelope)
    return envelope


def open_enrolment(envelope: bytes) -> Enrolment:
    """The request, once it proves to hold the key it names; SignatureError, EncodingError."""
    claimed = _enrolment(cose.unverified(envelope))
    cose.open1(envelope, claimed.key, ENROLMENT_TYPE, ENROLMENT_AAD)
    return claimed


def _enrolment(payload: bytes) -> Enrolment:
    version, *values = shape.fields(cbor.decode(payload), 10, "enrolment")
    shape.version(version, "enrolment")
    algorithm, spki, technician_algorithm, technician_spki, site_id, site_config, custody, at, nonce = values
    enrolment = Enrolment(
        shape.integer(algorithm, "enrolment algorithm"),
        shape.octets(spki, "enrolment key"),
        shape.integer(technician_algorithm, "enrolment technician algorithm"),
        shape.octets(technician_spki, "enrolment technician key"),
        shape.text(site_id, "enrolment site id"),
        shape.octets(site_config, "enrolment site configuration", 32),
        shape.unsigned(custody, "enrolment custody", 3),
        shape.integer(at, "enrolment time"),
        shape.octets(nonce, "enrolment nonce", 16),
    )
    cose.PublicKey(enrolment.technician_algorithm, enrolment.technician_spki)
    return enrolment
