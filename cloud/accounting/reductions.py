"""The ledger of reductions: what one meter measures, and what one proof proves, counts towards one leaf at a time."""

from dataclasses import dataclass, field

from cloud.accounting.certificates import Used, each_named
from cloud.accounting.line import Line
from protocols.errors import ActivityError


@dataclass(frozen=True, slots=True)
class Ledger:
    """Reduction lines by what they rest on: a meter's increments, a proof."""

    meters: dict[str, list[Line]] = field(default_factory=dict)
    proofs: Used[Line] = field(default_factory=Used)


def claim(ledger: Ledger, line: Line) -> None:
    """Enter a reduction line; ActivityError where what it rests on counts elsewhere over some of the same days.

    A meter counts once in a row. Baseline, project and leakage of one leaf may rest on the same meter and proof.
    """
    for meter in line.meters:
        for other in ledger.meters.setdefault(meter, []):
            if _meet(line, other) and (line.leaf != other.leaf or line.row == other.row):
                raise _twice(line, meter, other)
        ledger.meters[meter].append(line)
    for proof in sorted(each_named(line.proof)):
        for _, other in ledger.proofs.of(proof):
            if _meet(line, other) and line.leaf != other.leaf:
                raise _twice(line, f"proof {proof}", other)
        ledger.proofs.add(proof, line)


def _meet(line: Line, other: Line) -> bool:
    return line.start < other.end and other.start < line.end


def _twice(line: Line, key: str, other: Line) -> ActivityError:
    return ActivityError(
        f"{line.id}: found {key} in {other.id} ({other.leaf}) too, expected it once from {line.start} on"
    )
