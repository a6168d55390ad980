"""Which UTC is believed: faults 26 to 31 at the edge, the clock in the hand of the test."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.belief import DRIFT_PPM, Belief, Change, Doubt, Known, Sight
from edge.witness import Witness
from protocols.record.block import ClockState
from protocols.record.receipt import Receipt

NOW = 1_790_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
YEARS = 20 * 365 * DAY
NTP, RTC, NONE, WORD = (
    ClockState(2, 2, 5, 0),
    ClockState(1, 1, 16_000, 0),
    ClockState(0, 0, 16_000, 0),
    ClockState(5, 1, 30_000, 0),
)


class Watched:
    """A belief that is asked every second. The clock is ``off`` the truth by what the test says."""

    def __init__(self, state: ClockState, last: int | None = NOW - HOUR, off: int = 0, known_within: int = 5) -> None:
        self.mono, self.off, self.state, self.agreed, self.against = 0, off, state, False, False
        self.belief = Belief(self.sight(), None if last is None else Known(last, known_within))
        self.told: list[Change | Doubt] = []

    def sight(self) -> Sight:
        return Sight(self.mono, NOW + self.mono + self.off, self.state, self.agreed, self.against)

    def run(self, seconds: int, every: int = 1) -> list[Change | Doubt]:
        """So long; what it led to, changes accepted, as the agent does."""
        begun = len(self.told)
        for _ in range(0, seconds, every):
            self.mono += every * 1000
            sight = self.sight()
            found = self.belief.look(sight)
            if found is not None:
                self.told.append(found)
            if isinstance(found, Change):
                self.belief.accept(found, sight)
            elif self.mono % MINUTE == 0:
                self.belief.follow(sight)
        return self.told[begun:]

    @property
    def error(self) -> int:
        """How far UTC as believed is from the truth, which is ``off`` 0."""
        return self.belief.utc(self.mono) - NOW - self.mono


def known(watched: Watched) -> int:
    return watched.belief.state(watched.mono).state


def test_fault_26_a_clock_in_1970_is_followed_and_known_only_once_it_is_synchronised() -> None:
    watched = Watched(NONE, off=-NOW)
    assert known(watched) == 0 and not watched.run(300)
    for off, moved in ((-NOW + 5 * HOUR, 5 * HOUR), (HOUR, NOW - 4 * HOUR)):
        watched.off = off
        assert watched.run(2) == [Change(moved, False)], "somebody sets it, and nobody vouches for it"
        assert known(watched) == 0, "however likely it is"
    watched.off, watched.state = 0, NTP
    (change,) = watched.run(2)
    assert change == Change(-HOUR, True) and (known(watched), watched.error) == (2, 0)


def test_a_start_does_not_make_a_clock_better_that_nobody_disciplines() -> None:
    again = Watched(RTC, last=NOW - 26 * HOUR, known_within=19_600)
    assert again.belief.state(0).error_ms == 19_600 + 46_800, "500 ppm of 26 h behind what the last block stated"
    again.run(2 * 3600, every=60)
    assert again.belief.state(again.mono).error_ms == 19_600 + 46_800 + 3_600
    assert Watched(RTC).belief.state(0).error_ms == 16_000, "the clock itself allows for more than an hour's drift"
    assert Watched(NTP, last=NOW - 26 * HOUR, known_within=19_600).belief.state(0).error_ms == 5


@pytest.mark.parametrize(("state", "off", "last", "knows"), [
    (RTC, 0, NOW - HOUR, 1),
    (RTC, -2 * HOUR, NOW - HOUR, 0),
    (RTC, 401 * DAY, NOW - HOUR, 0),
    (RTC, 0, None, 1),
    (RTC, -3 * 365 * DAY, None, 0),
    (WORD, -2 * HOUR, NOW - HOUR, 1),
    (NONE, 0, NOW - HOUR, 0),
    (NTP, 0, NOW - HOUR, 2),
    (NTP, YEARS, NOW - HOUR, 0),
    (NTP, -2 * DAY, NOW - HOUR, 0),
])  # fmt: skip
def test_a_boot_knows_the_time_where_somebody_stands_for_it_and_it_can_be(
    state: ClockState, off: int, last: int | None, knows: int
) -> None:
    assert known(Watched(state, last, off)) == knows


def test_a_right_clock_that_nobody_knew_of_is_corrected_by_nothing_at_all() -> None:
    watched = Watched(NONE)
    watched.state = NTP
    assert watched.run(3) == [Change(0, True)] and known(watched) == 2


def test_fault_27_a_step_back_of_an_hour_is_not_believed_and_a_right_clock_wins_at_last() -> None:
    watched = Watched(NTP)
    watched.run(60)
    watched.off = -HOUR
    assert watched.run(300) == [Doubt(-HOUR)]
    assert watched.error == 0 and known(watched) == 1 and watched.belief.doubt_ms == -HOUR
    assert watched.run(400) == [Change(-HOUR, True)], "ten minutes synchronised and steady"
    assert watched.error == -HOUR and known(watched) == 2 and watched.belief.doubt_ms == 0


def test_fault_28_twenty_years_and_back_leave_the_line_where_it_was() -> None:
    watched = Watched(NTP)
    watched.run(60)
    watched.off = YEARS
    assert watched.run(12 * 3600, 10) == [Doubt(YEARS)] and watched.error == 0
    watched.off = 0
    assert watched.run(10) == [Doubt(0, over=True)] and known(watched) == 2


def test_fault_29_a_false_server_is_refused_for_as_long_as_it_is_not_steady() -> None:
    watched = Watched(NTP)
    watched.run(60)
    for turn in range(1, 20):
        watched.off = turn * 7000
        assert watched.run(500) == [Doubt(turn * 7000)]
        assert watched.error == 0


def test_fault_29_a_step_that_sources_agree_on_is_believed_at_once() -> None:
    watched = Watched(NTP)
    watched.run(60)
    watched.off, watched.agreed = 2 * HOUR, True
    assert watched.run(2) == [Change(2 * HOUR, True)]


def test_a_known_time_is_not_given_up_for_one_that_cannot_be_whoever_agrees_on_it() -> None:
    watched = Watched(NTP)
    watched.run(60)
    watched.off, watched.agreed = -YEARS, True
    assert watched.run(12 * 3600, 60) == [Doubt(-YEARS)] and watched.error == 0 and known(watched) == 1


def test_a_step_of_less_than_five_seconds_is_believed() -> None:
    watched = Watched(NTP)
    watched.run(60)
    watched.off = 4000
    assert watched.run(2) == [Change(4000, False)]


def test_the_first_synchronisation_corrects_a_hardware_clock() -> None:
    watched = Watched(RTC, off=90_000)
    watched.run(60)
    watched.off = 50_000
    assert watched.run(5) == [Doubt(-40_000)], "but nothing less does"
    watched.off, watched.state = 0, NTP
    assert watched.run(5) == [Change(-90_000, True)]


def test_a_technicians_word_moves_a_clock_that_lost_its_servers() -> None:
    watched = Watched(NTP)
    watched.run(60)
    watched.off, watched.state = HOUR, NONE
    assert watched.run(3600) == [Doubt(HOUR)]
    watched.state = WORD
    assert watched.run(2) == [Change(HOUR, True)] and known(watched) == 1


def test_a_box_that_was_in_store_says_that_its_clock_is_right_when_somebody_stands_for_it() -> None:
    assert Watched(WORD, NOW - 500 * DAY).belief.corrects_downtime
    watched = Watched(NTP, NOW - 500 * DAY)
    assert not watched.belief.corrects_downtime and known(watched) == 0
    assert watched.run(2 * 86_400, 60) == [Change(0, True)] and known(watched) == 2


@given(st.integers(-DRIFT_PPM, DRIFT_PPM), st.integers(-5, 5), st.integers(1, 30))
@example(DRIFT_PPM, 5, 30)
@example(-DRIFT_PPM, -5, 30)
def test_fault_30_the_true_time_lies_within_the_stated_error_through_thirty_days_of_drift(
    ppm: int, begin: int, days: int
) -> None:
    watched = Watched(NTP, off=begin)
    watched.run(120)
    watched.state = NONE
    for half in range(days * 48):  # of an hour: what it drifts in one is still followed, not taken for a step
        watched.off = begin + half * HOUR // 2 * ppm // 1_000_000
        watched.run(1800, 1800)
        state = watched.belief.state(watched.mono)
        assert abs(watched.error) <= state.error_ms and state.state == 1
    if days >= 1:
        assert watched.belief.state(watched.mono).error_ms >= 1000, "a second or more, and it says so"


@given(
    st.lists(
        st.tuples(
            st.integers(-3 * DAY, 3 * DAY), st.sampled_from([NTP, RTC, NONE, WORD]), st.booleans(), st.integers(1, 900)
        ),
        max_size=8,
    ),
    st.sampled_from([NTP, RTC, NONE, WORD]),
)
def test_whatever_the_clock_does_utc_moves_only_by_what_is_told(
    moves: list[tuple[int, ClockState, bool, int]], state: ClockState
) -> None:
    watched = Watched(state)
    for off, state_now, agreed, seconds in moves:
        watched.off, watched.state, watched.agreed = off, state_now, agreed
        for _ in range(0, seconds, 7):
            before, told = watched.belief.utc(0), len(watched.told)
            watched.run(7, 7)
            moved = watched.belief.utc(0) - before
            changes = [found for found in watched.told[told:] if isinstance(found, Change)]
            assert moved == (changes[0].off if changes else moved) and (changes or abs(moved) <= 1000)
            assert not (changes and known(watched) and abs(moved) > 5000 and not changes[0].corrects)


@pytest.mark.parametrize("against", [False, True])
def test_fault_29_a_false_server_that_the_collector_contradicts_is_not_believed_however_steady(against: bool) -> None:
    watched = Watched(NTP)
    watched.run(60)
    watched.off, watched.against = HOUR, against
    told = watched.run(6 * 3600, 10)
    assert told == ([Doubt(HOUR)] if against else [Doubt(HOUR), Change(HOUR, True)])
    assert (watched.error == 0) is against


def test_a_hardware_clock_that_stood_before_the_last_block_is_as_wrong_once_it_has_passed_it() -> None:
    watched = Watched(RTC, last=NOW, off=-HOUR)
    assert watched.run(3 * 3600, 60) == [] and known(watched) == 0
    watched.off = 0
    assert watched.run(60) == [Change(HOUR, True)] and known(watched) == 1, "somebody has set it right"


RECEIPT = Receipt(bytes(16), 0, 8, bytes(32), 1, NOW + 61_500)


def test_a_receipt_bounds_the_time_between_the_seal_of_its_newest_block_and_its_coming() -> None:
    witness = Witness()
    witness.sealed(0, 7, 60_000)
    assert witness.apart(NOW, 60_000) is None
    witness.hear(RECEIPT, 62_000)
    found = [witness.apart(NOW + off, 62_000) for off in (-501, -500, 0, 1500, 1501, HOUR)]
    assert found == [1, 0, 0, 0, 1, HOUR - 1500]
    witness.hear(RECEIPT, 600_000)
    assert witness.apart(NOW + HOUR, 63_000) == HOUR - 1501, "the same receipt says nothing new; quartz may drift"
    assert witness.apart(NOW, 62_000 + 2 * HOUR) is None, "what it said long ago is forgotten"


def test_a_receipt_of_a_block_that_was_not_sealed_in_this_run_says_nothing() -> None:
    witness = Witness()
    witness.sealed(0, 6, 60_000)
    witness.hear(RECEIPT, 62_000)
    assert witness.apart(NOW, 62_000) is None
