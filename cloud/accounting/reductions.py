"""The ledger of reductions: what one meter measures, and what one proof proves, counts towards one leaf at a time."""

from collections.abc import Iterator

from cloud.accounting.line import Line
from cloud.accounting.sameness import each_named
from protocols.errors import ActivityError

Ledger = dict[str, list[Line]]
"""Reduction lines by what they rest on: a meter's increments, a proof."""


def claim(ledger: Ledger, line: Line) -> None:
    """Enter a reduction line; ActivityError where what it rests on counts elsewhere over some of the same days.

    A meter counts once in a row. Baseline, project and leakage of one leaf may rest on the same meter and proof.
    """
    for key, meter in _rests_on(line):
        for other in ledger.setdefault(key, []):
            if line.start >= other.end or other.start >= line.end:
                continue
            if line.leaf != other.leaf or (meter and line.row == other.row):
                raise ActivityError(
                    f"{line.id}: found {key} in {other.id} ({other.leaf}) too, expected it once from {line.start} on"
                )
        ledger[key].append(line)


def _rests_on(line: Line) -> Iterator[tuple[str, bool]]:
    """What a line rests on, and whether that is a meter: ``meter:<gateway>/<device>/<point>``, whatever the hours."""
    for meter in line.meters:
        yield meter, True
    for proof in sorted(each_named(line.proof)):
        yield f"proof {proof}", False
