"""What is wrong with a port, judged from what was noticed on it (pure): named with its code, and told when it is over.

One sign may be an accident. A fault is named when its signs repeat within a time, and is over when there were none for
as long, or when what it denies has happened.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from edge import bus, hearing
from edge.hearing import Sign
from protocols.errors import AdapterMoved, HalfOpen, OneClient, OtherFraming, SameAddress, SecondMaster
from protocols.record.chunk import DAMAGED, SILENT

MINUTE_MS = 60_000
DAY_MS = 86_400_000
RECENT = 8
"""Answers of a device over which it is judged."""
MOSTLY, HARDLY = 6, 1
"""Broken ones among them: of the one with a twin; of all others together."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How often a sign must be seen within how long to mean a fault, and whether it is then certain."""

    code: str
    times: int
    within_ms: int
    sure: bool = True


RULES = {
    hearing.FOREIGN_REQUEST: Rule(SecondMaster.code, 2, 10 * MINUTE_MS),
    hearing.UNASKED_REPLY: Rule(SecondMaster.code, 3, 10 * MINUTE_MS, sure=False),
    hearing.SECOND_ANSWER: Rule(SameAddress.code, 2, 10 * MINUTE_MS),
    bus.REOPENED: Rule(HalfOpen.code, 2, DAY_MS),
    bus.MOVED: Rule(AdapterMoved.code, 1, DAY_MS),
    bus.OTHER_FRAMING: Rule(OtherFraming.code, 2, 10 * MINUTE_MS),
    bus.HUNG_UP: Rule(OneClient.code, 2, 10 * MINUTE_MS),
    bus.NOT_TAKEN: Rule(OneClient.code, 3, 10 * MINUTE_MS, sure=False),
}
CORRUPT = Rule(SameAddress.code, 1, 10 * MINUTE_MS, sure=False)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault of a port: its code, the device, if one, since when (ms of the port's clock), in words, how certain."""

    code: str
    device: int | None
    since: int
    detail: str
    sure: bool


@dataclass(slots=True)
class _Held:
    trouble: Trouble
    last: int
    within_ms: int


@dataclass(slots=True)
class Watch:
    """The judge of one port. Instants are ms of one clock."""

    answered_before: bool = False
    _seen: dict[tuple[str, int | None], deque[int]] = field(default_factory=dict)
    _troubles: dict[tuple[str, int | None], _Held] = field(default_factory=dict)
    _recent: dict[int, deque[bool]] = field(default_factory=dict)
    _begun: list[Trouble] = field(default_factory=list)
    _over: list[Trouble] = field(default_factory=list)

    @property
    def troubles(self) -> list[Trouble]:
        """What is wrong now."""
        return [held.trouble for held in self._troubles.values()]

    def changes(self) -> tuple[list[Trouble], list[Trouble]]:
        """What has begun and what is over since this was last asked."""
        begun, over = self._begun, self._over
        self._begun, self._over = [], []
        return begun, over

    def see(self, signs: Iterable[Sign], now: int) -> None:
        """Take note of signs."""
        for sign in signs:
            rule = RULES.get(sign.kind)
            if rule is None or (sign.kind == bus.NOT_TAKEN and not self.answered_before):
                continue
            seen = self._seen.setdefault((sign.kind, sign.device), deque(maxlen=rule.times))
            seen.append(now)
            if len(seen) == rule.times and now - seen[0] <= rule.within_ms:
                self._name(rule, sign.device, sign.detail, now)
        self._end_old(now)

    def tell(self, device: int, fault: int, now: int) -> None:
        """Take note of what came of a question that was asked."""
        if fault == SILENT:
            return
        recent = self._recent.setdefault(device, deque(maxlen=RECENT))
        recent.append(fault == DAMAGED)
        if fault != DAMAGED:
            self.answered_before = True
            self._end(OneClient.code, None)
        broken = sum(recent)
        others = [damaged for other, held in self._recent.items() if other != device for damaged in held]
        if len(recent) == RECENT and broken >= MOSTLY and len(others) >= RECENT and sum(others) <= HARDLY:
            detail = f"{broken} of its last {RECENT} answers are broken, {sum(others)} of {len(others)} of the others"
            self._name(CORRUPT, device, detail, now)
        self._end_old(now)

    def named(self, code: str) -> bool:
        """Whether this fault of the port is named now."""
        return any(held == code for held, _ in self._troubles)

    def suspect(self, device: int, now: int) -> bool:
        """Whether this device may have a twin: after its answers somebody else may speak."""
        seen = self._seen.get((hearing.SECOND_ANSWER, device))
        lately = seen is not None and now - seen[-1] <= RULES[hearing.SECOND_ANSWER].within_ms
        return lately or (SameAddress.code, device) in self._troubles

    def found(self, code: str, device: int | None, detail: str, now: int) -> None:
        """Somebody has found out for certain."""
        self._name(Rule(code, 1, DAY_MS), device, detail, now)

    def cleared(self, code: str, device: int | None) -> None:
        """What somebody had found out is no longer so."""
        self._end(code, device)

    def _name(self, rule: Rule, device: int | None, detail: str, now: int) -> None:
        key = (rule.code, device)
        held = self._troubles.get(key)
        if held is None or (rule.sure and not held.trouble.sure):
            trouble = Trouble(rule.code, device, now, detail, rule.sure)
            self._troubles[key] = _Held(trouble, now, rule.within_ms)
            self._begun.append(trouble)
        else:
            held.last = now

    def _end_old(self, now: int) -> None:
        for (code, device), held in [*self._troubles.items()]:
            if now - held.last > held.within_ms:
                self._end(code, device)

    def _end(self, code: str, device: int | None) -> None:
        held = self._troubles.pop((code, device), None)
        if held is None:
            return
        self._over.append(held.trouble)
        for kind in [kind for kind, rule in RULES.items() if rule.code == code]:
            self._seen.pop((kind, device), None)
        if code == SameAddress.code and device is not None:
            self._recent.pop(device, None)
