"""What the box learns about each meter (pure: UTC ms come in): how fast it answers, which wording it understands, which
reads it refuses, and how these are asked in pieces instead.

- A silence or a damaged answer marks nothing. Only a refusal does, and a refusal has a valid checksum.
- A read that the meter refuses is cut in two at the middlemost gap, the halves are asked at once, and so on down to
  single points: nothing is lost meanwhile. It stays cut for a day; then the whole is asked once more.
- What was refused three times alike and never answered is not asked until the next day. What has ever answered is
  given up only after ten refusals alike that last an hour.
- A read over a gap after which the next answer is damaged, eight times in a row, while eight answers in a row after
  anything else are sound, has its gaps left out as well.

The signed plan is not changed: what is asked in pieces is asked beyond it, and what is not asked is declared so.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from drivers import pieces
from drivers.driver import Driver

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
NEVER_ANSWERED, HAS_ANSWERED = 3, 10
"""Refusals alike after which a question is not asked for a day."""
SPOILT = 8
KEPT = 199
"""Turnarounds kept of each meter; the median of fewer than ``ENOUGH`` is not told."""
ENOUGH = 20
RARELY = 4
"""A meter whose wording is known is asked the others too at every fourth failure: it may have been replaced."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What to send for a question of the plan now: one of its wordings, None when it is not asked now, and requests
    ``beyond`` the plan instead of it.
    """

    own: bytes | None
    beyond: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Request:
    """One request: last answered at ``answered`` (UTC ms), then refused ``refusals`` times alike since ``first``.

    ``off``: since when it is not asked. ``spoilt``: damaged answers in a row right after it.
    """

    answered: int | None = None
    refusals: int = 0
    reason: int = 0
    first: int = 0
    off: int | None = None
    spoilt: int = 0

    def refuse(self, reason: int, now: int) -> None:
        """Count a refusal; another reason begins anew."""
        if not self.refusals or reason != self.reason:
            self.refusals, self.reason, self.first = 0, reason, now
        self.refusals += 1

    def sure(self, now: int, never: int) -> bool:
        """Whether it was refused often enough to believe it: ``never`` times when it never answered."""
        if self.answered is None:
            return self.refusals >= never
        return self.refusals >= HAS_ANSWERED and now - self.first >= HOUR_MS


@dataclass(slots=True)
class Question:
    """One question of the plan: the wording that answered last, and the reads that are cut, each with its pieces."""

    wording: bytes | None = None
    failures: int = 0
    cuts: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    since: int = 0
    """When it was cut, or the whole asked once more (UTC ms)."""
    spoils: bool = False
    """Cut because the next answer was damaged."""


@dataclass(slots=True)
class Memory:
    """One device. ``latencies``: ms from the end of a request to the first byte of its answer, the newest last."""

    questions: dict[bytes, Question] = field(default_factory=dict)
    requests: dict[bytes, Request] = field(default_factory=dict)
    latencies: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))

    def turnaround(self) -> tuple[int, int] | None:
        """Median and 99th percentile in ms; None before enough answers came."""
        if len(self.latencies) < ENOUGH:
            return None
        ordered = sorted(self.latencies)
        return round(median(ordered)), ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


class Learned:
    """The devices of a box by number. ``changes`` rises when something is learned that should outlive a restart."""

    def __init__(self, drivers: Mapping[int, Driver], memories: Mapping[int, Memory] | None = None) -> None:
        self._drivers = drivers
        self._plans = {number: driver.queries() for number, driver in drivers.items()}
        self.memories = {number: (memories or {}).get(number) or Memory() for number in drivers}
        self._before: dict[int, tuple[int, bytes] | None] = {}
        self._gaps: dict[tuple[int, bytes], bool] = {}
        self._sound = dict.fromkeys(drivers, 0)
        self.changes = 0

    def requests(self, device: int, query: int, now: int) -> Asking:
        """What to send for a question now."""
        held = self._plans[device][query]
        question, whole = self._question(device, query), held.request
        if whole in question.cuts:
            if _within_a_day(question.since, now):
                found = [piece for piece in _leaves(question.cuts, whole) if self._asked_today(device, piece, now)]
                return Asking(None, tuple(found))
            question.since = now
        own = self.wording(device, query)
        return Asking(own if self._asked_today(device, own, now) else None)

    def wording(self, device: int, query: int) -> bytes:
        """How a question of the plan is worded now. While no wording is known each is tried in turn; else the known
        one, and another at every so many failures.
        """
        question, wordings = self._question(device, query), self._plans[device][query].wordings
        turn, known = question.failures, question.wording
        if known is None:
            return wordings[turn % len(wordings)]
        others = [wording for wording in wordings if wording != known]
        return others[turn // RARELY % len(others)] if others and turn % RARELY == RARELY - 1 else known

    def answered(self, device: int, query: int, request: bytes, latency_ms: int, now: int) -> None:
        """An answer came that decodes."""
        memory, question = self.memories[device], self._question(device, query)
        memory.latencies.append(max(0, latency_ms))
        held, planned = self._request(device, request), self._plans[device][query]
        if request in planned.wordings:
            self.changes += question.wording != request and bool(planned.also)
            question.wording, question.failures = request, 0
            if question.cuts and not question.spoils:
                self._mend(device, question, now)
        self.changes += held.answered is None or held.off is not None
        held.answered, held.refusals, held.off = now, 0, None
        self._follow(device, now, sound=True)
        self._before[device] = (query, request) if self._gappy(device, request) else None

    def refused(self, device: int, query: int, request: bytes, reason: int, now: int) -> tuple[bytes, ...]:
        """The meter said no, with a valid checksum; what to ask at once instead."""
        driver, question = self._drivers[device], self._question(device, query)
        self._before[device] = None
        if request in self._plans[device][query].wordings:
            question.failures += 1
        if not pieces.lasting(driver, reason):
            return ()
        held = self._request(device, request)
        held.refuse(reason, now)
        cut = pieces.cut(driver, request)
        if cut is None:
            self._set_aside(held, now)
            return ()
        for piece in cut.pieces:
            part = self._request(device, piece)
            part.answered = held.answered if part.answered is None else part.answered
        if held.sure(now, never=1):
            if request == self._plans[device][query].request:
                question.cuts, question.since, question.spoils = {}, now, False
            question.cuts[request] = cut.pieces
            self.changes += 1
        return cut.pieces

    def failed(self, device: int, query: int, request: bytes, now: int, *, damaged: bool) -> None:
        """A silence, or an answer that cannot be read: it marks nothing, whatever was asked."""
        if request in self._plans[device][query].wordings:
            self._question(device, query).failures += 1
        if damaged:
            self._follow(device, now, sound=False)
        self._before[device] = None

    def last_answers(self) -> dict[int, int]:
        """When each device last answered anything (UTC ms), where it ever did, to within an hour before a restart."""
        known = {
            number: [held.answered for held in memory.requests.values() if held.answered is not None]
            for number, memory in self.memories.items()
        }
        return {number: max(times) for number, times in known.items() if times}

    def suspects(self, device: int) -> tuple[tuple[int, int], ...]:
        """The registers (first, last) between points that the meter refuses, or that spoil what follows: left out, and
        what lies beside them is answered.
        """
        driver, found = self._drivers[device], set[tuple[int, int]]()
        for whole, parts in self._proven(device):
            read = {gap for piece in parts for gap in pieces.gaps(driver, piece)}
            found |= set(pieces.gaps(driver, whole)) - read
        return tuple(sorted(found))

    def most_registers(self, device: int) -> int | None:
        """The most registers of a part that is answered where a read without gaps was refused; None when none was: the
        meter gives fewer registers at once than its plan asks.
        """
        driver = self._drivers[device]
        without_gaps = [parts for whole, parts in self._proven(device) if not pieces.gaps(driver, whole)]
        return max([pieces.registers(driver, part) for parts in without_gaps for part in parts], default=0) or None

    def refused_points(self, device: int) -> tuple[str, ...]:
        """The points that are not asked, because the meter refuses each of them alone."""
        held, queries = self.memories[device], self._plans[device]
        off = [request for request, found in held.requests.items() if found.off is not None]
        whole = {query.request: query.points for query in queries}
        return tuple(dict.fromkeys(point for request in off for point in self._points(device, request, whole)))

    def _points(self, device: int, request: bytes, whole: Mapping[bytes, tuple[str, ...]]) -> tuple[str, ...]:
        return whole.get(request) or pieces.points(self._drivers[device], request)

    def _proven(self, device: int) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
        """The cuts that nothing but what they leave out explains: each piece is answered as it is."""
        for question in self.memories[device].questions.values():
            for whole, parts in question.cuts.items():
                if all(piece not in question.cuts and self._answers(device, piece) for piece in parts):
                    yield whole, parts

    def _answers(self, device: int, request: bytes) -> bool:
        held = self.memories[device].requests.get(request)
        return held is not None and held.answered is not None and not held.refusals

    def _gappy(self, device: int, request: bytes) -> bool:
        """Whether a request reads what no point needs; every answer asks this again."""
        found = self._gaps.get((device, request))
        if found is None:
            found = self._gaps[device, request] = bool(pieces.gaps(self._drivers[device], request))
        return found

    def _question(self, device: int, query: int) -> Question:
        return self.memories[device].questions.setdefault(self._plans[device][query].request, Question())

    def _request(self, device: int, request: bytes) -> Request:
        return self.memories[device].requests.setdefault(request, Request())

    def _mend(self, device: int, question: Question, now: int) -> None:
        """The whole is answered again, and with it every part."""
        for piece in {piece for parts in question.cuts.values() for piece in parts}:
            self.memories[device].requests[piece] = Request(now)
        question.cuts, question.spoils = {}, False
        self.changes += 1

    def _asked_today(self, device: int, request: bytes, now: int) -> bool:
        """Whether it may be asked; what was given up is asked once a day."""
        held = self.memories[device].requests.get(request)
        if held is None or held.off is None:
            return True
        if _within_a_day(held.off, now):
            return False
        held.off = now
        return True

    def _set_aside(self, held: Request, now: int) -> None:
        if held.off is None and held.sure(now, NEVER_ANSWERED):
            held.off = now
            self.changes += 1

    def _follow(self, device: int, now: int, *, sound: bool) -> None:
        """What came right after a read over a gap, or after anything else."""
        before = self._before.get(device)
        if before is None:
            self._sound[device] = self._sound[device] + 1 if sound else 0
            return
        query, request = before
        held, question = self._request(device, request), self._question(device, query)
        if sound:
            held.spoilt = 0
            if question.spoils and request == self._plans[device][query].request:
                self._mend(device, question, now)
            return
        held.spoilt += 1
        if held.spoilt >= SPOILT and self._sound[device] >= SPOILT:
            question.cuts[request], question.since = pieces.plain(self._drivers[device], request), now
            question.spoils, held.spoilt = True, SPOILT - 1
            self.changes += 1


def _within_a_day(since: int, now: int) -> bool:
    return 0 <= now - since < DAY_MS


def _leaves(cuts: Mapping[bytes, tuple[bytes, ...]], request: bytes) -> tuple[bytes, ...]:
    """What is asked instead of a request, in order."""
    if request not in cuts:
        return (request,)
    return tuple(leaf for piece in cuts[request] for leaf in _leaves(cuts, piece))
