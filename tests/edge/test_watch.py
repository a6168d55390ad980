"""What is wrong with a port: named when its signs repeat, told when it is over, and how certain it is."""

import pytest

from edge import bus, hearing
from edge.hearing import Sign
from edge.watch import MINUTE_MS, RECENT, Watch
from protocols.record.chunk import DAMAGED, SILENT


def seen(watch, kind, now, device=None):
    watch.see([Sign(kind, device, "found something")], now)
    return [(trouble.code, trouble.device, trouble.sure) for trouble in watch.changes()[0]]


@pytest.mark.parametrize(
    ("kind", "times", "code", "sure"),
    [
        (hearing.FOREIGN_REQUEST, 2, "BUS-114", True),
        (hearing.UNASKED_REPLY, 3, "BUS-114", False),
        (hearing.SECOND_ANSWER, 2, "BUS-115", True),
        (bus.REOPENED, 2, "BUS-112", True),
        (bus.HUNG_UP, 2, "BUS-113", True),
        (bus.NOT_TAKEN, 3, "BUS-113", False),
        (bus.MOVED, 1, "BUS-111", True),
    ],
)
def test_a_fault_is_named_when_its_signs_repeat(kind, times, code, sure):
    watch = Watch(answered_before=True)
    for number in range(times - 1):
        assert seen(watch, kind, number * 1000) == []
    assert seen(watch, kind, times * 1000) == [(code, None, sure)]
    assert seen(watch, kind, times * 1000 + 1) == []


def test_signs_that_are_far_apart_are_accidents():
    watch = Watch()
    assert [seen(watch, hearing.FOREIGN_REQUEST, hour * 60 * MINUTE_MS) for hour in range(10)] == [[]] * 10


def test_what_never_answered_may_well_refuse_connections():
    watch = Watch()
    assert [seen(watch, bus.NOT_TAKEN, second * 1000) for second in range(9)] == [[]] * 9


def test_certainty_comes_after_suspicion():
    watch = Watch()
    for second in range(3):
        found = seen(watch, hearing.UNASKED_REPLY, second * 1000)
    assert found == [("BUS-114", None, False)]
    seen(watch, hearing.FOREIGN_REQUEST, 4000)
    assert seen(watch, hearing.FOREIGN_REQUEST, 5000) == [("BUS-114", None, True)]
    assert len(watch.troubles) == 1


def test_a_fault_is_over_when_no_sign_came_for_as_long():
    watch = Watch()
    for second in (0, 1):
        seen(watch, hearing.FOREIGN_REQUEST, second * 1000)
    watch.see([], 10 * MINUTE_MS)
    assert watch.changes() == ([], [])
    watch.see([], 11 * MINUTE_MS)
    assert [trouble.code for trouble in watch.changes()[1]] == ["BUS-114"] and watch.troubles == []
    assert seen(watch, hearing.FOREIGN_REQUEST, 12 * MINUTE_MS) == []


def test_an_answer_shows_that_no_other_client_has_the_endpoint():
    watch = Watch()
    for second in (0, 1):
        seen(watch, bus.HUNG_UP, second * 1000)
    watch.changes()
    watch.tell(0, 0, 3000)
    assert [trouble.code for trouble in watch.changes()[1]] == ["BUS-113"]


@pytest.mark.parametrize(("others", "named"), [(0, True), (DAMAGED, False)])
def test_a_twin_is_likely_where_one_address_alone_is_broken(others, named):
    watch = Watch()
    for turn in range(2 * RECENT):
        watch.tell(1, DAMAGED, turn * 1000)
        for device in (2, 3):
            watch.tell(device, others if turn % 2 else 0, turn * 1000)
    begun, _ = watch.changes()
    assert [(trouble.code, trouble.device, trouble.sure) for trouble in begun] == [("BUS-115", 1, False)] * named
    assert watch.suspect(1, 60_000) is named


def test_silence_is_no_damage():
    watch = Watch()
    for turn in range(20):
        watch.tell(1, SILENT, turn * 1000)
        watch.tell(2, 0, turn * 1000)
    assert watch.changes() == ([], [])


def test_what_was_found_out_is_cleared_by_who_found_it():
    watch = Watch()
    watch.found("MTR-202", 1, "another number", 0)
    assert [trouble.code for trouble in watch.changes()[0]] == ["MTR-202"]
    watch.cleared("MTR-202", 1)
    assert [trouble.code for trouble in watch.changes()[1]] == ["MTR-202"]
