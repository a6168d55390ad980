"""When two texts name the same thing to a reader: a certificate, a person. Spelling does not make two of one.

Width, case, kind of dash, blanks and characters that nobody sees count for nothing: ``GEC-1``, ``ＧＥＣ－１`` and
``gec‑1 `` are one certificate.
"""

import re
import unicodedata
from collections.abc import Iterable

_BETWEEN = re.compile(r"[,;、|\r\n\u2028\u2029]|\sand\s", re.IGNORECASE)


def named(text: str) -> str:
    """What stands for every spelling of a name; "" where there is nothing to read in it."""
    letters = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold().upper())
    return "".join("-" if _is(one, "Pd") else one for one in letters if not _is(one, "Z", "C"))


def several(text: str) -> bool:
    """Whether a text reads as more than one name: something stands in it that parts names."""
    seen = "".join(one for one in unicodedata.normalize("NFKC", text) if not _is(one, "Cf"))
    return _BETWEEN.search(seen) is not None


def joined(texts: Iterable[str]) -> str:
    """Names in one text, the same in whatever order they come; one name is its own text. None may be ``several``."""
    return "; ".join(sorted(texts))


def each_named(text: str) -> set[str]:
    """The names in a text that ``joined`` made, each as ``named`` has it."""
    return {name for one in text.split(";") if (name := named(one))}


def _is(letter: str, *categories: str) -> bool:
    return unicodedata.category(letter).startswith(categories)
