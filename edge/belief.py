"""Which UTC the box believes, and how well it knows it (pure): the line of time goes on by monotonic time.

Told of each look at the clock (``Sight``), it says what follows:

- A clock within a second of the line is followed, when the next block begins.
- While the box does not know the time its line follows the clock wherever that goes. The time is known once the clock
  is synchronised, or a hardware clock or a technician stands for it, and UTC can be: not before the end of the last
  block that knew it, and not more than 400 days after. Then the line is corrected. A hardware clock that stood
  before that block at the start of a run is wrong, however long it has gone on since.
- Once the time is known, a step of more than five seconds is doubted: the line goes on, with a growing error, until the
  clock comes back to it, or the step is confirmed: by sources that agree (three, or one that is authenticated), by the
  collector's receipts, by a technician, or because the clock has been synchronised and steady for ten minutes. What can
  hardly be (more than a day from the line, not after the last block, or against the receipts) takes a day. What cannot
  be (before 2020) is never believed again.
- The first synchronisation of a boot may correct what a hardware clock or a technician had said.
- Without a synchronisation the error grows by 500 ppm of the time since, over a start too: a clock that nobody
  disciplines is at least as far off as where the last block left it, and what it may have drifted after that.
"""

from dataclasses import dataclass, replace

from edge.clock import INFORMATIVE, RTC, SYNCHRONISED, TECHNICIAN, UNKNOWN, WORST_ERROR_MS
from protocols.record.block import ClockState

STEP_MS = 1000
"""A jump of UTC against monotonic time that is a step and not a slew."""
TRUSTED_STEP_MS = 5000
STEADY_MS = 600_000
FAR_STEP_MS = FAR_STEADY_MS = 86_400_000
DRIFT_PPM = 500
EARLIEST_MS = 1_577_836_800_000
"""2020-01-01: a clock that says less does not know the time."""
BUILT_MS = 1_767_225_600_000
"""2026-01-01: before this software there was, no hardware clock of a new box can stand."""
DOWN_MS = 400 * 86_400_000


@dataclass(frozen=True, slots=True)
class Sight:
    """A look at the clock: monotonic and UTC ms of one instant, what it says of itself, whether others bear it out, or
    speak against it.
    """

    mono: int
    utc: int
    state: ClockState
    agreed: bool = False
    against: bool = False

    @property
    def offset(self) -> int:
        """UTC less monotonic time."""
        return self.utc - self.mono

    @property
    def synchronised(self) -> bool:
        """Whether the clock says that it is."""
        return self.state.state == SYNCHRONISED


@dataclass(frozen=True, slots=True)
class Known:
    """The end of a block that knew the time: its UTC ms, and how well."""

    utc: int
    error_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """The line of time moves by ``off`` ms (a step, or none), which ``corrects`` what the boot had believed."""

    off: int
    corrects: bool


@dataclass(frozen=True, slots=True)
class Doubt:
    """The clock is ``off`` ms from the line, and is not believed; with ``over`` it is back."""

    off: int
    over: bool = False


