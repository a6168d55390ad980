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
from edge.clock import APART_MS, GNSS, INFORMATIVE, NTP, NTS, SYNCHRONISED, WORST_ERROR_MS, Clock, together
from protocols.record.block import ClockState

ASK_MS = 64_000
LOOK_S = 5.0
"""How soon a clock is noticed that is not the one the daemon spoke of."""
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
    """What a daemon said of a clock: a synchronised one, whether its sources agree, and whether any of them still
    answers: chrony itself goes on by the rate it has learnt and calls the clock synchronised for ever.
    """

    state: ClockState
    agreed: bool
    kept: bool


class Daemon:
    """The daemon of this box. ``knows`` and ``agreed`` answer at once, from its last word.

    A word is of the clock as it was when it was given: of one that has been set since, it says nothing.
    """

    def __init__(self, clock: Clock, ask: Ask | None = None) -> None:
        self._clock, self._ask = clock, ask or chronyc
        self._word: Word | None = None
        self._asked = (0, 0)

    def knows(self, mono: int, utc: int) -> ClockState | None:
        """How good UTC is as the daemon says; None when it does not know more than the kernel.

        Since no source answers any more its error grows by 500 ppm. A clock that is 16 s off or more, or may be, is not
        kept: how far off it may be holds all the same.
        """
        word = self._fresh(mono, utc)
        if word is None:
            return None
        since = mono - self._asked[0] if word.kept else utc - word.state.last_sync_s * 1000
        error = word.state.error_ms + drift(since)
        return replace(word.state, state=SYNCHRONISED if error < WORST_ERROR_MS else INFORMATIVE, error_ms=error)

    def agreed(self) -> bool:
        """Whether three sources agree that this is the time, or one that is authenticated says so."""
        word = self._fresh(*together(self._clock))
        return word is not None and word.agreed and word.state.error_ms < APART_MS

    async def follow(self) -> None:
        """Ask now and then, and when the clock has been set, until cancelled."""
        asked: int | None = None
        while True:
            mono, utc = together(self._clock)
            if asked is None or mono - asked >= ASK_MS or not self._same(mono, utc):
                asked = mono
                await self.refresh()
            await asyncio.sleep(LOOK_S)

    async def refresh(self) -> None:
        """Ask now; nobody waits longer than the time limit for the daemon."""
        asked = together(self._clock)
        reports = await asyncio.to_thread(lambda: [self._ask(name) for name in REPORTS])
        word, before = chrony(reports), self._word
        heard = word is None or before is None or word.state.last_sync_s != before.state.last_sync_s
        if heard or self._same(*asked):  # else nobody was heard since the clock was set: it speaks of the one before
            self._word, self._asked = word, asked

    def _fresh(self, mono: int, utc: int) -> Word | None:
        return self._word if mono - self._asked[0] <= STALE_MS and self._same(mono, utc) else None

    def _same(self, mono: int, utc: int) -> bool:
        """Whether this is the clock that was asked about."""
        asked, then = self._asked
        return abs((utc - mono) - (then - asked)) <= APART_MS


def chrony(reports: Sequence[str]) -> Word | None:
    """What chrony's reports say (``tracking``, ``sources``, ``authdata``); None when it is not synchronised, not there,
    or not understood.
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
    return Word(state, agreed, kept=bool(chosen))


def chronyc(report: str) -> str:
    """One report of the chrony that runs here; empty when there is none or it does not answer in time."""
    try:
        words = ["chronyc", "-n", "-c", report]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
