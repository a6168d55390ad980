"""Two clocks read as one instant."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import clock
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


@pytest.mark.parametrize(
    ("age_s", "expected"), [(100, (2, 2, 50)), (31_000, (2, 2, 15_500)), (33_000, None), (-60, None), (None, None)]
)
def test_where_the_kernel_may_not_be_asked_the_mark_of_timesyncd_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, age_s: int | None, expected: tuple[int, int, int] | None
) -> None:
    """As in the service: ProtectClock refuses adjtimex."""
    mark, now = tmp_path / "synchronized", 1_780_000_000
    if age_s is not None:
        mark.touch()
        os.utime(mark, (now - age_s, now - age_s))
    monkeypatch.setattr(clock, "TIMESYNC", mark)
    monkeypatch.setattr(clock, "_adjtimex", lambda kernel: -1)
    held = clock.SystemClock(rtc=tmp_path)
    monkeypatch.setattr(held, "utc_ms", lambda: now * 1000)
    state = held.state()
    found = (state.source, state.state, state.error_ms) if state.state == 2 else None
    assert found == expected


def test_the_mark_of_timesyncd_does_not_stand_for_a_clock_that_somebody_else_has_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Offline the mark stays; a clock set by hand an hour back is nobody's, until a server is heard again."""
    mark, now = tmp_path / "synchronized", 1_780_000_000
    mark.touch()
    monkeypatch.setattr(clock, "TIMESYNC", mark)
    monkeypatch.setattr(clock, "_adjtimex", lambda kernel: -1)
    held = clock.SystemClock(rtc=tmp_path)

    def seen(utc_s: int, mono_s: int, heard_s: int) -> int:
        os.utime(mark, (heard_s, heard_s))
        monkeypatch.setattr(held, "utc_ms", lambda: utc_s * 1000)
        monkeypatch.setattr(held, "mono_ms", lambda: mono_s * 1000)
        return held.state().state

    assert seen(now, 50, now - 9) == 2
    assert seen(now + 7200, 7250, now - 9) == 2, "two hours later, no server since"
    assert seen(now + 3600, 7251, now - 9) == 0, "set back by an hour"
    assert seen(now + 7202, 7252, now - 9) == 2, "and where it was again"
    assert seen(now + 3600, 7253, now - 9) == 0
    assert seen(now + 3601, 7254, now + 3601) == 2, "a server says so"
