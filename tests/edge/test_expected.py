"""Slots of devices that speak unasked: each is concluded once, however early or late its packet comes."""

from hypothesis import given
from hypothesis import strategies as st

from edge.expected import Expected
from edge.schedule import Job

PERIOD = 60_000


def test_a_packet_a_little_late_still_concludes_its_slot() -> None:
    slots = Expected({1: [PERIOD]})
    slots.restart(0)
    assert [slots.take(1, 0, at) for at in (59_000, 121_000, 130_000, 190_000)] == [0, 60_000, 120_000, 180_000]
    assert slots.late(194_999) == []


def test_what_comes_beyond_the_slots_is_no_slots_and_what_does_not_come_is_late() -> None:
    slots = Expected({1: [PERIOD], 2: [2 * PERIOD]})
    slots.restart(1)
    assert slots.take(1, 0, 59_999) is None
    assert [slots.take(1, 0, at) for at in (60_000, 60_001)] == [60_000, None]
    assert slots.late(250_000) == [Job(1, 0, 120_000)]
    assert slots.unconcluded(240_000) == [Job(1, 0, 180_000), Job(2, 0, 120_000)]
    slots.give_up(250_000, ())
    assert slots.late(250_000) == [Job(1, 0, 180_000), Job(2, 0, 120_000)]


@given(st.lists(st.integers(0, 40 * PERIOD), max_size=60), st.integers(0, 10_000))
def test_every_slot_is_concluded_exactly_once(comes: list[int], start: int) -> None:
    slots, end = Expected({1: [PERIOD]}), 45 * PERIOD
    slots.restart(start)
    taken = [slot for at in sorted(max(start, at) for at in comes) if (slot := slots.take(1, 0, at)) is not None]
    late = [job.slot for job in slots.late(end)]
    left = [job.slot for job in slots.unconcluded(end)]
    assert sorted(taken + late + left) == list(range(-(-start // PERIOD) * PERIOD, end, PERIOD))
    assert len(left) <= 2
