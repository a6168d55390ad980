"""Which faults a seed plans, how often each is tried, and how often each has happened. A function of the seed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """What may happen to a fleet."""

    CRASH = "agent killed"
    POWER = "power cut"
    LYING_DISK = "disk lost its last writes"
    BIT_ROT = "bits rotten on disk"
    CLOCK_STEP = "clock stepped"
    CLOCK_YEARS = "clock stepped by 20 years"
    NO_RTC = "boot without RTC"
    DRIFT = "clock adrift"
    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost after commit"
    DUPLICATE = "request twice"
    REORDERED = "request again, hours later"
    DELAYED = "message delayed"
    CUT = "message cut short"
    FLIP = "bits flipped in transit"
    ALTERED = "block altered in transit"
    HALF_OPEN = "half-open link"
    PORTAL = "captive portal"
    BUSY = "collector busy"
    OUTAGE = "days without network"
    COLLECTOR_BEFORE = "collector killed before commit"
    COLLECTOR_AFTER = "collector killed after commit"
    COLLECTOR_OLD = "collector restored from an older copy"
    COLLECTOR_LOST = "collector lost, rebuilt from gateways"
    COLLECTOR_FULL = "collector disk full"
    SILENT = "meter silent"
    ROLLOVER = "meter rolled over"
    CONFIGURED = "configuration changed"
    REPLACED = "meter replaced"
    SWAPPED = "meter swapped without a word"
    GATEWAY_FULL = "gateway disk full"


PER_DAY: Mapping[Fault, float] = {
    Fault.CRASH: 0.5,
    Fault.POWER: 0.25,
    Fault.LYING_DISK: 0.05,
    Fault.BIT_ROT: 0.05,
    Fault.CLOCK_STEP: 0.15,
    Fault.CLOCK_YEARS: 0.04,
    Fault.NO_RTC: 0.1,
    Fault.DRIFT: 0.1,
    Fault.HALF_OPEN: 0.3,
    Fault.PORTAL: 0.15,
    Fault.OUTAGE: 0.03,
    Fault.COLLECTOR_OLD: 0.04,
    Fault.COLLECTOR_LOST: 0.02,
    Fault.COLLECTOR_FULL: 0.1,
    Fault.SILENT: 0.3,
    Fault.CONFIGURED: 0.05,
    Fault.REPLACED: 0.03,
    Fault.SWAPPED: 0.02,
    Fault.GATEWAY_FULL: 0.1,
}
"""Faults that come by themselves, for each gateway (of the collector: for the fleet)."""
PER_MESSAGE: Mapping[Fault, float] = {
    Fault.REQUEST_LOST: 0.03,
    Fault.ANSWER_LOST: 0.03,
    Fault.DUPLICATE: 0.02,
    Fault.REORDERED: 0.01,
    Fault.DELAYED: 0.03,
    Fault.CUT: 0.015,
    Fault.FLIP: 0.02,
    Fault.ALTERED: 0.02,
    Fault.BUSY: 0.02,
    Fault.COLLECTOR_BEFORE: 0.004,
    Fault.COLLECTOR_AFTER: 0.004,
}
"""Faults that befall a message, each with this chance."""
PLANNED: tuple[Fault, ...] = tuple(fault for fault in Fault)
ALONE = 0.35
"""So many seeds have one kind of fault only: others would hide what it does."""


@dataclass
class Plan:
    """The faults of one seed. ``on`` False: nothing happens any more, so that what must come right can be seen to."""

    kinds: frozenset[Fault]
    intensity: float
    pace: float = 1.0
    """Faults a day against those of a life of days: one of years has as many, far apart. Messages fare the same."""
    on: bool = True
    fired: dict[Fault, int] = field(default_factory=dict)

    @classmethod
    def of(cls, random: Random, allowed: Iterable[Fault] = PLANNED) -> "Plan":
        """One kind alone, or about half of all."""
        every = sorted(allowed)
        if random.random() < ALONE:
            return cls(frozenset((random.choice(every),)), 3.0)
        return cls(frozenset(fault for fault in every if random.random() < 0.5), random.choice((0.5, 1.0, 2.0)))

    def hits(self, fault: Fault, random: Random) -> bool:
        """Whether it befalls this message."""
        return self.on and fault in self.kinds and random.random() < PER_MESSAGE[fault] * self.intensity

    def wait_s(self, fault: Fault, random: Random) -> float:
        """Until it happens next, in seconds."""
        return random.expovariate(PER_DAY[fault] * self.intensity * self.pace / 86_400)

    def count(self, fault: Fault) -> None:
        """It has happened."""
        self.fired[fault] = self.fired.get(fault, 0) + 1
