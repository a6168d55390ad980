"""When two texts name the same thing to a reader: a certificate, a person. Spelling does not make two of one.

Width, case, kind of dash, blanks and characters that nobody sees count for nothing: ``GEC-1``, ``ＧＥＣ－１`` and
``gec‑1 `` are one certificate.
"""

import unicodedata


def named(text: str) -> str:
    """What stands for every spelling of a name; "" where there is nothing to read in it."""
    letters = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold().upper())
    return "".join("-" if _is(one, "Pd") else one for one in letters if not _is(one, "Z", "C"))


def _is(letter: str, *categories: str) -> bool:
    return unicodedata.category(letter).startswith(categories)
