"""Two clocks read as one instant."""

from collections.abc import Iterator

from edge.clock import SystemClock, together


class Interrupted(SystemClock):
    """A clock whose readings are kept apart by other work, as long as ``pauses`` says."""

    def __init__(self, pauses: Iterator[int]) -> None:
        self._pauses, self._now = pauses, 1_000

    def mono_ms(self) -> int:
        self._now += next(self._pauses, 0)
        return self._now

    def utc_ms(self) -> int:
        self._now += next(self._pauses, 0)
        return 1_700_000_000_000 + self._now


def test_what_lies_between_two_readings_does_not_shift_utc() -> None:
    mono, utc = together(Interrupted(iter([0, 80, 0, 0, 40, 0, 0, 0, 0])))
    assert utc - mono == 1_700_000_000_000


def test_on_a_machine_that_is_never_quiet_the_best_of_a_few_tries_is_taken() -> None:
    mono, utc = together(Interrupted(iter([50, 60, 0, 50, 7, 0, 50, 30, 0, 50, 90, 0, 50, 20, 0])))
    assert utc - mono == 1_700_000_000_007


def test_the_kernels_clocks_agree() -> None:
    mono, utc = together(SystemClock())
    again = together(SystemClock())
    assert abs((again[1] - again[0]) - (utc - mono)) <= 5
