"""Time as the box has it: monotonic and UTC milliseconds, how good UTC is, and an alarm that can be rung early."""

import asyncio
import ctypes
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from protocols.record.block import ClockState

NONE, RTC, NTP, NTS, GNSS, TECHNICIAN = range(6)
"""Sources of RECORD.md."""
UNKNOWN, INFORMATIVE, SYNCHRONISED = 0, 1, 2
UNSYNCHRONISED_BIT = 0x40
WORST_ERROR_MS = 16_000
"""What the kernel itself says when nobody disciplines the clock."""
TIMESYNC = Path("/run/systemd/timesync/synchronized")
RTC_APART_S = 120
"""How far a hardware clock may have come from the kernel's since the boot."""
APART_MS = 5_000
"""How far a clock may move from where it was vouched for before somebody must have set it."""
TRIES = 5


class Clock(Protocol):
    """What the agent knows of time. The waits of the agent are asyncio timers, so a virtual loop can carry them."""

    def mono_ms(self) -> int:
        """CLOCK_BOOTTIME in ms: never steps, counts while the box sleeps."""

    def utc_ms(self) -> int:
        """UTC in ms as the box believes it."""

    def state(self) -> ClockState:
        """Where UTC comes from and how good it is."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


def together(clock: Clock) -> tuple[int, int]:
    """Monotonic and UTC ms of one instant: of a few tries the one in which least time passed between the readings."""
    found = []
    for _ in range(TRIES):
        before, utc = clock.mono_ms(), clock.utc_ms()
        passed = clock.mono_ms() - before
        found.append((passed, before, utc))
        if passed <= 1:
            break
    _, mono, utc = min(found)
    return mono, utc


class SystemClock:
    """The kernel's clocks.

    Whether UTC is disciplined is asked of the kernel, whichever daemon does it; ``others`` may know more: they are
    asked first, with monotonic and UTC ms, and answer None when they do not know. ``rtc``: the folder of the hardware
    clock.
    """

    def __init__(
        self, *others: Callable[[int, int], ClockState | None], rtc: Path = Path("/sys/class/rtc/rtc0")
    ) -> None:
        self._last_sync_s, self._others, self._mark = 0, others, (0, 0)
        self._resting = RTC if _holds(rtc / "since_epoch", time.time()) else NONE

    def mono_ms(self) -> int:
        """CLOCK_BOOTTIME in ms."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def utc_ms(self) -> int:
        """UTC in ms."""
        return time.time_ns() // 1_000_000

    def state(self) -> ClockState:
        """What is known of UTC: by a daemon, by the kernel it disciplines, by a technician, by the hardware clock.

        Of several the one that knows most, of equals the first; who merely cites the hardware clock is INFORMATIVE.
        """
        mono, utc = self.mono_ms(), self.utc_ms()
        found = [state for other in self._others if (state := other(mono, utc)) is not None]
        kernel = _Timex()
        answer = _adjtimex(kernel)
        if answer < 0 and (state := self._by_timesync(mono, utc)) is not None:
            found.append(state)
        elif answer >= 0 and not kernel.status & UNSYNCHRONISED_BIT:
            found.append(ClockState(NTP, SYNCHRONISED, -(-int(kernel.maxerror) // 1000), _heard(utc // 1000)))
        resting = INFORMATIVE if self._resting == RTC else UNKNOWN
        best = max([*found, ClockState(self._resting, resting, WORST_ERROR_MS, 0)], key=lambda state: state.state)
        if best.state == SYNCHRONISED:
            self._last_sync_s = best.last_sync_s
        return replace(best, last_sync_s=max(best.last_sync_s, self._last_sync_s))

    def _by_timesync(self, mono: int, utc: int) -> ClockState | None:
        """What the kernel would say of a clock that systemd-timesyncd keeps, where a service may not ask the kernel.

        Its largest error grows by 500 ppm from the last time a server was heard, and at 16 s it is no longer kept; nor
        is it once somebody else has set it, until a server is heard again.
        """
        if not (heard := _heard(0)):
            return None
        if heard != self._mark[0]:
            self._mark = (heard, utc - mono)
        error = -(-(utc - heard * 1000) // 2000)
        kept = 0 <= error < WORST_ERROR_MS and abs(utc - mono - self._mark[1]) <= APART_MS
        return ClockState(NTP, SYNCHRONISED, error, heard) if kept else None

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Alarm:
    """One task waits, others may ring it early; a ring that nobody waits for is remembered."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None
        self._rung = False

    def ring(self) -> None:
        """End the wait, or the next one."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        else:
            self._rung = True

    async def wait(self, seconds: float | None = None) -> None:
        """Until rung, or for so many seconds at most."""
        if self._rung:
            self._rung = False
            return
        loop = asyncio.get_running_loop()
        waiting = self._waiting = loop.create_future()
        timer = None if seconds is None else loop.call_later(max(0.0, seconds), _end, waiting)
        try:
            await waiting
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()


def _end(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


def _heard(otherwise: int) -> int:
    """UTC seconds when systemd-timesyncd last heard its server; ``otherwise`` where it is not there."""
    try:
        return int(TIMESYNC.stat().st_mtime)
    except OSError:
        return otherwise


def _holds(rtc: Path, now: float) -> bool:
    """Whether there is a hardware clock, and UTC is what it says: else the kernel has its time from elsewhere."""
    try:
        return abs(int(rtc.read_text()) - now) <= RTC_APART_S
    except (OSError, ValueError):
        return False


class _Timex(ctypes.Structure):
    """The head of the kernel's struct timex (adjtimex(2)); the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_char * 256),
    )


def _adjtimex(kernel: _Timex) -> int:
    """Read the kernel's clock discipline (modes 0 changes nothing); -1 where there is none."""
    try:
        return int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(kernel)))
    except (OSError, AttributeError):
        return -1
