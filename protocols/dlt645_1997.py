"""DL/T 645-1997, the reading side: identifiers of two bytes, replies 81, A1, C1; nothing here can write to a meter.

The frame is that of 2007. Follow-up frames (02, 82, A2) bear no number: which one it is cannot be checked. (That the
request for them repeats the identifier and nothing else is unverified.) Numbers shorter than 12 digits are filled with
AA by the standard and with 00 by many meters; to a wildcard some answer with the wildcard itself.
"""

from protocols.dlt645_edition import Edition

EDITION = Edition("DL/T 645-1997", read=0x01, follow=0x02, width=2, numbered=False)

SEPARATOR = b"\xaa"

read_request = EDITION.read_request
parse_request = EDITION.parse_request
payload = EDITION.payload
recogniser = EDITION.recogniser


def wordings(number: str) -> tuple[str, ...]:
    """The addresses that a meter of this number (1 to 12 digits) may have: filled up with AA, and with 00."""
    whole = number.zfill(len(number) + len(number) % 2)
    return (whole,) if len(whole) == 12 else (whole.rjust(12, "A"), whole.rjust(12, "0"))


def unseparated(data: bytes) -> bytes:
    """A block of numbers without the AA that may end it (unverified): no digit of BCD is A."""
    return data.rstrip(SEPARATOR)
