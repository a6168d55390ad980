"""One source reckoned from two sides: a meter and a bill, or two bills, whose sum would count it twice. Pure.

Two meters that a subject file binds, and two labels within one file, were told apart by whoever wrote them. A file
beside a meter or beside another file was not, unless it says ``beside = true``, or the two have suppliers or
certificates of their own.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, islice, product

from cloud.accounting.certificates import each_named, meet
from cloud.accounting.given import Entry
from cloud.accounting.line import Line

BESIDE = "activity.beside"
"""Why an inventory stays provisional: a row and item over the same days from two sides that nobody told apart."""
MOST = 100
"""Pairs that are named; who puts these right is told of the next."""


def untold(entries: Iterable[Entry]) -> bool:
    """Whether any two entries of one row and item share days, come from two sides, and were not told apart."""
    sources: dict[tuple[str, str], dict[str, list[Entry]]] = {}
    for entry in entries:
        if not entry.beside:
            sources.setdefault((entry.row, entry.item), {}).setdefault(entry.file, []).append(entry)
    sides = (pair for files in sources.values() for pair in combinations(files.values(), 2))
    return any(_double(one, other) for left, right in sides for one, other in product(left, right))


def pairs(lines: Sequence[Line]) -> Iterator[str]:
    """What may be one thing, by name: each two lines of one row and item on the same days, not both of them metered."""
    sources: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        sources.setdefault((line.row, line.item), []).append(line)
    found = (
        f"{one.id} + {other.id} {max(one.start, other.start)}"
        for own in sources.values()
        for one, other in combinations(own, 2)
        if one.start < other.end and other.start < one.end
        if not (one.meters and other.meters) and not _apart(one, other)
    )
    return islice(found, MOST)


def _double(one: Entry, other: Entry) -> bool:
    return one.start < other.end and other.start < one.end and not _apart(one, other)


def _apart(one: Entry | Line, other: Entry | Line) -> bool:
    """Whether each has its own supplier, or certificates of its own."""
    suppliers = {one.supplier, other.supplier}
    if len(suppliers) == 2 and "" not in suppliers:
        return True
    return bool(one.proof and other.proof) and not meet(each_named(one.proof), each_named(other.proof))