class Belief:
    """The line of time of one boot. ``last``: the end of the last block that knew the time, if any."""

    def __init__(self, sight: Sight, last: Known | None) -> None:
        self._last, self._candidate = last, (sight.offset, sight.mono)
        self._sight, self._offset, self._began = sight, sight.offset, sight.mono
        self._doubt: Doubt | None = None
        self._synced = self._known = False
        self._far = last is not None and sight.utc > last.utc + DOWN_MS
        self._known = self._knows(sight)
        self._base = (sight.mono, self._error(sight))
        self._source, self._last_sync = sight.state.source, sight.state.last_sync_s
        self._rest(sight)

    @property
    def corrects_downtime(self) -> bool:
        """Whether the first block must say that its clock is right, however long ago the last one was."""
        return self._known and self._far

    @property
    def doubt_ms(self) -> int:
        """How far a clock is off that is not believed; 0 when it is."""
        return self._doubt.off if self._doubt is not None else 0

    def utc(self, mono: int) -> int:
        """The UTC that is believed at an instant."""
        return mono + self._offset

    def state(self, mono: int) -> ClockState:
        """How well UTC is known at an instant: its error holds the true time."""
        found, (since, error) = self._sight.state, self._base
        if not self._known:
            return replace(found, state=UNKNOWN, error_ms=max(WORST_ERROR_MS, found.error_ms))
        grown = error + drift(mono - since)
        if self._doubt is None and self._sight.synchronised:
            return replace(found, error_ms=grown)
        source = self._source if self._synced else found.source
        return ClockState(source, INFORMATIVE, grown, self._last_sync)

    def look(self, sight: Sight) -> Change | Doubt | None:
        """What a look at the clock leads to: a ``Change`` to ``accept``, or a ``Doubt`` that has begun or is over."""
        self._watch(sight)
        off = sight.offset - self._offset
        if abs(off) <= STEP_MS:
            return self._agrees(sight, off)
        if self._believes(sight, off):
            return Change(off, self._would_know(sight) and (not self._known or abs(off) > TRUSTED_STEP_MS))
        self._sight = sight
        if self._doubt is not None and abs(off - self._doubt.off) <= STEP_MS:
            return None
        self._doubt = Doubt(off)
        return self._doubt

    def accept(self, change: Change, sight: Sight) -> None:
        """Go on by the clock, from the block on that tells of the change."""
        vouched = sight.synchronised or sight.state.source == TECHNICIAN or not self._known
        error = self._error(sight) if vouched else self.state(sight.mono).error_ms + abs(change.off)
        self._offset, self._doubt = sight.offset, None
        self._known = self._would_know(sight)
        self._sight, self._base = sight, (sight.mono, error)
        self._rest(sight)

    def follow(self, sight: Sight) -> None:
        """A new block begins: what the clock was slewed since is taken over."""
        if self._doubt is None and abs(sight.offset - self._offset) <= STEP_MS:
            self._offset = sight.offset
            self._take(sight, 0)

    def _agrees(self, sight: Sight, off: int) -> Change | Doubt | None:
        """The clock is where the line is."""
        if not self._known and self._would_know(sight):
            return Change(off, True)
        self._take(sight, off)
        over, self._doubt = self._doubt, None
        return Doubt(off, over=True) if over is not None else None

    def _take(self, sight: Sight, off: int) -> None:
        """A clock that is synchronised says anew how good it is."""
        self._sight = sight
        if sight.synchronised and self._known:
            self._base = (sight.mono, sight.state.error_ms + abs(off))
            self._rest(sight)

    def _error(self, sight: Sight) -> int:
        """How far a clock that is believed may be off (ms): never less than drift since the last block allows for."""
        found, last = sight.state, self._last
        if last is None or sight.synchronised or found.source == TECHNICIAN:
            return found.error_ms
        return max(found.error_ms, last.error_ms + drift(sight.utc - last.utc))

    def _rest(self, sight: Sight) -> None:
        """Remember where a good time came from."""
        self._synced = self._synced or (sight.synchronised and self._known)
        if sight.synchronised or not self._synced:
            self._source, self._last_sync = sight.state.source, sight.state.last_sync_s

    def _watch(self, sight: Sight) -> None:
        """How long a synchronised clock has been steady."""
        offset, since = self._candidate
        if not sight.synchronised or abs(sight.offset - offset) > STEP_MS:
            since = sight.mono
        self._candidate = (sight.offset, since)

    def _confirmed(self, sight: Sight) -> bool:
        """Whether sources agree on this clock, or it has been steady for as long as it takes."""
        near = self._known and not sight.against and abs(sight.offset - self._offset) <= FAR_STEP_MS
        steady = sight.mono - self._candidate[1] >= (STEADY_MS if near else FAR_STEADY_MS)
        return sight.synchronised and (sight.agreed or steady)

    def _believes(self, sight: Sight, off: int) -> bool:
        """Whether a step is taken for what it says."""
        if not self._known or abs(off) <= TRUSTED_STEP_MS:
            return True
        if sight.utc < EARLIEST_MS:
            return False
        if self._confirmed(sight):
            return True
        if sight.state.source == TECHNICIAN and sight.state.state != UNKNOWN:
            return True
        return not self._synced and sight.synchronised and self._plausible(sight.utc)

    def _would_know(self, sight: Sight) -> bool:
        """Whether the box knows the time once it believes this clock."""
        return self._knows(sight) or (self._synced and not sight.synchronised)

    def _knows(self, sight: Sight) -> bool:
        state = sight.state
        if sight.utc < EARLIEST_MS or state.state == UNKNOWN:
            return False
        if state.source == TECHNICIAN:
            return True
        if state.source == RTC and not sight.synchronised:
            began = sight.utc - (sight.mono - self._began)
            return self._plausible(sight.utc) and began >= (self._last.utc if self._last is not None else BUILT_MS)
        return self._plausible(sight.utc) or self._confirmed(sight)

    def _plausible(self, utc: int) -> bool:
        """Whether a clock can say so after the last block that knew the time; without one whatever lies behind 2020."""
        if self._last is None or self._synced:
            return utc >= EARLIEST_MS
        return self._last.utc - TRUSTED_STEP_MS <= utc <= self._last.utc + DOWN_MS


def drift(elapsed_ms: int) -> int:
    """What a quartz that nobody corrects may be off after so long (ms)."""
    return -(-max(0, elapsed_ms) * DRIFT_PPM // 1_000_000)


def is_known(state: ClockState, utc: int) -> bool:
    """Whether a block that ended at ``utc`` with this clock knew the time."""
    return state.state != UNKNOWN and utc >= EARLIEST_MS
