"""The schedule alone: every slot concluded once, live meters first, dead ones cheap."""

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from drivers.slots import slots
from edge.schedule import DEAD_ALLOWANCE_MS, Job, Schedule
from protocols.record.chunk import BACK_OFF, OVERRUN

START = 1_780_000_020_000


def live(schedule, until, cost, silent=()):
    """Run a port alone: what was asked (slot, job) and what was missed. ``cost``: ms of an answered question."""
    asked, missed, now = [], [], START
    while now < until:
        job = schedule.next(now, now - START)
        missed += schedule.missed()
        if job is None:
            now += max(1, schedule.delay_ms(now, now - START))
            continue
        asked.append((now, job))
        spent = 900 if job.device in silent else cost
        now += spent
        if job.device in silent:
            schedule.failed(job.device, now - START, spent)
        else:
            schedule.alive(job.device)
    return asked, missed


@given(
    st.dictionaries(
        st.integers(0, 4), st.lists(st.sampled_from([500, 1000, 7000, 60_000]), min_size=1, max_size=3), min_size=1
    ),
    st.integers(1, 700),
    st.sets(st.integers(0, 4), max_size=2),
)
def test_every_slot_is_concluded_exactly_once(periods, cost, silent):
    schedule = Schedule(periods)
    schedule.restart(START)
    end = START + 60_000
    asked, missed = live(schedule, end, cost, silent)
    concluded = Counter([job for _, job in asked] + [miss.job for miss in missed])
    concluded.update(schedule.unconcluded(end, 60_000))
    due = {
        Job(device, query, slot)
        for device, plan in periods.items()
        for query, period in enumerate(plan)
        for slot in slots(period, START, end)
    }
    assert set(concluded) >= due and max(concluded.values()) == 1
    assert all(job.slot >= end - 1 for job in set(concluded) - due)
    assert all(START + 0 <= job.slot <= at for at, job in asked)


def test_a_question_is_never_asked_before_its_slot_and_is_a_multiple_of_its_period():
    schedule = Schedule({0: [7000]})
    schedule.restart(START + 1)
    asked, _ = live(schedule, START + 60_000, 10)
    assert [job.slot % 7000 for _, job in asked] == [0] * len(asked) and len(asked) == 8


def test_a_dead_meter_waits_longer_each_time_and_says_back_off():
    schedule = Schedule({0: [1000]})
    schedule.restart(START)
    asked, missed = live(schedule, START + 1_200_000, 10, silent={0})
    waits = [round((b - a) / 1000) for (a, _), (b, _) in itertools.pairwise(asked)]
    assert waits[:8] == [2, 3, 5, 9, 17, 33, 65, 129] and max(waits) <= 302
    assert {miss.code for miss in missed} == {BACK_OFF}


def test_the_first_silence_ends_a_meters_turn():
    schedule = Schedule({0: [60_000] * 5, 1: [60_000]})
    schedule.restart(START)
    asked, _ = live(schedule, START + 1500, 10, silent={0})
    assert [job.device for _, job in asked] == [0, 1]


def test_ten_dead_meters_of_thirty_leave_the_live_ones_their_schedule():
    schedule = Schedule({device: [10_000] for device in range(30)})
    schedule.restart(START)
    dead = set(range(10))
    span = 3_600_000
    asked, missed = live(schedule, START + span, 100, silent=dead)
    live_missed = [miss for miss in missed if miss.job.device not in dead]
    assert len(live_missed) <= 0.01 * 20 * span / 10_000
    spent_on_the_dead = 900 * sum(job.device in dead for _, job in asked)
    assert spent_on_the_dead <= 0.05 * span + DEAD_ALLOWANCE_MS + 11 * 900


def test_a_meter_that_returns_on_a_full_port_is_asked_again():
    schedule = Schedule({0: [1000], 1: [1000], 2: [1000]})
    schedule.restart(START)
    asked, missed = live(schedule, START + 60_000, 600, silent={0})
    probes = [at for at, job in asked if job.device == 0]
    assert len(probes) >= 3 and probes[-1] > START + 5_000
    assert {miss.code for miss in missed} == {OVERRUN, BACK_OFF}


def test_on_a_port_that_cannot_keep_up_everybody_gets_a_turn():
    schedule = Schedule({device: [1000] for device in range(5)})
    schedule.restart(START)
    asked, _ = live(schedule, START + 60_000, 400)
    counts = Counter(job.device for _, job in asked)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_restart_forgets_what_waited():
    schedule = Schedule({0: [1000]})
    schedule.restart(START)
    assert schedule.unconcluded(START + 1, 0)
    schedule.restart(START + 500_500)
    assert schedule.next(START + 500_500, 0) is None
    assert schedule.next(START + 501_000, 0) == Job(0, 0, START + 501_000)
