"""A signed activity file: bills, weighbridge, laboratory results, under the key of whoever answers for them.

The envelope is a COSE_Sign1 as in RECORD.md whose payload is the file itself, byte for byte. The file is named by the
digest of these bytes, signed or not, so that the same file is one file.
"""

from protocols.record import cose

ACTIVITY_TYPE = "application/tanmeter-activity"
ACTIVITY_AAD = b"tanmeter-activity/v1"


def sign(source: bytes, signer: cose.Signer) -> bytes:
    """The envelope over an activity file."""
    return cose.sign1(source, signer, ACTIVITY_TYPE, ACTIVITY_AAD)


def open_activity(envelope: bytes, key: cose.PublicKey) -> bytes:
    """The file in an envelope of this key; SignatureError, EncodingError."""
    return cose.open1(envelope, key, ACTIVITY_TYPE, ACTIVITY_AAD)
