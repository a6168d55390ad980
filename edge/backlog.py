"""What a data logger still holds and the record does not: which past intervals to ask it for, and when (pure).

The intervals of a command (days, minutes, hours) follow one another. Where one is missing between the newest on record
and the one that comes now, or before the one that is about to come, the logger is asked for them, once and once more.
While it answers, newer intervals are held back, so that they are put on record in order of their time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from drivers.hj212 import ASK_NOTHING, Hj212Driver, interval_start, local
from protocols.hj212 import Found, Packet
from protocols.hj212_requests import HISTORY, REQUEST_ANSWER, RESULT, Asker, history

DAY_MS = 86_400_000
FURTHEST: Mapping[str, int] = {"2031": 31 * DAY_MS, "2051": DAY_MS, "2061": 7 * DAY_MS}
"""How far back days, minutes and hours are asked for."""
ANSWER_MS = 60_000
"""After so long without a packet of its answer a question is over."""
TRIES = 2
MOST_HELD = 64
"""Packets held back of one device; with more of them it is no longer waited for the past."""
READY = ("1",)
DONE, NO_DATA = ("1",), ("100",)


@dataclass(slots=True)
class Course:
    """The intervals of one command of one device: up to where they are on record, or were asked for in vain."""

    period_ms: int
    until: int | None
    tries: int = 0


@dataclass(slots=True)
class Question:
    """What is being asked; ``heard``: UTC ms of the newest sign of an answer."""

    cn: str
    qn: str
    begin: int
    end: int
    heard: int


@dataclass(slots=True)
class Backlog:
    """One device's past."""

    driver: Hj212Driver
    held: list[tuple[int, Found]] = field(default_factory=list)
    """Packets held back, each with its line."""
    asking: Question | None = None
    _courses: dict[str, Course] = field(default_factory=dict)

    def resume(self, since: int | None, recorded: Iterable[bytes]) -> None:
        """Begin where a run left the record: behind the newest interval of the packets ``recorded`` last, or else with
        the one that had come to its end before ``since`` (UTC ms). None: there was no run, and nothing was missed.
        """
        newest: dict[str, int] = {}
        for raw in recorded:
            stamp, cn = self.driver.stamp(ASK_NOTHING, raw), self.driver.packet(raw).cn
            if stamp is not None and since is not None and stamp <= since:
                newest[cn] = max(newest.get(cn, 0), stamp)
        for query in self.driver.queries():
            cn, period = self.driver.command(query), query.period_ms
            if cn not in HISTORY:
                continue
            until = None if since is None else interval_start(since - period, period, self.driver.zone)
            self._courses[cn] = Course(period, newest[cn] + period if newest.get(cn) else until)

    def follows(self, packet: Packet, stamp: int | None) -> bool:
        """Whether a packet belongs to the answer that is being given."""
        asking = self.asking
        return (
            asking is not None and packet.cn == asking.cn and stamp is not None and asking.begin <= stamp < asking.end
        )

    def waits(self, packet: Packet, stamp: int | None) -> bool:
        """Whether a packet must wait until the past that was asked for is on record."""
        asking = self.asking
        return asking is not None and packet.cn == asking.cn and stamp is not None and stamp >= asking.end

    def took(self, packet: Packet, stamp: int | None, now: int) -> None:
        """A packet is being put on record."""
        course = self._courses.get(packet.cn)
        if course is None or stamp is None:
            return
        if self.follows(packet, stamp) and self.asking is not None:
            self.asking.heard = now
        reached = stamp if course.until is None else course.until
        if stamp <= min(reached, now):  # behind a gap that is to be asked for again it stays where it is
            course.until = max(reached, stamp + course.period_ms)

    def answered(self, packet: Packet, now: int) -> None:
        """The logger says that it will answer, or that it has (9011, 9012)."""
        asking = self.asking
        if asking is None or packet.qn != asking.qn:
            return
        asking.heard = now
        refused = packet.cn == REQUEST_ANSWER and packet.texts("", "QnRtn") != READY
        if refused or packet.cn == RESULT:
            self._end(final=refused or packet.texts("", "ExeRtn") in (DONE, NO_DATA))

    def over(self, now: int) -> bool:
        """Whether nothing is being asked any more; a question that is no longer answered ends here."""
        if self.asking is not None and (now - self.asking.heard > ANSWER_MS or len(self.held) >= MOST_HELD):
            self._end(final=False)
        return self.asking is None

    def ask(self, packet: Packet, stamp: int | None, now: int) -> bytes | None:
        """The next question, now that a packet of the device came; None when nothing is missing or one is out, and
        where the device calls itself what cannot be repeated in a question.
        """
        asker = Asker.of(packet)
        if self.asking is not None or not asker.plain:
            return None
        for cn, course in self._courses.items():
            newest = stamp if cn == packet.cn and stamp is not None else None
            if (span := self._missing(cn, course, newest, now)) is not None:
                self.asking = Question(cn, local(now, self.driver.zone, 17), *span, now)
                asked = (local(moment, self.driver.zone) for moment in (span[0], span[1] - 1000))
                return history(asker, cn, self.asking.qn, *asked)
        return None

    def said(self) -> str:
        """What is being asked, in words."""
        asking, zone = self.asking, self.driver.zone
        return "" if asking is None else f"{asking.cn} {local(asking.begin, zone)}..{local(asking.end, zone)}"

    def lose(self) -> None:
        """The line is over: what was being asked is asked again on the next one."""
        self.asking = None

    def _missing(self, cn: str, course: Course, newest: int | None, now: int) -> tuple[int, int] | None:
        """The span of intervals that are not on record and no longer to come by themselves."""
        if course.until is None:
            course.until = newest
            return None
        begin = max(course.until, now - FURTHEST[cn])
        end = interval_start(now, course.period_ms, self.driver.zone) - course.period_ms if newest is None else newest
        return (begin, end) if begin < end <= now else None

    def _end(self, final: bool) -> None:
        """The question is over, for good where the logger has said all it will; after TRIES the span is given up."""
        asking, self.asking = self.asking, None
        if asking is None:
            return
        course = self._courses[asking.cn]
        course.tries += 1
        if final or course.tries >= TRIES:
            course.until, course.tries = max(course.until or 0, asking.end), 0
