"""A gateway's clock in virtual time, and how it goes wrong: adrift, stepped, without an RTC. It knows the truth."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from protocols.record.block import ClockState
from simulator.time import VirtualLoop

T = TypeVar("T")
NONE, RTC, NTP = 0, 1, 2
UNKNOWN, INFORMATIVE, SYNCHRONISED = 0, 1, 2
NTP_ERROR_MS = 5
GROWTH = 0.0005
"""The kernel lets the stated error of a clock that is not disciplined grow by 500 ppm."""
WORST_ERROR_MS = 16_000


MOST_HERE = 20_000
"""Steps of the loop without any time going by: somebody is running in circles."""


class Restless(Exception):
    """Virtual time does not go on."""


class FleetLoop(VirtualLoop):
    """Virtual time that can do something between two steps of the tasks: there an agent may be killed."""

    def __init__(self) -> None:
        super().__init__()
        self._armed: list[tuple[int, object]] = []
        self.steps = self._here = 0
        self._then = 0.0

    def after_steps(self, steps: int, work: object) -> None:
        """Call ``work`` after so many steps of the loop."""
        self._armed.append((self.steps + steps, work))

    def run_in_executor(self, executor: object, func: Callable[..., T], *args: object) -> "asyncio.Future[T]":
        """The work of another thread, done at once: there is only one."""
        done: asyncio.Future[T] = self.create_future()
        done.set_result(func(*args))
        return done

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        self.steps += 1
        self._here = self._here + 1 if self.time() == self._then else 0
        self._then = self.time()
        if self._here > MOST_HERE:
            raise Restless(f"{MOST_HERE} steps at {self.time():.3f} s: nobody waits for anything")
        if self._armed:
            due = [work for at, work in self._armed if at <= self.steps]
            self._armed = [entry for entry in self._armed if entry[0] > self.steps]
            for work in due:
                work()  # type: ignore[operator]


class NodeClock:
    """``edge.clock.Clock``: monotonic and UTC run from anchors at one crystal's rate; NTP holds both to the truth."""

    def __init__(self, loop: FleetLoop, epoch_ms: int) -> None:
        self._loop, self._epoch = loop, epoch_ms
        self._at = loop.time()
        self._mono = self._utc = 0.0
        self._ppm = 0.0
        self._lost_at: float | None = None
        self._source, self._known, self._synced = NTP, SYNCHRONISED, 0
        self.boot()

    # ---- what the agent sees

    def mono_ms(self) -> int:
        """CLOCK_BOOTTIME in ms."""
        return round(self._mono + self._passed())

    def mono_us(self) -> int:
        """The same in microseconds."""
        return round((self._mono + self._passed()) * 1000)

    def utc_ms(self) -> int:
        """UTC in ms as the box believes it."""
        return round(self._utc + self._passed())

    def state(self) -> ClockState:
        """As the kernel says it."""
        if self._source == NTP and self._lost_at is None:
            return ClockState(NTP, SYNCHRONISED, NTP_ERROR_MS, self.true_ms() // 1000)
        if self._source == NTP and self._lost_at is not None:
            error = NTP_ERROR_MS + GROWTH * (self._loop.time() - self._lost_at) * 1000
            if error < WORST_ERROR_MS:
                return ClockState(NTP, SYNCHRONISED, int(error) + 1, self._synced)
        return ClockState(self._source, INFORMATIVE if self._synced else self._known, WORST_ERROR_MS, self._synced)

    async def sleep(self, seconds: float) -> None:
        """Wait, in virtual time."""
        if not self._loop.skip(seconds):
            await asyncio.sleep(seconds)

    # ---- what happens to it

    def true_ms(self) -> int:
        """UTC as it is."""
        return self._epoch + round(self._loop.time() * 1000)

    @property
    def good(self) -> bool:
        """Whether NTP disciplines it."""
        return self._source == NTP and self._lost_at is None

    def boot(self, rtc: bool = True) -> None:
        """Power has come back: monotonic time begins anew. Without an RTC it is 1970 until NTP comes."""
        self._at, self._mono, self._ppm = self._loop.time(), 0.0, 0.0
        self._utc = float(self.true_ms() if rtc else 60_000)
        self._synced = 0
        self._lost_at = None
        self._source, self._known = (NTP, SYNCHRONISED) if rtc else (NONE, UNKNOWN)

    def lose(self, ppm: float) -> None:
        """NTP goes away; the crystal is off by so many millionths."""
        self._anchor()
        if self.good:
            self._synced, self._lost_at = self.true_ms() // 1000, self._loop.time()
        self._ppm = ppm

    def step(self, by_ms: int) -> None:
        """Somebody sets the clock; the kernel knows that it is not disciplined any more. It takes no time at which the
        box would have been started before 1970.
        """
        self._anchor()
        self._utc = max(self._mono, self._utc + by_ms)
        self._source, self._known = RTC, UNKNOWN
        self._synced, self._lost_at = (self.true_ms() // 1000 if self._synced or self.good else 0), None

    def sync(self) -> None:
        """NTP is back: UTC is right."""
        self._anchor()
        self._utc, self._ppm, self._lost_at = float(self.true_ms()), 0.0, None
        self._source, self._known = NTP, SYNCHRONISED

    def _passed(self) -> float:
        return (self._loop.time() - self._at) * (1000 + self._ppm / 1000)

    def _anchor(self) -> None:
        passed, self._at = self._passed(), self._loop.time()
        self._mono += passed
        self._utc += passed
