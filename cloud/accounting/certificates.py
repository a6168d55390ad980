"""Names of certificates as an entry gives them: one, a list, or a range whose ends are written out.

    GEC-2026-000001..GEC-2026-000100

is a hundred certificates: the same name but for the digits at its end, as many in both, the first not above the last.
Any other text is one name. What reads as a range and is not written as one (``GEC-1-10``) hides all names but two:
``fault`` tells it where a file is taken in. ``NAME..NAME`` is the certificate NAME, whatever it looks like.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Generic, TypeVar

from cloud.accounting.sameness import named

BETWEEN = ".."
MOST = 10_000_000
"""Certificates of a range; more is a slip. A green certificate is a MWh, so that this is 10 TWh."""
_SEVERAL = re.compile(r"[,;、|\r\n\u2028\u2029]|\sand\s", re.IGNORECASE)
_END = r"\s*[A-Za-z0-9./_-]*\d"
_LIKE = re.compile(
    rf"\d\s*(?:[~∼〜→至到]|->|\.\.){_END}|\d(?:\s+-|\s*-\s){_END}|\d\s+(?:up\s+)?(?:to|thru|through|until|till)\s{_END}",
    re.IGNORECASE,
)
_TAIL = re.compile(r"(?<!\d)(\d+)-(\d+)$")
_DAY = re.compile(r"(\d{4})-(\d\d?)-(\d\d?)$")
_YEAR = re.compile(r"(?:19|20)\d\d")
_DIGITS = "0123456789"
_Use = TypeVar("_Use")


def several(text: str) -> bool:
    """Whether a text reads as more than one name: something stands in it that parts names."""
    return _SEVERAL.search(_seen(text)) is not None


def joined(texts: Iterable[str]) -> str:
    """Names in one text, the same in whatever order they come; one name is its own text. None may be ``several``."""
    return "; ".join(sorted(texts))


def each_named(text: str) -> set[str]:
    """The names and ranges in a text that ``joined`` made, each in the one spelling; a range of one is that name."""
    found = (named(one) for one in text.split(";"))
    return {first if first == last else name for name in found if name for first, last in (ends(name),)}


def ends(name: str) -> tuple[str, str]:
    """The first and the last certificate of a range, in the one spelling; of any other name itself, twice."""
    first, _, last = name.partition(BETWEEN)
    return (first, last) if first and (first == last or _range(first, last)) else (name, name)


def count(text: str) -> int:
    """How many certificates are in a text that ``joined`` made; a name is one, whatever it is the name of."""
    return sum(map(_size, each_named(text)))


def meet(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether some certificate is in both, of names as ``each_named`` has them."""
    used: Used[None] = Used()
    for name in one:
        used.add(name, None)
    return any(True for name in other for _ in used.of(name))


def fault(text: str) -> str:
    """What is wrong with a name or range of ``joined``: of a range what is not as it should be; "" for nothing."""
    name = named(text)
    first, last = ends(name)
    if first != last:
        size = _size(name)
        return f"{size} certificates, {MOST} at most" if size > MOST else ""
    if BETWEEN in first:
        return "a range whose ends do not go together"
    if BETWEEN in name:
        return ""
    return "what reads as a range" if _reads_as_range(text, name) else ""


def stem(name: str) -> str:
    """A name without the digits at its end."""
    return name.rstrip(_DIGITS)


@dataclass(slots=True)
class Used(Generic[_Use]):
    """What certificates are used for. A range is found by whatever is in it, and finds whatever is in it."""

    _ones: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    _uses: dict[str, list[_Use]] = field(default_factory=dict)
    _ranges: dict[tuple[str, int], list[tuple[str, str, _Use]]] = field(default_factory=dict)

    def of(self, name: str) -> Iterator[tuple[str, _Use]]:
        """Every use of some certificate in this name or range, with the name or range it was entered under."""
        first, last = ends(name)
        series = stem(first), len(first)
        ones = self._ones.get(series, [])
        for one in ones[bisect_left(ones, first) : bisect_right(ones, last)]:
            yield from ((one, use) for use in self._uses[one])
        for low, high, use in self._ranges.get(series, ()):
            if low <= last and first <= high:
                yield f"{low}{BETWEEN}{high}", use

    def add(self, name: str, use: _Use) -> None:
        """Enter a name or range; what it meets stays beside it."""
        first, last = ends(name)
        series = stem(first), len(first)
        if first != last:
            self._ranges.setdefault(series, []).append((first, last, use))
        elif name in self._uses:
            self._uses[name].append(use)
        else:
            self._uses[name] = [use]
            insort(self._ones.setdefault(series, []), name)


def _range(first: str, last: str) -> bool:
    """Whether two names are the ends of a range: one stem, as many digits behind it, in order."""
    return len(stem(first)) < len(first) == len(last) and stem(first) == stem(last) and first <= last


def _size(name: str) -> int:
    """Certificates of a name or range."""
    first, last = ends(name)
    return 1 if first == last else int(last[len(stem(last)) :]) - int(first[len(stem(first)) :]) + 1


def _rises(first: str, last: str) -> bool:
    """Whether digits count up: as many in both, or numbers without zeros before them, the first of which is no year."""
    if len(first) == len(last):
        return first < last
    return "0" not in (first[0], last[0]) and not _YEAR.fullmatch(first) and int(first) < int(last)


def _reads_as_range(text: str, name: str) -> bool:
    """Whether a person would take one name for two with all between: 1 to 9, 0001-0100, GEC-1-10, GEC-1-GEC-10.

    No day does, and no number behind a year: GEC-2026-100042.
    """
    if _LIKE.search(_seen(text)):
        return True
    dashes = (at for at, letter in enumerate(name) if letter == "-")
    if any(_counts_up(name[:at], name[at + 1 :]) for at in dashes):
        return True
    tail = _TAIL.search(name)
    return tail is not None and _rises(tail[1], tail[2]) and not _is_day(name)


def _counts_up(first: str, last: str) -> bool:
    """Whether two names are one but for digits at their ends that count up."""
    low, high = first[len(stem(first)) :], last[len(stem(last)) :]
    return stem(first) == stem(last) != "" and bool(low and high) and _rises(low, high)


def _is_day(name: str) -> bool:
    day = _DAY.search(name)
    try:
        return day is not None and date(int(day[1]), int(day[2]), int(day[3])) is not None
    except ValueError:
        return False


def _seen(text: str) -> str:
    """A text as it is read: in one width, its dashes one dash, without characters that nobody sees."""
    seen = (one for one in unicodedata.normalize("NFKC", text) if unicodedata.category(one) != "Cf")
    return "".join("-" if unicodedata.category(one) == "Pd" else one for one in seen)
