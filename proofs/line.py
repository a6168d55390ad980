"""A line of the proof's table: what was tried how often, which faults fired, and whether the promise held."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Self


class Tier(StrEnum):
    """How long the proof may take: ten minutes on two cores, a night, or as long as a release is worth."""

    PULL = "pull"
    NIGHTLY = "nightly"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Line:
    """``tried`` trials of ``name``, ``violations`` of them broke the promise. ``fired``: how often each planned fault
    happened. A ``control`` is broken on purpose: it must show violations, or the proof could not see any.
    """

    part: str
    name: str
    seed: int
    tried: int
    violations: int
    fired: Mapping[str, int] = field(default_factory=dict)
    control: bool = False
    figures: str = ""
    found: tuple[str, ...] = ()
    """The first violations, each with what reproduces it."""
    not_here: str = ""
    """Why this cannot be tried on this kind of machine; then nothing was, and the table says so."""

    @property
    def faults(self) -> tuple[str, ...]:
        """Why this line fails the proof; empty when it holds."""
        idle = [f"planned fault never fired: {fault}" for fault, count in self.fired.items() if count == 0]
        if self.not_here and not self.tried:
            return ()
        if self.tried == 0:
            return ("nothing was tried", *idle)
        if self.control:
            return tuple(idle) if self.violations else ("the control was not caught", *idle)
        return (*self.found, *idle) if not self.violations else (f"{self.violations} violations", *self.found, *idle)

    def to_json(self) -> str:
        """One line of text."""
        return json.dumps(asdict(self) | {"fired": dict(self.fired)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """As ``to_json`` wrote it."""
        held = json.loads(text)
        return cls(**held | {"found": tuple(held["found"])})
