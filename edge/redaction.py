"""What leaves the box in a support bundle has no secret in it: keys, passwords, one-time codes are blacked out."""

import base64
import re
from collections.abc import Iterable

BLACK = b"***"
PATTERNS = (
    re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(rb"(?<=://)[^/\s\"'@]*:[^/\s\"']*(?=@)"),  # user and password of an address
    re.compile(rb"(?<=://)[^/\s\"':@]+(?=@)"),
    re.compile(rb"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]+"),
    re.compile(rb"\b[0-9A-HJKMNP-TV-Z]{4}(?:-[0-9A-HJKMNP-TV-Z]{4}){3,}(?:-[0-9A-HJKMNP-TV-Z]{1,4})?\b"),  # invites
)
NAMED = re.compile(
    rb"(?i)([\"']?(?:[\w.-]*(?:password|passwd|passphrase|secret|token|psk|api_?key|private_?key)|\bpin)[\"']?\s*[=:]\s*)"
    rb"(\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s,;}\]]+)"
)
SHORTEST = 8


class Redaction:
    """Knows the private keys of this box in every form in which their bytes could appear."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._forms = sorted({form for pem in keys for form in _forms(pem)}, key=len, reverse=True)

    def clean(self, content: bytes) -> bytes:
        """The content without what must not be seen."""
        for form in self._forms:
            content = content.replace(form, BLACK)
        for pattern in PATTERNS:
            content = pattern.sub(BLACK, content)
        return NAMED.sub(rb"\1" + b'"***"', content)


def _forms(pem: bytes) -> set[bytes]:
    """A key's text line by line, and its bytes raw, in hex and in base64; of a seed its last 32 bytes, too."""
    lines = [line.strip() for line in pem.splitlines() if line.strip() and not line.startswith(b"-----")]
    try:
        whole = base64.b64decode(b"".join(lines), validate=True)
    except ValueError:
        whole = pem
    forms = {line for line in lines if len(line) >= SHORTEST}
    for raw in (whole, whole[-32:]):
        coded = base64.b64encode(raw)
        forms |= {raw, raw.hex().encode(), raw.hex().upper().encode(), coded, coded.rstrip(b"=")}
        forms.add(base64.urlsafe_b64encode(raw).rstrip(b"="))
    return {form for form in forms if len(form) >= SHORTEST}
