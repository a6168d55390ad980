"""What the time daemon knows and the kernel does not: which sources it has chosen, and how far off it may be.

chrony is asked through its own client, seldom, in a thread, with a time limit; in between its last word holds, with an
error that grows. Who authenticates itself (``authdata``) it tells other users than its own only where it is let to
(``opencommands``). Of systemd-timesyncd, and where there is none of them, the kernel knows all there is to know.
"""

import asyncio
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edge.belief import drift
from edge.clock import GNSS, NTP, NTS, SYNCHRONISED, WORST_ERROR_MS
from protocols.record.block import ClockState

ASK_S = 64.0
PATIENCE_S = 3.0
STALE_MS = 300_000
"""How long a word holds that could not be renewed."""
AGREEING = 3
REPORTS = ("tracking", "sources", "authdata")
LOCAL = ("7F7F", "00000000")
"""Reference ids that are no source: the daemon's own clock, and none."""

Ask = Callable[[str], str]
"""The CSV of one report of ``chronyc -c``; empty when there is none."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a daemon said at ``mono`` (ms): a synchronised clock, whether its sources agree, and whether any of them
    still answers: chrony itself goes on by the rate it has learnt and calls the clock synchronised for ever.
    """

    mono: int
    state: ClockState
    agreed: bool
    kept: bool


class Daemon:
    """The daemon of this box. ``knows`` and ``agreed`` answer at once, from its last word."""

    def __init__(self, mono_ms: Callable[[], int], ask: Ask | None = None) -> None:
        self._mono_ms, self._ask = mono_ms, ask or chronyc
        self._word: Word | None = None

    def knows(self, mono: int, utc: int) -> ClockState | None:
        """How good UTC is as the daemon says; None when it does not know more than the kernel.

        Since no source answers any more its error grows by 500 ppm, until it is none that a clock is kept with.
        """
        word = self._fresh(mono)
        if word is None:
            return None
        error = word.state.error_ms + drift(mono - word.mono if word.kept else utc - word.state.last_sync_s * 1000)
        return replace(word.state, error_ms=error) if word.kept or error < WORST_ERROR_MS else None

    def agreed(self) -> bool:
        """Whether three sources agree on the time, or one that is authenticated says it."""
        word = self._fresh(self._mono_ms())
        return word is not None and word.agreed

    async def follow(self) -> None:
        """Ask now and then, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(ASK_S)

    async def refresh(self) -> None:
        """Ask now; nobody waits longer than the time limit for the daemon."""
        reports = await asyncio.to_thread(lambda: [self._ask(name) for name in REPORTS])
        self._word = chrony(reports, self._mono_ms())

    def _fresh(self, mono: int) -> Word | None:
        word = self._word
        return word if word is not None and mono - word.mono <= STALE_MS else None


def chrony(reports: Sequence[str], mono: int) -> Word | None:
    """What chrony's reports say (``tracking``, ``sources``, ``authdata``), asked at ``mono``; None when it is not
    synchronised, not there, or not understood.
    """
    tracking, sources, authdata = ([line.split(",") for line in report.splitlines() if line] for report in reports)
    try:
        reference, _, _, heard, offset = tracking[0][:5]
        delay, dispersion, _, leap = tracking[0][10:14]
        if reference.startswith(LOCAL) or leap == "Not synchronised":
            return None
        error_s = abs(float(offset)) + float(dispersion) + float(delay) / 2
        last = int(float(heard))
    except (IndexError, ValueError):
        return None
    modes = {row[2]: row[0] for row in sources if len(row) > 2}
    chosen = {row[2] for row in sources if len(row) > 2 and row[1] in ("*", "+")}
    authenticated = {row[0] for row in authdata if len(row) > 1 and row[1] == "NTS"}
    told, source = chosen or set(modes), NTP
    if told and all(modes[name] == "#" for name in told):
        source = GNSS
    elif told and authenticated.issuperset(told):
        source = NTS
    state = ClockState(source, SYNCHRONISED, int(error_s * 1000) + 1, last)
    agreed = len(chosen) >= (AGREEING if source == NTP else 1)
    return Word(mono, state, agreed, kept=bool(chosen))


def chronyc(report: str) -> str:
    """One report of the chrony that runs here; empty when there is none or it does not answer in time."""
    try:
        words = ["chronyc", "-n", "-c", report]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
