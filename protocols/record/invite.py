"""The one-time code by which a gateway enrols: read out over a telephone, typed with gloves on.

Crockford base32 in groups of four: 4 characters of id, 10 of secret, 8 of the collector key's fingerprint, 1 check
character. The check character is a code over GF(32): any one wrong character, and any two exchanged, are noticed.
"""

import hashlib
from dataclasses import dataclass

from protocols.errors import EnrolmentError

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ID, SECRET, FINGERPRINT = 4, 10, 8
LENGTH = ID + SECRET + FINGERPRINT + 1
ENTROPY_BYTES = 9
_READ_AS = str.maketrans("OIL", "011", " -\t\n\r")
_FIELD = 0b100101
"""x^5 + x^2 + 1, primitive over GF(2)."""


@dataclass(frozen=True, slots=True)
class Invite:
    """``id`` (4 characters) finds the invitation, ``secret`` (10) proves it, ``fingerprint`` (5 bytes) is of a key."""

    id: str
    secret: str
    fingerprint: bytes

    def format(self) -> str:
        """The code as it is shown: groups of four, the check character last."""
        digits = self.id + self.secret + _base32(int.from_bytes(self.fingerprint), FINGERPRINT)
        text = digits + _check(digits)
        return "-".join(text[i : i + 4] for i in range(0, LENGTH, 4))


def make(entropy: bytes, spki: bytes) -> Invite:
    """A new invite of 9 random bytes to the collector with this key."""
    digits = _base32(int.from_bytes(entropy[:ENTROPY_BYTES]) >> 2, ID + SECRET)
    return Invite(digits[:ID], digits[ID:], fingerprint(spki))


def fingerprint(spki: bytes) -> bytes:
    """SHA-256(SPKI), first 40 bits: what the code says of the collector's key."""
    return hashlib.sha256(spki).digest()[:5]


def parse(text: str) -> Invite:
    """The invite in a code as somebody typed it; EnrolmentError when it cannot be one.

    Lower case, spaces and dashes do not matter, O is read as 0, I and L as 1.
    """
    digits = text.upper().translate(_READ_AS)
    strange = sorted(set(digits) - set(ALPHABET))
    if strange:
        raise EnrolmentError(f"the code holds {' '.join(strange)}, expected digits and letters without I, L, O and U")
    if len(digits) != LENGTH:
        raise EnrolmentError(f"the code has {len(digits)} characters, expected {LENGTH} in groups of four")
    if _check(digits[:-1]) != digits[-1]:
        raise EnrolmentError("the code is mistyped: its last character does not fit the others")
    number = 0
    for digit in digits[ID + SECRET : -1]:
        number = number << 5 | ALPHABET.index(digit)
    return Invite(digits[:ID], digits[ID : ID + SECRET], number.to_bytes(5))


def _base32(number: int, length: int) -> str:
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(length)))


def _check(digits: str) -> str:
    """The digit that makes the sum of digit times x^position zero: Horner over GF(32)."""
    total = 0
    for digit in digits:
        total = _times_x(total ^ ALPHABET.index(digit))
    return ALPHABET[total]


def _times_x(element: int) -> int:
    return (element << 1) ^ (_FIELD if element & 0b10000 else 0)
