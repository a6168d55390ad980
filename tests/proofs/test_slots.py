"""I6 by hand: each slot has an answer or a fault of its own, also where one waited until the next had come."""

import pytest

from simulator.fleet.slots import broken

MINUTE = 60_000
SET_ASIDE = (1_000, 120_000, 132_600, 240_000, 300_000, 360_000, 388_800, 480_000)
"""Faults of a meter that is probed every few minutes: what waits is given up when the next slot has come, and twice a
probe follows for that one. Asked every minute, eight slots; that of minute 8 is answered again.
"""
SPOKE = (-59_900, 480_100, 540_100)


def amiss(answers: tuple[int, ...], faults: tuple[int, ...], last: int = 10 * MINUTE, gap: int = 0) -> str:
    return broken(answers, faults, (-MINUTE, last), MINUTE, [(0, gap)] if gap else [])


def test_a_slot_that_waited_is_told_of_in_the_next_period() -> None:
    assert amiss(SPOKE, SET_ASIDE) == ""


@pytest.mark.parametrize("at", SET_ASIDE)
def test_of_those_that_waited_none_can_be_left_out(at: int) -> None:
    assert amiss(SPOKE, tuple(other for other in SET_ASIDE if other != at)).startswith("nothing tells of slot")


@pytest.mark.parametrize("at", SPOKE)
def test_no_answer_can_be_left_out(at: int) -> None:
    assert amiss(tuple(other for other in SPOKE if other != at), SET_ASIDE, 11 * MINUTE) != ""


def test_an_answer_tells_of_its_own_slot_and_not_of_the_one_before() -> None:
    assert amiss((-59_900, 100, 120_100, 180_100), (), 4 * MINUTE) == f"nothing tells of slot {MINUTE}"


def test_an_answer_may_be_late_beside_the_next_and_only_then_stand_there() -> None:
    assert amiss((-59_900, 60_200, 60_300, 120_100), (), 3 * MINUTE) == ""
    assert amiss((-59_900, 100, 60_200, 60_300, 120_100), (), 3 * MINUTE) == f"slot {MINUTE} stands twice"


def test_only_the_last_slot_may_wait_beyond_the_record() -> None:
    assert amiss(SPOKE[:1], (), MINUTE) == ""
    assert amiss(SPOKE[:1], (), MINUTE + 1) == "nothing tells of slot 0"
    assert amiss(SPOKE[:1], (), 2 * MINUTE) == "nothing tells of slot 0"


def test_a_declared_gap_tells_of_its_slots_only() -> None:
    assert amiss((-59_900, 180_100), (), 4 * MINUTE, gap=2 * MINUTE) == ""
    assert amiss((-59_900, 240_100), (), 5 * MINUTE, gap=2 * MINUTE) == f"nothing tells of slot {3 * MINUTE}"
