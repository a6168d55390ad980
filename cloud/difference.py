"""What an audit finds that is not as it should be, named so that somebody can look it up."""

from dataclasses import dataclass
from typing import Any

MOST_LISTED = 10_000
"""Of one gateway; the others are counted."""
LONGEST = 300


@dataclass(frozen=True, slots=True)
class Difference:
    """``what``: block, interval, configuration ...; ``name``: which; ``detail``: found and expected."""

    gateway: str
    what: str
    name: str
    detail: str


class Differences:
    """Those of one gateway, in the order in which they are found."""

    def __init__(self, gateway: str = "") -> None:
        self._gateway = gateway
        self.listed: list[Difference] = []
        self.found = 0

    def told(self, what: str, name: str, detail: str) -> None:
        """One more."""
        self.found += 1
        if len(self.listed) < MOST_LISTED:
            self.listed.append(Difference(self._gateway, what, name, detail[:LONGEST]))

    def same(self, what: str, name: str, kept: Any, made: Any) -> None:
        """What is kept must be what is made again."""
        if kept != made:
            self.told(what, name, f"found {_shown(kept)}, expected {_shown(made)}")


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | list):
        return "(" + ", ".join(_shown(item) for item in value) + ")"
    return str(value)
