"""A counter as it runs: valid readings in, in chain order; intervals out. Pure, exact, and without numpy.

How the readings that count become intervals: ``cloud/count.py``. Which of them count, and what else a step may mean:

- A register that falls has rolled over when the way over its modulus is one it could have gone in the time. Otherwise,
  and when it grew faster than it can, the reading is ignored, and the register before it stands. Only evidence begins
  the count again: readings that go on from one another (``cloud/doubt.py``), a register that says how or by which meter
  is counted (``part``), or a configuration that names another meter. Then every interval the step touches is
  ``suspect`` and has no consumption, or the count ends at its last reading and begins anew at the next.
- A register that fell by a few of its steps (a meter that saved it a moment before its power failed) is waited for: it
  stands, and time goes on; what is closed meanwhile is ``estimated``.
- A register that the meter kept itself for an instant (``recall``) is booked there while nothing later is; it neither
  begins a count nor proves one.
- A reading that is dated before the one ahead of it (UTC stepped back) is booked where the series stands, in order:
  nothing is booked twice, nothing is lost, and the interval is ``estimated``.
- A series after a gap of more than 400 days begins its own count.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from cloud.count import Count, Still
from cloud.doubt import Candidate, Doubt, follow
from cloud.glide import Place, Raw, Strides, breaks, even, exact
from cloud.intervals import HOUR_MS, SLACK_MS, ZERO, Interval, Register, Rules, State
from cloud.turn import MOST_TURNS, Turn
from drivers.quantity import scaled

LATE_MS = 1_000
"""A clock that is being slewed may date a reading this much before the one ahead of it."""
LONGEST_GAP_MS = 400 * 86_400_000


class Series(Count):
    """One counter as it runs: readings in, in chain order; intervals out. Its memory: the open interval, the doubt."""

    __slots__ = ("_slack", "_turns", "doubt")

    def __init__(self, rules: Rules, interval: Interval | None = None, at: int = 0, doubt: Doubt | None = None) -> None:
        """``interval`` and ``doubt``: of a series that goes on under ``rules``, which hold from ``at`` (UTC ms) on."""
        super().__init__(rules)
        self.doubt = doubt
        self._turns: list[Turn] = []
        self._slack: float | None = None
        if interval is not None:
            self._resume(interval, at)

    def configure(self, rules: Rules, at: int = 0) -> None:
        """Go on under another configuration, whose first block began ``at``: from the last reading on, never back."""
        before, self.rules = self.rules, rules
        if before == rules:
            return
        self.doubt = None
        if self.first is None:
            return
        self._settle()
        self._scale = ZERO
        if (before.meter, before.unit) != (rules.meter, rules.unit):
            self._end("replaced", before)
        elif rules.multiplier(self.position) == self.multiplier:
            self._pace(before, at)
            self.end = rules.cut(max(self.position, self.start))
        elif self.position > self.start:
            last, self.end = self.last, self.position
            self._close(last, before)
            self._begin(self.position, last)
        else:
            self._pace(before, at)
            self.multiplier, self.end = rules.multiplier(self.start), rules.cut(self.start)
        self.changed = True

    def feed(
        self,
        times: Sequence[int],
        raws: Sequence[Raw],
        scale: Decimal,
        places: Sequence[Place],
        steps: Strides | None = None,
    ) -> None:
        """Some valid readings, by rising time (UTC ms), and the block of each; a value is raw x scale.

        The same as ``add`` for each of them. ``steps``: of ``raws``, where they are known.
        """
        at = 0
        ends: list[int] = []
        if steps is None and times and self._goes_on(times, raws, scale):
            if times[-1] < self.end:
                self._raw, self._last = raws[-1], None
                self.position, self._reference = times[-1], places[-1]
                self.readings += len(times)
                self.changed = True
                return
            ends = [len(times)]
        while at < len(times):
            if self._raw is not None and scale == self._scale:
                ends = ends or breaks(times, raws, self._slack, steps)
                if (end := self._glide(times, raws, at, ends[bisect_right(ends, at)])) > at:
                    self._reference, at = places[end - 1], end
                    continue
                if self._pass(times[at], raws[at], places[at]):
                    at += 1
                    continue
            if self.add(times[at], scaled(exact(raws[at]), scale), *places[at]):
                self._remember(raws[at], scale)
            at += 1

    def add(self, at: int, value: Decimal, epoch: int, seq: int) -> bool:
        """One valid reading (UTC ms, in the point's unit) and the block that holds it; whether it was taken."""
        register = Register(value, at, epoch, seq)
        if self.first is None:
            self._anchor(register)
            return True
        self._settle()
        position = max(at, self.position)
        growth = self.rules.growth(self.last.value, value, None if at < position else position - self.position)
        if position - self.position > LONGEST_GAP_MS:
            self._break(position, register, "unexplained", far=True)
        elif growth is None:
            if self.rules.slipped(self.last.value, value):
                self._stand(position, value)
            else:
                self._hesitate(Candidate(position, register))
            return False
        else:
            self._cross(position, register, *growth)
        self.doubt = None
        if position - at > LATE_MS and self.quality == "measured":
            self.quality = "estimated"
        self._advance(position, register)
        return True

    def recall(self, at: int, value: Decimal, epoch: int, seq: int) -> None:
        """The register that the meter itself kept for an instant (UTC ms), and the block that holds it."""
        until = None if self.doubt is None else self.doubt.first.position
        if self.first is None or at <= self.position or (until is not None and at >= until):
            return
        self._settle()
        growth = self.rules.growth(self.last.value, value, at - self.position)
        if growth is None or at - self.position > LONGEST_GAP_MS:
            self._ignore(value)
            return
        register = Register(value, at, epoch, seq)
        self._cross(at, register, *growth)
        self._advance(at, register, read=0)

    def part(self, state: State, known: int) -> None:
        """End the stretch: a register of the meter's setting has changed since ``known`` (UTC ms), when it last stood.

        A stretch that has begun since then is what it tells of; so is a doubt that has.
        """
        if self.first is None or self.since > known:
            return
        if self.doubt is not None and self.doubt.first.position > known:
            self._settle()
            self._adopt(self.doubt, state)
        else:
            self.doubt = None
            self._end(state, self.rules)

    def turns(self) -> list[Turn]:
        """What there is to look into since the last call."""
        turns, self._turns = self._turns, []
        return turns

    def _resume(self, interval: Interval, at: int) -> None:
        self.start, self.position, self.since = interval.start, interval.position, interval.since
        if interval.end <= interval.position:
            self._ended, self.end, self._last = interval, interval.end, interval.register_end
            return
        self.end = self.rules.cut(max(self.start, self.position))
        self.state, self.ignored = interval.state, interval.ignored
        self.first, self._last = interval.register_start, interval.register_end
        self.rolled, self.multiplier = interval.rolled, interval.multiplier
        self.readings, self.quality = interval.readings, interval.quality
        if (interval.meter, interval.unit, interval.multiplier, interval.period_ms) != (
            self.rules.meter,
            self.rules.unit,
            self.rules.multiplier(self.position),
            self.rules.period_ms,
        ):
            self._configure_from(interval, at)
        else:
            self._adjust = interval.expected - self.rules.expected(interval.start, interval.end)

    def _pace(self, before: Rules, at: int) -> None:
        """The interval goes on at another pace: up to ``at`` the readings were due that ``before`` asked for."""
        changed = min(max(at, self.position, self.start), self.end)
        self._adjust += before.expected(self.start, changed) - self.rules.expected(self.start, changed)

    def _configure_from(self, interval: Interval, at: int) -> None:
        """The rules under which the open interval was written are gone; what it tells of them is enough."""
        rules, now = self.rules, (0, interval.multiplier)
        self.rules = replace(
            rules, unit=interval.unit, meter=interval.meter, period_ms=interval.period_ms, ratios=(now,)
        )
        self._adjust = interval.expected - self.rules.expected(interval.start, interval.end)
        self.configure(rules, at)

    def _goes_on(self, times: Sequence[int], raws: Sequence[Raw], scale: Decimal) -> bool:
        """Whether all of these readings simply go on: where together they grew no more than one of them may, none did
        too fast.
        """
        before = self._raw
        if before is None or scale != self._scale or times[0] < self.position:
            return False
        return before <= raws[0] and even(raws[-1] - before, self._slack) and raws == sorted(raws)

    def _glide(self, times: Sequence[int], raws: Sequence[Raw], at: int, end: int) -> int:
        """The same as ``add`` for readings from ``at`` on, as long as they are inside the open interval; between ``at``
        and ``end`` there is no break. Returns the first that was not taken.
        """
        before = self._raw
        if before is None or times[at] < self.position or not even(raws[at] - before, self._slack):
            return at
        if times[end - 1] >= self.end:
            end = bisect_left(times, self.end, at, end)
        if end > at:
            self._raw, self._last = raws[end - 1], None
            self.position = times[end - 1]
            self.readings += end - at
            self.changed = True
        return end

    def _pass(self, at: int, raw: Raw, place: Place) -> bool:
        """The same as ``add`` for a reading that glides on over the end of the open interval into the next one, where
        one of the two readings either side is near enough to stand for that end; False: it is another one.
        """
        boundary, reach, known = self.end, self.rules.reach_ms, self._raw
        behind, before = at - boundary, boundary - self.position
        if known is None or not even(raw - known, self._slack) or self.rolled or before < 0:
            return False
        if not 0 <= behind < self.rules.cut(boundary) - boundary or behind + before > LONGEST_GAP_MS:
            return False
        register = Register(scaled(exact(raw), self._scale), at, *place)
        if behind < before and behind <= reach:
            opening = register
        elif before <= reach:
            opening = self.last
        else:
            return False
        self._close(opening, self.rules)
        self._begin(boundary, opening)
        self.doubt, self._raw = None, raw
        self._advance(at, register)
        return True

    def _remember(self, raw: Raw, scale: Decimal) -> None:
        """What ``_glide`` goes on from. A rise it lets pass is one that ``growth`` would, in no time at all."""
        self._raw = raw
        if scale != self._scale:
            most, self._scale = self.rules.max_rate_per_h, scale
            self._slack = None if most is None else float(most * SLACK_MS / HOUR_MS / scale) * 0.99

    def _ignore(self, value: Decimal) -> None:
        """A reading is left out: the register before it stands."""
        self.ignored += 1
        self._raise("backwards-ignored" if value < self.last.value else "jump-ignored")
        self.changed = True

    def _stand(self, position: int, value: Decimal) -> None:
        """The register stands while the meter comes up to it again: time goes on, and nothing is counted."""
        self.doubt = None
        self._cross_all(Still(self.last, "estimated"), position)
        self.position = position
        self._ignore(value)

    def _hesitate(self, candidate: Candidate) -> None:
        """A reading that cannot follow: it is ignored, unless it proves the ones before it."""
        self._ignore(candidate.register.value)
        self.doubt = follow(self.doubt, candidate, self.rules)
        if len(self.doubt.candidates) > 1:
            self._raise("reset-suspected")
        if self.doubt.proven:
            self._adopt(self.doubt, self.doubt.kind(self.rules, self.last, self.position))

    def _adopt(self, doubt: Doubt, state: State) -> None:
        """The candidates are a stretch of their own."""
        self._turns.append(Turn(state, self.rules.device, self.rules.point, self.last, doubt.first.register))
        del self._turns[:-MOST_TURNS]
        self.doubt = None
        self.ignored -= len(doubt.candidates)
        self._break(doubt.first.position, doubt.first.register, state)
        self._advance(doubt.first.position, doubt.first.register)
        for each in doubt.candidates[1:]:
            growth = self.rules.growth(self.last.value, each.register.value, each.position - self.position)
            assert growth is not None, "a candidate goes on from the one before it, under the same rules"
            self._cross(each.position, each.register, *growth)
            self._advance(each.position, each.register)
