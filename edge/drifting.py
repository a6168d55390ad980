"""When the box's clock is more than a second off, or may be: an alarm of its own, whatever the box does about it.

The record has it anyway: each block says how far off its UTC may be, and a step that is not believed is an event. The
alarm is for who keeps the box running.
"""

from edge.clock import SYNCHRONISED, UNKNOWN
from edge.log import Log
from protocols.errors import DriftError
from protocols.record.block import ClockState

LIMIT_MS = 1000
POLLED_MS = 2000
"""What a clock that is kept may be off between two answers of its server: at 500 ppm and 2048 s a second and a bit."""


def drifted(off_ms: int, clock: ClockState) -> str:
    """Why the clock is, or may be, more than a second off; empty when it is not, or when the time is not known at all.

    ``off_ms``: of the wall clock from what monotonic time makes of the UTC that is believed.
    """
    if clock.state == UNKNOWN:
        return ""
    if abs(off_ms) > LIMIT_MS:
        return (
            f"found the clock {off_ms} ms from where monotonic time says that it should be, expected {LIMIT_MS} or less"
        )
    limit = POLLED_MS if clock.state == SYNCHRONISED else LIMIT_MS
    if clock.error_ms > limit:
        return f"found UTC known within {clock.error_ms} ms, expected within {limit}: a time server that answers"
    return ""


class Drift:
    """State: whether the alarm is on."""

    def __init__(self, log: Log) -> None:
        self._log, self.why = log, ""

    def look(self, off_ms: int, clock: ClockState) -> None:
        """Tell when it begins and when it is over."""
        before, self.why = self.why, drifted(off_ms, clock)
        if self.why and not before:
            self._log("error", "clock_off", fault=DriftError.code, why=self.why)
        elif before and not self.why:
            self._log("info", "clock_off_over", fault=DriftError.code)
