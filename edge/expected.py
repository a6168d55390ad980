"""Which packets are due from devices that speak unasked, and which did not come (pure: UTC ms come in).

A slot is a UTC multiple of its question's period. It is concluded by a packet that comes from then on until the slot
ends, and a grace longer where the one before was still open; without one it is silent. What comes beyond is no slot's.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence

from edge.schedule import Job

LONGEST_GRACE_MS = 30_000
GRACE_PARTS = 4
"""The grace is this part of the period, so that a packet that comes a little early or late moves no count."""


class Expected:
    """The slots of one port's devices."""

    def __init__(self, periods: Mapping[int, Sequence[int]]) -> None:
        """``periods``: for each device the periods in ms of its questions, in the order of its plan."""
        self._periods = {(device, query): ms for device, plan in periods.items() for query, ms in enumerate(plan)}
        self._open: dict[tuple[int, int], deque[int]] = {key: deque() for key in self._periods}
        self._next: dict[tuple[int, int], int] = {}
        self._late: list[Job] = []

    def restart(self, now: int) -> None:
        """Begin with the first slots from ``now`` on; whatever was open is forgotten."""
        self._late.clear()
        for key, ms in self._periods.items():
            self._open[key].clear()
            self._next[key] = -(-now // ms) * ms

    def take(self, device: int, query: int, now: int) -> int | None:
        """The slot that a packet concludes which came now; None when it is beyond them."""
        self._advance(now)
        waiting = self._open[device, query]
        return waiting.popleft() if waiting else None

    def late(self, now: int) -> list[Job]:
        """Slots that ended without a packet since this was last asked."""
        self._advance(now)
        late, self._late = self._late, []
        return late

    def give_up(self, end: int, taken: Collection[tuple[int, int]]) -> None:
        """Leave at most one slot of each question open of those before ``end``, and none where a packet after ``end``
        has ``taken`` one of the question (device, index): the others are late.
        """
        self._advance(end - 1)
        for key, waiting in self._open.items():
            while len(waiting) > (key not in taken):
                self._late.append(Job(*key, waiting.popleft()))

    def unconcluded(self, end: int) -> list[Job]:
        """Slots before ``end`` that are open or late and not yet handed out."""
        self._advance(end - 1)
        waiting = [Job(*key, slot) for key, slots in self._open.items() for slot in slots]
        return [job for job in [*self._late, *waiting] if job.slot < end]

    def delay_ms(self, now: int) -> int:
        """How long until something may be late."""
        ends = [
            (slots[0] if slots else self._next[key]) + self._periods[key] + self._grace(key)
            for key, slots in self._open.items()
        ]
        return max(0, min(ends, default=now + LONGEST_GRACE_MS) - now)

    def back_off_until(self, device: int) -> int | None:
        """Never: a device that speaks unasked is not asked less."""
        return None

    def _advance(self, now: int) -> None:
        for key, ms in self._periods.items():
            waiting, coming = self._open[key], self._next.get(key, 0)
            while coming <= now:
                waiting.append(coming)
                coming += ms
            self._next[key] = coming
            while waiting and waiting[0] + ms + self._grace(key) <= now:
                self._late.append(Job(*key, waiting.popleft()))

    def _grace(self, key: tuple[int, int]) -> int:
        return min(LONGEST_GRACE_MS, self._periods[key] // GRACE_PARTS)
