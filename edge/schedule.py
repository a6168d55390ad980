"""What to ask next on one port, and what could not be asked (pure: instants come in).

Every question has its slots, the UTC multiples of its period. A slot is concluded once: asked, or not asked because
the next one came (overrun) or because its meter is set aside (back-off). Live meters go first, earliest deadline first.
The first silence ends a meter's turn; it is probed again after 1, 2, 4 ... 300 s, when nobody else waits, and never for
more than a twentieth of the port's time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from protocols.record.chunk import BACK_OFF, OVERRUN

LONGEST_BACK_OFF_MS = 300_000
DEAD_SHARE = 0.05
DEAD_ALLOWANCE_MS = 5_000
"""What probes of dead meters may take before their share of the time counts."""


@dataclass(frozen=True, slots=True)
class Job:
    """A question in a slot (UTC ms): the device's number and the index of the request in its plan."""

    device: int
    query: int
    slot: int


@dataclass(frozen=True, slots=True)
class Missed:
    """A slot that was not asked, with the fault code that says why."""

    job: Job
    code: int


@dataclass(slots=True)
class _Trouble:
    failures: int
    until: int


class Schedule:
    """The questions of one port. ``now`` is UTC ms, ``mono`` CLOCK_BOOTTIME ms."""

    def __init__(self, periods: Mapping[int, Sequence[int]]) -> None:
        """``periods``: for each device the periods in ms of its questions, in the order of its plan."""
        self._periods = {(device, query): ms for device, plan in periods.items() for query, ms in enumerate(plan)}
        self._coming: list[tuple[int, int, int]] = []
        self._waiting: dict[tuple[int, int], int] = {}
        self._trouble: dict[int, _Trouble] = {}
        self._turns = dict.fromkeys(self._periods, 0)
        self._turn = 0
        self._missed: list[Missed] = []
        self._dead_ms = 0
        self._since: int | None = None

    def restart(self, now: int) -> None:
        """Begin with the first slots from ``now`` on; whatever waited is forgotten."""
        self._waiting.clear()
        self._missed.clear()
        self._coming = [(-(-now // ms) * ms, *key) for key, ms in self._periods.items()]
        heapify(self._coming)

    def next(self, now: int, mono: int) -> Job | None:
        """The question to ask now, which is then no longer waiting; None when none may be asked yet."""
        if self._since is None:
            self._since = mono
        self._advance(now, mono)
        best = min(self._allowed(mono), key=self._urgency, default=None)
        if best is None:
            return None
        self._turn += 1
        self._turns[best] = self._turn
        return Job(*best, self._waiting.pop(best))

    def delay_ms(self, now: int, mono: int) -> int:
        """How long until ``next`` may find something; a second at most while a dead meter waits for its share."""
        delays = [self._coming[0][0] - now] if self._coming else [LONGEST_BACK_OFF_MS]
        for device, _ in self._waiting:
            trouble = self._trouble.get(device)
            delays.append(max(trouble.until - mono, 1000 if self._over_budget(mono) else 0) if trouble else 0)
        return max(0, min(delays))

    def missed(self) -> list[Missed]:
        """Slots given up since this was last asked."""
        missed, self._missed = self._missed, []
        return missed

    def unconcluded(self, end: int, mono: int) -> list[Job]:
        """Slots before ``end`` that have come and are neither asked nor handed out by ``missed``."""
        self._advance(end - 1, mono)
        return [*(missed.job for missed in self._missed), *(Job(*key, slot) for key, slot in self._waiting.items())]

    def give_up(self, end: int, mono: int, asking: Job | None) -> None:
        """Let what came before ``end`` wait no longer, where the question is out for an earlier slot."""
        self._advance(end - 1, mono)
        key = (asking.device, asking.query) if asking is not None else None
        if key is not None and self._waiting.get(key, end) < end:
            code = BACK_OFF if key[0] in self._trouble else OVERRUN
            self._missed.append(Missed(Job(*key, self._waiting.pop(key)), code))

    def alive(self, device: int) -> None:
        """The device spoke."""
        self._trouble.pop(device, None)

    def failed(self, device: int, mono: int, spent_ms: int) -> None:
        """The device was silent or not understood, which took ``spent_ms`` of the port's time."""
        trouble = self._trouble.setdefault(device, _Trouble(0, mono))
        if trouble.failures:
            self._dead_ms += spent_ms
        trouble.until = mono + min(LONGEST_BACK_OFF_MS, 1000 << min(trouble.failures, 16))
        trouble.failures += 1

    def back_off_until(self, device: int) -> int | None:
        """CLOCK_BOOTTIME ms until when the device is set aside; None when it is not."""
        trouble = self._trouble.get(device)
        return trouble.until if trouble else None

    def _advance(self, now: int, mono: int) -> None:
        while self._coming and self._coming[0][0] <= now:
            slot, device, query = heappop(self._coming)
            key = (device, query)
            trouble = self._trouble.get(device)
            heappush(self._coming, (slot + self._periods[key], device, query))
            if (old := self._waiting.get(key)) is not None:
                self._missed.append(Missed(Job(device, query, old), BACK_OFF if trouble else OVERRUN))
                if trouble and trouble.until <= mono:
                    trouble.until = 0  # a busy port let its probe wait a whole period: from now on it takes its turn
            self._waiting[key] = slot

    def _urgency(self, key: tuple[int, int]) -> tuple[int, int, int, tuple[int, int]]:
        """Live before set aside, then by deadline; on a port that cannot keep up everybody gets a turn."""
        trouble = self._trouble.get(key[0])
        return (trouble.until if trouble else 0, self._waiting[key] + self._periods[key], self._turns[key], key)

    def _allowed(self, mono: int) -> Iterable[tuple[int, int]]:
        """What waits and may be asked: not of a meter that is set aside, nor of a dead one that had its share."""
        if not self._trouble:
            return self._waiting
        over, trouble = self._over_budget(mono), self._trouble
        return [key for key in self._waiting if key[0] not in trouble or (not over and trouble[key[0]].until <= mono)]

    def _over_budget(self, mono: int) -> bool:
        return self._dead_ms > DEAD_ALLOWANCE_MS + DEAD_SHARE * (
            mono - (self._since if self._since is not None else mono)
        )
