"""What to ask next on one port, and what could not be asked (pure: instants come in).

Every question has its slots, the UTC multiples of its period. A slot is concluded once: asked, or not asked because
the next one came (overrun) or because its meter is set aside (back-off). Live meters go first, earliest deadline first:
what is due seldom fills the gaps between what is due often. A counter whose slot begins a quarter of an hour is wanted
at once, for between such registers consumption is booked.
The first silence ends a meter's turn; it is probed again after 1, 2, 4 ... 300 s, when nobody else waits, and never for
more than a twentieth of the port's time. A question that failed is asked once more when its slot leaves time for it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from protocols.record.chunk import BACK_OFF, OVERRUN

LONGEST_BACK_OFF_MS = 300_000
DEAD_AFTER = 2
"""Failures in a row after which a meter counts as dead, and its probes against the share of the dead."""
DEAD_SHARE = 0.03
"""Of the port's time, in the long run; with what they may take at once they stay below a twentieth of half an hour."""
DEAD_ALLOWANCE_MS = 5_000
"""What probes of dead meters may take at once, before their share of the time counts."""
BOOKED_MS = 900_000
"""Registers at UTC multiples of this are those between which consumption is booked."""
HASTE_MS = 5_000
"""How soon after them such a counter is wanted."""


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

    def __init__(self, periods: Mapping[int, Sequence[int]], counters: Collection[tuple[int, int]] = ()) -> None:
        """``periods``: for each device the periods in ms of its questions, in the order of its plan. ``counters``: the
        questions (device, index) that bring counters.
        """
        self._periods = {(device, query): ms for device, plan in periods.items() for query, ms in enumerate(plan)}
        self._coming: list[tuple[int, int, int]] = []
        self._waiting: dict[tuple[int, int], int] = {}
        self._trouble: dict[int, _Trouble] = {}
        self._turns = dict.fromkeys(self._periods, 0)
        self._turn = 0
        self._missed: list[Missed] = []
        self._counters = frozenset(counters)
        self._tried: dict[tuple[int, int], tuple[int, int]] = {}
        self._held: dict[int, int] = {}
        self._dead_ms = 0.0
        self._dead_at: int | None = None

    def restart(self, now: int) -> None:
        """Begin with the first slots from ``now`` on; whatever waited is forgotten."""
        self._waiting.clear()
        self._missed.clear()
        self._tried.clear()
        self._coming = [(-(-now // ms) * ms, *key) for key, ms in self._periods.items()]
        heapify(self._coming)

    def next(self, now: int, mono: int) -> Job | None:
        """The question to ask now, which is then no longer waiting; None when none may be asked yet."""
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
            until = max(trouble.until if trouble else 0, self._held.get(device, 0))
            over = trouble is not None and trouble.failures >= DEAD_AFTER and self._over_budget(mono)
            delays.append(max(until - mono, 1000 if over else 0))
        return max(0, min(delays))

    def missed(self) -> list[Missed]:
        """Slots given up since this was last asked."""
        missed, self._missed = self._missed, []
        return missed

    def unconcluded(self, end: int, mono: int) -> list[Job]:
        """Slots before ``end`` that have come and are neither asked nor handed out by ``missed``."""
        self._advance(end - 1, mono)
        return [*(missed.job for missed in self._missed), *(Job(*key, slot) for key, slot in self._waiting.items())]

    def give_up(self, end: int, mono: int, taken: Iterable[tuple[int, int]]) -> None:
        """Let what came before ``end`` wait no longer, where the question (device, index) is out for an earlier slot,
        or was answered for one after ``end``.
        """
        self._advance(end - 1, mono)
        for key in taken:
            if self._waiting.get(key, end) < end:
                self._miss(key, self._waiting.pop(key))

    def alive(self, device: int) -> None:
        """The device spoke."""
        self._trouble.pop(device, None)
        self._held.pop(device, None)

    def again(self, job: Job, code: int, now: int, need_ms: int) -> bool:
        """Let a question that failed with ``code`` wait for another try: when this was the first, and its slot leaves
        ``need_ms`` for it. Should there be no other try after all, the slot is concluded with ``code``.
        """
        key = (job.device, job.query)
        first = self._tried.pop(key, (0, 0))[0] != job.slot
        if not first or key in self._waiting or job.slot + self._periods[key] < now + need_ms:
            return False
        self._waiting[key], self._tried[key] = job.slot, (job.slot, code)
        return True

    def postpone(self, job: Job) -> None:
        """Let a question wait on that was not put after all; when its next slot has come, this one is given up."""
        key = (job.device, job.query)
        if key in self._waiting:
            self._miss(key, job.slot)
        else:
            self._waiting[key] = job.slot

    def hold(self, device: int, until: int) -> None:
        """Ask nothing of the device before ``until`` (CLOCK_BOOTTIME ms): a late answer may come."""
        self._held[device] = until

    def failed(self, device: int, mono: int, spent_ms: int) -> None:
        """The device was silent or not understood, which took ``spent_ms`` of the port's time."""
        trouble = self._trouble.setdefault(device, _Trouble(0, mono))
        if trouble.failures >= DEAD_AFTER:
            self._dead_ms, self._dead_at = self._debt(mono) + spent_ms, mono
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
                self._miss(key, old)
                if trouble and trouble.until <= mono:
                    trouble.until = 0  # a busy port let its probe wait a whole period: from now on it takes its turn
            self._waiting[key] = slot

    def _miss(self, key: tuple[int, int], slot: int) -> None:
        """Conclude a slot that gets no (other) try."""
        tried, code = self._tried.pop(key, (slot - 1, 0))
        if tried != slot:
            code = BACK_OFF if key[0] in self._trouble else OVERRUN
        self._missed.append(Missed(Job(*key, slot), code))

    def _urgency(self, key: tuple[int, int]) -> tuple[int, int, int, tuple[int, int]]:
        """Live before set aside, then by deadline; on a port that cannot keep up everybody gets a turn."""
        trouble, slot = self._trouble.get(key[0]), self._waiting[key]
        period = self._periods[key]
        haste = HASTE_MS if slot % BOOKED_MS == 0 and key in self._counters else period
        return (trouble.until if trouble else 0, slot + min(period, haste), self._turns[key], key)

    def _allowed(self, mono: int) -> Iterable[tuple[int, int]]:
        """What waits and may be asked: not of a meter that is set aside, nor of a dead one that had its share."""
        trouble, held = self._trouble, self._held
        if not trouble and not held:
            return self._waiting
        return [key for key in self._waiting if held.get(key[0], 0) <= mono and self._lively(key[0], mono)]

    def _lively(self, device: int, mono: int) -> bool:
        """Whether a device may be asked as far as its own failures go."""
        trouble = self._trouble.get(device)
        if trouble is None:
            return True
        return trouble.until <= mono and (trouble.failures < DEAD_AFTER or not self._over_budget(mono))

    def _over_budget(self, mono: int) -> bool:
        return self._debt(mono) > DEAD_ALLOWANCE_MS

    def _debt(self, mono: int) -> float:
        """What probes of dead meters have taken (ms), less their share of the time since."""
        since = self._dead_at if self._dead_at is not None else mono
        return max(0.0, self._dead_ms - DEAD_SHARE * (mono - since))
