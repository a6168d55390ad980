"""Polls that were not made cannot be hidden: not behind extras, and not behind other questions of the plan."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from cloud.course import check_plan
from drivers.installation import Installation, install
from drivers.query import Query
from protocols.errors import ChainError
from protocols.record.block import Chunk, ClockState, Counters, Event, EventKind, Fault, Header, Track

SPAN = 600_000
FAST, SLOW, OTHER, EXTRA = b"fast", b"slow", b"slow, said otherwise", b"extra"
Asked = dict[bytes, int]
"""How often each request was answered."""


@dataclass(frozen=True, eq=False)
class Asks:
    """A driver of which nothing but its plan is looked at: every 10 s, and every minute in one of two wordings."""

    plan: tuple[Query, ...] = (Query(FAST, ("a",), 10_000), Query(SLOW, ("b",), 60_000, (OTHER,)))

    def queries(self) -> tuple[Query, ...]:
        return self.plan


SPEAKS = Asks((Query(b"", ("a",), 10_000), Query(b"", ("b",), 60_000)))


def installed(box: Any, driver: Any) -> Installation:
    found = install(box.site, {"two-points": box.profiles[0]})
    return replace(found, drivers=(driver,), digests=(bytes(16),))


def header(*events: Event) -> Header:
    clock = ClockState(2, 2, 5, 0)
    times = (0, SPAN), (1_790_000_000_000, 1_790_000_000_000 + SPAN)
    return Header(bytes(16), 0, 1, bytes(32), 1, *times, clock, (1, bytes(32)), ("0.1", bytes(32)), events)


def chunk(asked: Asked, faults: Sequence[Fault] = (), undeclared: int = 0) -> Chunk:
    tracks = tuple(
        Track.of(request, [index * SPAN // count for index in range(count)], [b"x"] * count)
        for request, count in asked.items()
        if count
    )
    return Chunk(0, bytes(16), tracks, tuple(faults), Counters.of(tracks, faults, undeclared), None, bytes(16))


def event(kind: EventKind, length: int = SPAN) -> Event:
    return Event(kind, 1_790_000_000_000, 1_790_000_000_000 + length, "")


@pytest.mark.parametrize(
    "asked",
    [
        {FAST: 60, SLOW: 10},
        {FAST: 60, SLOW: 10, EXTRA: 500},
        {FAST: 60, OTHER: 10},
        {FAST: 60, SLOW: 3, OTHER: 7},
        {FAST: 59, SLOW: 9},
        {FAST: 61, SLOW: 11},
    ],
    ids=str,
)
def test_the_plan_with_whatever_comes_on_top_is_kept(box: Any, asked: Asked) -> None:
    check_plan(header(), [chunk(asked)], installed(box, Asks()))


@pytest.mark.parametrize(
    "asked",
    [
        {FAST: 60, EXTRA: 10},
        {FAST: 50, SLOW: 10, EXTRA: 10},
        {EXTRA: 70},
        {FAST: 70},
        {FAST: 69, SLOW: 1},
        {SLOW: 70},
        {FAST: 63, SLOW: 7, EXTRA: 3},
        {FAST: 100, SLOW: 10},
        {},
    ],
    ids=str,
)
def test_neither_extras_nor_other_questions_stand_in_for_one_that_was_not_asked(box: Any, asked: Asked) -> None:
    with pytest.raises(ChainError):
        check_plan(header(), [chunk(asked)], installed(box, Asks()))


def test_a_device_that_is_left_out_owes_its_plan(box: Any) -> None:
    with pytest.raises(ChainError, match="found 0 due"):
        check_plan(header(), [], installed(box, Asks()))


def test_what_was_not_asked_is_declared_question_by_question(box: Any) -> None:
    plan = installed(box, Asks())
    for code in (1, 3, 5, 6, 7):
        check_plan(header(), [chunk({FAST: 60}, [Fault(60_000 * n, 1, code) for n in range(10)])], plan)
    with pytest.raises(ChainError, match="neither answered nor declared"):
        check_plan(header(), [chunk({FAST: 60}, [Fault(60_000 * n, 0, 1) for n in range(10)])], plan)
    with pytest.raises(ChainError, match="found request 2 of a plan of 2"):
        check_plan(header(), [chunk({FAST: 60}, [Fault(0, 2, 1)])], plan)


def test_a_gap_tells_of_no_more_than_it_holds(box: Any) -> None:
    plan = installed(box, Asks())
    check_plan(header(event(EventKind.GAP, SPAN // 2)), [chunk({FAST: 30, SLOW: 5}, undeclared=35)], plan)
    with pytest.raises(ChainError):
        check_plan(header(event(EventKind.GAP, SPAN // 10)), [chunk({FAST: 30, SLOW: 5}, undeclared=35)], plan)
    with pytest.raises(ChainError, match="neither answered nor declared"):
        check_plan(header(event(EventKind.GAP, SPAN // 10)), [chunk({FAST: 65}, undeclared=5)], plan)


def test_extras_are_no_gap_either(box: Any) -> None:
    asked = chunk({FAST: 60, EXTRA: 10})
    padded = replace(asked, counters=replace(asked.counters, due=asked.counters.due + 10))
    with pytest.raises(ChainError):
        check_plan(header(event(EventKind.GAP, 0)), [padded], installed(box, Asks()))


def test_where_the_clock_steps_slots_may_come_twice_for_one_question(box: Any) -> None:
    asked = chunk({FAST: 64, SLOW: 6})
    check_plan(header(event(EventKind.CLOCK_STEP)), [asked], installed(box, Asks()))
    with pytest.raises(ChainError):
        check_plan(header(), [asked], installed(box, Asks()))


def test_a_device_that_speaks_unasked_may_say_more_but_not_less(box: Any) -> None:
    plan = installed(box, SPEAKS)
    for count in (68, 70, 1000):
        check_plan(header(), [chunk({b"": count})], plan)
    with pytest.raises(ChainError, match="found 60 due"):
        check_plan(header(), [chunk({b"": 60, EXTRA: 40})], plan)
    check_plan(header(), [chunk({b"": 60}, [Fault(60_000 * n, 1, 1) for n in range(10)])], plan)


def test_a_device_that_is_asked_and_speaks_too_owes_its_answers_all_the_same(box: Any) -> None:
    plan = installed(box, Asks((Query(b"", ("a",), 10_000), Query(SLOW, ("b",), 60_000))))
    check_plan(header(), [chunk({b"": 300, SLOW: 10})], plan)
    with pytest.raises(ChainError, match="neither answered nor declared"):
        check_plan(header(), [chunk({b"": 300})], plan)


COUNTS = st.sampled_from(
    [
        {FAST: 60, SLOW: 10},
        {FAST: 60, SLOW: 10, EXTRA: 2},
        {FAST: 60, SLOW: 3, OTHER: 7},
        {FAST: 60, SLOW: 3, EXTRA: 7},
    ]
)
FAULTS = st.sampled_from([(), (), (), (), (Fault(0, 1, 6),)])
EVENTS = st.sampled_from([(), (event(EventKind.GAP, 60_000),), (event(EventKind.CLOCK_STEP),)])
BLOCKS = st.tuples(EVENTS, COUNTS, FAULTS, st.sampled_from([0, 0, 0, 0, 9]), st.sampled_from([SPAN, SPAN, SPAN // 2]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(BLOCKS, min_size=2, max_size=12))
def test_what_was_kept_before_excuses_nothing(box: Any, blocks: list[Any]) -> None:
    """One installation judges each block as an installation that has not seen the others."""
    seen = installed(box, Asks())
    for events, asked, faults, undeclared, span in blocks:
        head = structs.replace(header(*events), mono=(0, span))
        said = chunk(asked, faults, undeclared)
        assert judged(head, said, seen) == judged(head, said, installed(box, Asks()))


def judged(head: Header, said: Chunk, installation: Installation) -> str:
    try:
        check_plan(head, [said], installation)
    except ChainError as error:
        return str(error)
    return "kept"
